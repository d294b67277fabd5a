//! The thread that owns the database: makes the changes it is asked for with one sync, and reads ahead.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use crate::{
    Budget, Depth, Name, PublishError, clock,
    disk::{
        gauges::Gauges,
        settings::{BYTES_MAX, PENDING_BYTES_MAX},
        space::Room,
        storage::Storage,
        waiting::{
            database::{Change, Database},
            ledger::Watched,
            queue::Queue,
            refill::refill,
        },
    },
};

/// Most commands on their way.
const COMMANDS_MAX: usize = 65_536;
/// Longest time until something settled is written down, unless another change comes first.
const SETTLE_WAIT: Duration = Duration::from_millis(100);
/// A file that holds less than this is compacted after it held more.
const COMPACT_BYTES: u64 = 4 << 20;

/// What a change is answered with, once it is stored.
pub(super) type Answer = Result<u64, PublishError>;

/// Something for the keeper to do.
#[derive(Debug)]
pub(super) enum Command {
    /// A queue begins.
    Open(Arc<Queue>),
    /// A queue has room.
    Refill(Arc<Queue>),
    /// Something to store, of `bytes`, for a queue or for the notes.
    Change {
        change: Change,
        bytes: usize,
        queue: Option<Arc<Queue>>,
        answer: oneshot::Sender<Answer>,
    },
    /// A watcher has room.
    Watch(Arc<Watched>),
}

/// What the keeper is told; from any thread, without waiting.
#[derive(Debug)]
pub(in crate::disk) struct Inbox {
    pub(super) gauges: Arc<Gauges>,
    state: Mutex<InboxState>,
    has_settled: AtomicBool,
    /// What waits for each trigger for whom something does.
    overflowing: Mutex<HashMap<Name, Depth>>,
}

#[derive(Debug, Default)]
struct InboxState {
    commands: Vec<Command>,
    /// Bytes of the changes among them.
    bytes: usize,
    watched: Vec<Weak<Watched>>,
    is_over: bool,
}

impl Inbox {
    pub(in crate::disk) fn new(gauges: Arc<Gauges>) -> Arc<Self> {
        Arc::new(Self {
            gauges,
            state: Mutex::default(),
            has_settled: AtomicBool::new(false),
            overflowing: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, InboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn overflowing_mut(&self) -> MutexGuard<'_, HashMap<Name, Depth>> {
        self.overflowing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Triggers for whom something waits.
    pub(in crate::disk) fn overflowing(&self) -> Vec<Name> {
        self.overflowing_mut().keys().cloned().collect()
    }

    /// What waits for a trigger, as the database had it last.
    pub(super) fn waiting(&self, trigger: &Name) -> Depth {
        self.overflowing_mut().get(trigger).copied().unwrap_or_default()
    }

    /// Tells something whose number is bounded by the queues and watchers there are.
    pub(super) fn tell(&self, command: Command) {
        let mut state = self.lock();
        if state.is_over {
            drop(state);
            match command {
                Command::Open(queue) | Command::Refill(queue) => queue.close(),
                Command::Watch(watched) => watched.end(),
                Command::Change { .. } => {}
            }
            return;
        }
        if let Command::Watch(watched) = &command {
            state
                .watched
                .retain(|one| one.strong_count() > 0 && !one.ptr_eq(&Arc::downgrade(watched)));
            state.watched.push(Arc::downgrade(watched));
        }
        state.commands.push(command);
        drop(state);
        self.gauges.keeper.ring();
    }

    /// Says that rows were settled.
    pub(super) fn tell_settled(&self) {
        if !self.has_settled.load(Ordering::Relaxed)
            && !self.has_settled.swap(true, Ordering::AcqRel)
        {
            self.gauges.keeper.ring();
        }
    }

    /// Asks for a change that takes `bytes` more on disk. The answer comes when it is stored.
    pub(super) fn change(
        &self,
        change: Change,
        bytes: usize,
        queue: Option<Arc<Queue>>,
    ) -> Result<oneshot::Receiver<Answer>, PublishError> {
        let gauges = &self.gauges;
        if let Some(reason) = gauges.failed() {
            return Err(PublishError::Down { reason: reason.to_owned() });
        }
        if bytes > 0 && gauges.is_tight.load(Ordering::Relaxed) {
            return Err(gauges.full(gauges.room_bound()));
        }
        if bytes > 0 && gauges.used() + bytes as u64 > gauges.settings.bytes_max {
            return Err(gauges.full(BYTES_MAX));
        }
        let mut state = self.lock();
        if state.is_over {
            return Err(PublishError::Down { reason: "it is closing".into() });
        }
        let is_much = state.bytes + bytes > gauges.settings.pending_bytes_max && state.bytes > 0;
        if is_much || state.commands.len() >= COMMANDS_MAX {
            return Err(gauges.full(PENDING_BYTES_MAX));
        }
        let (answer, answered) = oneshot::channel();
        state.bytes += bytes;
        gauges.pending.fetch_add(bytes, Ordering::Relaxed);
        state.commands.push(Command::Change { change, bytes, queue, answer });
        drop(state);
        gauges.keeper.ring();
        Ok(answered)
    }

    fn take(&self, is_ending: bool) -> Vec<Command> {
        let mut state = self.lock();
        state.bytes = 0;
        state.is_over |= is_ending;
        std::mem::take(&mut state.commands)
    }
}

/// The owner of the database.
#[derive(Debug)]
pub(in crate::disk) struct Keeper {
    pub(in crate::disk) inbox: Arc<Inbox>,
    pub(in crate::disk) storage: Arc<dyn Storage>,
    pub(in crate::disk) room: Arc<Room>,
    pub(in crate::disk) budget: Arc<Budget>,
    /// `None` until something is to be stored.
    pub(in crate::disk) database: Option<Database>,
    queues: Vec<Arc<Queue>>,
    settle_at: Option<Instant>,
    /// Most bytes that were stored since the file was last made small.
    bytes_peak: u64,
}

/// A change whose answer is waited for.
struct Asked {
    bytes: usize,
    queue: Option<Arc<Queue>>,
    answer: oneshot::Sender<Answer>,
}

impl Keeper {
    pub(in crate::disk) fn new(
        inbox: Arc<Inbox>,
        storage: Arc<dyn Storage>,
        room: Arc<Room>,
        budget: Arc<Budget>,
        database: Option<Database>,
    ) -> Self {
        let mut keeper = Self {
            inbox,
            storage,
            room,
            budget,
            database,
            queues: Vec::new(),
            settle_at: None,
            bytes_peak: 0,
        };
        keeper.publish_counts();
        keeper
    }

    /// Works until the channel ends; then everything settled is written down.
    pub(in crate::disk) fn run(mut self) {
        loop {
            let is_ending = self.inbox.gauges.is_ending();
            let (mut asked, mut changes) = (Vec::new(), Vec::new());
            let (mut refills, mut opened, mut watched) = (Vec::new(), Vec::new(), Vec::new());
            let mut settled = Vec::new();
            for command in self.inbox.take(is_ending) {
                match command {
                    Command::Open(queue) => opened.push(queue),
                    Command::Refill(queue) => refills.push(queue),
                    Command::Watch(watch) => watched.push(watch),
                    Command::Change { change, bytes, queue, answer } => {
                        changes.push(change);
                        asked.push(Asked { bytes, queue, answer });
                    }
                }
            }
            let now = Instant::now();
            if self.inbox.has_settled.swap(false, Ordering::AcqRel) {
                self.settle_at.get_or_insert(now + SETTLE_WAIT);
            }
            let is_due = self.settle_at.is_some_and(|at| at <= now) || is_ending;
            // What a queue begins with is right only when all that was settled is written down.
            if !opened.is_empty() || !changes.is_empty() || is_due {
                settled = self.take_settled();
                if !opened.is_empty() {
                    self.store(Vec::new(), Vec::new(), std::mem::take(&mut settled), &mut refills);
                }
            }
            for queue in opened {
                self.begin(&queue);
                refills.push(queue);
            }
            self.store(changes, asked, settled, &mut refills);
            self.refill(refills);
            watched.iter().for_each(|watch| self.feed(watch));
            if is_ending {
                return self.end();
            }
            self.rest();
        }
    }

    /// Takes what was settled in all queues, and lets go of those that are not needed any more.
    fn take_settled(&mut self) -> Vec<(Arc<Queue>, Change)> {
        self.settle_at = None;
        let mut settled = Vec::new();
        self.queues.retain(|queue| {
            let sequences = queue.take_settled();
            let is_needed = !queue.lock().is_closed || Arc::strong_count(queue) > 1;
            if !sequences.is_empty() {
                let trigger = Arc::clone(&queue.trigger);
                settled.push((Arc::clone(queue), Change::Settle { trigger, sequences }));
            }
            is_needed
        });
        settled
    }

    fn begin(&mut self, queue: &Arc<Queue>) {
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let database = self.database.as_ref();
        let (events, bytes) = database.map_or((0, 0), |one| one.count(&queue.trigger));
        queue.begin(Depth { events: count(events), bytes: count(bytes) });
        self.queues.push(Arc::clone(queue));
    }

    /// Makes the changes that were asked for, then those of what was settled, and answers.
    fn store(
        &mut self,
        mut changes: Vec<Change>,
        asked: Vec<Asked>,
        settled: Vec<(Arc<Queue>, Change)>,
        refills: &mut Vec<Arc<Queue>>,
    ) {
        let (queues, settled): (Vec<_>, Vec<_>) = settled.into_iter().unzip();
        let first_settled = changes.len();
        changes.extend(settled);
        if changes.is_empty() {
            return;
        }
        let bytes = asked.iter().map(|one| one.bytes).sum();
        let before = self.inbox.gauges.failed().is_some();
        let answers = self.apply(&changes);
        self.inbox.gauges.pending.fetch_sub(bytes, Ordering::Relaxed);
        let Some(answers) = answers else {
            let reason = self.inbox.gauges.failed().unwrap_or_default().to_owned();
            let error = if before {
                PublishError::Down { reason }
            } else {
                PublishError::Unknown { reason }
            };
            asked.into_iter().for_each(|one| drop(one.answer.send(Err(error.clone()))));
            return;
        };
        for (queue, change) in queues.iter().zip(changes.iter().skip(first_settled)) {
            if let Change::Settle { sequences, .. } = change {
                queue.forget(sequences);
            }
        }
        for ((asked, change), answer) in asked.into_iter().zip(&changes).zip(answers) {
            if let Some(queue) = asked.queue {
                match change {
                    Change::Put { rows, .. } => {
                        queue.add(rows.len(), asked.bytes);
                        refills.push(queue);
                    }
                    Change::Clear { .. } => queue.clear(),
                    _ => {}
                }
            }
            // Nobody may be waiting any more: it is stored all the same.
            drop(asked.answer.send(Ok(answer)));
        }
    }

    /// Makes changes; `None` when that failed, now or before.
    fn apply(&mut self, changes: &[Change]) -> Option<Vec<u64>> {
        if changes.is_empty() {
            return Some(Vec::new());
        }
        let gauges = Arc::clone(&self.inbox.gauges);
        if gauges.failed().is_some() {
            return None;
        }
        self.room.check(Instant::now());
        match self.try_apply(changes) {
            Ok(answers) => {
                self.publish_counts();
                Some(answers)
            }
            Err(error) => {
                gauges.fail("the database of what waits cannot be written", &error);
                None
            }
        }
    }

    fn try_apply(&mut self, changes: &[Change]) -> Result<Vec<u64>, redb::Error> {
        let cache_bytes = self.inbox.gauges.settings.cache_bytes;
        let database = match self.database.take() {
            Some(database) => database,
            None => Database::make(&self.storage, &self.room, cache_bytes)?,
        };
        let database = self.database.insert(database);
        self.bytes_peak = self.bytes_peak.max(database.bytes());
        let answers = database.apply(changes)?;
        let is_cleared = changes.iter().any(|change| matches!(change, Change::Clear { .. }));
        // Where events come and go it is worth while only after much.
        let held = if is_cleared { COMPACT_BYTES } else { 16 * COMPACT_BYTES };
        if database.bytes() < COMPACT_BYTES && self.bytes_peak > held {
            self.bytes_peak = database.bytes();
            database.compact()?;
        }
        Ok(answers)
    }

    fn publish_counts(&mut self) {
        let Some(database) = &self.database else { return };
        let gauges = &self.inbox.gauges;
        gauges.waiting.store(database.bytes(), Ordering::Relaxed);
        gauges.waiting_on_disk.store(database.bytes_on_disk(), Ordering::Relaxed);
        let mut names = self.inbox.overflowing_mut();
        names.clear();
        names.extend(database.triggers().filter_map(|(name, (events, bytes))| {
            let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
            let depth = Depth { events: count(events), bytes: count(bytes) };
            Some((name.parse().ok()?, depth))
        }));
    }

    fn refill(&mut self, mut refills: Vec<Arc<Queue>>) {
        let now = clock::to_micros(clock::now());
        let is_due = |queue: &&Arc<Queue>| queue.lock().next_due.is_some_and(|due| due <= now);
        refills.extend(self.queues.iter().filter(is_due).cloned());
        refills.sort_by_key(Arc::as_ptr);
        refills.dedup_by_key(|queue| Arc::as_ptr(queue));
        let Some(database) = &self.database else {
            refills.iter().for_each(|queue| queue.answer_ask());
            return;
        };
        for queue in refills {
            if let Err(error) = refill(database, &queue, &self.budget, now) {
                return self.inbox.gauges.fail("what waits cannot be read", &error);
            }
        }
    }

    fn feed(&self, watch: &Arc<Watched>) {
        let fed = match &self.database {
            Some(database) => watch.feed(database),
            None => watch.feed_nothing(),
        };
        if let Err(error) = fed {
            self.inbox.gauges.fail("the notes cannot be read", &error);
        }
    }

    /// Sleeps until there is something to do.
    fn rest(&self) {
        let due = self.queues.iter().filter_map(|queue| queue.lock().next_due).min();
        let now = clock::to_micros(clock::now());
        let due = due.map(|due| Duration::from_micros(due.saturating_sub(now)));
        let settle = self.settle_at.map(|at| at.saturating_duration_since(Instant::now()));
        match [due, settle].into_iter().flatten().min() {
            // Failed: what is due is not read any more.
            _ if self.inbox.gauges.failed().is_some() => thread::park(),
            Some(wait) => thread::park_timeout(wait),
            None => thread::park(),
        }
    }

    fn end(self) {
        self.queues.iter().for_each(|queue| queue.close());
        let watched = std::mem::take(&mut self.inbox.lock().watched);
        watched.iter().filter_map(Weak::upgrade).for_each(|watched| watched.end());
    }
}
