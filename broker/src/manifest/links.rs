//! The resources of all files → those that may be used together.
//!
//! What one file says about another is decided here: a resource defined twice, a broker's
//! config map, a trigger's broker.

use std::{
    collections::{BTreeMap, btree_map},
    path::PathBuf,
    sync::Arc,
};

use channel::Name;
use dispatcher::TriggerSpec;

use super::{
    document::{Any, Bad, Item},
    kind::Kind,
    problem::{Problem, Severity},
    resource::{Resource, Resources},
    template, trigger,
};
use crate::spec::{BrokerSpec, ChannelChoice};

/// The config map that Knative's own installation gives brokers: it asks for an InMemoryChannel.
const SHIPPED_CONFIG: (&str, &str) = ("knative-eventing", "config-br-default-channel");

/// Joins the resources of all files, in the order of their files.
///
/// Of a resource defined twice, the one that is in use stays in use, else the first counts.
/// That a resource is not defined is told only if it is not among the `bad` ones either.
/// A broker whose channel cannot be had keeps the definition and channel in use, or is left out.
pub(super) fn link<'a>(
    items: impl Iterator<Item = &'a Item>,
    bad: &Bad,
    in_use: &Resources,
) -> (Resources, Vec<Problem>) {
    let mut problems = Vec::new();
    let chosen = choose(items, in_use, &mut problems);
    let mut resources = Resources::default();
    for item in chosen.into_values() {
        let name = item.name.clone();
        match &item.resource {
            Any::Broker(broker) => {
                resources.brokers.insert(name, Arc::clone(broker));
            }
            Any::Trigger(trigger) => {
                resources.triggers.insert(name, Arc::clone(trigger));
            }
            Any::ConfigMap(config_map) => {
                resources.config_maps.insert(name, Arc::clone(config_map));
            }
            Any::Secret(secret) => {
                resources.secrets.insert(name, Arc::clone(secret));
            }
        }
    }
    // Before brokers are left out: a trigger's broker that is defined but bad is not its problem.
    problems.extend(homeless_triggers(&resources, bad));
    problems.extend(choose_channels(&mut resources, bad, in_use));
    (resources, problems)
}

fn choose<'a>(
    items: impl Iterator<Item = &'a Item>,
    in_use: &Resources,
    problems: &mut Vec<Problem>,
) -> BTreeMap<(Kind, Name), &'a Item> {
    let mut chosen: BTreeMap<(Kind, Name), &Item> = BTreeMap::new();
    for item in items {
        match chosen.entry((item.resource.kind(), item.name.clone())) {
            btree_map::Entry::Vacant(vacant) => {
                vacant.insert(item);
            }
            btree_map::Entry::Occupied(mut occupied) => {
                let holder = holder(in_use, occupied.key());
                if holder.is_some_and(|file| {
                    file == &item.resource.origin().file
                        && file != &occupied.get().resource.origin().file
                }) {
                    problems.push(twice(occupied.get(), item));
                    occupied.insert(item);
                } else {
                    problems.push(twice(item, occupied.get()));
                }
            }
        }
    }
    chosen
}

/// The file whose definition is in use.
fn holder<'r>(in_use: &'r Resources, key: &(Kind, Name)) -> Option<&'r Arc<PathBuf>> {
    let (kind, name) = key;
    let origin = match kind {
        Kind::Broker => in_use.brokers.get(name).map(|broker| &broker.origin),
        Kind::Trigger => in_use.triggers.get(name).map(|trigger| &trigger.origin),
        Kind::ConfigMap => in_use.config_maps.get(name).map(|config_map| &config_map.origin),
        Kind::Secret => in_use.secrets.get(name).map(|secret| &secret.origin),
    };
    origin.map(|origin| &origin.file)
}

fn twice(second: &Item, first: &Item) -> Problem {
    let (kind, name) = (second.resource.kind().as_str(), &second.name);
    let (here, there) = (second.resource.origin(), first.resource.origin());
    let message = format!(
        "{kind} {name} is already defined at {}:{}:{}",
        there.file.display(),
        there.position.line,
        there.position.column
    );
    Problem { field: "metadata.name".to_owned(), ..Problem::at(&here.file, here.position, message) }
}

fn homeless_triggers(resources: &Resources, bad: &Bad) -> Vec<Problem> {
    let homeless = |(name, wanting): (&Name, &Arc<Resource<TriggerSpec>>)| {
        let broker = trigger::broker_of(name, &wanting.spec)?;
        if resources.brokers.contains_key(&broker) || bad.may_be(Kind::Broker, &broker) {
            return None;
        }
        let field =
            if wanting.spec.broker.is_some() { "spec.broker" } else { "spec.brokerRef.name" };
        let message = format!("broker {broker} is not defined here");
        let suggestion = nearest_broker(&broker, resources);
        let problem = Problem::at(&wanting.origin.file, wanting.place(field), message);
        let severity = Severity::Warning;
        Some(Problem { severity, field: field.to_owned(), suggestion, ..problem })
    };
    resources.triggers.iter().filter_map(homeless).collect()
}

fn nearest_broker(broker: &Name, resources: &Resources) -> Option<String> {
    let neighbours = resources.brokers.keys().filter(|known| known.namespace == broker.namespace);
    let near = super::problem::nearest(&broker.name, neighbours.map(|known| known.name.as_str()));
    near.map(ToOwned::to_owned)
}

fn choose_channels(resources: &mut Resources, bad: &Bad, in_use: &Resources) -> Vec<Problem> {
    let mut problems = Vec::new();
    let brokers = std::mem::take(&mut resources.brokers);
    for (name, broker) in brokers {
        match channel_of(&name, &broker, resources, bad) {
            Ok((choice, note)) => {
                problems.extend(note);
                resources.channels.insert(name.clone(), choice);
                resources.brokers.insert(name, broker);
            }
            Err(wrong) => {
                problems.extend(wrong);
                if let (Some(broker), Some(choice)) =
                    (in_use.brokers.get(&name), in_use.channels.get(&name))
                {
                    resources.channels.insert(name.clone(), choice.clone());
                    resources.brokers.insert(name, Arc::clone(broker));
                }
            }
        }
    }
    problems
}

/// The channel that a broker's config map asks for, and what is worth telling about it.
fn channel_of(
    name: &Name,
    broker: &Resource<BrokerSpec>,
    resources: &Resources,
    bad: &Bad,
) -> Result<(ChannelChoice, Option<Problem>), Vec<Problem>> {
    let Some(config) = &broker.spec.config else {
        return Ok((ChannelChoice::Default, None));
    };
    let namespace = config.namespace.as_deref().unwrap_or(&name.namespace);
    let wanted = Name::new(namespace, config.name.as_deref().unwrap_or_default());
    let say = |message: String| Problem {
        field: "spec.config.name".to_owned(),
        ..Problem::at(&broker.origin.file, broker.place("spec.config.name"), message)
    };
    let Some(config_map) = resources.config_maps.get(&wanted) else {
        if (wanted.namespace.as_str(), wanted.name.as_str()) == SHIPPED_CONFIG {
            let message =
                format!("ConfigMap {wanted} is not defined here: the default channel is used");
            let note = Problem { severity: Severity::Note, ..say(message) };
            return Ok((ChannelChoice::Default, Some(note)));
        }
        if bad.may_be(Kind::ConfigMap, &wanted) {
            return Err(Vec::new());
        }
        return Err(vec![say(format!("ConfigMap {wanted} is not defined here"))]);
    };
    let Some(text) = config_map.spec.data.get("channel-template-spec") else {
        return Err(vec![say(format!("ConfigMap {wanted} has no {}", template::FIELD))]);
    };
    let choice = template::read(text, config_map.place(template::FIELD)).map_err(|wrong| {
        wrong
            .into_iter()
            .map(|finding| Problem {
                field: finding.field,
                suggestion: finding.suggestion,
                ..Problem::at(&config_map.origin.file, finding.at, finding.message)
            })
            .collect::<Vec<_>>()
    })?;
    Ok((choice, None))
}
