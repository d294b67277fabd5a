//! The backend that needs no server: a log and a small database in a folder of this machine.
//!
//! ```text
//! DATA/VERSION, lock                     one version, one process
//! DATA/brokers/NAMESPACE/NAME/log-*      segments of the log, by their first group
//!                            /begun      there is a log: without segments it is damaged, not new
//!                            /waiting*   the database of what waits and of notes, once there is any
//!                            /headroom   16 MiB to give back when the disk is full
//! ```
//!
//! # How it works
//!
//! A worker encodes its events into a buffer of its own. One thread takes the buffers of all workers,
//! writes them with what was settled since as one group, and syncs it; meanwhile the next group
//! collects. There is no timer: a lone event is synced at once, and many share a sync. Then the events
//! are lent straight from memory, and all publishes of a worker are answered with one wake.
//!
//! What there is no room for in memory is read back from the log, in order, by a second thread, as is
//! everything that was not settled when the channel is opened. A third thread owns the database (redb):
//! it stores what is put to overflows and the ledger with one commit, and reads ahead what is due.
//! Settled events and rows are written down with the next group or commit, 0.1 s later at most: a
//! crash before that lends them again.
//!
//! # Promises and limits
//!
//! - What was acknowledged survives a loss of power ([`Strength::Power`](crate::Strength::Power)), if
//!   the disk keeps what it synced. A publish of several events is there whole or not at all.
//! - After any error of a write or a sync nothing more is written or taken: [`Channel::failure`](crate::Channel::failure) says why,
//!   and the process should end. The next one finds out what is on the disk. Publishes that were on
//!   their way are answered with [`PublishError::Unknown`](crate::PublishError::Unknown).
//! - A group that a crash tore is cut from the end of the log. A group that is not as it was written,
//!   with whole ones after it, a segment that is gone, another version, a second process: refused
//!   ([`OpenError`]). Damage to the very last group alone looks like a torn one; that the newest segment
//!   was removed cannot be seen. Segments that are kept for retention alone are not checked.
//! - Opening reads every segment that holds something unsettled, and the last one.
//! - Memory: 16 MiB of stored events before they are lent, 32 MiB on their way to the disk for each
//!   worker at most (data of 16 KiB and more is written from the event itself), 64 rows or 256 KiB for
//!   each overflow (and worker, where order counts), 2 MiB of the database's pages. A process with a
//!   million waiting events of 400 bytes was 13 MiB larger than before they were posted, and 2 MiB after a
//!   restart, which took 0.04 s after it was killed.
//! - A copy of the folder is a backup when the process is stopped.
//!
//! All bounds are those of [`DiskSettings`].
//!
//! # Why a log of our own
//!
//! Microseconds for an event of 1.3 KB on two shared cores (`cargo bench -p benches --bench log`;
//! publishers at once, or records that share a sync):
//!
//! | | 1 | 64 | 512 |
//! | --- | --- | --- | --- |
//! | a bare write and fdatasync | 101–307 | 2.2–10 | 0.8–0.9 |
//! | this channel, lent and settled | 138–249 | 6.0–8.4 | 2.5–3.6 |
//! | redb, one commit, 20,000 live | 381–437 | 38–61 | – |
//!
//! In one session a lone publish took 1.4 times a bare sync, and each of 64 at once 3 times its share of
//! one: half of them collect while the others are synced. redb took 3 to 7 times as long as this
//! channel: it writes pages of several trees for each commit. (fjall was measured before, and not again: a
//! third of redb's rate with 64 writers, and eight times the space.) redb is good at what the log is
//! not: order by due time, deletion anywhere, and a file that stays small; there its rate is enough. Rows
//! above 2 KiB take up to four times their size there, because they fill pages of sizes that double.
//!
//! Segments are taken from the file system ahead (`fallocate`): then a sync of 1.5 KB takes 105–115 us
//! where appending takes 125–170. Writing zeros ahead saves a few percent more and costs every byte twice.
//!
//! # Reading order
//!
//! `group` (the form on disk), `journal` (groups into segments), `recover` (and back), `settled`;
//! `shard` (a worker's part), `ack`, `writer`, `feeder` (the threads), `log` (the channel); `waiting`.

mod ack;
mod data;
mod entries;
mod error;
mod feeder;
mod gauges;
mod group;
mod journal;
mod log;
mod recover;
mod settings;
mod settled;
mod shard;
mod shelf;
#[cfg(test)]
mod simulated;
mod space;
mod storage;
mod tail;
#[cfg(test)]
mod tests;
mod waiting;
mod writer;

pub use data::Data;
pub use error::OpenError;
pub use log::Disk;
pub use settings::DiskSettings;
