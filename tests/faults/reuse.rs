//! T-F-6 and T-F-7: subscribers that ask for time, and subscribers that close idle connections.

use std::time::{Duration, SystemTime};

use harness::{Answer, Delivery, Scene, Seed, Subscriber, Trigger, pick};

use crate::{HEALED, SOON, steady};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_after_in_every_form_delays_and_loses_nothing() {
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(2));
    let past = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH);
    let forms: Vec<(&str, u16, String)> = vec![
        ("seconds", 429, "1".into()),
        ("date", 503, date),
        ("past", 429, past),
        ("negative", 503, "-5".into()),
        ("huge", 429, "99999999999999999999999".into()),
        ("words", 503, "soon, I promise".into()),
        ("fraction", 429, "0.5".into()),
    ];
    let mut scene = Scene::new();
    for (name, status, value) in forms {
        let subscriber = Subscriber::start().await;
        subscriber.script(move |call| match call.earlier {
            0 => Answer::status(status).header("retry-after", &value),
            _ => Answer::status(200),
        });
        let delivery = Delivery::exponential(10, "PT0.1S").retry_after_max("PT2S");
        scene = scene.trigger(Trigger::named(name).delivery(delivery), &subscriber);
    }
    let running = scene.start().await;
    // No long form: every first attempt fails, so that the breaker lets an event through now and then.
    running.load(steady("later", 15, 50)).finish().await;
    running.settled(HEALED).await;
    let evidence = running.evidence().await;
    assert_eq!(evidence.letters.len(), 0, "{:?}", evidence.letters.first());
    let seconds = evidence.watched.iter().find(|one| one.trigger.name == "seconds").unwrap();
    for positions in seconds.by_key.values().filter(|positions| positions.len() > 1) {
        let waited = seconds.deliveries[positions[1]].at - seconds.deliveries[positions[0]].at;
        assert!(waited >= Duration::from_millis(990), "asked for 1 s, came after {waited:?}");
    }
    evidence.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_closed_at_the_moment_of_reuse_cost_no_event_and_no_repetition() {
    let closing = Subscriber::start().await;
    let seed = Seed::of("reuse");
    let base = seed.rng().u64(..);
    closing.script(move |call| {
        let pause = fastrand::Rng::with_seed(base ^ call.order as u64).u64(0..4000);
        Answer::status(200).closes_after(Duration::from_micros(pause))
    });
    let delivery = Delivery::exponential(5, "PT0.1S");
    let running =
        Scene::new().trigger(Trigger::named("closing").delivery(delivery), &closing).start().await;
    running.load(steady("reuse", pick(1500, 60_000), 500)).finish().await;
    running.settled(SOON).await;
    let evidence = running.evidence().await;
    assert_eq!(evidence.letters.len(), 0, "{:?}", evidence.letters.first());
    evidence.assert();
}
