//! One worker: a thread with its own runtime, listening socket, readers, lanes and connections.

use std::{
    collections::HashMap, io, net::TcpListener, panic::AssertUnwindSafe, rc::Rc, sync::Arc,
    thread::JoinHandle,
};

use arc_swap::ArcSwap;
use channel::{Channel, Hub};
use dispatcher::{
    Fanout, LaneReport, Settings, Worker, breaker,
    http::{Client, ClientCounters, ClientSettings},
};
use futures_util::FutureExt;
use tokio::{
    sync::{mpsc, oneshot},
    task::LocalSet,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::ingress::{self, BoundTally, Connections, Doors, Gates, Ingress, IngressTally, Limits};

/// Orders that may wait for a worker.
const MAILBOX_LEN: usize = 64;

/// How long a worker may take to answer.
const ANSWER_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);

/// How long a hub's reader rests after a panic, so that a bug cannot spin.
const PANIC_REST: std::time::Duration = std::time::Duration::from_secs(1);

/// How often a worker closes connections that nobody uses any more.
const EXPIRE_EVERY: std::time::Duration = std::time::Duration::from_secs(1);

/// An order to a worker, from the control side. None of them is on an event's way.
#[derive(Debug)]
pub enum Command {
    /// Accept connections, now that the resources are in place.
    Accept {
        /// The worker's own socket.
        listener: TcpListener,
    },
    /// Read the hub's channel and dispatch its events, until the channel is closed and empty.
    Open {
        /// The hub.
        fanout: Arc<Fanout>,
        /// Its channel.
        channel: Arc<dyn Channel>,
    },
    /// Follow a change of the hub's triggers.
    Refresh {
        /// The hub.
        fanout: Arc<Fanout>,
    },
    /// Forget a deleted hub.
    Forget {
        /// The hub.
        hub: Hub,
    },
    /// Say what became of events.
    Report {
        /// Where to.
        reply: oneshot::Sender<WorkerReport>,
    },
    /// Send dead letters again; answers how many were taken on.
    Redrive {
        /// The hub that holds them.
        fanout: Arc<Fanout>,
        /// Which ones.
        ids: Vec<u64>,
        /// Where to.
        reply: oneshot::Sender<usize>,
    },
    /// Go on sending dead letters to their sinks that an earlier process had not got there.
    ResumeSinks {
        /// The hub that holds them.
        fanout: Arc<Fanout>,
    },
    /// End the deliveries of hubs whose events outlive the process.
    Stop,
    /// End the deliveries of one hub whose channel is closed.
    Halt {
        /// The hub.
        fanout: Arc<Fanout>,
    },
    /// Say how many events of one hub are under way, or on their way into storage.
    Busy {
        /// The hub.
        fanout: Arc<Fanout>,
        /// Where to.
        reply: oneshot::Sender<usize>,
    },
    /// Close the breaker of a subscriber; answers the state it was in, if there is one.
    ResetBreaker {
        /// The subscriber.
        url: Arc<str>,
        /// Where to.
        reply: oneshot::Sender<Option<breaker::State>>,
    },
    /// Say how many events have not reached their end.
    Pending {
        /// Where to.
        reply: oneshot::Sender<usize>,
    },
    /// Say the ids of events that wait, at most so many.
    WaitingIds {
        /// How many at most.
        limit: usize,
        /// Where to.
        reply: oneshot::Sender<Vec<String>>,
    },
}

/// What one worker reports.
#[derive(Clone, Debug, Default)]
pub struct WorkerReport {
    /// The lanes of each hub.
    pub lanes: Vec<(Hub, Vec<LaneReport>)>,
    /// What the way in has seen, by hub.
    pub ingress: HashMap<Hub, IngressTally>,
    /// What it refused before a hub was known.
    pub unrouted: IngressTally,
    /// How often each bound of the way in was reached.
    pub bounds: BoundTally,
    /// What the client that delivers has done.
    pub client: ClientCounters,
}

/// The way to give a worker orders.
#[derive(Clone, Debug)]
pub struct Mailbox(mpsc::Sender<Command>);

impl Mailbox {
    /// Gives an order; waits while many are waiting already.
    ///
    /// # Errors
    ///
    /// When the worker has ended.
    pub async fn send(&self, command: Command) -> Result<(), Gone> {
        self.0.send(command).await.map_err(|_| Gone)
    }

    /// Asks something, and waits for the answer, at most 2 s.
    ///
    /// Dropping the future takes the question back, unless the worker is just carrying it out.
    ///
    /// # Errors
    ///
    /// When the worker has ended, or has something else to do for all that time.
    pub async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Unanswered> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.send(command(reply)).await?;
            answer.await.map_err(|_| Gone)
        };
        let answered = tokio::time::timeout(ANSWER_TIMEOUT, asked).await;
        Ok(answered.map_err(|_elapsed| Unanswered::Late)??)
    }

    /// A mailbox and what its worker reads.
    pub(crate) fn open() -> (Self, mpsc::Receiver<Command>) {
        let (sender, commands) = mpsc::channel(MAILBOX_LEN);
        (Self(sender), commands)
    }
}

/// Why a worker gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// It never will.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// It did not in time.
    #[error("the worker did not answer within {} s", ANSWER_TIMEOUT.as_secs())]
    Late,
}

/// The worker has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the worker has ended")]
pub struct Gone;

/// What all workers are given.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The gates of all hubs.
    pub gates: Arc<ArcSwap<Gates>>,
    /// The sources that are called.
    pub doors: Doors,
    /// The bounds of the way in.
    pub limits: Limits,
    /// Open connections.
    pub connections: Arc<Connections>,
    /// Whether the process is shutting down.
    pub draining: Arc<std::sync::atomic::AtomicBool>,
    /// Ends the way in.
    pub stop_accepting: CancellationToken,
    /// Ends the worker.
    pub stop: CancellationToken,
    /// What holds for all deliveries.
    pub settings: Settings,
    /// What holds for all outgoing connections.
    pub client: ClientSettings,
}

/// Starts worker `index`, which obeys its mailbox until `stop` fires.
///
/// # Errors
///
/// When the thread cannot be started.
pub fn start(index: usize, shared: Shared) -> io::Result<(Mailbox, JoinHandle<io::Result<()>>)> {
    let (mailbox, commands) = Mailbox::open();
    let thread = std::thread::Builder::new()
        .name(format!("worker-{index}"))
        .spawn(move || run(index, &shared, commands))?;
    Ok((mailbox, thread))
}

fn run(index: usize, shared: &Shared, commands: mpsc::Receiver<Command>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let client = Client::new(shared.client.clone());
        let worker = Worker::new(index, client, shared.settings);
        let ingress = Ingress::new(
            Rc::clone(&worker),
            shared.limits.clone(),
            Arc::clone(&shared.gates),
            shared.doors.clone(),
            Arc::clone(&shared.draining),
        );
        let tasks = TaskTracker::new();
        tasks.spawn_local(tidy(Rc::clone(&worker)));
        Desk { worker, ingress, tasks, shared: shared.clone() }.obey(commands).await;
    });
    Ok(())
    // What is still under way is dropped with the set; its events are not settled.
}

async fn tidy(worker: Rc<Worker>) {
    let mut ticks = tokio::time::interval(EXPIRE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        worker.tidy();
        channel::give_back();
    }
}

/// Dispatches a hub's events until its channel is closed and empty. A panic in there is a bug of
/// ours: it is logged by the hook, the event in hand is lent again, and reading goes on after a rest.
async fn read(worker: Rc<Worker>, fanout: Arc<Fanout>, channel: Arc<dyn Channel>) {
    loop {
        let reader = channel.reader(worker.index());
        let reading = Rc::clone(&worker).read(Arc::clone(&fanout), reader);
        if AssertUnwindSafe(reading).catch_unwind().await.is_ok() {
            return;
        }
        tokio::time::sleep(PANIC_REST).await;
    }
}

/// Where a worker's orders are carried out.
struct Desk {
    worker: Rc<Worker>,
    ingress: Rc<Ingress>,
    tasks: TaskTracker,
    shared: Shared,
}

impl Desk {
    async fn obey(&self, mut commands: mpsc::Receiver<Command>) {
        loop {
            let command = tokio::select! {
                biased;
                () = self.shared.stop.cancelled() => return,
                command = commands.recv() => command,
            };
            let Some(command) = command else { return };
            self.carry_out(command);
        }
    }

    fn carry_out(&self, command: Command) {
        let worker = &self.worker;
        match command {
            Command::Accept { listener } => self.accept(listener),
            Command::Open { fanout, channel } => {
                worker.open(&fanout);
                self.tasks.spawn_local(read(Rc::clone(worker), fanout, channel));
            }
            Command::Refresh { fanout } => worker.refresh(&fanout),
            Command::Forget { hub } => {
                worker.forget(&hub);
                self.ingress.forget(&hub);
            }
            Command::Report { reply } => {
                let report = WorkerReport {
                    lanes: worker.report(),
                    ingress: self.ingress.tallies(),
                    unrouted: self.ingress.unrouted(),
                    bounds: self.ingress.bounds_reached(),
                    client: worker.client_counters(),
                };
                answer(reply, report);
            }
            // Whoever asked was told that it is not done.
            Command::Redrive { reply, .. } if reply.is_closed() => {}
            Command::ResetBreaker { reply, .. } if reply.is_closed() => {}
            Command::Redrive { fanout, ids, reply } => {
                let redrive = Rc::clone(worker).redrive(fanout, ids);
                self.tasks.spawn_local(async move { answer(reply, redrive.await) });
            }
            Command::ResumeSinks { fanout } => worker.resume_sinks(&fanout),
            Command::Stop => worker.stop(),
            Command::Halt { fanout } => worker.halt(&fanout),
            Command::Busy { fanout, reply } => answer(reply, worker.busy(&fanout)),
            Command::ResetBreaker { url, reply } => answer(reply, worker.reset_breaker(&url)),
            Command::Pending { reply } => answer(reply, worker.pending()),
            Command::WaitingIds { limit, reply } => answer(reply, worker.waiting_ids(limit)),
        }
    }

    fn accept(&self, listener: TcpListener) {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "a worker cannot listen");
                return;
            }
        };
        self.tasks.spawn_local(ingress::serve(
            listener,
            Rc::clone(&self.ingress),
            Arc::clone(&self.shared.connections),
            self.shared.stop_accepting.clone(),
        ));
    }
}

/// Whoever asked may have given up; then nobody needs the answer.
fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    drop(reply.send(value));
}

#[cfg(test)]
mod tests {
    use channel::Name;

    use super::*;

    fn pending(reply: oneshot::Sender<usize>) -> Command {
        Command::Pending { reply }
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_is_stuck_costs_a_question_its_time_and_no_more() {
        let (mailbox, mut commands) = Mailbox::open();
        assert_eq!(mailbox.ask(pending).await, Err(Unanswered::Late));
        let Some(Command::Pending { reply }) = commands.recv().await else { panic!("asked") };
        assert!(reply.is_closed(), "nobody waits any more");
        for _ in 0..MAILBOX_LEN {
            mailbox.send(Command::Forget { hub: Hub::broker(Name::new("a", "b")) }).await.unwrap();
        }
        assert_eq!(mailbox.ask(pending).await, Err(Unanswered::Late), "the mailbox is full");
        drop(commands);
        assert_eq!(mailbox.ask(pending).await, Err(Unanswered::Gone(Gone)));
    }
}
