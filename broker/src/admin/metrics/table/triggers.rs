//! What became of the events of each trigger.

use channel::HubKind;
use dispatcher::{AttemptEnd, Reason};
use prometheus_client::{
    metrics::MetricType::{Counter, Gauge, Histogram},
    registry::Unit,
};

use super::{
    super::{
        rows::{Family, Rows},
        scrape::HubLabel,
    },
    TRIGGER,
};
use crate::control::BreakerState;

/// What OpenTelemetry's conventions ask of every messaging metric, then broker and trigger.
const MESSAGING: &[&str] = &[
    "messaging_system",
    "messaging_operation_name",
    "messaging_destination_name",
    "messaging_destination_subscription_name",
];
const MESSAGING_ERROR: &[&str] = &[
    "messaging_system",
    "messaging_operation_name",
    "messaging_destination_name",
    "messaging_destination_subscription_name",
    "error_type",
];
const SYSTEM: &str = "catchment";
const OPERATION: &str = "deliver";

/// The attempts that did not fail, in [`AttemptEnd::LABELS`].
const SUCCESS: &str = "2xx";

/// A hub's name where all kinds of destinations have one label: a channel's has a prefix.
fn destination(hub: &HubLabel) -> String {
    match hub.kind {
        HubKind::Broker => hub.text.clone(),
        HubKind::Channel => format!("channels/{}", hub.text),
    }
}

pub(super) static FAMILIES: [Family; 20] = [
    Family {
        name: "messaging_client_consumed_messages",
        unit: None,
        kind: Counter,
        labels: MESSAGING_ERROR,
        help: "Attempts to deliver an event to a trigger's subscriber. error_type is empty for a 2xx \
               answer, or else the class of the status, timeout, unreachable (no connection) or \
               broken (no whole answer)",
        rows: |scrape, rows| {
            for ((hub, trigger), books) in &scrape.triggers {
                let destination = destination(hub);
                for (label, &count) in AttemptEnd::LABELS.iter().zip(&books.tally.attempts) {
                    let error = if *label == SUCCESS { "" } else { label };
                    rows.counter(&[SYSTEM, OPERATION, &destination, trigger, error], count)?;
                }
            }
            Ok(())
        },
    },
    Family {
        name: "messaging_process_duration",
        unit: Some(Unit::Seconds),
        kind: Histogram,
        labels: MESSAGING,
        help: "Time of attempts to deliver, from the first step to the last byte of the answer",
        rows: |scrape, rows| {
            for ((hub, trigger), books) in &scrape.triggers {
                rows.histogram(&[SYSTEM, OPERATION, &destination(hub), trigger], books)?;
            }
            Ok(())
        },
    },
    Family {
        name: "catchment_events_matched",
        unit: None,
        kind: Counter,
        labels: TRIGGER,
        help: "Events that the trigger's filter took. Whenever it is read, this is delivered + \
               purged + expired and the gauges dead_letters, events_waiting and events_in_flight",
        rows: |scrape, rows| {
            rows.of_triggers(scrape, Rows::counter, |books| count(books.tally.matched))
        },
    },
    Family {
        name: "catchment_events_delivered",
        unit: None,
        kind: Counter,
        labels: TRIGGER,
        help: "Events that the trigger's subscriber took",
        rows: |scrape, rows| {
            rows.of_triggers(scrape, Rows::counter, |books| count(books.tally.delivered))
        },
    },
    Family {
        name: "catchment_events_dead_lettered",
        unit: None,
        kind: Counter,
        labels: &["broker", "trigger", "reason"],
        help: "Events that became dead letters: exhausted (no attempt left), refused (for good), aged, \
               overflow (more waited than may), loop (passed brokers too often), reply (reply not \
               stored). One that was sent again and failed again counts again",
        rows: |scrape, rows| {
            for ((hub, trigger), books) in &scrape.triggers {
                rows.of(hub.kind);
                for (reason, &count) in Reason::ALL.iter().zip(&books.tally.dead_by_reason) {
                    rows.counter(&[&hub.text, trigger, reason.as_str()], count)?;
                }
            }
            Ok(())
        },
    },
    Family {
        name: "catchment_dead_letters_redriven",
        unit: None,
        kind: Counter,
        labels: TRIGGER,
        help: "Dead letters that were sent again",
        rows: |scrape, rows| rows.of_triggers(scrape, Rows::counter, |books| books.tally.redriven),
    },
    Family {
        name: "catchment_dead_letters_expired",
        unit: None,
        kind: Counter,
        labels: TRIGGER,
        help: "Dead letters whose retention ended",
        rows: |scrape, rows| rows.of_triggers(scrape, Rows::counter, |books| count(books.expired)),
    },
    Family {
        name: "catchment_events_purged",
        unit: None,
        kind: Counter,
        labels: TRIGGER,
        help: "Events purged by an operator",
        rows: |scrape, rows| rows.of_triggers(scrape, Rows::counter, |books| count(books.purged)),
    },
    Family {
        name: "catchment_dead_letters",
        unit: None,
        kind: Gauge,
        labels: TRIGGER,
        help: "Dead letters of the trigger that are kept",
        rows: |scrape, rows| rows.of_triggers(scrape, Rows::gauge, |books| books.dead),
    },
    Family {
        name: "catchment_events_waiting",
        unit: None,
        kind: Gauge,
        labels: TRIGGER,
        help: "Events that wait for their turn or for another attempt",
        rows: |scrape, rows| rows.of_triggers(scrape, Rows::gauge, |books| books.tally.waiting),
    },
    Family {
        name: "catchment_overflow_events",
        unit: None,
        kind: Gauge,
        labels: TRIGGER,
        help: "Events that wait in the trigger's overflow, part of events_waiting",
        rows: |scrape, rows| {
            rows.of_triggers(scrape, Rows::gauge, |books| count_of(books.overflow.events))
        },
    },
    Family {
        name: "catchment_overflow_bytes",
        unit: None,
        kind: Gauge,
        labels: TRIGGER,
        help: "Their bytes",
        rows: |scrape, rows| {
            rows.of_triggers(scrape, Rows::gauge, |books| count_of(books.overflow.bytes))
        },
    },
    Family {
        name: "catchment_trigger_paused",
        unit: None,
        kind: Gauge,
        labels: TRIGGER,
        help: "1 while the trigger delivers nothing because somebody paused it",
        rows: |scrape, rows| rows.of_triggers(scrape, Rows::gauge, |books| i64::from(books.paused)),
    },
    Family {
        name: "catchment_events_in_flight",
        unit: None,
        kind: Gauge,
        labels: TRIGGER,
        help: "Events that are being delivered",
        rows: |scrape, rows| rows.of_triggers(scrape, Rows::gauge, |books| books.tally.in_flight),
    },
    Family {
        name: "catchment_events_stalled",
        unit: None,
        kind: Gauge,
        labels: TRIGGER,
        help: "Events, of those in flight, that wait for room among the dead letters of their broker. \
               While there are any the trigger delivers nothing: redrive or purge dead letters",
        rows: |scrape, rows| rows.of_triggers(scrape, Rows::gauge, |books| books.stalled),
    },
    Family {
        name: "catchment_delivery_retries",
        unit: None,
        kind: Counter,
        labels: TRIGGER,
        help: "Attempts that were not the first of their event",
        rows: |scrape, rows| rows.of_triggers(scrape, Rows::counter, |books| books.tally.retries),
    },
    Family {
        name: "catchment_delivery_retries_postponed",
        unit: None,
        kind: Counter,
        labels: TRIGGER,
        help: "Retries put off because too large a part of all attempts were retries",
        rows: |scrape, rows| rows.of_triggers(scrape, Rows::counter, |books| books.tally.postponed),
    },
    Family {
        name: "catchment_replies",
        unit: None,
        kind: Counter,
        labels: TRIGGER,
        help: "Replies of the subscriber that were taken as events",
        rows: |scrape, rows| rows.of_triggers(scrape, Rows::counter, |books| books.tally.replies),
    },
    Family {
        name: "catchment_breaker_state",
        unit: None,
        kind: Gauge,
        labels: TRIGGER,
        help: "Circuit breaker of the subscriber, the worst over all workers: 0 closed, 1 half open, \
               2 open",
        rows: |scrape, rows| rows.of_triggers(scrape, Rows::gauge, |books| rank(books.breaker)),
    },
    Family {
        name: "catchment_concurrency_limit",
        unit: None,
        kind: Gauge,
        labels: TRIGGER,
        help: "Deliveries that one worker may have under way, the most over all workers",
        rows: |scrape, rows| rows.of_triggers(scrape, Rows::gauge, |books| books.concurrency),
    },
];

/// The worse, the higher.
fn rank(state: BreakerState) -> u64 {
    match state {
        BreakerState::Closed => 0,
        BreakerState::HalfOpen => 1,
        BreakerState::Open => 2,
    }
}

/// A count as a gauge shows it.
fn count_of(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A count that is kept as a signed number because parts of it are.
fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
