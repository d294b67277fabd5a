//! What an attempt means: for the event, for the subscriber's breaker, and for its pace.
//!
//! # Why
//!
//! Knative's specification asks that an unknown status is treated as worth a retry, which its code
//! does not do. Statuses outside 200 to 599 are read so; 3xx and 4xx are classes that HTTP
//! defines, and a client may treat an unknown member as `x00` (RFC 9110, 15): final.

use std::time::{Duration, SystemTime};

use crate::{
    breaker::Verdict,
    http::{Answer, SendError},
    retry_after::retry_after,
};

/// What came of one request.
pub(crate) type Sent = Result<Answer, SendError>;

/// What happens to the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is delivered.
    Done,
    /// It is delivered, and the answer may hold an event for the broker.
    MayReply,
    /// Another attempt may succeed.
    Again {
        /// How long the subscriber asks to wait.
        retry_after: Option<Duration>,
    },
    /// No other attempt will succeed.
    Refused,
}

/// What happens to the event. `now` is what a date in `Retry-After` is compared with.
///
/// Only a 200 can hold a reply: the specification forbids one in a 202. A 2xx with anything else
/// in it is a delivery like any other. Redirects are not followed. `Retry-After` counts with 429
/// and 503 alone, as Knative has it.
///
/// Spec: Knative data plane, "Event Acknowledgement and Delivery Retry".
pub(crate) fn outcome(sent: &Sent, now: SystemTime) -> Outcome {
    let Ok(answer) = sent else { return Outcome::Again { retry_after: None } };
    match answer.status {
        200 => Outcome::MayReply,
        201..=299 => Outcome::Done,
        429 | 503 => {
            let asked = answer.header("retry-after");
            Outcome::Again { retry_after: asked.and_then(|value| retry_after(value, now)) }
        }
        404 | 408 | 409 | 500..=599 => Outcome::Again { retry_after: None },
        300..=499 => Outcome::Refused,
        _ => Outcome::Again { retry_after: None },
    }
}

/// What it says about the subscriber as a whole.
///
/// A status that is about one event, such as 400 or 500, speaks neither for nor against it: a
/// live subscriber gave it, and a breaker that opened on it would keep poison events alive.
pub(crate) fn verdict(sent: &Sent) -> Verdict {
    match sent.as_ref().map(|answer| answer.status) {
        Ok(200..=299) => Verdict::Success,
        Ok(429 | 502 | 503 | 504) | Err(_) => Verdict::Failure,
        Ok(_) => Verdict::Neutral,
    }
}

/// Whether the subscriber has more to do than it can: fewer attempts at a time would help.
pub(crate) fn is_overload(sent: &Sent) -> bool {
    match sent {
        Ok(answer) => matches!(answer.status, 429 | 503),
        Err(error) => matches!(error, SendError::Timeout { .. }),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::http::Phase;

    fn answered(status: u16, head: &'static str) -> Sent {
        Ok(Answer::new(status, Bytes::from_static(head.as_bytes()), Bytes::new(), false))
    }

    fn judged(sent: &Sent) -> Outcome {
        outcome(sent, SystemTime::UNIX_EPOCH)
    }

    const AGAIN: Outcome = Outcome::Again { retry_after: None };

    #[test]
    fn each_status_has_its_class() {
        for (statuses, expected) in [
            (&[200][..], Outcome::MayReply),
            (&[201, 202, 204, 206, 299], Outcome::Done),
            (&[300, 301, 302, 304, 307, 308, 399], Outcome::Refused),
            (&[400, 401, 403, 405, 406, 410, 413, 415, 422, 431, 499], Outcome::Refused),
            (&[404, 408, 409, 429, 500, 501, 502, 503, 504, 505, 599], AGAIN),
            (&[100, 199, 600, 999], AGAIN),
        ] {
            for &status in statuses {
                assert_eq!(judged(&answered(status, "")), expected, "{status}");
            }
        }
    }

    #[test]
    fn retry_after_counts_with_429_and_503_alone() {
        let wait = Outcome::Again { retry_after: Some(Duration::from_secs(7)) };
        for (status, expected) in [(429, wait), (503, wait), (500, AGAIN), (404, AGAIN)] {
            assert_eq!(judged(&answered(status, "Retry-After: 7\r\n")), expected, "{status}");
        }
        assert_eq!(judged(&answered(503, "Retry-After: soon\r\n")), AGAIN);
    }

    #[test]
    fn no_answer_is_worth_another_attempt_and_speaks_against_the_subscriber() {
        let sent = Err(SendError::Timeout { phase: Phase::Head });
        assert_eq!(judged(&sent), AGAIN);
        assert_eq!(verdict(&sent), Verdict::Failure);
        assert!(is_overload(&sent));
        assert!(!is_overload(&Err(SendError::HeadTooLarge)));
    }

    #[test]
    fn an_answer_about_one_event_says_nothing_about_the_subscriber() {
        for (status, expected) in [
            (204, Verdict::Success),
            (400, Verdict::Neutral),
            (404, Verdict::Neutral),
            (500, Verdict::Neutral),
            (429, Verdict::Failure),
            (502, Verdict::Failure),
            (503, Verdict::Failure),
            (504, Verdict::Failure),
        ] {
            assert_eq!(verdict(&answered(status, "")), expected, "{status}");
        }
    }
}
