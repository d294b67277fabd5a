//! Attempts <-> bytes, for events that wait in storage and for stored dead letters.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use channel::Budget;
use serde::{Deserialize, Serialize};

use crate::attempt::{Attempt, AttemptLog};

/// Attempts as they are stored: JSON, so that a later version may add to it.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct History {
    made: u32,
    attempts: Vec<Kept>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Kept {
    /// Milliseconds since 1970.
    at: u64,
    /// Microseconds.
    took: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// In Base64: an answer may be any bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    answer: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
}

impl History {
    /// What `log` says.
    pub(crate) fn of(log: &AttemptLog) -> Self {
        let kept = |attempt: &Attempt| Kept {
            at: millis(attempt.at.duration_since(UNIX_EPOCH).unwrap_or_default()),
            took: u64::try_from(attempt.took.as_micros()).unwrap_or(u64::MAX),
            status: attempt.status,
            error: attempt.error.clone(),
            answer: BASE64_STANDARD.encode(&attempt.answer),
            cut: attempt.answer_truncated,
        };
        Self { made: log.made(), attempts: log.kept().iter().map(kept).collect() }
    }

    /// The log that it was made of, its answers charged to `budget` while there is room.
    pub(crate) fn restore(self, budget: &Arc<Budget>) -> AttemptLog {
        let attempts = self.attempts.into_iter().map(|kept| Attempt {
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(kept.at),
            took: Duration::from_micros(kept.took),
            status: kept.status,
            error: kept.error,
            answer: BASE64_STANDARD.decode(kept.answer).unwrap_or_default().into(),
            answer_truncated: kept.cut,
        });
        AttemptLog::restore(self.made, attempts.collect(), budget)
    }

    /// Its JSON, at most `len_max` bytes: answers go first, the last one last, then the attempts in
    /// the middle.
    pub(crate) fn encode(mut self, len_max: usize) -> Vec<u8> {
        let mut stripped = 0;
        loop {
            let json = serde_json::to_vec(&self).unwrap_or_default();
            if json.len() <= len_max {
                return json;
            }
            let last = self.attempts.len().saturating_sub(1);
            match self.attempts.get_mut(stripped) {
                Some(kept) => {
                    kept.cut |= !kept.answer.is_empty();
                    kept.answer.clear();
                    stripped += 1;
                }
                None if last > 1 => drop(self.attempts.remove(last / 2)),
                None => return Vec::new(),
            }
        }
    }

    /// Reads what [`History::encode`] wrote; what it did not write is no history.
    pub(crate) fn decode(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_default()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(attempts: u16) -> AttemptLog {
        let budget = Budget::new(1 << 20);
        let mut log = AttemptLog::default();
        for number in 0..attempts {
            let attempt = Attempt {
                at: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123 + u64::from(number)),
                took: Duration::from_micros(1500),
                status: (number % 2 == 0).then_some(500 + number),
                error: (number % 2 == 1).then(|| "refused".to_owned()),
                answer: vec![0xff; 900].into(),
                answer_truncated: false,
            };
            log.push(attempt, &budget);
        }
        log
    }

    #[test]
    fn a_log_comes_back_as_it_was() {
        let bytes = History::of(&log(3)).encode(1 << 20);
        let back = History::decode(&bytes).restore(&Budget::new(1 << 20));
        assert_eq!((back.made(), back.kept()), (3, log(3).kept()));
    }

    #[test]
    fn a_long_log_is_cut_to_what_there_is_room_for() {
        for len_max in [8 << 10, 2000, 300] {
            let bytes = History::of(&log(200)).encode(len_max);
            assert!(bytes.len() <= len_max);
            let back = History::decode(&bytes).restore(&Budget::new(1 << 20));
            assert_eq!(back.made(), 200);
            assert_eq!(back.kept().first().unwrap().status, Some(500));
            assert_eq!(back.last().unwrap().error.as_deref(), Some("refused"));
        }
        assert_eq!(History::decode(b"{").restore(&Budget::new(1)).made(), 0);
    }
}
