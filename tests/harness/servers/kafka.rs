//! A real Kafka on loopback: one node or three, started, stopped, killed, frozen, and started again.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::{folder, free_ports, reap, root};
use crate::process::{Exit, Process};
use crate::wait::within;

/// How long a node may take until it answers; the machine may be busy building.
const START_MAX: Duration = Duration::from_secs(90);

/// How long a node may take to stop when it is asked to.
const STOP_MAX: Duration = Duration::from_secs(30);

/// Nodes that are broker and controller at once, on one machine.
#[derive(Debug)]
pub struct Kafka {
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    folder: TempDir,
    port: u16,
    is_tls: bool,
    process: Option<Process>,
}

impl Kafka {
    /// One node with empty storage.
    ///
    /// # Errors
    ///
    /// Why there is none: no java, nothing to fetch it from, or it does not start.
    pub async fn start() -> Result<Self, String> {
        Self::start_nodes(1, &[]).await
    }

    /// `count` nodes with empty storage. With lines in `extra`, for their `server.properties`, clients must
    /// say who they are, over TLS when a line names a key store. A user `me` of SCRAM has the password `right`.
    ///
    /// # Errors
    ///
    /// As [`Kafka::start`].
    pub async fn start_nodes(count: usize, extra: &[&str]) -> Result<Self, String> {
        fetch()?;
        let ports = free_ports(count * 2);
        let (ports, controllers) = ports.split_at(count);
        let voters: Vec<String> = controllers
            .iter()
            .enumerate()
            .map(|(index, port)| format!("{}@127.0.0.1:{port}", index + 1))
            .collect();
        let mut nodes = Vec::new();
        for (index, (&port, &controller)) in ports.iter().zip(controllers).enumerate() {
            let folder = tempfile::Builder::new().prefix("kafka-").tempdir().expect("a folder");
            let internal = count.min(3);
            let text = format!(
                "process.roles=broker,controller\nnode.id={id}\n\
                 controller.quorum.voters={voters}\n\
                 listeners=CLIENT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
                 advertised.listeners=CLIENT://127.0.0.1:{port}\n\
                 listener.security.protocol.map=CLIENT:{protocol},CONTROLLER:PLAINTEXT\n\
                 inter.broker.listener.name=CLIENT\ncontroller.listener.names=CONTROLLER\n\
                 log.dirs={folder}/data\noffsets.topic.num.partitions=1\n\
                 offsets.topic.replication.factor={internal}\n\
                 transaction.state.log.replication.factor={internal}\n\
                 transaction.state.log.min.isr=1\nshare.coordinator.state.topic.replication.factor=1\n\
                 group.initial.rebalance.delay.ms=0\nauto.create.topics.enable=false\n\
                 log.segment.delete.delay.ms=1000\n{extra}\n",
                id = index + 1,
                protocol = protocol(extra),
                voters = voters.join(","),
                folder = folder.path().display(),
                extra = extra.join("\n"),
            );
            fs::write(folder.path().join("server.properties"), text).expect("it can be written");
            format(folder.path(), !extra.is_empty())?;
            let is_tls = protocol(extra) == "SASL_SSL";
            nodes.push(Node { folder, port, is_tls, process: None });
        }
        let mut kafka = Self { nodes };
        for index in 0..count {
            kafka.run(index);
        }
        for index in 0..count {
            kafka.ready(index).await?;
        }
        Ok(kafka)
    }

    /// The one that all tests of this process share, started when it is first asked for.
    ///
    /// # Errors
    ///
    /// As [`Kafka::start`].
    pub async fn shared() -> Result<Arc<Self>, String> {
        static SHARED: OnceCell<Result<Arc<Kafka>, String>> = OnceCell::const_new();
        SHARED.get_or_init(|| async { Self::start().await.map(Arc::new) }).await.clone()
    }

    /// What a client connects to, every node of it.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        let nodes = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port));
        nodes.collect::<Vec<_>>().join(",")
    }

    /// Asks a node to stop, and waits until it has.
    pub async fn stop(&mut self, index: usize) {
        let Some(mut process) = self.nodes[index].process.take() else { return };
        process.signal(Signal::TERM);
        process.wait(STOP_MAX).await;
    }

    /// Kills a node without a warning.
    pub async fn kill(&mut self, index: usize) {
        let Some(mut process) = self.nodes[index].process.take() else { return };
        process.signal(Signal::KILL);
        process.wait(STOP_MAX).await;
    }

    /// Stops a node in its tracks: connections stay, and nothing answers.
    pub fn freeze(&self, index: usize) {
        self.signal(index, Signal::STOP);
    }

    /// Lets a frozen node go on.
    pub fn thaw(&self, index: usize) {
        self.signal(index, Signal::CONT);
    }

    /// Starts a node that was stopped or killed on the same port and data.
    ///
    /// # Errors
    ///
    /// When it does not answer in time.
    pub async fn restart(&mut self, index: usize) -> Result<(), String> {
        self.run(index);
        self.ready(index).await
    }

    /// Makes a topic as an operator would.
    pub async fn create_topic(&self, topic: &str, partitions: usize) {
        let call = format!("createTopics(List.of(new NewTopic(args[1], {partitions}, (short) 1)))");
        self.administer(&call, topic).await;
    }

    /// Deletes a topic as an operator would.
    pub async fn delete_topic(&self, topic: &str) {
        self.administer("deleteTopics(List.of(args[1]))", topic).await;
    }

    async fn administer(&self, call: &str, topic: &str) {
        let folder = tempfile::tempdir().expect("a folder");
        let script = folder.path().join("Administer.java");
        fs::write(&script, ADMINISTER.replace("CALL", call)).expect("it can be written");
        let mut args = java_args();
        args.extend([script.display().to_string(), self.bootstrap(), topic.to_owned()]);
        let mut process = Process::start(Path::new("java"), &args, &[], &[]);
        let exit = process.wait(START_MAX).await;
        assert_eq!(exit, Some(Exit::Code(0)), "{}", process.stderr());
    }

    fn signal(&self, index: usize, signal: Signal) {
        if let Some(process) = &self.nodes[index].process {
            process.signal(signal);
        }
    }

    fn run(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let properties = node.folder.path().join("server.properties").display().to_string();
        let mut args = java_args();
        args.extend(["kafka.Kafka".to_owned(), properties]);
        let process = Process::start(Path::new("java"), &args, &[], &[]);
        reap(process.id(), node.folder.path());
        node.process = Some(process);
    }

    async fn ready(&mut self, index: usize) -> Result<(), String> {
        let node = std::cell::RefCell::new(&mut self.nodes[index]);
        let ready = within(START_MAX, || async {
            let mut node = node.borrow_mut();
            let has_ended = node.process.as_mut().is_none_or(|process| process.exit().is_some());
            if has_ended {
                Ok(false)
            } else {
                answers(node.port, node.is_tls).then_some(true).ok_or(())
            }
        });
        match ready.await {
            Ok(true) => Ok(()),
            Ok(false) => {
                let said = node.borrow().process.as_ref().map(Process::stderr);
                Err(format!("Kafka ended while it started: {}", said.unwrap_or_default()))
            }
            Err(()) => Err(format!("Kafka does not answer after {START_MAX:?}")),
        }
    }
}

/// Whether a node takes requests: it answers which versions it speaks (ApiVersions, version 0). Of one
/// that wants TLS it is enough that it takes connections, which it does last.
fn answers(port: u16, is_tls: bool) -> bool {
    use std::io::{Read, Write};
    let wait = Some(Duration::from_secs(2));
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else {
        return false;
    };
    if is_tls {
        return true;
    }
    // Length, key 18, version 0, correlation 1, no client id.
    let request = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 255, 255];
    let mut answer = [0; 10];
    stream.set_read_timeout(wait).is_ok()
        && stream.write_all(&request).is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && answer[4..] == [0, 0, 0, 1, 0, 0]
}

fn libs() -> PathBuf {
    folder().join("kafka/libs")
}

fn fetch() -> Result<(), String> {
    let output = Command::new(root().join("tests/servers/kafka")).output();
    let output = output.map_err(|error| format!("tests/servers/kafka: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(said) }
}

fn java_args() -> Vec<String> {
    let libs = libs().join("*").display().to_string();
    ["-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", &libs]
        .map(ToOwned::to_owned)
        .into()
}

fn protocol(extra: &[&str]) -> &'static str {
    match extra {
        [] => "PLAINTEXT",
        lines if lines.iter().any(|line| line.starts_with("ssl.keystore.")) => "SASL_SSL",
        _ => "SASL_PLAINTEXT",
    }
}

fn format(folder: &Path, has_users: bool) -> Result<(), String> {
    let properties = folder.join("server.properties");
    let mut command = Command::new("java");
    command
        .args(java_args())
        .args(["kafka.tools.StorageTool", "format", "-t", "4L6g3nShT-eMCtK--X86sw", "-c"])
        .arg(properties);
    for mechanism in has_users.then_some(["SCRAM-SHA-256", "SCRAM-SHA-512"]).into_iter().flatten() {
        command.args(["--add-scram", &format!("{mechanism}=[name=me,password=right]")]);
    }
    let output = command.output().map_err(|error| format!("java: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(format!("storage is not made: {said}")) }
}

/// Makes a certificate for 127.0.0.1 in `folder`: a key store for the server, with the password `secret`, and
/// the certificate in PEM for those who are to believe it.
///
/// # Errors
///
/// When there is no keytool, or what it says.
pub fn make_certificate(folder: &Path) -> Result<(PathBuf, PathBuf), String> {
    let (store, pem) = (folder.join("store.p12"), folder.join("ca.pem"));
    let shared = ["-alias", "k", "-storetype", "PKCS12", "-storepass", "secret", "-keystore"];
    let make = ["-genkeypair", "-keyalg", "EC", "-dname", "CN=kafka", "-ext", "SAN=IP:127.0.0.1"];
    for (what, file) in [(&make[..], None), (&["-exportcert", "-rfc"][..], Some(&pem))] {
        let mut command = Command::new("keytool");
        command.args(what).args(shared).arg(&store);
        if let Some(file) = file {
            command.arg("-file").arg(file);
        }
        let output = command.output().map_err(|error| format!("keytool: {error}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stdout).into_owned());
        }
    }
    Ok((store, pem))
}

const ADMINISTER: &str = "
    import java.util.*;
    import org.apache.kafka.clients.admin.*;
    public class Administer {
        public static void main(String[] args) throws Exception {
            try (Admin admin = Admin.create(Map.<String, Object>of(\"bootstrap.servers\", args[0]))) {
                admin.CALL.all().get();
            }
        }
    }";
