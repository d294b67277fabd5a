//! What every source that runs is: told where its events go, and when to stop.

use std::{fmt, future::pending, sync::Arc, time::Duration};

use channel::{Event, Name, PublishError, Refusal, Sink, Work};
use jiff::Timestamp;
use tokio::{
    select,
    sync::{Semaphore, watch},
    time,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{Notes, Patience, Report};

/// Most events on their way into sinks at a time, over all sources of a supervisor.
pub const PUTS_MAX: usize = 256;

/// Failed attempts to hand over one event that are told; later ones are only counted.
const ATTEMPTS_TOLD: u32 = 3;

/// A source by its kind and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId {
    /// Its kind, such as `PingSource`.
    pub kind: &'static str,
    /// Its namespace and name.
    pub name: Name,
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// Why a source could not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    /// In words of one line.
    pub reason: String,
}

/// Something that makes events until it is told to stop.
pub trait Source: fmt::Debug + Send + Sync {
    /// Makes events until `context.stop` is cancelled; then ends soon, without error. After an error
    /// or a panic it is called again, later.
    fn run(&self, context: Context) -> Work<Result<(), Failure>>;
}

/// What a source is given to run with.
#[derive(Clone, Debug)]
pub struct Context {
    /// Which source it is.
    pub id: SourceId,
    /// Where its events go.
    pub sink: Arc<dyn Sink>,
    /// The worker that events are handed over as.
    pub worker: usize,
    /// Whether this replica is the one whose sources run; sources that every replica runs do not ask.
    pub leads: watch::Receiver<bool>,
    /// What it keeps over restarts.
    pub notes: Notes,
    /// Where it counts.
    pub report: Arc<Report>,
    /// When to end.
    pub stop: CancellationToken,
    /// Cancelled before `stop` when the source is gone for good.
    pub(crate) removed: CancellationToken,
    pub(crate) puts: Arc<Semaphore>,
}

/// How handing over an event ended.
#[derive(Debug, PartialEq)]
pub enum Put {
    /// The sink stored it.
    Stored,
    /// The sink will never take it.
    Refused(Refusal),
    /// The source must stop; the event may have been stored.
    Stopped,
}

impl Context {
    /// Whether the source must end because its user does not want it any more, and not because the
    /// process ends or the source was changed.
    pub fn is_removed(&self) -> bool {
        self.removed.is_cancelled()
    }

    /// Resolves when this replica leads, or no longer does. Cancel safe.
    pub async fn until_leads(&self, wanted: bool) {
        let mut leads = self.leads.clone();
        loop {
            if *leads.borrow_and_update() == wanted {
                return;
            }
            if leads.changed().await.is_err() {
                // Nobody is left to say anything else.
                pending::<()>().await;
            }
        }
    }

    /// Hands over an event, again and again until the sink has stored it or refused it for good.
    /// `time` is when it became due.
    pub async fn put(&self, event: &Event, time: Timestamp) -> Put {
        self.put_with(event, time, &Patience::default()).await
    }

    /// The same for as long as `patience` says; then what the sink said last is its refusal.
    pub async fn put_with(&self, event: &Event, time: Timestamp, patience: &Patience) -> Put {
        let put = self.hand_over(self.sink.as_ref(), event, patience).await;
        match &put {
            Put::Stored => self.report.made(time, Timestamp::now()),
            Put::Refused(refusal) => {
                warn!(source = %self.id, %refusal, "an event was refused for good");
                self.report.refused(refusal);
            }
            Put::Stopped => {}
        }
        put
    }

    /// Hands an event to any sink, and counts no more than attempts.
    pub(crate) async fn hand_over(
        &self,
        sink: &dyn Sink,
        event: &Event,
        patience: &Patience,
    ) -> Put {
        let mut attempt = 1;
        loop {
            let refusal = {
                let Ok(_permit) = self.puts.acquire().await else { return Put::Stopped };
                let stored = sink.put(self.worker, event.edit());
                let stored = match patience.timeout {
                    None => stored.await,
                    Some(limit) => {
                        time::timeout(limit, stored).await.unwrap_or_else(|_| Err(late(limit)))
                    }
                };
                match stored {
                    Ok(()) => return Put::Stored,
                    Err(refusal) => refusal,
                }
            };
            let Some(wait) = patience.wait_after(&refusal, attempt, fastrand::f64()) else {
                return Put::Refused(refusal);
            };
            if attempt <= ATTEMPTS_TOLD {
                warn!(source = %self.id, %refusal, attempt, "an event is handed over again");
            }
            self.report.retried();
            attempt += 1;
            select! {
                biased;
                () = self.stop.cancelled() => return Put::Stopped,
                () = time::sleep(wait) => {}
            }
        }
    }
}

fn late(limit: Duration) -> Refusal {
    PublishError::Unknown { reason: format!("the sink did not answer in {limit:?}") }.into()
}
