//! Reading an overflow: from the first put on until nothing has waited for long.

use std::{
    future::poll_fn,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        config::consumer,
        consume::{Consuming, Running},
        error::words,
        ledger::KafkaWatch,
        partition::partition_of,
    },
    lane::LANES,
    naming,
    waiting_room::Room,
};
use crate::{Change, Envelope, Ledger as _, Position, Watch as _, clock};

/// How often what is settled is taken off the head of the topic.
const TRIM: Duration = Duration::from_secs(60);

/// How long nothing may wait until nothing is read any more.
const IDLE: Duration = Duration::from_secs(600);

impl Room {
    /// Reads until the overflow is closed, or nothing has waited for long.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            let stop = self.stop.child_token();
            let Some(put) = self.read(&stop).await else { return };
            self.known.store(0, Ordering::Relaxed);
            self.is_started.store(false, Ordering::Release);
            // What was put since saw a reader.
            if self.put.load(Ordering::Acquire) == put
                || self.is_started.swap(true, Ordering::AcqRel)
            {
                return;
            }
            self.assignment.await_group();
        }
    }

    /// How often to look, and how long nothing may wait until nothing is read any more: well before what
    /// is empty is removed.
    fn turns(&self) -> (Duration, Duration) {
        let removed_after = self.shared.removed_after;
        (TRIM.min(removed_after / 16), IDLE.min(removed_after / 2))
    }

    /// Returns how much had ever been put when nothing had waited for long, or `None` when it was closed.
    async fn read(&self, stop: &CancellationToken) -> Option<usize> {
        // Offsets may have begun anew since.
        self.shelf.begin();
        let mut watch = if self.is_ordered {
            // What was learned of entries must be known before they are lent.
            Some(stop.run_until_cancelled(self.load()).await?)
        } else {
            None
        };
        let mut consumer = self.consume(stop)?;
        let mut stale = self.stale.lock().await;
        let (trim, idle_max) = self.turns();
        let mut turn = interval(trim);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut trimmed = Vec::new();
        let (mut put, mut idle) = (self.put.load(Ordering::Acquire), Duration::ZERO);
        let was_idle = loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break false,
                Some(position) = stale.recv() => self.remove_note(position).await,
                Some(change) = next(watch.as_mut()) => self.follow(change, false),
                _ = turn.tick() => {
                    self.trim(&mut trimmed).await;
                    let put_before = std::mem::replace(&mut put, self.put.load(Ordering::Acquire));
                    let is_idle = self.depth().events == 0 && put == put_before;
                    idle = if is_idle { idle + trim } else { Duration::ZERO };
                    if idle > idle_max {
                        break true;
                    }
                }
            }
        };
        stop.cancel();
        consumer.ended().await;
        was_idle.then_some(put)
    }

    async fn load(&self) -> KafkaWatch {
        let mut watch = self.shared.ledger.follow();
        while let Some(change) = next(Some(&mut watch)).await {
            if change == Change::Loaded {
                break;
            }
            self.follow(change, true);
        }
        watch
    }

    /// Takes note of what another replica has learned. What is ours we know better.
    fn follow(&self, change: Change, is_loading: bool) {
        let of_others = |key: &str| {
            naming::amended(&self.amend_prefix, key).filter(|&position| {
                is_loading || self.assignment.get(partition_of(position, LANES)).is_none()
            })
        };
        match change {
            Change::Put { key, value } => {
                if let Some((position, envelope)) = of_others(&key).zip(Envelope::decode(value)) {
                    self.shelf.amend(position, envelope.found_at(clock::now()));
                }
            }
            Change::Removed { key } => {
                if let Some(position) = of_others(&key) {
                    self.shelf.unamend(position);
                }
            }
            Change::Loaded => {}
        }
    }

    async fn remove_note(&self, position: Position) {
        let key = naming::amend_key(&self.amend_prefix, position);
        if let Err(error) = self.shared.ledger.remove(&key).await {
            tracing::debug!(key, %error, "a note about a settled event is not removed");
        }
    }

    fn consume(&self, stop: &CancellationToken) -> Option<Running> {
        let mut context = self.shared.context.clone();
        context.assignment = Some(Arc::clone(&self.assignment));
        let mut config = consumer(&self.shared.base, &self.shared.group(&self.topic));
        // Only the log's consumer reports the connection.
        config.set("statistics.interval.ms", "0");
        let consuming = Consuming {
            config,
            context,
            assignment: Arc::clone(&self.assignment),
            budget: Arc::clone(&self.shared.budget),
            is_overflow: true,
            stop: stop.clone(),
        };
        match consuming.start() {
            Ok(running) => Some(running),
            Err(error) => {
                tracing::error!(%error, topic = self.topic, "an overflow cannot be read");
                self.is_started.store(false, Ordering::Release);
                None
            }
        }
    }

    /// Gives back the storage of what is settled, where that is more than before.
    async fn trim(&self, trimmed: &mut Vec<(i32, i64)>) {
        let floors = self.assignment.all().into_iter().filter_map(|partition| {
            partition.floor().filter(|&floor| floor > 0).map(|floor| (partition.number(), floor))
        });
        let floors: Vec<_> = floors.filter(|floor| !trimmed.contains(floor)).collect();
        if floors.is_empty() {
            return;
        }
        match self.shared.topics.delete_before(&self.topic, &floors).await {
            Ok(()) => {
                trimmed.retain(|(lane, _)| floors.iter().all(|(other, _)| lane != other));
                trimmed.extend(floors);
            }
            Err(error) => {
                tracing::debug!(reason = words(&error), topic = self.topic, "not trimmed");
            }
        }
    }
}

async fn next(watch: Option<&mut KafkaWatch>) -> Option<Change> {
    let watch = watch?;
    poll_fn(|cx| watch.poll_change(cx)).await
}
