//! The program: accepts events, follows resources, wires the other rooms together.

pub mod admin;
pub mod check;
pub mod cli;
pub mod config;
pub mod control;
pub mod controller;
pub mod display;
pub mod ingress;
pub mod listen;
pub mod manifest;
mod message;
pub mod serve;
pub mod spec;
pub mod telemetry;
pub mod worker;
