//! A broker's channel on JetStream: opened, published to, read, and let go.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak, atomic::Ordering},
    time::{Duration, Instant},
};

use async_nats::Message;
use futures_util::StreamExt as _;
use smallvec::SmallVec;
use tokio::{runtime::Handle, sync::Notify, time::timeout};
use tokio_util::sync::DropGuard;
use tracing::{debug, warn};

use crate::{
    Batch, Budget, Channel, Charge, Depth, Durability, Event, Hub, Ledger, Name, Overflow, Publish,
    PublishError, Reader, Strength, Work,
    nats::{
        NatsPlan, NatsSettings, OpenError, acks,
        desk::Mode,
        house::House,
        incoming::{Found, Place},
        intake::{Decode, Intake},
        ledger::NatsLedger,
        link::Link,
        names::{Names, message_id},
        outgoing::{self, Counts, HEADROOM, MEMORY_MAX, MESSAGE_BYTES_MAX, Outgoing, Sending},
        overflow::{NatsOverflow, Remover, Room},
        plan::Storage,
        poison,
        provision::{ensure_consumer, ensure_stream, log_consumer, log_stream},
        source::Source,
        watermark::Watermark,
    },
    removal::Removals,
};

/// What the headers of a message may add to an event, where the plan bounds messages.
const LOG_HEADROOM: u64 = 1024;
/// Bytes of messages on their way to us at once; a server's largest message may be more.
const PULL_BYTES: usize = 4 << 20;
/// Least that a server's `max_payload` must be.
const PAYLOAD_MIN: usize = 2 * HEADROOM;
/// What is left of a deadline for closing the connection.
const CLOSING: Duration = Duration::from_millis(300);

/// Overflows that hold something, as far as it is known.
pub(super) type Known = Arc<Mutex<BTreeMap<Name, Depth>>>;

/// A channel on JetStream.
pub struct Nats {
    link: Arc<Link>,
    names: Names,
    plan: NatsPlan,
    workers: usize,
    budget: Arc<Budget>,
    source: Arc<Source>,
    ledger: Arc<NatsLedger>,
    counts: Arc<Counts>,
    full: Arc<Notify>,
    known: Known,
    removals: Arc<Removals>,
    removed_after: Duration,
    /// Of this channel's overflows, for the end.
    waiting: Mutex<Vec<Weak<Source>>>,
    /// Tasks end when the channel is dropped without [`Channel::end`].
    _stop: DropGuard,
}

impl Nats {
    /// Connects, makes the stream and the consumer of `hub` or changes those that are
    /// there, reads them back, and begins to pull events for `workers` readers. Their memory is
    /// charged to `budget`. All tasks run on `runtime`, which must have timers and I/O; it may be
    /// called from any runtime.
    ///
    /// # Errors
    ///
    /// [`OpenError`], in one line. Dropped half way, what was made on the server stays.
    pub async fn open(
        settings: &NatsSettings,
        plan: &NatsPlan,
        hub: impl Into<Hub>,
        workers: usize,
        budget: Arc<Budget>,
        runtime: &Handle,
    ) -> Result<Arc<Self>, OpenError> {
        let (settings, plan, hub) = (settings.clone(), plan.clone(), hub.into());
        let on = runtime.clone();
        let opening = async move { Self::make(&settings, plan, &hub, workers, budget, on).await };
        let opened = runtime.spawn(opening).await;
        opened.unwrap_or_else(|failed| {
            Err(OpenError::Refused { what: "the runtime".into(), reason: failed.to_string() })
        })
    }

    async fn make(
        settings: &NatsSettings,
        plan: NatsPlan,
        hub: &Hub,
        workers: usize,
        budget: Arc<Budget>,
        runtime: Handle,
    ) -> Result<Arc<Self>, OpenError> {
        let link = Arc::new(Link::open(settings, plan.replicas, runtime).await?);
        // Whatever fails from here on, the tasks that run by then end.
        let stop = link.stop.clone().drop_guard();
        let payload_max = link.client.max_payload();
        if payload_max < PAYLOAD_MIN {
            let reason =
                format!("max_payload is {payload_max}, and must be {PAYLOAD_MIN} at least");
            return Err(OpenError::Refused { what: "the server".into(), reason });
        }
        let names = Names::new(&settings.prefix, hub);
        let wanted = log_stream(&names, &plan);
        ensure_stream(&link.jet, &wanted).await?;
        let watermark = Arc::new(Watermark::default());
        let consumer = log_consumer(&plan);
        let found = ensure_consumer(&link.jet, &wanted.name, &consumer, None).await?;
        let ledger = NatsLedger::open(&link, &names, &plan).await?;
        let known = find_overflows(&link, &names).await?;
        let (source, acts) = Source::new(workers, Mode::Spread, settings.lent_max);
        // Before anything is pulled: what ended the last process must not end this one.
        let refused = |error: async_nats::Error| OpenError::Refused {
            what: format!("stream {}", wanted.name),
            reason: error.to_string(),
        };
        poison::lend(&link, &source, &budget, &wanted.name, &found).await.map_err(refused)?;
        let full = Arc::new(Notify::new());
        link.start(acks::run(Arc::clone(&link), Arc::clone(&source), acts, plan.ack_wait, None));
        let intake = Intake {
            link: Arc::clone(&link),
            source: Arc::clone(&source),
            what: "consumer".into(),
            stream: wanted.name.clone(),
            consumer,
            lane: 0,
            slots: settings.lent_max,
            bytes: PULL_BYTES.max(payload_max.saturating_mul(2)),
            budget: Arc::clone(&budget),
            watermark: Arc::clone(&watermark),
            gone: None,
            decode: LogDecode { stream: wanted.name.clone() },
        };
        link.start(intake.run(source.pulling.token()));
        let house = House {
            link: Arc::clone(&link),
            source: Arc::clone(&source),
            budget: Arc::clone(&budget),
            plan: plan.clone(),
            wanted,
            watermark,
            full: Arc::clone(&full),
        };
        link.start(house.run());
        let removed_after = settings.overflow_removed_after();
        let remover = Remover::new(&link, &names, &known, &ledger, removed_after);
        let removals = remover.removals();
        link.start(remover.run());
        Ok(Arc::new(Self {
            link,
            names,
            plan,
            workers: workers.max(1),
            budget,
            source,
            ledger,
            counts: Arc::default(),
            full,
            known,
            removals,
            removed_after,
            waiting: Mutex::default(),
            _stop: stop,
        }))
    }

    /// How many events were told stored because the server had them already.
    pub fn duplicates(&self) -> u64 {
        self.counts.duplicates.load(Ordering::Relaxed)
    }
}

/// Triggers for whom something waits.
async fn find_overflows(link: &Link, names: &Names) -> Result<Known, OpenError> {
    let mut found = BTreeMap::new();
    let mut streams = link.jet.streams();
    while let Some(info) = streams.next().await {
        let info = info.map_err(|error| OpenError::Refused {
            what: "the list of streams".into(),
            reason: error.to_string(),
        })?;
        let description = info.config.description.unwrap_or_default();
        let Some(trigger) = description.strip_prefix(&names.overflow_description()) else {
            continue;
        };
        if let Ok(trigger) = trigger.parse::<Name>() {
            let (events, bytes) = (info.state.messages, info.state.bytes);
            let depth = Depth {
                events: usize::try_from(events).unwrap_or(usize::MAX),
                bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
            };
            found.insert(trigger, depth);
        }
    }
    Ok(Arc::new(Mutex::new(found)))
}

/// Reads the messages of a log.
struct LogDecode {
    stream: String,
}

impl Decode for LogDecode {
    async fn decode(&self, message: Message, place: Place) -> Found {
        Found::of_log(message.headers.as_ref(), message.payload, &self.stream, place)
    }
}

impl Channel for Nats {
    fn kind(&self) -> &'static str {
        "NatsJetStreamChannel"
    }

    fn durability(&self) -> Durability {
        let strength = match self.plan.storage {
            Storage::File => Strength::Process,
            Storage::Memory => Strength::None,
        };
        Durability { strength, replicated: self.plan.replicas > 1 }
    }

    fn event_bytes_max(&self) -> usize {
        let by_server = self.link.client.max_payload().saturating_sub(HEADROOM);
        let by_plan = self.plan.message_bytes_max.map(|max| max.saturating_sub(LOG_HEADROOM));
        by_plan.map_or(by_server, |max| by_server.min(usize::try_from(max).unwrap_or(usize::MAX)))
    }

    fn reserve(&self, bytes: usize) -> Result<Charge, PublishError> {
        self.budget.try_charge(bytes).ok_or_else(|| self.counts.full(MEMORY_MAX))
    }

    fn publish(&self, _worker: usize, events: Batch) -> Publish {
        if self.link.closing.is_cancelled() {
            return down("it is closing");
        }
        if !self.link.state.is_connected() {
            return down("the connection to NATS is lost");
        }
        let limit = self.event_bytes_max();
        if let Some(size) = events.iter().map(Event::size).find(|&size| size > limit) {
            self.counts.count(MESSAGE_BYTES_MAX);
            return Publish::done(Err(PublishError::TooLarge { size, limit }));
        }
        let runtime = self.link.runtime.enter();
        let subject = self.names.log_subject();
        let sent: SmallVec<[Sending; 1]> = events
            .iter()
            .map(|event| Outgoing::new(subject.clone(), event, message_id(event)))
            .map(|message| Sending::start(&self.link.publisher, message))
            .collect();
        drop(runtime);
        let (receipts, full) =
            (outgoing::receipts(sent, &self.source, &self.counts, limit), Arc::clone(&self.full));
        Publish::waiting(async move {
            let published = receipts.await;
            if matches!(published, Err(PublishError::Full { .. })) {
                full.notify_one();
            }
            published
        })
    }

    fn keep_keys_together(&self, keyed: bool) {
        self.source.keep_keys_together(keyed);
    }

    fn reader(&self, worker: usize) -> Box<dyn Reader> {
        self.source.reader(worker)
    }

    fn depth(&self) -> Depth {
        self.source.gauge.depth()
    }

    fn bounds_reached(&self) -> Vec<(&'static str, u64)> {
        self.counts.bounds()
    }

    fn health(&self) -> Result<(), String> {
        self.link.state.health()
    }

    fn failure(&self) -> Option<String> {
        self.link.state.failure()
    }

    fn overflow(&self, trigger: &Name, ordered: bool) -> Arc<dyn Overflow> {
        let room = Room {
            link: Arc::clone(&self.link),
            names: self.names.clone(),
            plan: self.plan.clone(),
            workers: self.workers,
            budget: Arc::clone(&self.budget),
            ledger: Arc::clone(&self.ledger),
            counts: Arc::clone(&self.counts),
            known: Arc::clone(&self.known),
            removals: Arc::clone(&self.removals),
            removed_after: self.removed_after,
        };
        let (overflow, source) = NatsOverflow::open(room, trigger, ordered);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|source| source.strong_count() > 0);
        waiting.push(Arc::downgrade(&source));
        overflow
    }

    fn overflowing(&self) -> Vec<Name> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let holding = known.iter().filter(|(_, depth)| depth.events > 0);
        holding.map(|(trigger, _)| trigger.clone()).collect()
    }

    fn ledger(&self) -> Option<Arc<dyn Ledger>> {
        Some(Arc::<NatsLedger>::clone(&self.ledger))
    }

    fn close(&self) {
        self.link.closing.cancel();
        self.source.close_at_end();
    }

    fn end(&self, deadline: Instant) -> Work<()> {
        let link = Arc::clone(&self.link);
        let mut sources = vec![Arc::clone(&self.source)];
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        sources.extend(waiting.iter().filter_map(Weak::upgrade));
        Box::pin(async move {
            let on = link.runtime.clone();
            if let Err(failed) = on.spawn(end(link, sources, deadline)).await {
                debug!(error = %failed, "the channel ended without its runtime");
            }
        })
    }
}

/// Acknowledges what is settled, gives back what is not, and closes the connection, by `deadline`.
async fn end(link: Arc<Link>, sources: Vec<Arc<Source>>, deadline: Instant) {
    let left = || deadline.saturating_duration_since(Instant::now());
    link.closing.cancel();
    sources.iter().for_each(|source| source.close_at_end());
    for source in &sources {
        // What came too late is given back in its order with the rest.
        source.pulling.close();
        drop(timeout(acks::PULLING_ENDS_WITHIN.min(left()), source.pulling.wait()).await);
        source.give_up();
    }
    link.ending.cancel();
    link.tasks.close();
    if timeout(left().saturating_sub(CLOSING), link.tasks.wait()).await.is_err() {
        let unacknowledged: usize = sources.iter().map(|source| source.desk().len()).sum();
        warn!(unacknowledged, "the deadline came before every acknowledgement: these come again");
    }
    link.stop.cancel();
    let closing = async {
        link.tasks.wait().await;
        if link.client.flush().await.is_ok() {
            link.state.let_go();
            drop(link.client.drain().await);
        }
    };
    if timeout(left(), closing).await.is_err() {
        debug!("the connection was not closed in time");
    }
}

/// A publish that nothing is tried for.
pub(super) fn down(reason: &str) -> Publish {
    Publish::done(Err(PublishError::Down { reason: reason.to_owned() }))
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats")
            .field("link", &self.link)
            .field("depth", &self.depth())
            .finish_non_exhaustive()
    }
}
