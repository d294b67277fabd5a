//! One metric, and how its rows are written.

use std::fmt;

use dispatcher::DURATION_BOUNDS;
use prometheus_client::{
    encoding::{EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};

use channel::HubKind;

use super::scrape::{HubLabel, HubNumbers, Running, Scrape};
use crate::{control::TriggerBooks, ingress::REFUSAL_STATUSES};

/// One metric and its numbers.
pub(super) struct Family {
    /// Its name, without unit and without the ending of its type (`_total`, `_info`).
    pub(super) name: &'static str,
    /// Ends the name.
    pub(super) unit: Option<Unit>,
    pub(super) kind: MetricType,
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
    /// Writes a row for each set of label values.
    pub(super) rows: fn(&Scrape, &mut Rows<'_>) -> fmt::Result,
}

/// Writes the rows of one family.
pub(super) struct Rows<'a> {
    metric: MetricEncoder<'a>,
    labels: &'static [&'static str],
    /// Of which kind the hub of the next row is: the labels of a channel have names of their own.
    kind: HubKind,
}

impl<'a> Rows<'a> {
    /// The rows of `metric`, whose labels are called `labels`.
    pub(super) fn new(metric: MetricEncoder<'a>, labels: &'static [&'static str]) -> Self {
        Self { metric, labels, kind: HubKind::Broker }
    }

    pub(super) fn counter(
        &mut self,
        values: &[&str],
        count: impl EncodeCounterValue,
    ) -> fmt::Result {
        self.row(values, |metric| metric.encode_counter::<NoLabelSet, _, f64>(&count, None))
    }

    pub(super) fn gauge(&mut self, values: &[&str], value: impl EncodeGaugeValue) -> fmt::Result {
        self.row(values, |metric| metric.encode_gauge(&value))
    }

    pub(super) fn info(&mut self, values: &[&str]) -> fmt::Result {
        let labels = self.labelled(values);
        self.metric.encode_info(&labels)
    }

    pub(super) fn histogram(&mut self, values: &[&str], books: &TriggerBooks) -> fmt::Result {
        let bounds = DURATION_BOUNDS.into_iter().chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(books.tally.durations).collect();
        let count = books.tally.durations.iter().sum();
        let sum = books.tally.duration_sum;
        self.row(values, |metric| metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None))
    }

    /// A gauge without labels that may not be known.
    pub(super) fn known(&mut self, value: Option<impl EncodeGaugeValue>) -> fmt::Result {
        value.map_or(Ok(()), |value| self.gauge(&[], value))
    }

    pub(super) fn refusals(&mut self, hub: &str, counts: &[u64]) -> fmt::Result {
        REFUSAL_STATUSES
            .iter()
            .zip(counts)
            .try_for_each(|(status, &count)| self.counter(&[hub, &status.to_string()], count))
    }

    /// Says of which kind the hub of the next row is.
    pub(super) fn of(&mut self, kind: HubKind) {
        self.kind = kind;
    }

    pub(super) fn of_hubs(
        &mut self,
        scrape: &Scrape,
        mut write: impl FnMut(&mut Self, &str, &HubNumbers) -> fmt::Result,
    ) -> fmt::Result {
        scrape.hubs.iter().try_for_each(|(HubLabel { kind, text }, numbers)| {
            self.kind = *kind;
            write(self, text, numbers)
        })
    }

    /// Those of one kind alone.
    pub(super) fn of_kind(
        &mut self,
        scrape: &Scrape,
        kind: HubKind,
        mut write: impl FnMut(&mut Self, &str, &HubNumbers) -> fmt::Result,
    ) -> fmt::Result {
        self.of_hubs(
            scrape,
            |rows, hub, numbers| {
                if rows.kind == kind { write(rows, hub, numbers) } else { Ok(()) }
            },
        )
    }

    pub(super) fn of_running(
        &mut self,
        scrape: &Scrape,
        mut write: impl FnMut(&mut Self, &str, &Running) -> fmt::Result,
    ) -> fmt::Result {
        self.of_hubs(scrape, |rows, hub, numbers| {
            numbers.running.as_ref().map_or(Ok(()), |running| write(rows, hub, running))
        })
    }

    pub(super) fn of_triggers<T>(
        &mut self,
        scrape: &Scrape,
        write: fn(&mut Self, &[&str], T) -> fmt::Result,
        number: impl Fn(&TriggerBooks) -> T,
    ) -> fmt::Result {
        scrape.triggers.iter().try_for_each(|((hub, trigger), books)| {
            self.kind = hub.kind;
            write(self, &[&hub.text, trigger], number(books))
        })
    }

    /// The labels of a row with their values.
    fn labelled<'v>(&self, values: &[&'v str]) -> Vec<(&'static str, &'v str)> {
        let name = |label| match (self.kind, label) {
            (HubKind::Channel, "broker") => "channel",
            (HubKind::Channel, "trigger") => "subscription",
            (_, label) => label,
        };
        self.labels.iter().copied().map(name).zip(values.iter().copied()).collect()
    }

    fn row(
        &mut self,
        values: &[&str],
        write: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        if values.is_empty() {
            return write(&mut self.metric);
        }
        let labels = self.labelled(values);
        write(&mut self.metric.encode_family(&labels)?)
    }
}
