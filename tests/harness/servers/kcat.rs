//! Another client of Kafka: kcat.

use std::ffi::OsStr;
use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::pace::say_not_run;

/// Whether it is there; if not, that `what` did not run is said.
#[must_use]
pub fn is_there(what: &str) -> bool {
    let found = Command::new("kcat").arg("-V").output().is_ok();
    if !found {
        say_not_run(what, "there is no kcat");
    }
    found
}

/// What it says, given arguments and what it reads.
///
/// # Panics
///
/// When it fails.
pub fn run(args: &[impl AsRef<OsStr>], input: &[u8]) -> String {
    let args: Vec<&OsStr> = args.iter().map(AsRef::as_ref).collect();
    let mut child = Command::new("kcat")
        .args(&args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("kcat starts");
    child.stdin.take().expect("piped").write_all(input).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "kcat {args:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// Writes each line of `text` as a record.
pub fn produce(bootstrap: &str, topic: &str, more: &[&str], text: &str) {
    run(&[&["-b", bootstrap, "-t", topic, "-P"], more].concat(), text.as_bytes());
}
