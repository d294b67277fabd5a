//! What the process as a whole holds, and takes of the machine.

use prometheus_client::{
    metrics::MetricType::{Counter, Gauge, Info},
    registry::Unit,
};

use super::super::{rows::Family, scrape::SEVERITIES};

pub(super) static FAMILIES: [Family; 20] = [
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
        rows: |scrape, rows| rows.gauge(&[], scrape.connections.open),
    },
    Family {
        name: "catchment_connections_refused",
        unit: None,
        kind: Counter,
        labels: &[],
        help: "Connections refused because there were too many, in all or of one address",
        rows: |scrape, rows| {
            let connections = &scrape.connections;
            rows.counter(&[], connections.refused_in_all + connections.refused_of_address)
        },
    },
    Family {
        name: "catchment_client_connections_opened",
        unit: None,
        kind: Counter,
        labels: &[],
        help: "Connections opened to subscribers and dead letter sinks, TLS included",
        rows: |scrape, rows| rows.counter(&[], scrape.client.opened),
    },
    Family {
        name: "catchment_client_connections_idle",
        unit: None,
        kind: Gauge,
        labels: &[],
        help: "Connections to subscribers and dead letter sinks that are kept for the next request",
        rows: |scrape, rows| rows.gauge(&[], scrape.client.idle),
    },
    Family {
        name: "catchment_client_connections_surplus",
        unit: None,
        kind: Counter,
        labels: &[],
        help: "Connections closed after use because enough unused ones were kept already",
        rows: |scrape, rows| rows.counter(&[], scrape.client.surplus),
    },
    Family {
        name: "catchment_client_requests_reused",
        unit: None,
        kind: Counter,
        labels: &[],
        help: "Requests sent on a kept connection",
        rows: |scrape, rows| rows.counter(&[], scrape.client.reused),
    },
    Family {
        name: "catchment_client_requests_resent",
        unit: None,
        kind: Counter,
        labels: &[],
        help: "Of those, sent again on a fresh connection because the peer had closed the kept one",
        rows: |scrape, rows| rows.counter(&[], scrape.client.resent),
    },
    Family {
        name: "catchment_client_requests_waited",
        unit: None,
        kind: Counter,
        labels: &[],
        help: "Requests that waited because delivery.connectionsPerHostMax was reached",
        rows: |scrape, rows| rows.counter(&[], scrape.client.waited),
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
