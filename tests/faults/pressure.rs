//! T-F-9 and T-F-16: producers faster than subscribers, little memory, few descriptors.

use std::time::Duration;

use harness::load::Load;
use harness::oracle::assert_all;
use harness::process::{Limit, has_cgroups};
use harness::sample::Mode;
use harness::scene::numbered;
use harness::{Answer, Scene, Subscriber, Trigger, eventually, pick};

use crate::{HEALED, MIB, SOON, steady};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn producers_that_are_too_fast_are_refused_and_all_that_was_accepted_arrives() {
    let slow = Subscriber::start().await;
    slow.always(Answer::status(200).after(Duration::from_millis(100)));
    let bound = pick(400, 20_000);
    let running = Scene::new()
        .trigger(Trigger::named("slow"), &slow)
        .setup(|setup| setup.memory_bounds(None, Some(bound)))
        .start()
        .await;
    let observer = running.observe();
    let load = Load::new(bound * 6, |number| numbered("fast", number, "t", 1000)).producers(16);
    running.load(load).finish().await;
    let refused = running.oracle.ledger.refused();
    let letters = running.admin().dead_letters().await;
    assert!(refused + letters.len() > 0, "the bound of {bound} was never reached");
    assert!(letters.iter().all(|letter| letter.reason == "overflow"), "{:?}", letters.first());
    slow.always(Answer::status(200));
    running.settled(HEALED).await;
    let evidence = running.evidence().await;
    for sent in &evidence.sent {
        if let harness::oracle::Outcome::Refused(status) = sent.outcome {
            assert!(matches!(status, 503 | 429), "refused with {status}");
        }
    }
    let mut verdicts = evidence.verdicts();
    verdicts.push(observer.conserved());
    // What finds no room is kept as dead letters, up to the 256 MiB of a broker in memory.
    verdicts.push(observer.bounded(pick(200, 400) * MIB, 500));
    assert_all(verdicts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_one_mebibyte_live_in_128() {
    let slow = Subscriber::start().await;
    slow.always(Answer::Hang);
    // The program sees the limit of a cgroup; another one it has to be told.
    let told = (!has_cgroups()).then_some(40 * MIB);
    let mut running = Scene::new()
        .trigger(Trigger::named("slow"), &slow)
        .setup(|setup| setup.limit(Limit::Memory(128 * MIB)).memory_bounds(told, None))
        .start()
        .await;
    let observer = running.observe();
    let bytes = 1000 * 1024;
    let load = Load::new(pick(160, 2000), move |number| numbered("large", number, "t", bytes));
    running.load(load.producers(16).mode(Mode::Binary)).finish().await;
    assert_eq!(running.program.process.exit(), None, "{}", running.program.process.stderr());
    let (accepted, refused) = (running.oracle.ledger.accepted(), running.oracle.ledger.refused());
    println!("{accepted} accepted, {refused} refused");
    assert!(accepted >= 5, "only {accepted} accepted");
    slow.always(Answer::status(200));
    running.settled(HEALED).await;
    let evidence = running.evidence().await;
    let mut verdicts = evidence.verdicts();
    verdicts.push(observer.conserved());
    verdicts.push(observer.bounded(128 * MIB, 500));
    assert_all(verdicts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_256_descriptors_the_program_goes_on() {
    let subscriber = Subscriber::start().await;
    let mut running = Scene::new()
        .trigger(Trigger::named("all"), &subscriber)
        .setup(|setup| setup.limit(Limit::Files(256)))
        .start()
        .await;
    let start = running.program.process.size().files;
    let mut idle = Vec::new();
    for _ in 0..400 {
        // The kernel takes what the program cannot; at some point neither does.
        if let Ok(wire) = harness::http::Wire::connect(running.program.events()).await {
            idle.push(wire);
        }
    }
    drop(idle);
    eventually(SOON, || async {
        let sample = numbered("alive", fastrand::usize(..), "t", 50);
        let answer = running.producer().send(&sample, Mode::Structured).await;
        if answer.as_ref().is_ok_and(|answer| answer.status == 202) {
            Ok(())
        } else {
            Err(answer.map(|_| ()))
        }
    })
    .await;
    let before = subscriber.receives(1, SOON).await.len();
    running.load(steady("files", pick(200, 5000), 200)).finish().await;
    subscriber.receives(before + pick(200, 5000), SOON).await;
    assert_eq!(running.program.process.exit(), None);
    // Descriptors come back: what is left is what was there and the connections that are kept.
    eventually(SOON, || async {
        let files = running.program.process.size().files;
        if files <= start + 60 {
            Ok(())
        } else {
            Err(format!("{files} descriptors, {start} at the start"))
        }
    })
    .await;
}
