//! Every metric: name, unit, type, labels, meaning, and where its numbers come from.
//!
//! `broker` and `trigger` are `namespace/name`. The first 1,000 brokers and the first 1,000 triggers
//! in the order of their names have series of their own; all further ones are summed under `other`.
//!
//! # Why these names
//!
//! The two `messaging_` metrics are those of OpenTelemetry's messaging conventions that speak of
//! what a broker does here: it gives events to applications by push. The conventions have none for
//! the rest, which begins with `catchment_`; `process_` is what Prometheus clients call it.

use dispatcher::{AttemptEnd, Reason};
use prometheus_client::{
    metrics::MetricType::{Counter, Gauge, Histogram, Info},
    registry::Unit,
};

use super::{
    rows::{Family, Rows},
    scrape::SEVERITIES,
};
use crate::control::BreakerState;

const BROKER: &[&str] = &["broker"];
const TRIGGER: &[&str] = &["broker", "trigger"];

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

/// All metrics, in the order in which they are shown.
pub(super) static FAMILIES: [Family; 42] = [
    Family {
        name: "messaging_client_consumed_messages",
        unit: None,
        kind: Counter,
        labels: MESSAGING_ERROR,
        help: "Attempts to deliver an event to a trigger's subscriber. error_type is empty for a 2xx \
               answer, or else the class of the status, timeout, unreachable (no connection) or \
               broken (no whole answer)",
        rows: |scrape, rows| {
            for ((broker, trigger), books) in &scrape.triggers {
                for (label, &count) in AttemptEnd::LABELS.iter().zip(&books.tally.attempts) {
                    let error = if *label == SUCCESS { "" } else { label };
                    rows.counter(&[SYSTEM, OPERATION, broker, trigger, error], count)?;
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
            for ((broker, trigger), books) in &scrape.triggers {
                rows.histogram(&[SYSTEM, OPERATION, broker, trigger], books)?;
            }
            Ok(())
        },
    },
    Family {
        name: "catchment_events_accepted",
        unit: None,
        kind: Counter,
        labels: BROKER,
        help: "Events answered 202",
        rows: |scrape, rows| {
            rows.of_brokers(scrape, |rows, broker, numbers| {
                rows.counter(&[broker], numbers.ingress.accepted)
            })
        },
    },
    Family {
        name: "catchment_requests_refused",
        unit: None,
        kind: Counter,
        labels: &["broker", "status"],
        help: "Requests refused at the way in, by status; broker is empty when the request named \
               none that exists. 503 is a full channel or memory limit, 413, 414 and 431 a size limit",
        rows: |scrape, rows| {
            rows.refusals("", &scrape.unrouted.refused)?;
            rows.of_brokers(scrape, |rows, broker, numbers| {
                rows.refusals(broker, &numbers.ingress.refused)
            })
        },
    },
    Family {
        name: "catchment_broker_ready",
        unit: None,
        kind: Gauge,
        labels: BROKER,
        help: "Whether the broker is at work",
        rows: |scrape, rows| {
            rows.of_brokers(scrape, |rows, broker, numbers| {
                numbers
                    .is_ready
                    .map_or(Ok(()), |is_ready| rows.gauge(&[broker], u64::from(is_ready)))
            })
        },
    },
    Family {
        name: "catchment_triggers",
        unit: None,
        kind: Gauge,
        labels: &["broker", "ready"],
        help: "Triggers, by whether they are at work",
        rows: |scrape, rows| {
            rows.of_brokers(scrape, |rows, broker, numbers| {
                rows.gauge(&[broker, "true"], numbers.triggers_ready)?;
                rows.gauge(&[broker, "false"], numbers.triggers_not_ready)
            })
        },
    },
    Family {
        name: "catchment_channel",
        unit: None,
        kind: Info,
        labels: &["broker", "kind", "durability", "replicated"],
        help: "Where events are stored, and whether they survive: none, process (its end) or power \
               (its loss)",
        rows: |scrape, rows| {
            rows.of_running(scrape, |rows, broker, running| {
                let Some((kind, durability)) = running.channel else { return Ok(()) };
                let replicated = if durability.replicated { "true" } else { "false" };
                rows.info(&[broker, kind, durability.strength.as_str(), replicated])
            })
        },
    },
    Family {
        name: "catchment_channel_events",
        unit: None,
        kind: Gauge,
        labels: BROKER,
        help: "Events stored that have not reached all their ends",
        rows: |scrape, rows| {
            rows.of_running(scrape, |rows, broker, running| {
                rows.gauge(&[broker], running.depth.events)
            })
        },
    },
    Family {
        name: "catchment_channel",
        unit: Some(Unit::Bytes),
        kind: Gauge,
        labels: BROKER,
        help: "Bytes of the events stored",
        rows: |scrape, rows| {
            rows.of_running(scrape, |rows, broker, running| {
                rows.gauge(&[broker], running.depth.bytes)
            })
        },
    },
    Family {
        name: "catchment_dead_letters_kept",
        unit: None,
        kind: Gauge,
        labels: BROKER,
        help: "Dead letters that the broker keeps, those of deleted triggers too",
        rows: |scrape, rows| {
            rows.of_running(scrape, |rows, broker, running| rows.gauge(&[broker], running.letters))
        },
    },
    Family {
        name: "catchment_dead_letters_kept",
        unit: Some(Unit::Bytes),
        kind: Gauge,
        labels: BROKER,
        help: "Bytes of the dead letters that the broker keeps",
        rows: |scrape, rows| {
            rows.of_running(scrape, |rows, broker, running| {
                rows.gauge(&[broker], running.letter_bytes)
            })
        },
    },
    Family {
        name: "catchment_route_triggers",
        unit: None,
        kind: Gauge,
        labels: BROKER,
        help: "Triggers in the index that events are matched by",
        rows: |scrape, rows| {
            rows.of_running(scrape, |rows, broker, running| {
                rows.gauge(&[broker], running.routes.triggers)
            })
        },
    },
    Family {
        name: "catchment_route_shapes",
        unit: None,
        kind: Gauge,
        labels: BROKER,
        help: "Look-ups in the index that an event needs at most",
        rows: |scrape, rows| {
            rows.of_running(scrape, |rows, broker, running| {
                rows.gauge(&[broker], running.routes.shapes)
            })
        },
    },
    Family {
        name: "catchment_route_unindexed_triggers",
        unit: None,
        kind: Gauge,
        labels: BROKER,
        help: "Triggers that every event has to ask, because their filter has nothing to look up",
        rows: |scrape, rows| {
            rows.of_running(scrape, |rows, broker, running| {
                rows.gauge(&[broker], running.routes.unindexed)
            })
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
            for ((broker, trigger), books) in &scrape.triggers {
                for (reason, &count) in Reason::ALL.iter().zip(&books.tally.dead_by_reason) {
                    rows.counter(&[broker, trigger, reason.as_str()], count)?;
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
        name: "catchment_events_in_flight",
        unit: None,
        kind: Gauge,
        labels: TRIGGER,
        help: "Events that are being delivered",
        rows: |scrape, rows| rows.of_triggers(scrape, Rows::gauge, |books| books.tally.in_flight),
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
    Family {
        name: "catchment_memory_used",
        unit: Some(Unit::Bytes),
        kind: Gauge,
        labels: &[],
        help: "Memory that events and what is kept about them take of the limit",
        rows: |scrape, rows| rows.gauge(&[], scrape.memory_used),
    },
    Family {
        name: "catchment_memory_limit",
        unit: Some(Unit::Bytes),
        kind: Gauge,
        labels: &[],
        help: "Memory that events may take; beyond it requests are refused with 503",
        rows: |scrape, rows| rows.gauge(&[], scrape.memory_limit),
    },
    Family {
        name: "catchment_connections_open",
        unit: None,
        kind: Gauge,
        labels: &[],
        help: "Connections of the way in",
        rows: |scrape, rows| rows.gauge(&[], scrape.connections_open),
    },
    Family {
        name: "catchment_connections_refused",
        unit: None,
        kind: Counter,
        labels: &[],
        help: "Connections refused because there were too many, in all or of one address",
        rows: |scrape, rows| rows.counter(&[], scrape.connections_refused),
    },
    Family {
        name: "catchment_manifest_problems",
        unit: None,
        kind: Gauge,
        labels: &["severity"],
        help: "What is wrong with manifests. With an error a file counts as it was when last good",
        rows: |scrape, rows| {
            SEVERITIES
                .iter()
                .zip(scrape.problems)
                .try_for_each(|(severity, count)| rows.gauge(&[severity.as_str()], count))
        },
    },
    Family {
        name: "catchment_ready",
        unit: None,
        kind: Gauge,
        labels: &[],
        help: "Whether events are accepted: resources are loaded, and the process is not shutting down",
        rows: |scrape, rows| rows.gauge(&[], u64::from(scrape.is_ready)),
    },
    Family {
        name: "catchment_workers",
        unit: None,
        kind: Gauge,
        labels: &[],
        help: "Worker threads",
        rows: |scrape, rows| rows.gauge(&[], scrape.workers),
    },
    Family {
        name: "catchment_workers_silent",
        unit: None,
        kind: Gauge,
        labels: &[],
        help: "Workers that did not answer in time; their part is missing in all other numbers",
        rows: |scrape, rows| rows.gauge(&[], scrape.silent_workers),
    },
    Family {
        name: "catchment_build",
        unit: None,
        kind: Info,
        labels: &["version"],
        help: "The program",
        rows: |_, rows| rows.info(&[env!("CARGO_PKG_VERSION")]),
    },
    Family {
        name: "process_cpu",
        unit: Some(Unit::Seconds),
        kind: Counter,
        labels: &[],
        help: "Processor time of the process",
        rows: |scrape, rows| rows.counter(&[], scrape.process.cpu.as_secs_f64()),
    },
    Family {
        name: "process_resident_memory",
        unit: Some(Unit::Bytes),
        kind: Gauge,
        labels: &[],
        help: "Resident memory of the process",
        rows: |scrape, rows| rows.known(scrape.process.resident_bytes),
    },
    Family {
        name: "process_open_fds",
        unit: None,
        kind: Gauge,
        labels: &[],
        help: "Open file descriptors of the process",
        rows: |scrape, rows| rows.known(scrape.process.open_files),
    },
    Family {
        name: "process_max_fds",
        unit: None,
        kind: Gauge,
        labels: &[],
        help: "File descriptors that the process may open",
        rows: |scrape, rows| rows.known(scrape.process.open_files_max),
    },
    Family {
        name: "process_start_time",
        unit: Some(Unit::Seconds),
        kind: Gauge,
        labels: &[],
        help: "When the process started, since the Unix epoch",
        rows: |scrape, rows| rows.gauge(&[], scrape.process.started_at.as_secs_f64()),
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

/// A count that is kept as a signed number because parts of it are.
fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
