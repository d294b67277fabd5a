//! Waiting for a condition with a deadline, and background tasks that end with their owner.

use std::fmt::Debug;
use std::future::Future;
use std::panic::Location;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

const EVERY: Duration = Duration::from_millis(20);

/// Asks again and again until the answer is `Ok`, and gives what it holds.
///
/// # Panics
///
/// At the deadline, with the last `Err` as the reason.
#[track_caller]
pub fn eventually<T, E, F, Fut>(deadline: Duration, ask: F) -> impl Future<Output = T>
where
    E: Debug,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let place = Location::caller();
    async move {
        match within(deadline, ask).await {
            Ok(found) => found,
            Err(last) => panic!("still not so after {deadline:?} ({place}): {last:?}"),
        }
    }
}

/// As [`eventually`], but gives the last `Err` back instead of panicking.
pub async fn within<T, E, F, Fut>(deadline: Duration, mut ask: F) -> Result<T, E>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let end = Instant::now() + deadline;
    loop {
        match ask().await {
            Ok(found) => return Ok(found),
            Err(last) if Instant::now() >= end => return Err(last),
            Err(_) => sleep(EVERY).await,
        }
    }
}

/// A task that is aborted when this is dropped.
#[derive(Debug)]
pub struct Background<T: 'static = ()> {
    task: JoinSet<T>,
}

impl<T: Send + 'static> Background<T> {
    /// Starts the task on the current runtime.
    pub fn start(work: impl Future<Output = T> + Send + 'static) -> Self {
        let mut task = JoinSet::new();
        task.spawn(work);
        Self { task }
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// When the task panicked, with the same words.
    pub async fn join(mut self) -> T {
        match self.task.join_next().await.expect("one task was started") {
            Ok(result) => result,
            Err(failed) => match failed.try_into_panic() {
                Ok(words) => std::panic::resume_unwind(words),
                Err(failed) => panic!("background task: {failed}"),
            },
        }
    }
}
