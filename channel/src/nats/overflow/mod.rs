//! What waits for one trigger: a stream with a subject for each class of delay, or one in order.
//!
//! The stream is made by the first put, and removed when it has been empty for long.

mod lane;
mod looking;
mod removal;

use std::{
    fmt,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_nats::{HeaderValue, Message, jetstream::stream};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use smallvec::SmallVec;
use tracing::debug;

pub(super) use self::removal::Remover;
use self::{
    lane::{ORDERED, lane_name},
    looking::look_after,
};
use crate::{
    Budget, Depth, Envelope, Event, Name, Overflow, Position, Publish, PublishError, Reader,
    Waiting, Work, clock,
    nats::{
        NatsPlan,
        acks::{self, After},
        channel::{Known, down},
        desk::Mode,
        incoming::{ENVELOPE, Found, Place},
        intake::{Decode, Intake},
        ledger::NatsLedger,
        link::Link,
        names::{Names, waiting_id},
        outgoing::{self, Counts, HEADROOM, MESSAGE_BYTES_MAX, Outgoing, Sending},
        provision::{consumer, ensure_stream, overflow_stream},
        source::{LANES, Source},
        watermark::Watermark,
    },
    removal::{LastPut, Removals},
};

/// Most entries of one class that are read ahead.
const AHEAD_MAX: usize = 500;
/// Most of their bytes on the way at once; a server's largest message may be more.
const AHEAD_BYTES: usize = 2 << 20;

/// What an overflow has from its channel.
pub(super) struct Room {
    pub(super) link: Arc<Link>,
    pub(super) names: Names,
    pub(super) plan: NatsPlan,
    pub(super) workers: usize,
    pub(super) budget: Arc<Budget>,
    pub(super) ledger: Arc<NatsLedger>,
    pub(super) counts: Arc<Counts>,
    pub(super) known: Known,
    pub(super) removals: Arc<Removals>,
    /// How long an overflow must have been empty until its stream is removed.
    pub(super) removed_after: Duration,
}

/// The overflow of a trigger.
pub(super) struct NatsOverflow(Arc<Shared>);

struct Shared {
    room: Room,
    source: Arc<Source>,
    trigger: Name,
    ordered: bool,
    subject: String,
    config: stream::Config,
    /// Whether the stream is there, as far as it is known.
    is_made: AtomicBool,
    last_put: LastPut,
    /// A bit for each lane that is being read.
    reading: AtomicU8,
}

impl NatsOverflow {
    /// The overflow of a trigger; its stream is made when it is first put to. Returns its source too.
    pub(super) fn open(room: Room, trigger: &Name, ordered: bool) -> (Arc<Self>, Arc<Source>) {
        let mode = if ordered { Mode::Keyed } else { Mode::Due };
        let (source, acts) = Source::new(room.workers, mode, AHEAD_MAX * LANES);
        let known = room.known.lock().unwrap_or_else(PoisonError::into_inner);
        let depth = known.get(trigger).copied();
        drop(known);
        source.gauge.set(depth.unwrap_or_default(), None);
        let subject = room.names.overflow_subject(trigger);
        let config = overflow_stream(
            room.names.overflow_stream(trigger),
            &subject,
            format!("{}{trigger}", room.names.overflow_description()),
            &room.plan,
        );
        let (link, ack_wait) = (Arc::clone(&room.link), room.plan.ack_wait);
        let shared = Arc::new(Shared {
            room,
            source: Arc::clone(&source),
            trigger: trigger.clone(),
            ordered,
            subject,
            config,
            is_made: AtomicBool::new(depth.is_some()),
            last_put: LastPut::default(),
            reading: AtomicU8::new(0),
        });
        let after = after(&shared);
        link.start(acks::run(Arc::clone(&link), Arc::clone(&source), acts, ack_wait, Some(after)));
        link.start(look_after(Arc::clone(&shared)));
        (Arc::new(Self(shared)), source)
    }
}

/// What is acknowledged is deleted, with the note of it that there may be.
fn after(shared: &Arc<Shared>) -> After {
    let (link, ledger) = (Arc::clone(&shared.room.link), Arc::clone(&shared.room.ledger));
    let (source, trigger) = (Arc::clone(&shared.source), shared.trigger.clone());
    let stream = shared.config.name.clone();
    Arc::new(move |sequence| {
        let (link, ledger, stream) = (Arc::clone(&link), Arc::clone(&ledger), stream.clone());
        let mut amended = source.amended.lock().unwrap_or_else(PoisonError::into_inner);
        let note = amended.remove(&sequence).map(|_| note_key(&trigger, sequence));
        drop(amended);
        Box::pin(async move {
            // What is acknowledged and not deleted is found by its consumer's floor later.
            let deleted = match link.jet.get_stream_no_info(&stream).await {
                Ok(stream) => {
                    stream.delete_message(sequence).await.map(drop).map_err(|e| e.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = deleted {
                debug!(stream, sequence, error, "a settled entry was not deleted yet");
            }
            if let Some(Err(error)) = match note {
                Some(note) => Some(ledger.remove_own(&note).await),
                None => None,
            } {
                debug!(stream, sequence, error = %error, "a note of a settled entry is left");
            }
        })
    })
}

fn note_key(trigger: &Name, sequence: u64) -> String {
    format!("amend/{trigger}/{sequence}")
}

impl Shared {
    fn message(&self, waiting: &Waiting, now: SystemTime) -> (usize, Outgoing) {
        let Waiting { event, envelope } = waiting;
        let lane = lane::lane(self.ordered, envelope.due_at, now);
        let subject = format!("{}.{}", self.subject, lane_name(lane));
        let id = waiting_id(&self.trigger, event, envelope);
        let mut message = Outgoing::new(subject, event, id);
        if let Ok(text) = STANDARD.encode(envelope.encode()).parse::<HeaderValue>() {
            message.headers.insert(ENVELOPE, text);
        }
        (lane, message)
    }

    /// Makes the stream if it is not there.
    async fn make(&self) -> Result<(), PublishError> {
        if self.is_made.load(Ordering::Acquire) {
            return Ok(());
        }
        // Numbers grow over all streams of this name, so that what is known of an entry fits no other.
        let first_sequence = Some(clock::to_micros(SystemTime::now()));
        let config = stream::Config { first_sequence, ..self.config.clone() };
        match ensure_stream(&self.room.link.jet, &config).await {
            Ok(_info) => {
                self.is_made.store(true, Ordering::Release);
                Ok(())
            }
            Err(error) => Err(PublishError::Down { reason: error.to_string() }),
        }
    }

    /// Reads a lane, if it is not read already.
    fn read(self: &Arc<Self>, lane: usize) {
        let bit = 1_u8 << lane.min(7);
        if self.source.closed.is_cancelled()
            || self.reading.fetch_or(bit, Ordering::AcqRel) & bit != 0
        {
            return;
        }
        let name = lane_name(lane);
        let link = &self.room.link;
        let intake = Intake {
            link: Arc::clone(link),
            source: Arc::clone(&self.source),
            what: format!("overflow of {} {name}", self.trigger),
            stream: self.config.name.clone(),
            consumer: consumer(name, Some(format!("{}.{name}", self.subject)), &self.room.plan),
            lane,
            slots: AHEAD_MAX,
            bytes: AHEAD_BYTES.max(link.client.max_payload().saturating_mul(2)),
            budget: Arc::clone(&self.room.budget),
            watermark: Arc::new(Watermark::default()),
            gone: Some(Box::new({
                let this = Arc::downgrade(self);
                move || {
                    if let Some(this) = this.upgrade() {
                        this.reading.fetch_and(!bit, Ordering::AcqRel);
                        this.vanished();
                    }
                }
            })),
            decode: WaitDecode { shared: Arc::clone(self), is_ordered: lane == ORDERED.0 },
        };
        link.start(intake.run(self.source.pulling.token()));
    }

    /// The stream is gone, and nothing was in it.
    fn vanished(&self) {
        if self.is_made.swap(false, Ordering::AcqRel) {
            self.source.gauge.set(Depth::default(), None);
            let mut known = self.room.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.remove(&self.trigger);
        }
    }

    fn remember(&self) {
        let depth = self.source.gauge.depth();
        let mut known = self.room.known.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_made.load(Ordering::Acquire) {
            known.insert(self.trigger.clone(), depth);
        }
    }
}

/// Reads the entries of an overflow.
struct WaitDecode {
    shared: Arc<Shared>,
    is_ordered: bool,
}

impl Decode for WaitDecode {
    async fn decode(&self, message: Message, place: Place) -> Found {
        let shared = &self.shared;
        let mut amended = None;
        if self.is_ordered {
            let note = shared.room.ledger.own(&note_key(&shared.trigger, place.sequence)).await;
            amended = note.ok().flatten().and_then(Envelope::decode);
        }
        if let Some(envelope) = &amended {
            let mut all = shared.source.amended.lock().unwrap_or_else(PoisonError::into_inner);
            all.insert(place.sequence, envelope.clone());
        }
        let (stream, now) = (&shared.config.name, clock::now());
        let Message { headers, payload, .. } = message;
        Found::of_overflow(headers.as_ref(), payload, stream, place, (amended, now))
    }
}

impl Overflow for NatsOverflow {
    fn put(&self, waiting: Vec<Waiting>) -> Publish {
        let shared = Arc::clone(&self.0);
        let link = &shared.room.link;
        if shared.source.closed.is_cancelled() {
            return down("the overflow is closed");
        }
        if !link.state.is_connected() {
            return down("the connection to NATS is lost");
        }
        let limit = link.client.max_payload().saturating_sub(HEADROOM);
        let mut sizes = waiting.iter().map(|waiting| Event::size(&waiting.event));
        if let Some(size) = sizes.find(|&size| size > limit) {
            shared.room.counts.count(MESSAGE_BYTES_MAX);
            return Publish::done(Err(PublishError::TooLarge { size, limit }));
        }
        let now = clock::now();
        let messages: Vec<_> = waiting.iter().map(|one| shared.message(one, now)).collect();
        let lanes: SmallVec<[usize; 1]> = messages.iter().map(|(lane, _)| *lane).collect();
        let send = move |shared: &Shared| -> SmallVec<[Sending; 1]> {
            let _runtime = shared.room.link.runtime.enter();
            let jet = &shared.room.link.jet;
            messages.into_iter().map(|(_, message)| Sending::start(jet, message)).collect()
        };
        // What was silent for long may have been removed.
        let removed_after = shared.room.removed_after;
        if !shared.last_put.is_recent(removed_after) {
            shared.is_made.store(false, Ordering::Release);
        }
        // In order with what was put before, if the stream is there; else it is made first.
        let (sent, send) = if shared.is_made.load(Ordering::Acquire) {
            (Some(send(&shared)), None)
        } else {
            (None, Some(send))
        };
        Publish::waiting(async move {
            shared.make().await?;
            let sent =
                sent.unwrap_or_else(|| send.map_or_else(SmallVec::new, |send| send(&shared)));
            let put = outgoing::receipts(sent, &shared.source, &shared.room.counts, limit).await;
            let put = match put {
                Ok(position) if !shared.last_put.is_recent(removed_after) => {
                    shared.room.removals.check(&shared.config.name).await.map(|()| position)
                }
                put => put,
            };
            match &put {
                Err(PublishError::Down { .. }) => shared.is_made.store(false, Ordering::Release),
                put => {
                    if put.is_ok() {
                        shared.last_put.now();
                    }
                    lanes.into_iter().for_each(|lane| shared.read(lane));
                }
            }
            shared.remember();
            put
        })
    }

    fn amend(&self, position: Position, envelope: Envelope) -> Publish {
        let shared = &self.0;
        let note = note_key(&shared.trigger, position.0);
        let written = shared.room.ledger.put_own(&note, envelope.encode().into());
        let mut amended = shared.source.amended.lock().unwrap_or_else(PoisonError::into_inner);
        amended.insert(position.0, envelope);
        Publish::waiting(async move { written.await.map(|()| position) })
    }

    fn reader(&self, worker: usize) -> Box<dyn Reader> {
        self.0.source.reader(worker)
    }

    fn depth(&self) -> Depth {
        self.0.source.gauge.depth()
    }

    fn clear(&self) -> Work<Result<usize, PublishError>> {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            let link = &shared.room.link;
            let unknown = |reason: String| PublishError::Unknown { reason };
            if !link.state.is_connected() {
                return Err(PublishError::Down { reason: "the connection to NATS is lost".into() });
            }
            if !shared.is_made.load(Ordering::Acquire) {
                return Ok(0);
            }
            let stream = link.jet.get_stream(&shared.config.name).await;
            let stream = stream.map_err(|error| unknown(error.to_string()))?;
            let last = stream.cached_info().state.last_sequence;
            let purged = stream.purge().sequence(last + 1).await;
            let purged = purged.map_err(|error| unknown(error.to_string()))?;
            shared.source.clear(last);
            shared.source.gauge.set(Depth::default(), None);
            shared.remember();
            Ok(usize::try_from(purged.purged).unwrap_or(usize::MAX))
        })
    }

    fn close(&self) {
        self.0.source.close();
        self.0.remember();
    }
}

impl Drop for NatsOverflow {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for NatsOverflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsOverflow")
            .field("trigger", &self.0.trigger)
            .field("depth", &self.depth())
            .finish_non_exhaustive()
    }
}
