//! `catchment explain` and `POST /api/v1/explain`: what the README shows, and what bad input gets.

use std::fs;

use harness::program::command;
use harness::{Backing, Filter, Scene, Subscriber, Trigger};
use serde_json::{Value, json};
use tempfile::TempDir;

const README: &str = include_str!("../../README.md");
const QUICKSTART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/examples/quickstart");

/// A folder with a file, and the file's path.
fn file(name: &str, content: impl AsRef<[u8]>) -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    let path = path.display().to_string();
    (folder, path)
}

fn event(ty: &str) -> String {
    json!({"specversion": "1.0", "id": "1", "source": "/s", "type": ty}).to_string()
}

/// A broker and a trigger with this expression.
fn manifest(expression: &str) -> String {
    let trigger = json!({
        "apiVersion": "eventing.knative.dev/v1", "kind": "Trigger", "metadata": {"name": "a"},
        "spec": {
            "broker": "default",
            "filters": [{"cesql": expression}],
            "subscriber": {"uri": "http://127.0.0.1:9/"},
        },
    });
    format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: default}}\n---\n{trigger}\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_readme_shows_what_is_printed_of_the_quickstart() {
    for name in ["hello.json", "bye.json"] {
        let ends = format!("' > {name}\n");
        let line = README.split(&ends).next().unwrap();
        let (_, text) = line.rsplit_once("echo '").unwrap();
        let (_folder, path) = file(name, text);
        let told = command(&["explain", QUICKSTART, "--event", &path]).await;
        assert!(told.is_success(), "{}", told.stderr);
        assert!(README.contains(&format!("```text\n{}```", told.stdout)), "{}", told.stdout);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_server_says_the_same_as_its_manifests_and_who_is_paused() {
    let subscriber = Subscriber::start().await;
    let scene = Scene::new()
        .channel(&Backing::Memory)
        .trigger(Trigger::named("a").wants(Filter::exact("type", "Made")), &subscriber)
        .trigger(Trigger::named("b").wants(Filter::prefix("type", "ma")), &subscriber);
    let running = scene.start().await;
    let admin = running.program.admin_address().to_string();
    let (_folder, path) = file("event.json", event("made"));
    let of_server = ["explain", "--event", &path, "--admin", &admin];
    let told = command(&of_server).await;
    assert!(told.is_success(), "{}", told.stderr);
    for line in [
        "event 1 (type made, source /s) is wanted by 1 of 2 triggers",
        "  [-] spec.filters[0].exact: type is \"made\", must be \"Made\"",
        "      (`type` differs only in case)",
        "  [+] spec.filters[0].prefix: type is \"made\", which begins with \"ma\"",
        "  a reply goes to broker default/default",
    ] {
        assert!(told.stdout.lines().any(|said| said == line), "{line} is not in {}", told.stdout);
    }
    let paused = running.program.admin().post("/api/v1/triggers/default/b/pause", &json!({})).await;
    assert_eq!(paused.status, 200);
    let told = command(&[&of_server[..], &["--output", "json"]].concat()).await;
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!((&told["total"], &told["matched"]), (&json!(2), &json!(1)), "{told}");
    assert_eq!(told["triggers"][1]["paused"], "operator");
    let told = command(&[&of_server[..], &["--trigger", "default/c"]].concat()).await;
    assert!(told.stderr.contains("404 there is no trigger default/c"), "{}", told.stderr);
    // Nothing was stored or sent.
    assert_eq!(subscriber.count(), 0);
    let (_folder, latin) = file("latin.json", b"{\"specversion\":\"1.0\",\"id\":\"\xe9\"}");
    let told = command(&["explain", "--event", &latin, "--admin", &admin]).await;
    assert!(told.stderr.contains("the server refused: 400 "), "{}", told.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expression_that_is_no_filter_is_refused_with_exit_code_1() {
    let (_folder, event) = file("event.json", event("made"));
    for (expression, words) in [
        (
            format!("type = '{}'", "x".repeat(4097 - 9)),
            "the expression has 4097 bytes, 4096 are allowed",
        ),
        ("(".repeat(10_000), "the expression has 10000 bytes"),
        (format!("{}a{}", "(".repeat(2000), ")".repeat(2000)), "nested more than 64 levels deep"),
        ("type = 'made".to_owned(), "no closing quote at position 7"),
        ("count = 2147483648".to_owned(), "out of range"),
        ("FOO(type) = 1".to_owned(), "there is no function FOO"),
    ] {
        let (_folder, path) = file("a.yaml", manifest(&expression));
        for args in [&["check", &path][..], &["explain", &path, "--event", &event]] {
            let told = command(args).await;
            assert_eq!(told.exit, harness::process::Exit::Code(1), "{args:?}");
            let said = told.stdout + &told.stderr;
            assert!(said.contains(words), "{words}: {said}");
            assert!(!said.contains("panicked"), "{said}");
        }
    }
    let latin = manifest("type = 'caf?'").replace("caf?", "caf\u{1}");
    let latin: Vec<u8> = latin.bytes().map(|byte| if byte == 1 { 0xe9 } else { byte }).collect();
    let (_folder, path) = file("a.yaml", latin);
    for args in [&["check", &path][..], &["explain", &path, "--event", &event]] {
        let told = command(args).await;
        assert!(
            !told.is_success() && (told.stdout + &told.stderr).contains("not UTF-8"),
            "{args:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_in_an_evaluation_is_told_and_no_failure() {
    let (_folder, event) = file("event.json", event("made"));
    for (expression, words) in [
        ("INT(type) = 1", "the text is not of type Integer"),
        ("BOOL(type)", "the text is not of type Boolean"),
        ("2147483647 + 1 = 1", "the number is out of range"),
        ("1 / 0 = 1", "division by zero"),
        ("missing = 'x'", "the event has no attribute `missing`"),
        ("LEFT(type, -1) = 'm'", "an argument of LEFT is out of range"),
    ] {
        let (_folder, path) = file("a.yaml", manifest(expression));
        let told = command(&["explain", &path, "--event", &event]).await;
        assert!(told.is_success(), "{expression}: {}", told.stderr);
        assert!(
            told.stdout.contains(&format!("[!] spec.filters[0].cesql: {expression}")),
            "{}",
            told.stdout
        );
        assert!(told.stdout.contains(words), "{words}: {}", told.stdout);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_event_is_refused_with_exit_code_1_and_no_flag_with_2() {
    for (content, words) in [
        ("ce-id: 1\n\n{}", "one in the CloudEvents JSON format is needed"),
        ("[]", "one event is explained at a time"),
        ("{}", "is no event"),
    ] {
        let (_folder, path) = file("event.txt", content);
        let told = command(&["explain", QUICKSTART, "--event", &path]).await;
        assert_eq!(told.exit, harness::process::Exit::Code(1), "{content}");
        assert!(told.stderr.contains(words), "{}", told.stderr);
    }
    let told = command(&["explain", QUICKSTART]).await;
    assert_eq!(told.exit, harness::process::Exit::Code(2));
}
