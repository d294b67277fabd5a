//! The shape of the repository, held by tests: arrows between crates, files, top level, what lies in `deploy`.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and what did not run is said on stdout"
)]

mod arrows;
mod definitions;
mod examples;
mod files;

use std::path::{Path, PathBuf};
use std::process::Command;

/// The checkout.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Every file that is or may be committed, relative to the checkout.
fn files() -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let mut found = match listed {
        Ok(output) if output.status.success() => {
            String::from_utf8(output.stdout).unwrap().lines().map(PathBuf::from).collect()
        }
        // A source archive has no index: then all that is not built there counts.
        _ => {
            let mut found = Vec::new();
            walk(&root(), &mut found);
            found
        }
    };
    found.retain(|path| root().join(path).is_file());
    assert!(found.len() > 10, "no checkout at {}", root().display());
    found
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match path.is_dir() {
            true if name == "target" || name == ".git" || name == "catchment-data" => {}
            true => walk(&path, found),
            false => found.push(path.strip_prefix(root()).unwrap().to_path_buf()),
        }
    }
}
