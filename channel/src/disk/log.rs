//! A channel on disk: opened, published to, lent from, ended.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use tokio::sync::mpsc;

use crate::{
    Batch, Budget, Channel, Charge, Depth, Durability, Event, Hub, Ledger, Name, Overflow, Publish,
    PublishError, Reader, Strength, Work,
    disk::{
        Data, DiskSettings, OpenError,
        data::Claim,
        feeder::Feeder,
        gauges::{Bell, Gauges},
        journal::JournalLimits,
        recover::recover,
        settings::{BUDGET, EVENT_BYTES_MAX},
        shard::{Shard, ShardReader, stored_len},
        space::Room,
        storage::{Folder, Storage},
        tail::Tail,
        waiting::{
            database::Database,
            keeper::{Inbox, Keeper},
            ledger::DiskLedger,
            overflow::DiskOverflow,
        },
        writer::Writer,
    },
    key_worker,
};

/// A channel in a folder of this machine. Dropped without [`Channel::end`], its threads end by
/// themselves.
pub struct Disk {
    pub(super) gauges: Arc<Gauges>,
    budget: Arc<Budget>,
    shards: Box<[Arc<Shard>]>,
    keyed: Arc<AtomicBool>,
    inbox: Arc<Inbox>,
    threads: Mutex<Option<Threads>>,
}

/// The stack of each thread of a channel. Limits of memory count it whole.
const STACK_BYTES: usize = 512 << 10;

/// The threads of a channel, and how to know that they have ended.
struct Threads {
    handles: Vec<JoinHandle<()>>,
    /// Closed when the last of them ends.
    ended: mpsc::Receiver<()>,
}

/// Starts threads that hold on to the channel's folder.
struct Starter {
    gauges: Arc<Gauges>,
    claim: Option<Arc<Claim>>,
    running: mpsc::Sender<()>,
    handles: Vec<JoinHandle<()>>,
}

/// Stops the channel when its thread panics.
struct Fuse(Arc<Gauges>);

impl Drop for Fuse {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail("a thread of the channel panicked", &std::io::Error::other("a bug"));
        }
    }
}

impl Starter {
    fn start(
        &mut self,
        name: &str,
        bell: &Bell,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<(), OpenError> {
        let (claim, running) = (self.claim.clone(), self.running.clone());
        let fuse = Fuse(Arc::clone(&self.gauges));
        let body = move || {
            work();
            drop(fuse);
            drop(claim);
            drop(running);
        };
        let thread =
            thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(body);
        let thread = thread.map_err(OpenError::io("start a thread"))?;
        bell.hang(thread.thread());
        self.handles.push(thread);
        Ok(())
    }
}

impl Disk {
    /// Opens the channel of a hub, made when it is not there, with a reader for each of
    /// `workers`. What was not settled will be lent again. Blocks while the log is checked.
    ///
    /// # Errors
    ///
    /// When it is open already, when a check fails, or when the file system refuses.
    pub fn open(
        data: &Data,
        hub: impl Into<Hub>,
        workers: usize,
        settings: DiskSettings,
        budget: Arc<Budget>,
    ) -> Result<Arc<Self>, OpenError> {
        let claim = data.claim(&hub.into())?;
        let storage = Arc::new(Folder::new(claim.path()));
        Self::with_storage(storage, Some(claim), workers, settings, budget)
    }

    pub(super) fn with_storage(
        storage: Arc<dyn Storage>,
        claim: Option<Claim>,
        workers: usize,
        settings: DiskSettings,
        budget: Arc<Budget>,
    ) -> Result<Arc<Self>, OpenError> {
        let limits = JournalLimits {
            // Small enough that what is settled makes room under a small bound, too.
            segment_bytes: settings.segment_bytes.min(settings.bytes_max / 8),
            retention: settings.retention,
            retention_bytes_max: settings.retention_bytes_max,
        };
        let found = recover(Arc::clone(&storage), limits)?;
        let gauges = Gauges::new(settings);
        gauges.events.store(usize::try_from(found.events).unwrap_or(usize::MAX), Ordering::Relaxed);
        gauges.bytes.store(usize::try_from(found.bytes).unwrap_or(usize::MAX), Ordering::Relaxed);
        let room = Room::new(Arc::clone(&storage), Arc::clone(&gauges));
        let shards: Box<[_]> =
            (0..workers.max(1)).map(|_| Shard::new(Arc::clone(&gauges))).collect();
        let keyed = Arc::new(AtomicBool::new(false));
        let tail = Arc::new(Tail::new(found.journal.next, found.first));
        let feeder = Feeder {
            gauges: Arc::clone(&gauges),
            tail: Arc::clone(&tail),
            shelf: Arc::clone(&found.journal.shelf),
            shards: shards.clone(),
            keyed: Arc::clone(&keyed),
            budget: Arc::clone(&budget),
            seen: found.journal.settled.clone(),
        };
        let database = Database::open(&storage, &room, settings.cache_bytes)?;
        let inbox = Inbox::new(Arc::clone(&gauges));
        let keeper = Keeper::new(
            Arc::clone(&inbox),
            storage,
            Arc::clone(&room),
            Arc::clone(&budget),
            database,
        );
        let writer = Writer::new(found.journal, Arc::clone(&gauges), tail, shards.clone(), room);
        let (running, ended) = mpsc::channel(1);
        let mut starter = Starter {
            gauges: Arc::clone(&gauges),
            claim: claim.map(Arc::new),
            running,
            handles: Vec::new(),
        };
        let disk =
            Arc::new(Self { gauges, budget, shards, keyed, inbox, threads: Mutex::new(None) });
        // From here on dropping the channel ends the threads that were started.
        let gauges = &disk.gauges;
        starter.start("disk-writer", &gauges.writer, move || writer.run())?;
        starter.start("disk-feeder", &gauges.feeder, move || feeder.run())?;
        starter.start("disk-keeper", &gauges.keeper, move || keeper.run())?;
        *disk.threads.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Threads { handles: starter.handles, ended });
        Ok(disk)
    }

    fn store(&self, worker: usize, events: Batch) -> Result<Publish, PublishError> {
        if let Some(down) = self.gauges.down() {
            return Err(down);
        }
        let limit = self.gauges.settings.event_bytes_max;
        if let Some(size) = events.iter().map(Event::size).find(|&size| size > limit) {
            self.gauges.count(EVENT_BYTES_MAX);
            return Err(PublishError::TooLarge { size, limit });
        }
        let (count, bytes) = (events.len(), events.iter().map(stored_len).sum());
        let shards = self.shards.len();
        let worker = worker % shards;
        let Some(shard) = self.shards.get(worker).filter(|_| count > 0) else {
            return Err(PublishError::Down { reason: "nothing to store".into() });
        };
        self.gauges.admit(count, bytes)?;
        let is_keyed = self.keyed.load(Ordering::Acquire);
        let owner = |event: &Event| if is_keyed { key_worker(event, shards) } else { worker };
        match shard.publish(worker, events, bytes, owner) {
            Ok(acked) => Ok(Publish::waiting(acked)),
            Err(error) => {
                self.gauges.dismiss(count, bytes);
                Err(error)
            }
        }
    }

    fn ring(&self) {
        self.gauges.writer.ring();
        self.gauges.feeder.ring();
        self.gauges.keeper.ring();
    }

    fn stop(&self) {
        self.close();
        self.gauges.is_ending.store(true, Ordering::Release);
        self.ring();
    }
}

impl Channel for Disk {
    fn kind(&self) -> &'static str {
        "DiskChannel"
    }

    fn durability(&self) -> Durability {
        Durability { strength: Strength::Power, replicated: false }
    }

    fn event_bytes_max(&self) -> usize {
        self.gauges.settings.event_bytes_max
    }

    fn reserve(&self, bytes: usize) -> Result<Charge, PublishError> {
        self.budget.try_charge(bytes).ok_or_else(|| self.gauges.full(BUDGET))
    }

    fn publish(&self, worker: usize, events: Batch) -> Publish {
        self.store(worker, events).unwrap_or_else(|error| Publish::done(Err(error)))
    }

    fn keep_keys_together(&self, keyed: bool) {
        self.keyed.store(keyed, Ordering::Release);
    }

    fn reader(&self, worker: usize) -> Box<dyn Reader> {
        Box::new(ShardReader(self.shards.get(worker % self.shards.len()).map(Arc::clone)))
    }

    fn depth(&self) -> Depth {
        Depth {
            events: self.gauges.events.load(Ordering::Relaxed),
            bytes: self.gauges.bytes.load(Ordering::Relaxed),
        }
    }

    fn bounds_reached(&self) -> Vec<(&'static str, u64)> {
        self.gauges.bounds_reached()
    }

    fn health(&self) -> Result<(), String> {
        self.gauges.failed().map_or(Ok(()), |reason| Err(reason.to_owned()))
    }

    fn failure(&self) -> Option<String> {
        self.gauges.failed().map(str::to_owned)
    }

    fn overflow(&self, trigger: &Name, ordered: bool) -> Arc<dyn Overflow> {
        let inbox = Arc::clone(&self.inbox);
        Arc::new(DiskOverflow::open(trigger, ordered, self.shards.len(), inbox))
    }

    fn overflowing(&self) -> Vec<Name> {
        self.inbox.overflowing()
    }

    fn ledger(&self) -> Option<Arc<dyn Ledger>> {
        Some(Arc::new(DiskLedger::new(Arc::clone(&self.inbox))))
    }

    fn close(&self) {
        self.gauges.is_closed.store(true, Ordering::Release);
        self.shards.iter().for_each(|shard| shard.wake());
        self.ring();
    }

    fn end(&self, deadline: Instant) -> Work<()> {
        self.stop();
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        Box::pin(async move {
            let Some(Threads { handles, mut ended }) = threads else { return };
            let is_over = tokio::time::timeout_at(deadline.into(), ended.recv()).await.is_ok();
            for thread in handles.into_iter().filter(|_| is_over) {
                // Nothing is left of it but its return.
                drop(thread.join());
            }
        })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("gauges", &self.gauges).finish_non_exhaustive()
    }
}
