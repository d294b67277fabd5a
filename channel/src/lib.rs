//! A place events can be put, kept, and taken back from.
//!
//! Here is what the other rooms share: the [`Event`], its forms on the wire ([`binding`]), the
//! contract of every backend ([`Channel`], and [`Overflow`] and [`Ledger`] beside it) with its four
//! backends ([`memory`], [`disk`], [`kafka`], [`nats`]), anything that takes an event ([`Sink`]),
//! how users name one ([`Destination`]), and what a log belongs to: a broker or a channel, by its [`Hub`].
//!
//! # Promises
//!
//! - A publish resolves when the event is stored as strongly as [`Channel::durability`] says: that is
//!   what a 202 means. Of a [`Batch`] all events are stored, or none.
//! - Every stored event is lent to one reader, and lent again until its [`Lease`] is settled.
//! - Events of one worker are lent in the order in which they were published; while keys are kept
//!   together, events of one key are, whichever worker took them in.
//! - A channel at a bound refuses. It never drops what it has.
//! - Attributes and data leave as they came, byte for byte, unless the sender's form of the event and
//!   the subscriber's differ: then the rules of the two forms hold.
//! - What an event costs is charged to a [`Budget`] before it is read, and given back with its last copy.
//!
//! # Limits
//!
//! | what | default | at the limit |
//! | --- | --- | --- |
//! | events stored and not settled, in memory | 200,000 | [`PublishError::Full`] with a time to come back |
//! | bytes of the events of one memory channel, and of all channels | set by the process | [`PublishError::Full`] |
//! | bytes of a log on disk, and what the disk must keep free | [`DiskSettings`] | [`PublishError::Full`] |
//! | messages and bytes of a stream | [`NatsPlan`] | [`PublishError::Full`] |
//! | one event, attributes and data | 1 MiB + 64 KiB | [`PublishError::TooLarge`] |
//! | one attribute's value | 4 KiB | [`Invalid`] |
//! | an attribute's name | 64 characters | [`Invalid`] |
//! | extensions of an event | 64 | [`Invalid`] |
//! | events of a batch | 1,000 | [`binding::DecodeError::TooManyEvents`] |
//! | JSON inside JSON | 64 levels | [`binding::DecodeError::TooDeep`] |
//!
//! Names come from [`MemoryLimits`], [`DiskSettings`], [`KafkaSettings`], [`NatsPlan`] and
//! [`binding::Limits`]; what a server refuses by its own limits is told with the server's words.
//!
//! # Why not the SDK's event
//!
//! `cloudevents-sdk` changes data bytes on the way through and accepts events that are not valid. It
//! is the type at the public edge, with conversions both ways ([`sdk`]), and not on an event's path.
//!
//! # Reading order
//!
//! `event` and `draft` (an event, and one in the making), `rules` (what CloudEvents asks of
//! attributes), [`binding`], `channel`, `publish` and `lease` (the contract of the log), `overflow` (of
//! what waits for one trigger), `ledger` (of what is noted), [`memory`], `record` (an event as bytes),
//! [`disk`], [`kafka`], [`nats`], `erased` (what became of it all), `budget`, `sink`, `destination`, [`status`] (what a cluster is told of an
//! object), [`schema`] (what it holds of one for us).

mod attributes;
pub mod binding;
mod budget;
#[allow(clippy::module_inception, reason = "the contract carries the crate's own name")]
mod channel;
pub mod clock;
#[cfg(feature = "testing")]
pub mod contract;
mod destination;
pub mod disk;
mod draft;
mod drain;
mod due;
mod erased;
mod event;
mod hub;
mod invalid;
pub mod kafka;
mod lease;
mod ledger;
pub mod memory;
mod name;
pub mod nats;
mod overflow;
mod percent;
mod publish;
pub mod record;
mod removal;
pub mod rules;
pub mod schema;
pub mod sdk;
mod sink;
mod spare;
pub mod status;

pub use attributes::Attributes;
pub use budget::{Budget, Charge};
pub use channel::{
    Batch, Channel, Depth, Durability, Position, Reader, Strength, Work, key_worker, order_key,
};
pub use destination::{CLUSTER_DOMAIN, Destination, Found, Reference, Target};
pub use disk::{Disk, DiskSettings};
pub use draft::{Draft, HOPS_HEADER};
pub use erased::Erased;
pub use event::{Attribute, Data, Event, Form, Kind, SpecVersion};
pub use hub::{Hub, HubKind};
pub use invalid::Invalid;
pub use kafka::{Kafka, KafkaPlan, KafkaSettings};
pub use lease::{Beside, Home, Lease};
pub use ledger::{Change, Ledger, Watch};
pub use memory::{Memory, MemoryLimits};
pub use name::Name;
pub use nats::{Nats, NatsPlan, NatsSettings};
pub use overflow::{Envelope, Overflow, Waiting};
pub use publish::{Publish, PublishError, Published};
pub use sink::{Refusal, Sink, Stored};
pub use spare::give_back;
