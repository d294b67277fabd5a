//! The status of a SinkBinding and of a ContainerSource: programs of others that make events.

use ::sources::status::{Holds, SourceStatus, conditions};
use channel::{Name, status::Observed};

use super::{broker::in_line, source::sink, view::View};
use crate::manifest::{Kind, SourceKind};

/// What a cluster is told of one; `None` while nothing is known of it.
pub(super) fn status(view: &View<'_>, kind: SourceKind, name: &Name) -> Option<SourceStatus> {
    let resource = view.inventory.resources.sources.get(&(kind, name.clone()));
    let refused = view.refused_generation(Kind::Source(kind), name);
    if resource.is_none() && refused.is_none() {
        return None;
    }
    let mut status = SourceStatus::default();
    let provided = sink(view, kind, name, &mut status).unwrap_or_else(|| Holds::Unknown {
        reason: "Invalid",
        message: "what the object says now is not used".to_owned(),
    });
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
