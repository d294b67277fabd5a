//! The way in: connections, requests within their limits, events admitted and stored.

mod accept;
mod admit;
mod arrival;
mod body;
mod bound;
mod connections;
mod gate;
mod head_timer;
mod host;
mod problem;
mod refusal;
mod server;
mod webhook;

pub use accept::{Gates, Ingress, IngressTally, REFUSAL_STATUSES};
pub use admit::{Admission, HOPS_MAX, rehearse};
pub use bound::{Bound, BoundTally};
pub use connections::{ConnectionCounts, Connections};
pub use gate::{Gate, Shut};
pub use problem::Problem;
pub use server::serve;
pub use webhook::Doors;

use std::time::Duration;

use channel::binding;

/// Bounds of the way in. Each is a setting of the same name under `ingress`.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Bytes of a request's head. Default 16 KiB.
    pub head_bytes_max: usize,
    /// Headers of a request. Default 64.
    pub headers_max: usize,
    /// Bytes of a request's target. Default 2 KiB.
    pub uri_bytes_max: usize,
    /// Bytes of a request's body. Default 1 MiB.
    pub body_bytes_max: usize,
    /// From the first byte of a head to its last. Default 10 s.
    pub head_timeout: Duration,
    /// How long a connection may be without a request. Default 30 s.
    pub idle_timeout: Duration,
    /// From the end of the head to the end of the body. Default 15 s.
    pub body_timeout: Duration,
    /// Bytes a second that a body must bring once 5 s are over. Default 1 KiB.
    pub body_rate_min: u32,
    /// Connections in all. Default 10,000, and never more than the open files that are allowed permit.
    pub connections_max: usize,
    /// Connections of one client address. Default 256.
    pub connections_per_address_max: usize,
    /// How long the channel may take to store an event. Default 5 s.
    pub publish_timeout: Duration,
    /// Bounds within an event or a batch.
    pub event: binding::http::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes_max: 16 << 10,
            headers_max: 64,
            uri_bytes_max: 2 << 10,
            body_bytes_max: 1 << 20,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(15),
            body_rate_min: 1024,
            connections_max: 10_000,
            connections_per_address_max: 256,
            publish_timeout: Duration::from_secs(5),
            event: binding::http::Limits::default(),
        }
    }
}
