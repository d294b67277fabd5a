//! The program: accepts events, follows resources, wires the other rooms together.

pub mod check;
pub mod cli;
pub mod display;
pub mod manifest;
mod message;
pub mod serve;
pub mod spec;
