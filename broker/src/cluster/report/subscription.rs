//! The status of a Subscription.

use channel::{Destination, Name, Target, status::Observed};
use dispatcher::{PhysicalSubscription, SubscriptionSpec, SubscriptionStatus};

use super::{
    broker::{identity, in_line},
    conditions::{Conditions, READY},
    view::View,
};
use crate::{
    cluster::finder::written,
    control::{NotReady, SinkFrom, TriggerState},
    manifest::{Kind, Problem},
};

const REFERENCES: &str = "ReferencesResolved";
const ADDED: &str = "AddedToChannel";
const CHANNEL: &str = "ChannelReady";

/// What a cluster is told of the Subscription `name`; `None` while nothing is known of it.
pub(super) fn status(
    view: &View<'_>,
    name: &Name,
    channel: Option<&Name>,
) -> Option<SubscriptionStatus> {
    // What cannot be read names no channel.
    let nobody = Name::new("", "");
    let channel = channel.unwrap_or(&nobody);
    let resource = view.inventory.resources.subscriptions.get(name);
    let state = view.inventory.subscriptions.get(name);
    let refused = view.refused_generation(Kind::Subscription, name);
    if resource.is_none() && refused.is_none() {
        return None;
    }
    let mut conditions = Conditions::default();
    let mut physical = PhysicalSubscription::default();
    conditions.holds(REFERENCES);
    if let Some(resource) = resource {
        physical = resolve(view, name, &resource.spec, state, channel, &mut conditions);
    }
    let is_resolved = !conditions.has_failed(REFERENCES);
    match state.map(|state| &state.running) {
        Some(Ok(_)) => conditions.holds(ADDED),
        Some(Err(NotReady { reason, message })) => {
            if is_resolved && reason.ends_with("Failed") {
                conditions.fails(REFERENCES, reason, message);
            }
            conditions.fails(ADDED, reason, message);
        }
        None => conditions.is_unknown(ADDED, "Resolving", "it is not at work yet"),
    }
    let why_not = state.and_then(|state| state.running.as_ref().err());
    match (view.channels.get(channel), why_not) {
        // There is one of that name, but not of the kind that is asked for.
        (Some(_), Some(NotReady { reason: reason @ "ChannelReferenceFailed", message })) => {
            conditions.fails(CHANNEL, reason, message);
        }
        (Some(ready), _) if ready.status == "True" => conditions.holds(CHANNEL),
        (Some(ready), _) => conditions.mirrors(CHANNEL, ready),
        (None, _) => {
            let message = format!("Channel {:?} does not exist", channel.name);
            conditions.fails(CHANNEL, "ChannelReferenceFailed", &message);
        }
    }
    identity(&mut conditions);
    for problem in view.errors(Kind::Subscription, name) {
        conditions.fails(condition_of(problem), "InvalidSpec", &in_line(problem));
    }
    let conditions = conditions.finish();
    let is_known = physical != PhysicalSubscription::default();
    let is_unready = conditions.iter().any(|it| it.kind == READY && it.status == "False");
    Some(SubscriptionStatus {
        observed: Observed {
            observed_generation: refused.or_else(|| resource.map(|resource| resource.generation)),
            conditions,
            ..Observed::default()
        },
        physical_subscription: (is_known || !is_unready).then_some(physical),
        auth: None,
    })
}

/// Resolves the destinations of a subscription, and says so in `conditions`.
fn resolve(
    view: &View<'_>,
    name: &Name,
    spec: &SubscriptionSpec,
    state: Option<&TriggerState>,
    channel: &Name,
    conditions: &mut Conditions,
) -> PhysicalSubscription {
    let mut physical = PhysicalSubscription::default();
    let resolved = |destination: Option<&Destination>, path: &str| {
        let found = destination
            .map(|it| it.resolve_by(path, &name.namespace, |reference| view.find(reference)));
        found.transpose()
    };
    let fails = |conditions: &mut Conditions, reason: &str, message: &str| {
        if !conditions.has_failed(REFERENCES) {
            conditions.fails(REFERENCES, reason, message);
        }
    };
    let subscriber = resolved(spec.subscriber.as_ref(), "spec.subscriber");
    match subscriber {
        Ok(target) => put(
            target,
            &mut physical.subscriber_uri,
            &mut physical.subscriber_ca_certs,
            &mut physical.subscriber_audience,
        ),
        Err(why) => fails(conditions, "SubscriberResolveFailed", &why.to_string()),
    }
    match resolved(spec.reply.as_ref(), "spec.reply") {
        Ok(target) => put(
            target,
            &mut physical.reply_uri,
            &mut physical.reply_ca_certs,
            &mut physical.reply_audience,
        ),
        Err(why) => fails(conditions, "ReplyResolveFailed", &why.to_string()),
    }
    let sink = |delivery: Option<&dispatcher::DeliverySpec>| {
        delivery.and_then(|delivery| delivery.dead_letter_sink.clone())
    };
    let of_channel = view.inventory.resources.channels.get(channel);
    let sink = match state.and_then(|state| state.sink_from) {
        Some(SinkFrom::Hub(_)) => sink(of_channel.and_then(|it| it.spec.delivery.as_ref())),
        _ => sink(spec.delivery.as_ref()),
    };
    match resolved(sink.as_ref(), "spec.delivery.deadLetterSink") {
        Ok(target) => {
            let sink = &mut physical.dead_letter_sink;
            put(
                target,
                &mut sink.dead_letter_sink_uri,
                &mut sink.dead_letter_sink_ca_certs,
                &mut sink.dead_letter_sink_audience,
            );
        }
        Err(why) => fails(conditions, "DeadLetterSinkResolveFailed", &why.to_string()),
    }
    physical
}

fn put(
    target: Option<Target>,
    uri: &mut Option<String>,
    ca_certs: &mut Option<String>,
    audience: &mut Option<String>,
) {
    if let Some(target) = target {
        *uri = Some(written(&target));
        *ca_certs = target.ca_certs;
        *audience = target.audience;
    }
}

fn condition_of(problem: &Problem) -> &'static str {
    let field = problem.field.as_str();
    let is_reference = ["spec.subscriber", "spec.reply", "spec.delivery.deadLetterSink"]
        .iter()
        .any(|part| field.starts_with(part));
    if is_reference {
        REFERENCES
    } else if field.starts_with("spec.channel") {
        CHANNEL
    } else {
        ADDED
    }
}
