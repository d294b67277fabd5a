//! What files say about each other.

use super::*;
use crate::spec::ChannelChoice;

const CHANNEL: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: channel\ndata:\n  \
                       channel-template-spec: |\n    apiVersion: messaging.knative.dev/v1\n    \
                       kind: InMemoryChannel\n";

fn broker_with_config(name: &str, config: &str) -> String {
    format!(
        "{}spec:\n  config:\n    apiVersion: v1\n    kind: ConfigMap\n    {config}\n",
        broker(name)
    )
}

#[test]
fn a_resource_defined_twice_names_both_places() {
    let a = broker("x");
    let b = format!("# second\n{}", broker("x"));
    assert_eq!(
        linked(&[("b.yaml", &b), ("a.yaml", &a)]),
        ["b.yaml:5:9: metadata.name: Broker default/x is already defined at a.yaml:4:9"]
    );
    let twice = format!("{a}---\n{a}");
    assert_eq!(
        linked(&[("a.yaml", &twice)]),
        ["a.yaml:9:9: metadata.name: Broker default/x is already defined at a.yaml:4:9"]
    );
    let elsewhere = a.replace("name: x", "name: x\n  namespace: other");
    assert_eq!(linked(&[("a.yaml", &a), ("b.yaml", &elsewhere)]), Vec::<String>::new());
}

#[test]
fn a_trigger_without_its_broker_is_warned_of_and_kept() {
    let files = [("a.yaml", &*broker("defalt")), ("b.yaml", &*trigger("t", ""))];
    assert_eq!(
        linked(&files),
        ["b.yaml:6:11: warning: spec.broker: broker default/default is not defined here \
          (did you mean defalt?)"]
    );
    assert_eq!(names(&load(&files).resources), ["Broker default/defalt", "Trigger default/t"]);
}

#[test]
fn a_config_map_chooses_the_channel() {
    let broker = broker_with_config("b", "name: channel");
    let loaded = load(&[("b.yaml", &broker), ("c.yaml", CHANNEL)]);
    assert_eq!(loaded.problems, []);
    let hub = channel::Hub::broker(channel::Name::new("default", "b"));
    assert_eq!(loaded.resources.choices[&hub], ChannelChoice::InMemory);
    let loaded = load(&[("b.yaml", &super::broker("b"))]);
    assert_eq!(loaded.resources.choices[&hub], ChannelChoice::Default);
}

#[test]
fn a_channel_that_cannot_be_had_is_told_where_it_is_asked_for() {
    let broker = broker_with_config("b", "name: channel");
    let at = |line: u32, column: u32, rest: &str| {
        format!("c.yaml:{line}:{column}: data.channel-template-spec{rest}")
    };
    let cases = [
        (
            "kind: KafkaChannel\n    spec: {numPartitions: 0}",
            at(9, 27, ".spec.numPartitions: must be from 1 to 10000"),
        ),
        (
            "kind: DiskChannel\n    spec: {bytesMax: 0}",
            at(9, 22, ".spec.bytesMax: must be at least 8Mi"),
        ),
        (
            "kind: InMemoryChanel",
            at(
                8,
                11,
                ".kind: must be one of InMemoryChannel, DiskChannel, KafkaChannel, \
                       NatsJetStreamChannel (did you mean InMemoryChannel?)",
            ),
        ),
        (
            "kind: InMemoryChannel\n    spec: {size: 3}",
            at(9, 12, ".spec.size: unknown field; known here: delivery, subscribers"),
        ),
        ("kindd: InMemoryChannel", at(8, 5, ".kindd: unknown field (did you mean kind?)")),
        ("kind: [", at(8, 11, ": not valid YAML: unclosed bracket '['")),
    ];
    for (kind, expected) in cases {
        let config_map = CHANNEL.replace("kind: InMemoryChannel", kind);
        let files = [("b.yaml", &*broker), ("c.yaml", &*config_map)];
        let problems = linked(&files);
        assert!(problems.contains(&expected), "{problems:#?}");
        assert_eq!(names(&load(&files).resources), ["ConfigMap default/channel"]);
    }
}

#[test]
fn a_config_map_that_is_not_there_is_told_at_the_broker() {
    let at = "b.yaml:9:11: spec.config.name";
    let other = broker_with_config("b", "name: other");
    assert_eq!(
        linked(&[("b.yaml", &other), ("c.yaml", CHANNEL)]),
        [format!("{at}: ConfigMap default/other is not defined here")]
    );
    let empty = CHANNEL.replace("channel-template-spec", "other");
    let broker = broker_with_config("b", "name: channel");
    assert_eq!(
        linked(&[("b.yaml", &broker), ("c.yaml", &empty)]),
        [format!("{at}: ConfigMap default/channel has no data.channel-template-spec")]
    );
}

#[test]
fn the_config_that_knative_ships_needs_no_config_map() {
    let broker =
        broker_with_config("b", "name: config-br-default-channel\n    namespace: knative-eventing");
    let loaded = load(&[("b.yaml", &broker)]);
    assert!(!loaded.has_errors());
    assert_eq!(names(&loaded.resources), ["Broker default/b"]);
}

#[test]
fn a_config_of_another_kind_is_refused() {
    let broker =
        broker_with_config("b", "name: channel").replace("kind: ConfigMap", "kind: Secret");
    assert_eq!(problems(broker), ["8:11: spec.config.kind: must be ConfigMap"]);
}

#[test]
fn what_is_defined_badly_is_not_called_undefined() {
    let trigger = trigger("t", "");
    let bad_broker = broker("default") + "spec: {delivery: {retry: -1}}\n";
    let problems = linked(&[("b.yaml", &bad_broker), ("t.yaml", &trigger)]);
    assert_eq!(problems.len(), 1, "{problems:?}");

    let cut = "kind: [\n";
    assert_eq!(linked(&[("b.yaml", cut), ("t.yaml", &trigger)]).len(), 1);

    let broker = broker_with_config("b", "name: channel");
    let bad_map = CHANNEL.replace("name: channel", "name: channel\n  label: {}");
    let problems = linked(&[("b.yaml", &broker), ("c.yaml", &bad_map)]);
    assert_eq!(problems.len(), 1, "{problems:?}");
}

#[test]
fn what_is_wrong_between_files_is_told_of_bad_ones_as_well() {
    let bad = format!("{}---\n{}---\nkind: Broker\n", broker("x"), trigger("t", ""));
    let problems = linked(&[("a.yaml", &broker("x")), ("b.yaml", &bad)]);
    assert_eq!(problems.len(), 3, "{problems:#?}");
    assert!(problems[0].contains("Broker default/x is already defined at a.yaml:4:9"));
    assert!(problems[1].contains("broker default/default is not defined here"));
}
