//! Channels and subscriptions: what is read of them, what is refused, and how they fit together.

use channel::{Hub, Name, Reference};

use super::{linked, load, names, problems};
use crate::spec::{ChannelChoice, ChannelKind};

const HEAD: &str = "apiVersion: messaging.knative.dev/v1\n";

fn channel(kind: &str, rest: &str) -> String {
    let version = match kind {
        "KafkaChannel" => "v1beta1",
        "NatsJetStreamChannel" => "v1alpha1",
        _ => "v1",
    };
    format!(
        "apiVersion: messaging.knative.dev/{version}\nkind: {kind}\nmetadata:\n  name: c\n{rest}"
    )
}

fn subscription(spec: &str) -> String {
    format!("{HEAD}kind: Subscription\nmetadata:\n  name: s\nspec:\n{spec}")
}

const SUBSCRIBED: &str = "  channel: {apiVersion: messaging.knative.dev/v1, kind: Channel, name: c}\n  \
                          subscriber: {uri: \"http://127.0.0.1:9/\"}\n";

fn kind_of(files: &[(&str, &str)], name: &str) -> ChannelKind {
    let loaded = load(files);
    assert_eq!(loaded.problems, []);
    let (namespace, name) = name.split_once('/').unwrap();
    let hub = Hub::channel(Name::new(namespace, name));
    loaded.resources.choices[&hub].kind(ChannelKind::Nats)
}

#[test]
fn every_kind_of_channel_is_read_and_each_is_a_channel_of_its_own() {
    for kind in ChannelKind::ALL {
        let text = channel(kind.as_str(), "spec: {delivery: {retry: 3}}\n");
        let loaded = load(&[("c.yaml", &text)]);
        assert_eq!(loaded.problems, [], "{kind:?}");
        assert_eq!(names(&loaded.resources), ["Channel default/c"]);
        assert_eq!(kind_of(&[("c.yaml", &text)], "default/c"), kind);
        let channel = loaded.resources.channels.values().next().unwrap();
        let delivery = channel.spec.delivery.as_ref().unwrap();
        assert_eq!((channel.spec.kind.as_str(), delivery.retry), (kind.as_str(), Some(3)));
    }
    let kafka = channel("KafkaChannel", "").replace("v1beta1", "v1");
    assert_eq!(problems(kafka), Vec::<String>::new());
}

#[test]
fn a_channel_asks_by_its_template_or_by_the_defaults_or_not_at_all() {
    let with = channel(
        "Channel",
        "spec:\n  channelTemplate:\n    apiVersion: messaging.knative.dev/v1\n    kind: DiskChannel\n",
    );
    assert_eq!(kind_of(&[("c.yaml", &with)], "default/c"), ChannelKind::Disk);
    let open = channel("Channel", "");
    assert_eq!(kind_of(&[("c.yaml", &open)], "default/c"), ChannelKind::Nats, "the process's");
    let defaults = |namespace: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: default-ch-webhook\n  namespace: \
             {namespace}\ndata:\n  default-ch-config: |\n    clusterDefault:\n      apiVersion: \
             messaging.knative.dev/v1\n      kind: InMemoryChannel\n      delivery: {{retry: 7}}\n"
        )
    };
    for namespace in ["knative-eventing", "catchment"] {
        let files = [("a.yaml", &*defaults(namespace)), ("c.yaml", &open)];
        assert_eq!(kind_of(&files, "default/c"), ChannelKind::Memory);
        let loaded = load(&files);
        let channel = loaded.resources.channels.values().next().unwrap();
        assert_eq!(channel.spec.delivery.as_ref().unwrap().retry, Some(7));
        let files = [("a.yaml", &*defaults(namespace)), ("c.yaml", &with)];
        assert_eq!(kind_of(&files, "default/c"), ChannelKind::Disk);
    }
    let files = [("a.yaml", &*defaults("elsewhere")), ("c.yaml", &open)];
    assert_eq!(kind_of(&files, "default/c"), ChannelKind::Nats);
    let wrong = defaults("catchment").replace("InMemoryChannel", "MemoryChannel");
    assert_eq!(
        linked(&[("a.yaml", &wrong), ("c.yaml", &open)]),
        [
            "a.yaml:10:13: data.default-ch-config.clusterDefault.kind: must be one of InMemoryChannel, \
          DiskChannel, KafkaChannel, NatsJetStreamChannel (did you mean InMemoryChannel?)"
        ]
    );
    assert!(load(&[("a.yaml", &wrong), ("c.yaml", &open)]).resources.channels.is_empty());
}

#[test]
fn what_is_wrong_with_a_channel_is_told_where_it_stands() {
    for (text, expected) in [
        (
            channel("DiskChannel", "spec: {bytesMax: 0}\n"),
            "5:18: spec.bytesMax: must be at least 8Mi",
        ),
        (
            channel("DiskChannel", "spec: {byteMax: 8Mi}\n"),
            "5:8: spec.byteMax: unknown field (did you mean bytesMax?)",
        ),
        (
            channel("InMemoryChannel", "spec: {delivery: {retry: -1}}\n"),
            "5:26: spec.delivery.retry: invalid value: -1: must not be negative",
        ),
        (
            channel("InMemoryChannel", "spec: {delivery: {rety: 1}}\n"),
            "5:19: spec.delivery.rety: unknown field (did you mean retry?)",
        ),
        (
            channel("Channel", "spec: {subscribers: [{}]}\n"),
            "5:21: spec.subscribers: must not set the field(s): spec.subscribers",
        ),
        (
            channel("Channel", "spec: {channelTemplate: {kind: DiskChannel}}\n"),
            "5:25: spec.channelTemplate.apiVersion: is required",
        ),
        (
            channel("KafkaChannel", "spec: {numPartitions: 0}\n"),
            "5:23: spec.numPartitions: must be from 1 to 10000",
        ),
        (
            channel("Channel", "").replace("/v1", "/v1beta1"),
            "1:13: apiVersion: must be messaging.knative.dev/v1 for kind Channel (did you mean \
             messaging.knative.dev/v1?)",
        ),
    ] {
        assert_eq!(problems(&text), [expected], "{text}");
    }
}

#[test]
fn what_is_wrong_with_a_subscription_is_told_where_it_stands() {
    let channel = "  channel: {apiVersion: messaging.knative.dev/v1, kind: Channel, name: c}\n";
    let to = "  subscriber: {uri: \"http://127.0.0.1:9/\"}\n";
    for (spec, expected) in [
        (
            to.to_owned(),
            "5:1: spec.channel: is required: the Subscription must reference a channel",
        ),
        (
            channel.to_owned(),
            "5:1: spec.subscriber: is required, unless there is a reply: the Subscription must \
             reference a subscriber",
        ),
        (
            channel.replace("Channel,", "Broker,") + to,
            "6:57: spec.channel.kind: must be one of Channel, InMemoryChannel, DiskChannel, \
             KafkaChannel, NatsJetStreamChannel, of messaging.knative.dev",
        ),
        (
            channel.replace("name: c", "name: c, namespace: other") + to,
            "6:86: spec.channel.namespace: must be default, the subscription's own",
        ),
        (channel.replace(", name: c", "") + to, "6:3: spec.channel: missing field(s): name"),
        (
            format!("{channel}{to}  reply: {{uri: nowhere}}\n"),
            "8:16: spec.reply.uri: Relative URI is not allowed when Ref and [apiVersion, kind, \
             name] is absent",
        ),
        (
            format!("{channel}{to}  filter: {{}}\n"),
            "8:3: spec.filter: unknown field; known here: channel, subscriber, reply, delivery",
        ),
    ] {
        assert_eq!(problems(subscription(&spec)), [expected], "{spec}");
    }
    let only_reply = format!("{channel}  reply: {{uri: \"http://127.0.0.1:9/\"}}\n");
    assert_eq!(problems(subscription(&only_reply)), Vec::<String>::new());
}

#[test]
fn a_subscription_without_its_channel_is_warned_of_and_kept() {
    let files = [("a.yaml", &*channel("Channel", "").replace(": c\n", ": cc\n"))];
    let subscription = subscription(SUBSCRIBED);
    let files = [files[0], ("s.yaml", &*subscription)];
    assert_eq!(
        linked(&files),
        [
            "s.yaml:6:72: warning: spec.channel.name: channel default/c is not defined here (did you \
          mean cc?)"
        ]
    );
    assert_eq!(load(&files).resources.subscriptions.len(), 1);
}

#[test]
fn two_channels_of_one_name_are_one_too_many_whatever_their_kinds() {
    let files =
        [("a.yaml", &*channel("InMemoryChannel", "")), ("b.yaml", &*channel("DiskChannel", ""))];
    assert_eq!(
        linked(&files),
        [
            "b.yaml:4:9: metadata.name: DiskChannel default/c is already defined as InMemoryChannel at \
          a.yaml:4:9"
        ]
    );
    assert_eq!(kind_of(&files[..1], "default/c"), ChannelKind::Memory);
}

#[test]
fn a_channel_and_what_a_controller_put_behind_it_are_one() {
    let before = channel(
        "Channel",
        "spec:\n  channelTemplate: {apiVersion: messaging.knative.dev/v1, kind: DiskChannel}\n",
    );
    let owned = |kind: &str, owner: &str| {
        channel(kind, "").replace(
            "  name: c\n",
            &format!("  name: c\n  ownerReferences: [{{kind: Channel, name: {owner}, uid: x}}]\n"),
        )
    };
    for files in [
        [("a.yaml", &*before), ("b.yaml", &*owned("DiskChannel", "c"))],
        [("a.yaml", &*owned("DiskChannel", "c")), ("b.yaml", &*before)],
    ] {
        let loaded = load(&files);
        assert_eq!(loaded.problems, []);
        let channel = loaded.resources.channels.values().next().unwrap();
        assert_eq!(channel.spec.kind.as_str(), "Channel");
        let reference = |kind: &str| Reference {
            kind: Some(kind.to_owned()),
            api_version: Some("messaging.knative.dev/v1".to_owned()),
            namespace: Some("default".to_owned()),
            name: Some("c".to_owned()),
            ..Reference::default()
        };
        let find = |kind| loaded.resources.find(&reference(kind), ChannelKind::Memory);
        assert!(find("Channel").is_some() && find("DiskChannel").is_some());
        assert_eq!((find("KafkaChannel"), find("Broker")), (None, None));
    }
    for other in [owned("DiskChannel", "d"), owned("InMemoryChannel", "c")] {
        assert_eq!(linked(&[("a.yaml", &*before), ("b.yaml", &*other)]).len(), 1, "{other}");
    }
}

#[test]
fn a_broker_and_a_channel_may_have_one_name() {
    let files = [("b.yaml", &*super::broker("c")), ("c.yaml", &*channel("InMemoryChannel", ""))];
    let loaded = load(&files);
    assert_eq!((loaded.problems.len(), loaded.resources.choices.len()), (0, 2));
    let of_channel = &loaded.resources.choices[&Hub::channel(Name::new("default", "c"))];
    assert_eq!(*of_channel, ChannelChoice::InMemory);
}
