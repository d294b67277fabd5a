//! The status of a Trigger.

use channel::{Name, status::Observed};
use dispatcher::TriggerStatus;

use super::{
    broker::{identity, in_line},
    conditions::Conditions,
    view::{SINK_RESOLVED, View},
};
use crate::{
    cluster::finder::written,
    cluster::wanted,
    control::{NotReady, SinkFrom},
    manifest::{Kind, Problem},
};

const BROKER: &str = "BrokerReady";
const SUBSCRIPTION: &str = "SubscriptionReady";
const DEPENDENCY: &str = "DependencyReady";
const SUBSCRIBER: &str = "SubscriberResolved";

/// What a cluster is told of the Trigger `name`; `None` while nothing is known of it.
pub(super) fn status(view: &View<'_>, name: &Name, broker: Option<&Name>) -> Option<TriggerStatus> {
    let resource = view.inventory.resources.triggers.get(name);
    let state = view.inventory.triggers.get(name);
    let refused = view.refused_generation(Kind::Trigger, name);
    if resource.is_none() && refused.is_none() {
        return None;
    }
    let mut conditions = Conditions::default();
    // What cannot be read names no broker.
    let nobody = Name::new("", "");
    let broker = broker.unwrap_or(&nobody);
    match view.brokers.get(broker) {
        Some(ready) => conditions.mirrors(BROKER, ready),
        None if *broker == nobody => {
            conditions.is_unknown(BROKER, "BrokerUnknown", "it cannot be read which is meant");
        }
        None => {
            let message = format!("Broker {:?} does not exist", broker.name);
            conditions.fails(BROKER, "BrokerDoesNotExist", &message);
        }
    }
    let mut status = TriggerStatus::default();
    if let Some(resource) = resource {
        let subscriber = &resource.spec.subscriber;
        let path = "spec.subscriber";
        match subscriber.resolve_by(path, &name.namespace, |reference| view.find(reference)) {
            Ok(target) => {
                conditions.holds(SUBSCRIBER);
                status.subscriber_uri = Some(written(&target));
                status.subscriber_ca_certs = target.ca_certs;
                status.subscriber_audience = target.audience;
            }
            Err(invalid) => {
                let reason = "Unable to get the Subscriber's URI";
                conditions.fails(SUBSCRIBER, reason, &invalid.to_string());
            }
        }
        let of_broker = view.inventory.resources.brokers.get(broker);
        let sink_of = |delivery: Option<&dispatcher::DeliverySpec>| {
            delivery.and_then(|delivery| delivery.dead_letter_sink.clone())
        };
        let sink = match state.and_then(|state| state.sink_from) {
            Some(SinkFrom::Hub(_)) => {
                (sink_of(of_broker.and_then(|it| it.spec.delivery.as_ref())), broker)
            }
            _ => (sink_of(resource.spec.delivery.as_ref()), name),
        };
        status.dead_letter_sink =
            view.sink(sink.0.as_ref(), sink.1, refused.is_some(), &mut conditions);
        depends(view, name, resource, &mut conditions);
    }
    // What cannot be found any more is told of by the condition of what it is.
    match state.map(|state| &state.running) {
        Some(Ok(_)) => conditions.holds(SUBSCRIPTION),
        // It is there, and not at work: its own condition says why.
        Some(Err(NotReady { reason: "BrokerDoesNotExist", .. }))
            if view.brokers.contains_key(broker) =>
        {
            let message = format!("Broker {:?} is not at work", broker.name);
            conditions.fails(SUBSCRIPTION, "BrokerNotReady", &message);
        }
        Some(Err(NotReady { reason, message })) => {
            if *reason == "SubscriberUnresolved" && !conditions.has_failed(SUBSCRIBER) {
                conditions.fails(SUBSCRIBER, "Unable to get the Subscriber's URI", message);
                status.subscriber_uri = None;
            }
            conditions.fails(SUBSCRIPTION, reason, message);
        }
        None => conditions.is_unknown(SUBSCRIPTION, "SubscriptionUnknown", "it is not at work yet"),
    }
    identity(&mut conditions);
    for problem in view.errors(Kind::Trigger, name) {
        let kind = condition_of(problem);
        conditions.fails(kind, "InvalidSpec", &in_line(problem));
    }
    status.observed = Observed {
        observed_generation: refused.or_else(|| resource.map(|resource| resource.generation)),
        conditions: conditions.finish(),
        ..Observed::default()
    };
    Some(status)
}

/// What a cluster is told of a Trigger whose Broker nobody runs.
pub(super) fn of_unknown_class(broker: &Name, class: &str, generation: i64) -> TriggerStatus {
    let mut conditions = Conditions::default();
    let message = format!("nobody runs brokers of class {class:?}, as {:?} is", broker.name);
    conditions.fails(BROKER, "UnknownBrokerClass", &message);
    conditions.is_unknown(SUBSCRIPTION, "BrokerNotReady", "its Broker is not run");
    let observed = Observed {
        observed_generation: Some(generation),
        conditions: conditions.finish(),
        ..Observed::default()
    };
    TriggerStatus { observed, ..TriggerStatus::default() }
}

/// What must be ready before the trigger is.
fn depends(
    view: &View<'_>,
    name: &Name,
    resource: &crate::manifest::Resource<dispatcher::TriggerSpec>,
    conditions: &mut Conditions,
) {
    let Some(written) = resource.annotations.get(wanted::DEPENDENCY) else {
        return conditions.holds(DEPENDENCY);
    };
    let Some(reference) = wanted::dependency(name, &resource.annotations) else {
        let message = format!(
            "metadata.annotations.{}: {written:?} is no object reference in JSON",
            wanted::DEPENDENCY
        );
        return conditions.fails(DEPENDENCY, "ReferenceError", &message);
    };
    match view.referred.readiness(&reference) {
        Err(why) => conditions.fails(DEPENDENCY, "DependencyDoesNotExist", &why),
        Ok(Some(ready)) if !ready.is_current => {
            let message = format!("{reference} has not taken in its last change");
            conditions.is_unknown(DEPENDENCY, "GenerationNotEqual", &message);
        }
        Ok(Some(ready)) if ready.status == "True" => conditions.holds(DEPENDENCY),
        Ok(Some(ready)) if ready.status == "False" => {
            conditions.fails(DEPENDENCY, &ready.reason, &ready.message);
        }
        Ok(Some(ready)) => conditions.is_unknown(DEPENDENCY, &ready.reason, &ready.message),
        Ok(None) => {
            let message = format!("{reference} does not say whether it is ready");
            conditions.is_unknown(DEPENDENCY, "DependencyUnknown", &message);
        }
    }
}

fn condition_of(problem: &Problem) -> &'static str {
    let field = problem.field.as_str();
    if field.starts_with("spec.subscriber") {
        SUBSCRIBER
    } else if field.starts_with("spec.broker") {
        BROKER
    } else if field.starts_with("spec.delivery.deadLetterSink") {
        SINK_RESOLVED
    } else {
        SUBSCRIPTION
    }
}
