//! The task that looks after a broker's log: its depth, its configuration, and what may be forgotten.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_nats::jetstream::{
    self, ErrorCode, consumer,
    context::{ConsumerInfoErrorKind, RequestErrorKind},
    stream::{self, Stream},
};
use tokio::{
    select,
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval},
};
use tracing::{debug, error};

use crate::{
    Budget, Depth, clock,
    nats::{
        NatsPlan, OpenError,
        link::Link,
        plan::Retention,
        poison,
        provision::{consumer_differences, ensure_stream, log_consumer, stream_differences},
        source::Source,
        watermark::Watermark,
    },
};

const TICK: Duration = Duration::from_secs(1);
/// How often the server is asked although nothing changed here.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often settled events are looked through for those to forget.
const PURGE_EVERY: Duration = Duration::from_secs(30);

/// What looking after a log takes.
pub(super) struct House {
    pub(super) link: Arc<Link>,
    pub(super) source: Arc<Source>,
    pub(super) budget: Arc<Budget>,
    pub(super) plan: NatsPlan,
    pub(super) wanted: stream::Config,
    pub(super) watermark: Arc<Watermark>,
    /// Told when the stream said that it is full.
    pub(super) full: Arc<Notify>,
}

/// What a look is for.
#[derive(Clone, Copy)]
struct Look {
    /// Forget what need not be kept.
    purge: bool,
    /// The stream said that it is full.
    is_full: bool,
    /// The last look was long ago.
    is_due: bool,
    /// The connection is a new one.
    is_new: bool,
}

impl House {
    /// Runs until the link closes or ends.
    pub(super) async fn run(self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut connections = self.link.state.connections();
        let mut looked = Instant::now();
        let mut purged = Instant::now();
        loop {
            let mut is_full = false;
            select! {
                biased;
                () = self.link.closing.cancelled() => return,
                () = self.link.stop.cancelled() => return,
                () = self.full.notified() => is_full = true,
                _ = tick.tick() => {}
            }
            let is_new = connections.has_changed().unwrap_or_default();
            let is_due = is_new || looked.elapsed() >= LOOK_EVERY;
            if !self.link.state.is_connected()
                || !(is_due || is_full || self.source.gauge.take_stale())
            {
                continue;
            }
            looked = if is_due { Instant::now() } else { looked };
            let purge = is_full || purged.elapsed() >= PURGE_EVERY;
            let look = self.look(Look { purge, is_full, is_due, is_new });
            let done = select! {
                biased;
                () = self.link.closing.cancelled() => return,
                () = self.link.stop.cancelled() => return,
                done = look => done,
            };
            match done {
                Ok(()) => {
                    purged = if purge { Instant::now() } else { purged };
                    if is_new {
                        connections.mark_unchanged();
                    }
                }
                // The server is away or has no leader: the connection and publishing say so.
                Err(error) => {
                    debug!(error = %error, "the log could not be looked after");
                    self.link.check_client().await;
                }
            }
        }
    }

    async fn look(&self, look: Look) -> Result<(), async_nats::Error> {
        let Look { purge, is_full, is_due, is_new } = look;
        let moment = self.source.gauge.moment();
        let stream = self.link.jet.get_stream_no_info(&self.wanted.name).await?;
        let info = match stream.get_info().await {
            Ok(info) => info,
            Err(error) if is_gone(&error) => return self.make_again().await,
            Err(error) => return Err(error.into()),
        };
        self.compare_stream(&info.config);
        let name = crate::nats::names::LOG_CONSUMER;
        let consumer = match stream.consumer_info(name).await {
            Ok(consumer) => consumer,
            // Whoever pulls makes it again.
            Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        self.compare_consumer(&consumer.config);
        self.watermark.raise(consumer.ack_floor.stream_sequence);
        let settled_here = self.source.desk().settled() as u64;
        let depth = depth(&info.state, &consumer, settled_here);
        if is_new && consumer.num_ack_pending > 0 {
            let name = &self.wanted.name;
            poison::lend(&self.link, &self.source, &self.budget, name, &consumer).await?;
        }
        match (moment, is_due) {
            (None, false) => {}
            (None, true) => self.source.gauge.set(depth, None),
            (Some(moment), _) => self.source.gauge.set(depth, Some(moment)),
        }
        if purge {
            self.purge(&stream, &info.state, consumer.ack_floor.stream_sequence, is_full).await?;
        }
        Ok(())
    }

    fn compare_stream(&self, found: &stream::Config) {
        let difference = stream_differences(&self.wanted, found).into_iter().next();
        let told = difference.map(|one| one.of(format!("stream {}", self.wanted.name)).to_string());
        self.link.state.set_problem("stream", told);
    }

    fn compare_consumer(&self, found: &consumer::Config) {
        let difference = consumer_differences(&log_consumer(&self.plan), found).into_iter().next();
        let what = format!("consumer of stream {}", self.wanted.name);
        self.link.state.set_problem("config", difference.map(|one| one.of(what).to_string()));
    }

    /// The stream is gone and its events with it: a new one at least takes those to come.
    async fn make_again(&self) -> Result<(), async_nats::Error> {
        error!(stream = self.wanted.name, "the stream was deleted: the events in it are lost");
        let made: Result<_, OpenError> = ensure_stream(&self.link.jet, &self.wanted).await;
        self.link.state.set_problem("stream", made.as_ref().err().map(ToString::to_string));
        made?;
        Ok(())
    }

    async fn purge(
        &self,
        stream: &Stream<()>,
        state: &stream::State,
        floor: u64,
        is_full: bool,
    ) -> Result<(), async_nats::Error> {
        let Some(first_kept) = first_kept(state, floor, &self.wanted, self.plan.retention, is_full)
        else {
            return Ok(());
        };
        let first_kept = match first_kept {
            Keep::From(sequence) => sequence,
            Keep::Young => first_younger(stream, state, floor, self.plan.retention.age).await?,
        };
        if first_kept > state.first_sequence {
            let purged = stream.purge().sequence(first_kept).await?;
            debug!(purged = purged.purged, "settled events were forgotten");
        }
        Ok(())
    }
}

fn is_gone(error: &stream::InfoError) -> bool {
    matches!(error.kind(), RequestErrorKind::Other)
        && std::error::Error::source(error)
            .and_then(|source| source.downcast_ref::<jetstream::Error>())
            .is_some_and(|error| error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

/// What is stored and not settled, as the server sees it. `settled_here` are settled but not
/// acknowledged. The server tells no bytes of a consumer: they are estimated.
fn depth(state: &stream::State, consumer: &consumer::Info, settled_here: u64) -> Depth {
    let pending = consumer.num_pending + consumer.num_ack_pending as u64;
    let events = pending.saturating_sub(settled_here);
    let bytes = state.bytes.saturating_mul(events).checked_div(state.messages).unwrap_or_default();
    Depth {
        events: usize::try_from(events).unwrap_or(usize::MAX),
        bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
    }
}

/// What is to be kept of a stream.
#[derive(Debug, PartialEq, Eq)]
enum Keep {
    /// Everything from this sequence number on.
    From(u64),
    /// What is not settled, and what is younger than the retention.
    Young,
}

/// What is to be kept of a stream whose events are settled up to `floor`; `None` when there is
/// nothing to forget. A stream that is full, or three quarters so, forgets all that is settled.
fn first_kept(
    state: &stream::State,
    floor: u64,
    limits: &stream::Config,
    retention: Retention,
    is_full: bool,
) -> Option<Keep> {
    if state.messages == 0 || floor < state.first_sequence {
        return None;
    }
    let is_near = |now: u64, max: i64| {
        u64::try_from(max).is_ok_and(|max| max > 0 && now >= max.saturating_mul(3) / 4)
    };
    if is_full
        || is_near(state.bytes, limits.max_bytes)
        || is_near(state.messages, limits.max_messages)
    {
        return Some(Keep::From(floor + 1));
    }
    let settled = floor + 1 - state.first_sequence;
    let each = (state.bytes / state.messages).max(1);
    let kept_max = retention.bytes / each;
    if settled > kept_max { Some(Keep::From(floor + 1 - kept_max)) } else { Some(Keep::Young) }
}

/// The first settled message that is younger than `age`, or the first that is not settled.
async fn first_younger(
    stream: &Stream<()>,
    state: &stream::State,
    floor: u64,
    age: Duration,
) -> Result<u64, async_nats::Error> {
    let Some(oldest) = clock::now().checked_sub(age) else { return Ok(state.first_sequence) };
    if SystemTime::from(state.first_timestamp) >= oldest {
        return Ok(state.first_sequence);
    }
    // The log is only ever purged from its start, so every number between is there.
    let (mut old, mut young) = (state.first_sequence, floor + 1);
    while young - old > 1 {
        let middle = old + (young - old) / 2;
        let message = stream.get_raw_message(middle).await?;
        if SystemTime::from(message.time) < oldest {
            old = middle;
        } else {
            young = middle;
        }
    }
    Ok(young)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(first: u64, messages: u64, bytes: u64) -> stream::State {
        serde_json::from_value(serde_json::json!({
            "messages": messages, "bytes": bytes, "first_seq": first, "last_seq": first + messages,
            "first_ts": "2026-01-01T00:00:00Z", "last_ts": "2026-01-01T00:00:00Z",
            "consumer_count": 1,
        }))
        .unwrap()
    }

    #[test]
    fn only_what_is_settled_is_forgotten() {
        let limits =
            stream::Config { max_bytes: 100_000, max_messages: -1, ..stream::Config::default() };
        let retention = Retention { age: Duration::from_secs(3600), bytes: 1000 };
        for (first, messages, bytes, floor, is_full, expected) in [
            // Nothing is there, or nothing is settled.
            (1, 0, 0, 0, true, None),
            (11, 10, 1000, 10, true, None),
            // 100 bytes each: ten settled ones may stay.
            (11, 100, 10_000, 20, false, Some(Keep::Young)),
            (11, 100, 10_000, 60, false, Some(Keep::From(51))),
            // Full, or nearly.
            (11, 100, 10_000, 20, true, Some(Keep::From(21))),
            (11, 100, 80_000, 20, false, Some(Keep::From(21))),
        ] {
            let kept =
                first_kept(&state(first, messages, bytes), floor, &limits, retention, is_full);
            assert_eq!(kept, expected, "{first} {messages} {bytes} {floor} {is_full}");
        }
    }
}
