//! What each source makes.

use prometheus_client::metrics::MetricType::{Counter, Gauge};
use prometheus_client::registry::Unit;

use super::super::rows::Family;

const SOURCE: &[&str] = &["kind", "source"];

pub(super) static FAMILIES: [Family; 4] = [
    Family {
        name: "catchment_source_ready",
        unit: None,
        kind: Gauge,
        labels: SOURCE,
        help: "Whether the source works; of many, how many do",
        rows: |scrape, rows| {
            scrape.sources.iter().try_for_each(|((kind, source), numbers)| {
                rows.gauge(&[kind, source], numbers.ready)
            })
        },
    },
    Family {
        name: "catchment_source_events",
        unit: None,
        kind: Counter,
        labels: &["kind", "source", "outcome"],
        help: "What became of events and requests: made is stored by the sink, refused never will be, \
               retried was handed over again, repeated came twice, skipped are ticks that a newer \
               one stood in for",
        rows: |scrape, rows| {
            scrape.sources.iter().try_for_each(|((kind, source), numbers)| {
                let counts = &numbers.counts;
                [
                    ("made", counts.made),
                    ("refused", counts.refused),
                    ("retried", counts.retried),
                    ("repeated", counts.repeated),
                    ("skipped", counts.skipped),
                ]
                .into_iter()
                .try_for_each(|(outcome, count)| rows.counter(&[kind, source, outcome], count))
            })
        },
    },
    Family {
        name: "catchment_source_restarts",
        unit: None,
        kind: Counter,
        labels: SOURCE,
        help: "Starts of a source after it failed",
        rows: |scrape, rows| {
            scrape.sources.iter().try_for_each(|((kind, source), numbers)| {
                rows.counter(&[kind, source], numbers.counts.restarts)
            })
        },
    },
    Family {
        name: "catchment_source_lag",
        unit: Some(Unit::Seconds),
        kind: Gauge,
        labels: SOURCE,
        help: "From the time of the last event to its being stored; of many, the longest",
        rows: |scrape, rows| {
            scrape.sources.iter().try_for_each(|((kind, source), numbers)| {
                #[expect(clippy::cast_precision_loss, reason = "lags are far below 52 bits")]
                let seconds = numbers.counts.lag_millis as f64 / 1000.0;
                rows.gauge(&[kind, source], seconds)
            })
        },
    },
];
