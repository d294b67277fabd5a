//! Resources as loaded: what each document says, and where it says so.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::PathBuf,
    sync::Arc,
};

use channel::{Hub, Name, Reference};
use dispatcher::{SubscriptionSpec, TriggerSpec};

use super::{
    channel::ChannelDefinition,
    problem::Position,
    source::{SourceKind, SourceSpec},
};
use crate::spec::{BrokerSpec, ChannelChoice, ChannelKind};

/// Where a resource was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file.
    pub file: Arc<PathBuf>,
    /// Where its name stands in it.
    pub position: Position,
}

/// One resource with a valid spec.
#[derive(Clone, Debug)]
pub struct Resource<S> {
    /// What the user wants.
    pub spec: S,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// Hash of spec, annotations and labels: equal while nothing that counts has changed.
    pub hash: u64,
    /// `metadata.generation` as a cluster counts it; 0 in a file.
    pub generation: i64,
    /// Where it comes from.
    pub origin: Origin,
    /// Where the fields are that other resources decide about.
    pub(super) places: Vec<(&'static str, Position)>,
}

impl Resource<()> {
    /// The same with a spec.
    pub(super) fn with<S>(self, spec: S) -> Resource<S> {
        let Self { spec: (), annotations, labels, hash, generation, origin, places } = self;
        Resource { spec, annotations, labels, hash, generation, origin, places }
    }
}

impl<S> Resource<S> {
    /// Where a field is; the resource's name if that field was not noted.
    pub(super) fn place(&self, field: &str) -> Position {
        let found = self.places.iter().find(|(noted, _)| *noted == field);
        found.map_or(self.origin.position, |(_, position)| *position)
    }
}

/// A ConfigMap's content.
#[derive(Clone, Debug, Default)]
pub struct ConfigMap {
    /// `data`.
    pub data: BTreeMap<String, String>,
    /// `binaryData`, decoded.
    pub binary_data: BTreeMap<String, Vec<u8>>,
}

/// A Secret's content: `data` decoded, `stringData` over it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secret {
    /// The values by key.
    pub data: BTreeMap<String, ::sources::Secret>,
}

impl Secret {
    /// Equal while no value changes.
    pub(crate) fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (key, value) in &self.data {
            (key, value.expose()).hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// Every resource that may be used, by kind and name.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    /// The brokers.
    pub brokers: BTreeMap<Name, Arc<Resource<BrokerSpec>>>,
    /// What keeps the events of each of the brokers and channels.
    pub choices: BTreeMap<Hub, ChannelChoice>,
    /// The triggers, those whose broker is not defined included.
    pub triggers: BTreeMap<Name, Arc<Resource<TriggerSpec>>>,
    /// The channels, whatever their kind.
    pub channels: BTreeMap<Name, Arc<Resource<ChannelDefinition>>>,
    /// The subscriptions, those whose channel is not defined included.
    pub subscriptions: BTreeMap<Name, Arc<Resource<SubscriptionSpec>>>,
    /// The sources, by kind and name.
    pub sources: BTreeMap<(SourceKind, Name), Arc<Resource<SourceSpec>>>,
    /// The config maps.
    pub config_maps: BTreeMap<Name, Arc<Resource<ConfigMap>>>,
    /// The secrets.
    pub secrets: BTreeMap<Name, Arc<Resource<Secret>>>,
}

impl Resources {
    /// How many there are.
    pub fn len(&self) -> usize {
        let of_brokers = self.brokers.len() + self.triggers.len();
        let of_channels = self.channels.len() + self.subscriptions.len();
        of_brokers + of_channels + self.sources.len() + self.config_maps.len() + self.secrets.len()
    }

    /// The brokers and channels.
    pub fn hubs(&self) -> impl Iterator<Item = Hub> {
        let brokers = self.brokers.keys().cloned().map(Hub::broker);
        brokers.chain(self.channels.keys().cloned().map(Hub::channel))
    }

    /// The hub that `reference` means; `default` is the process's kind of channel.
    pub(crate) fn find(&self, reference: &Reference, default: ChannelKind) -> Option<Hub> {
        let name = Name::new(reference.namespace.clone()?, reference.name.clone()?);
        if reference.kind.as_deref() == Some("Broker") {
            return self.brokers.contains_key(&name).then(|| Hub::broker(name));
        }
        let channel = self.channels.get(&name)?;
        channel.spec.is_meant(reference, default).then(|| Hub::channel(name))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether both hold the same resources saying the same, wherever they are written.
    pub fn says_the_same(&self, other: &Self) -> bool {
        fn same<K: Ord, S>(
            left: &BTreeMap<K, Arc<Resource<S>>>,
            right: &BTreeMap<K, Arc<Resource<S>>>,
        ) -> bool {
            left.len() == right.len()
                && left.iter().zip(right).all(|((left_name, left), (right_name, right))| {
                    left_name == right_name
                        && left.hash == right.hash
                        && left.generation == right.generation
                })
        }
        same(&self.brokers, &other.brokers)
            && same(&self.triggers, &other.triggers)
            && same(&self.channels, &other.channels)
            && same(&self.subscriptions, &other.subscriptions)
            && same(&self.sources, &other.sources)
            && same(&self.config_maps, &other.config_maps)
            && same(&self.secrets, &other.secrets)
            && self.choices == other.choices
    }
}
