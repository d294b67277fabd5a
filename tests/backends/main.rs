//! The contract suite against each backend, on the real servers.
//!
//! This is the one suite that links a crate of the program: a law of the contract can be checked at every step
//! of a channel, and only some of them from outside.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and what did not run is said on stdout"
)]

mod disk;
mod erased;
mod kafka;
mod memory;
mod nats;
