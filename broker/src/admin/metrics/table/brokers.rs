//! What each broker takes in and holds.

use channel::HubKind;
use prometheus_client::{
    metrics::MetricType::{Counter, Gauge, Info},
    registry::Unit,
};

use super::{super::rows::Family, BROKER};

pub(super) static FAMILIES: [Family; 16] = [
    Family {
        name: "catchment_events_accepted",
        unit: None,
        kind: Counter,
        labels: BROKER,
        help: "Events answered 202",
        rows: |scrape, rows| {
            rows.of_hubs(scrape, |rows, broker, numbers| {
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
            rows.of_hubs(scrape, |rows, broker, numbers| {
                rows.refusals(broker, &numbers.ingress.refused)
            })
        },
    },
    Family {
        name: "catchment_broker_ready",
        unit: None,
        kind: Gauge,
        labels: BROKER,
        help: "Whether the broker is at work and its channel can be reached",
        rows: |scrape, rows| {
            rows.of_kind(scrape, HubKind::Broker, |rows, broker, numbers| {
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
            rows.of_kind(scrape, HubKind::Broker, |rows, broker, numbers| {
                rows.gauge(&[broker, "true"], numbers.triggers_ready)?;
                rows.gauge(&[broker, "false"], numbers.triggers_not_ready)
            })
        },
    },
    Family {
        name: "catchment_channel_ready",
        unit: None,
        kind: Gauge,
        labels: BROKER,
        help: "Whether the channel is at work and what keeps its events can be reached",
        rows: |scrape, rows| {
            rows.of_kind(scrape, HubKind::Channel, |rows, channel, numbers| {
                numbers
                    .is_ready
                    .map_or(Ok(()), |is_ready| rows.gauge(&[channel], u64::from(is_ready)))
            })
        },
    },
    Family {
        name: "catchment_subscriptions",
        unit: None,
        kind: Gauge,
        labels: &["broker", "ready"],
        help: "Subscriptions, by whether they are at work",
        rows: |scrape, rows| {
            rows.of_kind(scrape, HubKind::Channel, |rows, channel, numbers| {
                rows.gauge(&[channel, "true"], numbers.triggers_ready)?;
                rows.gauge(&[channel, "false"], numbers.triggers_not_ready)
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
        name: "catchment_channel_up",
        unit: None,
        kind: Gauge,
        labels: &["broker", "kind"],
        help: "Whether the channel that the broker asks for is open and can be reached",
        rows: |scrape, rows| {
            rows.of_hubs(scrape, |rows, broker, numbers| {
                let Some((kind, is_up)) = numbers.channel_up else { return Ok(()) };
                rows.gauge(&[broker, kind], u64::from(is_up))
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
        name: "catchment_limits_reached",
        unit: None,
        kind: Counter,
        labels: &["broker", "limit"],
        help: "Refusals because a limit was reached, by its name in the configuration; broker is empty \
               for the limits of the way in. A dead letter without room is refused every second. \
               What a trigger may let wait is catchment_events_dead_lettered, reason overflow; \
               connections to subscribers are catchment_client_requests_waited",
        rows: |scrape, rows| {
            for (bound, count) in scrape.bounds.iter() {
                rows.counter(&["", bound.as_str()], count)?;
            }
            let connections = &scrape.connections;
            rows.counter(&["", "ingress.connectionsMax"], connections.refused_in_all)?;
            let of_address = connections.refused_of_address;
            rows.counter(&["", "ingress.connectionsPerAddressMax"], of_address)?;
            rows.of_running(scrape, |rows, broker, running| {
                let mut bounds = running.bounds.iter();
                bounds.try_for_each(|(bound, &count)| rows.counter(&[broker, bound], count))
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
];
