//! The backend over a Kafka cluster: a topic for each broker, a consumer group over its replicas.
//!
//! # Promises
//!
//! - A publish resolves when all in-sync replicas have the record: it survives the processes, ours and
//!   Kafka's. Whether it survives power loss Kafka does not tell, since it writes to disk when the system
//!   does; so the strength is [`Process`]. With two in-sync replicas at least it survives a machine.
//! - Every record is lent to one reader of one replica. Offsets are committed up to the first event that
//!   is not settled, never past it. What is settled beyond it stands beside the commit, as its metadata:
//!   after a restart, or when partitions move, only what is not settled is lent again.
//! - Publishes answer within [`KafkaSettings::publish_timeout`]: stored, refused, or unknown.
//! - What is no CloudEvent is lent with its reason, and stops nothing.
//!
//! # Limits
//!
//! | what | default | at the limit |
//! | --- | --- | --- |
//! | records on their way to Kafka | 20,000 and 64 MiB | [`Full`] |
//! | one event | 1 MiB + 64 KiB | [`TooLarge`] |
//! | events lent or waiting to be, per partition | 10,000 and 16 MiB | the partition is paused |
//! | events behind the first that is not settled, per partition | 100,000 | the partition is paused |
//! | what stands beside a commit | 2 KiB before base64 | what is beyond may be lent again |
//! | entries of an overflow read ahead, per lane | 500 and 2 MiB | the lane is paused |
//! | memory for events of all channels | set by the process | the partition is paused |
//!
//! A batch is not stored whole: when one of its records fails, others may be stored, and the outcome is
//! unknown. [`Depth`](crate::Depth) counts the partitions that this replica has, so that the sum over all
//! replicas is what is stored; its bytes are those of events that were read.
//!
//! # Why
//!
//! One group for a broker, not one for a trigger: a consumer costs threads and memory, and every event
//! would be read once for each trigger. What one group lacks, that triggers do not hold each other up, is
//! made good by the overflows.
//!
//! # Reading order
//!
//! `settings`, `config` (what the library is told), `log` and `open` (the channel), `tracker` (what may be
//! committed), `settled` (what stands beside it), `partition`, `assignment`, `consume`, `spread`, `produce`, `receipt`, then `ledger`,
//! `overflow`; `erase` (deleting it all).
//!
//! [`Process`]: crate::Strength::Process
//! [`Full`]: crate::PublishError::Full
//! [`TooLarge`]: crate::PublishError::TooLarge

mod assignment;
mod config;
mod consume;
mod context;
mod erase;
mod error;
mod health;
mod ledger;
mod log;
mod mailbox;
mod open;
mod overflow;
mod partition;
mod probe;
mod produce;
mod read;
mod receipt;
mod settings;
mod settled;
mod spread;
mod topics;
mod tracker;

pub use erase::erase;
pub use error::OpenError;
pub use log::Kafka;
pub use settings::{KafkaPlan, KafkaSasl, KafkaSettings, KafkaTls, KafkaUser, Secret};
