//! `catchment serve`: puts the process together, runs it, and takes it down in order.

mod ending;
mod feed;

use std::{
    collections::HashSet,
    io,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use channel::Budget;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    task::JoinSet,
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;

use crate::{
    admin,
    channels::Backends,
    cli::{Console, Failure, ServeArgs, in_words},
    config::{self, Settings},
    control::{Control, HubState, Look},
    controller::Controller,
    ingress::{Connections, Doors},
    listen,
    manifest::{Problem, Snapshot},
    spec::ChannelKind,
    telemetry,
    worker::{self, Command, Shared},
};

use ending::{Ending, end};
use feed::Feed;

/// Threads for everything that is not an event's path.
const CONTROL_THREADS: usize = 2;

/// How often dead letters are looked over for those whose retention has ended.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);

/// How often it is asked whether storage has failed for good.
const STORAGE_LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long the start waits for channels to open; others are opened beside the rest.
const OPEN_PATIENCE: Duration = Duration::from_secs(5);

/// What a second signal ends the process with: whether anything was left is not known then.
const LEFT_AT_ONCE: i32 = 3;

/// Serves until a signal asks the process to end and events in hand have ended, or time is over.
///
/// # Errors
///
/// When the process cannot start, or ends with events that had not reached their end.
pub fn run(args: ServeArgs, console: &Console) -> Result<(), Failure> {
    telemetry::init(&args.log, console.stderr_is_colored())
        .map_err(|error| Failure::Usage(error.to_string()))?;
    config::allow_many_files();
    let settings = Settings::new(&args)
        .map_err(|error| Failure::caused("cannot read the configuration", &error))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .thread_stack_size(crate::memory::CONTROL_STACK_BYTES)
        .enable_all()
        .build()
        .map_err(|error| Failure::caused("cannot start", &error))?;
    let ended =
        runtime.block_on(async { Process::start(settings, &args, console).await?.serve().await });
    runtime.shutdown_background();
    ended
}

/// The process, started and ready.
struct Process {
    settings: Arc<Settings>,
    control: Arc<Control>,
    controller: Controller,
    /// Wishes that the resources are looked at again.
    looks: mpsc::Receiver<Look>,
    feed: Feed,
    workers: Vec<JoinHandle<io::Result<()>>>,
    draining: Arc<AtomicBool>,
    stop_accepting: CancellationToken,
    stop: CancellationToken,
    /// The admin side.
    tasks: JoinSet<()>,
    stop_admin: CancellationToken,
    signals: Signals,
}

impl Process {
    async fn start(
        settings: Settings,
        args: &ServeArgs,
        console: &Console,
    ) -> Result<Self, Failure> {
        let signals = Signals::new().map_err(|error| Failure::caused("cannot start", &error))?;
        let settings = Arc::new(settings);
        let feed = Feed::open(args, &settings).await?;
        let sockets = listen::bind_shared(settings.listen, settings.workers)
            .map_err(|error| cannot_listen(settings.listen, &error))?;
        let admin = listen::bind_shared(settings.admin, 1)
            .map_err(|error| cannot_listen(settings.admin, &error))?;
        let address = |sockets: &[std::net::TcpListener], asked: SocketAddr| {
            sockets.first().and_then(|socket| socket.local_addr().ok()).unwrap_or(asked)
        };
        let events_at = address(&sockets, settings.listen);
        let admin_at = address(&admin, settings.admin);

        let budget = Budget::new(settings.memory.total_bytes_max);
        let shared = shared(&settings, Arc::clone(&budget));
        let mut mailboxes = Vec::new();
        let mut workers = Vec::new();
        for index in 0..settings.workers {
            let (mailbox, thread) = worker::start(index, shared.clone())
                .map_err(|error| Failure::caused("cannot start a worker", &error))?;
            mailboxes.push(mailbox);
            workers.push(thread);
        }
        let (control, looks) = Control::new(
            mailboxes,
            budget,
            Arc::clone(&shared.connections),
            Arc::clone(&shared.draining),
        );
        let backends = Backends {
            settings: Arc::clone(&settings),
            workers: settings.workers,
            runtime: tokio::runtime::Handle::current(),
            data: Arc::default(),
        };
        lock_data(&backends).await?;
        let backends = Arc::new(backends);
        let opener = Arc::<Backends>::clone(&backends);
        // Of a folder's processes each has its own data; a cluster's replicas choose one of them.
        control.leads.send_replace(!args.kubernetes);
        let mut process = Self {
            controller: Controller::new(
                Arc::clone(&settings),
                backends,
                Arc::clone(&control),
                Arc::clone(&shared.gates),
                Arc::clone(&shared.doors.endpoints),
                events_at,
            ),
            settings,
            control,
            looks,
            feed,
            workers,
            draining: shared.draining,
            stop_accepting: shared.stop_accepting,
            stop: shared.stop,
            tasks: JoinSet::new(),
            stop_admin: CancellationToken::new(),
            signals,
        };
        if let Some(watches) = process.feed.watches() {
            process.controller.watch_by(watches);
        }
        process.serve_admin(admin, events_at, *console)?;
        process.load(admin_at).await?;
        process.accept(sockets).await;
        process.control.set_ready();
        if let Some(reporter) = process.feed.reporter(&process.control, opener, &process.settings) {
            process.tasks.spawn(reporter.run(process.stop_accepting.clone()));
        }
        console.print(&format!(
            "catchment is ready: events http://{events_at}, admin http://{admin_at}\n"
        ))?;
        Ok(process)
    }

    /// Puts the first full set of resources to work, once it is known.
    async fn load(&mut self, admin_at: SocketAddr) -> Result<(), Failure> {
        let snapshot = tokio::select! {
            biased;
            () = self.signals.next() => {
                let why = "asked to end before it was known what to run";
                return Err(Failure::Failed(why.to_owned()));
            }
            snapshot = self.feed.first(&self.control, admin_at) => snapshot,
        };
        self.apply(&snapshot).await;
        self.control.set_loaded();
        self.controller.settle(OPEN_PATIENCE).await;
        Ok(())
    }

    fn serve_admin(
        &mut self,
        sockets: Vec<std::net::TcpListener>,
        events_at: SocketAddr,
        console: Console,
    ) -> Result<(), Failure> {
        for socket in sockets {
            let listener = tokio::net::TcpListener::from_std(socket)
                .map_err(|error| Failure::caused("cannot start the admin side", &error))?;
            let process = admin::Process {
                events_url: format!("http://{events_at}"),
                console,
                started_at: SystemTime::now(),
            };
            let control = Arc::clone(&self.control);
            self.tasks.spawn(admin::serve(listener, control, process, self.stop_admin.clone()));
        }
        Ok(())
    }

    async fn accept(&self, sockets: Vec<std::net::TcpListener>) {
        for (worker, listener) in self.control.workers().iter().zip(sockets) {
            if worker.send(Command::Accept { listener }).await.is_err() {
                tracing::error!("a worker has ended");
            }
        }
    }

    async fn apply(&mut self, snapshot: &Snapshot) {
        let told = self.control.inventory.load_full();
        let told: HashSet<&Problem> = told.problems.iter().map(|it| &it.problem).collect();
        let problems = snapshot.problems.iter().map(|standing| &standing.problem);
        for problem in problems.filter(|problem| !told.contains(problem)) {
            if problem.is_error() {
                tracing::error!(%problem, "manifest is not used as it is written");
            } else {
                tracing::warn!(%problem, "manifest may not do what it is meant to");
            }
        }
        self.controller.apply(snapshot).await;
    }

    /// Follows the manifests until a signal comes, then ends in order.
    async fn serve(mut self) -> Result<(), Failure> {
        let mut expire = tokio::time::interval(EXPIRE_EVERY);
        expire.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks_at_storage = tokio::time::interval(STORAGE_LOOK_EVERY);
        looks_at_storage.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = self.signals.next() => break,
                snapshot = self.feed.next_change() => self.apply(&snapshot).await,
                report = self.controller.report() => self.controller.take(report).await,
                Some(look) = self.looks.recv() => {
                    self.controller.look_again().await;
                    // Whoever wished for it may not wait for it.
                    look.send(()).unwrap_or_default();
                }
                _ = expire.tick() => self.expire().await,
                _ = looks_at_storage.tick() => {
                    let inventory = self.control.inventory.load_full();
                    inventory.delivering().for_each(HubState::find_overflows);
                    self.controller.reopen_failed().await;
                    if let Some(why) = broken_storage(&self.control) {
                        tracing::error!(%why, "storage failed: leaving, so that the next process finds out what is stored");
                        return Err(Failure::Broken(format!("storage failed: {why}")));
                    }
                }
            }
        }
        let seconds_max = (self.settings.drain.lag + self.settings.drain.timeout).as_secs();
        tracing::info!(
            seconds_max,
            "ending: events in hand go to their end; a second signal ends it at once"
        );
        let mut signals = self.signals;
        let end = end(Ending {
            control: self.control,
            controller: self.controller,
            draining: self.draining,
            drain: self.settings.drain,
            stops: [self.stop_accepting, self.stop, self.stop_admin],
            tasks: self.tasks,
            workers: self.workers,
        });
        tokio::select! {
            biased;
            () = signals.next() => {
                tracing::warn!("asked again to end: leaving at once");
                std::process::exit(LEFT_AT_ONCE);
            }
            ended = end => ended,
        }
    }

    async fn expire(&self) {
        let inventory = self.control.inventory.load_full();
        for (hub, state) in inventory.hubs() {
            let Ok(state) = state else { continue };
            let expired = state.fanout.dead_letters.expire(SystemTime::now()).await;
            if expired > 0 {
                tracing::warn!(%hub, expired, "dead letters were kept for their time");
            }
        }
    }
}

/// What all workers are given.
fn shared(settings: &Settings, budget: Arc<Budget>) -> Shared {
    let limits = &settings.ingress;
    Shared {
        gates: Arc::new(ArcSwap::default()),
        doors: Doors { endpoints: Arc::default(), budget },
        limits: limits.clone(),
        connections: Connections::new(limits.connections_max, limits.connections_per_address_max),
        draining: Arc::new(AtomicBool::new(false)),
        stop_accepting: CancellationToken::new(),
        stop: CancellationToken::new(),
        settings: settings.delivery,
        client: settings.client.clone(),
    }
}

/// Opens the data folder before anything else does, when brokers that ask for nothing are kept there.
async fn lock_data(backends: &Backends) -> Result<(), Failure> {
    if backends.settings.channel_default != ChannelKind::Disk {
        return Ok(());
    }
    let opened = backends.data().await;
    opened
        .map(drop)
        .map_err(|error| Failure::Data(in_words("cannot use the data folder", Some(&error))))
}

/// Why a channel cannot go on in this process, if one cannot.
fn broken_storage(control: &Control) -> Option<String> {
    let inventory = control.inventory.load();
    let mut running = inventory.hubs().filter_map(|(hub, it)| Some((hub, it.as_ref().ok()?)));
    // Others are opened again while the process runs.
    running.find_map(|(hub, state)| {
        if state.channel.kind() != ChannelKind::Disk.as_str() {
            return None;
        }
        state.channel.failure().map(|why| format!("{}: {why}", hub.in_words()))
    })
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> Failure {
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => "the port is in use".to_owned(),
        _ => error.to_string(),
    };
    Failure::Failed(format!("cannot listen on {address}: {why}"))
}

/// The signals that ask the process to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
