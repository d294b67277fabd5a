//! Rights that are too narrow: what is missing is named, and the rest goes on.

use harness::{Subscriber, eventually};

use crate::joined::{SOON, apply, arrives, as_account, broker, own_cluster, trigger, until};

/// An account with the shipped rights but for some.
fn account(name: &str, rules: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, namespace: catchment}}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: {name}}}\nrules:\n{rules}---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: {name}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {name}}}\n\
         subjects: [{{kind: ServiceAccount, name: {name}, namespace: catchment}}]\n---\n"
    )
}

const READ_BROKERS: &str = "- {apiGroups: [eventing.knative.dev], resources: [brokers], verbs: [get, list, watch]}\n\
    - {apiGroups: [messaging.knative.dev, sources.knative.dev, sources.catchment.dev], resources: ['*'], verbs: [get, list, watch]}\n\
    - {apiGroups: [''], resources: [configmaps], verbs: [get, list, watch]}\n";

#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    let Some(cluster) = own_cluster("rights that are too narrow").await else { return };
    apply(&cluster, &account("blind", READ_BROKERS));
    let mut starting = as_account(&cluster, "blind").spawn();
    let words = "cannot list triggers.eventing.knative.dev";
    eventually(SOON, || async {
        let said = starting.process.stderr();
        let is_named =
            said.contains(words) && said.contains(r#"cannot list resource \"triggers\""#);
        is_named.then_some(()).ok_or(said)
    })
    .await;
    assert_eq!(starting.process.stdout(), "", "it is not ready");
    // The right is given: nothing need be started again.
    apply(
        &cluster,
        &account(
            "blind",
            &format!(
                "{READ_BROKERS}- {{apiGroups: [eventing.knative.dev], resources: [triggers], verbs: [get, list, watch]}}\n"
            ),
        ),
    );
    eventually(SOON, || async {
        starting.process.stdout().contains("catchment is ready").then_some(()).ok_or("not ready")
    })
    .await;
    assert!(starting.process.exit().is_none());
}

/// Who may read but not write delivers, and says why nothing is reported; what may not be looked up is
/// a condition of what refers to it.
#[tokio::test]
async fn what_may_not_be_looked_up_is_a_condition() {
    let Some(cluster) = own_cluster("references that may not be looked up").await else { return };
    let subscriber = Subscriber::start().await;
    let rules = format!(
        "{READ_BROKERS}- {{apiGroups: [eventing.knative.dev], resources: [triggers], verbs: [get, list, watch]}}\n\
         - {{apiGroups: [eventing.knative.dev], resources: [brokers/status, triggers/status], verbs: [patch, update]}}\n\
         - {{apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, create, update, patch]}}\n"
    );
    apply(&cluster, &account("half", &rules));
    let mut objects = broker("shop");
    objects += &trigger(
        "till",
        &format!("broker: shop, subscriber: {{uri: '{}'}}", subscriber.url("/till")),
    );
    objects += &trigger(
        "service",
        "broker: shop, subscriber: {ref: {apiVersion: v1, kind: Service, name: till}}",
    );
    apply(&cluster, &objects);
    let program = as_account(&cluster, "half").start().await;
    until(&cluster, "trigger till", "Ready", "True").await;
    let (_, message) = until(&cluster, "trigger service", "Ready", "False").await;
    assert!(message.starts_with("spec.subscriber.ref: cannot list services"), "{message}");
    assert!(message.contains(r#"cannot list resource "services""#), "{message}");
    arrives(&cluster, "shop", &subscriber, "/till").await;
    let text = program.admin().get("/readyz?verbose").await.text();
    assert!(text.contains("[-] cluster: cannot list services"), "{text}");
    // Events of Kubernetes may not be told either: that is said where logs are.
    eventually(SOON, || async {
        let said = program.process.stderr();
        said.contains("cannot create events.events.k8s.io").then_some(()).ok_or(said)
    })
    .await;
}
