//! T-F-16 on disk: little memory and large events that wait in storage, and few descriptors.

use harness::load::Load;
use harness::oracle::assert_all;
use harness::pace::say;
use harness::process::Limit;
use harness::sample::Mode;
use harness::scene::numbered;
use harness::{Answer, Backing, Delivery, Scene, Subscriber, Trigger, eventually, pick};
use serde_json::json;

use crate::{HEALED, MIB, SOON, steady};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_events_of_one_mebibyte_wait_than_fit_into_memory() {
    let hung = Subscriber::start().await;
    hung.always(Answer::Hang);
    let settings = json!({"overflow": {"after": "PT1S"}});
    let delivery = Delivery::exponential(20, "PT0.5S").timeout("PT2S");
    let mut running = Scene::new()
        .channel(&Backing::Disk)
        .setup(|setup| setup.limit(Limit::Memory(128 * MIB)).config(settings))
        .trigger(Trigger::named("hung").delivery(delivery), &hung)
        .start()
        .await;
    let observer = running.observe();
    let bytes = 1000 * 1024;
    let load = Load::new(100_000, move |number| numbered("large", number, "t", bytes));
    let flowing = running.load(load.producers(12).mode(Mode::Binary));
    // More than fit into memory, at whatever pace the disk takes them.
    let wanted = pick(140, 1_500);
    eventually(HEALED * pick(1, 10), || async {
        let accepted = running.oracle.ledger.accepted();
        if accepted > wanted { Ok(()) } else { Err(format!("{accepted} accepted")) }
    })
    .await;
    flowing.stop().await;
    assert_eq!(running.program.process.exit(), None, "{}", running.program.process.stderr());
    let (accepted, refused) = (running.oracle.ledger.accepted(), running.oracle.ledger.refused());
    let resident = observer.observations().largest.resident_bytes_max / MIB;
    let unknown = running.oracle.ledger.sent().len() - accepted - refused;
    say(&format!(
        "DiskChannel: {accepted} MiB accepted, {refused} refused, {unknown} unknown, {resident} MiB resident"
    ));
    hung.always(Answer::status(200));
    running.settled(HEALED).await;
    let evidence = running.evidence().await;
    assert_eq!(evidence.letters.len(), 0, "{:?}", evidence.letters.first());
    let mut verdicts = evidence.verdicts();
    verdicts.push(observer.conserved());
    verdicts.push(observer.bounded(128 * MIB, 500));
    assert_all(verdicts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_256_descriptors_a_disk_channel_goes_on() {
    let (fine, down) = (Subscriber::start().await, Subscriber::start().await);
    down.always(Answer::status(503));
    let delivery = Delivery::exponential(10, "PT0.5S");
    let mut running = Scene::new()
        .channel(&Backing::Disk)
        .setup(|setup| {
            setup.limit(Limit::Files(256)).config(json!({"overflow": {"after": "PT1S"}}))
        })
        .trigger(Trigger::named("fine"), &fine)
        .trigger(Trigger::named("down").delivery(delivery), &down)
        .start()
        .await;
    let observer = running.observe();
    let mut idle = Vec::new();
    for _ in 0..400 {
        // The kernel takes what the program cannot; at some point neither does.
        if let Ok(wire) = harness::http::Wire::connect(running.program.events()).await {
            idle.push(wire);
        }
    }
    drop(idle);
    let events = pick(400, 5_000);
    running.load(steady("files", events, 200)).finish().await;
    fine.receives(running.oracle.ledger.accepted(), SOON).await;
    assert_eq!(running.program.process.exit(), None, "{}", running.program.process.stderr());
    down.always(Answer::status(200));
    running.settled(HEALED).await;
    assert!(running.oracle.ledger.accepted() > events / 2);
    let mut verdicts = running.evidence().await.verdicts();
    verdicts.push(observer.conserved());
    verdicts.push(observer.bounded(200 * MIB, 256));
    assert_all(verdicts);
}
