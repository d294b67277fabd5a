//! T-F-4: one of ten subscribers never answers, another answers one byte a second.

use std::time::{Duration, Instant};

use harness::{
    Answer, Delivery, Evidence, Running, Scene, Subscriber, Trigger, eventually, is_long, pick,
};

use crate::{HEALED, SOON, steady};

const GOOD: usize = 8;

async fn ten() -> (Running, Vec<Subscriber>) {
    let mut scene = Scene::new();
    let mut subscribers = Vec::new();
    for number in 0..10 {
        let subscriber = Subscriber::start().await;
        let name = if number < GOOD { format!("good{number}") } else { format!("bad{number}") };
        let delivery = Delivery::exponential(10, "PT0.2S").timeout("PT2S");
        scene = scene.trigger(Trigger::named(&name).delivery(delivery), &subscriber);
        subscribers.push(subscriber);
    }
    (scene.start().await, subscribers)
}

/// The time from the first byte sent to the arrival at good subscribers, the 99th of 100.
fn p99(evidence: &Evidence, from: Instant, to: Instant) -> Duration {
    let good = evidence.watched.iter().filter(|one| one.trigger.name.starts_with("good"));
    let mut times: Vec<Duration> = good
        .flat_map(|watched| &watched.deliveries)
        .filter(|one| one.at >= from && one.at < to)
        .filter_map(|one| Some(one.at - evidence.sent_as(&one.key()?)?.sent_at))
        .collect();
    times.sort_unstable();
    times.get(times.len() * 99 / 100).copied().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_subscribers_cost_only_themselves() {
    let (running, subscribers) = ten().await;
    let events = pick(150, 6000);
    let begin = Instant::now();
    running.load(steady("well", events, 100)).finish().await;
    running.settled(SOON).await;
    let ill = Instant::now();
    subscribers[8].always(Answer::Hang);
    let drip = Answer::endless(
        "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n",
        "x",
        Duration::from_secs(1),
    );
    subscribers[9].always(drip);
    running.load(steady("ill", events, 100)).finish().await;
    // The eight have everything while the two are still ill.
    eventually(SOON, || async {
        let statuses = running.admin().triggers().await;
        let late = statuses.into_iter().filter(|one| one.name.starts_with("good"));
        let late: Vec<_> = late.filter(|one| one.counters.delivered < 2 * events as u64).collect();
        if late.is_empty() { Ok(()) } else { Err(late) }
    })
    .await;
    let healed = Instant::now();
    for subscriber in &subscribers[8..] {
        subscriber.always(Answer::status(200));
    }
    running.settled(HEALED).await;
    let evidence = running.evidence().await;
    assert_eq!(evidence.letters.len(), 0, "{:?}", evidence.letters.first());
    evidence.assert();
    let (well, ill) = (p99(&evidence, begin, ill), p99(&evidence, ill, healed));
    println!("p99 of the eight: {well:?} before, {ill:?} after");
    if is_long() {
        assert!(ill <= well.mul_f64(1.2) + Duration::from_millis(2), "p99 {well:?} became {ill:?}");
    }
}
