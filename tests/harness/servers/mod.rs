//! Real servers for the tests: fetched once by the scripts of `tests/servers`, each started on free ports.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub mod kafka;
pub mod kcat;
pub mod kubernetes;
pub mod nats;

/// The checkout.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_path_buf()
}

/// Where what was fetched or built is kept.
fn folder() -> PathBuf {
    let target = std::env::var("CARGO_TARGET_DIR").map_or_else(|_| "target".into(), PathBuf::from);
    root().join(target).join("servers")
}

/// Ports that nobody listens at for now.
#[must_use]
pub fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<_> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    held.iter().map(|one| one.local_addr().expect("bound").port()).collect()
}

/// Ends a process when this process is gone without having dropped it, as what is shared in a static is.
pub fn reap(node: u32, folder: &Path) {
    let script = "while kill -0 $1 2>/dev/null; do sleep 1; done
        tr '\\0' ' ' </proc/$2/cmdline 2>/dev/null | grep -q \"$3/\" && kill -9 $2; rm -rf \"$3\"";
    Command::new("setsid")
        .args(["sh", "-c", script, "sh", &std::process::id().to_string(), &node.to_string()])
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok();
}
