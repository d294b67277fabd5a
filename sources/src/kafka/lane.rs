//! The records of one partition -> the sink, in order or side by side.

use std::{
    collections::VecDeque,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use channel::{PublishError, Refusal};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use jiff::Timestamp;
use tokio::{
    select,
    sync::{Notify, Semaphore},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    dead_letters::{DeadLetters, DeadRecord, Why},
    offsets::Offsets,
    record::Content,
};
use crate::{Context, PUTS_MAX, Patience, Put};

/// Most records of one partition from the first that has not reached its end on.
pub const WINDOW_MAX: usize = 256;

/// Bytes of the records of one partition that wait or are on their way, beyond which no more are
/// taken.
pub const WINDOW_BYTES_MAX: usize = 2 << 20;

/// Most records of one partition on their way into the sink, where no order is kept.
pub const UNORDERED_MAX: usize = 32;

/// Most poison records of one partition on their way to the dead letters, beside the others.
pub const ASIDE_MAX: usize = 16;

/// Most records of one source on their way into its sink: one that hangs must leave room for other
/// sources.
pub const SOURCE_PUTS_MAX: usize = PUTS_MAX / 4;

/// What the lanes of a source share.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) context: Context,
    pub(super) patience: Patience,
    pub(super) is_ordered: bool,
    pub(super) dead_letters: DeadLetters,
    /// Of [`SOURCE_PUTS_MAX`].
    pub(super) puts: Semaphore,
}

/// A record on its way.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) offset: i64,
    pub(super) bytes: usize,
    pub(super) time: Option<Timestamp>,
    pub(super) content: Content,
}

/// One partition for as long as it is ours.
#[derive(Debug, Default)]
pub(super) struct Lane {
    state: Mutex<State>,
    news: Notify,
    /// Take on no more.
    winding: CancellationToken,
    /// End now.
    stop: CancellationToken,
    ended: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Taken>,
    offsets: Offsets,
    /// Of what waits and what is on its way.
    bytes: usize,
    is_paused: bool,
    is_closed: bool,
}

/// What to do about reading on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Pause,
    Resume,
}

/// How a record ended.
enum End {
    Settled,
    Dead(DeadRecord),
    Stopped,
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a record on.
    ///
    /// # Errors
    ///
    /// The record itself, when its offset is one that came before: the log is another one now.
    pub(super) fn push(&self, taken: Taken) -> Result<(), Taken> {
        let mut state = self.lock();
        if !state.offsets.receive(taken.offset) {
            return Err(taken);
        }
        state.bytes += taken.bytes;
        state.queue.push_back(taken);
        drop(state);
        self.news.notify_one();
        Ok(())
    }

    /// What is to be done about reading on, when something is.
    pub(super) fn reading(&self) -> Option<Reading> {
        let mut state = self.lock();
        let (records, bytes) = (state.offsets.len(), state.bytes);
        let is_full = records >= WINDOW_MAX || bytes >= WINDOW_BYTES_MAX;
        let has_room = records <= WINDOW_MAX / 2 && bytes <= WINDOW_BYTES_MAX / 2;
        let reading = match state.is_paused {
            false if is_full => Reading::Pause,
            true if has_room => Reading::Resume,
            _ => return None,
        };
        state.is_paused = reading == Reading::Pause;
        Some(reading)
    }

    pub(super) fn is_paused(&self) -> bool {
        self.lock().is_paused
    }

    /// How far may be committed, when that has grown.
    pub(super) fn take_commit(&self) -> Option<i64> {
        self.lock().offsets.take_commit()
    }

    /// Ends once what was taken on is delivered.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.news.notify_one();
    }

    /// Ends once what is on its way into the sink, or to the dead letters, has arrived; what waits is
    /// left.
    pub(super) fn wind_down(&self) {
        self.winding.cancel();
    }

    /// Ends now.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    fn settle(&self, offset: i64, bytes: usize) {
        let mut state = self.lock();
        state.offsets.settle(offset);
        state.bytes = state.bytes.saturating_sub(bytes);
    }

    /// The next record; none when no more will come. Cancel safe.
    async fn next(&self) -> Option<Taken> {
        loop {
            let mut news = pin!(self.news.notified());
            news.as_mut().enable();
            {
                let mut state = self.lock();
                match state.queue.pop_front() {
                    Some(taken) => return Some(taken),
                    None if state.is_closed => return None,
                    None => {}
                }
            }
            news.await;
        }
    }

    /// Delivers until it is told to end.
    pub(super) async fn run(self: Arc<Self>, desk: Arc<Desk>) {
        let _ended = self.ended.clone().drop_guard();
        let puts_max = if desk.is_ordered { 1 } else { UNORDERED_MAX };
        let (mut puts, mut asides) = (FuturesUnordered::new(), FuturesUnordered::new());
        let mut is_last = false;
        loop {
            if is_last && puts.is_empty() && asides.is_empty() {
                return;
            }
            let has_room = puts.len() < puts_max && asides.len() < ASIDE_MAX && !is_last;
            select! {
                biased;
                () = self.stop.cancelled() => return,
                () = self.winding.cancelled(), if !is_last => is_last = true,
                Some((offset, bytes, end)) = puts.next() => match end {
                    End::Settled => self.settle(offset, bytes),
                    End::Dead(record) => {
                        let desk = &desk;
                        asides.push(async move {
                            let is_kept = desk.dead_letters.bury(&desk.context, record).await;
                            (offset, bytes, is_kept)
                        });
                    }
                    // It was not stored: whoever reads the partition next begins with it.
                    End::Stopped => return,
                },
                Some((offset, bytes, is_kept)) = asides.next() => match is_kept {
                    true => self.settle(offset, bytes),
                    false => return,
                },
                taken = self.next(), if has_room => match taken {
                    Some(taken) => puts.push(deliver(&desk, taken)),
                    None => is_last = true,
                },
            }
        }
    }
}

async fn deliver(desk: &Desk, taken: Taken) -> (i64, usize, End) {
    let Taken { offset, bytes, time, content } = taken;
    let end = match content {
        Content::Poison(event, detail) => {
            let (id, of) = (event.id(), event.source());
            warn!(source = %desk.context.id, id, of, detail, "a record is no CloudEvent");
            desk.context.report.refused(&detail);
            End::Dead(DeadRecord { event, why: Why::Undecodable, detail })
        }
        Content::Event(event) => {
            let time = time.unwrap_or_else(Timestamp::now);
            let Ok(_permit) = desk.puts.acquire().await else {
                return (offset, bytes, End::Stopped);
            };
            match desk.context.put_with(&event, time, &desk.patience).await {
                Put::Stored => End::Settled,
                Put::Stopped => End::Stopped,
                Put::Refused(refusal) => {
                    let detail = refusal.to_string();
                    End::Dead(DeadRecord { event, why: why(&refusal), detail })
                }
            }
        }
    };
    (offset, bytes, end)
}

fn why(refusal: &Refusal) -> Why {
    match refusal {
        Refusal::NotStored(PublishError::TooLarge { .. }) => Why::Refused,
        Refusal::NotStored(_) => Why::Exhausted,
        _ => Why::Refused,
    }
}
