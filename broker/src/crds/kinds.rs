//! The kinds that have a definition: names, versions, columns, labels, as Knative has them.

use ::sources::{
    ContainerSourceSpec, GitHubSourceSpec, KafkaSourceSpec, PingSourceSpec, SinkBindingSpec,
    WebhookSourceSpec,
    apiserver::ApiServerSourceStatus,
    status::{GitHubSourceStatus, KafkaSourceStatus, SourceStatus},
};
use dispatcher::{SubscriptionSpec, SubscriptionStatus, TriggerSpec, TriggerStatus};
use schemars::Schema;
use serde::Serialize;

use super::schema::of;
use crate::manifest::ApiServerSourceSpec;
use crate::spec::{
    BackingChannelStatus, BrokerSpec, BrokerStatus, ChannelSpec, ChannelStatus, DiskChannelSpec,
    InMemoryChannelSpec, KafkaChannelSpec, NatsChannelSpec,
};

const EVENTING: &str = "eventing.knative.dev";
const MESSAGING: &str = "messaging.knative.dev";
const SOURCES: &str = "sources.knative.dev";
const OWN_SOURCES: &str = "sources.catchment.dev";

/// Everything that a kind's definition is made from.
#[derive(Debug)]
pub struct Crd {
    /// The kind.
    pub kind: &'static str,
    pub(super) description: &'static str,
    pub(super) group: &'static str,
    pub(super) plural: &'static str,
    pub(super) short_name: Option<&'static str>,
    pub(super) categories: &'static [&'static str],
    /// Labels by which clients find kinds that can do something.
    pub(super) ducks: &'static [&'static str],
    /// The types of events that a source makes, and what they are.
    pub(super) event_types: &'static [(&'static str, &'static str)],
    /// Versions that are served; objects are stored in the first. All have one schema.
    pub(super) versions: &'static [&'static str],
    pub(super) columns: &'static [Column],
    /// What `kubectl scale` and autoscalers look at.
    pub(super) scale: Option<Scale>,
    pub(super) needs_spec: bool,
    pub(super) spec: fn() -> Schema,
    pub(super) status: fn() -> Schema,
}

/// The fields of an object that can be scaled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// Of the spec: how many there should be.
    pub(super) wanted: &'static str,
    /// Of the status: how many there are.
    pub(super) reached: &'static str,
    /// Of the status: by which labels they are found.
    pub(super) selector: &'static str,
}

/// A column of what `kubectl get` prints.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Column {
    name: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    json_path: &'static str,
    /// Above zero: only with `-o wide`.
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<i32>,
}

const fn column(name: &'static str, json_path: &'static str) -> Column {
    Column { name, kind: "string", json_path, priority: None }
}

const URL: Column = column("URL", ".status.address.url");
const READY: Column = column("Ready", r#".status.conditions[?(@.type=="Ready")].status"#);
const REASON: Column = column("Reason", r#".status.conditions[?(@.type=="Ready")].reason"#);
const AGE: Column = Column { kind: "date", ..column("Age", ".metadata.creationTimestamp") };
const CLASS: Column = Column {
    priority: Some(1),
    ..column("Class", r".metadata.annotations.eventing\.knative\.dev/broker\.class")
};

/// Columns of Knative's own channels, and of those that came later.
const CHANNEL_COLUMNS: &[Column] = &[URL, AGE, READY, REASON];
const OTHER_CHANNEL_COLUMNS: &[Column] = &[READY, REASON, URL, AGE];

const ADDRESSABLE: &str = "duck.knative.dev/addressable";
const CHANNEL_DUCKS: &[&str] = &[ADDRESSABLE, "messaging.knative.dev/subscribable"];
const CHANNEL_CATEGORIES: &[&str] = &["all", "knative", "messaging", "channel"];

/// What the channels that keep events have in common.
const CHANNEL: Crd = Crd {
    event_types: &[],
    kind: "",
    description: "",
    group: MESSAGING,
    plural: "",
    short_name: None,
    categories: CHANNEL_CATEGORIES,
    ducks: CHANNEL_DUCKS,
    versions: &["v1"],
    columns: CHANNEL_COLUMNS,
    scale: None,
    needs_spec: false,
    spec: of::<InMemoryChannelSpec>,
    status: of::<BackingChannelStatus>,
};

const SINK: Column = column("Sink", ".status.sinkUri");
const SCHEDULE: Column = column("Schedule", ".spec.schedule");

/// What sources have in common.
const SOURCE: Crd = Crd {
    group: SOURCES,
    categories: &["all", "knative", "sources"],
    ducks: &["duck.knative.dev/source", "eventing.knative.dev/source"],
    columns: &[SINK, AGE, READY, REASON],
    needs_spec: true,
    status: of::<SourceStatus>,
    ..CHANNEL
};

/// All definitions, in the order in which they are printed.
pub const CRDS: &[Crd] = &[
    Crd {
        kind: "Broker",
        description: "Takes events, and delivers each to every Trigger that wants it.",
        group: EVENTING,
        plural: "brokers",
        short_name: None,
        categories: &["all", "knative", "eventing"],
        ducks: &[ADDRESSABLE],
        event_types: &[],
        versions: &["v1"],
        columns: &[URL, AGE, READY, REASON, CLASS],
        scale: None,
        needs_spec: false,
        spec: of::<BrokerSpec>,
        status: of::<BrokerStatus>,
    },
    Crd {
        kind: "Trigger",
        description: "Asks a Broker for events, and says where they go.",
        group: EVENTING,
        plural: "triggers",
        short_name: None,
        categories: &["all", "knative", "eventing"],
        ducks: &[],
        event_types: &[],
        versions: &["v1"],
        columns: &[
            column("Broker", ".spec.broker"),
            column("Subscriber_URI", ".status.subscriberUri"),
            AGE,
            READY,
            REASON,
        ],
        scale: None,
        needs_spec: true,
        spec: of::<TriggerSpec>,
        status: of::<TriggerStatus>,
    },
    Crd {
        kind: "Channel",
        description: "Takes events, and delivers each to all of its Subscriptions; another kind of channel stands behind it.",
        plural: "channels",
        short_name: Some("ch"),
        spec: of::<ChannelSpec>,
        status: of::<ChannelStatus>,
        ..CHANNEL
    },
    Crd {
        kind: "Subscription",
        description: "Asks a channel for its events, and says where they go.",
        plural: "subscriptions",
        short_name: Some("sub"),
        categories: &["all", "knative", "messaging"],
        ducks: &[],
        columns: &[AGE, READY, REASON],
        needs_spec: true,
        spec: of::<SubscriptionSpec>,
        status: of::<SubscriptionStatus>,
        ..CHANNEL
    },
    Crd {
        kind: "InMemoryChannel",
        description: "A channel whose events are gone when the process ends.",
        plural: "inmemorychannels",
        short_name: Some("imc"),
        ..CHANNEL
    },
    Crd {
        kind: "DiskChannel",
        description: "A channel whose events lie on the disk of one process.",
        plural: "diskchannels",
        short_name: Some("diskch"),
        spec: of::<DiskChannelSpec>,
        ..CHANNEL
    },
    Crd {
        kind: "KafkaChannel",
        description: "A channel whose events lie in a topic of Kafka.",
        plural: "kafkachannels",
        short_name: Some("kc"),
        versions: &["v1beta1", "v1"],
        columns: OTHER_CHANNEL_COLUMNS,
        spec: of::<KafkaChannelSpec>,
        ..CHANNEL
    },
    Crd {
        kind: "NatsJetStreamChannel",
        description: "A channel whose events lie in a stream of NATS JetStream.",
        plural: "natsjetstreamchannels",
        short_name: Some("natsjsmc"),
        versions: &["v1alpha1"],
        columns: OTHER_CHANNEL_COLUMNS,
        spec: of::<NatsChannelSpec>,
        ..CHANNEL
    },
    Crd {
        kind: "PingSource",
        description: "Makes an event whenever a schedule says so.",
        plural: "pingsources",
        versions: &["v1", "v1beta2"],
        columns: &[SINK, SCHEDULE, AGE, READY, REASON],
        event_types: &[("dev.knative.sources.ping", "a tick of the schedule")],
        spec: of::<PingSourceSpec>,
        ..SOURCE
    },
    Crd {
        kind: "GitHubSource",
        description: "Makes events of what happens on GitHub.",
        plural: "githubsources",
        categories: &["all", "knative", "eventing", "sources"],
        versions: &["v1alpha1"],
        columns: &[READY, REASON, SINK, AGE],
        event_types: &[
            ("dev.knative.source.github.push", "commits were pushed"),
            ("dev.knative.source.github.pull_request", "something happened to a pull request"),
            ("dev.knative.source.github.issues", "something happened to an issue"),
        ],
        spec: of::<GitHubSourceSpec>,
        status: of::<GitHubSourceStatus>,
        ..SOURCE
    },
    Crd {
        kind: "KafkaSource",
        description: "Makes events of the records of topics of Kafka.",
        plural: "kafkasources",
        categories: &["all", "knative", "eventing", "sources"],
        versions: &["v1beta1", "v1"],
        columns: &[
            column("Topics", ".spec.topics"),
            column("BootstrapServers", ".spec.bootstrapServers"),
            READY,
            REASON,
            AGE,
        ],
        scale: Some(Scale {
            wanted: ".spec.consumers",
            reached: ".status.consumers",
            selector: ".status.selector",
        }),
        event_types: &[("dev.knative.kafka.event", "a record that is no CloudEvent itself")],
        spec: of::<KafkaSourceSpec>,
        status: of::<KafkaSourceStatus>,
        ..SOURCE
    },
    Crd {
        kind: "WebhookSource",
        description: "Makes events of what other systems send by webhook.",
        group: OWN_SOURCES,
        plural: "webhooksources",
        versions: &["v1alpha1"],
        event_types: &[("dev.catchment.sources.webhook", "a request whose sender says no type")],
        spec: of::<WebhookSourceSpec>,
        ..SOURCE
    },
    Crd {
        kind: "ApiServerSource",
        description: "Makes events of changes of a cluster's objects.",
        plural: "apiserversources",
        event_types: &[
            ("dev.knative.apiserver.resource.add", "an object is new; the event holds it"),
            ("dev.knative.apiserver.resource.update", "an object has changed; the event holds it"),
            ("dev.knative.apiserver.resource.delete", "an object is gone; the event holds it"),
            ("dev.knative.apiserver.ref.add", "an object is new; the event names it"),
            ("dev.knative.apiserver.ref.update", "an object has changed; the event names it"),
            ("dev.knative.apiserver.ref.delete", "an object is gone; the event names it"),
        ],
        spec: of::<ApiServerSourceSpec>,
        status: of::<ApiServerSourceStatus>,
        ..SOURCE
    },
    Crd {
        kind: "SinkBinding",
        description: "Tells the pods of other objects where their events go.",
        plural: "sinkbindings",
        categories: &["all", "knative", "sources", "bindings"],
        ducks: &[
            "duck.knative.dev/source",
            "eventing.knative.dev/source",
            "duck.knative.dev/binding",
        ],
        spec: of::<SinkBindingSpec>,
        ..SOURCE
    },
    Crd {
        kind: "ContainerSource",
        description: "Runs containers that make events, and tells them where those go.",
        plural: "containersources",
        spec: of::<ContainerSourceSpec>,
        ..SOURCE
    },
];
