//! Resources of a cluster are at work as they come, change and go; and an event arrives after each step.

use std::time::Duration;

use harness::{Mode, Sample, Subscriber, eventually};

use crate::joined::{
    SOON, apply, arrives, broker, get, join, kubectl, own_cluster, setup, trigger, until,
};

#[tokio::test]
async fn an_event_arrives_after_every_step() {
    let Some(mut cluster) = own_cluster("a cluster that is followed").await else { return };
    let subscriber = Subscriber::start().await;
    let url = |path: &str| format!("broker: shop, subscriber: {{uri: '{}'}}", subscriber.url(path));
    // What is there before the program.
    apply(&cluster, &(broker("shop") + &trigger("till", &url("/till"))));
    let mut program = join(&cluster).await;
    until(&cluster, "broker shop", "Ready", "True").await;
    until(&cluster, "trigger till", "Ready", "True").await;
    arrives(&cluster, "shop", &subscriber, "/till").await;
    // What comes, changes and goes.
    apply(&cluster, &trigger("books", &url("/books")));
    kubectl(&cluster, "wait --for=condition=Ready --timeout=30s trigger books");
    arrives(&cluster, "shop", &subscriber, "/books").await;
    apply(&cluster, &trigger("books", &url("/ledger")));
    until(&cluster, "trigger books", "Ready", "True").await;
    arrives(&cluster, "shop", &subscriber, "/ledger").await;
    kubectl(&cluster, "delete trigger till");
    arrives(&cluster, "shop", &subscriber, "/ledger").await;
    // A restart.
    program.kill().await;
    program.start_again().await;
    arrives(&cluster, "shop", &subscriber, "/ledger").await;
    // The API server is away: what is known goes on.
    cluster.crash().await;
    let mut producer = program.producer("default/shop");
    let sample = Sample::new("/cluster", "away", "com.example.asked");
    assert_eq!(producer.send(&sample, Mode::Binary).await.unwrap().status, 202);
    eventually(SOON, || async {
        let has = |it: &harness::subscriber::Received| it.key() == Some(sample.key());
        subscriber.received_at("/ledger").iter().any(has).then_some(()).ok_or("not there")
    })
    .await;
    let trouble = program.admin().get("/readyz?verbose").await;
    assert!(trouble.text().starts_with("ready\n"), "{}", trouble.text());
    // It comes back, and has forgotten what was before.
    cluster.come_back().await;
    apply(&cluster, &trigger("late", &url("/late")));
    cluster.compact();
    until(&cluster, "trigger late", "Ready", "True").await;
    arrives(&cluster, "shop", &subscriber, "/late").await;
    eventually(SOON, || async {
        let text = program.admin().get("/readyz?verbose").await.text();
        if text.contains("cluster:") { Err(text) } else { Ok(()) }
    })
    .await;
    // What is gone takes nothing any more.
    kubectl(&cluster, "delete broker shop");
    let (reason, _) = until(&cluster, "trigger late", "Ready", "False").await;
    assert_eq!(reason, "BrokerDoesNotExist");
    let sample = Sample::new("/cluster", "gone", "com.example.asked");
    assert_eq!(producer.send(&sample, Mode::Binary).await.unwrap().status, 404);
}

/// Nothing is delivered, and nothing refused, before all that the cluster wants is known.
#[tokio::test]
async fn nothing_is_ready_before_the_first_list() {
    let Some(mut cluster) = own_cluster("a start without an API server").await else { return };
    let subscriber = Subscriber::start().await;
    let spec = format!("broker: shop, subscriber: {{uri: '{}'}}", subscriber.url("/till"));
    apply(&cluster, &(broker("shop") + &trigger("till", &spec)));
    let setup = setup(&cluster);
    cluster.crash().await;
    let mut starting = setup.spawn();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(starting.process.exit().is_none(), "{}", starting.process.stderr());
    assert_eq!(starting.process.stdout(), "", "not ready");
    assert!(starting.process.stderr().contains("cannot list brokers.eventing.knative.dev"));
    cluster.come_back().await;
    eventually(SOON, || async {
        starting.process.stdout().contains("catchment is ready").then_some(()).ok_or("not ready")
    })
    .await;
    until(&cluster, "broker shop", "Ready", "True").await;
    arrives(&cluster, "shop", &subscriber, "/till").await;
}

#[tokio::test]
async fn another_reports_when_the_one_that_did_is_gone() {
    let Some(cluster) = own_cluster("a change of leaders").await else { return };
    let subscriber = Subscriber::start().await;
    let url = |path: &str| format!("broker: shop, subscriber: {{uri: '{}'}}", subscriber.url(path));
    apply(&cluster, &(broker("shop") + &trigger("till", &url("/till"))));
    let mut first = join(&cluster).await;
    until(&cluster, "trigger till", "Ready", "True").await;
    let second = join(&cluster).await;
    let holder = |lease: &serde_json::Value| lease["spec"]["holderIdentity"].clone();
    let before = holder(&get(&cluster, "lease catchment -n catchment"));
    // Gracefully: the next one need not wait until the lease has run out.
    first.terminate();
    first.exit(Duration::from_secs(40)).await;
    apply(&cluster, &trigger("books", &url("/books")));
    until(&cluster, "trigger books", "Ready", "True").await;
    arrives(&cluster, "shop", &subscriber, "/books").await;
    let after = holder(&get(&cluster, "lease catchment -n catchment"));
    assert_ne!(before, after);
    // By a crash.
    first.start_again().await;
    let mut second = second;
    second.kill().await;
    apply(&cluster, &trigger("late", &url("/late")));
    eventually(Duration::from_secs(60), || async {
        let lease = get(&cluster, "lease catchment -n catchment");
        if holder(&lease) == after { Err(lease) } else { Ok(()) }
    })
    .await;
    until(&cluster, "trigger late", "Ready", "True").await;
    arrives(&cluster, "shop", &subscriber, "/late").await;
}
