//! The program as a user meets it: arguments in, exit code and two streams out.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on ends"
)]

mod dead_letters;
mod display;
mod fake;
mod send;

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

/// The program with an environment that cannot change what it does.
fn catchment(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_catchment"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CATCHMENT_") {
            command.env_remove(name);
        }
    }
    command.args(args).stdin(Stdio::null());
    command
}

/// What a finished run left behind.
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn run(args: &[&str]) -> Ran {
    catchment(args).output().unwrap().into()
}

fn run_with_stdin(args: &[&str], stdin: &str) -> Ran {
    let mut child = catchment(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

#[test]
fn every_command_explains_itself_with_examples() {
    let commands: [&[&str]; 9] = [
        &["--help"],
        &["serve", "--help"],
        &["check", "--help"],
        &["send", "--help"],
        &["display", "--help"],
        &["dead-letters", "--help"],
        &["crds", "--help"],
        &["completions", "--help"],
        &["dead-letters", "list", "-h"],
    ];
    for args in commands {
        let help = run(args);
        assert_eq!(help.code, 0, "{args:?}");
        assert!(help.stdout.contains("Usage: catchment"), "{args:?}");
        assert!(help.stdout.contains("catchment") && help.stderr.is_empty(), "{args:?}");
        if args.len() < 3 {
            assert!(help.stdout.contains("Examples:"), "{args:?}");
        }
    }
}

#[test]
fn wrong_usage_ends_with_2_and_says_so_on_stderr() {
    let commands: [&[&str]; 15] = [
        &[],
        &["nope"],
        &["serve", "--listen", "nowhere"],
        &["serve", "--workers", "0"],
        &["check"],
        &["send", "--mode", "loud"],
        &["send", "https://127.0.0.1/"],
        &["send", "--id", ""],
        &["send", "--extension", "My-Ext=1"],
        &["send", "--rate", "5"],
        &["send", "--file", "x", "--id", "1"],
        &["dead-letters", "redrive"],
        &["dead-letters", "purge", "1", "--all"],
        &["crds", "Brokr"],
        &["completions", "tcsh-but-wrong"],
    ];
    for args in commands {
        let refused = run(args);
        assert_eq!(refused.code, 2, "{args:?}: {}", refused.stderr);
        assert!(refused.stdout.is_empty() && !refused.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn a_bad_environment_variable_is_wrong_usage() {
    let output = catchment(&["serve"]).env("CATCHMENT_LISTEN", "nowhere").output().unwrap();
    let refused = Ran::from(output);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("--listen"), "{}", refused.stderr);
}

#[test]
fn shells_get_completions() {
    for (shell, sign) in
        [("bash", "complete -F"), ("zsh", "#compdef catchment"), ("fish", "complete -c catchment")]
    {
        let script = run(&["completions", shell]);
        assert_eq!(script.code, 0);
        assert!(script.stdout.contains(sign) && script.stdout.contains("dead-letters"), "{shell}");
    }
}

#[test]
fn a_closed_pipe_is_a_quiet_end() {
    let mut child = catchment(&["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = Ran::from(child.wait_with_output().unwrap());
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
}
