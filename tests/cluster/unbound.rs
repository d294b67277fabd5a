//! SinkBindings that end, and what becomes of them while nobody looks or nobody may.

use harness::eventually;
use serde_json::json;

use crate::bound::{binding, bound, bound_cluster, deployment, gone, of, until_told, workload};
use crate::joined::{SOON, apply, as_account, broker, get, join, kubectl};

#[tokio::test]
async fn what_happens_while_nobody_looks_is_made_good() {
    let Some(cluster) = bound_cluster("SinkBindings while nobody looks").await else { return };
    let mut program = join(&cluster).await;
    let mut objects = broker("shop") + &workload("Deployment", "till", "");
    for name in ["moved", "left"] {
        objects += &workload("Deployment", name, "");
    }
    objects += &workload("StatefulSet", "moved", "");
    for name in ["till", "moved", "left"] {
        objects += &(binding(name, &deployment(name), "shop") + "---\n");
    }
    apply(&cluster, &objects);
    for name in ["till", "moved", "left"] {
        bound(&cluster, name).await;
    }
    let (told, not) = (of(&cluster, "shop"), json!({}));
    program.kill().await;
    kubectl(&cluster, "delete sinkbinding till --wait=false");
    let elsewhere = "apiVersion: apps/v1, kind: StatefulSet, name: moved";
    apply(&cluster, &binding("moved", elsewhere, "shop"));
    kubectl(&cluster, "set env deployment/left K_SINK-");
    until_told(&cluster, "deployment till", &told).await;
    program.start_again().await;
    gone(&cluster, "till").await;
    until_told(&cluster, "deployment till", &not).await;
    bound(&cluster, "moved").await;
    until_told(&cluster, "statefulset moved", &told).await;
    until_told(&cluster, "deployment moved", &not).await;
    until_told(&cluster, "deployment left", &told).await;
}

#[tokio::test]
async fn a_binding_that_cannot_be_taken_out_is_given_up_by_a_person() {
    let Some(cluster) = bound_cluster("SinkBindings that cannot end").await else { return };
    let _program = as_account(&cluster, "catchment").start().await;
    let mut objects = broker("shop") + &workload("Deployment", "till", "");
    objects += &binding("till", &deployment("till"), "shop");
    apply(&cluster, &objects);
    bound(&cluster, "till").await;
    // The right to patch Deployments is taken away.
    let role = get(&cluster, "clusterrole catchment-sink-bindings");
    let mut less = role.clone();
    for rule in less["rules"].as_array_mut().unwrap() {
        rule["verbs"] = json!(["get", "list", "watch"]);
    }
    less["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    apply(&cluster, &less.to_string());
    kubectl(&cluster, "delete sinkbinding till --wait=false");
    let is_told = || async {
        let object = get(&cluster, "sinkbinding till");
        let finalizers = object["metadata"]["finalizers"].to_string();
        let events = kubectl(&cluster, "get events.events.k8s.io -o json");
        let is_told =
            events.contains("CleanupPending") && events.contains("cannot patch deployments.apps");
        if finalizers.contains("catchment.dev/binding") && is_told { Ok(()) } else { Err(events) }
    };
    eventually(SOON, is_told).await;
    kubectl(&cluster, "annotate sinkbinding till catchment.dev/abandon=true");
    gone(&cluster, "till").await;
    let events = kubectl(&cluster, "get events.events.k8s.io -o json");
    assert!(events.contains("LeftBehind") && events.contains("is left there"), "{events}");
}

#[tokio::test]
async fn bindings_go_on_after_the_api_server_was_away() {
    let Some(mut cluster) = bound_cluster("SinkBindings without an API server").await else {
        return;
    };
    let program = join(&cluster).await;
    let mut objects = broker("shop") + &workload("Deployment", "till", "");
    objects += &binding("till", &deployment("till"), "shop");
    apply(&cluster, &objects);
    bound(&cluster, "till").await;
    let conditions = get(&cluster, "sinkbinding till")["status"]["conditions"].clone();
    cluster.crash().await;
    eventually(SOON, || async {
        let text = program.admin().get("/readyz?verbose").await.text();
        if text.contains("deployments.apps") { Ok(()) } else { Err(text) }
    })
    .await;
    cluster.come_back().await;
    // Something happens at once when it is back.
    kubectl(&cluster, "label deployment till more=x");
    eventually(SOON, || async {
        let text = program.admin().get("/readyz?verbose").await.text();
        if text.contains("deployments.apps") { Err(text) } else { Ok(()) }
    })
    .await;
    // Nothing is said that was so for a moment only: since when conditions hold is the same.
    assert_eq!(get(&cluster, "sinkbinding till")["status"]["conditions"], conditions);
    kubectl(&cluster, "delete sinkbinding till --timeout=30s");
    until_told(&cluster, "deployment till", &json!({})).await;
}
