//! A process that was started and is ended when its owner is done.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

use crate::Failure;

/// A process that tells on stdout how it is doing, line by line.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

/// Lines that may wait to be read.
const LINES_MAX: usize = 64;

impl Process {
    /// Starts this executable in another role.
    pub(crate) fn role<A: AsRef<OsStr>>(
        name: &'static str,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(name).args(args).stdin(Stdio::piped());
        Self::start(name, command)
    }

    /// Starts `command`, called `name` in messages.
    pub(crate) fn start(name: &'static str, mut command: Command) -> Result<Self, Failure> {
        let mut child = command.stdout(Stdio::piped()).spawn().map_err(|error| {
            format!("cannot start {}: {error}", command.get_program().display())
        })?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().ok_or("no stdout")?;
        let (tx, lines) = sync_channel(LINES_MAX);
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if tx.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { name, child, stdin, lines })
    }

    /// The kernel's name of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line on stdout, waited for at most `limit`.
    pub(crate) fn line(&self, limit: Duration) -> Result<String, Failure> {
        let line = self.lines.recv_timeout(limit).map_err(|why| match why {
            RecvTimeoutError::Timeout => format!("{} said nothing in {limit:?}", self.name),
            RecvTimeoutError::Disconnected => format!("{} ended", self.name),
        });
        Ok(line?)
    }

    /// The next line as JSON.
    pub(crate) fn read<T: DeserializeOwned>(&self, limit: Duration) -> Result<T, Failure> {
        let line = self.line(limit)?;
        Ok(serde_json::from_str(&line)
            .map_err(|error| format!("{}: {error}: {line}", self.name))?)
    }

    /// Writes a line of JSON to stdin.
    pub(crate) fn write<T: Serialize>(&mut self, message: &T) -> Result<(), Failure> {
        let stdin = self.stdin.as_mut().ok_or("no stdin")?;
        Ok(writeln!(stdin, "{}", serde_json::to_string(message)?)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it is gone already, which is what is wanted.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Waits; only the process that measures calls this, and it has nothing else to do.
#[allow(clippy::disallowed_methods, reason = "no runtime and no worker on this thread")]
pub(crate) fn pause(time: Duration) {
    thread::sleep(time);
}
