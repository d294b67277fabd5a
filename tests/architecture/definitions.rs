//! The custom resource definitions in `deploy/crds` are those of the program.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use harness::process::Exit;
use harness::program::command;

use crate::root;

const RENEW: &str = "rm deploy/crds/*.yaml; cargo run -- crds --folder deploy/crds";

fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    // Beside them lies a list of them, for `kubectl apply -k`.
    let read = paths.filter(|path| path.extension().is_some_and(|end| end == "yaml")).map(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, fs::read_to_string(path).unwrap())
    });
    read.collect()
}

#[tokio::test]
async fn the_definitions_are_current() {
    let made = tempfile::tempdir().unwrap();
    let output = command(&["crds", "--folder", &made.path().display().to_string()]).await;
    assert!(output.is_success(), "{}", output.stderr);
    let (made, kept) = (files(made.path()), files(&root().join("deploy/crds")));
    assert_eq!(
        made.keys().collect::<Vec<_>>(),
        kept.keys().collect::<Vec<_>>(),
        "deploy/crds is out of date; this renews it: {RENEW}"
    );
    for (name, text) in &made {
        assert!(kept[name] == *text, "deploy/crds/{name} is out of date; this renews it: {RENEW}");
    }
}

#[tokio::test]
async fn what_is_printed_is_what_lies_there() {
    let printed = command(&["crds"]).await.stdout;
    let kept = files(&root().join("deploy/crds"));
    assert_eq!(printed.split("---\n").count(), kept.len());
    for document in printed.split("---\n") {
        assert!(kept.values().any(|text| text == document), "{document}");
    }
    let json = command(&["crds", "--output", "json", "Trigger", "imc"]).await;
    let list: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let names: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|item| &item["metadata"]["name"]).collect();
    assert_eq!(names, ["triggers.eventing.knative.dev", "inmemorychannels.messaging.knative.dev"]);
    let unknown = command(&["crds", "Brokr"]).await;
    assert_eq!(unknown.exit, Exit::Code(2));
    assert!(unknown.stderr.contains("did you mean Broker?"), "{}", unknown.stderr);
}
