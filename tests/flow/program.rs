//! The program as a process: starting, stopping, and what its commands say.

use std::time::{Duration, Instant};

use harness::load::Load;
use harness::oracle::assert_all;
use harness::process::Exit;
use harness::program::command;
use harness::scene::numbered;
use harness::wait::within;
use harness::{Answer, Backing, Mode, Scene, Setup, Subscriber, Trigger, eventually};
use serde_json::json;

use crate::{SOON, greeting, plain};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_manifests_events_are_displayed() {
    let program = Setup::new().start().await;
    let sample = greeting("say-hello")
        .with("subject", "a b")
        .with_integer("count", 3)
        .json(&json!({"msg": "Hello"}));
    let answer = program.producer("default/default").send(&sample, Mode::Binary).await.unwrap();
    assert_eq!(answer.status, 202);
    let shown = eventually(SOON, || async {
        let stdout = program.process.stdout();
        if stdout.contains("Hello") { Ok(stdout) } else { Err(stdout) }
    });
    let shown = shown.await;
    for text in ["say-hello", "greeting", "not-sendoff", "1.0", "a b", "count", "application/json"]
    {
        assert!(shown.contains(text), "{text} is not in {shown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_drains_what_would_be_lost_and_ends_with_0() {
    let subscriber = Subscriber::start().await;
    let scene = Scene::new().channel(&Backing::Memory).trigger(Trigger::named("all"), &subscriber);
    let mut running = scene.start().await;
    subscriber.always(Answer::status(200).after(Duration::from_millis(300)));
    running.load(Load::new(40, |number| numbered("drain", number, "t", 50))).finish().await;
    running.program.terminate();
    let ended = running.program.exit(Duration::from_secs(45)).await;
    let evidence = running.evidence_without_program().await;
    assert_eq!(ended.exit, Exit::Code(0), "{}", running.program.process.stderr());
    assert_all([
        evidence.nothing_lost(),
        evidence.once(),
        evidence.stopping(ended, Duration::from_secs(40)),
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_leaves_what_is_stored_and_the_next_start_goes_on() {
    let (mut running, subscriber) = plain().await;
    subscriber.always(Answer::status(200).after(Duration::from_secs(1)));
    running.load(Load::new(100, |number| numbered("leave", number, "t", 50))).finish().await;
    subscriber.receives(10, SOON).await;
    running.program.terminate();
    let ended = running.program.exit(Duration::from_secs(10)).await;
    assert_eq!(ended.exit, Exit::Code(0), "{}", running.program.process.stderr());
    assert!(subscriber.count() < 100, "there was nothing left to store");
    subscriber.always(Answer::status(200));
    running.program.start_again().await;
    running.ended(SOON).await;
    // What was under way has ended before the program did: nothing comes twice.
    running.evidence().await.restarted().assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_sigterm_ends_it_at_once() {
    let (mut running, subscriber) = plain().await;
    subscriber.always(Answer::Hang);
    running.send(&greeting("1")).await;
    subscriber.receives(1, SOON).await;
    running.program.terminate();
    // The first must have been seen, or the two may become one.
    let admin = running.program.admin_address();
    let is_draining = || async {
        let mut client = harness::Producer::new(admin, "");
        let answer =
            client.request("GET", "/readyz", harness::http::Headers::default(), None).await;
        if answer.is_ok_and(|answer| answer.status == 200) { Err(()) } else { Ok(()) }
    };
    within(SOON, is_draining).await.expect("readiness ends with the first SIGTERM");
    let from = Instant::now();
    running.program.terminate();
    let ended = running.program.exit(Duration::from_secs(5)).await;
    assert!(from.elapsed() < Duration::from_secs(3), "{:?}", from.elapsed());
    assert_ne!(ended.exit, Exit::Code(0), "an event was left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_the_port_is_refused_in_one_line() {
    let (running, subscriber) = plain().await;
    let mut second = Setup::new().listen(running.program.events()).spawn();
    let exit = second.process.wait(SOON).await.expect("it ends");
    assert!(matches!(exit, Exit::Code(code) if code != 0), "{exit:?}");
    let said = second.process.stderr();
    let port = running.program.events().port().to_string();
    assert!(said.contains(&port), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "{said}");
    assert!(!second.process.stdout().contains("is ready"));
    running.send(&greeting("1")).await;
    subscriber.receives(1, SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_usage_is_2_and_what_cannot_be_done_is_1() {
    let cases: [(&[&str], i32, &str); 7] = [
        (&["serve", "--no-such-flag"], 2, "--no-such-flag"),
        (&["frobnicate"], 2, "frobnicate"),
        (&["serve", "--listen", "nonsense"], 2, "nonsense"),
        (&["serve", "/no/such/folder"], 1, "/no/such/folder"),
        (&["check", "/no/such/file.yaml"], 1, "/no/such/file.yaml"),
        (&["check"], 2, "PATH"),
        (&["completions", "klingon"], 2, "klingon"),
    ];
    for (args, code, named) in cases {
        let output = command(args).await;
        assert_eq!(output.exit, Exit::Code(code), "{args:?}: {}", output.stderr);
        assert!(output.stderr.contains(named), "{args:?}: {}", output.stderr);
    }
    for args in
        [["--help"].as_slice(), &["serve", "--help"], &["--version"], &["completions", "bash"]]
    {
        let output = command(args).await;
        assert!(output.is_success() && !output.stdout.is_empty(), "{args:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn send_sends_in_each_mode_and_fails_when_refused() {
    let (running, subscriber) = plain().await;
    let url = format!("http://{}/default/default", running.program.events());
    for (number, mode) in ["binary", "structured", "batched"].into_iter().enumerate() {
        let args = [
            "send",
            &url,
            "--id",
            mode,
            "--type",
            "greeting",
            "--source",
            "/cli",
            "--subject",
            "a b",
            "--data",
            "{\"a\": 1}",
            "--content-type",
            "application/json",
            "--extension",
            "count=5",
            "--mode",
            mode,
        ];
        let output = command(&args).await;
        assert!(output.is_success(), "{mode}: {output:?}");
        let received = subscriber.receives(number + 1, SOON).await;
        let seen = received[number].event.as_ref().unwrap();
        assert_eq!((seen.key().id.as_str(), seen.attribute("subject")), (mode, Some("a b")));
        assert_eq!(
            (seen.attribute("count"), seen.data.as_deref()),
            (Some("5"), Some(b"{\"a\": 1}".as_slice()))
        );
    }
    let file = running.manifests.path().join("events.ndjson");
    let lines: Vec<String> =
        (0..30).map(|number| greeting(&format!("f{number}")).object()).collect();
    std::fs::write(&file, lines.join("\n")).unwrap();
    let file = file.display().to_string();
    let output = command(&["send", &url, "--file", &file, "--concurrency", "4"]).await;
    assert!(output.is_success(), "{output:?}");
    subscriber.receives(33, SOON).await;

    let unknown = format!("http://{}/default/none", running.program.events());
    let output = command(&["send", &unknown, "--type", "t", "--source", "/s"]).await;
    assert_eq!(output.exit, Exit::Code(1), "{output:?}");
    assert!(output.stderr.contains("404"), "{output:?}");
}
