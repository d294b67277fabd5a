//! The task that pulls messages from one consumer: as many as there is room for, for as long as it is wanted.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_nats::{Message, Subject, Subscriber, jetstream::consumer::pull};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::{
    select,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{debug, error, info};

use crate::{
    Budget,
    nats::{
        acks::{GIVE_BACK, tell},
        desk::Arrival,
        incoming::{self, Found, Notice, Place},
        link::Link,
        provision::{ensure_consumer, is_not_found},
        source::Source,
        watermark::Watermark,
    },
};

/// Most messages of one request.
const BATCH_MAX: usize = 1000;
/// How long the server remembers a request.
const EXPIRES: Duration = Duration::from_secs(30);
/// How often the server says that it remembers a request, while nothing comes.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Longest silence while requests are out; then the consumer is looked at anew.
const SILENCE_MAX: Duration = Duration::from_secs(12);
/// Longest wait for the end of a subscription.
const DRAIN_MAX: Duration = Duration::from_secs(1);
/// Wait until memory is asked for again when there was none.
const MEMORY_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// Longest wait between two looks at a consumer that cannot be had.
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(5);

/// Reads what messages hold.
pub(super) trait Decode: Send + Sync + 'static {
    /// The event of a message.
    fn decode(&self, message: Message, place: Place) -> impl Future<Output = Found> + Send;
}

/// One consumer, and where its messages go.
pub(super) struct Intake<D> {
    pub(super) link: Arc<Link>,
    pub(super) source: Arc<Source>,
    /// What it is called where problems are told.
    pub(super) what: String,
    pub(super) stream: String,
    pub(super) consumer: pull::Config,
    /// Which of the source's lanes it fills.
    pub(super) lane: usize,
    /// Most messages of the lane here at once.
    pub(super) slots: usize,
    /// Most bytes on their way at once; more than any message.
    pub(super) bytes: usize,
    pub(super) budget: Arc<Budget>,
    /// Up to where everything is settled, as far as it was ever known.
    pub(super) watermark: Arc<Watermark>,
    /// Called when the stream is not there any more; then pulling ends. `None`: it must be there.
    pub(super) gone: Option<Box<dyn Fn() + Send + Sync>>,
    pub(super) decode: D,
}

/// Why pulling came to an end.
enum End {
    Stopped,
    Lost(String),
}

impl<D: Decode> Intake<D> {
    /// Pulls until the source is closed or the link ends. Whatever happens to the consumer, it is
    /// made again and pulled from again.
    pub(super) async fn run(self, _pulling: TaskTrackerToken) {
        let mut failures = 0_u32;
        loop {
            let settled = self.watermark.get();
            let ensured = ensure_consumer(&self.link.jet, &self.stream, &self.consumer, settled);
            let pulled = select! {
                biased;
                () = self.stopped() => return,
                ensured = ensured => match ensured {
                    Ok(info) => {
                        self.watermark.raise(info.ack_floor.stream_sequence);
                        self.link.state.set_problem(&self.what, None);
                        failures = 0;
                        self.pull().await
                    }
                    Err(_) if self.is_gone().await => return,
                    Err(error) => {
                        self.link.check_client().await;
                        if self.link.state.is_connected() {
                            self.link.state.set_problem(&self.what, Some(error.to_string()));
                        }
                        End::Lost(error.to_string())
                    }
                },
            };
            match pulled {
                End::Stopped => return,
                End::Lost(reason) => debug!(stream = self.stream, reason, "pulling anew"),
            }
            let wait = Duration::from_millis(50).saturating_mul(2_u32.saturating_pow(failures));
            failures = (failures + 1).min(10);
            let mut connections = self.link.state.connections();
            select! {
                biased;
                () = self.stopped() => return,
                () = sleep(wait.min(AGAIN_AFTER_MAX)) => {}
                _ = connections.changed() => {}
            }
        }
    }

    /// Whether the stream may be removed, and was.
    async fn is_gone(&self) -> bool {
        let Some(gone) = &self.gone else { return false };
        let found = self.link.jet.get_stream(&self.stream).await;
        let is_gone = found.is_err_and(|error| is_not_found(&error.kind()));
        if is_gone {
            gone();
        }
        is_gone
    }

    async fn stopped(&self) {
        select! {
            biased;
            () = self.link.stop.cancelled() => {}
            () = self.link.closing.cancelled() => {}
            () = self.source.closed.cancelled() => {}
        }
    }

    async fn pull(&self) -> End {
        let inbox = self.link.client.new_inbox();
        let Ok(messages) = self.link.client.subscribe(inbox.clone()).await else {
            return End::Lost("the client takes no subscription".into());
        };
        let mut pulling = Pulling {
            intake: self,
            inbox,
            messages,
            asked: 0,
            parked: VecDeque::new(),
            last_sign: Instant::now(),
        };
        let end = pulling.run().await;
        if matches!(end, End::Stopped) {
            pulling.send_back().await;
        }
        // What there was no memory for is forgotten here: the server sends it again.
        for (sequence, _) in pulling.parked {
            self.source.remove(sequence);
        }
        end
    }
}

/// One subscription, until it ends.
struct Pulling<'a, D> {
    intake: &'a Intake<D>,
    inbox: String,
    messages: Subscriber,
    /// Messages that the server was asked for and has neither sent nor refused.
    asked: usize,
    /// Events that there was no memory for.
    parked: VecDeque<(u64, Found)>,
    last_sign: Instant,
}

impl<D: Decode> Pulling<'_, D> {
    async fn run(&mut self) -> End {
        let link = &self.intake.link;
        let mut connections = link.state.connections();
        let Some(room) = self.intake.source.room(self.intake.lane) else { return End::Stopped };
        loop {
            let here = self.intake.source.desk().lane_len(self.intake.lane);
            let more = to_ask(self.intake.slots, here, self.asked, self.parked.is_empty());
            if more > 0 && !self.ask(more).await {
                return End::Lost("the client takes no request".into());
            }
            select! {
                biased;
                () = self.intake.stopped() => return End::Stopped,
                message = self.messages.next() => {
                    let Some(message) = message else {
                        return End::Lost("the subscription ended".into());
                    };
                    self.last_sign = Instant::now();
                    if let Err(reason) = self.take(message).await {
                        return End::Lost(reason);
                    }
                }
                _ = connections.changed() => return End::Lost("connected again".into()),
                () = room.notified() => {}
                () = sleep(MEMORY_AGAIN_AFTER), if !self.parked.is_empty() => self.unpark(),
                () = sleep_until(self.last_sign + SILENCE_MAX), if self.asked > 0 => {
                    return End::Lost("no sign of life".into());
                }
            }
        }
    }

    /// Ends the subscription, and gives back what came on it too late.
    async fn send_back(&mut self) {
        let drained = async {
            self.messages.drain().await.ok()?;
            while let Some(message) = self.messages.next().await {
                let Some(reply) = message.reply else { continue };
                let Some(place) = incoming::place(&reply) else { continue };
                self.return_late(place.sequence, reply).await;
            }
            Some(())
        };
        if timeout(DRAIN_MAX, drained).await.is_err() {
            debug!(
                stream = self.intake.stream,
                "what came too late comes again after the ack wait"
            );
        }
    }

    async fn return_late(&self, sequence: u64, reply: Subject) {
        let Intake { link, source, lane, .. } = self.intake;
        let is_now = source.desk().arrive_late(sequence, reply.clone(), *lane);
        if is_now {
            tell(link, reply, GIVE_BACK).await;
        }
    }

    async fn ask(&mut self, count: usize) -> bool {
        let intake = self.intake;
        let name = intake.consumer.durable_name.as_deref().unwrap_or_default();
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{name}", intake.stream);
        let request = serde_json::json!({
            "batch": count,
            "max_bytes": intake.bytes,
            "expires": nanos(EXPIRES),
            "idle_heartbeat": nanos(HEARTBEAT),
        });
        let publish = intake.link.client.publish_with_reply(
            subject,
            self.inbox.clone(),
            Bytes::from(request.to_string()),
        );
        if self.asked == 0 {
            self.last_sign = Instant::now();
        }
        self.asked += count;
        matches!(timeout(SILENCE_MAX, publish).await, Ok(Ok(())))
    }

    async fn take(&mut self, message: Message) -> Result<(), String> {
        let intake = self.intake;
        // What was stored may have a status too, if its writer gave it one.
        let address = message.reply.clone().and_then(|reply| {
            let place = incoming::place(&reply)?;
            Some((reply, place))
        });
        let Some((reply, place)) = address else {
            let Some(status) = message.status else {
                info!(stream = intake.stream, "a message without an address was sent to us");
                return Ok(());
            };
            let description = message.description.as_deref();
            return match incoming::notice(status, description, message.headers.as_ref()) {
                Notice::Alive => Ok(()),
                Notice::Over(left) => {
                    self.asked = self.asked.saturating_sub(left);
                    Ok(())
                }
                Notice::Lost(reason) => Err(reason),
            };
        };
        self.asked = self.asked.saturating_sub(1);
        if place.sequence <= intake.source.cleared.load(Ordering::Acquire) {
            return Ok(());
        }
        let arrival = intake.source.desk().arrive(place.sequence, reply.clone(), intake.lane);
        match arrival {
            Some(Arrival::New) => {
                let found = intake.decode.decode(message, place).await;
                self.parked.push_back((place.sequence, found));
                self.unpark();
                Ok(())
            }
            // It is lent, or settled and about to be acknowledged.
            Some(Arrival::Known) => Ok(()),
            None => {
                // The end is being told at this moment.
                self.return_late(place.sequence, reply).await;
                Ok(())
            }
        }
    }

    /// Offers the events that there is memory for, in their order.
    fn unpark(&mut self) {
        let intake = self.intake;
        while let Some((sequence, found)) = self.parked.pop_front() {
            let Some(charge) = intake.budget.try_charge(found.draft.cost()) else {
                self.parked.push_front((sequence, found));
                return;
            };
            match found.finish(charge) {
                Some(ready) => intake.source.offer(sequence, ready),
                None => error!(sequence, "an event that is none was read; it will come again"),
            }
        }
    }
}

/// How many messages to ask for now. Of `slots`, so many are here and so many asked for. A few free
/// ones are not worth a request while others are out; without memory there is none.
fn to_ask(slots: usize, here: usize, asked: usize, has_memory: bool) -> usize {
    let free = slots.saturating_sub(here).saturating_sub(asked);
    let worth = if asked == 0 { 1 } else { (slots / 8).max(1) };
    if has_memory && free >= worth && asked < slots.div_ceil(2) { free.min(BATCH_MAX) } else { 0 }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_asked_for_than_there_is_room() {
        for (slots, here, asked, has_memory, expected) in [
            (4096, 0, 0, true, 1000),
            (500, 0, 0, true, 500),
            (500, 500, 0, true, 0),
            (500, 499, 0, true, 1),
            (500, 0, 0, false, 0),
            (500, 100, 300, true, 0),
            (500, 100, 200, true, 200),
            (500, 290, 200, true, 0),
            (1, 0, 0, true, 1),
            (1, 0, 1, true, 0),
        ] {
            let more = to_ask(slots, here, asked, has_memory);
            assert_eq!(more, expected, "{slots} {here} {asked} {has_memory}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_here_and_asked_for_never_passes_the_slots(
            slots in 1_usize..5000, here in 0_usize..6000, asked in 0_usize..6000, memory: bool,
        ) {
            let more = to_ask(slots, here, asked, memory);
            proptest::prop_assert!(more == 0 || here + asked + more <= slots);
        }
    }
}
