//! The status of a source.

use ::sources::{
    SourceId,
    apiserver::ApiServerSourceStatus,
    kafka,
    status::{Holds, SourceStatus, conditions},
};
use channel::{Name, status::Observed};

use super::{
    super::apiserver::{FORBIDDEN, Standing, Trouble},
    broker::in_line,
    view::View,
};
use crate::{
    cluster::finder::written,
    control::NotReady,
    manifest::{Kind, Problem, SourceKind, SourceSpec},
    sourcing::{SINK_INVALID, SourceState},
};

const SINK: &str = "SinkProvided";
const SECRETS: &str = "SecretsProvided";
const PERMISSIONS: &str = "SufficientPermissions";

/// Troubles of one source that are told at a time.
const WHYS_MAX: usize = 5;

/// What a cluster is told of a source; `None` while nothing is known of it.
pub(super) fn status(view: &View<'_>, kind: SourceKind, name: &Name) -> Option<SourceStatus> {
    let resource = view.inventory.resources.sources.get(&(kind, name.clone()));
    let state = view.inventory.sources.get(&SourceId { kind: kind.as_str(), name: name.clone() });
    let refused = view.refused_generation(Kind::Source(kind), name);
    if resource.is_none() && refused.is_none() {
        return None;
    }
    let mut secrets = resource.iter().flat_map(|resource| resource.spec.secret_refs());
    if secrets.any(|it| view.is_open(Kind::Secret, &Name::new(&*name.namespace, &*it.name))) {
        return None;
    }
    let mut status = SourceStatus::default();
    let mut parts = Vec::new();
    parts.extend(sink(view, kind, name, &mut status).map(|holds| (SINK, holds)));
    let not_ready = state.and_then(|state| state.not_ready.as_ref());
    let is_of_secrets = not_ready.is_some_and(|why| why.reason == "SecretsNotFound");
    if kind.is_called() {
        let holds = not_ready.filter(|_| is_of_secrets).map_or(Holds::True, because);
        parts.push((SECRETS, holds));
    }
    let wrong: Vec<String> =
        view.errors(Kind::Source(kind), name).map(|problem: &Problem| in_line(problem)).collect();
    let standing = (kind == SourceKind::ApiServer).then(|| view.standings.get(name));
    let works = match (state, not_ready) {
        _ if !wrong.is_empty() => Holds::False { reason: "Invalid", message: wrong.join("; ") },
        (_, Some(why)) => because(why),
        (Some(state), None) if state.failure().is_some() => {
            Holds::False { reason: "Failed", message: state.failure().unwrap_or_default() }
        }
        (Some(_), None) if standing.is_some() => {
            watched(standing.as_ref().and_then(Option::as_ref), |it| it.reason != FORBIDDEN)
        }
        (Some(_), None) => Holds::True,
        (None, None) => {
            Holds::Unknown { reason: "Starting", message: "it is not at work yet".to_owned() }
        }
    };
    if let Some(standing) = &standing {
        parts.push((PERMISSIONS, watched(standing.as_ref(), |it| it.reason == FORBIDDEN)));
    }
    if kind == SourceKind::Kafka {
        let of_key = |problem: &&Problem| problem.field.ends_with(kafka::KEY_TYPE_LABEL);
        let of_key = view.errors(Kind::Source(kind), name).find(of_key).map(in_line);
        parts.extend(of_kafka(state, not_ready, of_key));
        let spec = resource.map(|resource| &resource.spec);
        status.consumers = spec.and_then(SourceSpec::consumers);
        status.selector = kafka::selector(name);
    }
    status.webhook_id_key = state.and_then(SourceState::webhook_id).map(|id| id.to_string());
    parts.push(("OIDCIdentityCreated", Holds::True));
    // Where Knative deploys something that makes the events, this program makes them.
    parts.push((at_work(kind), works));
    status.ce_attributes = state.map(|state| state.attributes.clone()).unwrap_or_default();
    status.observed = Observed {
        observed_generation: refused.or(resource.map(|resource| resource.generation)),
        conditions: conditions(&parts),
        ..Observed::default()
    };
    Some(status)
}

/// Whether there is a sink that can be sent to, and in `status` where it is; `None` while none is at work.
pub(super) fn sink(
    view: &View<'_>,
    kind: SourceKind,
    name: &Name,
    status: &mut SourceStatus,
) -> Option<Holds> {
    let resource = view.inventory.resources.sources.get(&(kind, name.clone()))?;
    let sink = resource.spec.sink()?;
    match sink.resolve_by("spec.sink", &name.namespace, |reference| view.find(reference)) {
        Ok(target) => {
            status.sink_uri = Some(written(&target));
            status.sink_ca_certs = target.ca_certs;
            status.sink_audience = target.audience;
        }
        Err(invalid) => {
            return Some(Holds::False { reason: "NotFound", message: invalid.to_string() });
        }
    }
    let state = view.inventory.sources.get(&SourceId { kind: kind.as_str(), name: name.clone() });
    let not_ready = state.and_then(|state| state.not_ready.as_ref());
    let invalid = not_ready.filter(|why| why.reason == SINK_INVALID);
    Some(invalid.map_or(Holds::True, because))
}

/// The status of an ApiServerSource.
pub(super) fn watching_status(view: &View<'_>, name: &Name) -> Option<ApiServerSourceStatus> {
    let source = status(view, SourceKind::ApiServer, name)?;
    let standing = view.standings.get(name).unwrap_or_default();
    Some(ApiServerSourceStatus { source, namespaces: standing.namespaces })
}

/// Whether all watches of a source are at work, but for troubles that are no business of it.
fn watched(standing: Option<&Standing>, is_its: impl Fn(&Trouble) -> bool) -> Holds {
    let unknown = || {
        let message = "its watches have not begun yet".to_owned();
        Holds::Unknown { reason: "Starting", message }
    };
    let Some(standing) = standing.filter(|standing| !standing.watches.is_empty()) else {
        return unknown();
    };
    let troubles = standing.watches.values().flatten().filter_map(|state| state.as_ref().err());
    let mine: Vec<&Trouble> = troubles.filter(|it| is_its(it)).collect();
    if let Some(first) = mine.first() {
        let mut whys: Vec<&str> = mine.iter().map(|it| it.why.as_str()).take(WHYS_MAX).collect();
        whys.dedup();
        return Holds::False { reason: first.reason, message: whys.join("; ") };
    }
    if standing.watches.values().any(Option::is_none) { unknown() } else { Holds::True }
}

/// The condition that says that a source is at work, by Knative's name where it has one.
fn at_work(kind: SourceKind) -> &'static str {
    if kind == SourceKind::GitHub { "WebhookConfigured" } else { "Deployed" }
}

/// What Knative tells of a KafkaSource beside that: whether its cluster and topics are there, where
/// its group begins, and whether its label for keys is one. Kafka shares the partitions out.
fn of_kafka(
    state: Option<&SourceState>,
    not_ready: Option<&NotReady>,
    wrong_key: Option<String>,
) -> [(&'static str, Holds); 4] {
    let waits = state.and_then(SourceState::waits_for);
    let unless = |reasons: &[&str]| match (state, &waits) {
        _ if not_ready.is_some() || state.is_none() => {
            Holds::Unknown { reason: "Starting", message: "it is not at work yet".to_owned() }
        }
        (_, Some(why)) if reasons.contains(&why.reason) => because(why),
        _ => Holds::True,
    };
    let key_type = wrong_key.map_or(Holds::True, |message| Holds::False {
        reason: "IncorrectKafkaSourceKeyTypeLabel",
        message,
    });
    [
        ("ConnectionEstablished", unless(&[kafka::CONNECTION, kafka::TOPICS])),
        ("InitialOffsetsCommitted", unless(&[kafka::OFFSETS])),
        ("KeyTypeCorrect", key_type),
        ("Scheduled", Holds::True),
    ]
}

fn because(why: &NotReady) -> Holds {
    Holds::False { reason: why.reason, message: why.message.clone() }
}
