//! What sources remember, on servers that several programs share.

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use harness::http::Headers;
use harness::{Manifests, Program, Setup, Subscriber, Trigger, eventually};
use serde_json::json;

use crate::HEALED;
use crate::servers::{Server, on_each_server};

const TOKEN: &str = "a-token-of-thirty-two-characters";

fn manifests(subscriber: &Subscriber) -> Manifests {
    let manifests = Manifests::new();
    manifests.broker(&harness::Broker::named("default"));
    manifests.trigger(&Trigger::named("all").to(subscriber));
    manifests.write(
        "hook.yaml",
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: hook}}\nstringData: {{token: {TOKEN}}}\n---\n\
             apiVersion: sources.catchment.dev/v1alpha1\nkind: WebhookSource\nmetadata: {{name: hook}}\nspec:\n  \
             verification: {{bearer: {{}}, secrets: [{{secretKeyRef: {{name: hook, key: token}}}}]}}\n  \
             event: {{id: \"{{header.X-Delivery}}\"}}\n  sink: {{ref: {{apiVersion: eventing.knative.dev/v1, \
             kind: Broker, name: default}}}}\n"
        ),
    );
    manifests
}

async fn deliver(program: &Program, delivery: &str) -> u16 {
    let headers =
        [("authorization", format!("Bearer {TOKEN}")), ("x-delivery", delivery.to_owned())];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.into_bytes()));
    let mut producer = program.producer("sources/default/hook");
    producer.post(Headers(headers.into()), Bytes::from("x")).await.map_or(0, |answer| answer.status)
}

/// How often a delivery came that was accepted before.
async fn repeated(program: &Program) -> u64 {
    let hook = program.admin().get("/api/v1/sources/default/hook").await.json();
    hook["items"][0]["counts"]["repeated"].as_u64().unwrap_or_default()
}

/// A delivery that one replica accepted makes no second event at another, nor after all of them were
/// killed.
async fn a_delivery_is_known_to_all(server: Server) {
    let subscriber = Subscriber::start().await;
    let manifests = manifests(&subscriber);
    let default = match server {
        Server::Kafka(_) => "kafka",
        Server::Nats(_) => "nats",
    };
    let start = async || {
        let setup = Setup::new().path(manifests.path()).config(server.config());
        setup.config(json!({"channel": {"default": default}})).start().await
    };
    let (mut first, second) = (start().await, start().await);
    for program in [&first, &second] {
        let ready = format!("ready-{}", program.events().port());
        eventually(HEALED, || async {
            let status = deliver(program, &ready).await;
            if status == 202 { Ok(()) } else { Err(status) }
        })
        .await;
    }
    let before = repeated(&second).await;
    // The second learns of it soon, not at once: it is asked for the one of the try before.
    let tries = AtomicU32::new(0);
    eventually(HEALED, || async {
        let number = tries.fetch_add(1, Ordering::Relaxed);
        assert_eq!(deliver(&first, &format!("both-{}", number + 1)).await, 202);
        assert_eq!(deliver(&second, &format!("both-{number}")).await, 202);
        let now = repeated(&second).await;
        if now > before { Ok(()) } else { Err(now) }
    })
    .await;
    assert_eq!(deliver(&first, "kept").await, 202);
    first.kill().await;
    first.start_again().await;
    eventually(HEALED, || async {
        let status = deliver(&first, "kept").await;
        if status == 202 { Ok(()) } else { Err(status) }
    })
    .await;
    assert_eq!(repeated(&first).await, 1);
}

on_each_server! {
    a_delivery_is_known_to_all: a_delivery_is_known_to_all_on_kafka, a_delivery_is_known_to_all_on_nats;
}
