//! Which crate may use which.

use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, MetadataCommand};

use crate::root;

/// The five arrows of the program. `tests` and `benches` may use anything, nothing may use them.
const ARROWS: [(&str, &str); 5] = [
    ("broker", "channel"),
    ("broker", "dispatcher"),
    ("broker", "sources"),
    ("dispatcher", "channel"),
    ("sources", "channel"),
];

const OUTSIDE: [&str; 2] = ["tests", "benches"];

#[test]
fn the_crates_use_each_other_along_five_arrows() {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata");
    let names: BTreeSet<&str> =
        metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let expected: BTreeSet<&str> =
        ["broker", "channel", "dispatcher", "sources", "tests", "benches"].into();
    assert_eq!(names, expected, "the workspace is four rooms, tests and benches");

    let mut found = BTreeSet::new();
    for package in &metadata.packages {
        for dependency in
            package.dependencies.iter().filter(|one| one.kind == DependencyKind::Normal)
        {
            if names.contains(dependency.name.as_str()) && dependency.path.is_some() {
                found.insert((package.name.as_str(), dependency.name.as_str()));
            }
        }
    }
    let inside: BTreeSet<_> =
        found.iter().copied().filter(|(from, _)| !OUTSIDE.contains(from)).collect();
    assert_eq!(inside, ARROWS.into());
    let to_outside: Vec<_> = found
        .iter()
        .filter(|(from, to)| OUTSIDE.contains(to) || *to == "broker" && !OUTSIDE.contains(from))
        .collect();
    assert!(
        to_outside.iter().all(|(from, to)| (*from, *to) == ("benches", "tests")),
        "{to_outside:?}"
    );
}

#[test]
fn every_crate_holds_the_lints_of_the_workspace() {
    for name in ["broker", "channel", "dispatcher", "sources", "tests", "benches"] {
        let manifest = std::fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{name}");
    }
    let workspace = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(workspace.contains("unsafe_code = \"forbid\""));
}
