//! The end of the process: what is in hand reaches its end, then everything is taken down in order.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    cli::Failure,
    config,
    control::{Control, HubState},
    controller::Controller,
    worker::{Command, Unanswered},
};

/// How often a process that ends looks whether everything has reached its end.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// Ids of events that are named when they are lost.
const LOST_IDS_MAX: usize = 100;

/// What of the process has to come to an end.
pub(super) struct Ending {
    pub(super) control: Arc<Control>,
    pub(super) controller: Controller,
    pub(super) draining: Arc<AtomicBool>,
    pub(super) drain: config::Drain,
    pub(super) stops: [CancellationToken; 3],
    pub(super) tasks: JoinSet<()>,
    pub(super) workers: Vec<JoinHandle<io::Result<()>>>,
}

/// Lets everything in hand reach its end, then takes the process down.
///
/// # Errors
///
/// When events had not reached their end in time, or a worker panicked.
pub(super) async fn end(mut ending: Ending) -> Result<(), Failure> {
    ending.controller.stop_sources().await;
    let control = &ending.control;
    let left = drain(control, &ending.draining, ending.drain).await;
    let lost = lost_ids(control, left).await;
    let dead_letters = dead_letters(control);
    ending.stops.iter().for_each(CancellationToken::cancel);
    while ending.tasks.join_next().await.is_some() {}
    let workers = ending.workers;
    let joined = tokio::task::spawn_blocking(move || {
        workers.into_iter().filter_map(|worker| worker.join().err()).count()
    })
    .await;
    let waiting = waiting(control);
    ending.controller.end().await;
    if joined.unwrap_or(1) > 0 {
        return Err(Failure::Failed("a worker ended with a panic".to_owned()));
    }
    if dead_letters > 0 {
        tracing::warn!(dead_letters, "dead letters were kept in memory and go with the process");
    }
    if waiting > 0 {
        tracing::info!(events = waiting, "events are stored and go on when the process is back");
    }
    if left == 0 {
        tracing::info!("every event reached its end");
        return Ok(());
    }
    tracing::error!(events = left, ids = ?lost, "events are lost: they had not reached their end");
    Err(Failure::Lost(format!("{left} events had not reached their end")))
}

/// Dead letters that go with the process, of all brokers.
fn dead_letters(control: &Control) -> usize {
    let inventory = control.inventory.load();
    let brokers = inventory.delivering().filter(|broker| !broker.fanout.outlives);
    brokers.map(|broker| broker.fanout.dead_letters.held().0).sum()
}

/// Events that are stored and outlive the process.
fn waiting(control: &Control) -> usize {
    let inventory = control.inventory.load_full();
    let brokers = inventory.delivering().filter(|broker| broker.fanout.outlives);
    brokers.map(HubState::stored).sum()
}

/// Waits until nothing is left or the time is over. Returns what is left.
async fn drain(control: &Control, draining: &AtomicBool, drain: config::Drain) -> usize {
    control.set_ending();
    // Load balancers go on sending for a while: `/readyz` already says no.
    tokio::time::sleep(drain.lag).await;
    draining.store(true, Ordering::Release);
    // What outlives the process is not lent any more: it goes on after the next start.
    let inventory = control.inventory.load_full();
    let brokers = inventory.delivering();
    brokers.filter(|broker| broker.fanout.outlives).for_each(|broker| broker.channel.close());
    for worker in control.workers() {
        if worker.send(Command::Stop).await.is_err() {
            tracing::error!("a worker has ended");
        }
    }
    let deadline = Instant::now() + drain.timeout;
    let mut quiet = 0;
    loop {
        let left = pending(control).await;
        // An event may be between two hands, as a reply is: look twice before it is over.
        quiet = if left == 0 { quiet + 1 } else { 0 };
        if quiet == 2 || Instant::now() >= deadline {
            return left;
        }
        tokio::time::sleep(DRAIN_POLL).await;
    }
}

/// Events that have not reached their end: stored and not settled, or in a lane. Of brokers whose
/// events outlive the process, those under way or on their way into storage.
async fn pending(control: &Control) -> usize {
    let inventory = control.inventory.load_full();
    let stored = |outlives: bool| -> usize {
        let brokers = inventory.delivering();
        let brokers = brokers.filter(|broker| broker.fanout.outlives == outlives);
        brokers.map(HubState::stored).sum()
    };
    let stored = stored(false);
    let answers = control.ask_all(|reply| Command::Pending { reply }).await;
    let in_lanes = answers.into_iter().map(|answer| match answer {
        Ok(pending) => pending,
        // What it has in hand is not known: it is not over yet.
        Err(Unanswered::Late) => 1,
        Err(Unanswered::Gone(_)) => 0,
    });
    stored.max(in_lanes.sum())
}

/// Ids of events that wait, for a last word on them.
async fn lost_ids(control: &Control, left: usize) -> Vec<String> {
    let mut ids = Vec::new();
    if left == 0 {
        return ids;
    }
    for worker in control.workers() {
        let limit = LOST_IDS_MAX.saturating_sub(ids.len());
        let more = worker.ask(|reply| Command::WaitingIds { limit, reply }).await;
        ids.extend(more.unwrap_or_default());
    }
    ids
}
