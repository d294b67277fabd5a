//! T-F-9 on disk: producers faster than subscribers until a bound of the storage is reached.

use std::time::Duration;

use harness::load::Load;
use harness::oracle::{Outcome, assert_all};
use harness::pace::say;
use harness::scene::numbered;
use harness::{Answer, Backing, Delivery, Mode, Running, Scene, Subscriber, Trigger, pick};
use serde_json::{Value, json};

use crate::{HEALED, MIB};

/// A subscriber that is down, its trigger, and little room on disk.
async fn little_room(settings: Value) -> (Running, Subscriber) {
    let down = Subscriber::start().await;
    down.always(Answer::status(503));
    let delivery = Delivery::exponential(10, "PT0.5S");
    let running = Scene::new()
        .channel(&Backing::Disk)
        .setup(|setup| setup.config(settings))
        .trigger(Trigger::named("down").delivery(delivery), &down)
        .start()
        .await;
    (running, down)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_channel_that_is_full_refuses_and_delivers_all_that_it_took() {
    let (bytes_max, events) = pick((8 * MIB, 4_000), (200 * MIB, 100_000));
    let settings = json!({
        "channel": {"disk": {"bytesMax": bytes_max, "retention": "PT0S", "retentionBytes": 0}},
        "overflow": {"after": "PT1S"},
    });
    let (running, down) = little_room(settings).await;
    let observer = running.observe();
    let load = Load::new(events, |number| numbered("full", number, "t", 8_000)).producers(16);
    running.load(load).finish().await;
    let (accepted, refused) = (running.oracle.ledger.accepted(), running.oracle.ledger.refused());
    assert!(refused > 0, "{bytes_max} bytes were never reached by {accepted} events");
    let sample = numbered("refused", 0, "t", 8_000);
    let answer = running.producer().send(&sample, Mode::Binary).await.expect("an answer");
    assert_eq!(answer.status, 503, "{}", answer.text());
    let wait: u64 = answer.header("retry-after").expect("Retry-After").parse().expect("seconds");
    assert!((1..=120).contains(&wait), "{wait}");
    assert!(answer.text().contains("full"), "{}", answer.text());
    let used = folder_bytes(&running.program.data());
    say(&format!(
        "DiskChannel: {accepted} accepted, {refused} refused at {used} of {bytes_max} bytes"
    ));
    for sent in &running.oracle.ledger.sent() {
        assert!(
            matches!(sent.outcome, Outcome::Accepted | Outcome::Refused(503)),
            "{:?}",
            sent.outcome
        );
    }
    down.always(Answer::status(200));
    running.settled(HEALED).await;
    let evidence = running.evidence().await;
    assert!(evidence.letters.iter().all(|letter| letter.listed.reason == "overflow"));
    let mut verdicts = evidence.verdicts();
    verdicts.push(observer.conserved());
    verdicts.push(observer.bounded(300 * MIB, 500));
    assert_all(verdicts);
    // There is room again.
    let sample = numbered("again", 0, "t", 8_000);
    harness::eventually(Duration::from_secs(20), || async {
        let answer = running.producer().send(&sample, Mode::Binary).await.expect("an answer");
        if answer.status == 202 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_finds_no_room_in_the_overflow_is_a_dead_letter() {
    let (waiting_max, events) = pick((200, 500), (5_000, 20_000));
    let settings = json!({"overflow": {"after": "PT1S", "eventsMax": waiting_max}});
    let (running, down) = little_room(settings).await;
    let observer = running.observe();
    running.load(crate::steady("over", events, 2_000)).finish().await;
    let all = running.oracle.ledger.accepted();
    let letters = running.admin().dead_letters_reach(1, HEALED).await;
    assert!(letters.iter().all(|letter| letter.reason == "overflow"), "{:?}", letters.first());
    down.always(Answer::status(200));
    running.settled(HEALED).await;
    let evidence = running.evidence().await;
    let dead = evidence.letters.len();
    say(&format!(
        "DiskChannel: {all} accepted, {dead} found no room beside {waiting_max} that waited"
    ));
    assert!(dead <= events - waiting_max, "{dead} of {events} are dead letters");
    let mut verdicts = evidence.verdicts();
    verdicts.push(observer.conserved());
    assert_all(verdicts);
}

/// What the files below a folder take.
fn folder_bytes(folder: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => folder_bytes(&entry.path()),
        Ok(found) => found.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}
