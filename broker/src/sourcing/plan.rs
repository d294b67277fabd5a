//! A source's spec and secrets -> its plan, and the endpoint that follows from it.

use std::sync::Arc;

use ::sources::{
    ApiServerPlan, Endpoint, GitHubPlan, KafkaPlan, Notes, Report, SourceId, WebhookPlan,
    github::Hook,
    ping::{self, PingPlan},
    status::EventAttributes,
    webhook::{REMEMBERED, Replay},
};
use channel::{Invalid, Name, Sink};
use dispatcher::Filter;
use url::Url;

use super::{Wanted, secrets};
use crate::{control::NotReady, manifest::SourceSpec};

/// A source that is complete and valid, but for where its sink is.
#[derive(Debug)]
pub(super) enum Plan {
    Ping(PingPlan),
    GitHub(Box<GitHubPlan>),
    Kafka(Box<KafkaPlan>),
    Webhook(Box<WebhookPlan>),
    ApiServer(Box<ApiServerPlan>, Filter),
    /// Programs of others make its events.
    Bound,
}

impl Plan {
    /// The plan of what is wanted.
    ///
    /// # Errors
    ///
    /// What is wrong with it; the loader of manifests lets only secrets through that are.
    pub(super) fn of(wanted: &Wanted<'_>) -> Result<Self, NotReady> {
        let resolve = |secret: &_| secrets::resolve(wanted, secret);
        let mut problems = Vec::new();
        let (name, problems) = (&wanted.id.name, &mut problems);
        let plan = match &wanted.resource.spec {
            SourceSpec::Ping(spec) => PingPlan::new(spec, problems).map(Self::Ping),
            SourceSpec::GitHub(spec) => {
                GitHubPlan::new(spec, &resolve, problems).map(|plan| Self::GitHub(plan.into()))
            }
            SourceSpec::Kafka(spec) => {
                let labels = &wanted.resource.labels;
                KafkaPlan::new(name, spec, labels, &resolve, problems)
                    .map(|plan| Self::Kafka(plan.into()))
            }
            SourceSpec::Webhook(spec) => WebhookPlan::new(name, spec, &resolve, problems)
                .map(|plan| Self::Webhook(plan.into())),
            SourceSpec::ApiServer(spec) => {
                let plan = ApiServerPlan::new(spec, problems);
                let filter = Filter::compile(None, &spec.filters);
                let filter = filter.map_err(|invalid| problems.extend(invalid)).ok();
                plan.zip(filter).map(|(plan, filter)| Self::ApiServer(plan.into(), filter))
            }
            SourceSpec::SinkBinding(_) | SourceSpec::Container(_) => Some(Self::Bound),
        };
        plan.ok_or_else(|| invalid(problems))
    }

    /// What its events say of themselves, as far as that is known before they come.
    pub(super) fn attributes(&self, name: &Name) -> Vec<EventAttributes> {
        match self {
            Self::Ping(_) => vec![ping::ce_attributes(name)],
            Self::GitHub(plan) => plan.ce_attributes(),
            Self::Kafka(plan) => plan.ce_attributes(name),
            Self::Webhook(_) | Self::ApiServer(..) | Self::Bound => Vec::new(),
        }
    }

    /// The webhook at GitHub that the program looks after: with a token, and a URL to call.
    pub(super) fn hook(&self, name: &Name, public_url: Option<&Url>) -> Option<Hook> {
        match self {
            Self::GitHub(plan) => Hook::new(name, plan, public_url?),
            _ => None,
        }
    }

    /// Where it is called, if it is.
    pub(super) fn endpoint(
        self,
        id: &SourceId,
        notes: Notes,
        sink: Arc<dyn Sink>,
        report: Arc<Report>,
    ) -> Option<Endpoint> {
        let (ways, remembered, body_bytes_max) = match self {
            Self::Ping(_) | Self::Kafka(_) | Self::ApiServer(..) | Self::Bound => return None,
            Self::GitHub(plan) => ((plan.verifier, plan.mapper), REMEMBERED, plan.body_bytes_max),
            Self::Webhook(plan) => {
                ((plan.verifier, plan.mapper), plan.remembered, plan.body_bytes_max)
            }
        };
        let replay = Replay::new(id, notes, remembered);
        Some(Endpoint::new(id.clone(), ways, replay, body_bytes_max, sink, report))
    }
}

fn invalid(problems: &[Invalid]) -> NotReady {
    let of_secrets = |problem: &&Invalid| {
        ["spec.secretToken", "spec.accessToken", "spec.verification.secrets", "spec.net."]
            .iter()
            .any(|field| problem.field.starts_with(field))
    };
    let reason =
        if problems.iter().any(|it| of_secrets(&it)) { "SecretsNotFound" } else { "Invalid" };
    let message = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    NotReady { reason, message }
}
