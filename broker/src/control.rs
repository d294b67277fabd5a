//! The running process as the admin side sees it: what there is, what became of events, and orders to the workers.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ::sources::SourceId;
use arc_swap::ArcSwap;
use channel::{Budget, Channel, Hub, HubKind, Name};
use dispatcher::{Fanout, Pauses, Selection, Trigger, TriggerSpec};
use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot, watch};

pub use crate::books::{Books, BreakerState, HubBooks, TriggerBooks};
use crate::{
    cluster::Troubles,
    ingress::Connections,
    manifest::{Resource, Resources, Standing},
    sourcing::SourceState,
    worker::{Command, Mailbox, Unanswered},
};

/// A broker or a channel at work.
#[derive(Clone, Debug)]
pub struct HubState {
    /// Its routes, dead letters and budget.
    pub fanout: Arc<Fanout>,
    /// Where its events are stored.
    pub channel: Arc<dyn Channel>,
    /// Its triggers that an operator has paused.
    pub pauses: Arc<Pauses>,
}

impl HubState {
    /// Whether other processes take part in it.
    pub fn is_shared(&self) -> bool {
        self.channel.ledger().is_some_and(|ledger| ledger.is_shared())
    }

    /// Sees to it that overflows are read that other processes have put to.
    pub fn find_overflows(&self) {
        if !self.is_shared() {
            return;
        }
        let overflowing = self.channel.overflowing();
        if overflowing.is_empty() {
            return;
        }
        let routes = self.fanout.routes.load();
        let waiting = |trigger: &&Arc<Trigger>| overflowing.contains(&trigger.plan.name);
        for trigger in routes.triggers().iter().filter(waiting) {
            if trigger.usage.overflow() {
                self.fanout.overflows.add();
            }
        }
    }

    /// Events that are stored and have not reached their end: in its channel, and in the overflows of
    /// its triggers.
    pub fn stored(&self) -> usize {
        let routes = self.fanout.routes.load();
        let waiting = routes.triggers().iter().filter(|trigger| trigger.usage.overflows());
        let waiting: usize = waiting.map(|trigger| trigger.overflow.depth().events).sum();
        self.channel.depth().events + waiting
    }
}

impl HubState {
    /// How many dead letters of these have no trigger to go to: it is gone, or there never was one.
    pub fn without_trigger(&self, selection: &Selection) -> usize {
        let routes = self.fanout.routes.load();
        let letters = self.fanout.dead_letters.list(selection, 0, usize::MAX).items;
        letters.iter().filter(|letter| routes.find(letter.key).is_none()).count()
    }

    /// Why the hub is of no use although it is at work: its channel is down for now.
    pub fn down(&self) -> Option<NotReady> {
        let message = self.channel.health().err()?;
        Some(NotReady { reason: CHANNEL_DOWN, message })
    }
}

/// The reason of a hub whose channel was open and cannot be reached now.
pub const CHANNEL_DOWN: &str = "ChannelDown";

/// A trigger, or a subscription, as the user wrote it and as it is.
#[derive(Clone, Debug)]
pub struct TriggerState {
    /// Its name.
    pub name: Name,
    /// Whose events it wants; it is a subscription when that is a channel.
    pub hub: Hub,
    /// What the user wrote; none of a subscription.
    pub written: Option<Arc<Resource<TriggerSpec>>>,
    /// The trigger at work, or why there is none.
    pub running: Result<Arc<Trigger>, NotReady>,
    /// Why its subscriber or dead letter sink cannot be found any more, though it is at work still.
    pub unresolved: Option<NotReady>,
    /// Who paused it, if somebody did.
    pub paused: Option<PausedBy>,
    /// Whose dead letter sink holds for it, if there is one.
    pub sink_from: Option<SinkFrom>,
}

impl TriggerState {
    /// `spec.filter` and `spec.filters` as written; null of a subscription.
    pub fn filter_as_written(&self) -> serde_json::Value {
        self.written.as_ref().map_or(serde_json::Value::Null, |resource| {
            let TriggerSpec { filter, filters, .. } = &resource.spec;
            serde_json::json!({ "filter": filter, "filters": filters })
        })
    }
}

/// Whose manifest names a trigger's dead letter sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkFrom {
    /// The trigger's.
    Own,
    /// That of its hub, for want of one of its own.
    Hub(HubKind),
}

impl SinkFrom {
    /// The name that users see, of a sink that the trigger itself or its hub names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Own => HubKind::Broker.taker(),
            Self::Hub(kind) => kind.as_str(),
        }
    }
}

/// Who wants a trigger to deliver nothing for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PausedBy {
    /// The annotation in its manifest.
    Manifest,
    /// An operator, over the API.
    Operator,
}

impl PausedBy {
    /// The name that users see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Operator => "operator",
        }
    }
}

/// Why a resource is not at work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotReady {
    /// In one word, as a condition's reason.
    pub reason: &'static str,
    /// In words.
    pub message: String,
}

impl Inventory {
    /// The hubs of one kind by name; those that cannot work say why.
    pub fn of(&self, kind: HubKind) -> &BTreeMap<Name, Result<HubState, NotReady>> {
        match kind {
            HubKind::Broker => &self.brokers,
            HubKind::Channel => &self.channels,
        }
    }

    /// Those who want the events of hubs of one kind: its triggers, or its subscriptions.
    pub fn takers(&self, kind: HubKind) -> &BTreeMap<Name, TriggerState> {
        match kind {
            HubKind::Broker => &self.triggers,
            HubKind::Channel => &self.subscriptions,
        }
    }

    /// All hubs, brokers first.
    pub fn hubs(&self) -> impl Iterator<Item = (Hub, &Result<HubState, NotReady>)> {
        HubKind::ALL.into_iter().flat_map(|kind| {
            self.of(kind).iter().map(move |(name, it)| (Hub { kind, name: name.clone() }, it))
        })
    }

    /// The hub of that kind and name.
    pub fn hub(&self, hub: &Hub) -> Option<&Result<HubState, NotReady>> {
        self.of(hub.kind).get(&hub.name)
    }

    /// All triggers and subscriptions.
    pub fn all_takers(&self) -> impl Iterator<Item = &TriggerState> {
        HubKind::ALL.into_iter().flat_map(|kind| self.takers(kind).values())
    }

    /// Hubs at work, and those that only deliver.
    pub fn delivering(&self) -> impl Iterator<Item = &HubState> {
        let at_work = self.brokers.values().chain(self.channels.values()).flatten();
        at_work.chain(&self.leaving)
    }
}

/// Every resource of the process at one moment.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// Brokers by name; those that cannot work say why.
    pub brokers: BTreeMap<Name, Result<HubState, NotReady>>,
    /// Channels by name, whatever their kind; those that cannot work say why.
    pub channels: BTreeMap<Name, Result<HubState, NotReady>>,
    /// Those that deliver what they hold before their channel is replaced.
    pub leaving: Vec<HubState>,
    /// The kind of channel that keeps the events of each of them, as `messaging.knative.dev` names it.
    pub kinds: BTreeMap<Hub, &'static str>,
    /// Triggers by name.
    pub triggers: BTreeMap<Name, TriggerState>,
    /// Subscriptions by name.
    pub subscriptions: BTreeMap<Name, TriggerState>,
    /// Sources by kind and name.
    pub sources: BTreeMap<SourceId, SourceState>,
    /// What is wrong with the manifests.
    pub problems: Vec<Standing>,
    /// What the user wants, as it is at work.
    pub resources: Arc<Resources>,
    /// Which generation of an object its problems are about, by the file that stands for it.
    pub generations: BTreeMap<Arc<PathBuf>, i64>,
}

/// What came of closing a subscriber's breaker in every worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BreakerReset {
    /// The worst state over all workers before.
    pub before: BreakerState,
    /// Workers whose breaker was not closed, and is now.
    pub reset: usize,
    /// Workers that did not answer in time; theirs is as it was.
    pub silent_workers: usize,
}

/// The handle that the admin side holds.
#[derive(Debug)]
pub struct Control {
    /// What there is; swapped whole when it changes.
    pub inventory: ArcSwap<Inventory>,
    /// The memory for events of the whole process.
    pub budget: Arc<Budget>,
    /// Open connections of the way in.
    pub connections: Arc<Connections>,
    /// Whether this process is the one of several replicas that does what one alone must do.
    pub leads: watch::Sender<bool>,
    /// What cannot be followed of a cluster for now.
    pub troubles: Arc<Troubles>,
    workers: Vec<Mailbox>,
    /// Asks whoever runs the resources to look at them again.
    looks: mpsc::Sender<Look>,
    is_loaded: AtomicBool,
    is_ready: AtomicBool,
    is_ending: AtomicBool,
    is_draining: Arc<AtomicBool>,
}

/// A wish that the resources are looked at again, because something beside them has changed; answered
/// when that is done.
pub type Look = oneshot::Sender<()>;

/// Wishes that may wait; more would ask for the same.
const LOOKS_LEN: usize = 16;

/// How long to wait until a change is at work.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

impl Control {
    /// The handle to `workers`, and what it wishes for. Not ready until [`Control::set_ready`].
    pub fn new(
        workers: Vec<Mailbox>,
        budget: Arc<Budget>,
        connections: Arc<Connections>,
        is_draining: Arc<AtomicBool>,
    ) -> (Arc<Self>, mpsc::Receiver<Look>) {
        let (looks, wished) = mpsc::channel(LOOKS_LEN);
        let control = Arc::new(Self {
            inventory: ArcSwap::default(),
            budget,
            connections,
            leads: watch::channel(false).0,
            troubles: Arc::default(),
            workers,
            looks,
            is_loaded: AtomicBool::new(false),
            is_ready: AtomicBool::new(false),
            is_ending: AtomicBool::new(false),
            is_draining,
        });
        (control, wished)
    }

    /// Asks that the resources are looked at again, and waits until that is done, at most 5 s.
    pub async fn look_again(&self) {
        let (look, done) = oneshot::channel();
        let asked = async {
            if self.looks.send(look).await.is_ok() {
                // Whoever runs the resources may be ending: then nothing changes any more.
                done.await.unwrap_or_default();
            }
        };
        if tokio::time::timeout(LOOK_TIMEOUT, asked).await.is_err() {
            tracing::warn!("a change is not at work yet: others take long");
        }
    }

    /// Asks for the same without waiting; when many wish for it already, one of them will do.
    pub fn look_soon(&self) {
        drop(self.looks.try_send(oneshot::channel().0));
    }

    /// Says that the first full set of resources is known, though channels may still be opened.
    pub fn set_loaded(&self) {
        self.is_loaded.store(true, Ordering::Release);
    }

    /// Whether it is.
    pub fn is_loaded(&self) -> bool {
        self.is_loaded.load(Ordering::Acquire)
    }

    /// Says that the first full set of resources is at work.
    pub fn set_ready(&self) {
        self.is_ready.store(true, Ordering::Release);
    }

    /// Says that the process was asked to end, though it still accepts events.
    pub fn set_ending(&self) {
        self.is_ending.store(true, Ordering::Release);
    }

    /// Whether the first full set of resources is at work and the process is not shutting down.
    pub fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Acquire) && !self.is_draining()
    }

    /// Whether the process was asked to end.
    pub fn is_draining(&self) -> bool {
        self.is_ending.load(Ordering::Acquire) || self.is_draining.load(Ordering::Acquire)
    }

    /// Workers of the process.
    pub fn workers(&self) -> &[Mailbox] {
        &self.workers
    }

    /// Asks all workers at once. Their answers come in their order.
    pub async fn ask_all<T>(
        &self,
        command: impl Fn(oneshot::Sender<T>) -> Command,
    ) -> Vec<Result<T, Unanswered>> {
        join_all(self.workers.iter().map(|worker| worker.ask(&command))).await
    }

    /// The books of all workers. They add up, because each worker writes its part down between two
    /// steps of its own.
    pub async fn books(&self) -> Books {
        let mut books = Books::default();
        for report in self.ask_all(|reply| Command::Report { reply }).await {
            match report {
                Ok(report) => books.add(report),
                Err(_) => books.silent_workers += 1,
            }
        }
        let inventory = self.inventory.load();
        let mut held = HashMap::new();
        for (hub, state) in inventory.hubs() {
            let Ok(state) = state else { continue };
            books.hubs.entry(hub.clone()).or_default();
            held.insert(hub, state.fanout.dead_letters.tallies());
        }
        for trigger in inventory.all_takers() {
            let Ok(running) = &trigger.running else { continue };
            let Some(held) = held.get(&trigger.hub) else { continue };
            let Some(of_hub) = books.hubs.get_mut(&trigger.hub) else { continue };
            let of_trigger = of_hub.triggers.entry(trigger.name.clone()).or_default();
            let held = held.get(&running.key).copied().unwrap_or_default();
            of_trigger.overflow = running.overflow.depth();
            of_trigger.settle(held, running.usage.found());
            let hub = inventory.hub(&trigger.hub);
            if hub.is_some_and(|it| it.as_ref().is_ok_and(HubState::is_shared)) {
                of_trigger.share();
            }
            of_trigger.paused = trigger.paused.is_some();
        }
        books
    }

    /// Closes the breaker of the subscriber at `url`, for all triggers that deliver there.
    pub async fn reset_breaker(&self, url: &str) -> BreakerReset {
        let url: Arc<str> = url.into();
        let mut sum = BreakerReset::default();
        let command = |reply| Command::ResetBreaker { url: Arc::clone(&url), reply };
        for answer in self.ask_all(command).await {
            match answer {
                Ok(before) => {
                    let before = before.map(BreakerState::from).unwrap_or_default();
                    sum.before = sum.before.max(before);
                    sum.reset += usize::from(before != BreakerState::Closed);
                }
                Err(_) => sum.silent_workers += 1,
            }
        }
        sum
    }

    /// Sends dead letters again. Returns how many their triggers took on; those of a worker that
    /// does not answer stay where they are.
    pub async fn redrive(&self, hub: &Hub, selection: &Selection) -> usize {
        let inventory = self.inventory.load_full();
        let Some(Ok(hub)) = inventory.hub(hub) else { return 0 };
        let page = hub.fanout.dead_letters.list(selection, 0, usize::MAX);
        let mut shares: Vec<Vec<u64>> = vec![Vec::new(); self.workers.len()];
        for letter in &page.items {
            let worker = home_of(letter, self.workers.len());
            if let Some(share) = shares.get_mut(worker) {
                share.push(letter.id);
            }
        }
        let shares = self.workers.iter().zip(shares).filter(|(_, ids)| !ids.is_empty());
        let asked = shares.map(|(worker, ids)| {
            let fanout = Arc::clone(&hub.fanout);
            worker.ask(|reply| Command::Redrive { fanout, ids, reply })
        });
        join_all(asked).await.into_iter().flatten().sum()
    }
}

/// The worker that sends a dead letter again: the one that owns its key, so that the redriven
/// letters of an ordered trigger stay in order.
fn home_of(letter: &dispatcher::DeadLetter, workers: usize) -> usize {
    channel::key_worker(&letter.event, workers)
}

#[cfg(test)]
mod tests {
    use dispatcher::breaker;

    use super::*;
    use crate::{ingress::IngressTally, worker::WorkerReport};

    #[tokio::test(start_paused = true)]
    async fn a_stuck_worker_is_left_out_of_the_books() {
        let (stuck, _unread) = Mailbox::open();
        let (working, mut commands) = Mailbox::open();
        let (control, _looks) = Control::new(
            vec![stuck, working],
            Budget::new(1),
            Connections::new(1, 1),
            Arc::default(),
        );
        let answer = async {
            let Some(Command::Report { reply }) = commands.recv().await else { panic!("asked") };
            let unrouted = IngressTally { accepted: 7, ..IngressTally::default() };
            reply.send(WorkerReport { unrouted, ..WorkerReport::default() }).unwrap();
        };
        let (books, ()) = tokio::join!(control.books(), answer);
        assert_eq!((books.silent_workers, books.unrouted.accepted), (1, 7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_breaker_is_closed_in_every_worker_and_the_answer_says_what_that_changed() {
        let (mailboxes, commands): (Vec<_>, Vec<_>) = (0..4).map(|_| Mailbox::open()).unzip();
        let (control, _looks) =
            Control::new(mailboxes, Budget::new(1), Connections::new(1, 1), Arc::default());
        let states = [Some(breaker::State::HalfOpen), Some(breaker::State::Closed), None];
        let mut commands = commands;
        let answers = async {
            for (commands, state) in commands.iter_mut().zip(states) {
                let Some(Command::ResetBreaker { url, reply }) = commands.recv().await else {
                    panic!("asked")
                };
                assert_eq!(&*url, "http://x/");
                reply.send(state).unwrap();
            }
        };
        let (reset, ()) = tokio::join!(control.reset_breaker("http://x/"), answers);
        let before = BreakerState::HalfOpen;
        assert_eq!(reset, BreakerReset { before, reset: 1, silent_workers: 1 });
    }
}
