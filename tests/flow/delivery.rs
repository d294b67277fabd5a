//! Attempts, their answers, formats and order.

use std::time::{Duration, SystemTime};

use harness::{Answer, Broker, Delivery, Mode, Scene, Subscriber, Trigger};
use serde_json::json;

use crate::{SOON, greeting, with};

fn quickly(retries: u32) -> Delivery {
    Delivery::retry(retries, "PT0.05S").timeout("PT2S")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn these_are_retried_and_those_are_not() {
    let cases = [
        (500, true),
        (502, true),
        (503, true),
        (404, true),
        (408, true),
        (409, true),
        (429, true),
        (400, false),
        (401, false),
        (403, false),
        (405, false),
        (410, false),
        (413, false),
        (422, false),
        (301, false),
        (302, false),
        (307, false),
        (308, false),
    ];
    let (running, subscriber) = with(Trigger::named("all").delivery(quickly(2))).await;
    let elsewhere = Subscriber::start().await;
    let location = elsewhere.url("/");
    subscriber.script(move |call| {
        let id = call.event.as_ref().unwrap().key().id;
        Answer::status(id.parse().unwrap()).header("location", &location)
    });
    for (status, _) in cases {
        running.send(&greeting(&status.to_string())).await;
    }
    let letters = running.admin().dead_letters_reach(cases.len(), Duration::from_secs(30)).await;
    for (status, is_retried) in cases {
        let id = status.to_string();
        let letter = letters.iter().find(|one| one.event["id"] == id.as_str()).unwrap();
        let attempts = if is_retried { 3 } else { 1 };
        assert_eq!(letter.attempts, attempts, "{status}");
        assert_eq!(letter.last_status, Some(status));
        assert_eq!(letter.reason, if is_retried { "exhausted" } else { "refused" }, "{status}");
    }
    assert_eq!(elsewhere.count(), 0, "a redirect was followed");
    running.settled(SOON).await;
    running.evidence().await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_that_succeeds_ends_it_and_the_exponential_delay_is_kept() {
    let delivery = Delivery::exponential(5, "PT0.1S");
    let (running, subscriber) = with(Trigger::named("all").delivery(delivery)).await;
    subscriber.script(|call| Answer::status(if call.earlier < 3 { 500 } else { 200 }));
    running.send(&greeting("1").json(&json!({"a": 1}))).await;
    running.settled(SOON).await;
    assert_eq!(subscriber.count(), 4);
    running.evidence().await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_says_one_field_and_its_broker_the_others() {
    let subscriber = Subscriber::start().await;
    subscriber.always(Answer::status(500));
    let sink = Subscriber::start().await;
    let own = Delivery { dead_letter_sink: Some(sink.url("/sink")), ..Delivery::default() };
    let scene = Scene::new().broker(Broker::named("default").delivery(quickly(1)));
    let running = scene.trigger(Trigger::named("all").delivery(own), &subscriber).start().await;
    running.send(&greeting("1")).await;
    sink.receives(1, SOON).await;
    assert_eq!(subscriber.count(), 2, "the broker's one retry holds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_after_is_followed_up_to_its_bound() {
    let (running, subscriber) =
        with(Trigger::named("all").delivery(quickly(3).retry_after_max("PT2S"))).await;
    let in_two = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3600));
    subscriber.script(move |call| {
        match (call.event.as_ref().unwrap().key().id.as_str(), call.earlier) {
            ("seconds", 0) => Answer::status(503).header("retry-after", "1"),
            ("date", 0) => Answer::status(429).header("retry-after", &in_two),
            ("absurd", 0) => Answer::status(503).header("retry-after", "-99999999999999999999"),
            ("other", 0) => Answer::status(500).header("retry-after", "3600"),
            _ => Answer::status(200),
        }
    });
    for id in ["seconds", "date", "absurd", "other"] {
        running.send(&greeting(id)).await;
    }
    running.settled(SOON).await;
    let received = subscriber.received();
    let waited = |id: &str| {
        let mine: Vec<_> = received.iter().filter(|one| one.key().unwrap().id == id).collect();
        assert_eq!(mine.len(), 2, "{id}");
        mine[1].at - mine[0].at
    };
    assert!(waited("seconds") >= Duration::from_millis(990), "{:?}", waited("seconds"));
    assert!(
        waited("date") >= Duration::from_millis(1590),
        "cut to the bound: {:?}",
        waited("date")
    );
    for id in ["seconds", "date", "absurd", "other"] {
        assert!(waited(id) < Duration::from_secs(10), "{id} waited {:?}", waited(id));
    }
    running.evidence().await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_ends_at_its_timeout_even_within_the_body() {
    let delivery = Delivery::retry(1, "PT0.05S").timeout("PT1S");
    let (running, subscriber) = with(Trigger::named("all").delivery(delivery)).await;
    subscriber.script(|call| match call.event.as_ref().unwrap().key().id.as_str() {
        "hang" => Answer::Hang,
        _ => Answer::endless(
            "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n",
            "x",
            Duration::from_millis(100),
        ),
    });
    running.send(&greeting("hang")).await;
    running.send(&greeting("drip")).await;
    let letters = running.admin().dead_letters_reach(2, SOON).await;
    for letter in letters {
        let whole = running.admin().dead_letter(&letter.id).await;
        assert_eq!(letter.attempts, 2, "{whole}");
        assert_eq!(letter.reason, "exhausted");
        for attempt in whole["attemptLog"].as_array().unwrap() {
            let took = attempt["durationMs"].as_u64().unwrap();
            assert!((900..5000).contains(&took), "{attempt}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn format_json_delivers_structured_and_binary_binary() {
    let subscriber = Subscriber::start().await;
    let json_format = Delivery::default().format("json");
    let scene =
        Scene::new().trigger(Trigger::named("json").delivery(json_format), &subscriber).trigger(
            Trigger::named("binary").delivery(Delivery::default().format("binary")),
            &subscriber,
        );
    let running = scene.start().await;
    let samples = [
        greeting("json").data("application/json", "{ \"a\" : 1.50 }"),
        greeting("text").data("text/plain", "zwölf \"x\"\n"),
        greeting("bytes").data("application/octet-stream", vec![0_u8, 255, 7]),
        greeting("none").with_integer("count", 3).with("subject", "a b € %"),
        greeting("broken").data("application/json", "{not json"),
    ];
    for sample in &samples {
        running.send(sample).await;
    }
    let again = greeting("structured").with_integer("n", 4).data("application/json", "[1,  2]");
    running.send_as(&again, Mode::Structured).await;
    running.settled(SOON).await;
    for (path, mode) in [("/json", Mode::Structured), ("/binary", Mode::Binary)] {
        for one in subscriber.received_at(path) {
            assert_eq!(one.event.unwrap().mode, mode, "{path}");
        }
    }
    running.evidence().await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ordered_trigger_keeps_the_order_of_a_key_and_runs_keys_side_by_side() {
    let ordered = Trigger::named("ordered").ordered().delivery(quickly(5));
    let (running, subscriber) = with(ordered).await;
    subscriber.script(|call| {
        let number: usize =
            call.event.as_ref().unwrap().attribute("sequence").unwrap().parse().unwrap();
        let fails = number % 7 == 3 && call.earlier < 2;
        Answer::status(if fails { 500 } else { 200 })
            .after(Duration::from_millis(number as u64 % 4 * 10))
    });
    let mut producer = running.producer();
    for number in 0..60 {
        let sample = harness::scene::numbered("order", number, "t", 50)
            .with("partitionkey", &format!("key{}", number % 3));
        let entry = running.oracle.ledger.open("default/default", &sample, Mode::Binary);
        let answer = producer.send(&sample, Mode::Binary).await;
        running.oracle.ledger.close(entry, &answer);
    }
    running.settled(Duration::from_secs(30)).await;
    let evidence = running.evidence().await;
    assert!(evidence.in_order().checked > 50, "nothing was compared");
    evidence.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn max_in_flight_bounds_what_is_open_at_a_subscriber() {
    let trigger = Trigger::named("two").annotation("catchment.dev/max-in-flight", "2");
    let (running, subscriber) = with(trigger).await;
    subscriber.always(Answer::status(200).after(Duration::from_millis(50)));
    for number in 0..20 {
        running.send(&greeting(&number.to_string())).await;
    }
    running.settled(SOON).await;
    let received = subscriber.received();
    for one in &received {
        let open = received.iter().filter(|other| match other.ended {
            harness::subscriber::Ended::Answered { at: end, .. } => {
                other.at <= one.at && end > one.at
            }
            _ => false,
        });
        let open = open.count();
        assert!(open <= 2, "{open} at a time");
    }
}
