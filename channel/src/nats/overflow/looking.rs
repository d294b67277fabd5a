//! Looking what the server has of an overflow: other replicas put and settle too.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_nats::jetstream::stream;
use futures_util::StreamExt as _;
use tokio::{
    select,
    time::{Instant, MissedTickBehavior, interval},
};
use tracing::debug;

use super::{Shared, lane::lane_name};
use crate::{
    Depth,
    nats::{provision::is_not_found, source::LANES},
};

const TICK: Duration = Duration::from_secs(1);
/// How often the server is asked although nothing changed here: another replica may have put something.
const LOOK_EVERY: Duration = Duration::from_secs(10);

impl Shared {
    /// Asks the server what is there: reads the lanes that hold something, whoever put it there,
    /// and forgets what was acknowledged and is still there.
    pub(super) async fn look(self: &Arc<Self>, is_due: bool) -> Result<(), async_nats::Error> {
        let moment = self.source.gauge.moment();
        let link = &self.room.link;
        let stream = match link.jet.get_stream(&self.config.name).await {
            Ok(stream) => stream,
            Err(error) if is_not_found(&error.kind()) => {
                self.vanished();
                return Ok(());
            }
            // The server is away: what is known stays.
            Err(error) => return Err(error.into()),
        };
        self.is_made.store(true, Ordering::Release);
        let state = stream.cached_info().state.clone();
        if state.messages > 0 {
            let mut subjects = stream.info_with_subjects(format!("{}.>", self.subject)).await?;
            while let Some(subject) = subjects.next().await {
                let (subject, count) = subject?;
                let name = subject.rsplit('.').next().unwrap_or_default();
                let known = (0..LANES).find(|&lane| lane_name(lane) == name);
                let Some(lane) = known.filter(|_| count > 0) else { continue };
                self.read(lane);
                if is_due {
                    self.forget_acknowledged(&stream, name, &subject, count as u64).await?;
                }
            }
        }
        let settled_here = self.source.desk().settled() as u64;
        let depth = Depth {
            events: usize::try_from(state.messages.saturating_sub(settled_here))
                .unwrap_or(usize::MAX),
            bytes: usize::try_from(state.bytes).unwrap_or(usize::MAX),
        };
        if moment.is_some() || is_due {
            self.source.gauge.set(depth, moment);
        }
        self.remember();
        Ok(())
    }

    /// Removes what was acknowledged of the `count` messages of a subject and not deleted, if there is
    /// any: a purge makes the server forget what it was given back, until the ack wait is over.
    async fn forget_acknowledged(
        &self,
        stream: &stream::Stream,
        consumer: &str,
        subject: &str,
        count: u64,
    ) -> Result<(), async_nats::Error> {
        // Without its consumer nothing of a subject was ever acknowledged.
        let Ok(info) = stream.consumer_info(consumer).await else { return Ok(()) };
        let floor = info.ack_floor.stream_sequence;
        let unacknowledged = info.num_pending + info.num_ack_pending as u64;
        if floor > 0 && count > unacknowledged {
            stream.purge().filter(subject).sequence(floor + 1).await?;
        }
        Ok(())
    }
}

/// Looks after an overflow until it is closed or the link ends.
pub(super) async fn look_after(shared: Arc<Shared>) {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looked: Option<Instant> = None;
    loop {
        let link = &shared.room.link;
        let stopped = async || {
            select! {
                biased;
                () = link.stop.cancelled() => {}
                () = link.closing.cancelled() => {}
                () = shared.source.closed.cancelled() => {}
            }
        };
        select! {
            biased;
            () = stopped() => return,
            _ = tick.tick() => {}
        }
        let is_due = looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY);
        if !link.state.is_connected() || !(is_due || shared.source.gauge.take_stale()) {
            continue;
        }
        let done = select! {
            biased;
            () = stopped() => return,
            done = shared.look(is_due) => done,
        };
        looked = Some(looked.filter(|_| !is_due).unwrap_or_else(Instant::now));
        if let Err(error) = done {
            debug!(trigger = %shared.trigger, error = %error, "nothing is known of an overflow");
        }
    }
}
