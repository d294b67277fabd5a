//! T-F-12 and T-F-13, two programs on one server: they share the work, one is killed, both are stopped in turn.

use std::time::Duration;

use harness::oracle::{Outcome, assert_all};
use harness::pace::say;
use harness::process::Exit;
use harness::{Program, Running, Subscriber, eventually, pick};

use crate::servers::{Server, on_each_server, two};
use crate::{HEALED, steady};

/// What a program that died held is another's after its session or its ack wait.
const TAKEN_OVER: Duration = Duration::from_secs(120);

/// Waits until both deliver.
async fn until_shared(first: &Running, second: &Program) {
    eventually(HEALED, || async {
        let one = first.admin().trigger("default/all").await.counters.delivered;
        let other = second.admin().trigger("default/all").await.counters.delivered;
        if one > 20 && other > 20 { Ok(()) } else { Err((one, other)) }
    })
    .await;
}

fn verdicts_of(server: &Server, running: &Running, subscriber: &Subscriber, what: &str) {
    let accepted = running.oracle.ledger.accepted();
    let other = running.oracle.ledger.count(|outcome| *outcome != Outcome::Accepted);
    let repeated = subscriber.count().saturating_sub(accepted);
    say(&format!(
        "{}, {what}: {accepted} accepted, {other} not, {repeated} more came",
        server.kind()
    ));
}

async fn one_is_killed(server: Server) {
    let subscriber = Subscriber::start().await;
    let (running, mut second) = two(&server, &subscriber).await;
    let ledger = running.oracle.ledger.clone();
    let flowing = running.load(steady("first", 1_000_000, 100));
    let other = steady("second", 1_000_000, 100).start(second.events(), ledger);
    until_shared(&running, &second).await;
    second.kill().await;
    other.stop().await;
    tokio::time::sleep(Duration::from_secs(pick(2, 30))).await;
    flowing.stop().await;
    running.ended(TAKEN_OVER).await;
    verdicts_of(&server, &running, &subscriber, "one of two killed");
    let accepted = running.oracle.ledger.accepted();
    assert_all(running.evidence().await.restarted().excuse(accepted).verdicts());
}

async fn both_are_stopped_in_turn(server: Server) {
    let subscriber = Subscriber::start().await;
    let (mut running, mut second) = two(&server, &subscriber).await;
    let ledger = running.oracle.ledger.clone();
    let flowing = running.load(steady("first", 1_000_000, 100));
    let other = steady("second", 1_000_000, 100).start(second.events(), ledger);
    until_shared(&running, &second).await;
    for _ in 0..pick(1, 5) {
        for program in [&mut running.program, &mut second] {
            program.terminate();
            let ended = program.exit(Duration::from_secs(45)).await;
            assert_eq!(ended.exit, Exit::Code(0), "{}", program.process.stderr());
            program.start_again().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    flowing.stop().await;
    other.stop().await;
    running.ended(TAKEN_OVER).await;
    verdicts_of(&server, &running, &subscriber, "both stopped in turn");
    let accepted = running.oracle.ledger.accepted();
    // A program that stops in peace leaves next to nothing to come twice.
    let excused = accepted / 100;
    assert_all(running.evidence().await.restarted().excuse(excused).verdicts());
}

on_each_server! {
    one_is_killed: kafka_one_of_two_is_killed, nats_one_of_two_is_killed;
    both_are_stopped_in_turn: kafka_both_are_stopped_in_turn, nats_both_are_stopped_in_turn;
}
