//! A broker's topics are deleted, and nobody else's.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::Duration;

use channel::{Erased, Hub, KafkaPlan, KafkaSettings, Name, kafka};
use harness::eventually;

use super::support::{control, event, open, open_with, publish, servers, settings, topic, unique};
use crate::erased::{end, fill, has_all, is_new};

const WITHIN: Duration = Duration::from_secs(30);

async fn erase(settings: &KafkaSettings, hub: impl Into<Hub>) -> Erased {
    kafka::erase(settings.clone(), hub, WITHIN, control()).await.unwrap()
}

/// Erases until nothing is left; what was removed in all.
async fn erase_all(settings: &KafkaSettings, hub: impl Into<Hub>) -> BTreeSet<String> {
    let hub = &hub.into();
    let removed = std::cell::RefCell::new(BTreeSet::new());
    eventually(Duration::from_secs(60), || async {
        let erased = erase(settings, hub).await;
        removed.borrow_mut().extend(erased.removed.clone());
        if erased.is_done() { Ok(()) } else { Err(erased) }
    })
    .await;
    assert_eq!(erase(settings, hub).await, Erased::default());
    removed.into_inner()
}

#[tokio::test]
async fn a_broker_is_erased_and_those_with_names_as_close_as_can_be_are_not() {
    let Some(kafka) = servers("erasing a broker").await else { return };
    let (bootstrap, name) = (kafka.bootstrap(), unique());
    let settings = settings(&bootstrap);
    let beside = |end: &str| Hub::broker(Name::new("test", format!("{}{end}", name.name)));
    // The log of the second would be the topic of what waits for trigger test/t of the first, and what
    // waits for the second's test/u that of the first's test/t.overflow.test.u.
    let others = [
        beside(".overflow.test.t"),
        beside(".overflow"),
        beside(".b"),
        beside("b"),
        Hub::channel(name.clone()),
    ];
    let hub = Hub::broker(name.clone());
    let triggers =
        [Name::new("test", "u"), Name::new("test", "a.b"), Name::new("n", "x".repeat(253))];
    for it in others.iter().chain([&hub]) {
        let channel = open(&bootstrap, it, 1).await;
        fill(&*channel, &triggers).await;
        end(channel).await;
    }
    for erased in [&hub, &others[0]] {
        let removed = erase_all(&settings, erased).await;
        let log = topic(&erased.name);
        let group = format!("consumer group catchment.test.{}", erased.name.name);
        for part in ["", ".ledger", ".overflow.test.u", ".overflow.test.a.b"] {
            assert!(removed.contains(&format!("topic {log}{part}")), "{part}: {removed:?}");
        }
        assert!(removed.contains(&group), "{removed:?}");
        let topics = removed.iter().filter(|it| it.starts_with("topic ")).count();
        assert_eq!(topics, 2 + triggers.len(), "{removed:?}");
        let kept = others.iter().filter(|other| *other != erased);
        for kept in kept {
            let channel = open(&bootstrap, kept, 1).await;
            has_all(&*channel, &triggers).await;
            end(channel).await;
        }
        let channel = open(&bootstrap, erased, 1).await;
        is_new(&*channel, &triggers).await;
        end(channel).await;
    }
}

#[tokio::test]
async fn topics_that_a_template_gives_to_two_brokers_go_with_the_last() {
    let Some(kafka) = servers("erasing what two brokers share").await else { return };
    let mut settings = settings(&kafka.bootstrap());
    settings.topic_template = "{namespace}-{name}".into();
    let end_of_name = unique().name;
    let [one, other] = [("t-a", "b"), ("t", "a-b")]
        .map(|(namespace, name)| Name::new(namespace, format!("{name}-{end_of_name}")));
    for name in [&one, &other] {
        let channel = open_with(settings.clone(), KafkaPlan::default(), name, 1).await;
        publish(&*channel, event(1)).await.unwrap();
        end(channel).await;
    }
    let log = format!("t-a-b-{end_of_name}");
    let erased = erase(&settings, &one).await;
    assert_eq!(erased.left, [format!("topic {log}"), format!("topic {log}.ledger")]);
    let removed = erase_all(&settings, &other).await;
    assert!(removed.contains(&format!("topic {log}")), "{removed:?}");
    assert_eq!(erase(&settings, &one).await, Erased::default());
}

#[tokio::test]
async fn a_cluster_that_is_away_or_stands_still_is_said_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap().to_string();
    for address in ["127.0.0.1:1", &silent] {
        let within = Duration::from_secs(3);
        let erased = kafka::erase(settings(address), &unique(), within, control()).await;
        let error = erased.expect_err("nobody answers").to_string();
        assert!(error.starts_with(&format!("kafka at {address} cannot be reached: ")), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}
