//! Channels on their way: opened and let go beside the controller, tried again until they open.
//!
//! Of a hub only one channel is opened or let go at a time: each such work takes a [`Turn`] and
//! begins when the one before has ended. Only the end of the process cuts an attempt short: what it opens for a hub
//! that is gone, or wants another channel by then, is let go again.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use channel::{Channel, Hub, Work};
use futures_util::{FutureExt as _, future::poll_immediate};
use tokio::{sync::mpsc, task::JoinSet, time};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::emptying::{Emptied, Emptying, halt};
use crate::{
    channels::{OpenChannel, OpenFailure, OpenRequest, Opener},
    control::{Control, HubState},
};

/// What came of an attempt.
type Attempted = Result<OpenChannel, OpenFailure>;

/// How long one attempt to open a channel may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(60);

/// How long reading dead letters and pauses may take.
const NOTES_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a channel may take to let go of its backend.
pub(super) const END_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an attempt may go on once the process ends.
const ATTEMPT_GRACE: Duration = Duration::from_secs(1);

/// How often a channel that is to be replaced is asked whether it is empty.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// Reports that may wait for the controller.
const REPORTS_MAX: usize = 64;

/// The wait before the second attempt; it doubles with each further one.
const RETRY_FIRST: Duration = Duration::from_millis(500);

/// The longest wait between two attempts.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// How long to wait after so many failures in a row. `draw`, uniform in `[0, 1)`, shortens it by up
/// to a fifth, so that hubs of one server do not come back together.
fn retry_after(failures: u32, draw: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let wait = RETRY_FIRST.saturating_mul(1 << doublings).min(RETRY_MAX);
    wait.mul_f64(1.0 - 0.2 * draw)
}

/// What became of a channel, for the controller.
#[derive(Debug)]
pub struct Report {
    pub(super) hub: Hub,
    /// Which of the works for the hub it is about; what was given up since is not looked at.
    pub(super) ticket: u64,
    pub(super) news: News,
}

#[derive(Debug)]
pub(super) enum News {
    /// It is open. The turn ends with the report: until then nothing else is opened for the hub.
    Opened(OpenChannel, Turn),
    /// It is not, and it will be tried again if the failure says so.
    Failed(OpenFailure),
    /// So many events are left in a channel that is being emptied.
    Left(usize),
    /// A durable channel that is to be replaced need not be waited for any longer.
    Emptied(Emptied),
    /// A closed channel that is to be replaced is done with its events, or had its time.
    Drained,
}

/// Reports of one work.
#[derive(Debug)]
pub(super) struct Teller {
    hub: Hub,
    ticket: u64,
    reports: mpsc::Sender<Report>,
}

impl Teller {
    pub(super) async fn tell(&self, news: News) {
        let report = Report { hub: self.hub.clone(), ticket: self.ticket, news };
        // Nobody waits for it once the process ends.
        drop(self.reports.send(report).await);
    }
}

/// A work for a hub: begins when the one before it has ended, and ends when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    before: Option<CancellationToken>,
    _ends: DropGuard,
}

impl Turn {
    async fn begins(&self) {
        if let Some(before) = &self.before {
            before.cancelled().await;
        }
    }

    fn is_next(&self) -> bool {
        self.before.as_ref().is_none_or(CancellationToken::is_cancelled)
    }
}

/// What came of asking for a channel.
pub(super) enum Start {
    /// It was at hand.
    Open(OpenChannel),
    /// Reports will come.
    UnderWay(UnderWay),
}

/// A channel that is being opened, or drained.
#[derive(Debug)]
pub(super) struct UnderWay {
    pub(super) ticket: u64,
    /// Ends the tries, not an attempt.
    stop: CancellationToken,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The works under way. Dropping it ends them where they are.
#[derive(Debug)]
pub(super) struct Openings {
    opener: Arc<dyn Opener>,
    tasks: JoinSet<()>,
    sender: mpsc::Sender<Report>,
    reports: mpsc::Receiver<Report>,
    /// Fires when the last work for a hub has ended.
    turns: HashMap<Hub, CancellationToken>,
    last_ticket: u64,
    stop: CancellationToken,
}

impl Openings {
    pub(super) fn new(opener: Arc<dyn Opener>) -> Self {
        let (sender, reports) = mpsc::channel(REPORTS_MAX);
        Self {
            opener,
            tasks: JoinSet::new(),
            sender,
            reports,
            turns: HashMap::new(),
            last_ticket: 0,
            stop: CancellationToken::new(),
        }
    }

    /// Begins to open a channel. Does not wait for what is not at hand.
    pub(super) async fn open(&mut self, request: OpenRequest) -> Start {
        let turn = self.turn(&request.hub);
        let under_way = self.under_way();
        let mut begun = None;
        if turn.is_next() {
            let mut first = attempt(&*self.opener, &request);
            begun = match poll_immediate(&mut first).await {
                Some(Ok(open)) => return Start::Open(open),
                Some(Err(failure)) => Some(Box::pin(std::future::ready(Err(failure))) as Work<_>),
                None => Some(first),
            };
        }
        let opening = Opening {
            ending: self.stop.clone(),
            opener: Arc::clone(&self.opener),
            request,
            ticket: under_way.ticket,
            stop: under_way.stop.clone(),
            reports: self.sender.clone(),
        };
        self.tasks.spawn(opening.run(begun, turn));
        Start::UnderWay(under_way)
    }

    /// Waits until a durable channel that is open still is empty; reports what is left until then.
    pub(super) fn empty(&mut self, hub: &Hub, emptying: Emptying) -> UnderWay {
        let turn = self.turn(hub);
        let under_way = self.under_way();
        let stop = under_way.stop.clone();
        let (hub, ticket) = (hub.clone(), under_way.ticket);
        let teller = Teller { hub, ticket, reports: self.sender.clone() };
        self.tasks.spawn(async move {
            turn.begins().await;
            let emptied = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                emptied = emptying.run(&teller) => emptied,
            };
            drop(turn);
            teller.tell(News::Emptied(emptied)).await;
        });
        under_way
    }

    /// Waits until a closed channel is empty, at most `patience`; then reports it. Of one that keeps
    /// its events the lanes come to their end.
    pub(super) fn drain(
        &mut self,
        hub: &Hub,
        state: HubState,
        control: Arc<Control>,
        patience: Duration,
    ) -> UnderWay {
        let turn = self.turn(hub);
        let under_way = self.under_way();
        let report = Report { hub: hub.clone(), ticket: under_way.ticket, news: News::Drained };
        let (reports, stop) = (self.sender.clone(), under_way.stop.clone());
        self.tasks.spawn(async move {
            let HubState { fanout, channel, .. } = state;
            let empty = async {
                if fanout.outlives {
                    return halt(&control, &fanout).await;
                }
                while channel.depth().events > 0 {
                    time::sleep(DRAIN_POLL).await;
                }
            };
            // Whoever comes after this waits for this alone.
            turn.begins().await;
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = time::timeout(patience, empty) => {}
            }
            drop(turn);
            // Nobody waits for it once the process ends.
            drop(reports.send(report).await);
        });
        under_way
    }

    /// Lets go of a channel that nobody uses any more; what comes next for its hub waits for it.
    pub(super) fn let_go(&mut self, hub: &Hub, channel: Arc<dyn Channel>) {
        let turn = self.turn(hub);
        self.tasks.spawn(async move {
            turn.begins().await;
            end(channel).await;
            drop(turn);
        });
    }

    /// Lets go of a channel that came too late. What comes next for its hub waits for it.
    pub(super) fn discard(&mut self, channel: Arc<dyn Channel>, turn: Turn) {
        self.tasks.spawn(async move {
            end(channel).await;
            drop(turn);
        });
    }

    /// The next report; cancel safe.
    pub(super) async fn report(&mut self) -> Report {
        match self.reports.recv().await {
            Some(report) => report,
            // Not while this holds a sender itself.
            None => std::future::pending().await,
        }
    }

    /// A report that waits already.
    pub(super) fn waiting_report(&mut self) -> Option<Report> {
        self.reports.try_recv().ok()
    }

    /// Ends all works, by `deadline`: those that wait at once, attempts when they end.
    pub(super) async fn end(mut self, deadline: Instant) {
        self.stop.cancel();
        self.reports.close();
        let ended = async {
            while let Some(report) = self.reports.recv().await {
                if let News::Opened(open, _turn) = report.news {
                    end(open.channel).await;
                }
            }
            while self.tasks.join_next().await.is_some() {}
        };
        if time::timeout_at(deadline.into(), ended).await.is_err() {
            tracing::warn!("a channel was still being opened or let go");
        }
    }

    fn turn(&mut self, hub: &Hub) -> Turn {
        while self.tasks.try_join_next().is_some() {}
        self.turns.retain(|_, ends| !ends.is_cancelled());
        let ends = CancellationToken::new();
        let before = self.turns.insert(hub.clone(), ends.clone());
        Turn { before, _ends: ends.drop_guard() }
    }

    fn under_way(&mut self) -> UnderWay {
        self.last_ticket += 1;
        UnderWay { ticket: self.last_ticket, stop: self.stop.child_token() }
    }
}

/// A hub's channel being opened, as often as it takes.
struct Opening {
    /// The process ends.
    ending: CancellationToken,
    opener: Arc<dyn Opener>,
    request: OpenRequest,
    ticket: u64,
    stop: CancellationToken,
    reports: mpsc::Sender<Report>,
}

impl Opening {
    /// `begun` is an attempt under way: it goes to its end whatever is wanted by then.
    async fn run(self, mut begun: Option<Work<Attempted>>, turn: Turn) {
        turn.begins().await;
        let mut failures = 0;
        loop {
            let next = match begun.take() {
                Some(next) => next,
                None if self.stop.is_cancelled() => return,
                None => attempt(&*self.opener, &self.request),
            };
            let attempted = tokio::select! {
                biased;
                attempted = next => attempted,
                () = self.given_up() => return,
            };
            let failure = match attempted {
                Ok(open) => return self.hand_over(open, turn).await,
                Err(failure) => failure,
            };
            failures += 1;
            let wait = retry_after(failures, fastrand::f64());
            let is_last = !failure.retry;
            self.log(&failure, failures, wait);
            if self.report(News::Failed(failure)).await.is_err() || is_last {
                return;
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = time::sleep(wait) => {}
            }
        }
    }

    /// An attempt has had its time since the process began to end. What has not opened holds nothing.
    async fn given_up(&self) {
        self.ending.cancelled().await;
        time::sleep(ATTEMPT_GRACE).await;
    }

    async fn hand_over(&self, open: OpenChannel, turn: Turn) {
        let unwanted = if self.stop.is_cancelled() {
            Some((open, turn))
        } else {
            match self.report(News::Opened(open, turn)).await {
                Err(Report { news: News::Opened(open, turn), .. }) => Some((open, turn)),
                _ => None,
            }
        };
        if let Some((open, turn)) = unwanted {
            end(open.channel).await;
            drop(turn);
        }
    }

    async fn report(&self, news: News) -> Result<(), Report> {
        let report = Report { hub: self.request.hub.clone(), ticket: self.ticket, news };
        self.reports.send(report).await.map_err(|refused| refused.0)
    }

    fn log(&self, failure: &OpenFailure, failures: u32, wait: Duration) {
        let hub = &self.request.hub;
        let OpenFailure { reason, message: why, retry } = failure;
        if failures > 1 {
            tracing::debug!(%hub, reason, why, failures, "the channel is still not open");
        } else if *retry {
            let retry_ms = wait.as_millis();
            tracing::warn!(%hub, reason, why, retry_ms, "the channel cannot be opened yet");
        } else {
            tracing::error!(%hub, reason, why, "the channel cannot be opened");
        }
    }
}

/// One attempt. A panic in it is a bug of ours, and no reason to give the hub up.
fn attempt(opener: &dyn Opener, request: &OpenRequest) -> Work<Attempted> {
    let opening = AssertUnwindSafe(opener.open(request.clone())).catch_unwind();
    let request = request.clone();
    Box::pin(async move {
        match time::timeout(OPEN_TIMEOUT, opening).await {
            Ok(Ok(Ok(channel))) => read_notes(channel, &request).await,
            Ok(Ok(Err(failure))) => Err(failure),
            Ok(Err(_panic)) => {
                Err(OpenFailure::for_now("ChannelFailed", "opening it failed unexpectedly"))
            }
            Err(_elapsed) => {
                let message = format!("it did not open within {} s", OPEN_TIMEOUT.as_secs());
                Err(OpenFailure::for_now("ChannelUnreachable", message))
            }
        }
    })
}

/// Reads what a channel that has opened has written down; without that it is of no use.
async fn read_notes(channel: Arc<dyn Channel>, request: &OpenRequest) -> Attempted {
    let notes = OpenChannel::of(Arc::clone(&channel), request);
    match time::timeout(NOTES_TIMEOUT, notes).await {
        Ok(Some(open)) => Ok(open),
        Ok(None) | Err(_) => {
            end(channel).await;
            let message = "what is written down in it could not be read";
            Err(OpenFailure::for_now("ChannelUnreadable", message))
        }
    }
}

async fn end(channel: Arc<dyn Channel>) {
    channel.close();
    let ended = channel.end(Instant::now() + END_TIMEOUT);
    if time::timeout(END_TIMEOUT, ended).await.is_err() {
        tracing::warn!(channel = channel.kind(), "the channel did not let go in time");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_wait_is_never_nothing_and_never_over_its_bound(failures: u32, draw in 0.0..1.0) {
            let wait = retry_after(failures, draw);
            prop_assert!(wait >= RETRY_FIRST.mul_f64(0.79) && wait <= RETRY_MAX, "{:?}", wait);
            prop_assert!(retry_after(failures.saturating_add(1), 0.0) >= wait);
        }
    }

    #[test]
    fn waits_double_up_to_half_a_minute_and_never_pass_it() {
        for (failures, most_ms) in [
            (0, 500),
            (1, 500),
            (2, 1_000),
            (3, 2_000),
            (6, 16_000),
            (7, 30_000),
            (u32::MAX, 30_000),
        ] {
            let most = Duration::from_millis(most_ms);
            assert_eq!(retry_after(failures, 0.0), most, "{failures}");
            let least = retry_after(failures, 0.999_999);
            assert!(least < most && least > most.mul_f64(0.79), "{failures}: {least:?}");
        }
    }
}
