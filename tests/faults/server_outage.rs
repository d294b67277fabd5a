//! T-F-12 and T-F-13, one server: killed, frozen and started again under load, and away when the program starts.

use std::time::Duration;

use harness::oracle::{Outcome, assert_all};
use harness::pace::say;
use harness::scene::numbered;
use harness::{Mode, Running, Subscriber, Trigger, eventually, pick};
use tokio::time::sleep;

use crate::servers::{Server, on_each_server};
use crate::{HEALED, SOON, steady};

/// A dead connection shows itself only after a while.
const NOTICED: Duration = Duration::from_secs(40);

async fn line_of_broker(running: &Running) -> String {
    let verbose = running.admin().get("/readyz?verbose").await.text();
    let line = verbose.lines().find(|line| line.contains("broker default/default"));
    line.map_or(verbose.clone(), ToOwned::to_owned)
}

async fn until_down(running: &Running, kind: &str) -> String {
    eventually(NOTICED, || async {
        let line = line_of_broker(running).await;
        let start = "[-] broker default/default: ";
        let reason = line.strip_prefix(start).and_then(|rest| rest.split_once(kind));
        let is_told = reason.is_some_and(|(_, why)| {
            why.trim_matches([':', ' ']).len() > 5 && !why.contains("is being opened")
        });
        if is_told { Ok(line) } else { Err(line) }
    })
    .await
}

async fn until_up(running: &Running) {
    eventually(HEALED, || async {
        let line = line_of_broker(running).await;
        if line.starts_with("[+]") { Ok(()) } else { Err(line) }
    })
    .await;
}

async fn comes_and_goes(mut server: Server) {
    let subscriber = Subscriber::start().await;
    let running = server.scene().trigger(Trigger::named("all"), &subscriber).start().await;
    let ledger = &running.oracle.ledger;
    let flowing = running.load(steady("server", 1_000_000, 100));
    subscriber.receives(100, SOON).await;
    for round in 0..pick(1, 5) {
        for freezes in [false, true] {
            let refused =
                || ledger.count(|outcome| !matches!(outcome, Outcome::Accepted | Outcome::Open));
            let before = refused();
            if freezes {
                server.freeze();
            } else {
                server.kill().await;
            }
            let line = until_down(&running, server.kind()).await;
            say(&format!("round {round}, frozen: {freezes}: {line}"));
            eventually(SOON, || async {
                let more = refused() - before;
                if more > 3 { Ok(()) } else { Err(format!("{more} were not accepted")) }
            })
            .await;
            sleep(Duration::from_secs(pick(1, 20))).await;
            if freezes {
                server.thaw();
            } else {
                server.restart().await;
            }
            until_up(&running).await;
            let before = ledger.accepted();
            eventually(HEALED, || async {
                let more = ledger.accepted() - before;
                if more > 100 { Ok(()) } else { Err(format!("{more} accepted since")) }
            })
            .await;
        }
    }
    flowing.stop().await;
    running.ended(HEALED).await;
    let strange = ledger.count(|outcome| match outcome {
        Outcome::Accepted | Outcome::Refused(503) => false,
        Outcome::Unknown(why) => !why.contains("unknown"),
        _ => true,
    });
    let (accepted, down) = (ledger.accepted(), ledger.refused());
    let unknown = ledger.count(|outcome| matches!(outcome, Outcome::Unknown(_)));
    let repeated = subscriber.count().saturating_sub(accepted);
    say(&format!(
        "{}: {accepted} accepted, {down} refused, {unknown} unknown, {repeated} more came",
        server.kind()
    ));
    assert_eq!(strange, 0, "every request is answered with 202 or 503");
    // What was not settled for sure comes again, and is counted again.
    assert_all(running.evidence().await.restarted().excuse(accepted).verdicts());
}

async fn comes_later(mut server: Server) {
    let subscriber = Subscriber::start().await;
    server.kill().await;
    let running = server.scene().trigger(Trigger::named("all"), &subscriber).start().await;
    let line = until_down(&running, server.kind()).await;
    say(&line);
    let sample = numbered("early", 0, "t", 100);
    let answer = running.producer().send(&sample, Mode::Binary).await.expect("an answer");
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some(), "{}", answer.text());
    server.restart().await;
    until_up(&running).await;
    running.load(steady("later", 50, 200)).finish().await;
    running.ended(HEALED).await;
    assert_eq!(running.oracle.ledger.accepted(), 50);
    running.evidence().await.assert();
}

on_each_server! {
    comes_and_goes: a_kafka_comes_and_goes, a_nats_comes_and_goes;
    comes_later: a_kafka_comes_later, a_nats_comes_later;
}
