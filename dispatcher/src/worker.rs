//! Lease -> the lanes that want its event, and back settled: what one worker thread dispatches.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::Cache;
use bytes::Bytes;
use channel::{Envelope, Hub, Reader, Waiting, clock};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use crate::{
    Fanout, Quota, TriggerKey, TriggerPlan,
    breaker::{self, Breaker},
    dead_letter::{DeadLetter, SinkSender},
    http::{Client, ClientCounters, Endpoint},
    lane::LaneReport,
    lanes::Lanes,
    route::Scratch,
};

/// What holds for all deliveries of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a trigger may have an event, retries included. Default 24 hours.
    pub age_max: Duration,
    /// How long an event may wait in a lane before it waits in the trigger's overflow. Default 10 s.
    pub after: Duration,
    /// Most that may wait in the lanes of one trigger, over all workers; what comes then waits in
    /// its overflow. Default 1,024 events, 8 MiB.
    pub lane: Quota,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            age_max: Duration::from_secs(24 * 60 * 60),
            after: Duration::from_secs(10),
            lane: Quota { events: 1024, bytes: 8 << 20 },
        }
    }
}

/// How much longer a producer waits while many events are on their way into storage: what storage
/// cannot take as fast would pile up in memory.
const FLOOD_PATIENCE: Duration = Duration::from_secs(1);

/// Leases taken before other tasks of the worker get their turn.
const LEASES_PER_TURN: usize = 64;

/// The dispatching part of one worker thread. Everything in it stays on that thread.
pub struct Worker {
    pub(crate) index: usize,
    pub(crate) client: Client,
    pub(crate) settings: Settings,
    pub(crate) tasks: TaskTracker,
    breakers: RefCell<HashMap<String, Rc<RefCell<Breaker>>>>,
    sinks: RefCell<HashMap<String, Rc<SinkSender>>>,
    hubs: RefCell<HashMap<Hub, Rc<Lanes>>>,
    /// Lanes whose events wait for want of this worker's time.
    pressed: Cell<usize>,
    relief: Notify,
    /// By hub, the lanes of which more is on its way into storage than memory should hold.
    flooded: RefCell<HashMap<Hub, usize>>,
    ebb: Notify,
}

impl Worker {
    /// The worker of that index, delivering through `client`. It must be used within a `LocalSet`.
    pub fn new(index: usize, client: Client, settings: Settings) -> Rc<Self> {
        Rc::new(Self {
            index,
            client,
            settings,
            tasks: TaskTracker::new(),
            breakers: RefCell::default(),
            sinks: RefCell::default(),
            hubs: RefCell::default(),
            pressed: Cell::new(0),
            relief: Notify::new(),
            flooded: RefCell::default(),
            ebb: Notify::new(),
        })
    }

    /// Its index among the workers.
    pub fn index(&self) -> usize {
        self.index
    }

    /// What its client has done.
    pub fn client_counters(&self) -> ClientCounters {
        self.client.counters()
    }

    /// Closes connections that nobody uses any more, and lets events that have waited in lanes for
    /// too long wait in storage; to be called every second or so.
    pub fn tidy(&self) {
        self.client.expire(tokio::time::Instant::now());
        let now = Instant::now();
        for lanes in self.all_lanes() {
            lanes.read_overflows();
            lanes.each(|lane| lane.sweep(now, false));
        }
    }

    /// Ends the deliveries of hubs whose events outlive the process: nothing starts any more, and
    /// what storage does not know is written down. [`Worker::pending`] says when that is done.
    pub fn stop(&self) {
        for lanes in self.all_lanes().iter().filter(|lanes| lanes.fanout.outlives) {
            lanes.each(|lane| lane.stop());
        }
    }

    /// Ends the deliveries of one hub, whose channel is closed, as [`Worker::stop`] does.
    /// [`Worker::busy`] says when that is done.
    pub fn halt(&self, fanout: &Arc<Fanout>) {
        if let Some(lanes) = self.lanes(fanout) {
            lanes.each(|lane| lane.stop());
        }
    }

    /// Events of one hub that are under way, or on their way into storage.
    pub fn busy(&self, fanout: &Arc<Fanout>) -> usize {
        let mut busy = 0;
        if let Some(lanes) = self.lanes(fanout) {
            lanes.each(|lane| busy += lane.busy());
        }
        busy
    }

    fn all_lanes(&self) -> Vec<Rc<Lanes>> {
        self.hubs.borrow().values().map(Rc::clone).collect()
    }

    /// Waits, at most `patience`, while events wait to be delivered for want of this worker's own
    /// time, and a second more at most while many events of `hub` wait to be stored for subscribers
    /// that are slow. Whoever takes events in calls it before taking more, so that the worker does not
    /// accept what it then has to let wait. A slow or failing subscriber is no reason to wait: that would
    /// cost its neighbours.
    pub async fn relieved(&self, hub: &Hub, patience: Duration) {
        if self.pressed.get() > 0 {
            // Patience may end first: then the producer has waited long enough.
            tokio::time::timeout(patience, self.relief.notified()).await.unwrap_or_default();
        }
        if self.flooded.borrow().contains_key(hub) {
            // Storage is what is slow here; other hubs have their own.
            tokio::time::timeout(FLOOD_PATIENCE, self.ebb.notified()).await.unwrap_or_default();
        }
    }

    /// Counts a lane that is pressed, or no longer.
    pub(crate) fn press(&self, is_pressed: bool) {
        let lanes = self.pressed.get();
        self.pressed.set(if is_pressed { lanes + 1 } else { lanes - 1 });
        if self.pressed.get() == 0 {
            self.relief.notify_waiters();
        }
    }

    /// Counts a lane of `hub` that is flooded, or no longer.
    pub(crate) fn flood(&self, hub: &Hub, is_flooded: bool) {
        let mut flooded = self.flooded.borrow_mut();
        let lanes = flooded.get(hub).copied().unwrap_or_default();
        match if is_flooded { lanes + 1 } else { lanes.saturating_sub(1) } {
            0 => {
                flooded.remove(hub);
                self.ebb.notify_waiters();
            }
            lanes => {
                flooded.insert(hub.clone(), lanes);
            }
        }
    }

    /// Takes on the hub of `fanout`, in place of an earlier one of its name.
    pub fn open(self: &Rc<Self>, fanout: &Arc<Fanout>) {
        let lanes = Lanes::new(Rc::clone(self), Arc::clone(fanout));
        self.hubs.borrow_mut().insert(fanout.hub.clone(), lanes);
    }

    /// Routes and delivers what `reader` lends for a hub that was taken on, until its channel is
    /// closed and empty. Deliveries go on after that ends; see [`Worker::pending`].
    ///
    /// Dropping the future between two leases loses nothing.
    pub async fn read(self: Rc<Self>, fanout: Arc<Fanout>, reader: Box<dyn Reader>) {
        if let Some(lanes) = self.lanes(&fanout) {
            Self::dispatch(lanes, fanout, reader).await;
        }
    }

    async fn dispatch(lanes: Rc<Lanes>, fanout: Arc<Fanout>, mut reader: Box<dyn Reader>) {
        let mut routes = Cache::new(&fanout.routes);
        let mut scratch = Scratch::new();
        let mut taken = 0;
        while let Some(lease) = poll_fn(|cx| reader.poll_lend(cx)).await {
            lanes.dispatch(routes.load(), lease, &mut scratch);
            taken += 1;
            if taken == LEASES_PER_TURN {
                taken = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    /// Takes on the triggers of `fanout` as they are now; to be called after they changed.
    pub fn refresh(&self, fanout: &Arc<Fanout>) {
        if let Some(lanes) = self.lanes(fanout) {
            lanes.refresh(&fanout.routes.load());
            lanes.end_parked();
        }
    }

    /// Forgets a hub whose channel is gone. What waits stays where it is stored, if that outlives
    /// the process; else it is purged.
    pub fn forget(&self, hub: &Hub) {
        let lanes = self.hubs.borrow_mut().remove(hub);
        if let Some(lanes) = lanes {
            lanes.retire();
        }
    }

    /// Sends dead letters of `fanout` again, each to the trigger that gave it up: they wait in its
    /// overflow before they leave the dead letters, so that a crash loses none. Returns how many
    /// were still kept and had a trigger that is still there.
    pub async fn redrive(self: Rc<Self>, fanout: Arc<Fanout>, ids: Vec<u64>) -> usize {
        let Some(lanes) = self.lanes(&fanout) else { return 0 };
        let routes = fanout.routes.load_full();
        let mut by_trigger: HashMap<TriggerKey, Vec<Arc<DeadLetter>>> = HashMap::new();
        for id in ids {
            let Some(letter) = fanout.dead_letters.get(id) else { continue };
            if routes.find(letter.key).is_some()
                && let Some(letter) = fanout.dead_letters.take(id)
            {
                by_trigger.entry(letter.key).or_default().push(letter);
            }
        }
        let mut redriven = Vec::new();
        for (key, letters) in by_trigger {
            let Some(trigger) = routes.find(key) else { continue };
            let now = clock::now();
            let waiting = letters.iter().map(|letter| Waiting {
                event: letter.event.clone(),
                envelope: Envelope {
                    attempts: 0,
                    first_at: now,
                    put_at: now,
                    due_at: now,
                    history: Bytes::new(),
                },
            });
            match trigger.overflow.put(waiting.collect()).await {
                Ok(_) => {
                    let lane = lanes.lane(trigger);
                    letters.iter().for_each(|_| lane.redriven());
                    redriven.extend(letters.iter().map(|letter| letter.id));
                }
                Err(error) => {
                    tracing::warn!(trigger = %trigger.plan.name, %error, "dead letters could not be sent again");
                    letters.into_iter().for_each(|letter| fanout.dead_letters.put_back(letter));
                }
            }
        }
        fanout.dead_letters.forget(&redriven).await;
        redriven.len()
    }

    /// Goes on sending dead letters to their sinks that an earlier process had not got there.
    pub fn resume_sinks(self: &Rc<Self>, fanout: &Arc<Fanout>) {
        let routes = fanout.routes.load();
        for letter in fanout.dead_letters.pending_at_sinks() {
            let Some(trigger) = routes.find(letter.key) else { continue };
            if let Some(sink) = &trigger.plan.dead_letter_sink {
                self.send_to_sink(fanout, &trigger.plan, sink, letter);
            }
        }
    }

    /// Closes the breaker of a subscriber in this worker, on an operator's word: for all triggers
    /// that deliver there. Returns the state that it was in, or `None` when there is none because
    /// nothing was delivered there.
    pub fn reset_breaker(&self, url: &str) -> Option<breaker::State> {
        let breaker = self.breakers.borrow().get(url).map(Rc::clone)?;
        let before = breaker.borrow().state();
        breaker.borrow_mut().reset();
        let now = Instant::now();
        for lanes in self.hubs.borrow().values() {
            lanes.each(|lane| lane.wake(now));
        }
        Some(before)
    }

    /// Events that have not reached their end in this worker; of hubs whose events outlive the
    /// process, those under way or on their way into storage.
    pub fn pending(&self) -> usize {
        let mut pending = 0;
        for lanes in self.hubs.borrow().values() {
            let outlives = lanes.fanout.outlives;
            lanes.each(|lane| pending += if outlives { lane.busy() } else { lane.pending() });
        }
        pending
    }

    /// Ids of events that wait, at most `limit`.
    pub fn waiting_ids(&self, limit: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for lanes in self.hubs.borrow().values() {
            lanes.each(|lane| ids.extend(lane.waiting_ids()));
        }
        ids.truncate(limit);
        ids
    }

    /// The books of every lane, by hub.
    pub fn report(&self) -> Vec<(Hub, Vec<LaneReport>)> {
        let hubs = self.hubs.borrow();
        hubs.iter()
            .map(|(hub, lanes)| {
                let mut reports = Vec::new();
                lanes.each(|lane| reports.push(lane.report()));
                (hub.clone(), reports)
            })
            .collect()
    }

    /// The breaker that all lanes of this worker share for a subscriber.
    pub(crate) fn breaker(&self, url: &str, now: Instant) -> Rc<RefCell<Breaker>> {
        let mut breakers = self.breakers.borrow_mut();
        if let Some(breaker) = breakers.get(url) {
            return Rc::clone(breaker);
        }
        // Subscribers come and go with triggers: forget those that no lane uses any more.
        breakers.retain(|_, breaker| Rc::strong_count(breaker) > 1);
        let breaker = Rc::new(RefCell::new(Breaker::new(now)));
        breakers.insert(url.to_owned(), Rc::clone(&breaker));
        breaker
    }

    /// Lets a dead letter go to the dead letter sink too.
    pub(crate) fn send_to_sink(
        self: &Rc<Self>,
        fanout: &Arc<Fanout>,
        plan: &Arc<TriggerPlan>,
        sink: &Arc<Endpoint>,
        letter: Arc<DeadLetter>,
    ) {
        let sender = {
            let mut sinks = self.sinks.borrow_mut();
            if !sinks.contains_key(sink.url()) {
                // Sinks come and go with triggers; one that still has to send is held by its tasks.
                sinks.retain(|_, sender| Rc::strong_count(sender) > 1);
            }
            Rc::clone(sinks.entry(sink.url().to_owned()).or_default())
        };
        sender.take_on(self, fanout, plan, letter);
    }

    /// The lanes of just this hub: one that was deleted may have a successor of its name.
    fn lanes(&self, fanout: &Arc<Fanout>) -> Option<Rc<Lanes>> {
        let hubs = self.hubs.borrow();
        let lanes = hubs.get(&fanout.hub)?;
        Arc::ptr_eq(&lanes.fanout, fanout).then(|| Rc::clone(lanes))
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("index", &self.index).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::poll_immediate;

    use channel::Name;

    use super::*;
    use crate::http::ClientSettings;

    #[tokio::test]
    async fn a_flood_of_one_hub_holds_up_its_own_producers_only() {
        let client = Client::new(ClientSettings::default());
        let worker = Worker::new(0, client, Settings::default());
        let name = Name::new("n", "flooded");
        let (flooded, other) = (Hub::broker(name.clone()), Hub::channel(name));
        let is_held =
            async |hub: &Hub| poll_immediate(worker.relieved(hub, Duration::ZERO)).await.is_none();
        // Two lanes of it.
        worker.flood(&flooded, true);
        worker.flood(&flooded, true);
        assert!(is_held(&flooded).await);
        assert!(!is_held(&other).await);
        worker.flood(&flooded, false);
        assert!(is_held(&flooded).await);
        worker.flood(&flooded, false);
        assert!(!is_held(&flooded).await);
    }
}
