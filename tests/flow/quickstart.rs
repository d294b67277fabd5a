//! The README's first page: the quickstart's manifests and its curl.

use std::time::Duration;

use harness::{Mode, Setup, eventually};
use serde_json::json;
use tempfile::TempDir;

use crate::{SOON, greeting};

/// How often the quickstart's PingSource makes an event.
const TICK: Duration = Duration::from_secs(10);

const MANIFEST: &str = include_str!("../../deploy/examples/quickstart/quickstart.yaml");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_triggers_display_a_greeting_and_the_third_ones_is_a_dead_letter() {
    let folder = TempDir::new().unwrap();
    let program = Setup::new().path(folder.path()).start().await;
    // The program's own ports instead of the documented ones, and one where nobody listens.
    let admin = program.admin_address().to_string();
    assert!(MANIFEST.contains("127.0.0.1:8081") && MANIFEST.contains("127.0.0.1:8090"));
    let manifest =
        MANIFEST.replace("127.0.0.1:8081", &admin).replace("127.0.0.1:8090", "127.0.0.1:9");
    // The clock has its own test; here nothing comes but what is sent.
    let manifest = manifest.replace("*/10 * * * * *", "0 0 1 1 *");
    std::fs::write(folder.path().join("quickstart.yaml"), manifest).unwrap();
    let is_there = || async {
        let triggers = program.admin().get("/api/v1/triggers").await.json();
        // They are listed before the broker's channel is open.
        let items = triggers["items"].as_array().map_or(&[][..], Vec::as_slice);
        let ready = items.iter().filter(|trigger| trigger["ready"] == true).count();
        if ready == 4 { Ok(()) } else { Err(triggers) }
    };
    eventually(SOON, is_there).await;

    let sample = greeting("say-hello").json(&json!({"msg": "Hello"}));
    let answer = program.producer("default/default").send(&sample, Mode::Binary).await.unwrap();
    assert_eq!(answer.status, 202, "{answer:?}");

    let has_died = || async {
        let letters = program.admin().get("/api/v1/dead-letters").await.json();
        if letters["total"] == 1 { Ok(letters) } else { Err(letters) }
    };
    let letters = eventually(SOON, has_died).await;
    assert_eq!(letters["items"][0]["trigger"], "default/unreachable", "{letters}");
    assert_eq!(letters["items"][0]["attempts"], 3, "{letters}");

    let is_shown = || async {
        let shown = program.process.stdout();
        if shown.matches("\"msg\": \"Hello\"").count() == 2 { Ok(shown) } else { Err(shown) }
    };
    let shown = eventually(SOON, is_shown).await;
    for (name, times) in [("everything", 1), ("greetings", 1), ("farewells", 0)] {
        assert_eq!(shown.matches(&format!("[{name}]\n")).count(), times, "{name} in {shown}");
    }
    for line in ["specversion: 1.0", "type: greeting", "source: not-sendoff", "id: say-hello"] {
        assert_eq!(shown.matches(line).count(), 2, "{line} in {shown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_shown_before_anybody_sends_one() {
    let folder = TempDir::new().unwrap();
    let program = Setup::new().path(folder.path()).start().await;
    let admin = program.admin_address().to_string();
    let manifest = MANIFEST.replace("127.0.0.1:8081", &admin);
    std::fs::write(folder.path().join("quickstart.yaml"), manifest).unwrap();
    let is_shown = || async {
        let shown = program.process.stdout();
        if shown.contains("\"msg\": \"still here\"") { Ok(shown) } else { Err(shown) }
    };
    let shown = eventually(SOON + TICK, is_shown).await;
    assert!(shown.contains("[everything]\n"), "{shown}");
    assert!(shown.contains("type: dev.knative.sources.ping"), "{shown}");
}
