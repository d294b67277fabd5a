//! What can be wrong with a Trigger's spec whatever else is defined.

use channel::{Invalid, Name};
use dispatcher::{
    DeliveryChoice, TriggerSpec,
    filter::{Doubt, Filter},
};

/// Adds everything that is wrong with the spec on its own to `problems`, in Knative's words where
/// it has the rule.
pub(super) fn check(spec: &TriggerSpec, problems: &mut Vec<Invalid>) {
    check_broker(spec, problems);
    if let Err(wrong) = Filter::compile(spec.filter.as_ref(), &spec.filters) {
        problems.extend(wrong);
    }
    spec.subscriber.check("spec.subscriber", problems);
    if let Some(delivery) = &spec.delivery {
        DeliveryChoice::new(delivery, "spec.delivery", problems);
    }
}

/// What is valid in the spec's filters, but will hardly do what its author wants.
pub(super) fn doubts(spec: &TriggerSpec) -> Vec<Doubt> {
    let filter = Filter::compile(spec.filter.as_ref(), &spec.filters);
    // What is wrong has been told.
    filter.map_or_else(|_| Vec::new(), |filter| filter.doubts())
}

fn check_broker(spec: &TriggerSpec, problems: &mut Vec<Invalid>) {
    let is_empty = |name: &Option<String>| name.as_deref().unwrap_or_default().is_empty();
    match &spec.broker_ref {
        None if is_empty(&spec.broker) => problems.push(Invalid::new("spec.broker", "is required")),
        None => {}
        Some(_) if !is_empty(&spec.broker) => problems.push(Invalid::new(
            "spec.broker",
            "expected exactly one, got both: spec.broker, spec.brokerRef",
        )),
        Some(reference) if is_empty(&reference.name) => {
            problems.push(Invalid::new("spec.brokerRef.name", "is required"));
        }
        Some(_) => {}
    }
}

/// The broker whose events the trigger `name` wants.
pub(crate) fn broker_of(name: &Name, spec: &TriggerSpec) -> Option<Name> {
    let own = || name.namespace.clone();
    let broker = spec.broker.as_deref().filter(|broker| !broker.is_empty());
    match (broker, &spec.broker_ref) {
        (Some(broker), _) => Some(Name::new(own(), broker)),
        (None, Some(reference)) => {
            let namespace = reference.namespace.clone().unwrap_or_else(own);
            Some(Name::new(namespace, reference.name.clone()?))
        }
        (None, None) => None,
    }
}
