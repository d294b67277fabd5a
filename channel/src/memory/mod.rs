//! The backend that needs nothing: events live in the process, bounded in number and bytes.
//!
//! One shard a worker, so that the worker that accepts an event lends and settles it too, without
//! a lock and without waking another thread. A stored event survives no crash ([`Strength::None`]).
//!
//! [`Strength::None`]: crate::Strength::None

pub mod lease;
pub mod log;
mod overflow;

pub use log::{Memory, MemoryLimits};
