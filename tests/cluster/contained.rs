//! ContainerSources: their pods run in a Deployment that is told where events go.

use harness::eventually;
use harness::servers::kubernetes::Kubernetes;
use serde_json::{Value, json};

use crate::bound::{bound_cluster, environments};
use crate::joined::{SOON, apply, broker, condition, get, join, kubectl, until};

fn source(name: &str, pod: &str, broker: &str) -> String {
    format!(
        "apiVersion: sources.knative.dev/v1\nkind: ContainerSource\nmetadata: {{name: {name}}}\nspec:\n  \
         template: {{spec: {{{pod}}}}}\n  sink: {{ref: {{apiVersion: eventing.knative.dev/v1, \
         kind: Broker, name: {broker}}}}}\n---\n"
    )
}

/// What the controller of Deployments says, which does not run here.
fn set_available(cluster: &Kubernetes, name: &str, status: &str) {
    let generation = &get(cluster, &format!("deployment {name}"))["metadata"]["generation"];
    let status = json!({"status": {"observedGeneration": generation, "conditions": [
        {"type": "Available", "status": status, "reason": "R", "message": "as many pods as there should be"}]}});
    let args = [
        "patch",
        "deployment",
        name,
        "--subresource=status",
        "--type=merge",
        "-p",
        &status.to_string(),
    ];
    let said = cluster.kubectl(&args, "");
    assert!(said.is_success, "{}", said.stderr);
}

async fn deployment(cluster: &Kubernetes, name: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    eventually(SOON, || async {
        let said = cluster.kubectl(&["get", "deployment", name, "-o", "json"], "");
        let object: Value = serde_json::from_str(&said.stdout).map_err(|_| said.stderr)?;
        if is_so(&object) { Ok(object) } else { Err(object.to_string()) }
    })
    .await
}

#[tokio::test]
async fn pods_run_in_a_deployment_that_is_told() {
    let Some(cluster) = bound_cluster("ContainerSources").await else { return };
    let mut program = join(&cluster).await;
    let pod = "serviceAccountName: sender, containers: [{image: 'a:1', args: [x]}, {name: own, image: 'b:1', \
               env: [{name: K_SINK, value: mine}, {name: OWN, value: x}]}]";
    apply(&cluster, &(broker("shop") + &source("heart", pod, "shop")));
    let made = deployment(&cluster, "heart-deployment", |_| true).await;
    let url = get(&cluster, "broker shop")["status"]["address"]["url"].clone();
    let told = json!({"K_SINK": url, "K_CE_OVERRIDES": ""});
    let all = environments(&made);
    assert_eq!(all[0], told);
    assert_eq!((&all[1]["K_SINK"], &all[1]["OWN"]), (&url, &"x".into()));
    let owner = &made["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["kind"], &owner["controller"]), (&"ContainerSource".into(), &true.into()));
    assert_eq!(owner["uid"], get(&cluster, "containersource heart")["metadata"]["uid"]);
    assert_eq!(made["spec"]["template"]["spec"]["containers"][0]["name"], "heart-0");
    assert_eq!(made["spec"]["template"]["spec"]["serviceAccountName"], "sender");
    let (_, message) =
        until(&cluster, "containersource heart", "ReceiveAdapterReady", "Unknown").await;
    assert_eq!(message, "The Deployment 'heart-deployment' is unavailable.");
    set_available(&cluster, "heart-deployment", "False");
    let (reason, message) = until(&cluster, "containersource heart", "Ready", "False").await;
    assert_eq!(reason, "DeploymentUnavailable");
    assert!(message.contains("as many pods"), "{message}");
    set_available(&cluster, "heart-deployment", "True");
    until(&cluster, "containersource heart", "Ready", "True").await;
    let object = get(&cluster, "containersource heart");
    assert_eq!(condition(&object, "SinkBindingReady").0, "True");
    assert_eq!(object["status"]["sinkUri"], url);

    // How many there are is left to others; what pods are made from is the source's.
    kubectl(&cluster, "scale deployment heart-deployment --replicas 4");
    kubectl(&cluster, "set image deployment/heart-deployment own=evil:1");
    let is_right = |it: &Value| it["spec"]["template"]["spec"]["containers"][1]["image"] == "b:1";
    let object = deployment(&cluster, "heart-deployment", is_right).await;
    assert_eq!(object["spec"]["replicas"], 4);
    let label = "sources.knative.dev/containerSource";
    kubectl(&cluster, &format!("label deployment heart-deployment {label}-"));
    deployment(&cluster, "heart-deployment", |it| it["metadata"]["labels"][label] == "heart").await;
    // A container fewer, and another broker.
    apply(&cluster, &(broker("books") + &source("heart", "containers: [{image: 'a:2'}]", "books")));
    let is_new = |it: &Value| {
        let all = environments(it);
        all.len() == 1
            && all[0]["K_SINK"].as_str().is_some_and(|url| url.ends_with("/default/books"))
    };
    let object = deployment(&cluster, "heart-deployment", is_new).await;
    assert!(object["spec"]["template"]["spec"]["serviceAccountName"].is_null(), "{object}");
    // Made again when it is deleted, and left as it is by a process that begins anew.
    kubectl(&cluster, "delete deployment heart-deployment");
    deployment(&cluster, "heart-deployment", is_new).await;
    set_available(&cluster, "heart-deployment", "True");
    until(&cluster, "containersource heart", "Ready", "True").await;
    let versions = || {
        ["deployment heart-deployment", "containersource heart"]
            .map(|what| get(&cluster, what)["metadata"]["resourceVersion"].clone())
    };
    let before = versions();
    program.terminate();
    program.exit(SOON).await;
    program.start_again().await;
    apply(&cluster, &source("last", "containers: [{image: 'a:2'}]", "books"));
    deployment(&cluster, "last-deployment", |_| true).await;
    assert_eq!(versions(), before);
    let sources = program.admin().get("/api/v1/sources/default/heart").await.json();
    assert_eq!(sources["items"][0]["kind"], "ContainerSource", "{sources}");
}

#[tokio::test]
async fn what_cannot_run_says_why() {
    let Some(cluster) = bound_cluster("ContainerSources that cannot be").await else { return };
    let _program = join(&cluster).await;
    let foreign = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: taken-deployment}\nspec: {selector: \
                   {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: \
                   [{name: a, image: 'a:1'}]}}}\n---\n";
    let one = "containers: [{image: 'a:1'}]";
    let mut objects = broker("shop") + foreign + &source("taken", one, "shop");
    objects += &source("homeless", one, "nowhere");
    objects += &source("empty", "containers: []", "shop");
    objects += &source("odd", "containers: [{image: 'a:1', imagePolicy: never}]", "shop");
    objects +=
        &source("wrong", "containers: [{image: 'a:1', ports: [{containerPort: 99999}]}]", "shop");
    objects += &source("good", one, "shop");
    apply(&cluster, &objects);
    let why = |name: &'static str, kind: &'static str| {
        let cluster = &cluster;
        async move { until(cluster, &format!("containersource {name}"), kind, "False").await }
    };
    let (reason, message) = why("taken", "SinkBindingReady").await;
    assert_eq!(reason, "DeploymentNotOwned");
    assert_eq!(message, "Deployment default/taken-deployment is somebody else's");
    assert_eq!(environments(&get(&cluster, "deployment taken-deployment"))[0], json!({}));
    let (reason, message) = why("homeless", "SinkBindingReady").await;
    assert!(reason == "NotFound" && message.starts_with("spec.sink.ref"), "{message}");
    let (_, message) = why("empty", "Ready").await;
    assert!(message.contains("spec.template.spec.containers: must list"), "{message}");
    let (reason, message) = why("odd", "Ready").await;
    assert!(reason == "SubjectUnavailable" || reason == "SubjectRefused", "{reason}");
    assert!(message.contains("imagePolicy"), "{message}");
    let (_, message) = why("wrong", "Ready").await;
    assert!(message.contains("containerPort"), "{message}");
    deployment(&cluster, "good-deployment", |_| true).await;
}
