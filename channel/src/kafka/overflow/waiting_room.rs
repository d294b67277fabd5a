//! The overflow of one trigger.

use std::{
    fmt,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Mutex, OnceCell, mpsc},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        assignment::{Assignment, stands},
        config::consumer,
        consume::{Consuming, Running},
        error::{OpenError, words},
        ledger::KafkaWatch,
        partition::{partition_of, position},
        probe::client,
        produce::Record,
        receipt::Ends,
        tracker::Window,
    },
    lane::{self, LANES},
    naming,
    overflows::Shared,
    shelf::Shelf,
};
use crate::{
    Change, Depth, Envelope, Ledger, Name, Overflow, Position, Publish, PublishError, Reader,
    Waiting, Watch, Work, clock,
};

/// Entries of a lane that are read ahead.
const WINDOW: Window = Window { unsettled_max: 500, bytes_max: 2 << 20, slots_max: 100_000 };

/// How often what is settled is taken off the head of the topic.
const TRIM: Duration = Duration::from_secs(60);

/// How long nothing may wait until nothing is read any more.
const IDLE: Duration = Duration::from_secs(600);

/// Notes that are about settled entries and not removed yet; more of them stay for ever.
const STALE_MAX: usize = 4096;

/// What is known of one trigger's overflow. Its consumer runs once the topic is there.
pub(super) struct Room {
    shared: Arc<Shared>,
    trigger: Name,
    topic: String,
    is_ordered: bool,
    shelf: Arc<Shelf>,
    assignment: Arc<Assignment>,
    ends: Arc<Ends>,
    is_made: OnceCell<()>,
    is_started: AtomicBool,
    /// What was there, and what was put until the group told where it stands.
    known: AtomicUsize,
    /// What was ever put here.
    put: AtomicUsize,
    amend_prefix: String,
    stale: Mutex<mpsc::Receiver<Position>>,
    stop: CancellationToken,
}

impl Room {
    pub(super) fn new(
        shared: Arc<Shared>,
        trigger: &Name,
        topic: String,
        is_ordered: bool,
        found: usize,
    ) -> Arc<Self> {
        let (stale_sender, stale) = mpsc::channel(STALE_MAX);
        let shelf = Shelf::new(shared.workers, is_ordered, stale_sender);
        let ends = Ends::new(LANES);
        let inlet: Arc<Shelf> = Arc::clone(&shelf);
        let assignment = Assignment::new(topic.clone(), LANES, WINDOW, inlet, Arc::clone(&ends));
        Arc::new(Self {
            stop: shared.stop.child_token(),
            shared,
            trigger: trigger.clone(),
            topic,
            is_ordered,
            shelf,
            assignment,
            ends,
            is_made: OnceCell::new(),
            is_started: AtomicBool::new(false),
            known: AtomicUsize::new(found),
            put: AtomicUsize::new(0),
            amend_prefix: naming::amend_prefix(trigger),
            stale: Mutex::new(stale),
        })
    }

    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    pub(super) fn trigger(&self) -> &Name {
        &self.trigger
    }

    pub(super) fn depth(&self) -> Depth {
        if !self.is_started.load(Ordering::Acquire) || !*self.assignment.joined().borrow() {
            return Depth { events: self.known.load(Ordering::Relaxed), bytes: 0 };
        }
        let (events, bytes) = self.assignment.depth();
        Depth { events, bytes }
    }

    /// Starts to read, if it does not yet. The topic must be there, or be about to.
    pub(super) fn start(self: &Arc<Self>) {
        if !self.stop.is_cancelled() && !self.is_started.swap(true, Ordering::AcqRel) {
            self.assignment.await_group();
            self.shared.tasks.spawn_on(Arc::clone(self).run(), &self.shared.runtime);
        }
    }

    /// Reads until the overflow is closed, or nothing has waited for long.
    async fn run(self: Arc<Self>) {
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

    /// Returns how much had ever been put when nothing had waited for long, or `None` when it was closed.
    async fn read(&self, stop: &CancellationToken) -> Option<usize> {
        let mut watch = if self.is_ordered {
            // What was learned of entries must be known before they are lent.
            Some(stop.run_until_cancelled(self.load()).await?)
        } else {
            None
        };
        let mut consumer = self.consume(stop)?;
        let mut stale = self.stale.lock().await;
        let mut turn = interval(TRIM);
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
                    idle = if is_idle { idle + TRIM } else { Duration::ZERO };
                    if idle > IDLE {
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

    fn group(&self) -> String {
        let name = self.topic.strip_prefix(&self.shared.prefix).unwrap_or_default();
        format!("{}{name}", self.shared.group_prefix)
    }

    fn consume(&self, stop: &CancellationToken) -> Option<Running> {
        let mut context = self.shared.context.clone();
        context.assignment = Some(Arc::clone(&self.assignment));
        let mut config = consumer(&self.shared.base, &self.group());
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

    /// Makes the topic when it is first needed.
    async fn made(self: &Arc<Self>) -> Result<(), PublishError> {
        let make = async || -> Result<(), PublishError> {
            let shared = Arc::clone(&self.shared);
            let plan = shared.topic_plan(self.topic.clone());
            let make = async move { shared.topics.make(&plan).await };
            let failed = |error: OpenError| PublishError::Down { reason: error.to_string() };
            match self.shared.runtime.spawn(make).await {
                Ok(made) => made.map_err(failed),
                Err(error) => Err(PublishError::Down { reason: error.to_string() }),
            }
        };
        self.is_made.get_or_try_init(make).await?;
        self.start();
        Ok(())
    }

    async fn put(self: Arc<Self>, waiting: Vec<Waiting>) -> Result<Position, PublishError> {
        let down = |reason| PublishError::Down { reason };
        self.shared.health.check().map_err(down)?;
        self.made().await?;
        let limit = self.shared.record_bytes_max;
        let mut sent = Vec::with_capacity(waiting.len());
        for Waiting { event, envelope } in &waiting {
            let place = (self.topic.as_str(), lane::of(envelope, self.is_ordered));
            let envelope = envelope.encode();
            let record = Record::of_event(event, place, Some(&envelope), &self.ends, limit);
            match self.shared.producer.send(record) {
                Ok(answer) => sent.push(answer),
                Err(refused) if sent.is_empty() => return Err(refused),
                Err(refused) => {
                    let count = sent.len();
                    let reason = format!("{count} events were sent, then: {refused}");
                    return Err(PublishError::Unknown { reason });
                }
            }
        }
        let (partition, offset) = self.shared.producer.all(sent).await?;
        self.known.fetch_add(waiting.len(), Ordering::Relaxed);
        self.put.fetch_add(waiting.len(), Ordering::AcqRel);
        // The reader may just have found that nothing comes.
        self.start();
        Ok(position(offset, partition, LANES))
    }

    async fn clear(self: Arc<Self>) -> Result<usize, PublishError> {
        let down = |reason: String| PublishError::Down { reason };
        if !self.is_started.load(Ordering::Acquire) {
            return Ok(0);
        }
        let this = Arc::clone(&self);
        let ask = self.shared.runtime.spawn_blocking(move || {
            let mut config = this.shared.base.clone();
            config.set("group.id", this.group());
            let client = client(&config, &this.shared.context)?;
            let lanes: Vec<_> = (0..LANES).collect();
            stands(&client, &lanes, &this.topic)
        });
        let stands = match ask.await {
            Ok(stands) => stands.map_err(|error| down(words(&error)))?,
            Err(error) => return Err(down(error.to_string())),
        };
        let before = self.depth().events;
        let ends: Vec<_> =
            stands.iter().filter_map(|(&lane, stand)| Some((lane, stand.end?))).collect();
        // The lane is 0 so that every position of the last offset is below.
        self.shelf.clear(ends.iter().map(|&(lane, end)| (lane, position(end, 0, LANES))));
        let skip = |ends: &[(i32, i64)]| {
            for &(lane, end) in ends {
                if let Some(partition) = self.assignment.get(lane) {
                    partition.skip_to(end);
                }
            }
        };
        skip(&ends);
        let (this, deleted) = (Arc::clone(&self), ends.clone());
        let delete = async move { this.shared.topics.delete_before(&this.topic, &deleted).await };
        match self.shared.runtime.spawn(delete).await {
            Ok(deleted) => deleted.map_err(|error| down(words(&error)))?,
            Err(error) => return Err(down(error.to_string())),
        }
        // A lane may have become ours meanwhile, and know where it stood before.
        skip(&ends);
        self.known.store(0, Ordering::Relaxed);
        Ok(before.saturating_sub(self.depth().events))
    }
}

async fn next(watch: Option<&mut KafkaWatch>) -> Option<Change> {
    let watch = watch?;
    poll_fn(|cx| watch.poll_change(cx)).await
}

/// The overflow as its borrower has it; dropping it closes it.
pub(super) struct WaitingRoom(Arc<Room>);

impl WaitingRoom {
    pub(super) fn new(room: Arc<Room>) -> Self {
        Self(room)
    }
}

impl Overflow for WaitingRoom {
    fn put(&self, waiting: Vec<Waiting>) -> Publish {
        Publish::waiting(Arc::clone(&self.0).put(waiting))
    }

    fn amend(&self, position: Position, envelope: Envelope) -> Publish {
        if !self.0.is_ordered {
            return Publish::done(Ok(position));
        }
        let key = naming::amend_key(&self.0.amend_prefix, position);
        let note = self.0.shared.ledger.put(&key, envelope.encode().into());
        self.0.shelf.amend(position, envelope);
        Publish::waiting(async move { note.await.map(|()| position) })
    }

    fn reader(&self, worker: usize) -> Box<dyn Reader> {
        self.0.shelf.reader(worker)
    }

    fn depth(&self) -> Depth {
        self.0.depth()
    }

    fn clear(&self) -> Work<Result<usize, PublishError>> {
        Box::pin(Arc::clone(&self.0).clear())
    }

    fn close(&self) {
        self.0.shelf.close();
        self.0.stop.cancel();
    }
}

impl Drop for WaitingRoom {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for WaitingRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaOverflow").field("topic", &self.0.topic).finish_non_exhaustive()
    }
}
