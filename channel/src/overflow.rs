//! Where the events of one trigger wait when it is slow, failing or paused.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use bytes::{Buf, BufMut, Bytes};

use crate::{
    Depth, Event, Position, Publish, PublishError, Reader, Work,
    clock::{from_micros, to_micros},
};

/// What is known of an event that waits for one trigger. Times are those of [`crate::clock`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Attempts made so far.
    pub attempts: u32,
    /// When the trigger took the event on; its age counts from here.
    pub first_at: SystemTime,
    /// When this was written.
    pub put_at: SystemTime,
    /// It must not be delivered before; `put_at` when it may at once.
    pub due_at: SystemTime,
    /// What happened at the attempts, in a form that only its writer reads. Bounded by the writer.
    pub history: Bytes,
}

/// Bytes of an envelope without its history.
const FIXED_LEN: usize = 4 + 3 * 8;

impl Envelope {
    /// Its bytes, for a backend to keep beside the event.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIXED_LEN + self.history.len());
        bytes.put_u32_le(self.attempts);
        for time in [self.first_at, self.put_at, self.due_at] {
            bytes.put_u64_le(to_micros(time));
        }
        bytes.put_slice(&self.history);
        bytes
    }

    /// What [`Envelope::encode`] wrote, or `None` when it did not write this.
    pub fn decode(mut bytes: Bytes) -> Option<Self> {
        if bytes.len() < FIXED_LEN {
            return None;
        }
        Some(Self {
            attempts: bytes.get_u32_le(),
            first_at: from_micros(bytes.get_u64_le()),
            put_at: from_micros(bytes.get_u64_le()),
            due_at: from_micros(bytes.get_u64_le()),
            history: bytes,
        })
    }

    /// The same when it is found at `now` by another process than its writer. A clock that was set
    /// back since must not make the event wait longer than its writer meant.
    #[must_use]
    pub fn found_at(self, now: SystemTime) -> Self {
        match self.put_at.duration_since(now) {
            Ok(ahead) if !ahead.is_zero() => Self {
                first_at: self.first_at.checked_sub(ahead).unwrap_or(self.first_at),
                put_at: self.put_at.checked_sub(ahead).unwrap_or(self.put_at),
                due_at: self.due_at.checked_sub(ahead).unwrap_or(self.due_at),
                ..self
            },
            _ => self,
        }
    }
}

/// An event on its way into an overflow.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The event.
    pub event: Event,
    /// What is known of it.
    pub envelope: Envelope,
}

/// The longest delays of all classes but the last.
const DELAYS: [Duration; DELAY_CLASSES - 1] =
    [Duration::ZERO, Duration::from_secs(30), Duration::from_secs(300), Duration::from_secs(3600)];

/// Classes of delays: where a backend cannot order by due time, those of one class are nearly in order.
pub(crate) const DELAY_CLASSES: usize = 5;

/// The class of a delay, the shortest first.
pub(crate) fn delay_class(delay: Duration) -> usize {
    DELAYS.iter().position(|&longest| delay <= longest).unwrap_or(DELAYS.len())
}

/// Where the events of one trigger wait: as durable as the channel that it belongs to.
///
/// What is put is lent when it is due, at most 2 s later while nothing else holds the reader up,
/// and lent again until it is settled. In an ordered overflow everything is lent in the order in
/// which it was put, due or not: there the due time is for the borrower to wait for, and events
/// of one key ([`order_key`](crate::order_key)) are lent by the reader of [`key_worker`](crate::key_worker).
///
/// A durable backend holds no memory for what waits, beyond a read-ahead of bounded size.
pub trait Overflow: fmt::Debug + Send + Sync {
    /// Stores all or none, as strongly as the channel; what was put in one call is lent in its order.
    ///
    /// A backend that cannot store several at once may, when it fails, have stored some.
    fn put(&self, waiting: Vec<Waiting>) -> Publish;

    /// Puts `envelope` in place of the one of an event that is on loan, so that a restart knows of
    /// its attempts. Neither lends nor settles it. Only ordered overflows need it.
    fn amend(&self, position: Position, envelope: Envelope) -> Publish;

    /// The reader of `worker`; its leases have an [`Envelope`]. There must be one for each worker at
    /// a time. It ends after [`Overflow::close`].
    fn reader(&self, worker: usize) -> Box<dyn Reader>;

    /// What is stored and not settled, what was found at the start included.
    fn depth(&self) -> Depth;

    /// Forgets all that waits, and gives storage back. Returns how many events that were.
    fn clear(&self) -> Work<Result<usize, PublishError>>;

    /// Lends nothing more; readers end. What is stored stays.
    fn close(&self);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(put_at: SystemTime) -> Envelope {
        Envelope {
            attempts: 7,
            first_at: put_at - Duration::from_secs(60),
            put_at,
            due_at: put_at + Duration::from_secs(30),
            history: Bytes::from_static(b"history"),
        }
    }

    #[test]
    fn an_envelope_comes_back_as_it_was() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_micros(1_800_000_000_123_456);
        assert_eq!(Envelope::decode(envelope(at).encode().into()), Some(envelope(at)));
        assert_eq!(Envelope::decode(Bytes::from_static(b"short")), None);
    }

    #[test]
    fn delays_are_sorted_into_classes() {
        for (seconds, class) in
            [(0, 0), (1, 1), (30, 1), (31, 2), (300, 2), (301, 3), (3600, 3), (90_000, 4)]
        {
            assert_eq!(delay_class(Duration::from_secs(seconds)), class, "{seconds} s");
        }
        assert!(delay_class(Duration::MAX) < DELAY_CLASSES);
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_wait_longer() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let hour = Duration::from_secs(3600);
        assert_eq!(envelope(at).found_at(at - hour), envelope(at - hour));
        assert_eq!(envelope(at).found_at(at + hour), envelope(at));
    }
}
