//! A process from outside: started with limits, signalled, waited for, its output kept, its size read from /proc.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use crate::pace::say;
use crate::wait::within;

/// A limit that the process is started under.
#[derive(Clone, Debug)]
pub enum Limit {
    /// Bytes of memory: a cgroup of its own where one can be made, else `RLIMIT_DATA`.
    Memory(u64),
    /// Open file descriptors.
    Files(u64),
    /// None yet: [`Process::fail_writes`] sets one, and what is over it is an error, not a signal.
    Writes,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, signal) => Self::Signal(signal.unwrap_or_default()),
        }
    }
}

/// A started process; it is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    exit: Option<Exit>,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
    cgroup: Option<PathBuf>,
}

impl Process {
    /// Starts a program under limits.
    #[must_use]
    pub fn start(
        program: &Path,
        args: &[String],
        env: &[(String, String)],
        limits: &[Limit],
    ) -> Self {
        let mut script = String::new();
        let mut cgroup = None;
        for limit in limits {
            match limit {
                Limit::Writes => script.push_str("trap '' XFSZ\n"),
                Limit::Files(files) => writeln!(script, "ulimit -n {files}").unwrap(),
                Limit::Memory(bytes) => match make_cgroup(*bytes) {
                    Ok(folder) => {
                        say(&format!(
                            "memory limit of {bytes} bytes by cgroup {}",
                            folder.display()
                        ));
                        writeln!(script, "echo $$ > '{}'", folder.join("cgroup.procs").display())
                            .unwrap();
                        cgroup = Some(folder);
                    }
                    Err(why) => {
                        println!(
                            "memory limit of {bytes} bytes by RLIMIT_DATA; no cgroup v2: {why}"
                        );
                        writeln!(script, "ulimit -d {}", bytes / 1024).unwrap();
                    }
                },
            }
        }
        let mut command = if script.is_empty() {
            Command::new(program)
        } else {
            let mut shell = Command::new("sh");
            shell.arg("-ec").arg(format!("{script}exec \"$@\"")).arg("sh").arg(program);
            shell
        };
        command.args(args).envs(env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let (stdout, stderr) = (Arc::default(), Arc::default());
        let readers = vec![
            collect(child.stdout.take().expect("piped"), &stdout),
            collect(child.stderr.take().expect("piped"), &stderr),
        ];
        Self { child, exit: None, stdout, stderr, readers, cgroup }
    }

    /// What it wrote to stdout so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    /// What it wrote to stderr so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Sends a signal; nothing happens when the process has ended.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let (None, Some(pid)) = (self.exit, pid) {
            kill_process(pid, signal).ok();
        }
    }

    /// Lets every write to a file fail from now on. It must have been started under [`Limit::Writes`].
    pub fn fail_writes(&self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("it runs");
        let none = Rlimit { current: Some(0), maximum: None };
        prlimit(Some(pid), Resource::Fsize, none).expect("a child of ours");
    }

    /// How it ended, if it has.
    pub fn exit(&mut self) -> Option<Exit> {
        if self.exit.is_none() {
            self.exit = self.child.try_wait().expect("a child of ours").map(Exit::from);
            if self.exit.is_some() {
                // The pipes end with the process, so the readers do.
                for reader in self.readers.drain(..) {
                    reader.join().ok();
                }
            }
        }
        self.exit
    }

    /// Waits for the end; `None` when it has not come by the deadline.
    pub async fn wait(&mut self, deadline: Duration) -> Option<Exit> {
        let this = std::cell::RefCell::new(self);
        within(deadline, || async { this.borrow_mut().exit().ok_or(()) }).await.ok()
    }

    /// Its size now; zeros when it has ended.
    #[must_use]
    pub fn size(&self) -> Size {
        Size::of(self.id())
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

/// What a process holds, read from /proc.
#[derive(Clone, Copy, Debug, Default)]
pub struct Size {
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// The most resident memory it ever had, in bytes.
    pub resident_bytes_max: u64,
    /// Open file descriptors.
    pub files: usize,
    /// Threads.
    pub threads: u64,
}

impl Size {
    /// Of a process; zeros when there is none.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let number = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        Self {
            resident_bytes: number("VmRSS:") * 1024,
            resident_bytes_max: number("VmHWM:") * 1024,
            files: fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count),
            threads: number("Threads:"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exit().is_none() {
            self.child.kill().ok();
            self.child.wait().ok();
        }
        if let Some(folder) = &self.cgroup {
            fs::remove_dir(folder).ok();
        }
        if thread::panicking() {
            println!("--- stdout of the program\n{}", tail(&self.stdout()));
            println!("--- stderr of the program\n{}", tail(&self.stderr()));
        }
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(80)..].join("\n")
}

fn collect(pipe: impl Read + Send + 'static, into: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let into = into.clone();
    thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            into.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    })
}

/// Whether [`Limit::Memory`] will be a cgroup, which the program can see, or only `RLIMIT_DATA`.
#[must_use]
pub fn has_cgroups() -> bool {
    let made = make_cgroup(u64::MAX / 2);
    made.is_ok_and(|folder| fs::remove_dir(folder).is_ok())
}

fn make_cgroup(bytes: u64) -> Result<PathBuf, String> {
    let root = Path::new("/sys/fs/cgroup");
    if !root.join("cgroup.controllers").exists() {
        return Err("not mounted".into());
    }
    let folder = root.join(format!("catchment-test-{}-{}", std::process::id(), fastrand::u32(..)));
    let made = fs::create_dir(&folder)
        .and_then(|()| fs::write(folder.join("memory.max"), bytes.to_string()));
    match made {
        Ok(()) => {
            fs::write(folder.join("memory.swap.max"), "0").ok();
            Ok(folder)
        }
        Err(error) => {
            fs::remove_dir(&folder).ok();
            Err(error.to_string())
        }
    }
}
