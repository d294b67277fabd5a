//! A record that no sink will take -> dead letters, for as long as that takes.

use std::{fmt, sync::Arc};

use channel::{Event, Sink, Work};
use tokio::{select, time};
use tracing::{error, warn};

use crate::{Backoff, Context, Patience, Put};

/// Knative's attributes of dead letters.
const DESTINATION: &str = "knativeerrordest";
const CODE: &str = "knativeerrorcode";
const DATA: &str = "knativeerrordata";

/// Longest text of an attribute that says what went wrong.
const DETAIL_CHARS_MAX: usize = 1024;

/// Why a record is a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It claims to be a CloudEvent and is none.
    Undecodable,
    /// The sink refused it for good.
    Refused,
    /// All attempts that `delivery.retry` allows were used up.
    Exhausted,
}

/// A record that could not be delivered.
#[derive(Clone, Debug)]
pub struct DeadRecord {
    /// The event, or one that carries the bytes of what is none.
    pub event: Event,
    /// Why it could not be delivered.
    pub why: Why,
    /// The same in words.
    pub detail: String,
}

/// Something that keeps dead records of a source until somebody decides.
pub trait DeadRecords: fmt::Debug + Send + Sync {
    /// Keeps one. Resolves when it is stored, or says why it could not be for now.
    fn keep(&self, record: DeadRecord) -> Work<Result<(), String>>;
}

/// Where dead records of a source go.
#[derive(Clone, Debug, Default)]
pub struct DeadLetters {
    /// The sink that the source names.
    pub sink: Option<Arc<dyn Sink>>,
    /// What keeps those that no sink is named for, or that it refuses.
    pub store: Option<Arc<dyn DeadRecords>>,
    /// Where the events of the source go, as dead letters tell it.
    pub destination: String,
}

impl DeadLetters {
    /// Sees to it that a record is kept. Returns whether it was; it was not when the source stops.
    pub(super) async fn bury(&self, context: &Context, record: DeadRecord) -> bool {
        if let Some(sink) = &self.sink {
            match context.hand_over(&**sink, &self.told(&record), &Patience::default()).await {
                Put::Stored => return true,
                Put::Stopped => return false,
                Put::Refused(refusal) => {
                    warn!(source = %context.id, %refusal, "the dead letter sink refused a record");
                }
            }
        }
        let Some(store) = &self.store else {
            let (id, of) = (record.event.id(), record.event.source());
            let detail = &record.detail;
            error!(source = %context.id, id, of, detail, "a record is given up: nothing keeps dead letters of this source");
            return true;
        };
        let mut attempt = 1;
        while let Err(why) = store.keep(record.clone()).await {
            if attempt == 1 {
                warn!(source = %context.id, why, "a dead letter cannot be kept yet");
            }
            select! {
                biased;
                () = context.stop.cancelled() => return false,
                () = time::sleep(Backoff::PUT.wait(attempt, fastrand::f64())) => {}
            }
            attempt += 1;
        }
        true
    }

    /// The event with what Knative says of dead letters.
    fn told(&self, record: &DeadRecord) -> Event {
        let mut draft = record.event.edit();
        let detail: String =
            record.detail.chars().filter(|it| !it.is_control()).take(DETAIL_CHARS_MAX).collect();
        let code = if record.why == Why::Exhausted { "500" } else { "400" };
        for (name, text) in
            [(DESTINATION, self.destination.as_str()), (CODE, code), (DATA, &detail)]
        {
            draft.remove(name);
            // What cannot be an attribute is left out; the event matters more.
            drop(draft.push_text(name, text, channel::Kind::String));
        }
        draft.finish().unwrap_or_else(|_| record.event.clone())
    }
}
