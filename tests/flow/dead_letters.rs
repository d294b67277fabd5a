//! Dead letters: listed, shown, redriven and purged, through the API and the command.

use std::time::Duration;

use harness::metrics::{Point, parse};
use harness::program::{Output, command};
use harness::{Answer, Delivery, Running, Scene, Subscriber, Trigger};
use serde_json::{Value, json};

use crate::{SOON, greeting};

/// Two triggers: `bad` refuses with 400 and a body, `ugly` fails with 500 once and once more.
async fn failing() -> (Running, Subscriber, Subscriber) {
    let (bad, ugly) = (Subscriber::start().await, Subscriber::start().await);
    bad.always(Answer::status(400).body("no thanks"));
    ugly.always(Answer::status(500));
    let running = Scene::new()
        .trigger(Trigger::named("bad"), &bad)
        .trigger(Trigger::named("ugly").delivery(Delivery::retry(1, "PT0.05S")), &ugly)
        .start()
        .await;
    (running, bad, ugly)
}

async fn cli(running: &Running, args: &[&str]) -> Output {
    let admin = running.program.admin_address().to_string();
    let mut all = vec!["dead-letters"];
    all.extend(args);
    all.extend(["--admin", &admin]);
    command(&all).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_listed_and_shown_whole() {
    let (running, ..) = failing().await;
    let sample =
        greeting("1").with("subject", "a b €").with_integer("n", 5).json(&json!({"msg": "Hello"}));
    running.send(&sample).await;
    let letters = running.admin().dead_letters_reach(2, SOON).await;
    let bad = letters.iter().find(|one| one.trigger == "default/bad").unwrap();
    assert_eq!((bad.reason.as_str(), bad.attempts, bad.last_status), ("refused", 1, Some(400)));
    assert_eq!(
        (bad.broker.as_str(), bad.event["type"].as_str()),
        ("default/default", Some("greeting"))
    );
    let ugly = letters.iter().find(|one| one.trigger == "default/ugly").unwrap();
    assert_eq!(
        (ugly.reason.as_str(), ugly.attempts, ugly.last_status),
        ("exhausted", 2, Some(500))
    );

    let whole = running.admin().dead_letter(&bad.id).await;
    assert_eq!(whole["attemptLog"][0]["answer"], "no thanks", "{whole}");
    assert_eq!(whole["attemptLog"][0]["answerTruncated"], false);
    assert_eq!(whole["event"]["data"], json!({"msg": "Hello"}));
    running.settled(SOON).await;
    running.evidence().await.assert();
    let unknown = running.admin().get("/api/v1/dead-letters/99999").await;
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.header("content-type").as_deref(), Some("application/problem+json"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_is_narrowed_and_paged() {
    let (running, ..) = failing().await;
    for number in 0..5 {
        running.send(&greeting(&number.to_string())).await;
    }
    running.admin().dead_letters_reach(10, SOON).await;
    let count = |query: &'static str| {
        let admin = running.admin();
        async move {
            let page = admin.get(&format!("/api/v1/dead-letters?{query}")).await;
            assert_eq!(page.status, 200, "{query}: {}", page.text());
            page.json()["items"].as_array().unwrap().len()
        }
    };
    assert_eq!(count("trigger=default/bad").await, 5);
    assert_eq!(count("reason=exhausted").await, 5);
    assert_eq!(count("broker=default/default").await, 10);
    assert_eq!(count("broker=default/other").await, 0);
    assert_eq!(count("since=2000-01-01T00:00:00Z").await, 10);
    assert_eq!(count("until=2000-01-01T00:00:00Z").await, 0);
    assert_eq!(count("limit=3").await, 3);
    let page = running.admin().get("/api/v1/dead-letters?limit=3").await.json();
    assert_eq!((page["total"].as_u64(), page["next"].is_string()), (Some(10), true), "{page}");
    let letters = running.admin().dead_letters().await;
    let mut ids: Vec<&str> = letters.iter().map(|one| one.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 10);
    for bad in ["limit=x", "since=yesterday", "reason=bored"] {
        let refused = running.admin().get(&format!("/api/v1/dead-letters?{bad}")).await;
        assert_eq!(refused.status, 400, "{bad}: {}", refused.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redriven_event_goes_to_the_trigger_that_failed_and_is_the_same() {
    let (running, bad, ugly) = failing().await;
    for number in 0..4 {
        running
            .send(&greeting(&number.to_string()).with("subject", "a b").json(&json!([number])))
            .await;
    }
    let letters = running.admin().dead_letters_reach(8, SOON).await;
    bad.always(Answer::status(200));
    let before = ugly.count();
    let one = letters.iter().find(|one| one.trigger == "default/bad").unwrap();
    let answer =
        running.admin().post("/api/v1/dead-letters/redrive", &json!({"ids": [one.id]})).await;
    assert_eq!(answer.json(), json!({"redriven": 1}));
    bad.receives(5, SOON).await;
    let answer = running
        .admin()
        .post("/api/v1/dead-letters/redrive", &json!({"trigger": "default/bad"}))
        .await;
    assert_eq!(answer.json(), json!({"redriven": 3}));
    bad.receives(8, SOON).await;
    running.settled(SOON).await;
    assert_eq!(ugly.count(), before, "the other trigger was not asked");
    let counters = running.admin().trigger("default/bad").await.counters;
    assert_eq!((counters.delivered, counters.dead), (4, 0), "{counters:?}");
    running.evidence().await.redriven(1).assert();

    ugly.always(Answer::status(200));
    assert_eq!(running.admin().redrive_all().await, 4);
    running.settled(SOON).await;
    assert!(running.admin().dead_letters().await.is_empty());
    running.evidence().await.redriven(1).assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redriven_event_that_fails_again_is_a_dead_letter_again() {
    let (running, bad, _) = failing().await;
    running.send(&greeting("1")).await;
    running.admin().dead_letters_reach(2, SOON).await;
    running.admin().post("/api/v1/dead-letters/redrive", &json!({"trigger": "default/bad"})).await;
    bad.receives(2, SOON).await;
    running.settled(SOON).await;
    running.admin().dead_letters_reach(2, SOON).await;
    let counters = running.admin().trigger("default/bad").await.counters;
    assert_eq!((counters.matched, counters.dead), (1, 1), "{counters:?}");
    running.evidence().await.redriven(1).assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_is_counted_and_says_how_many_and_never_all_by_accident() {
    let (running, ..) = failing().await;
    for number in 0..3 {
        running.send(&greeting(&number.to_string())).await;
    }
    running.admin().dead_letters_reach(6, SOON).await;
    for path in ["purge", "redrive"] {
        let refused =
            running.admin().post(&format!("/api/v1/dead-letters/{path}"), &json!({})).await;
        assert_eq!(refused.status, 400, "{path}: {}", refused.text());
    }
    let answer =
        running.admin().post("/api/v1/dead-letters/purge", &json!({"reason": "refused"})).await;
    assert_eq!(answer.json(), json!({"purged": 3}));
    let counters = running.admin().trigger("default/bad").await.counters;
    assert_eq!((counters.matched, counters.purged, counters.dead), (3, 3, 0), "{counters:?}");
    let left = running.admin().dead_letters().await;
    assert!(left.len() == 3 && left.iter().all(|one| one.trigger == "default/ugly"), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_without_room_for_its_dead_letters_stands_still_says_so_and_goes_on() {
    let bad = Subscriber::start().await;
    bad.always(Answer::status(400));
    let running = Scene::new()
        .trigger(Trigger::named("bad"), &bad)
        .setup(|setup| setup.dead_letters_max(1).workers(1))
        .start()
        .await;
    for number in 0..3 {
        running.send(&greeting(&number.to_string())).await;
    }
    let admin = running.admin();
    let is_stalled = |reason: Option<&str>| reason == Some("DeadLettersFull");
    let stalled = admin
        .until_trigger("default/bad", SOON, |one| {
            is_stalled(one.reason.as_deref()) && one.counters.dead == 1
        })
        .await;
    assert!(stalled.ready, "{stalled:?}");
    let points = parse(&admin.metrics().await).unwrap();
    let value = |name: &str, label: &str| {
        let is_it = |point: &&Point| {
            point.name == name && point.labels.values().any(|value| value == label)
        };
        points.iter().find(is_it).map(|point| point.value)
    };
    assert!(value("catchment_events_stalled", "default/bad") >= Some(1.0));
    assert!(value("catchment_limits_reached_total", "deadLetters.eventsMax") >= Some(1.0));

    for held in (0..3).rev() {
        let purged = admin.post("/api/v1/dead-letters/purge", &json!({"all": true})).await;
        assert_eq!(purged.json(), json!({"purged": 1}));
        if held > 0 {
            admin.dead_letters_reach(1, SOON).await;
        }
    }
    let over = admin.until_trigger("default/bad", SOON, |one| one.reason.is_none()).await;
    assert_eq!((over.counters.purged, over.counters.in_flight), (3, 0), "{over:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_lists_shows_redrives_and_purges() {
    let (running, bad, _) = failing().await;
    for number in 0..3 {
        running.send(&greeting(&format!("event-{number}")).json(&json!({"n": number}))).await;
    }
    running.admin().dead_letters_reach(6, SOON).await;

    let listed = cli(&running, &["list"]).await;
    assert!(listed.is_success(), "{listed:?}");
    assert!(
        listed.stdout.contains("event-1") && listed.stdout.contains("default/bad"),
        "{}",
        listed.stdout
    );
    let listed = cli(&running, &["list", "--trigger", "default/bad", "--output", "json"]).await;
    let items: Value = serde_json::from_str(&listed.stdout).expect("JSON");
    let items = items["items"].as_array().or(items.as_array()).expect("a list").clone();
    assert_eq!(items.len(), 3, "{}", listed.stdout);
    let id = items[0]["id"].as_str().unwrap().to_owned();

    let shown = cli(&running, &["show", &id]).await;
    assert!(
        shown.is_success() && shown.stdout.contains("400") && shown.stdout.contains("no thanks"),
        "{shown:?}"
    );
    let shown = cli(&running, &["show", &id, "--output", "json"]).await;
    assert!(serde_json::from_str::<Value>(&shown.stdout).is_ok(), "{shown:?}");

    bad.always(Answer::status(200));
    let redriven = cli(&running, &["redrive", &id]).await;
    assert!(redriven.is_success() && redriven.stdout.contains('1'), "{redriven:?}");
    bad.receives(4, SOON).await;
    let purged = cli(&running, &["purge", "--reason", "exhausted"]).await;
    assert!(purged.is_success() && purged.stdout.contains('3'), "{purged:?}");
    let redriven = cli(&running, &["redrive", "--all"]).await;
    assert!(redriven.is_success(), "{redriven:?}");
    bad.receives(6, SOON).await;
    running.settled(SOON).await;
    assert!(running.admin().dead_letters().await.is_empty());

    let nothing = cli(&running, &["purge"]).await;
    assert!(!nothing.is_success(), "purge without a choice: {nothing:?}");
    let unknown = cli(&running, &["show", "99999"]).await;
    assert_eq!(unknown.exit, harness::process::Exit::Code(1), "{unknown:?}");
    let nobody = command(&["dead-letters", "list", "--admin", "127.0.0.1:1"]).await;
    assert_eq!(nobody.exit, harness::process::Exit::Code(1));
    assert!(nobody.stderr.contains("127.0.0.1:1"), "{nobody:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_is_not_there_leaves_an_error_and_no_status() {
    let gone = Subscriber::start().await;
    gone.take_down().await;
    let delivery = Delivery::retry(1, "PT0.05S");
    let running =
        Scene::new().trigger(Trigger::named("gone").delivery(delivery), &gone).start().await;
    running.send(&greeting("1")).await;
    let letters = running.admin().dead_letters_reach(1, Duration::from_secs(20)).await;
    assert_eq!((letters[0].last_status, letters[0].attempts), (None, 2));
    let whole = running.admin().dead_letter(&letters[0].id).await;
    assert!(whole["lastError"].as_str().is_some_and(|error| !error.is_empty()), "{whole}");
}
