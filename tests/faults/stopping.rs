//! T-F-2: SIGTERM during a burst with slow subscribers.

use std::time::Duration;

use harness::oracle::assert_all;
use harness::{Answer, Backing, Scene, Subscriber, Trigger, pick};
use tokio::time::sleep;

use crate::steady;

/// Five seconds of goodbye, 25 of draining, and some for a busy machine.
const DEADLINE: Duration = Duration::from_secs(40);

async fn stop_in_a_burst(millis: u64, slow: Duration) {
    let (fast, late) = (Subscriber::start().await, Subscriber::start().await);
    late.always(Answer::status(200).after(slow));
    let scene = Scene::new()
        .channel(&Backing::Memory)
        .trigger(Trigger::named("fast"), &fast)
        .trigger(Trigger::named("late"), &late);
    let mut running = scene.start().await;
    let flowing = running.load(steady("stop", 1_000_000, 300));
    sleep(Duration::from_millis(millis)).await;
    running.program.terminate();
    let ended = running.program.exit(DEADLINE + Duration::from_secs(10)).await;
    flowing.stop().await;
    let evidence = running.evidence_without_program().await;
    assert!(running.oracle.ledger.accepted() > 50, "there was no burst");
    let mut verdicts = evidence.verdicts();
    verdicts.push(evidence.stopping(ended, DEADLINE));
    assert_all(verdicts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_in_a_burst_loses_nothing_that_was_accepted() {
    let rounds = pick(1, 10);
    let mut rng = harness::Seed::of("stopping").rng();
    for _ in 0..rounds {
        stop_in_a_burst(rng.u64(500..1500), Duration::from_millis(rng.u64(20..80))).await;
    }
}
