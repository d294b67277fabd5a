//! The broker: how its executable is found, what it is given, how it is started.

use std::{
    env,
    ffi::OsStr,
    fmt::Write as _,
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    Failure,
    args::Channel,
    machine,
    process::{Process, pause},
};

/// Where the events are posted to.
pub(crate) const PATH: &str = "/default/default";

fn is_of_this_package(variable: &OsStr) -> bool {
    let name = variable.to_string_lossy();
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_"].iter().any(|start| name.starts_with(start))
}

/// The release executable: `CATCHMENT_BIN`, or what `cargo build --release` makes of this workspace
/// now, so that no old build is measured by mistake.
pub(crate) fn executable() -> Result<PathBuf, Failure> {
    if let Some(path) = env::var_os("CATCHMENT_BIN") {
        return Ok(path.into());
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // What cargo told this bench about itself would look like a change to build scripts.
    for (name, _) in env::vars_os().filter(|(name, _)| is_of_this_package(name)) {
        command.env_remove(name);
    }
    let built = command
        .args(["build", "--release", "--package", "broker", "--bin", "catchment"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()?;
    if !built.status.success() {
        return Err("catchment does not build; CATCHMENT_BIN names one that is built".into());
    }
    let messages = String::from_utf8(built.stdout)?;
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
        .ok_or_else(|| "cargo named no executable".into())
}

/// What the broker is asked to route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Routes {
    /// One trigger for each sink, all of which want the event.
    All,
    /// So many triggers; the first wants the event, the others its type from another source.
    OneOf(u32),
    /// So many triggers whose filters are expressions; the first wants the event, the others types of
    /// their own.
    Expressions(u32),
    /// So many triggers, each of which wants a type of its own.
    Each(u32),
}

/// A broker that runs, with the folder it runs from.
#[derive(Debug)]
pub(crate) struct Catchment {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    _folder: TempDir,
}

const READY_MAX: Duration = Duration::from_secs(300);

impl Catchment {
    /// Starts the broker on free ports and waits until it is ready.
    pub(crate) fn start(
        executable: &Path,
        routes: Routes,
        channel: Channel,
        sinks: &[SocketAddr],
        workers: usize,
    ) -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        let manifests = folder.path().join("manifests");
        fs::create_dir(&manifests)?;
        write_manifests(&manifests, channel, &routes.triggers(sinks))?;
        let log = folder.path().join("log");
        let mut command = Command::new(executable);
        command.arg("serve").arg(&manifests).arg("--data").arg(folder.path().join("data"));
        command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        command.arg("--workers").arg(workers.to_string());
        command.stdin(Stdio::null()).stderr(File::create(&log)?);
        let process = Process::start("catchment", command)?;
        let ready = process.line(READY_MAX).and_then(|line| address(&line));
        match ready {
            Ok(address) => {
                settle(process.pid())?;
                Ok(Self { process, address, _folder: folder })
            }
            Err(error) => Err(format!("{error}\n{}", last_lines(&log)).into()),
        }
    }
}

const SETTLE_STEP: Duration = Duration::from_millis(300);
const SETTLE_STEPS_MAX: u32 = 200;
/// Seconds of CPU in a step that count as none.
const SETTLED: f64 = 0.015;

/// Waits until the broker has come to rest, so that what its start leaves behind (memory given
/// back, fresh manifests confirmed) is not held against the events.
fn settle(pid: u32) -> Result<(), Failure> {
    let mut before = machine::cpu(pid)?;
    for _ in 0..SETTLE_STEPS_MAX {
        pause(SETTLE_STEP);
        let now = machine::cpu(pid)?;
        if now - before <= SETTLED {
            return Ok(());
        }
        before = now;
    }
    Err("the broker did not come to rest before the first event".into())
}

/// The address of the events in `catchment is ready: events http://HOST:PORT, admin …`.
fn address(line: &str) -> Result<SocketAddr, Failure> {
    let rest = line.split_once("events http://").map(|(_, rest)| rest);
    let address = rest.and_then(|rest| rest.split([',', ' ', '/']).next()?.parse().ok());
    Ok(address.ok_or_else(|| format!("no address in what catchment said: {line}"))?)
}

const LOG_LINES: usize = 5;

fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(LOG_LINES).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

struct Trigger {
    ty: String,
    /// Whether it says so in CloudEvents SQL.
    is_expression: bool,
    source: String,
    sink: SocketAddr,
}

/// Types that the triggers which want another source are spread over.
const TYPES: u32 = 20;

impl Routes {
    fn triggers(self, sinks: &[SocketAddr]) -> Vec<Trigger> {
        let trigger = |ty: u32, source: &str, sink: &SocketAddr| Trigger {
            ty: support::ty(ty.into()),
            is_expression: matches!(self, Self::Expressions(_)),
            source: source.to_owned(),
            sink: *sink,
        };
        match self {
            Self::All => sinks.iter().map(|sink| trigger(0, support::SOURCE, sink)).collect(),
            Self::OneOf(count) => (0..count)
                .zip(sinks.iter().cycle())
                .map(|(number, sink)| match number {
                    0 => trigger(0, support::SOURCE, sink),
                    _ => trigger(number % TYPES, &format!("/apis/v1/sources/{number}"), sink),
                })
                .collect(),
            Self::Each(count) | Self::Expressions(count) => (0..count)
                .zip(sinks.iter().cycle())
                .map(|(number, sink)| trigger(number, support::SOURCE, sink))
                .collect(),
        }
    }
}

const BROKER: &str = "\
apiVersion: v1
kind: ConfigMap
metadata:
  name: channel
  namespace: default
data:
  channel-template-spec: |
    apiVersion: messaging.knative.dev/v1
    kind: KIND
---
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata:
  name: default
  namespace: default
spec:
  config:
    apiVersion: v1
    kind: ConfigMap
    name: channel
    namespace: default
";

/// Keeps each file well under the size that the broker reads.
const TRIGGERS_A_FILE: usize = 500;

fn write_manifests(folder: &Path, channel: Channel, triggers: &[Trigger]) -> Result<(), Failure> {
    fs::write(folder.join("broker.yaml"), BROKER.replace("KIND", channel.kind()))?;
    let mut number = 0;
    for (file, triggers) in triggers.chunks(TRIGGERS_A_FILE).enumerate() {
        let mut text = String::new();
        for Trigger { ty, is_expression, source, sink } in triggers {
            let filter = if *is_expression {
                format!("filters:\n  - cesql: type = '{ty}' AND source LIKE '{source}%'")
            } else {
                format!("filter:\n    attributes:\n      type: {ty}\n      source: {source}")
            };
            write!(
                text,
                "---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\n\
                 metadata:\n  name: bench-{number}\n  namespace: default\n\
                 spec:\n  broker: default\n  {filter}\n  \
                 subscriber:\n    uri: http://{sink}/\n"
            )?;
            number += 1;
        }
        fs::write(folder.join(format!("triggers-{file:04}.yaml")), text)?;
    }
    Ok(())
}
