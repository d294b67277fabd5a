//! The example manifests are always right.

use std::fs;

use harness::program::command;

use crate::root;

#[tokio::test]
async fn every_example_passes_the_check() {
    let folder = root().join("deploy/examples");
    let mut checked = 0;
    for entry in fs::read_dir(&folder).expect("deploy/examples") {
        let path = entry.unwrap().path().display().to_string();
        let output = command(&["check", &path]).await;
        assert!(output.is_success(), "{path}: {}{}", output.stdout, output.stderr);
        checked += 1;
    }
    assert!(checked > 0, "no example in {}", folder.display());
}

/// They share no name, so that one command shows them all.
#[tokio::test]
async fn all_examples_run_together() {
    let folder = root().join("deploy/examples").display().to_string();
    let output = command(&["check", &folder]).await;
    assert!(output.is_success(), "{}{}", output.stdout, output.stderr);
    assert!(output.stdout.contains(", 0 problems\n"), "{}", output.stdout);
}
