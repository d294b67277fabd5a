//! What `/metrics` says, read by a parser that takes nothing but well-formed OpenMetrics.

use std::collections::{BTreeMap, BTreeSet};

use channel::{Budget, Hub, HubKind};
use dispatcher::Reason;

use super::{
    super::fixture::{Bench, broker, name, trigger},
    encode,
    scrape::{HubLabel, OTHER, OWN_MAX, Scrape},
    table,
};
use crate::control::{
    Books, BreakerState, HubBooks, Inventory, NotReady, TriggerBooks, TriggerState,
};
use crate::ingress::Bound;

/// Samples by name and labels, as written: `x_total{a="b"}`.
type Samples = BTreeMap<String, f64>;

/// Reads an exposition; panics at whatever OpenMetrics 1.0 does not allow.
fn parse(text: &str) -> (BTreeSet<String>, Samples) {
    let body = text.strip_suffix("# EOF\n").expect("ends with EOF");
    let (mut families, mut samples) = (BTreeSet::new(), Samples::new());
    let mut lines = body.lines().peekable();
    while let Some(line) = lines.next() {
        let (name, help) = line.strip_prefix("# HELP ").expect(line).split_once(' ').unwrap();
        assert!(is_name(name) && !help.is_empty() && !help.contains(['\\', '"']), "{line}");
        assert!(families.insert(name.to_owned()), "{name} is there twice");
        let kind = lines.next().unwrap().strip_prefix(&format!("# TYPE {name} ")).expect(line);
        if let Some(unit) = lines.next_if(|line| line.starts_with("# UNIT ")) {
            let unit = unit.strip_prefix(&format!("# UNIT {name} ")).expect(unit);
            assert!(name.ends_with(&format!("_{unit}")), "{name} {unit}");
        }
        let endings: &[&str] = match kind {
            "counter" => &["_total"],
            "gauge" => &[""],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_sum", "_count"],
            other => panic!("{other}"),
        };
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (sample, labels) = read_series(series);
            let ending = sample.strip_prefix(name).expect(line);
            assert!(endings.contains(&ending), "{line} is no {kind}");
            assert_eq!(labels.iter().any(|label| label == "le"), ending == "_bucket", "{line}");
            let value: f64 = value.parse().expect(line);
            assert!(value >= 0.0 || kind == "gauge", "{line}");
            assert!(samples.insert(series.to_owned(), value).is_none(), "{line} is there twice");
        }
    }
    (families, samples)
}

/// The name and the names of the labels of `name{label="value",...}`.
fn read_series(series: &str) -> (&str, Vec<String>) {
    let Some((name, rest)) = series.split_once('{') else { return (series, Vec::new()) };
    let mut rest = rest.strip_suffix('}').expect(series);
    let mut labels = Vec::new();
    loop {
        let (label, value) = rest.split_once("=\"").expect(series);
        assert!(is_name(label) && !labels.iter().any(|other| other == label), "{series}");
        labels.push(label.to_owned());
        let mut escaped = false;
        let end = value.char_indices().find(|&(_, char)| {
            assert!(!escaped || matches!(char, '\\' | '"' | 'n'), "{series}");
            assert_ne!(char, '\n');
            let closes = char == '"' && !escaped;
            escaped = char == '\\' && !escaped;
            closes
        });
        rest = &value[end.expect(series).0 + 1..];
        if rest.is_empty() {
            return (name, labels);
        }
        rest = rest.strip_prefix(',').expect(series);
    }
}

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|first| first.is_ascii_lowercase())
        && chars.all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_')
}

fn books() -> TriggerBooks {
    let mut books = TriggerBooks::default();
    books.tally.matched = 100;
    books.tally.delivered = 80;
    books.tally.attempts = [0, 80, 0, 3, 5, 2, 1, 0];
    books.tally.dead_by_reason[0] = 4;
    books.tally.durations[0] = 60;
    books.tally.durations[2] = 30;
    books.tally.durations[14] = 1;
    books.tally.duration_sum = 75.5;
    (books.dead, books.expired, books.purged) = (3, 1, 2);
    (books.tally.waiting, books.tally.in_flight) = (10, 4);
    (books.breaker, books.concurrency, books.stalled) = (BreakerState::Open, 8, 3);
    books
}

/// The label of a broker's numbers.
fn label(text: &str) -> HubLabel {
    HubLabel { kind: HubKind::Broker, text: text.to_owned() }
}

fn one_broker(books: TriggerBooks) -> Books {
    let mut of_broker = HubBooks::default();
    of_broker.ingress.accepted = 100;
    of_broker.ingress.refused[9] = 7;
    of_broker.triggers.insert(name("default/orders"), books);
    let mut all = Books { silent_workers: 1, ..Books::default() };
    all.unrouted.refused[1] = 5;
    all.bounds.count(Bound::JsonDepth);
    all.client.waited = 6;
    all.hubs.insert(Hub::broker(name("default/default")), of_broker);
    all
}

#[tokio::test]
async fn what_is_served_is_well_formed_and_all_that_the_table_has() {
    let bench = Bench::new();
    bench.bury("default/default", "default/orders", Reason::Aged);
    let reply = bench.get("/metrics").await;
    assert_eq!(reply.media(), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let (families, samples) = parse(reply.text());
    let table = table::families().map(|family| match &family.unit {
        Some(unit) => format!("{}_{}", family.name, unit.as_str()),
        None => family.name.to_owned(),
    });
    assert_eq!(families, table.collect());
    for (series, value) in [
        ("catchment_ready", 1.0),
        (r#"catchment_broker_ready{broker="default/default"}"#, 1.0),
        (r#"catchment_broker_ready{broker="other/down"}"#, 0.0),
        (r#"catchment_channel_up{broker="default/default",kind="InMemoryChannel"}"#, 1.0),
        (r#"catchment_channel_up{broker="other/down",kind="KafkaChannel"}"#, 0.0),
        (r#"catchment_triggers{broker="default/default",ready="false"}"#, 1.0),
        (r#"catchment_dead_letters_kept{broker="default/default"}"#, 1.0),
        (r#"catchment_manifest_problems{severity="error"}"#, 1.0),
        (r#"catchment_route_triggers{broker="default/default"}"#, 1.0),
        ("catchment_memory_limit_bytes", 1_048_576.0),
        (
            r#"catchment_limits_reached_total{broker="default/default",limit="deadLetters.eventsMax"}"#,
            0.0,
        ),
        (
            r#"catchment_limits_reached_total{broker="default/default",limit="channel.memory.eventsMax"}"#,
            0.0,
        ),
        ("process_start_time_seconds", 1_769_860_800.0),
        (
            r#"catchment_channel_info{broker="default/default",kind="InMemoryChannel",durability="none",replicated="false"}"#,
            1.0,
        ),
    ] {
        assert_eq!(samples.get(series), Some(&value), "{series} in {}", reply.text());
    }
}

#[test]
fn counts_are_shown_under_their_labels() {
    let scrape = Scrape::default().with(one_broker(books()), &Inventory::default());
    let (_, samples) = parse(&encode(scrape).unwrap());
    // The books tell of a broker that the inventory does not have any more.
    assert!(!samples.keys().any(|series| series.starts_with("catchment_broker_ready")));
    let of = r#"broker="default/default",trigger="default/orders""#;
    let messaging = concat!(
        r#"messaging_system="catchment",messaging_operation_name="deliver","#,
        r#"messaging_destination_name="default/default","#,
        r#"messaging_destination_subscription_name="default/orders""#
    );
    for (series, value) in [
        (r#"catchment_events_accepted_total{broker="default/default"}"#.to_owned(), 100.0),
        (
            r#"catchment_requests_refused_total{broker="default/default",status="503"}"#.to_owned(),
            7.0,
        ),
        (r#"catchment_requests_refused_total{broker="",status="404"}"#.to_owned(), 5.0),
        ("catchment_workers_silent".to_owned(), 1.0),
        (
            r#"catchment_limits_reached_total{broker="",limit="ingress.jsonDepthMax"}"#.to_owned(),
            1.0,
        ),
        ("catchment_client_requests_waited_total".to_owned(), 6.0),
        (format!("catchment_events_stalled{{{of}}}"), 3.0),
        (format!("catchment_events_matched_total{{{of}}}"), 100.0),
        (format!("catchment_events_dead_lettered_total{{{of},reason=\"exhausted\"}}"), 4.0),
        (format!("catchment_breaker_state{{{of}}}"), 2.0),
        (format!("messaging_client_consumed_messages_total{{{messaging},error_type=\"\"}}"), 80.0),
        (
            format!("messaging_client_consumed_messages_total{{{messaging},error_type=\"4xx\"}}"),
            3.0,
        ),
        (
            format!(
                "messaging_client_consumed_messages_total{{{messaging},error_type=\"timeout\"}}"
            ),
            2.0,
        ),
        (format!("messaging_process_duration_seconds_bucket{{le=\"0.001\",{messaging}}}"), 60.0),
        (format!("messaging_process_duration_seconds_bucket{{le=\"0.005\",{messaging}}}"), 90.0),
        (format!("messaging_process_duration_seconds_bucket{{le=\"60.0\",{messaging}}}"), 90.0),
        (format!("messaging_process_duration_seconds_bucket{{le=\"+Inf\",{messaging}}}"), 91.0),
        (format!("messaging_process_duration_seconds_count{{{messaging}}}"), 91.0),
        (format!("messaging_process_duration_seconds_sum{{{messaging}}}"), 75.5),
    ] {
        assert_eq!(samples.get(&series), Some(&value), "{series}");
    }
    let number = |metric: &str| samples[&format!("catchment_{metric}{{{of}}}")];
    let ends = ["events_delivered_total", "dead_letters_expired_total", "events_purged_total"];
    let gauges = ["dead_letters", "events_waiting", "events_in_flight"];
    let sum: f64 = ends.into_iter().chain(gauges).map(number).sum();
    assert_eq!(number("events_matched_total"), sum);
}

#[test]
fn many_resources_are_summed_under_one_label() {
    let mut all = Books::default();
    for number in 0..OWN_MAX + 500 {
        let mut of_broker = HubBooks::default();
        of_broker.ingress.accepted = 1;
        if number < 3 {
            let triggers =
                (0..400).map(|trigger| (name(&format!("t/{number}-{trigger:03}")), books()));
            of_broker.triggers.extend(triggers);
        }
        all.hubs.insert(Hub::broker(name(&format!("b/{number:04}"))), of_broker);
    }
    let scrape = Scrape::default().with(all, &Inventory::default());
    assert_eq!(scrape.hubs.len(), OWN_MAX + 1);
    assert_eq!(scrape.hubs[&label(OTHER)].ingress.accepted, 500);
    assert_eq!(scrape.triggers.len(), OWN_MAX + 1);
    let other = &scrape.triggers[&(label("b/0002"), OTHER.to_owned())];
    assert_eq!((other.tally.matched, other.dead, other.concurrency), (20_000, 600, 8));
    parse(&encode(scrape).unwrap());
}

#[test]
fn a_broker_that_shares_its_label_is_counted_with_the_others() {
    let budget = Budget::new(1 << 20);
    let mut inventory = Inventory::default();
    for number in 0..OWN_MAX + 2 {
        let broker_name = format!("b/{number:04}");
        let state = broker(&broker_name, &budget, vec![trigger("t/x")]);
        inventory.brokers.insert(name(&broker_name), Ok(state));
        let running = Err(NotReady { reason: "X", message: String::new() });
        let trigger = name(&format!("t/{number:04}"));
        let hub = Hub::broker(name(&broker_name));
        let state = TriggerState {
            name: trigger.clone(),
            hub,
            written: None,
            running,
            unresolved: None,
            paused: None,
            sink_from: None,
        };
        inventory.triggers.insert(trigger, state);
    }
    let scrape = Scrape::default().with(Books::default(), &inventory);
    let other = &scrape.hubs[&label(OTHER)];
    assert_eq!((other.triggers_ready, other.triggers_not_ready), (0, 2));
    let running = other.running.as_ref().unwrap();
    assert_eq!((running.routes.triggers, running.channel), (2, None));
    parse(&encode(scrape).unwrap());
}

#[test]
fn a_label_value_cannot_break_its_line() {
    let mut all = Books::default();
    let strange = channel::Name::new("a", "b\"},x{\\\n");
    all.hubs.insert(Hub::broker(strange), HubBooks::default());
    let text = encode(Scrape::default().with(all, &Inventory::default())).unwrap();
    parse(&text);
    assert!(text.contains(r#"{broker="a/b\"},x{\\\n"}"#), "{text}");
}
