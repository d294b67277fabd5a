//! The program at work in a cluster of its own, and what a person asks of it.

use std::net::SocketAddr;
use std::time::Duration;

use harness::servers::free_ports;
use harness::servers::kubernetes::Kubernetes;
use harness::{Mode, Program, Sample, Setup, Subscriber, eventually, say_not_run};
use serde_json::{Value, json};

use crate::root;

/// How long anything may take that should be so at once, on a machine that is busy.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A cluster where the program is installed as shipped, and nothing else is; `None`, and said so,
/// when there can be none.
pub(crate) async fn own_cluster(what: &str) -> Option<Kubernetes> {
    match Kubernetes::start().await {
        Ok(cluster) => {
            install(&cluster);
            Some(cluster)
        }
        Err(why) => {
            say_not_run(what, &why);
            None
        }
    }
}

fn install(cluster: &Kubernetes) {
    let overlay = root().join("deploy/kubernetes/overlays/disk").display().to_string();
    let said = cluster.kubectl(&["apply", "-k", &overlay], "");
    assert!(said.is_success, "{}", said.stderr);
    kubectl(cluster, "wait --for=condition=Established --timeout=60s crd --all");
}

/// A process that follows `cluster` with the rights of the account that is shipped for it, and with what
/// addresses begin with at its own way in.
pub(crate) fn setup(cluster: &Kubernetes) -> Setup {
    as_account(cluster, "catchment")
}

/// The same with the rights of another account of its namespace.
pub(crate) fn as_account(cluster: &Kubernetes, account: &str) -> Setup {
    let listen: SocketAddr = ([127, 0, 0, 1], free_ports(1)[0]).into();
    Setup::new()
        .arg("--kubernetes")
        .env("KUBECONFIG", &cluster.kubeconfig_of("catchment", account).display().to_string())
        .listen(listen)
        .config(json!({"kubernetes": {"ingressUrl": format!("http://{listen}")}}))
}

/// Applies objects.
pub(crate) fn apply(cluster: &Kubernetes, objects: &str) {
    let said = cluster.kubectl(&["apply", "-f", "-"], objects);
    assert!(said.is_success, "{objects}: {}", said.stderr);
}

/// Runs kubectl with words as a person types them.
pub(crate) fn kubectl(cluster: &Kubernetes, words: &str) -> String {
    let said = cluster.kubectl(&words.split(' ').collect::<Vec<_>>(), "");
    assert!(said.is_success, "kubectl {words}: {}", said.stderr);
    said.stdout
}

/// An object as JSON.
pub(crate) fn get(cluster: &Kubernetes, what: &str) -> Value {
    let text = kubectl(cluster, &format!("get {what} -o json"));
    serde_json::from_str(&text).expect("JSON")
}

/// A condition's status, reason and message; empty while it is not there.
pub(crate) fn condition(object: &Value, kind: &str) -> (String, String, String) {
    let conditions = object["status"]["conditions"].as_array();
    let found = conditions.into_iter().flatten().find(|it| it["type"] == kind);
    let text = |field: &str| {
        let text = found.and_then(|it| it[field].as_str());
        text.unwrap_or_default().to_owned()
    };
    (text("status"), text("reason"), text("message"))
}

/// Waits until a condition of an object is so, for its present generation; gives its reason and message.
pub(crate) async fn until(
    cluster: &Kubernetes,
    what: &str,
    kind: &str,
    status: &str,
) -> (String, String) {
    eventually(SOON, || async {
        let object = get(cluster, what);
        let (is, reason, message) = condition(&object, kind);
        let generations =
            (&object["metadata"]["generation"], &object["status"]["observedGeneration"]);
        if is == status && generations.0 == generations.1 {
            Ok((reason, message))
        } else {
            Err(object)
        }
    })
    .await
}

/// A broker of our class.
pub(crate) fn broker(name: &str) -> String {
    format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\n\
         metadata: {{name: {name}, annotations: {{eventing.knative.dev/broker.class: Catchment}}}}\n---\n"
    )
}

/// A trigger.
pub(crate) fn trigger(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: {name}}}\n\
         spec: {{{spec}}}\n---\n"
    )
}

/// Posts an event to the address that a broker's status gives, and waits until `path` of the
/// subscriber has it.
pub(crate) async fn arrives(
    cluster: &Kubernetes,
    broker: &str,
    subscriber: &Subscriber,
    path: &str,
) {
    let object = get(cluster, &format!("broker {broker}"));
    let url = object["status"]["address"]["url"].as_str().expect("an address").to_owned();
    let (address, name) =
        url.strip_prefix("http://").and_then(|it| it.split_once('/')).expect(&url);
    let id = format!("{:016x}", fastrand::u64(..));
    let sample = Sample::new("/cluster", &id, "com.example.asked");
    let mut producer = harness::Producer::new(address.parse().expect("an address"), name);
    let answer = producer.send(&sample, Mode::Binary).await.expect("an answer");
    assert_eq!(answer.status, 202, "{url}");
    eventually(SOON, || async {
        let has = |it: &harness::subscriber::Received| it.key() == Some(sample.key());
        subscriber.received_at(path).iter().any(has).then_some(()).ok_or(id.clone())
    })
    .await;
}

/// Starts the program and waits until it is ready.
pub(crate) async fn join(cluster: &Kubernetes) -> Program {
    setup(cluster).start().await
}
