//! The kinds that are followed because they are ours.

use kube::core::{ApiResource, GroupVersionKind};

use crate::{
    manifest::{Kind, SourceKind},
    spec::ChannelKind,
};

/// A kind that is followed from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Followed {
    /// What it is to manifests.
    pub(super) kind: Kind,
    plural: &'static str,
    /// Whether nothing can be done without it.
    pub(super) is_needed: bool,
}

/// All of them.
pub(super) const FOLLOWED: &[Followed] = &[
    Followed { kind: Kind::Broker, plural: "brokers", is_needed: true },
    Followed { kind: Kind::Trigger, plural: "triggers", is_needed: true },
    followed(Kind::Channel, "channels"),
    followed(Kind::Backing(ChannelKind::Memory), "inmemorychannels"),
    followed(Kind::Backing(ChannelKind::Disk), "diskchannels"),
    followed(Kind::Backing(ChannelKind::Kafka), "kafkachannels"),
    followed(Kind::Backing(ChannelKind::Nats), "natsjetstreamchannels"),
    followed(Kind::Subscription, "subscriptions"),
    followed(Kind::Source(SourceKind::Ping), "pingsources"),
    followed(Kind::Source(SourceKind::GitHub), "githubsources"),
    followed(Kind::Source(SourceKind::Kafka), "kafkasources"),
    followed(Kind::Source(SourceKind::Webhook), "webhooksources"),
    followed(Kind::Source(SourceKind::ApiServer), "apiserversources"),
    followed(Kind::Source(SourceKind::SinkBinding), "sinkbindings"),
    followed(Kind::Source(SourceKind::Container), "containersources"),
];

const fn followed(kind: Kind, plural: &'static str) -> Followed {
    Followed { kind, plural, is_needed: false }
}

impl Followed {
    /// The one of a kind.
    pub(super) fn of(kind: Kind) -> Option<&'static Self> {
        FOLLOWED.iter().find(|followed| followed.kind == kind)
    }

    /// Whether it is a channel or a Subscription.
    pub(super) fn is_messaging(&self) -> bool {
        matches!(self.kind, Kind::Channel | Kind::Backing(_) | Kind::Subscription)
    }

    /// Whether it is a source.
    pub(super) fn is_source(&self) -> bool {
        matches!(self.kind, Kind::Source(_))
    }

    /// How the API server knows it.
    pub(super) fn resource(&self) -> ApiResource {
        let api_version = self.kind.api_versions().first().copied().unwrap_or_default();
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let kind = GroupVersionKind::gvk(group, version, self.kind.as_str());
        ApiResource::from_gvk_with_plural(&kind, self.plural)
    }

    /// Its full name, as in messages of the API server: `brokers.eventing.knative.dev`.
    pub(super) fn full_name(&self) -> String {
        full_name(&self.resource())
    }
}

/// How messages of the API server call a kind: `deployments.apps`, and `services` without a group.
pub(super) fn full_name(resource: &ApiResource) -> String {
    if resource.group.is_empty() {
        resource.plural.clone()
    } else {
        format!("{}.{}", resource.plural, resource.group)
    }
}
