//! The resources of all files → those that may be used together.
//!
//! What one file says about another is decided here: a resource defined twice, the config map of a
//! broker or of all channels, a trigger's broker, a subscription's channel.

use std::{
    collections::{BTreeMap, btree_map},
    path::PathBuf,
    sync::Arc,
};

use channel::{Hub, Name};
use dispatcher::{SubscriptionSpec, TriggerSpec};

use super::{
    channel::ChannelDefinition,
    defaults::{self, Defaults},
    document::{Any, Bad, Item},
    finding::Finding,
    kind::Kind,
    problem::{Problem, Severity},
    resource::{ConfigMap, Resource, Resources},
    source::{self, SourceKind},
    subscription, template, trigger,
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
        if let Any::Channel(channel) = &item.resource
            && channel.spec.is_backing
        {
            problems.push(orphan(item));
            continue;
        }
        let name = item.name.clone();
        match &item.resource {
            Any::Broker(broker) => {
                resources.brokers.insert(name, Arc::clone(broker));
            }
            Any::Trigger(trigger) => {
                resources.triggers.insert(name, Arc::clone(trigger));
            }
            Any::Channel(channel) => {
                resources.channels.insert(name, Arc::clone(channel));
            }
            Any::Subscription(subscription) => {
                resources.subscriptions.insert(name, Arc::clone(subscription));
            }
            Any::Source(source) => {
                resources.sources.insert((source.spec.kind(), name), Arc::clone(source));
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
    problems.extend(homeless_subscriptions(&resources, bad));
    problems.extend(source::unlinked(&resources, bad));
    problems.extend(choose_of_brokers(&mut resources, bad, in_use));
    problems.extend(choose_of_channels(&mut resources, in_use));
    (resources, problems)
}

fn choose<'a>(
    items: impl Iterator<Item = &'a Item>,
    in_use: &Resources,
    problems: &mut Vec<Problem>,
) -> BTreeMap<(Kind, Name), &'a Item> {
    let mut chosen: BTreeMap<(Kind, Name), &Item> = BTreeMap::new();
    for item in items {
        match chosen.entry((item.resource.kind().of_names(), item.name.clone())) {
            btree_map::Entry::Vacant(vacant) => {
                vacant.insert(item);
            }
            btree_map::Entry::Occupied(occupied) if is_behind(item, occupied.get()) => {}
            btree_map::Entry::Occupied(mut occupied) if is_behind(occupied.get(), item) => {
                occupied.insert(item);
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

/// What stands behind a Channel goes with it, though its object may stay a while.
fn orphan(item: &Item) -> Problem {
    let origin = item.resource.origin();
    let message = format!("the Channel {} that it stands behind is not defined here", item.name);
    let problem = Problem::at(&origin.file, origin.position, message);
    let field = "metadata.ownerReferences".to_owned();
    Problem { severity: Severity::Warning, field, ..problem }
}

/// Whether `item` is a channel that a controller put behind the Channel `other`: both are one.
fn is_behind(item: &Item, other: &Item) -> bool {
    match (&item.resource, &other.resource) {
        (Any::Channel(channel), Any::Channel(other)) => other.spec.stands_before(&channel.spec),
        _ => false,
    }
}

/// The file whose definition is in use.
fn holder<'r>(in_use: &'r Resources, key: &(Kind, Name)) -> Option<&'r Arc<PathBuf>> {
    let (kind, name) = key;
    let origin = match kind {
        Kind::Broker => in_use.brokers.get(name).map(|broker| &broker.origin),
        Kind::Trigger => in_use.triggers.get(name).map(|trigger| &trigger.origin),
        Kind::Channel | Kind::Backing(_) => in_use.channels.get(name).map(|it| &it.origin),
        Kind::Subscription => in_use.subscriptions.get(name).map(|it| &it.origin),
        Kind::Source(kind) => {
            // Kinds whose names must differ share one key.
            let alike = SourceKind::ALL
                .into_iter()
                .filter(|it| Kind::Source(*it).of_names() == Kind::Source(*kind));
            let mut found = alike.filter_map(|kind| in_use.sources.get(&(kind, name.clone())));
            found.next().map(|source| &source.origin)
        }
        Kind::ConfigMap => in_use.config_maps.get(name).map(|config_map| &config_map.origin),
        Kind::Secret => in_use.secrets.get(name).map(|secret| &secret.origin),
    };
    origin.map(|origin| &origin.file)
}

fn twice(second: &Item, first: &Item) -> Problem {
    let (kind, name) = (second.resource.kind().as_str(), &second.name);
    let (here, there) = (second.resource.origin(), first.resource.origin());
    let other = first.resource.kind().as_str();
    let as_other = if kind == other { String::new() } else { format!(" as {other}") };
    let message = format!(
        "{kind} {name} is already defined{as_other} at {}:{}:{}",
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
        let suggestion = nearest_name(&broker, resources.brokers.keys());
        let problem = Problem::at(&wanting.origin.file, wanting.place(field), message);
        let severity = Severity::Warning;
        Some(Problem { severity, field: field.to_owned(), suggestion, ..problem })
    };
    resources.triggers.iter().filter_map(homeless).collect()
}

fn homeless_subscriptions(resources: &Resources, bad: &Bad) -> Vec<Problem> {
    let homeless = |(name, wanting): (&Name, &Arc<Resource<SubscriptionSpec>>)| {
        let channel = subscription::channel_of(name, &wanting.spec)?;
        if resources.channels.contains_key(&channel) || bad.may_be(Kind::Channel, &channel) {
            return None;
        }
        let field = "spec.channel.name";
        let message = format!("channel {channel} is not defined here");
        let suggestion = nearest_name(&channel, resources.channels.keys());
        let problem = Problem::at(&wanting.origin.file, wanting.place(field), message);
        let severity = Severity::Warning;
        Some(Problem { severity, field: field.to_owned(), suggestion, ..problem })
    };
    resources.subscriptions.iter().filter_map(homeless).collect()
}

pub(super) fn nearest_name<'a>(
    wanted: &Name,
    known: impl Iterator<Item = &'a Name>,
) -> Option<String> {
    let neighbours = known.filter(|known| known.namespace == wanted.namespace);
    let near = super::problem::nearest(&wanted.name, neighbours.map(|known| known.name.as_str()));
    near.map(ToOwned::to_owned)
}

/// Notes what keeps the events of each channel. One that says nothing gets the defaults; where those
/// are wrong it stays as it is in use, or is left out.
fn choose_of_channels(resources: &mut Resources, in_use: &Resources) -> Vec<Problem> {
    let mut problems = Vec::new();
    let channels = std::mem::take(&mut resources.channels);
    for (name, channel) in channels {
        let is_open = channel.spec.choice == ChannelChoice::Default;
        let config_map = defaults::find(resources).filter(|_| is_open);
        let defined =
            match config_map.map(|map| (map, defaults::of_namespace(map, &name.namespace))) {
                None => Some(channel),
                Some((_, Ok(defaults))) => Some(Arc::new(with_defaults(&channel, defaults))),
                Some((config_map, Err(wrong))) => {
                    problems.extend(in_config_map(config_map, wrong));
                    in_use.channels.get(&name).map(Arc::clone)
                }
            };
        if let Some(channel) = defined {
            resources.choices.insert(Hub::channel(name.clone()), channel.spec.choice.clone());
            resources.channels.insert(name, channel);
        }
    }
    problems
}

fn with_defaults(
    channel: &Resource<ChannelDefinition>,
    defaults: Defaults,
) -> Resource<ChannelDefinition> {
    let mut channel = channel.clone();
    channel.hash = defaults.mix(channel.hash);
    channel.spec.choice = defaults.choice;
    channel.spec.delivery = channel.spec.delivery.or(defaults.delivery);
    channel
}

fn in_config_map(config_map: &Resource<ConfigMap>, wrong: Vec<Finding>) -> Vec<Problem> {
    let problem = |finding: Finding| Problem {
        field: finding.field,
        suggestion: finding.suggestion,
        ..Problem::at(&config_map.origin.file, finding.at, finding.message)
    };
    wrong.into_iter().map(problem).collect()
}

fn choose_of_brokers(resources: &mut Resources, bad: &Bad, in_use: &Resources) -> Vec<Problem> {
    let mut problems = Vec::new();
    let brokers = std::mem::take(&mut resources.brokers);
    for (name, broker) in brokers {
        match channel_of(&name, &broker, resources, bad) {
            Ok((choice, note)) => {
                problems.extend(note);
                resources.choices.insert(Hub::broker(name.clone()), choice);
                resources.brokers.insert(name, broker);
            }
            Err(wrong) => {
                problems.extend(wrong);
                let hub = Hub::broker(name.clone());
                if let (Some(broker), Some(choice)) =
                    (in_use.brokers.get(&name), in_use.choices.get(&hub))
                {
                    resources.choices.insert(hub, choice.clone());
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
    let choice = template::read(text, config_map.place(template::FIELD))
        .map_err(|wrong| in_config_map(config_map, wrong))?;
    Ok((choice, None))
}
