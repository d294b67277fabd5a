//! The status of a SinkBinding and of a ContainerSource: programs of others that make events.

use ::sources::{
    SourceId,
    status::{Holds, SourceStatus, conditions},
};
use channel::{Name, status::Observed};

use super::{broker::in_line, view::View};
use crate::{
    cluster::finder::written,
    manifest::{Kind, SourceKind},
    sourcing::SINK_INVALID,
};

/// What a cluster is told of one; `None` while nothing is known of it.
pub(super) fn status(view: &View<'_>, kind: SourceKind, name: &Name) -> Option<SourceStatus> {
    let resource = view.inventory.resources.sources.get(&(kind, name.clone()));
    let refused = view.refused_generation(Kind::Source(kind), name);
    if resource.is_none() && refused.is_none() {
        return None;
    }
    let mut status = SourceStatus::default();
    let mut provided = Holds::Unknown {
        reason: "Invalid",
        message: "what the object says now is not used".to_owned(),
    };
    if let Some(sink) = resource.and_then(|resource| resource.spec.sink()) {
        match sink.resolve_by("spec.sink", &name.namespace, |reference| view.find(reference)) {
            Ok(target) => {
                provided = Holds::True;
                status.sink_uri = Some(written(&target));
                status.sink_ca_certs = target.ca_certs;
                status.sink_audience = target.audience;
            }
            Err(invalid) => {
                let message = invalid.to_string();
                provided = Holds::False { reason: "NotFound", message };
            }
        }
    }
    let id = SourceId { kind: kind.as_str(), name: name.clone() };
    let state = view.inventory.sources.get(&id);
    let not_ready = state.and_then(|state| state.not_ready.as_ref());
    if let Some(why) = not_ready.filter(|why| why.reason == SINK_INVALID) {
        provided = Holds::False { reason: why.reason, message: why.message.clone() };
    }
    let standing = view.bindings.get(kind, name);
    if standing.is_none() && refused.is_none() {
        // Whoever tells its pods has not looked at it yet.
        view.is_waiting.set(true);
    }
    let unknown =
        || Holds::Unknown { reason: "Starting", message: "it is not at work yet".to_owned() };
    let wrong: Vec<String> = view.errors(Kind::Source(kind), name).map(in_line).collect();
    let mut bound = standing.as_ref().map_or_else(unknown, |it| it.bound.clone());
    if !wrong.is_empty() {
        bound = Holds::False { reason: "Invalid", message: wrong.join("; ") };
    }
    let parts = match kind {
        SourceKind::Container => {
            // Knative's is bound by a SinkBinding of its own, which says whether there is a sink.
            let bound = if matches!(provided, Holds::False { .. }) { provided } else { bound };
            let runs = standing.map_or_else(unknown, |it| it.runs);
            vec![("SinkBindingReady", bound), ("ReceiveAdapterReady", runs)]
        }
        _ => vec![
            ("SinkProvided", provided),
            ("SinkBindingAvailable", bound),
            ("OIDCIdentityCreated", Holds::True),
            ("OIDCTokenSecretCreated", Holds::True),
            ("TrustBundlePropagated", Holds::True),
        ],
    };
    status.observed = Observed {
        observed_generation: refused.or(resource.map(|resource| resource.generation)),
        conditions: conditions(&parts),
        ..Observed::default()
    };
    Some(status)
}
