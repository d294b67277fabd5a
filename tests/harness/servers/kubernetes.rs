//! A Kubernetes API server with its etcd on loopback: it keeps and checks objects, and runs nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rcgen::KeyPair;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::{folder, free_ports, reap, root};
use crate::process::Process;
use crate::wait::within;

/// How long a server may take until it answers; the machine may be busy building.
const START_MAX: Duration = Duration::from_secs(120);

/// An API server that anybody may use who has its kubeconfig.
#[derive(Debug)]
pub struct Kubernetes {
    // Ended in this order: the server cannot live without its store.
    server: Process,
    store: Process,
    folder: TempDir,
    /// Where the store and the server listen.
    ports: (u16, u16),
}

/// What kubectl said.
#[derive(Clone, Debug)]
pub struct Said {
    /// Whether its exit code was 0.
    pub is_success: bool,
    /// Its stdout.
    pub stdout: String,
    /// Its stderr.
    pub stderr: String,
}

impl Kubernetes {
    /// An empty cluster.
    ///
    /// # Errors
    ///
    /// Why there is none: no kubectl, nothing to build it with, or it does not start.
    pub async fn start() -> Result<Self, String> {
        build()?;
        let folder = tempfile::Builder::new().prefix("kubernetes-").tempdir().expect("a folder");
        let ports = free_ports(3);
        let store = start_store(folder.path(), ports[0], ports[1]);
        make_keys(folder.path());
        let server = start_server(folder.path(), ports[0], ports[2]);
        let own = kubeconfig(folder.path(), ports[2], "token", "default");
        write(&folder.path().join("kubeconfig"), &own);
        for process in [&store, &server] {
            reap(process.id(), folder.path());
        }
        let mut cluster = Self { server, store, folder, ports: (ports[0], ports[2]) };
        cluster.ready().await?;
        Ok(cluster)
    }

    /// The one that all tests of this process share, started when it is first asked for.
    ///
    /// # Errors
    ///
    /// As [`Kubernetes::start`].
    pub async fn shared() -> Result<Arc<Self>, String> {
        static SHARED: OnceCell<Result<Arc<Kubernetes>, String>> = OnceCell::const_new();
        SHARED.get_or_init(|| async { Self::start().await.map(Arc::new) }).await.clone()
    }

    /// Ends the API server, as a crash does; its store keeps what it has.
    pub async fn crash(&mut self) {
        self.server.signal(Signal::KILL);
        let ended = self.server.wait(Duration::from_secs(10)).await;
        ended.expect("a killed server ends");
    }

    /// Starts the API server again where it was.
    ///
    /// # Panics
    ///
    /// When it does not come back.
    pub async fn come_back(&mut self) {
        self.server = start_server(self.folder.path(), self.ports.0, self.ports.1);
        reap(self.server.id(), self.folder.path());
        self.ready().await.unwrap_or_else(|why| panic!("{why}"));
    }

    /// Forgets all but the newest state of every object, as a store does in time: who watches from
    /// an older one is told that it is gone (410).
    pub fn compact(&self) {
        let store = format!("http://127.0.0.1:{}", self.ports.0);
        let post = |path: &str, body: &str| {
            let output = Command::new("curl")
                .args(["-sf", "-d", body, &format!("{store}/v3/{path}")])
                .output()
                .expect("curl starts");
            assert!(output.status.success(), "{path}: {output:?}");
            serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("JSON")
        };
        let now = post("kv/range", r#"{"key":"AA=="}"#);
        let revision = now["header"]["revision"].as_str().expect("a revision");
        post("kv/compaction", &format!(r#"{{"revision":"{revision}","physical":true}}"#));
    }

    /// The file by which clients find the server, with all rights.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// A file by which a client is a service account, in its namespace and with no rights but its own.
    ///
    /// # Panics
    ///
    /// When there is no such account.
    #[must_use]
    pub fn kubeconfig_of(&self, namespace: &str, account: &str) -> PathBuf {
        let said = self.kubectl(&["-n", namespace, "create", "token", account], "");
        assert!(said.is_success, "{}", said.stderr);
        let own = kubeconfig(self.folder.path(), self.ports.1, said.stdout.trim(), namespace);
        let file = self.folder.path().join(format!("kubeconfig-{namespace}-{account}"));
        write(&file, &own);
        file
    }

    /// Runs kubectl with `args`, and `input` as its stdin.
    #[must_use]
    pub fn kubectl(&self, args: &[&str], input: &str) -> Said {
        let cache = self.folder.path().join("cache");
        let mut command = Command::new("kubectl");
        command.arg("--cache-dir").arg(cache).args(args);
        self.run(command, input)
    }

    /// Runs a client of the cluster that finds it by `KUBECONFIG`, with `input` as its stdin.
    #[must_use]
    pub fn run(&self, mut command: Command, input: &str) -> Said {
        let stdin = self.folder.path().join(format!("stdin-{}", fastrand::u64(..)));
        write(&stdin, input);
        command.env("KUBECONFIG", self.kubeconfig());
        command.stdin(Stdio::from(fs::File::open(&stdin).expect("it was written")));
        let output = command.output().expect("the client starts");
        fs::remove_file(&stdin).ok();
        Said {
            is_success: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    async fn ready(&mut self) -> Result<(), String> {
        let this = std::cell::RefCell::new(self);
        let ready = within(START_MAX, || async {
            let mut this = this.borrow_mut();
            if this.server.exit().is_some() || this.store.exit().is_some() {
                return Ok(false);
            }
            // The namespace is made once all else is there.
            let said = this.kubectl(&["get", "namespace", "default", "--request-timeout=2s"], "");
            let is_ready =
                said.is_success && this.kubectl(&["get", "--raw", "/readyz"], "").is_success;
            is_ready.then_some(true).ok_or(())
        });
        match ready.await {
            Ok(true) => Ok(()),
            Ok(false) => {
                let this = this.borrow();
                let said = format!("{}{}", this.store.stderr(), this.server.stderr());
                let last: Vec<&str> = said.lines().rev().take(5).collect();
                Err(format!("the API server ended while it started: {}", last.join("; ")))
            }
            Err(()) => Err(format!("the API server does not answer after {START_MAX:?}")),
        }
    }
}

/// Whether `program` can be run by its name.
#[must_use]
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn build() -> Result<(), String> {
    let output = Command::new(root().join("tests/servers/kubernetes")).output();
    let output = output.map_err(|error| format!("tests/servers/kubernetes: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or("tests/servers/kubernetes failed").to_owned();
    if output.status.success() { Ok(()) } else { Err(last) }
}

fn start(program: &str, args: &[String]) -> Process {
    Process::start(&folder().join("bin").join(program), args, &[], &[])
}

fn start_store(folder: &Path, clients: u16, peers: u16) -> Process {
    let (clients, peers) =
        (format!("http://127.0.0.1:{clients}"), format!("http://127.0.0.1:{peers}"));
    start(
        "etcd",
        &[
            format!("--data-dir={}/etcd", folder.display()),
            format!("--listen-client-urls={clients}"),
            format!("--advertise-client-urls={clients}"),
            format!("--listen-peer-urls={peers}"),
            format!("--initial-advertise-peer-urls={peers}"),
            format!("--initial-cluster=default={peers}"),
            "--unsafe-no-fsync".to_owned(),
            "--log-level=error".to_owned(),
        ],
    )
}

fn make_keys(folder: &Path) {
    let key = KeyPair::generate().expect("a key");
    write(&folder.join("accounts.key"), &key.serialize_pem());
    write(&folder.join("accounts.pub"), &key.public_key_pem());
    write(&folder.join("tokens.csv"), "token,admin,1,\"system:masters\"\n");
}

fn start_server(folder: &Path, store: u16, port: u16) -> Process {
    let folder = folder.display();
    start(
        "kube-apiserver",
        &[
            format!("--etcd-servers=http://127.0.0.1:{store}"),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={port}"),
            format!("--cert-dir={folder}/certs"),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={folder}/accounts.pub"),
            format!("--service-account-signing-key-file={folder}/accounts.key"),
            format!("--token-auth-file={folder}/tokens.csv"),
            "--authorization-mode=RBAC".to_owned(),
            // There is no controller that would make the accounts it asks for.
            "--disable-admission-plugins=ServiceAccount".to_owned(),
        ],
    )
}

fn kubeconfig(folder: &Path, port: u16, token: &str, namespace: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
         clusters: [{{name: test, cluster: {{server: \"https://127.0.0.1:{port}\", certificate-authority: {}/certs/apiserver.crt}}}}]\n\
         users: [{{name: test, user: {{token: {token}}}}}]\n\
         contexts: [{{name: test, context: {{cluster: test, user: test, namespace: {namespace}}}}}]\n",
        folder.display()
    )
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("it can be written");
}
