//! T-F-17: events that come back as their own answers.

use std::time::Duration;

use harness::load::Load;
use harness::scene::numbered;
use harness::{Answer, Broker, Filter, Mode, Sample, Scene, Subscriber, Trigger, eventually, pick};
use tokio::time::sleep;

use crate::{MIB, SOON};

/// An event that starts with this counter is stored with one less, and each reply costs one more.
const HOPS: usize = 255;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_that_answers_each_event_with_itself_ends_in_a_dead_letter() {
    let (echo, well) = (Subscriber::start().await, Subscriber::start().await);
    echo.script(|call| {
        let seen = call.event.as_ref().unwrap();
        Answer::event(&Sample::new(&seen.key().source, &seen.key().id, "loop"))
    });
    let running = Scene::new()
        .unwatched(Trigger::named("echo").wants(Filter::exact("type", "loop")), &echo)
        .trigger(Trigger::named("well").wants(Filter::exact("type", "t")), &well)
        .start()
        .await;
    let observer = running.observe();
    let loops = pick(3, 50);
    let mut producer = running.producer();
    for number in 0..loops {
        let sample = Sample::new("/loop", &format!("loop-{number}"), "loop");
        assert_eq!(producer.send(&sample, Mode::Binary).await.unwrap().status, 202);
    }
    running
        .load(Load::new(100, |number| numbered("beside", number, "t", 100)).per_second(100))
        .finish()
        .await;
    let letters = running.admin().dead_letters_reach(loops, Duration::from_secs(60)).await;
    assert!(
        letters.iter().all(|letter| letter.reason == "loop" && letter.trigger == "default/echo"),
        "{letters:?}"
    );
    running.settled(SOON).await;
    for number in 0..loops {
        let id = format!("loop-{number}");
        let times = echo.received().iter().filter(|one| one.key().unwrap().id == id).count();
        // A first counter of 255 may be the one that is stored, or be the one that is taken one from.
        assert!((HOPS - 2..=HOPS).contains(&times), "{id} came {times} times");
    }
    let evidence = running.evidence().await;
    let mut verdicts = vec![
        evidence.nothing_lost(),
        evidence.once(),
        evidence.same_bytes(),
        evidence.replies_once(),
    ];
    verdicts.push(observer.conserved());
    harness::oracle::assert_all(verdicts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_triggers_that_answer_each_other_end_in_a_dead_letter() {
    let (ping, pong) = (Subscriber::start().await, Subscriber::start().await);
    ping.script(|call| Answer::event(&Sample::new("/ping", &format!("{}", call.order), "pong")));
    pong.script(|call| Answer::event(&Sample::new("/pong", &format!("{}", call.order), "ping")));
    let running = Scene::new()
        .unwatched(Trigger::named("ping").wants(Filter::exact("type", "ping")), &ping)
        .unwatched(Trigger::named("pong").wants(Filter::exact("type", "pong")), &pong)
        .start()
        .await;
    let first = Sample::new("/start", "1", "ping").with("knativebrokerttl", "21");
    assert_eq!(running.producer().send(&first, Mode::Binary).await.unwrap().status, 202);
    let letters = running.admin().dead_letters_reach(1, SOON).await;
    assert_eq!(letters[0].reason, "loop");
    assert_eq!((ping.count(), pong.count()), (10, 10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_brokers_that_send_to_each_other_starve_nobody_and_stop_when_told() {
    let well = Subscriber::start().await;
    let running = Scene::new()
        .broker(Broker::named("second"))
        .trigger(Trigger::named("well").wants(Filter::exact("type", "t")), &well)
        .start()
        .await;
    let observer = running.observe();
    let to = running.program.events();
    let there = Trigger::named("there").wants(Filter::exact("type", "loop"));
    let back = Trigger::named("back").of("second");
    running.manifests.trigger(&there.to_url(&format!("http://{to}/default/second")));
    running.manifests.trigger(&back.to_url(&format!("http://{to}/default/default")));
    running.admin_has("default/there").await;
    running.admin_has("default/back").await;
    let first = Sample::new("/start", "1", "loop");
    assert_eq!(running.producer().send(&first, Mode::Binary).await.unwrap().status, 202);
    running
        .load(Load::new(300, |number| numbered("between", number, "t", 100)).per_second(150))
        .finish()
        .await;
    running.settled(SOON).await;
    sleep(Duration::from_secs(pick(0, 30))).await;
    running.manifests.remove("trigger-back.yaml");
    running.manifests.remove("trigger-there.yaml");
    let evidence = running.evidence().await;
    let mut verdicts = evidence.verdicts();
    verdicts.push(observer.conserved());
    verdicts.push(observer.bounded(200 * MIB, 300));
    harness::oracle::assert_all(verdicts);
    // With the triggers gone nothing goes round: the broker's count stands still.
    let admin = running.admin();
    eventually(SOON, || async {
        let accepted = || async { admin.broker("default/default").await["accepted"].as_u64() };
        let before = accepted().await;
        sleep(Duration::from_millis(300)).await;
        let after = accepted().await;
        if before == after { Ok(()) } else { Err(format!("{before:?} became {after:?}")) }
    })
    .await;
}
