//! The overflow of one trigger.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        assignment::{Assignment, stands},
        error::{OpenError, words},
        partition::position,
        probe::client,
        produce::Record,
        receipt::{Ends, Placed},
        tracker::Window,
    },
    lane::{self, LANES},
    naming,
    overflows::Shared,
    shelf::Shelf,
};
use crate::{
    Depth, Envelope, Ledger, Name, Overflow, Position, Publish, PublishError, Reader, Waiting,
    Work, removal::LastPut,
};

/// Entries of a lane that are read ahead.
const WINDOW: Window = Window { unsettled_max: 500, bytes_max: 2 << 20, slots_max: 100_000 };

/// Notes that are about settled entries and not removed yet; more of them stay for ever.
const STALE_MAX: usize = 4096;

/// How long it may take until a topic that was made is known.
const LEARN_TIMEOUT: Duration = Duration::from_secs(5);

/// What is known of one trigger's overflow. Its consumer runs once the topic is there.
pub(super) struct Room {
    pub(super) shared: Arc<Shared>,
    pub(super) trigger: Name,
    pub(super) topic: String,
    pub(super) is_ordered: bool,
    pub(super) shelf: Arc<Shelf>,
    pub(super) assignment: Arc<Assignment>,
    pub(super) ends: Arc<Ends>,
    /// Whether the topic is there, as far as it is known. Held while it is made.
    is_made: Mutex<bool>,
    last_put: LastPut,
    pub(super) is_started: AtomicBool,
    /// What was there, and what was put until the group told where it stands.
    pub(super) known: AtomicUsize,
    /// What was ever put here.
    pub(super) put: AtomicUsize,
    pub(super) amend_prefix: String,
    pub(super) stale: Mutex<mpsc::Receiver<Position>>,
    pub(super) stop: CancellationToken,
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
            is_made: Mutex::default(),
            last_put: LastPut::default(),
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

    /// Whether it is being read.
    pub(super) fn is_read(&self) -> bool {
        self.is_started.load(Ordering::Acquire)
    }

    /// Starts to read, if it does not yet. The topic must be there, or be about to.
    pub(super) fn start(self: &Arc<Self>) {
        if !self.stop.is_cancelled() && !self.is_started.swap(true, Ordering::AcqRel) {
            self.assignment.await_group();
            self.shared.tasks.spawn_on(Arc::clone(self).run(), &self.shared.runtime);
        }
    }

    /// Makes the topic when it is first needed. What was silent for long may have been removed.
    async fn make(&self) -> Result<(), PublishError> {
        if !self.shared.topics.is_able() {
            // Whether it is there the put itself shows.
            return Ok(());
        }
        let mut is_made = self.is_made.lock().await;
        if *is_made && self.last_put.is_recent(self.shared.removed_after) {
            return Ok(());
        }
        let noted = self.shared.note(&self.topic).await;
        noted.map_err(|error| PublishError::Down { reason: error.to_string() })?;
        let shared = Arc::clone(&self.shared);
        let plan = shared.topic_plan(self.topic.clone());
        let make = async move {
            let is_new = shared.topics.make(&plan).await?;
            let producer = Arc::clone(&shared.producer);
            let learn = move || producer.learn(&plan, Instant::now() + LEARN_TIMEOUT);
            match shared.runtime.spawn_blocking(learn).await {
                Ok(learned) => learned.map(|()| is_new),
                Err(error) => {
                    Err(OpenError::Failed { doing: "learn of a topic", reason: error.to_string() })
                }
            }
        };
        let failed = |error: OpenError| PublishError::Down { reason: error.to_string() };
        let is_new = match self.shared.runtime.spawn(make).await {
            Ok(made) => made.map_err(failed)?,
            Err(error) => return Err(PublishError::Down { reason: error.to_string() }),
        };
        // Another replica may have made it anew, when nothing is read here.
        if is_new || !self.is_started.load(Ordering::Acquire) {
            self.ends.forget();
        }
        *is_made = true;
        Ok(())
    }

    async fn put(self: Arc<Self>, waiting: Vec<Waiting>) -> Result<Position, PublishError> {
        let down = |reason| PublishError::Down { reason };
        self.shared.health.check().map_err(down)?;
        self.make().await?;
        let stored = match self.produce(&waiting).await {
            // Nobody can be removing what was put to a moment ago.
            Ok(place) if self.last_put.is_recent(self.shared.removed_after) => Ok(place),
            Ok(place) => self.shared.removals.check(&self.topic).await.map(|()| place),
            Err(error) => Err(error),
        };
        let (partition, offset) = match stored {
            Ok(place) => place,
            Err(error) => {
                if matches!(error, PublishError::Down { .. }) {
                    *self.is_made.lock().await = false;
                }
                return Err(error);
            }
        };
        self.last_put.now();
        self.known.fetch_add(waiting.len(), Ordering::Relaxed);
        self.put.fetch_add(waiting.len(), Ordering::AcqRel);
        // The reader may just have found that nothing comes.
        self.start();
        Ok(position(offset, partition, LANES))
    }

    async fn produce(&self, waiting: &[Waiting]) -> Placed {
        let limit = self.shared.record_bytes_max;
        let mut sent = Vec::with_capacity(waiting.len());
        for Waiting { event, envelope } in waiting {
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
        self.shared.producer.all(sent).await
    }

    async fn clear(self: Arc<Self>) -> Result<usize, PublishError> {
        let down = |reason: String| PublishError::Down { reason };
        if !self.is_started.load(Ordering::Acquire) {
            return Ok(0);
        }
        let this = Arc::clone(&self);
        let ask = self.shared.runtime.spawn_blocking(move || {
            let mut config = this.shared.base.clone();
            config.set("group.id", this.shared.group(&this.topic));
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
