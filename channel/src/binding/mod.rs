//! The wire forms of an event.

pub mod http;
