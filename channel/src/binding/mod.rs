//! The wire forms of an event.

#[cfg(test)]
pub(crate) mod arbitrary;
mod error;
pub mod http;
pub mod json;
pub mod kafka;
mod limits;
pub mod nats;
mod undecodable;

pub use error::{DecodeError, Refused};
pub use limits::Limits;
pub use undecodable::{UNDECODABLE, undecodable};
