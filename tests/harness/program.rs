//! The binary under test: where it is, how it is started, asked, signalled and ended.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::admin::Admin;
use crate::manifest::yaml;
use crate::process::{Exit, Limit, Process};
use crate::producer::Producer;
use crate::wait::within;

const READY: Duration = Duration::from_secs(20);
const COMMAND: Duration = Duration::from_secs(20);

/// Where the binary is: `CATCHMENT_BIN`, else beside the test executable in the same profile, else in the other.
#[must_use]
pub fn binary() -> PathBuf {
    if let Ok(path) = env::var("CATCHMENT_BIN") {
        return path.into();
    }
    let this = env::current_exe().expect("a path");
    let profile = this.parent().and_then(Path::parent).expect("target/<profile>/deps/<test>");
    let target = profile.parent().expect("target/<profile>");
    let places = [
        profile.join("catchment"),
        target.join("debug/catchment"),
        target.join("release/catchment"),
    ];
    let found = places.iter().find(|path| path.is_file());
    found.cloned().unwrap_or_else(|| panic!("no binary at {places:?}: run cargo build -p broker"))
}

/// How to start `catchment serve`.
#[derive(Debug, Default)]
pub struct Setup {
    paths: Vec<PathBuf>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    limits: Vec<Limit>,
    listen: Option<SocketAddr>,
    workers: Option<usize>,
    data: Option<PathBuf>,
    config: Map<String, Value>,
}

impl Setup {
    /// Two workers, free ports, a data folder of its own, no manifests.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a manifest file or folder.
    #[must_use]
    pub fn path(mut self, path: impl Into<PathBuf>) -> Self {
        self.paths.push(path.into());
        self
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a limit.
    #[must_use]
    pub fn limit(mut self, limit: Limit) -> Self {
        self.limits.push(limit);
        self
    }

    /// Asks for this address instead of a free port.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = Some(address);
        self
    }

    /// Keeps its data in this folder instead of one of its own.
    #[must_use]
    pub fn data(mut self, folder: impl Into<PathBuf>) -> Self {
        self.data = Some(folder.into());
        self
    }

    /// Asks for so many workers.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Bounds what the memory channel holds, in bytes and in events, by a configuration file.
    #[must_use]
    pub fn memory_bounds(mut self, bytes: Option<u64>, events: Option<usize>) -> Self {
        let mut memory = Map::new();
        memory.extend(bytes.map(|bytes| ("bytesMax".to_owned(), json!(bytes))));
        memory.extend(events.map(|events| ("eventsMax".to_owned(), json!(events))));
        if !memory.is_empty() {
            self = self.config(json!({"channel": {"default": "memory", "memory": memory}}));
        }
        self
    }

    /// Adds settings to the configuration file.
    #[must_use]
    pub fn config(mut self, settings: Value) -> Self {
        merge(&mut self.config, settings);
        self
    }

    /// Bounds how many dead letters a broker keeps, by a configuration file.
    #[must_use]
    pub fn dead_letters_max(self, events: usize) -> Self {
        self.config(json!({"deadLetters": {"eventsMax": events}}))
    }

    /// Starts it and gives it back at once, ready or not.
    #[must_use]
    pub fn spawn(self) -> Starting {
        let own = TempDir::new().expect("a temporary folder");
        let data = self.data.unwrap_or_else(|| own.path().join("data"));
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        let mut args = vec!["serve".to_owned()];
        args.extend(self.paths.iter().map(|path| path.display().to_string()));
        args.extend(["--listen".to_owned(), self.listen.unwrap_or(any).to_string()]);
        args.extend(["--admin".to_owned(), any.to_string()]);
        args.extend(["--data".to_owned(), data.display().to_string()]);
        args.extend(["--workers".to_owned(), self.workers.unwrap_or(2).to_string()]);
        if !self.config.is_empty() {
            let file = own.path().join("config.yaml");
            fs::write(&file, yaml(&Value::Object(self.config))).expect("a writable folder");
            args.extend(["--config".to_owned(), file.display().to_string()]);
        }
        args.extend(self.args);
        let process = Process::start(&binary(), &args, &self.env, &self.limits);
        let launch = Launch { args, env: self.env, limits: self.limits };
        Starting { process, launch, data, _own: own }
    }

    /// Starts it and waits until it says that it is ready.
    ///
    /// # Panics
    ///
    /// When it ends first, or is not ready in twenty seconds.
    pub async fn start(self) -> Program {
        let mut starting = self.spawn();
        let (events, admin) =
            starting.ready().await.unwrap_or_else(|why| panic!("not started: {why}"));
        Program {
            process: starting.process,
            events,
            admin,
            launch: starting.launch,
            data: starting.data,
            _own: starting._own,
        }
    }
}

/// What a program was started with.
#[derive(Clone, Debug)]
struct Launch {
    args: Vec<String>,
    env: Vec<(String, String)>,
    limits: Vec<Limit>,
}

impl Launch {
    /// The same, at these addresses.
    fn at(&self, events: SocketAddr, admin: SocketAddr) -> Self {
        let mut again = self.clone();
        for (flag, address) in [("--listen", events), ("--admin", admin)] {
            let place = again.args.iter().position(|arg| arg == flag).expect("always given");
            again.args[place + 1] = address.to_string();
        }
        again
    }
}

/// Puts `settings` over what is there, object by object.
fn merge(into: &mut Map<String, Value>, settings: Value) {
    let Value::Object(settings) = settings else { panic!("settings are an object") };
    for (name, value) in settings {
        match (into.get_mut(&name), value) {
            (Some(Value::Object(inner)), value @ Value::Object(_)) => merge(inner, value),
            (_, value) => drop(into.insert(name, value)),
        }
    }
}

/// A program that may still fail to start.
#[derive(Debug)]
pub struct Starting {
    /// The process.
    pub process: Process,
    launch: Launch,
    data: PathBuf,
    _own: TempDir,
}

impl Starting {
    async fn ready(&mut self) -> Result<(SocketAddr, SocketAddr), String> {
        ready(&mut self.process).await
    }
}

async fn ready(process: &mut Process) -> Result<(SocketAddr, SocketAddr), String> {
    let process = std::cell::RefCell::new(process);
    let ready = || async {
        let mut process = process.borrow_mut();
        let stdout = process.stdout();
        match (ready_line(&stdout), process.exit()) {
            (Some(addresses), _) => Ok(Ok(addresses)),
            (None, Some(exit)) => Ok(Err(format!("{exit:?}: {}", process.stderr()))),
            (None, None) => Err(()),
        }
    };
    within(READY, ready).await.unwrap_or_else(|()| Err("no ready line on stdout".into()))
}

fn ready_line(stdout: &str) -> Option<(SocketAddr, SocketAddr)> {
    let line =
        stdout.lines().find_map(|line| line.strip_prefix("catchment is ready: events http://"))?;
    let (events, admin) = line.split_once(", admin http://")?;
    Some((events.parse().ok()?, admin.trim().parse().ok()?))
}

/// A running program; it is killed when this is dropped.
#[derive(Debug)]
pub struct Program {
    /// The process.
    pub process: Process,
    events: SocketAddr,
    admin: SocketAddr,
    launch: Launch,
    data: PathBuf,
    _own: TempDir,
}

impl Program {
    /// Where it takes events.
    #[must_use]
    pub fn events(&self) -> SocketAddr {
        self.events
    }

    /// Its admin API.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new(self.admin)
    }

    /// The address of its admin API, for `--admin`.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// A producer for a broker, as `namespace/name`.
    #[must_use]
    pub fn producer(&self, broker: &str) -> Producer {
        Producer::new(self.events, broker)
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Ends it as `kill -9` does, and waits for that.
    pub async fn kill(&mut self) {
        self.process.signal(Signal::KILL);
        self.exit(Duration::from_secs(5)).await;
    }

    /// Starts it again, at the same addresses and with the same data, after it has ended; waits until
    /// it is ready.
    ///
    /// # Panics
    ///
    /// When it ends first, or is not ready in twenty seconds.
    pub async fn start_again(&mut self) {
        let Launch { args, env, limits } = self.launch.at(self.events, self.admin);
        self.process = Process::start(&binary(), &args, &env, &limits);
        ready(&mut self.process).await.unwrap_or_else(|why| panic!("not started again: {why}"));
    }

    /// Its data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// Stops it in its tracks until [`Program::thaw`].
    pub fn freeze(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// When it has not ended by the deadline.
    pub async fn exit(&mut self, deadline: Duration) -> Ended {
        let from = Instant::now();
        let exit = self.process.wait(deadline).await;
        let exit = exit.unwrap_or_else(|| panic!("the program still runs after {deadline:?}"));
        Ended { exit, after: from.elapsed() }
    }
}

/// How and when a program ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// How.
    pub exit: Exit,
    /// How long after it was asked for.
    pub after: Duration,
}

/// What a command that ends by itself said.
#[derive(Clone, Debug)]
pub struct Output {
    /// How it ended.
    pub exit: Exit,
    /// All of its stdout.
    pub stdout: String,
    /// All of its stderr.
    pub stderr: String,
}

impl Output {
    /// Whether the exit code is 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.exit == Exit::Code(0)
    }
}

/// Runs `catchment` with arguments to its end.
///
/// # Panics
///
/// When it does not end in twenty seconds.
pub async fn command(args: &[&str]) -> Output {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let mut process = Process::start(&binary(), &args, &[], &[]);
    let exit = process.wait(COMMAND).await;
    let exit = exit.unwrap_or_else(|| panic!("catchment {} does not end", args.join(" ")));
    Output { exit, stdout: process.stdout(), stderr: process.stderr() }
}
