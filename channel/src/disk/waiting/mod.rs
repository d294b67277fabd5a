//! What waits for triggers, and the notes of the broker: rows of a small database.
//!
//! `database` knows the tables, `keeper` is the thread that owns them, `queue` is what of one
//! trigger is in memory, `refill` moves rows into it; `overflow` and `ledger` are what others see.

mod backend;
pub(super) mod database;
pub(super) mod keeper;
pub(super) mod ledger;
pub(super) mod overflow;
mod queue;
mod refill;
pub(super) mod row;
