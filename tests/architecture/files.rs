//! What files look like, and what lies at the top.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{files, root};

const LINES_MAX: usize = 500;

const TOP: [&str; 11] = [
    "Cargo.toml",
    "Cargo.lock",
    "Dockerfile",
    "LICENSE",
    "README.md",
    "benches",
    "broker",
    "channel",
    "deploy",
    "dispatcher",
    "sources",
];

fn sources() -> Vec<(PathBuf, String)> {
    let rust = files().into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs"));
    rust.map(|path| (path.clone(), fs::read_to_string(root().join(path)).unwrap())).collect()
}

fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn every_source_file_says_first_what_it_holds() {
    let sources = sources();
    let silent = sources.iter().filter(|(_, text)| !text.starts_with("//! "));
    none("no module doc", &silent.map(|(path, _)| path.display().to_string()).collect::<Vec<_>>());
}

#[test]
fn no_source_file_is_over_500_lines() {
    let sources = sources();
    let long = sources.iter().map(|(path, text)| (path, text.lines().count()));
    let long = long.filter(|(_, lines)| *lines > LINES_MAX);
    none(
        "too long",
        &long.map(|(path, lines)| format!("{} {lines}", path.display())).collect::<Vec<_>>(),
    );
}

#[test]
fn there_is_no_unsafe_code() {
    let mut found = Vec::new();
    for (path, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let is_unsafe = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "[unsafe("];
            // This file names them.
            if is_unsafe.iter().any(|one| code.contains(one))
                && !path.ends_with("architecture/files.rs")
            {
                found.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    none("unsafe", &found);
}

#[test]
fn the_top_level_holds_what_it_should() {
    let tops: BTreeSet<String> =
        files().iter().map(|path| top(path)).filter(|name| !name.starts_with('.')).collect();
    let mut expected: BTreeSet<String> = TOP.iter().map(|name| (*name).to_owned()).collect();
    expected.insert("tests".into());
    assert_eq!(tops, expected);
}

fn top(path: &Path) -> String {
    path.iter().next().unwrap().to_string_lossy().into_owned()
}

#[test]
fn the_readme_names_every_crate() {
    let readme = fs::read_to_string(root().join("README.md")).expect("a README");
    for name in ["broker", "channel", "dispatcher", "sources", "tests", "benches"] {
        assert!(readme.contains(&format!("`{name}`")), "{name} is not in the README");
    }
}

#[test]
fn every_file_that_the_first_pages_name_is_there() {
    let mut named = 0;
    for page in [
        "README.md",
        "broker/src/lib.rs",
        ".github/CONTRIBUTING.md",
        "tests/README.md",
        "benches/README.md",
        "deploy/README.md",
    ] {
        let text = fs::read_to_string(root().join(page)).expect(page);
        for path in text.split(['`', '(', ')', '"', ' ', '\n']).filter(|word| is_path(word)) {
            assert!(root().join(path).is_file(), "{page} names {path}");
            named += 1;
        }
    }
    assert!(named > 30, "only {named} files are named");
}

/// Whether a word is a file's path from the root: it begins with a folder of ours.
fn is_path(word: &str) -> bool {
    let folder = word.split_once('/').map(|(folder, _)| folder);
    folder.is_some_and(|folder| TOP.contains(&folder) || folder == "tests")
        && [".rs", ".md", ".yaml"].iter().any(|end| word.ends_with(end))
}
