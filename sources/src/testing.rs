//! What the tests of several files need.

use std::sync::{Arc, Mutex};

use channel::{Attributes as _, Draft, Event, Name, Position, Publish, Refusal, Sink, Stored};
use tokio::{runtime::Handle, sync::watch};

use crate::{House, Notes, SourceId};

/// A sink that keeps what it gets, after refusing as often as it is told to.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) events: Mutex<Vec<Event>>,
    pub(crate) refusals: Mutex<Vec<Refusal>>,
}

impl Kept {
    pub(crate) fn ids(&self) -> Vec<String> {
        self.values("id")
    }

    pub(crate) fn values(&self, name: &str) -> Vec<String> {
        let events = self.events.lock().unwrap();
        events.iter().map(|event| event.attribute(name).unwrap_or_default().to_owned()).collect()
    }
}

impl Sink for Kept {
    fn put(&self, _worker: usize, event: Draft) -> Stored {
        if let Some(refusal) = self.refusals.lock().unwrap().pop() {
            return Stored::refused(refusal);
        }
        match event.finish() {
            Ok(event) => {
                self.events.lock().unwrap().push(event);
                Stored::publishing(Publish::done(Ok(Position(0))))
            }
            Err(invalid) => Stored::refused(invalid.into()),
        }
    }
}

/// A replica that leads, with one worker and notes of its own.
pub(crate) fn house() -> House {
    let (leads, receiver) = watch::channel(true);
    drop(leads);
    House { runtime: Handle::current(), workers: 1, leads: receiver, notes: Notes::default() }
}

pub(crate) fn id(name: &str) -> SourceId {
    SourceId { kind: "PingSource", name: Name::new("default", name) }
}

pub(crate) fn sink() -> Arc<Kept> {
    Arc::default()
}
