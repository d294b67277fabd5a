//! The HTTP/1.1 client that delivers events: a worker's own, and nothing but a sender of requests.
//!
//! A [`Client`] belongs to one worker and stays on its thread. An [`Endpoint`] is a subscriber's URL
//! made ready once: the request line and the headers that never change, and the TLS roots. One
//! [`Client::send`] is one request and its whole [`Answer`], or a [`SendError`], under one deadline.
//!
//! # Promises
//!
//! - The deadline covers the wait for a connection, the name, connecting, TLS, the request, and the
//!   answer with its body.
//! - A future of `send` that is dropped closes its connection; a half-used one is never used again.
//! - A kept connection that the peer closed before the first byte of an answer is replaced by a fresh
//!   one at once, unseen by the caller. The event may then arrive twice, as at-least-once allows.
//! - An answer that comes before the request was read whole (a 413, and the connection closed) is
//!   the answer, if the network still yields it.
//! - No redirect is followed and no proxy is used: the caller sees the 3xx.
//! - No error text holds an address that a name resolved to, nor bytes of an answer.
//!
//! # Limits
//!
//! | What | Bound |
//! |---|---|
//! | connections of one client to one host | [`ClientSettings::connections_per_host`]; senders beyond wait in turn |
//! | kept connections of one client | [`ClientSettings::idle_max`], each for [`ClientSettings::idle_timeout`] and [`ClientSettings::age_max`] |
//! | head of an answer | 64 KiB, 128 headers |
//! | body of an answer | the caller's `answer_max`; the rest is not read, the connection is dropped |
//! | interim (1xx) answers to one request | 16 |
//! | chunk extensions and trailers of one answer | 16 KiB, skipped |
//! | addresses tried for one name | 16 |
//!
//! # Why not hyper
//!
//! Hyper's connection is a task with a channel in front, and every request a map of headers. Here a
//! connection is a socket and a buffer, an event's header block is written as it is, and a delivery
//! on a kept connection costs one write, one read, one timer and no allocation. A prototype of this
//! shape took 0.6 of the processor time of hyper's pooled client.

mod answer;
mod bundle;
mod chunked;
mod client;
mod connect;
mod endpoint;
mod error;
mod exchange;
mod head;
mod pool;
mod resolve;
mod stream;
mod tls;

#[cfg(test)]
mod tests;

pub use answer::Answer;
pub use client::{Client, ClientCounters, ClientSettings};
pub use endpoint::{Endpoint, EndpointError};
pub use error::{Phase, SendError};
