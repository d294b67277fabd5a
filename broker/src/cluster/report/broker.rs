//! The status of a Broker.

use channel::{
    Name,
    status::{Addressable, Addressed, Observed},
};

use super::{
    conditions::Conditions,
    view::{SINK_RESOLVED, View, addressable},
};
use crate::{
    control::NotReady,
    manifest::{Kind, Problem},
    spec::{BrokerStatus, CLASS, CLASS_ANNOTATION},
};

const INGRESS: &str = "IngressReady";
const CHANNEL: &str = "TriggerChannelReady";
const FILTER: &str = "FilterReady";
const ADDRESSABLE: &str = "Addressable";
const POLICIES: &str = "EventPoliciesReady";
const IDENTITY: &str = "OIDCIdentityCreated";

/// What a cluster is told of the Broker `name`; `None` while nothing is known of it.
pub(super) fn status(view: &View<'_>, name: &Name, config: Option<&Name>) -> Option<BrokerStatus> {
    let resource = view.inventory.resources.brokers.get(name);
    let state = view.inventory.brokers.get(name);
    let refused = view.refused_generation(Kind::Broker, name);
    if config.is_some_and(|config| view.is_open(Kind::ConfigMap, config)) {
        return None;
    }
    let template = config.and_then(|config| template_error(view, config));
    if resource.is_none() && refused.is_none() && template.is_none() {
        return None;
    }
    let mut conditions = Conditions::default();
    conditions.holds(INGRESS);
    match state {
        Some(Ok(state)) => match state.down() {
            None => conditions.holds(CHANNEL),
            Some(NotReady { reason, message }) => conditions.fails(CHANNEL, reason, &message),
        },
        Some(Err(NotReady { reason, message })) => conditions.fails(CHANNEL, reason, message),
        None => conditions.is_unknown(CHANNEL, "ChannelNotReady", "the broker is not at work yet"),
    }
    if let Some(message) = &template {
        conditions.fails(CHANNEL, "ChannelTemplateFailed", message);
    }
    conditions.holds(FILTER);
    if resource.is_some() {
        conditions.holds(ADDRESSABLE);
    } else {
        let message = "nothing takes events there: it is not at work";
        conditions.fails(ADDRESSABLE, "NotAtWork", message);
        conditions.fails(INGRESS, "NotAtWork", message);
    }
    let delivery = resource.and_then(|resource| resource.spec.delivery.as_ref());
    let sink = delivery.and_then(|delivery| delivery.dead_letter_sink.as_ref());
    let dead_letter_sink = view.sink(sink, name, refused.is_some(), &mut conditions);
    policies(&mut conditions);
    for problem in view.errors(Kind::Broker, name) {
        let (kind, reason) = condition_of(problem);
        if !conditions.has_failed(kind) {
            conditions.fails(kind, reason, &in_line(problem));
        }
    }
    let address = addressable(view.finder.broker_url(name));
    let generation = refused
        .or_else(|| resource.map(|resource| resource.generation))
        .or_else(|| view.seen.get(&(Kind::Broker, name.clone())).map(|seen| seen.generation));
    Some(BrokerStatus {
        observed: Observed {
            observed_generation: generation,
            conditions: conditions.finish(),
            ..Observed::default()
        },
        addressed: addressed(address, resource.is_some()),
        dead_letter_sink,
    })
}

/// The one address of an object, while something takes events there.
pub(super) fn addressed(address: Addressable, is_at_work: bool) -> Addressed {
    if !is_at_work {
        return Addressed::default();
    }
    let address_too = address.clone();
    Addressed { address: Some(address), addresses: vec![address_too], ..Addressed::default() }
}

/// What a cluster is told of a Broker that nobody runs.
pub(super) fn of_unknown_class(class: &str, generation: i64) -> BrokerStatus {
    let mut conditions = Conditions::default();
    let message = format!(
        "metadata.annotations.{CLASS_ANNOTATION}: nobody runs brokers of class {class:?}; here the class is {CLASS:?}"
    );
    conditions.fails(INGRESS, "UnknownBrokerClass", &message);
    BrokerStatus {
        observed: Observed {
            observed_generation: Some(generation),
            conditions: conditions.finish(),
            ..Observed::default()
        },
        ..BrokerStatus::default()
    }
}

/// What is wrong with the channel template in a config map, if it is there.
fn template_error(view: &View<'_>, config: &Name) -> Option<String> {
    let problem = view.errors(Kind::ConfigMap, config).next()?;
    Some(format!("ConfigMap {config}: {}", in_line(problem)))
}

fn condition_of(problem: &Problem) -> (&'static str, &'static str) {
    if problem.field.starts_with("spec.config") {
        (CHANNEL, "ChannelTemplateFailed")
    } else if problem.field.starts_with("spec.delivery.deadLetterSink") {
        (SINK_RESOLVED, "InvalidSpec")
    } else {
        (FILTER, "InvalidSpec")
    }
}

/// Nobody is kept out: there are no policies without identities.
pub(super) fn policies(conditions: &mut Conditions) {
    let reason = "OIDCDisabled";
    let message = "Feature \"authentication-oidc\" must be enabled to support Authorization";
    conditions.holds_because(POLICIES, reason, message);
}

/// Nobody is asked who sends.
pub(super) fn identity(conditions: &mut Conditions) {
    let reason = "OIDCAuthenticationDisabled";
    conditions.holds_because(IDENTITY, reason, "authentication-oidc feature disabled");
}

/// A problem without the object it is in.
pub(super) fn in_line(problem: &Problem) -> String {
    let suggestion = problem.suggestion.as_ref();
    let suggestion = suggestion.map_or_else(String::new, |it| format!(" (did you mean {it}?)"));
    if problem.field.is_empty() {
        format!("{}{suggestion}", problem.message)
    } else {
        format!("{}: {}{suggestion}", problem.field, problem.message)
    }
}
