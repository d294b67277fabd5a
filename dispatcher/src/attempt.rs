//! What happened each time an event was sent, kept while it matters.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use channel::{Budget, Charge};
use std::sync::Arc;

/// Most of an answer's body that is kept with an attempt.
pub const ANSWER_BYTES_MAX: usize = 1024;

/// Attempts kept of one event: the first ones tell how it began, the last ones how it ended.
const KEPT_MAX: usize = 50;

/// One attempt that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When it began.
    pub at: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// The status of the answer, when there was one.
    pub status: Option<u16>,
    /// What went wrong otherwise.
    pub error: Option<String>,
    /// The beginning of the answer's body, at most [`ANSWER_BYTES_MAX`].
    pub answer: Bytes,
    /// Whether the answer was longer than what is kept.
    pub answer_truncated: bool,
}

/// The attempts made for one event and trigger.
#[derive(Debug, Default)]
pub struct AttemptLog {
    made: u32,
    kept: Vec<Attempt>,
    charge: Option<Charge>,
}

impl AttemptLog {
    /// Attempts made, kept or not.
    pub fn made(&self) -> u32 {
        self.made
    }

    /// The attempts that are kept, oldest first.
    pub fn kept(&self) -> &[Attempt] {
        &self.kept
    }

    /// Bytes that the kept attempts are charged with.
    pub fn bytes(&self) -> usize {
        self.charge.as_ref().map_or(0, Charge::bytes)
    }

    /// The last attempt.
    pub fn last(&self) -> Option<&Attempt> {
        self.kept.last()
    }

    /// Adds an attempt. Its answer is kept only while `budget` has room for it, so that a
    /// subscriber's long answers never cost more memory than events may.
    pub(crate) fn push(&mut self, mut attempt: Attempt, budget: &Arc<Budget>) {
        self.made = self.made.saturating_add(1);
        if self.kept.len() == KEPT_MAX {
            let dropped = self.kept.remove(KEPT_MAX / 2);
            self.resize(-(cost(&dropped) as isize), budget);
        }
        if !self.resize(cost(&attempt) as isize, budget) {
            attempt.answer_truncated |= !attempt.answer.is_empty();
            attempt.answer = Bytes::new();
        }
        self.kept.push(attempt);
    }

    /// Puts back what was stored: `made` attempts, of which these were kept.
    pub(crate) fn restore(made: u32, attempts: Vec<Attempt>, budget: &Arc<Budget>) -> Self {
        let mut log = Self::default();
        for attempt in attempts {
            log.push(attempt, budget);
        }
        log.made = made;
        log
    }

    fn resize(&mut self, by: isize, budget: &Arc<Budget>) -> bool {
        match &mut self.charge {
            Some(charge) => charge.resize(charge.bytes().saturating_add_signed(by)),
            None => {
                self.charge = budget.try_charge(by.unsigned_abs());
                self.charge.is_some()
            }
        }
    }
}

fn cost(attempt: &Attempt) -> usize {
    size_of::<Attempt>() + attempt.answer.len() + attempt.error.as_ref().map_or(0, String::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(answer: usize) -> Attempt {
        Attempt {
            at: SystemTime::UNIX_EPOCH,
            took: Duration::ZERO,
            status: Some(500),
            error: None,
            answer: Bytes::from(vec![b'x'; answer]),
            answer_truncated: false,
        }
    }

    #[test]
    fn a_long_history_keeps_its_beginning_and_its_end() {
        let budget = Budget::new(1 << 20);
        let mut log = AttemptLog::default();
        for number in 0..200 {
            log.push(Attempt { status: Some(number), ..attempt(0) }, &budget);
        }
        assert_eq!((log.made(), log.kept().len()), (200, KEPT_MAX));
        assert_eq!(log.kept()[0].status, Some(0));
        assert_eq!(log.last().unwrap().status, Some(199));
        drop(log);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn answers_are_kept_only_while_there_is_room() {
        let budget = Budget::new(600);
        let mut log = AttemptLog::default();
        log.push(attempt(400), &budget);
        log.push(attempt(400), &budget);
        assert_eq!(log.kept()[0].answer.len(), 400);
        assert!(log.kept()[1].answer.is_empty() && log.kept()[1].answer_truncated);
    }
}
