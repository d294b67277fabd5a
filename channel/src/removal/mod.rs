//! Taking away the storage of an overflow that has long been empty, though replicas share it.
//!
//! # Why
//!
//! A server deletes a topic or a stream whatever is in it by then, and another replica may be about to
//! put to it. So who removes says so in the ledger first, then looks whether it is empty, and deletes.
//! And who puts to an overflow that was silent for long asks the ledger *after* its put was stored
//! whether somebody is removing: if so, the put has failed, and is made again. Either the put was stored
//! before the look, which then finds it, or the announcement was there before the question.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::{runtime::Handle, sync::watch, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Change, Ledger, PublishError, clock};

/// How long a put waits to hear what the ledger has said before it.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an announcement may be acted on.
const FRESH: Duration = Duration::from_secs(30);

/// How long an announcement holds puts back when whoever made it is gone.
const STALE: Duration = Duration::from_secs(300);

/// Begins the keys of announcements; what is removed and who removes it follow.
const REMOVING: &str = "removing/";

/// Begins the keys of questions; who asks follows.
const ASKING: &str = "asking/";

/// What is being removed, of all overflows of a broker.
pub(crate) struct Removals {
    ledger: Arc<dyn Ledger>,
    /// This process, among those that share the ledger.
    me: String,
    count: AtomicU64,
    is_following: AtomicBool,
    announced: Mutex<HashMap<String, BTreeMap<String, SystemTime>>>,
    /// The last question of ours that the ledger has told.
    heard: watch::Sender<u64>,
    /// Questions that were begun.
    asked: AtomicU64,
    /// The last one that was answered. Held while one is asked: they are heard in their order.
    answered: tokio::sync::Mutex<u64>,
    runtime: Handle,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// An announcement that stands.
pub(crate) struct Announced {
    key: String,
    since: Instant,
}

impl Announced {
    /// Whether those who put still heed it.
    pub(crate) fn is_fresh(&self) -> bool {
        self.since.elapsed() < FRESH
    }
}

impl Removals {
    /// Its task runs on `runtime` from the first use until `stop`.
    pub(crate) fn new(
        ledger: Arc<dyn Ledger>,
        runtime: Handle,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            ledger,
            me: format!("{:016x}", fastrand::u64(..)),
            count: AtomicU64::new(0),
            is_following: AtomicBool::new(false),
            announced: Mutex::default(),
            heard: watch::Sender::new(0),
            asked: AtomicU64::new(0),
            answered: tokio::sync::Mutex::default(),
            runtime,
            tasks,
            stop,
        })
    }

    fn announced(&self) -> MutexGuard<'_, HashMap<String, BTreeMap<String, SystemTime>>> {
        // Every change is made whole before anything can panic, so a poisoned lock is sound.
        self.announced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that `storage` is about to be removed. What is stored in it from now on is put again.
    ///
    /// # Errors
    ///
    /// What the ledger says; nothing may then be removed.
    pub(crate) async fn announce(&self, storage: &str) -> Result<Announced, PublishError> {
        let since = Instant::now();
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let key = format!("{REMOVING}{}/{}-{number}", token(storage), self.me);
        let now = clock::to_micros(SystemTime::now());
        self.ledger.put(&key, Bytes::from(now.to_string())).await?;
        Ok(Announced { key, since })
    }

    /// Takes an announcement back, whether or not anything was removed.
    pub(crate) async fn withdraw(&self, announced: Announced) {
        if let Err(error) = self.ledger.remove(&announced.key).await {
            // It goes stale by itself.
            tracing::debug!(key = announced.key, %error, "an announcement stays for a while");
        }
    }

    /// Whether what was stored in `storage` before this call stays there.
    ///
    /// # Errors
    ///
    /// [`PublishError::Down`] when somebody is removing it, [`PublishError::Unknown`] when that could
    /// not be learned. Either way it is to be put again.
    pub(crate) async fn check(self: &Arc<Self>, storage: &str) -> Result<(), PublishError> {
        let unknown = |reason: String| PublishError::Unknown { reason };
        self.follow();
        match timeout(ASK_TIMEOUT, self.ask()).await {
            Ok(asked) => asked.map_err(|error| unknown(error.to_string()))?,
            Err(_late) => return Err(unknown("the ledger is not heard of".into())),
        }
        let oldest = SystemTime::now().checked_sub(STALE);
        let is_removed = self.announced().get(&token(storage)).is_some_and(|announced| {
            announced.values().any(|&at| oldest.is_none_or(|oldest| at > oldest))
        });
        if is_removed {
            let reason = format!("{storage} was empty for long and is being removed");
            return Err(PublishError::Down { reason });
        }
        Ok(())
    }

    /// Returns when the ledger has told all that was in it when this was called.
    async fn ask(&self) -> Result<(), PublishError> {
        let before = self.asked.load(Ordering::Acquire);
        let mut answered = self.answered.lock().await;
        if *answered > before {
            // One that was begun since is an answer to this one too.
            return Ok(());
        }
        let number = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        let key = format!("{ASKING}{}", self.me);
        self.ledger.put(&key, Bytes::from(number.to_string())).await?;
        // The sender lives as long as this does.
        self.heard.subscribe().wait_for(|&heard| heard >= number).await.ok();
        // One that stays is overwritten by the next.
        self.ledger.remove(&key).await.ok();
        *answered = number;
        Ok(())
    }

    fn follow(self: &Arc<Self>) {
        if self.is_following.swap(true, Ordering::AcqRel) {
            return;
        }
        let this = Arc::clone(self);
        let following = async move {
            let mut watch = this.ledger.watch();
            loop {
                let next = poll_fn(|cx| watch.poll_change(cx));
                let Some(Some(change)) = this.stop.run_until_cancelled(next).await else { return };
                this.hear(change);
            }
        };
        // Nobody needs the handle: the tracker awaits the task.
        drop(self.tasks.spawn_on(following, &self.runtime));
    }

    fn hear(&self, change: Change) {
        let (key, value) = match change {
            Change::Put { key, value } => (key, Some(value)),
            Change::Removed { key } => (key, None),
            Change::Loaded => return,
        };
        let number = || std::str::from_utf8(value.as_deref()?).ok()?.parse::<u64>().ok();
        if let Some((storage, whose)) =
            key.strip_prefix(REMOVING).and_then(|rest| rest.split_once('/'))
        {
            let mut announced = self.announced();
            match number() {
                Some(micros) => {
                    let all = announced.entry(storage.to_owned()).or_default();
                    all.insert(whose.to_owned(), clock::from_micros(micros));
                }
                None => {
                    if let Some(all) = announced.get_mut(storage) {
                        all.remove(whose);
                        if all.is_empty() {
                            announced.remove(storage);
                        }
                    }
                }
            }
        } else if key.strip_prefix(ASKING) == Some(&self.me)
            && let Some(number) = number()
        {
            self.heard.send_if_modified(|heard| {
                let is_more = number > *heard;
                *heard = number.max(*heard);
                is_more
            });
        }
    }
}

/// What stands for a name in a key.
fn token(storage: &str) -> String {
    let mut token = String::with_capacity(32);
    for byte in Sha256::digest(storage).iter().take(16) {
        write!(token, "{byte:02x}").ok();
    }
    token
}

/// When something was last stored in an overflow by this process.
#[derive(Debug, Default)]
pub(crate) struct LastPut(Mutex<Option<Instant>>);

impl LastPut {
    /// Whether that is so short ago that nobody can have found it silent for `removed_after`.
    pub(crate) fn is_recent(&self, removed_after: Duration) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() < removed_after / 2)
    }

    /// Something was stored, and stays.
    pub(crate) fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

/// Which storage was found empty, and since when it has been as it is now.
#[derive(Debug, Default)]
pub(crate) struct Silences(BTreeMap<String, (u64, Instant)>);

impl Silences {
    /// Notes how every empty storage is: its name, and a number that grows with what is stored in it.
    /// Returns those that have been so for `removed_after`.
    pub(crate) fn note(
        &mut self,
        found: impl IntoIterator<Item = (String, u64)>,
        now: Instant,
        removed_after: Duration,
    ) -> Vec<String> {
        let before = std::mem::take(&mut self.0);
        for (name, end) in found {
            let since = match before.get(&name) {
                Some(&(last, since)) if last == end => since,
                _ => now,
            };
            self.0.insert(name, (end, since));
        }
        let long = self
            .0
            .iter()
            .filter(|(_, (_, since))| now.saturating_duration_since(*since) >= removed_after);
        long.map(|(name, _)| name.clone()).collect()
    }
}
