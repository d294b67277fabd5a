//! A sink that is a hub of this process: events reach it without HTTP.

use std::sync::Arc;

use arc_swap::ArcSwap;
use channel::{Draft, Hub, PublishError, Sink, Stored};

use crate::ingress::{Gate, Gates};

/// The way into a hub, as it is when an event comes.
#[derive(Debug)]
pub(super) struct GateSink {
    key: String,
    gates: Arc<ArcSwap<Gates>>,
}

impl GateSink {
    pub(super) fn new(hub: Hub, gates: Arc<ArcSwap<Gates>>) -> Self {
        Self { key: hub.to_string(), gates }
    }
}

impl Sink for GateSink {
    fn put(&self, worker: usize, event: Draft) -> Stored {
        let reason = match self.gates.load().get(&self.key) {
            Some(Gate::Open(gate)) => return gate.put(worker, event),
            Some(Gate::Shut(shut)) => format!("{} is not ready: {}", self.key, shut.message),
            None => format!("there is no {}", self.key),
        };
        Stored::refused(PublishError::Down { reason }.into())
    }
}
