//! The backend on NATS JetStream: a stream a broker, read by one durable consumer that all replicas share.
//!
//! | what | where |
//! | --- | --- |
//! | the log | stream `CATCHMENT_LOG_<namespace>__<broker>`, subject `CATCHMENT.<namespace>__<broker>.log`, pull consumer `CATCHMENT` |
//! | what waits for a trigger | stream `CATCHMENT_OVERFLOW_<broker>_-<trigger>`, a subject and a pull consumer for each class of delay; made when first put to |
//! | the ledger | key-value bucket `CATCHMENT_LEDGER_<namespace>__<broker>` |
//!
//! # Promises
//!
//! - A publish resolves with the receipt of JetStream. That survives the end of our process and, with
//!   files, of the server. It survives power loss only when the server is set to `sync_interval: always`,
//!   which a client cannot read: the channel claims [`Strength::Process`](crate::Strength::Process).
//! - Nothing is ever dropped by the server: limits retention without a maximal age, a full stream
//!   refuses, messages are delivered without end. Settled events are purged by us: those older than
//!   24 hours (`maxAge`), those beyond 1 GiB, and all of them when the stream is three quarters full.
//! - A settled event is acknowledged with a receipt, and again until there is one. Until then it is
//!   known here, and not lent again if the server sends it again.
//! - Of a batch some events may be stored when it fails; then its outcome is unknown. Sent again within
//!   the window for duplicates (2 minutes), what was stored is not stored twice.
//!
//! # Limits
//!
//! | what | default | at the limit |
//! | --- | --- | --- |
//! | bytes of the stream, which the server sets aside | 2 GiB | full; settled events are purged at once |
//! | receipts waited for | 4,096 | full |
//! | events lent or read ahead | 4,096 a broker; 500 and 2 MiB a class of delay | nothing more is pulled |
//! | one event | the server's `max_payload` (1 MiB) less 72 KiB | too large |
//! | messages of an overflow | 1,000,000 | full |
//! | acknowledgements on their way | 256 a stream | they wait |
//!
//! # What several replicas share
//!
//! Every replica is lent a part of the events, in no order between them: keys stay together and in order
//! within one replica only. What a replica held when it died is lent to another, or to itself when it is
//! back, after `ackWait`: later events of the same keys overtake it. One that stops gives it back in its order, but
//! nats-server (2.12) may put the first of it behind the rest: then that one is overtaken too.
//!
//! # Reading order
//!
//! `channel`, `desk` (who is lent what: pure), `source`, `intake` (pulling), `acks`, `outgoing`, `house`,
//! `poison`, `overflow`, `ledger`; `provision`, `plan`, `settings`, `link`, `names`; `erase` (deleting it all).

mod acks;
mod amount;
mod channel;
mod desk;
mod erase;
mod error;
mod house;
mod incoming;
mod intake;
mod ledger;
mod link;
mod names;
mod outgoing;
mod overflow;
mod plan;
mod poison;
mod provision;
mod settings;
mod source;
mod watermark;

pub use channel::Nats;
pub use erase::erase;
pub use error::OpenError;
pub use plan::{NatsPlan, Placement, Retention, Storage};
pub use settings::{NatsSettings, NatsTls, Secret};
