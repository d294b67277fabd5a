//! The kinds that are followed because they are ours.

use kube::core::{ApiResource, GroupVersionKind};

use crate::manifest::Kind;

/// A kind that is followed from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Followed {
    /// What it is to manifests.
    pub(super) kind: Kind,
    group: &'static str,
    plural: &'static str,
    /// Whether nothing can be done without it.
    pub(super) is_needed: bool,
}

const EVENTING: &str = "eventing.knative.dev";

/// All of them.
pub(super) const FOLLOWED: &[Followed] = &[
    Followed { kind: Kind::Broker, group: EVENTING, plural: "brokers", is_needed: true },
    Followed { kind: Kind::Trigger, group: EVENTING, plural: "triggers", is_needed: true },
];

impl Followed {
    /// The one of a kind.
    pub(super) fn of(kind: Kind) -> Option<&'static Self> {
        FOLLOWED.iter().find(|followed| followed.kind == kind)
    }

    /// How the API server knows it.
    pub(super) fn resource(&self) -> ApiResource {
        let version = self
            .kind
            .api_versions()
            .first()
            .and_then(|it| it.rsplit_once('/'))
            .map_or("v1", |(_, version)| version);
        let kind = GroupVersionKind::gvk(self.group, version, self.kind.as_str());
        ApiResource::from_gvk_with_plural(&kind, self.plural)
    }

    /// Its full name, as in messages of the API server: `brokers.eventing.knative.dev`.
    pub(super) fn full_name(&self) -> String {
        format!("{}.{}", self.plural, self.group)
    }
}
