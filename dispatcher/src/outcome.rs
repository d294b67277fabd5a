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

/// How one attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt<'a> {
    /// The subscriber answered.
    Answered {
        /// The HTTP status.
        status: u16,
        /// What the body holds.
        payload: Payload,
        /// How long `Retry-After` asks to wait.
        retry_after: Option<Duration>,
    },
    /// It did not, or not in a way that can be read.
    Failed(&'a SendError),
}

/// What the body of an answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// No event: nothing, or something that is not one valid event.
    Other,
    /// One valid event.
    Event,
}

/// What happens to the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is delivered.
    Done,
    /// It is delivered, and the answer holds an event for the broker.
    Reply,
    /// Another attempt may succeed.
    Again {
        /// How long the subscriber asks to wait.
        retry_after: Option<Duration>,
    },
    /// No other attempt will succeed.
    Refused,
}

impl<'a> Attempt<'a> {
    /// What the client's `result` comes down to. `payload` is what its body was found to hold, and
    /// `now` what a date in `Retry-After` is held against.
    pub fn new(result: &'a Result<Answer, SendError>, payload: Payload, now: SystemTime) -> Self {
        match result {
            Ok(answer) => Self::Answered {
                status: answer.status,
                payload,
                retry_after: answer.header("retry-after").and_then(|value| retry_after(value, now)),
            },
            Err(error) => Self::Failed(error),
        }
    }

    /// What happens to the event.
    ///
    /// Only a 200 with an event is a reply: the specification forbids one in a 202. A 2xx with
    /// anything else in it is a delivery like any other. Redirects are not followed. `Retry-After`
    /// counts with 429 and 503 alone, as Knative has it.
    ///
    /// Spec: Knative data plane, "Event Acknowledgement and Delivery Retry".
    pub fn outcome(self) -> Outcome {
        let Self::Answered { status, payload, retry_after } = self else {
            return Outcome::Again { retry_after: None };
        };
        match (status, payload) {
            (200, Payload::Event) => Outcome::Reply,
            (200..=299, _) => Outcome::Done,
            (429 | 503, _) => Outcome::Again { retry_after },
            (404 | 408 | 409 | 500..=599, _) => Outcome::Again { retry_after: None },
            (300..=499, _) => Outcome::Refused,
            _ => Outcome::Again { retry_after: None },
        }
    }

    /// What it says about the subscriber as a whole.
    ///
    /// A status that is about one event, such as 400 or 500, speaks neither for nor against it: a
    /// live subscriber gave it.
    pub fn verdict(self) -> Verdict {
        match self {
            Self::Answered { status: 200..=299, .. } => Verdict::Success,
            Self::Failed(_) | Self::Answered { status: 429 | 502 | 503 | 504, .. } => {
                Verdict::Failure
            }
            Self::Answered { .. } => Verdict::Neutral,
        }
    }

    /// Whether the subscriber has more to do than it can: fewer attempts at a time would help.
    pub fn is_overload(self) -> bool {
        matches!(
            self,
            Self::Answered { status: 429 | 503, .. } | Self::Failed(SendError::Timeout { .. })
        )
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::http::Phase;

    const AGAIN: Outcome = Outcome::Again { retry_after: None };
    const ASKED: Option<Duration> = Some(Duration::from_secs(7));

    fn answered(status: u16, payload: Payload) -> Attempt<'static> {
        Attempt::Answered { status, payload, retry_after: ASKED }
    }

    fn failures() -> [SendError; 7] {
        let (host, authority, reason) = (|| "a".into(), || "a:80".into(), || "why".into());
        let phase = Phase::Head;
        [
            SendError::Dns { host: host(), reason: reason() },
            SendError::Connect { authority: authority(), reason: reason() },
            SendError::Tls { authority: authority(), reason: reason() },
            SendError::Closed { phase, reason: reason() },
            SendError::Malformed("why"),
            SendError::HeadTooLarge,
            SendError::Timeout { phase },
        ]
    }

    #[test]
    fn a_404_is_retried_a_400_is_not() {
        let cases: &[(&[u16], Outcome)] = &[
            (&[200, 201, 202, 204, 206, 299], Outcome::Done),
            (&[300, 301, 302, 303, 304, 307, 308, 399], Outcome::Refused),
            (&[400, 401, 402, 403, 405, 406, 410, 411, 412, 413], Outcome::Refused),
            (&[414, 415, 418, 422, 425, 426, 428, 431, 451, 499], Outcome::Refused),
            (&[404, 408, 409], AGAIN),
            (&[500, 501, 502, 504, 505, 511, 599], AGAIN),
            (&[429, 503], Outcome::Again { retry_after: ASKED }),
            (&[0, 99, 100, 101, 103, 199, 600, 999, u16::MAX], AGAIN),
        ];
        for (statuses, expected) in cases {
            for status in *statuses {
                assert_eq!(answered(*status, Payload::Other).outcome(), *expected, "{status}");
            }
        }
    }

    #[test]
    fn only_a_200_can_hold_a_reply() {
        assert_eq!(answered(200, Payload::Event).outcome(), Outcome::Reply);
        for status in (0..=999).filter(|status| *status != 200) {
            let with_event = answered(status, Payload::Event).outcome();
            assert_eq!(with_event, answered(status, Payload::Other).outcome(), "{status}");
        }
    }

    #[test]
    fn no_answer_is_worth_another_attempt_and_counts_against_the_subscriber() {
        for failure in &failures() {
            let result = Err(failure.clone());
            let attempt = Attempt::new(&result, Payload::Other, SystemTime::UNIX_EPOCH);
            assert_eq!(attempt.outcome(), AGAIN, "{failure}");
            assert_eq!(attempt.verdict(), Verdict::Failure, "{failure}");
        }
    }

    #[test]
    fn retry_after_is_read_from_the_answer() {
        let head = Bytes::from_static(b"Retry-After: 7\r\n");
        let result = Ok(Answer::new(503, head, Bytes::new(), false));
        let attempt = Attempt::new(&result, Payload::Other, SystemTime::UNIX_EPOCH);
        assert_eq!(attempt.outcome(), Outcome::Again { retry_after: ASKED });
    }

    #[test]
    fn an_answer_about_one_event_does_not_judge_the_subscriber() {
        for status in [400, 404, 408, 409, 410, 500, 501, 301, 600] {
            assert_eq!(answered(status, Payload::Other).verdict(), Verdict::Neutral, "{status}");
        }
        for status in [429, 502, 503, 504] {
            assert_eq!(answered(status, Payload::Other).verdict(), Verdict::Failure, "{status}");
        }
        for status in [200, 202, 204] {
            assert_eq!(answered(status, Payload::Event).verdict(), Verdict::Success, "{status}");
        }
    }

    #[test]
    fn only_429_503_and_a_timeout_ask_for_fewer_at_a_time() {
        let overloads: Vec<u16> =
            (0..=999).filter(|status| answered(*status, Payload::Other).is_overload()).collect();
        assert_eq!(overloads, [429, 503]);
        let failures = failures();
        let overloads: Vec<_> =
            failures.iter().filter(|error| Attempt::Failed(error).is_overload()).collect();
        assert_eq!(overloads, [&SendError::Timeout { phase: Phase::Head }]);
    }
}
