//! Very many triggers: each is at work soon after it was applied, and they take little memory.

use std::fmt::Write as _;

use harness::{Mode, Sample, Subscriber, eventually, is_long};

use crate::joined::{SOON, apply, join, kubectl, own_cluster};

/// What the program may take of memory at its highest, in MiB.
const RESIDENT_MAX: u64 = 150;

#[tokio::test]
async fn very_many_triggers_are_at_work_and_take_little_memory() {
    let Some(cluster) = own_cluster("very many triggers").await else { return };
    let (namespaces, each) = if is_long() { (100, 100) } else { (10, 40) };
    let subscriber = Subscriber::start().await;
    let mut program = join(&cluster).await;
    for namespace in 0..namespaces {
        let mut objects =
            format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: n{namespace}}}\n---\n");
        let head = "apiVersion: eventing.knative.dev/v1\nkind";
        writeln!(objects, "{head}: Broker\nmetadata: {{name: shop, namespace: n{namespace}}}\n---")
            .unwrap();
        for n in 0..each {
            let filter = format!("filters: [{{exact: {{type: com.example.t{n}}}}}]");
            let uri = subscriber.url(&format!("/{namespace}/{n}"));
            writeln!(
                objects,
                "{head}: Trigger\nmetadata: {{name: t{n}, namespace: n{namespace}}}\n\
                 spec: {{broker: shop, {filter}, subscriber: {{uri: '{uri}'}}}}\n---"
            )
            .unwrap();
        }
        apply(&cluster, &objects);
    }
    // One look at all of them: kubectl waits for one after the other.
    eventually(SOON * 10, || async {
        let seen = kubectl(&cluster, "get triggers -A --no-headers");
        let ready = seen.lines().filter(|line| line.split_whitespace().last() == Some("True"));
        if ready.count() == namespaces * each { Ok(()) } else { Err(seen) }
    })
    .await;
    let last = format!("/{}/{}", namespaces - 1, each - 1);
    for restart in [false, true] {
        if restart {
            program.kill().await;
            program.start_again().await;
        }
        let mut producer = program.producer(&format!("n{}/shop", namespaces - 1));
        let id = format!("after restart {restart}").replace(' ', "-");
        let sample = Sample::new("/cluster", &id, &format!("com.example.t{}", each - 1));
        assert_eq!(producer.send(&sample, Mode::Binary).await.unwrap().status, 202);
        eventually(SOON, || async {
            let has = |it: &harness::subscriber::Received| it.key() == Some(sample.key());
            subscriber.received_at(&last).iter().any(has).then_some(()).ok_or(id.clone())
        })
        .await;
        assert_eq!(subscriber.received_at(&last).len(), subscriber.count(), "others got nothing");
        let resident = program.process.size().resident_bytes_max >> 20;
        assert!(resident < RESIDENT_MAX, "{resident} MiB");
    }
}
