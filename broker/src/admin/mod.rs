//! The admin listener: health, metrics, the API under `/api/v1`, and a display for events.
//!
//! Everything here reads the process through [`Control`] and
//! never touches an event on its way. A change asks for a body of type `application/json`, which a
//! page of another site cannot send from a person's browser without being allowed to.
//!
//! # Limits
//!
//! | what | limit | at the limit |
//! | --- | --- | --- |
//! | connections | 256 | further ones wait to be accepted |
//! | head of a request, and time without one | 16 KiB, 64 headers, 30 s | 431, or closed |
//! | body of a change, of an event for `/display` and `/explain` | 1 MiB, 16 MiB, 10 s | 413, 408 |
//! | whole request | 30 s | 503 |
//! | dead letters of one page | 1,000 | 400 |
//! | triggers, and bytes of trees, of one explanation | 1,000, 8 MiB | those that want the event come first |
//! | ids in one change | 10,000 | 400 |
//! | triggers and subscriptions, and hubs, with metrics of their own | 1,000 each | summed under `other` |
//!
//! # Reading order
//!
//! `server` (connections), `routes` (which path is answered by what), `request` (what handlers
//! read), then one file for each thing that is served; `openapi` describes them all.

mod api;
mod display;
#[cfg(test)]
mod fixture;
mod health;
mod metrics;
mod openapi;
mod request;
mod routes;
mod server;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::SystemTime};

pub use server::serve;

use crate::{cli::Console, control::Control};

/// What answers tell about the process besides what [`Control`] knows.
#[derive(Clone, Debug)]
pub struct Process {
    /// Where events are accepted, such as `http://127.0.0.1:8080`; broker addresses begin with it.
    pub events_url: String,
    /// Where `/display` shows events.
    pub console: Console,
    /// When the process started.
    pub started_at: SystemTime,
}

/// What every handler is given.
#[derive(Debug)]
struct Admin {
    control: Arc<Control>,
    process: Process,
    screen: display::Screen,
}

impl Admin {
    fn new(control: Arc<Control>, process: Process) -> Arc<Self> {
        let screen = display::Screen::new(process.console);
        Arc::new(Self { control, process, screen })
    }
}
