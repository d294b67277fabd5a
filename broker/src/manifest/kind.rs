//! `apiVersion` and `kind` → what this program makes of a document.

use crate::spec::ChannelKind;

use super::{
    finding::{Finding, join},
    node::Node,
    problem::{Severity, nearest},
    source::SourceKind,
};

/// The kinds that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `eventing.knative.dev/v1` Broker.
    Broker,
    /// `eventing.knative.dev/v1` Trigger.
    Trigger,
    /// `messaging.knative.dev/v1` Channel.
    Channel,
    /// A channel that says what keeps its events: what may stand behind a Channel, or on its own.
    Backing(ChannelKind),
    /// `messaging.knative.dev/v1` Subscription.
    Subscription,
    /// Something that makes events.
    Source(SourceKind),
    /// `v1` ConfigMap.
    ConfigMap,
    /// `v1` Secret.
    Secret,
}

impl Kind {
    const ALL: [Self; 17] = [
        Self::Broker,
        Self::Trigger,
        Self::Channel,
        Self::Backing(ChannelKind::Memory),
        Self::Backing(ChannelKind::Disk),
        Self::Backing(ChannelKind::Kafka),
        Self::Backing(ChannelKind::Nats),
        Self::Subscription,
        Self::Source(SourceKind::Ping),
        Self::Source(SourceKind::GitHub),
        Self::Source(SourceKind::Kafka),
        Self::Source(SourceKind::Webhook),
        Self::Source(SourceKind::ApiServer),
        Self::Source(SourceKind::SinkBinding),
        Self::Source(SourceKind::Container),
        Self::ConfigMap,
        Self::Secret,
    ];

    /// Those that are channels. No two of them have one name in one namespace.
    pub(crate) const CHANNELS: [Self; 5] = [
        Self::Channel,
        Self::Backing(ChannelKind::Memory),
        Self::Backing(ChannelKind::Disk),
        Self::Backing(ChannelKind::Kafka),
        Self::Backing(ChannelKind::Nats),
    ];

    /// The kind as written in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Broker => "Broker",
            Self::Trigger => "Trigger",
            Self::Channel => "Channel",
            Self::Backing(kind) => kind.as_str(),
            Self::Subscription => "Subscription",
            Self::Source(kind) => kind.as_str(),
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }

    /// The `apiVersion`s it is read in, the one to write first.
    pub fn api_versions(self) -> &'static [&'static str] {
        match self {
            Self::Broker | Self::Trigger => &["eventing.knative.dev/v1"],
            Self::Backing(ChannelKind::Kafka) => {
                &["messaging.knative.dev/v1beta1", "messaging.knative.dev/v1"]
            }
            Self::Backing(ChannelKind::Nats) => &["messaging.knative.dev/v1alpha1"],
            Self::Channel | Self::Backing(_) | Self::Subscription => &["messaging.knative.dev/v1"],
            Self::Source(kind) => kind.api_versions(),
            Self::ConfigMap | Self::Secret => &["v1"],
        }
    }

    /// The kind that stands for all whose names must differ from its own: one for all channels, one
    /// for all sources that are called by their name.
    pub(super) fn of_names(self) -> Self {
        match self {
            Self::Backing(_) => Self::Channel,
            Self::Source(kind) if kind.is_called() => Self::Source(SourceKind::Webhook),
            kind => kind,
        }
    }

    /// Whether events can be sent to an object of it.
    pub fn is_addressable(self) -> bool {
        matches!(self, Self::Broker | Self::Channel | Self::Backing(_))
    }

    fn named(kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == kind)
    }
}

/// What every `apiVersion` of a channel begins with.
pub(super) const MESSAGING: &str = "messaging.knative.dev/";

/// Kinds of Knative Eventing that are not read by this build.
const LATER: &[&str] = &[
    "EventPolicy",
    "EventTransform",
    "EventType",
    "GitHubBinding",
    "IntegrationSink",
    "IntegrationSource",
    "JobSink",
    "KafkaSink",
    "Parallel",
    "RequestReply",
    "Sequence",
];

/// What to do with a document.
pub(super) enum Verdict {
    /// Read it as this kind.
    Read(Kind),
    /// Look into its `items`.
    Unwrap,
    /// Nothing, for this reason.
    Skip(Finding),
}

/// Decides by the document's `apiVersion` and `kind`; `path` is where the document is in its file.
pub(super) fn judge(node: &Node, path: &str) -> Result<Verdict, Vec<Finding>> {
    let missing: Vec<Finding> = ["apiVersion", "kind"]
        .into_iter()
        .filter(|field| node.get(field).and_then(Node::text).is_none())
        .map(|field| {
            let message = match node.get(field) {
                Some(_) => "must be a string",
                None => "is required",
            };
            let near = nearest(field, node.entries().iter().map(|entry| entry.key.as_str()));
            let hint = near.filter(|near| *near != field && node.get(field).is_none());
            let at = hint.map_or_else(|| node.locate(field), |near| node.locate_key(near));
            Finding::new(
                at,
                join(path, hint.unwrap_or(field)),
                match hint {
                    Some(_) => "unknown field",
                    None => message,
                },
            )
            .meant(hint.map(|_| field))
        })
        .collect();
    if !missing.is_empty() {
        return Err(missing);
    }
    let text = |field| node.get(field).and_then(Node::text).unwrap_or_default();
    Ok(decide(node, path, text("apiVersion"), text("kind")))
}

fn decide(node: &Node, path: &str, api_version: &str, kind: &str) -> Verdict {
    let say =
        |field: &str, message: String| Finding::new(node.locate(field), join(path, field), message);
    if (api_version, kind) == ("v1", "List") {
        return Verdict::Unwrap;
    }
    if let Some(known) = Kind::named(kind) {
        let versions = known.api_versions();
        if versions.contains(&api_version) {
            return Verdict::Read(known);
        }
        let message = format!("must be {} for kind {kind}", versions.join(" or "));
        return Verdict::Skip(say("apiVersion", message).meant(versions.first().copied()));
    }
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    if LATER.contains(&kind) && group.ends_with("knative.dev") {
        let message = format!("{kind} ({api_version}) is not supported by this build yet");
        return Verdict::Skip(say("kind", message));
    }
    if let Some(near) = nearest(kind, Kind::ALL.map(Kind::as_str)) {
        return Verdict::Skip(say("kind", format!("unknown kind {kind}")).meant(Some(near)));
    }
    if is_kubernetes(group) {
        // Knative's examples keep the subscriber's Deployment beside the Trigger.
        let message = format!("{kind} ({api_version}) is not run here and was skipped");
        return Verdict::Skip(Finding { severity: Severity::Warning, ..say("kind", message) });
    }
    let near = nearest(kind, LATER.iter().copied());
    let supported = Kind::ALL.map(Kind::as_str).join(", ");
    let message = format!("{kind} ({api_version}) is not supported here; supported: {supported}");
    Verdict::Skip(say("kind", message).meant(near))
}

/// Whether a group belongs to Kubernetes itself, or to Knative Serving, whose services run code.
fn is_kubernetes(group: &str) -> bool {
    !group.contains('.') || group.ends_with(".k8s.io") || group == "serving.knative.dev"
}
