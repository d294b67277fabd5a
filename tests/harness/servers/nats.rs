//! NATS servers with JetStream: alone or three together, stopped, frozen, killed and started again on the same data.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::process::Process;
use crate::wait::eventually;

const READY_WITHIN: Duration = Duration::from_secs(20);

/// How a server differs from one that anybody may use.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Every receipt is preceded by a write to disk.
    pub sync_always: bool,
    /// A user and a password that are asked for.
    pub user: Option<(String, String)>,
    /// The public key of the one nkey that is let in.
    pub nkey: Option<String>,
    /// Certificate and key that it presents, and the authority of clients if theirs are asked for.
    pub tls: Option<Tls>,
    /// JetStream is off.
    pub without_jetstream: bool,
    /// Largest message, in bytes.
    pub max_payload: Option<usize>,
}

/// Files in PEM.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The server's certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authority of clients; none are asked for a certificate without one.
    pub client_ca: Option<PathBuf>,
}

/// One server; it is killed when this is dropped.
#[derive(Debug)]
pub struct Nats {
    port: u16,
    folder: TempDir,
    process: Option<Process>,
}

/// Builds what the tests need, once.
///
/// # Errors
///
/// Why it cannot, in words for [`crate::say_not_run`].
pub fn build() -> Result<(), String> {
    static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
    let build = || {
        let script = root().join("tests/servers/nats");
        let done = Command::new(script).output().map_err(|error| error.to_string())?;
        if done.status.success() {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&done.stderr);
        Err(words.lines().last().unwrap_or("tests/servers/nats failed").to_owned())
    };
    BUILT.get_or_init(build).clone()
}

/// The Python of the other client.
#[must_use]
pub fn python() -> PathBuf {
    root().join("target/servers/nats-py/bin/python")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Nats {
    /// Starts a server and waits until it is ready.
    pub async fn start(options: &Options) -> Self {
        let port = free_port();
        let mut nats = Self::prepare(port, options, "");
        nats.resume_from_disk();
        nats.ready().await;
        nats
    }

    /// Starts three servers that keep streams together, and waits until they are ready.
    pub async fn start_three(options: &Options) -> Vec<Self> {
        let ports: Vec<u16> = (0..6).map(|_| free_port()).collect();
        let (clients, routes) = ports.split_at(3);
        let all: Vec<String> =
            routes.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let mut three: Vec<Self> = (0..3)
            .map(|n| {
                let more = format!(
                    "server_name: n{n}\ncluster {{ name: tests, listen: \"127.0.0.1:{}\", routes: [{}] }}\n",
                    routes[n],
                    all.iter().map(|url| format!("\"{url}\"")).collect::<Vec<_>>().join(", "),
                );
                Self::prepare(clients[n], options, &more)
            })
            .collect();
        for nats in &mut three {
            nats.resume_from_disk();
        }
        for nats in &three {
            nats.ready().await;
        }
        three
    }

    fn prepare(port: u16, options: &Options, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = format!("listen: \"127.0.0.1:{port}\"\n{more}");
        if !options.without_jetstream {
            let store = folder.path().join("store");
            let sync = if options.sync_always { ", sync_interval: always" } else { "" };
            writeln!(config, "jetstream {{ store_dir: \"{}\"{sync} }}", store.display()).unwrap();
        }
        if let Some((user, password)) = &options.user {
            writeln!(config, "authorization {{ user: {user}, password: {password} }}").unwrap();
        }
        if let Some(key) = &options.nkey {
            writeln!(config, "authorization {{ users: [ {{ nkey: {key} }} ] }}").unwrap();
        }
        if let Some(tls) = &options.tls {
            let (cert, key) = (tls.cert.display(), tls.key.display());
            write!(config, "tls {{ cert_file: \"{cert}\", key_file: \"{key}\"").unwrap();
            if let Some(ca) = &tls.client_ca {
                write!(config, ", ca_file: \"{}\", verify: true", ca.display()).unwrap();
            }
            writeln!(config, " }}").unwrap();
        }
        if let Some(max) = options.max_payload {
            writeln!(config, "max_payload: {max}").unwrap();
        }
        fs::write(folder.path().join("nats.conf"), config).unwrap();
        Self { port, folder, process: None }
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Kills it without a word.
    pub async fn kill(&mut self) {
        self.end_by(Signal::KILL).await;
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop(&mut self) {
        self.end_by(Signal::TERM).await;
    }

    async fn end_by(&mut self, signal: Signal) {
        if let Some(mut process) = self.process.take() {
            process.signal(signal);
            assert!(process.wait(READY_WITHIN).await.is_some(), "the server does not end");
        }
    }

    /// Stops its clock: it keeps its connections and answers nothing.
    pub fn freeze(&self) {
        self.process.iter().for_each(|process| process.signal(Signal::STOP));
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.process.iter().for_each(|process| process.signal(Signal::CONT));
    }

    /// Starts it again on the same data and port, and waits until it is ready.
    pub async fn restart(&mut self) {
        self.resume_from_disk();
        self.ready().await;
    }

    fn resume_from_disk(&mut self) {
        let program = root().join("target/servers/bin/nats-server");
        let config = self.folder.path().join("nats.conf").display().to_string();
        self.process = Some(Process::start(&program, &["-c".into(), config], &[], &[]));
    }

    async fn ready(&self) {
        let port = self.port;
        eventually(READY_WITHIN, || async move {
            let mut to =
                TcpStream::connect(("127.0.0.1", port)).await.map_err(|e| e.to_string())?;
            // It greets first. That it can store is for the client to find out.
            let mut greeting = [0; 5];
            to.read_exact(&mut greeting).await.map_err(|e| e.to_string())?;
            if greeting == *b"INFO " { Ok(()) } else { Err(format!("{greeting:?}")) }
        })
        .await;
    }
}
