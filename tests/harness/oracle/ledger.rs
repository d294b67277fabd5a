//! What was sent and what was answered: one entry per event, written before the first byte leaves.

use std::collections::HashSet;
use std::io;
use std::sync::Mutex;
use std::time::Instant;

use crate::http::Response;
use crate::sample::{Key, Mode, Sample};

/// What the broker said of an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Not answered yet.
    Open,
    /// 202.
    Accepted,
    /// A refusal: the event must not be stored.
    Refused(u16),
    /// No answer, or the answer that the outcome is unknown: it may be stored.
    Unknown(String),
}

/// One event that entered or tried to.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The event.
    pub sample: Sample,
    /// How it travelled.
    pub mode: Mode,
    /// The broker, as `namespace/name`.
    pub broker: String,
    /// Just before its first byte left.
    pub sent_at: Instant,
    /// When the answer was read.
    pub answered_at: Option<Instant>,
    /// What the broker said.
    pub outcome: Outcome,
    /// Whether a subscriber made it as a reply; then how often it was answered.
    pub replied: Option<usize>,
}

/// The book of all events of one scenario.
#[derive(Debug, Default)]
pub struct Ledger {
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    sent: Vec<Sent>,
    keys: HashSet<Key>,
}

impl Ledger {
    /// Notes that an event is about to be sent; gives its number for [`Ledger::close`].
    ///
    /// # Panics
    ///
    /// When the same `source` and `id` was sent before: the oracle tells events apart by them.
    pub fn open(&self, broker: &str, sample: &Sample, mode: Mode) -> usize {
        let mut book = self.book.lock().unwrap();
        assert!(book.keys.insert(sample.key()), "{:?} is sent twice", sample.key());
        book.sent.push(Sent {
            sample: sample.clone(),
            mode,
            broker: broker.to_owned(),
            sent_at: Instant::now(),
            answered_at: None,
            outcome: Outcome::Open,
            replied: None,
        });
        book.sent.len() - 1
    }

    /// Notes what came back.
    pub fn close(&self, number: usize, answer: &io::Result<Response>) {
        let outcome = match answer {
            Ok(response) if response.status == 202 => Outcome::Accepted,
            Ok(response) if response.status == 503 && response.text().contains("unknown") => {
                Outcome::Unknown(response.text())
            }
            Ok(response) => Outcome::Refused(response.status),
            Err(error) => Outcome::Unknown(error.to_string()),
        };
        let mut book = self.book.lock().unwrap();
        let entry = &mut book.sent[number];
        entry.answered_at = Some(Instant::now());
        entry.outcome = outcome;
    }

    /// Notes an event that lies where a source reads it, which then counts as accepted.
    pub fn stored(&self, broker: &str, sample: &Sample, mode: Mode) {
        let number = self.open(broker, sample, mode);
        self.book.lock().unwrap().sent[number].outcome = Outcome::Accepted;
    }

    /// Notes that a subscriber is about to answer with an event, which then counts as accepted.
    pub fn reply(&self, broker: &str, sample: &Sample) {
        let mut book = self.book.lock().unwrap();
        if book.keys.insert(sample.key()) {
            book.sent.push(Sent {
                sample: sample.clone(),
                mode: Mode::Binary,
                broker: broker.to_owned(),
                sent_at: Instant::now(),
                answered_at: None,
                outcome: Outcome::Accepted,
                replied: Some(1),
            });
            return;
        }
        let entry = book.sent.iter_mut().find(|one| one.sample.key() == sample.key());
        if let Some(times) = entry.and_then(|one| one.replied.as_mut()) {
            *times += 1;
        }
    }

    /// All entries.
    #[must_use]
    pub fn sent(&self) -> Vec<Sent> {
        self.book.lock().unwrap().sent.clone()
    }

    /// How many entries have an outcome of which this is true.
    #[must_use]
    pub fn count(&self, is_so: impl Fn(&Outcome) -> bool) -> usize {
        self.book.lock().unwrap().sent.iter().filter(|one| is_so(&one.outcome)).count()
    }

    /// How many were answered 202.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.count(|outcome| *outcome == Outcome::Accepted)
    }

    /// How many were refused.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Refused(_)))
    }
}
