//! All that a report is made from, at one moment.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
};

use channel::{
    Destination, Found, Name, Reference,
    status::{Addressable, Condition},
};
use dispatcher::DeadLetterSinkStatus;
use url::Url;

use super::conditions::Conditions;
use crate::{
    cluster::{
        apiserver::Standings,
        binding::Bindings,
        finder::{Finder, written},
        referred::Referred,
        seen::Seen,
        shared::Shared,
    },
    control::Inventory,
    manifest::{Kind, Problem, Severity, file_of},
};

/// The condition of an object's dead letter sink.
pub(super) const SINK_RESOLVED: &str = "DeadLetterSinkResolved";

/// What is at work, what the cluster says, and what is wrong.
pub(super) struct View<'a> {
    pub(super) inventory: &'a Inventory,
    pub(super) seen: &'a BTreeMap<(Kind, Name), Seen>,
    pub(super) referred: &'a Referred,
    /// How the sources are that watch the cluster.
    pub(super) standings: &'a Standings,
    /// How far the programs are that are told where their events go.
    pub(super) bindings: &'a Bindings,
    pub(super) finder: Finder<'a>,
    /// Where the Services of channels lead.
    pub(super) ingress_host: String,
    problems: HashMap<&'a Path, Vec<&'a Problem>>,
    /// Whether each broker is ready, as far as this report has come.
    pub(super) brokers: BTreeMap<Name, Condition>,
    /// The same of channels.
    pub(super) channels: BTreeMap<Name, Condition>,
    /// The subscriptions of each channel.
    pub(super) subscriptions: BTreeMap<&'a Name, Vec<(&'a Name, &'a Seen)>>,
    /// Config maps and Secrets that nobody has told of yet.
    pub(super) unanswered: BTreeSet<(Kind, Name)>,
    /// What could not be made for a channel, and why.
    pub(super) unmade: &'a BTreeMap<Name, String>,
    /// Whether something was looked for that is not known yet.
    pub(super) is_waiting: Cell<bool>,
}

impl<'a> View<'a> {
    pub(super) fn new(
        inventory: &'a Inventory,
        seen: &'a BTreeMap<(Kind, Name), Seen>,
        shared: &'a Shared,
        ingress_url: &'a str,
        unmade: &'a BTreeMap<Name, String>,
    ) -> Self {
        let mut problems: HashMap<&Path, Vec<&Problem>> = HashMap::new();
        for standing in &inventory.problems {
            let problem = &standing.problem;
            problems.entry(problem.file.as_path()).or_default().push(problem);
        }
        let mut subscriptions: BTreeMap<&Name, Vec<(&Name, &Seen)>> = BTreeMap::new();
        for ((kind, name), seen) in seen {
            if let (Kind::Subscription, Some(channel)) = (kind, &seen.hub) {
                subscriptions.entry(channel).or_default().push((name, seen));
            }
        }
        Self {
            inventory,
            seen,
            referred: &shared.referred,
            standings: &shared.standings,
            bindings: &shared.bindings,
            finder: Finder { inventory, referred: &shared.referred, ingress_url },
            ingress_host: host_of(ingress_url),
            problems,
            brokers: BTreeMap::new(),
            channels: BTreeMap::new(),
            subscriptions,
            unanswered: BTreeSet::new(),
            unmade,
            is_waiting: Cell::new(false),
        }
    }

    /// What is wrong with an object so that it cannot be used as it is.
    pub(super) fn errors(&self, kind: Kind, name: &Name) -> impl Iterator<Item = &'a Problem> {
        self.problems(kind, name).filter(|problem| problem.is_error())
    }

    /// What of an object may not do what it is meant to.
    pub(super) fn warnings(&self, kind: Kind, name: &Name) -> impl Iterator<Item = &'a Problem> {
        self.problems(kind, name).filter(|problem| problem.severity == Severity::Warning)
    }

    fn problems(&self, kind: Kind, name: &Name) -> impl Iterator<Item = &'a Problem> {
        let found = self.problems.get(file_of(kind.as_str(), name).as_path());
        found.into_iter().flatten().copied()
    }

    /// Whether nobody has told of a config map or Secret yet.
    pub(super) fn is_open(&self, kind: Kind, name: &Name) -> bool {
        self.unanswered.contains(&(kind, name.clone()))
    }

    /// The generation of an object that its errors are about.
    pub(super) fn refused_generation(&self, kind: Kind, name: &Name) -> Option<i64> {
        self.errors(kind, name).next()?;
        self.inventory.generations.get(&file_of(kind.as_str(), name)).copied()
    }

    /// Where a reference leads, by the addresses that the cluster knows.
    pub(super) fn find(&self, reference: &Reference) -> Result<Found, String> {
        let found = self.finder.find(reference);
        if found.is_err() && self.referred.is_asked(reference) {
            self.is_waiting.set(true);
        }
        found
    }

    /// Resolves the dead letter sink of `owner`, and says so in `conditions`; not when what it says
    /// now is refused.
    pub(super) fn sink(
        &self,
        sink: Option<&Destination>,
        owner: &Name,
        is_refused: bool,
        conditions: &mut Conditions,
    ) -> DeadLetterSinkStatus {
        if is_refused {
            let message = "what the object says now is not used";
            conditions.is_unknown(SINK_RESOLVED, "InvalidSpec", message);
            return DeadLetterSinkStatus::default();
        }
        let Some(sink) = sink else {
            let reason = "DeadLetterSinkNotConfigured";
            conditions.holds_because(SINK_RESOLVED, reason, "No dead letter sink is configured.");
            return DeadLetterSinkStatus::default();
        };
        let path = "spec.delivery.deadLetterSink";
        match sink.resolve_by(path, &owner.namespace, |reference| self.find(reference)) {
            Ok(target) => {
                conditions.holds(SINK_RESOLVED);
                DeadLetterSinkStatus {
                    dead_letter_sink_uri: Some(written(&target)),
                    dead_letter_sink_ca_certs: target.ca_certs,
                    dead_letter_sink_audience: target.audience,
                }
            }
            Err(invalid) => {
                let reason = "Unable to get the dead letter sink's URI";
                conditions.fails(SINK_RESOLVED, reason, &invalid.to_string());
                DeadLetterSinkStatus::default()
            }
        }
    }
}

/// The host of a URL.
pub(super) fn host_of(url: &str) -> String {
    let url = Url::parse(url).ok();
    url.as_ref().and_then(Url::host_str).unwrap_or_default().to_owned()
}

/// The address that a URL is.
pub(super) fn addressable(url: String) -> Addressable {
    let name = url.split_once(':').map_or("http", |(scheme, _)| scheme).to_owned();
    Addressable { name: Some(name), url: Some(url), ..Addressable::default() }
}
