//! One timer for all schedules.

use std::{
    collections::HashMap,
    fmt,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    select,
    sync::{Notify, watch},
    time,
};
use tokio_util::sync::CancellationToken;

use super::{
    Schedule,
    timetable::{Tick, Timetable},
};

/// The clock is looked at least so often: a timer does not notice that the clock was set, or that
/// the machine slept.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Tells the time of day.
type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Wakes those who follow a schedule. Clones share the timer; [`Alarm::run`] must run for one of them.
#[derive(Clone)]
pub struct Alarm {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    table: Mutex<Table>,
    /// Something fires earlier than was known.
    changed: Notify,
}

#[derive(Debug)]
struct Table {
    timetable: Timetable,
    followers: HashMap<u64, watch::Sender<Latest>>,
}

/// The newest tick of a schedule, and what was due so far.
#[derive(Clone, Copy, Debug, Default)]
struct Latest {
    time: Option<Timestamp>,
    ticks: u64,
}

impl Alarm {
    /// An alarm that goes by the machine's clock.
    pub fn new() -> Self {
        Self::with_clock(Timestamp::now)
    }

    /// An alarm that goes by `clock`.
    pub fn with_clock(clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let table = Table { timetable: Timetable::new(clock()), followers: HashMap::new() };
        let table = Mutex::new(table);
        Self { shared: Arc::new(Shared { clock: Arc::new(clock), table, changed: Notify::new() }) }
    }

    /// The time of day.
    pub fn now(&self) -> Timestamp {
        (self.shared.clock)()
    }

    /// The ticks of `schedule` after `since`, until what is returned is dropped.
    pub fn follow(&self, schedule: Arc<Schedule>, since: Timestamp) -> Ticks {
        let (sender, receiver) = watch::channel(Latest::default());
        let mut table = self.shared.lock();
        let before = table.timetable.next();
        let key = table.timetable.add(schedule, since);
        table.followers.insert(key, sender);
        if table.timetable.next() != before {
            self.shared.changed.notify_one();
        }
        Ticks { alarm: self.clone(), key, receiver, taken: 0 }
    }

    /// Wakes those who follow, until `stop` fires.
    pub async fn run(&self, stop: CancellationToken) {
        loop {
            let wait = self.shared.fire();
            select! {
                biased;
                () = stop.cancelled() => return,
                () = self.shared.changed.notified() => {}
                () = time::sleep(wait) => {}
            }
        }
    }
}

impl Default for Alarm {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarm").field("followers", &self.shared.lock().followers.len()).finish()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those whose time has come. Returns how long to wait for the next.
    fn fire(&self) -> Duration {
        let now = (self.clock)();
        let mut table = self.lock();
        for (key, tick) in table.timetable.advance(now) {
            if let Some(follower) = table.followers.get(&key) {
                follower.send_modify(|latest| {
                    latest.time = Some(tick.time);
                    latest.ticks += tick.skipped + 1;
                });
            }
        }
        let next = table.timetable.next().map(|next| now.duration_until(next));
        let next = next.and_then(|wait| Duration::try_from(wait).ok()).unwrap_or(LOOK_EVERY);
        next.min(LOOK_EVERY)
    }
}

/// The ticks of one schedule. Those that are not taken in time are skipped, but for the newest.
#[derive(Debug)]
pub struct Ticks {
    alarm: Alarm,
    key: u64,
    receiver: watch::Receiver<Latest>,
    taken: u64,
}

impl Ticks {
    /// The next tick, or the newest of those that were due since the last one. Cancel safe.
    pub async fn next(&mut self) -> Tick {
        loop {
            let latest = *self.receiver.borrow_and_update();
            if let Some(time) = latest.time.filter(|_| latest.ticks > self.taken) {
                let skipped = latest.ticks - self.taken - 1;
                self.taken = latest.ticks;
                return Tick { time, skipped };
            }
            if self.receiver.changed().await.is_err() {
                pending::<()>().await;
            }
        }
    }
}

impl Drop for Ticks {
    fn drop(&mut self) {
        let mut table = self.alarm.shared.lock();
        table.timetable.remove(self.key);
        table.followers.remove(&self.key);
    }
}
