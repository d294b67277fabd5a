//! Runs sources: starts them, starts them again after failures, and stops them.

use std::{
    collections::BTreeMap, hash::BuildHasher as _, panic::AssertUnwindSafe, sync::Arc,
    time::Duration,
};

use channel::Sink;
use futures_util::FutureExt as _;
use tokio::{
    runtime::Handle,
    select,
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::{Backoff, Context, Failure, Notes, PUTS_MAX, Phase, Report, Source, SourceId};

/// A source that ran so long before it failed is waited for as if it failed for the first time.
const STEADY: Duration = Duration::from_secs(60);

/// What all sources of a process share.
#[derive(Clone, Debug)]
pub struct House {
    /// Where they run.
    pub runtime: Handle,
    /// The workers that events may be handed over as; at least one.
    pub workers: usize,
    /// Whether this replica is the one whose sources run.
    pub leads: watch::Receiver<bool>,
    /// What they keep over restarts.
    pub notes: Notes,
}

/// Runs sources. Every task that it starts ends in [`Supervisor::end`].
#[derive(Debug)]
pub struct Supervisor {
    house: House,
    puts: Arc<Semaphore>,
    running: BTreeMap<SourceId, Running>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Running {
    stop: CancellationToken,
    removed: CancellationToken,
    /// Cancelled when the task has ended.
    ended: CancellationToken,
    report: Arc<Report>,
}

impl Supervisor {
    /// One that runs nothing yet.
    pub fn new(house: House) -> Self {
        let puts = Arc::new(Semaphore::new(PUTS_MAX));
        Self { house, puts, running: BTreeMap::new(), tasks: JoinSet::new() }
    }

    /// Runs `source`, in place of the one of that id: once that one has ended, so that two never
    /// make events side by side. Returns what is reported of it.
    pub fn start(
        &mut self,
        id: SourceId,
        source: Arc<dyn Source>,
        sink: Arc<dyn Sink>,
    ) -> Arc<Report> {
        while self.tasks.try_join_next().is_some() {}
        let previous = self.running.remove(&id);
        let report = previous.as_ref().map(|it| Arc::clone(&it.report)).unwrap_or_default();
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let removed = CancellationToken::new();
        let context = Context {
            worker: worker_of(&id, self.house.workers),
            id: id.clone(),
            sink,
            leads: self.house.leads.clone(),
            notes: self.house.notes.clone(),
            report: Arc::clone(&report),
            stop: stop.clone(),
            removed: removed.clone(),
            puts: Arc::clone(&self.puts),
        };
        let guard = ended.clone().drop_guard();
        let task = async move {
            let _ended = guard;
            if let Some(previous) = previous {
                previous.stop.cancel();
                previous.ended.cancelled().await;
            }
            keep_running(source.as_ref(), &context).await;
        };
        self.tasks.spawn_on(task, &self.house.runtime);
        self.running.insert(id, Running { stop, removed, ended, report: Arc::clone(&report) });
        report
    }

    /// Stops a source that its user does not want any more, if it runs; it removes what it left
    /// elsewhere. Returns at once; [`Supervisor::end`] waits.
    pub fn remove(&mut self, id: &SourceId) {
        if let Some(running) = self.running.remove(id) {
            running.removed.cancel();
            running.stop.cancel();
        }
    }

    /// What is reported of the sources that run.
    pub fn reports(&self) -> impl Iterator<Item = (&SourceId, &Arc<Report>)> {
        self.running.iter().map(|(id, running)| (id, &running.report))
    }

    /// Stops all sources and gives them `grace` to end. Returns how many did not; those are aborted.
    pub async fn end(mut self, grace: Duration) -> usize {
        for running in self.running.values() {
            running.stop.cancel();
        }
        let deadline = Instant::now() + grace;
        while let Ok(Some(_)) = time::timeout_at(deadline, self.tasks.join_next()).await {}
        self.tasks.len()
    }
}

/// Events of one source go through one worker, so that they stay in order.
fn worker_of(id: &SourceId, workers: usize) -> usize {
    let hash = std::hash::BuildHasherDefault::<std::hash::DefaultHasher>::default().hash_one(id);
    usize::try_from(hash >> 32).unwrap_or_default() % workers.max(1)
}

async fn keep_running(source: &dyn Source, context: &Context) {
    let mut attempts = 0;
    while !context.stop.is_cancelled() {
        context.report.enter(Phase::Running);
        let since = Instant::now();
        let failure = match AssertUnwindSafe(source.run(context.clone())).catch_unwind().await {
            Ok(Ok(())) => break,
            Ok(Err(failure)) => {
                warn!(source = %context.id, %failure, "a source failed");
                failure
            }
            Err(_) => {
                error!(source = %context.id, "a source panicked");
                Failure { reason: "it panicked".to_owned() }
            }
        };
        attempts = if since.elapsed() < STEADY { attempts + 1 } else { 1 };
        context.report.enter(Phase::Failed { reason: failure.reason, attempts });
        select! {
            biased;
            () = context.stop.cancelled() => {}
            () = time::sleep(Backoff::RESTART.wait(attempts, fastrand::f64())) => {}
        }
    }
    context.report.enter(Phase::Stopped);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use channel::Work;

    use super::*;
    use crate::testing::{Kept, house, id};

    #[derive(Debug, Default)]
    struct Fails {
        starts: AtomicU32,
        running: Arc<AtomicU32>,
    }

    impl Source for Fails {
        fn run(&self, context: Context) -> Work<Result<(), Failure>> {
            let start = self.starts.fetch_add(1, Ordering::SeqCst);
            let running = Arc::clone(&self.running);
            Box::pin(async move {
                match start {
                    0 => Err(Failure { reason: "no route".to_owned() }),
                    1 => panic!("a bug"),
                    _ => {
                        assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "two at a time");
                        context.stop.cancelled().await;
                        time::sleep(Duration::from_secs(1)).await;
                        running.fetch_sub(1, Ordering::SeqCst);
                        Ok(())
                    }
                }
            })
        }
    }

    async fn until(what: impl Fn() -> bool) {
        while !what() {
            time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_fails_or_panics_is_started_again() {
        let mut supervisor = Supervisor::new(house());
        let source = Arc::new(Fails::default());
        let report = supervisor.start(id("a"), source.clone(), Arc::new(Kept::default()));
        until(|| source.running.load(Ordering::SeqCst) == 1).await;
        assert_eq!((report.counts().restarts, report.phase()), (2, Phase::Running));
        assert_eq!(supervisor.end(Duration::from_secs(5)).await, 0);
        assert_eq!(report.phase(), Phase::Stopped);
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_in_place_of_another_waits_for_its_end() {
        let mut supervisor = Supervisor::new(house());
        let running = Arc::new(AtomicU32::new(0));
        let source = || {
            let starts = AtomicU32::new(2);
            Arc::new(Fails { starts, running: Arc::clone(&running) })
        };
        let report = supervisor.start(id("a"), source(), Arc::new(Kept::default()));
        until(|| running.load(Ordering::SeqCst) == 1).await;
        let second = source();
        let same = supervisor.start(id("a"), second.clone(), Arc::new(Kept::default()));
        assert!(Arc::ptr_eq(&report, &same), "what was counted goes on");
        until(|| second.starts.load(Ordering::SeqCst) == 3).await;
        supervisor.remove(&id("a"));
        assert_eq!(supervisor.end(Duration::from_secs(5)).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_does_not_end_is_told() {
        let mut supervisor = Supervisor::new(house());
        let source = Arc::new(Fails { starts: AtomicU32::new(2), ..Fails::default() });
        supervisor.start(id("a"), source.clone(), Arc::new(Kept::default()));
        until(|| source.running.load(Ordering::SeqCst) == 1).await;
        assert_eq!(supervisor.end(Duration::from_millis(10)).await, 1);
    }
}
