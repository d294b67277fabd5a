//! What is seen from outside: metrics, health, statuses and the API's own description.

use harness::load::Load;
use harness::metrics::parse;
use harness::scene::numbered;
use harness::{Answer, Filter, Scene, Subscriber, Trigger};

use crate::{SOON, greeting, plain};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_of_the_metrics_is_well_formed_and_counters_only_grow() {
    let (running, subscriber) = plain().await;
    let page = running.admin().get("/metrics").await;
    let content_type = page.header("content-type").unwrap_or_default();
    assert!(
        content_type.contains("text/plain") || content_type.contains("openmetrics"),
        "{content_type}"
    );
    let before = parse(&page.text()).unwrap();
    for number in 0..20 {
        let strange = greeting(&number.to_string()).with("type", &format!("type \"{number}\"\\n"));
        running.send(&strange).await;
    }
    subscriber.receives(20, SOON).await;
    let after = parse(&running.admin().metrics().await).unwrap();
    let mut grown = 0;
    for point in after.iter().filter(|point| point.name.ends_with("_total")) {
        let was =
            before.iter().find(|other| other.name == point.name && other.labels == point.labels);
        let was = was.map_or(0.0, |other| other.value);
        assert!(point.value >= was, "{point:?} was {was}");
        grown += usize::from(point.value >= was + 20.0);
    }
    assert!(grown >= 2, "twenty events moved {grown} counters");
    let unseen = after
        .iter()
        .filter(|point| point.labels.values().any(|value| value.starts_with("type \"")));
    assert_eq!(unseen.count(), 0, "what a producer writes is no label");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_readme_names_every_metric_with_its_type() {
    let (running, _) = plain().await;
    let page = running.admin().metrics().await;
    let readme = include_str!("../../README.md");
    let rows: Vec<&str> = readme.lines().filter(|line| line.starts_with("| `")).collect();
    let mut named = 0;
    for family in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = family.split_once(' ').unwrap();
        let is_row = |row: &&str| row.contains(&format!("`{name}`")) && row.contains(kind);
        assert!(rows.iter().any(is_row), "{family}");
        named += 1;
    }
    assert!(named > 30, "{named} metrics");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_types_do_not_grow_the_metrics() {
    let (running, _) = plain().await;
    running.load(Load::new(20, |number| numbered("a", number, "t", 10))).finish().await;
    running.settled(SOON).await;
    let before = parse(&running.admin().metrics().await).unwrap().len();
    running
        .load(Load::new(1000, |number| numbered("b", number, &format!("type-{number}"), 10)))
        .finish()
        .await;
    running.settled(SOON).await;
    let after = parse(&running.admin().metrics().await).unwrap().len();
    assert!(after <= before + 50, "{before} points became {after}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_readiness_answer() {
    let (running, _) = plain().await;
    assert_eq!(running.admin().get("/healthz").await.status, 200);
    assert_eq!(running.admin().get("/readyz").await.status, 200);
    let verbose = running.admin().get("/readyz?verbose").await;
    assert_eq!(verbose.status, 200);
    assert!(!verbose.body.is_empty());
    let nowhere = running.admin().get("/api/v1/nothing").await;
    assert_eq!(nowhere.status, 404);
    assert_eq!(nowhere.header("content-type").as_deref(), Some("application/problem+json"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_says_how_strong_its_202_is_and_what_it_counted() {
    let (running, _) = plain().await;
    running.send(&greeting("1")).await;
    running.settled(SOON).await;
    let broker = running.admin().broker("default/default").await;
    assert_eq!(broker["ready"], true, "{broker}");
    assert_eq!(broker["channel"]["kind"], "DiskChannel", "{broker}");
    assert_eq!(
        (&broker["channel"]["durability"], &broker["channel"]["replicated"]),
        (&"power".into(), &false.into())
    );
    assert_eq!(
        (broker["accepted"].as_u64(), broker["triggers"].as_u64()),
        (Some(1), Some(1)),
        "{broker}"
    );
    let list = running.admin().get("/api/v1/brokers").await.json();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(running.admin().get("/api/v1/brokers/default/none").await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_of_a_missing_broker_is_not_ready_and_says_why() {
    let (running, subscriber) = plain().await;
    running.manifests.trigger(&Trigger::named("lost").of("nowhere").to(&subscriber));
    let status = harness::eventually(SOON, || async {
        let answer = running.admin().get("/api/v1/triggers/default/lost").await;
        if answer.status == 200 { Ok(answer.json()) } else { Err(answer.text()) }
    });
    let status = status.await;
    assert_eq!(status["ready"], false, "{status}");
    assert!(
        status["reason"].is_string() && status["message"].to_string().contains("nowhere"),
        "{status}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_add_up_at_every_read() {
    let (good, slow, bad) =
        (Subscriber::start().await, Subscriber::start().await, Subscriber::start().await);
    slow.always(Answer::status(200).after(std::time::Duration::from_millis(20)));
    bad.always(Answer::status(400));
    let running = Scene::new()
        .trigger(Trigger::named("good"), &good)
        .trigger(Trigger::named("half").wants(Filter::prefix("type", "a")), &slow)
        .trigger(Trigger::named("bad"), &bad)
        .start()
        .await;
    let observer = running.observe();
    let types = ["a1", "b1"];
    running
        .load(Load::new(400, move |number| numbered("sum", number, types[number % 2], 100)))
        .finish()
        .await;
    running.settled(SOON).await;
    let evidence = running.evidence().await;
    let mut verdicts = evidence.verdicts();
    verdicts.push(observer.conserved());
    harness::oracle::assert_all(verdicts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_describes_itself() {
    let (running, _) = plain().await;
    let document = running.admin().get("/api/v1/openapi.json").await;
    assert_eq!(document.status, 200);
    let document = document.json();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.")));
    for path in ["/api/v1/brokers", "/api/v1/triggers", "/api/v1/dead-letters", "/api/v1/problems"]
    {
        assert!(document["paths"][path].is_object(), "{path} is not described");
    }
}
