//! A place events can be put, kept, and taken back from.

mod attributes;
pub mod binding;
mod budget;
#[allow(clippy::module_inception, reason = "the contract carries the crate's own name")]
mod channel;
#[cfg(feature = "testing")]
pub mod contract;
mod destination;
mod draft;
mod event;
mod invalid;
mod memory;
mod name;
mod percent;
pub mod rules;
pub mod sdk;
mod sink;

pub use attributes::Attributes;
pub use budget::{Budget, Charge};
pub use channel::{
    Batch, Channel, Depth, Durability, Home, Lease, Position, Publish, PublishError, Reader,
    Strength, key_worker, order_key,
};
pub use destination::{CLUSTER_DOMAIN, Destination, Reference, Target};
pub use draft::Draft;
pub use event::{Attribute, Data, Event, Form, Kind, SpecVersion};
pub use invalid::Invalid;
pub use memory::{Memory, MemoryLimits};
pub use name::Name;
pub use sink::{Refusal, Sink, Stored};
