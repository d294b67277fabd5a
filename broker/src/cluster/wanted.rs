//! Which objects our resources refer to: what else is to be followed.

use std::collections::BTreeSet;

use channel::{Destination, Name, Reference};
use dispatcher::DeliverySpec;

use super::{referred::KindKey, secrets};
use crate::manifest::Resources;

/// The annotation of a Trigger that names what must be ready before it is.
pub(super) const DEPENDENCY: &str = "knative.dev/dependency";

/// The kinds that references of `resources` name, each once.
pub(super) fn kinds(resources: &Resources) -> BTreeSet<KindKey> {
    let mut kinds = BTreeSet::new();
    let mut add = |reference: Option<&Reference>| {
        if let Some(key) = reference.and_then(KindKey::of)
            && !kinds.contains(&key)
        {
            kinds.insert(key);
        }
    };
    for broker in resources.brokers.values() {
        add(sink(broker.spec.delivery.as_ref()));
    }
    for (name, trigger) in &resources.triggers {
        add(of(Some(&trigger.spec.subscriber)));
        add(sink(trigger.spec.delivery.as_ref()));
        add(dependency(name, &trigger.annotations).as_ref());
    }
    for channel in resources.channels.values() {
        add(sink(channel.spec.delivery.as_ref()));
        // What its name needs is looked after.
        add(Some(&service(&Name::new("", ""))));
    }
    for subscription in resources.subscriptions.values() {
        add(of(subscription.spec.subscriber.as_ref()));
        add(of(subscription.spec.reply.as_ref()));
        add(sink(subscription.spec.delivery.as_ref()));
    }
    for source in resources.sources.values() {
        add(of(source.spec.sink()));
    }
    kinds
}

/// The Service that makes a channel's name known.
pub(super) fn service(channel: &Name) -> Reference {
    Reference {
        kind: Some("Service".to_owned()),
        api_version: Some("v1".to_owned()),
        namespace: Some(channel.namespace.clone()),
        name: Some(format!("{}-kn-channel", channel.name)),
        ..Reference::default()
    }
}

/// What a Trigger waits for.
pub(super) fn dependency(
    trigger: &Name,
    annotations: &std::collections::BTreeMap<String, String>,
) -> Option<Reference> {
    let reference: Reference = serde_json::from_str(annotations.get(DEPENDENCY)?).ok()?;
    let namespace = reference.namespace.clone().unwrap_or_else(|| trigger.namespace.clone());
    Some(Reference { namespace: Some(namespace), ..reference })
}

/// The Secrets that sources name, with the keys.
pub(super) fn secrets(resources: &Resources) -> secrets::Wanted {
    let mut wanted = secrets::Wanted::new();
    for ((_, source), resource) in &resources.sources {
        for reference in resource.spec.secret_refs() {
            let name = Name::new(source.namespace.as_str(), reference.name.as_str());
            wanted.entry(name).or_default().insert(reference.key.clone());
        }
    }
    wanted
}

fn of(destination: Option<&Destination>) -> Option<&Reference> {
    destination?.reference.as_ref()
}

fn sink(delivery: Option<&DeliverySpec>) -> Option<&Reference> {
    of(delivery?.dead_letter_sink.as_ref())
}
