//! Emptying a durable channel that another is to replace: when that is done, and what is left until then.

use std::{sync::Arc, time::Duration};

use channel::Channel;
use dispatcher::Fanout;
use tokio::time::{self, Instant};

use super::opening::{News, Teller};
use crate::{control::Control, worker::Command};

/// How often the channel is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How often it is told how much is left.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// How long the log must have been empty: an event may have been on its way when the gate was shut.
const QUIET: Duration = Duration::from_secs(1);

/// The same for a channel on a server, of which it is known a while later how much it holds.
const QUIET_SHARED: Duration = Duration::from_secs(5);

/// How long what waits in overflows may become no less: then its subscribers do not take it.
const OVERFLOW_PATIENCE: Duration = Duration::from_secs(10);

/// How long the channel may be down.
const DOWN_PATIENCE: Duration = Duration::from_secs(5);

/// How often lanes that end are looked at.
const HALT_POLL: Duration = Duration::from_millis(20);

/// Why a channel is looked at no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Emptied {
    /// Its log is empty, and so are the overflows of triggers that deliver.
    Empty,
    /// It is down: nobody knows when it can be emptied.
    Down,
}

/// What is left at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Left {
    log: usize,
    /// In overflows of triggers that are not paused.
    waiting: usize,
}

/// What was seen so far.
#[derive(Debug)]
struct Progress {
    quiet: Duration,
    empty_since: Option<Instant>,
    down_since: Option<Instant>,
    /// The least that waited since the log was empty, and since when.
    least: Option<(usize, Instant)>,
}

impl Progress {
    fn new(quiet: Duration) -> Self {
        Self { quiet, empty_since: None, down_since: None, least: None }
    }

    fn look(&mut self, now: Instant, is_well: bool, left: Left) -> Option<Emptied> {
        if !is_well {
            let since = *self.down_since.get_or_insert(now);
            return (now - since >= DOWN_PATIENCE).then_some(Emptied::Down);
        }
        self.down_since = None;
        if left.log > 0 {
            (self.empty_since, self.least) = (None, None);
            return None;
        }
        let empty_since = *self.empty_since.get_or_insert(now);
        let (least, since) = *self.least.get_or_insert((left.waiting, now));
        if left.waiting < least {
            self.least = Some((left.waiting, now));
            return None;
        }
        let is_stuck = now - since >= OVERFLOW_PATIENCE;
        let is_over = now - empty_since >= self.quiet && (left.waiting == 0 || is_stuck);
        is_over.then_some(Emptied::Empty)
    }
}

/// A hub's channel that is being emptied.
#[derive(Debug)]
pub(super) struct Emptying {
    pub(super) fanout: Arc<Fanout>,
    pub(super) channel: Arc<dyn Channel>,
}

impl Emptying {
    /// Waits until the channel is empty, and tells how many events are left when their number
    /// has changed. Cancel safe.
    pub(super) async fn run(self, teller: &Teller) -> Emptied {
        let is_shared = self.channel.ledger().is_some_and(|ledger| ledger.is_shared());
        let mut progress = Progress::new(if is_shared { QUIET_SHARED } else { QUIET });
        let mut told = (self.left(), Instant::now());
        loop {
            let (left, now) = (self.left(), Instant::now());
            let is_well = self.channel.health().is_ok() && self.channel.failure().is_none();
            if let Some(emptied) = progress.look(now, is_well, left) {
                return emptied;
            }
            if left != told.0 && now - told.1 >= TELL_EVERY {
                told = (left, now);
                teller.tell(News::Left(left.log + left.waiting)).await;
            }
            time::sleep(LOOK_EVERY).await;
        }
    }

    /// Events that are left.
    pub(super) fn events(&self) -> usize {
        let Left { log, waiting } = self.left();
        log + waiting
    }

    fn left(&self) -> Left {
        let routes = self.fanout.routes.load();
        let delivering = routes.triggers().iter().filter(|trigger| !trigger.plan.paused);
        let waiting = delivering.map(|trigger| trigger.overflow.depth().events).sum();
        Left { log: self.channel.depth().events, waiting }
    }
}

/// Ends the lanes of a hub whose channel is closed: nothing starts any more, and what is under way
/// comes to its end, so that it is not delivered again.
pub(super) async fn halt(control: &Control, fanout: &Arc<Fanout>) {
    for worker in control.workers() {
        if worker.send(Command::Halt { fanout: Arc::clone(fanout) }).await.is_err() {
            tracing::error!("a worker has ended");
        }
    }
    loop {
        let busy = |reply| Command::Busy { fanout: Arc::clone(fanout), reply };
        let busy = control.ask_all(busy).await;
        if busy.into_iter().flatten().sum::<usize>() == 0 {
            return;
        }
        time::sleep(HALT_POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(log: usize, waiting: usize) -> Left {
        Left { log, waiting }
    }

    /// What the looks come to, one every second.
    fn looks(looks: &[(bool, Left)]) -> Vec<Option<Emptied>> {
        let began = Instant::now();
        let mut progress = Progress::new(Duration::from_secs(2));
        let at = |seconds: usize| began + Duration::from_secs(seconds.try_into().unwrap());
        let looks = looks.iter().enumerate();
        looks.map(|(index, (well, left))| progress.look(at(index), *well, *left)).collect()
    }

    #[test]
    fn it_is_empty_once_nothing_came_for_a_while() {
        let seen = [left(2, 0), left(0, 0), left(0, 0), left(1, 0), left(0, 0), left(0, 0)];
        let mut seen: Vec<_> = seen.into_iter().map(|left| (true, left)).collect();
        assert_eq!(looks(&seen), [None; 6]);
        seen.push((true, left(0, 0)));
        assert_eq!(looks(&seen).pop(), Some(Some(Emptied::Empty)));
    }

    #[test]
    fn a_log_that_holds_something_is_waited_for_without_end() {
        assert!(looks(&[(true, left(1, 0)); 10_000]).iter().all(Option::is_none));
    }

    #[test]
    fn overflows_are_waited_for_as_long_as_they_become_less() {
        let mut seen: Vec<_> =
            (0..100).rev().map(|left_over| (true, left(0, 5 + left_over))).collect();
        seen.extend([(true, left(0, 5)); 9]);
        assert!(looks(&seen).iter().all(Option::is_none));
        seen.push((true, left(0, 5)));
        assert_eq!(looks(&seen).pop(), Some(Some(Emptied::Empty)));
    }

    #[test]
    fn a_channel_that_is_down_is_not_waited_for() {
        let mut seen = vec![(false, left(3, 0)); 5];
        seen.push((true, left(3, 0)));
        seen.extend([(false, left(3, 0)); 5]);
        assert!(looks(&seen).iter().all(Option::is_none));
        seen.push((false, left(3, 0)));
        assert_eq!(looks(&seen).pop(), Some(Some(Emptied::Down)));
    }
}
