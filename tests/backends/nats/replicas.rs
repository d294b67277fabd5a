//! Several channels of one broker.

use std::collections::BTreeSet;
use std::time::Duration;

use channel::Channel as _;
use harness::servers::nats::Options;
use serde_json::json;

use super::{event, fresh_name, next, open, plan, publish, server};

#[tokio::test]
async fn two_channels_share_the_events_and_the_end_of_one_loses_none() {
    let test = "two_channels_share_the_events_and_the_end_of_one_loses_none";
    let Some(server) = server(test, &Options::default()).await else { return };
    let plan = plan(json!({"consumerConfigTemplate": {"ackWait": "2s"}}));
    let name = fresh_name();
    let (one, two) = (open(&server, &plan, &name).await, open(&server, &plan, &name).await);
    let (mut of_one, mut of_two) = (one.reader(0), two.reader(0));
    let mut sent = BTreeSet::new();
    for n in 0..2000 {
        publish(&one, event(&n.to_string())).await.unwrap();
        sent.insert(n.to_string());
    }
    // One has some of them when it goes without a word, settled and not settled.
    let (mut by_one, mut held) = (BTreeSet::new(), Vec::new());
    for n in 0..50 {
        let Some(lease) = next(&mut *of_one, Duration::from_secs(3)).await else { break };
        if n % 2 == 0 {
            by_one.insert(lease.event().id().to_owned());
            lease.settle();
        } else {
            held.push(lease);
        }
    }
    assert!(!held.is_empty(), "one channel took everything");
    drop((of_one, one));
    let mut by_two = BTreeSet::new();
    while by_one.union(&by_two).count() < sent.len() {
        let lease = next(&mut *of_two, Duration::from_secs(20)).await.unwrap_or_else(|| {
            panic!("lost: {:?}", sent.difference(&(&by_one | &by_two)).collect::<Vec<_>>())
        });
        by_two.insert(lease.event().id().to_owned());
        lease.settle();
    }
    drop(held);
}
