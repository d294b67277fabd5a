//! One kind of object, listed and then watched: a stream of changes that goes on through failures.

use std::{collections::BTreeSet, time::Duration};

use channel::Name;
use futures_util::StreamExt as _;
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, WatchParams},
    core::DynamicObject,
    runtime::{
        WatchStreamExt as _,
        utils::Backoff,
        watcher::{self, Event},
    },
};
use tokio::{sync::mpsc, time};
use tokio_util::sync::CancellationToken;

use super::error::{in_words, is_not_found};

/// Seconds after which a watch is begun anew: one that broke without a word is noticed by then.
const WATCH_SECONDS: u32 = 60;

/// The wait after the first failure; it doubles with each further one, with chance in it.
const RETRY_FIRST: Duration = Duration::from_millis(250);

/// The longest wait after a failure.
const RETRY_MAX: Duration = Duration::from_secs(15);

/// How often a server that could not be reached is asked whether it answers.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// How long it may take to answer.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// What became of the objects of one kind.
#[derive(Debug)]
pub(super) enum Change {
    /// One is new, or another.
    Put(Name, Box<DynamicObject>),
    /// One is gone.
    Gone(Name),
    /// All there are have been told of: these. Others are gone.
    Listed(BTreeSet<Name>),
    /// The cluster does not have the kind, or not the object that is asked for.
    Absent,
    /// They cannot be told for now, for this reason.
    Failed(String),
    /// They can be told again, and nothing has changed.
    Recovered,
}

/// A change, and the watch that it comes from.
#[derive(Debug)]
pub(super) struct News<S> {
    pub(super) from: S,
    pub(super) change: Change,
}

/// What to watch.
pub(super) struct Watched {
    pub(super) api: Api<DynamicObject>,
    /// How it is called in messages, such as `triggers.eventing.knative.dev`.
    pub(super) called: String,
    /// The only object that counts, by its name.
    pub(super) only: Option<String>,
}

/// Tells `changes` what becomes of the objects until `stop` fires.
///
/// A failure is told once, not again while it stays the same.
pub(super) async fn follow<S: Clone>(
    watched: Watched,
    from: S,
    changes: mpsc::Sender<News<S>>,
    stop: CancellationToken,
) {
    let mut config = watcher::Config::default().timeout(WATCH_SECONDS);
    if let Some(name) = &watched.only {
        config = config.fields(&format!("metadata.name={name}"));
    }
    let stream = watcher::watcher(watched.api.clone(), config).backoff(Waits::default());
    let mut stream = std::pin::pin!(stream.take_until(stop.clone().cancelled_owned()));
    let mut listing = BTreeSet::new();
    let mut told = None;
    // Whether it failed last: that it goes on, a watch tells only with the next change.
    let mut is_cut_off = false;
    loop {
        let next = tokio::select! {
            biased;
            next = stream.next() => next,
            () = answers(&watched.api), if is_cut_off => {
                is_cut_off = false;
                told = None;
                let news = News { from: from.clone(), change: Change::Recovered };
                match stop.run_until_cancelled(changes.send(news)).await {
                    Some(Ok(())) => continue,
                    _ => return,
                }
            }
        };
        let Some(event) = next else { return };
        is_cut_off = event.is_err();
        let change = match event {
            Ok(Event::Init) => {
                listing.clear();
                continue;
            }
            Ok(Event::InitApply(object)) => {
                let name = name_of(&object);
                listing.insert(name.clone());
                Change::Put(name, Box::new(object))
            }
            Ok(Event::InitDone) => Change::Listed(std::mem::take(&mut listing)),
            Ok(Event::Apply(object)) => Change::Put(name_of(&object), Box::new(object)),
            Ok(Event::Delete(object)) => Change::Gone(name_of(&object)),
            Err(error) => failed(&watched.called, &error),
        };
        let is_failure = match &change {
            Change::Failed(why) if told.as_ref() == Some(why) => continue,
            Change::Failed(why) => {
                told = Some(why.clone());
                true
            }
            Change::Absent if told.as_deref() == Some("") => continue,
            Change::Absent => {
                told = Some(String::new());
                true
            }
            _ => false,
        };
        if !is_failure {
            told = None;
        }
        let told = changes.send(News { from: from.clone(), change });
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            sent = told => if sent.is_err() { return },
        }
    }
}

/// Waits until the objects can be listed and watched.
async fn answers(api: &Api<DynamicObject>) {
    let (one, watch) = (ListParams::default().limit(1), WatchParams::default().timeout(1));
    loop {
        time::sleep(ASK_EVERY).await;
        let asked = async {
            let listed = api.list(&one).await?;
            let version = listed.metadata.resource_version.unwrap_or_default();
            api.watch(&watch, &version).await.map(drop)
        };
        if time::timeout(ASK_TIMEOUT, asked).await.is_ok_and(|answer| answer.is_ok()) {
            return;
        }
    }
}

fn name_of(object: &DynamicObject) -> Name {
    Name::new(object.namespace().unwrap_or_default(), object.name_any())
}

fn failed(called: &str, error: &watcher::Error) -> Change {
    let (doing, error) = match error {
        watcher::Error::InitialListFailed(error) if is_not_found(error) => return Change::Absent,
        watcher::Error::InitialListFailed(error) => ("list", error),
        watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
            ("watch", error)
        }
        watcher::Error::WatchError(status) => {
            return Change::Failed(format!("cannot watch {called}: {}", status.message));
        }
        watcher::Error::NoResourceVersion => {
            return Change::Failed(format!("cannot watch {called}: it has no resource versions"));
        }
    };
    Change::Failed(in_words(&format!("cannot {doing} {called}"), error))
}

/// The waits after failures in a row.
#[derive(Debug, Default)]
pub(super) struct Waits {
    failures: u32,
}

impl Waits {
    /// The wait after so many failures. `draw`, uniform in `[0, 1)`, shortens it by up to a half, so
    /// that replicas do not come back together.
    fn after(failures: u32, draw: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        RETRY_FIRST.saturating_mul(1 << doublings).min(RETRY_MAX).mul_f64(1.0 - 0.5 * draw)
    }
}

impl Iterator for Waits {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        Some(Self::after(self.failures, fastrand::f64()))
    }
}

impl Backoff for Waits {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_chance_only_shortens_them() {
        let waits: Vec<u128> = (1..9).map(|n| Waits::after(n, 0.0).as_millis()).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 15000, 15000]);
        assert_eq!(Waits::after(u32::MAX, 0.5), RETRY_MAX.mul_f64(0.75));
    }
}
