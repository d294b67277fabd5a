//! What a cluster is told of each object, field by field, and that it is true.

use harness::servers::kubernetes::Kubernetes;
use harness::{Mode, Sample, Subscriber, eventually};
use serde_json::{Value, json};

use crate::joined::{
    SOON, apply, broker, condition, get, join, kubectl, own_cluster, trigger, until,
};

/// The status without the times of its conditions.
fn status(object: &Value) -> Value {
    let mut status = object["status"].clone();
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        let time = condition.as_object_mut().unwrap().remove("lastTransitionTime");
        assert!(time.is_some_and(|time| time.as_str().unwrap().ends_with('Z')));
    }
    status
}

fn holds(kind: &str) -> Value {
    json!({"type": kind, "status": "True"})
}

fn because(kind: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": "True", "reason": reason, "message": message})
}

/// The status of a trigger that is ready.
fn trigger_status(sink: Value, more: &Value) -> Value {
    let identity = because(
        "OIDCIdentityCreated",
        "OIDCAuthenticationDisabled",
        "authentication-oidc feature disabled",
    );
    let mut status = json!({
        "observedGeneration": 1,
        "conditions": [
            holds("BrokerReady"),
            sink,
            holds("DependencyReady"),
            identity,
            holds("Ready"),
            holds("SubscriberResolved"),
            holds("SubscriptionReady"),
        ],
    });
    status.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    status
}

#[tokio::test]
async fn the_status_is_knatives_field_by_field() {
    let Some(cluster) = own_cluster("the fields of a status").await else { return };
    let program = join(&cluster).await;
    let at = format!("http://{}", program.events());
    let sink = "{apiVersion: v1, kind: Service, name: letters}";
    apply(
        &cluster,
        &format!(
            "{}{}apiVersion: v1\nkind: Service\nmetadata: {{name: letters}}\nspec: {{ports: [{{port: 80}}]}}\n---\n{}{}",
            broker("shop"),
            broker("archive"),
            trigger("bare", "broker: shop, subscriber: {uri: 'http://till.example'}"),
            trigger(
                "full",
                &format!(
                    "broker: shop, subscriber: {{ref: {{apiVersion: eventing.knative.dev/v1, kind: Broker, name: archive}}, uri: '?x=1', audience: us}}, delivery: {{deadLetterSink: {{ref: {sink}, uri: /in}}}}"
                )
            ),
        ),
    );
    for object in ["broker shop", "trigger bare", "trigger full"] {
        until(&cluster, object, "Ready", "True").await;
    }
    let no_sink = because(
        "DeadLetterSinkResolved",
        "DeadLetterSinkNotConfigured",
        "No dead letter sink is configured.",
    );
    let url = format!("{at}/default/shop");
    assert_eq!(
        status(&get(&cluster, "broker shop")),
        json!({
            "observedGeneration": 1,
            "conditions": [
                holds("Addressable"),
                no_sink,
                because(
                    "EventPoliciesReady",
                    "OIDCDisabled",
                    "Feature \"authentication-oidc\" must be enabled to support Authorization",
                ),
                holds("FilterReady"),
                holds("IngressReady"),
                holds("Ready"),
                holds("TriggerChannelReady"),
            ],
            "address": {"name": "http", "url": url},
            "addresses": [{"name": "http", "url": url}],
        })
    );
    assert_eq!(
        status(&get(&cluster, "trigger bare")),
        trigger_status(no_sink.clone(), &json!({"subscriberUri": "http://till.example"}))
    );
    assert_eq!(
        status(&get(&cluster, "trigger full")),
        trigger_status(
            holds("DeadLetterSinkResolved"),
            &json!({
                "subscriberUri": format!("{at}/default/archive?x=1"),
                "subscriberAudience": "us",
                "deadLetterSinkUri": "http://letters.default.svc.cluster.local/in",
            })
        )
    );
    // As a person would look.
    let seen = kubectl(&cluster, "get broker,trigger --no-headers");
    let words: Vec<Vec<&str>> =
        seen.lines().map(|line| line.split_whitespace().collect()).collect();
    let row = |name: &str| words.iter().find(|row| row.first() == Some(&name)).cloned().unwrap();
    assert_eq!(row("broker.eventing.knative.dev/shop")[1], url);
    assert_eq!(row("broker.eventing.knative.dev/shop")[3], "True");
    let bare = row("trigger.eventing.knative.dev/bare");
    assert_eq!((bare[1], bare[2], bare[4]), ("shop", "http://till.example", "True"));
}

/// What is wrong with objects, each with the condition that says so: its reason, and how its message begins.
const WRONG: &[(&str, &str, &str, &str)] = &[
    ("trigger sql", "SubscriptionReady", "InvalidSpec", "spec.filters[0].cesql: "),
    ("trigger slow", "SubscriptionReady", "InvalidSpec", "spec.delivery.backoffDelay: "),
    ("trigger nobody", "SubscriberResolved", "InvalidSpec", "spec.subscriber"),
    (
        "trigger circle",
        "SubscriberResolved",
        "Unable to get the Subscriber's URI",
        "spec.subscriber.ref: leads back to Broker \"default/shop\"",
    ),
    (
        "trigger stranger",
        "SubscriberResolved",
        "Unable to get the Subscriber's URI",
        "spec.subscriber.ref: the cluster has no kind example.com/v1 Robot",
    ),
    ("trigger homeless", "BrokerReady", "BrokerDoesNotExist", "Broker \"nowhere\" does not exist"),
    (
        "broker lost",
        "TriggerChannelReady",
        "ChannelTemplateFailed",
        "spec.config.name: ConfigMap default/nothing is not defined here",
    ),
    (
        "broker foreign",
        "IngressReady",
        "UnknownBrokerClass",
        "metadata.annotations.eventing.knative.dev/broker.class: ",
    ),
];

/// Objects that an older definition let in.
fn wrong_objects(uri: &str) -> String {
    let mut objects = broker("shop");
    objects += &trigger("good", &format!("broker: shop, {uri}"));
    objects += &trigger("sql", &format!("broker: shop, {uri}, filters: [{{cesql: 'type ='}}]"));
    objects += &trigger("slow", &format!("broker: shop, {uri}, delivery: {{backoffDelay: soon}}"));
    objects += &trigger("nobody", "broker: shop");
    objects += &trigger("typo", &format!("broker: shop, {uri}, fliters: []"));
    objects += &trigger(
        "circle",
        "broker: shop, subscriber: {ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: shop}}",
    );
    objects += &trigger(
        "stranger",
        "broker: shop, subscriber: {ref: {apiVersion: example.com/v1, kind: Robot, name: r}}",
    );
    objects += &trigger("homeless", &format!("broker: nowhere, {uri}"));
    objects += "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: lost}\n\
                spec: {config: {apiVersion: v1, kind: ConfigMap, name: nothing}}\n---\n";
    objects += "apiVersion: eventing.knative.dev/v1\nkind: Broker\n\
                metadata: {name: foreign, annotations: {eventing.knative.dev/broker.class: Fast}}\n---\n";
    objects += "apiVersion: eventing.knative.dev/v1\nkind: Broker\n\
                metadata: {name: theirs, annotations: {eventing.knative.dev/broker.class: Kafka}}\n---\n";
    objects
}

/// Lets everything in.
fn loosen(cluster: &Kubernetes) {
    // A laxer definition than ours, as an older one may have been.
    for kind in ["brokers", "triggers"] {
        let crd = format!("crd {kind}.eventing.knative.dev");
        let mut crd = get(cluster, &crd);
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        for version in crd["spec"]["versions"].as_array_mut().unwrap() {
            version["schema"]["openAPIV3Schema"] = schema.clone();
        }
        let said = cluster.kubectl(&["replace", "-f", "-"], &crd.to_string());
        assert!(said.is_success, "{}", said.stderr);
    }
}

/// Each of them is a condition of the object that it is about, and of no other.
#[tokio::test]
async fn what_is_wrong_is_a_condition_with_the_field_in_it() {
    let Some(cluster) = own_cluster("what is wrong").await else { return };
    loosen(&cluster);
    let program = join(&cluster).await;
    let uri = "subscriber: {uri: 'http://till.example'}";
    // A definition that was changed has broken the watches: they are back when this is told.
    apply(&cluster, &broker("shop"));
    until(&cluster, "broker shop", "Ready", "True").await;
    apply(&cluster, &wrong_objects(uri));
    for (object, kind, reason, message) in WRONG {
        until(&cluster, object, "Ready", "False").await;
        let found = condition(&get(&cluster, object), kind);
        assert_eq!(
            (found.0.as_str(), found.1.as_str()),
            ("False", *reason),
            "{object}: {}",
            found.2
        );
        assert!(found.2.starts_with(*message), "{object}: {}", found.2);
    }
    for object in ["broker shop", "trigger good", "trigger typo"] {
        until(&cluster, object, "Ready", "True").await;
    }
    assert_eq!(get(&cluster, "broker theirs")["status"], Value::Null, "others report on it");
    // A person sees it without asking for conditions.
    let said = eventually(SOON, || async {
        let events = kubectl(&cluster, "get events");
        let is_told = |part: &str| events.contains(part);
        let all = ["trigger/sql", "trigger/circle", "broker/lost", "spec.fliters: unknown field"];
        if all.into_iter().all(is_told) { Ok(events) } else { Err(events) }
    })
    .await;
    assert!(!said.contains("trigger/good"), "{said}");
    // Mended, each is ready within the same run.
    apply(
        &cluster,
        &trigger("sql", &format!("broker: shop, {uri}, filters: [{{cesql: 'type = 1'}}]")),
    );
    until(&cluster, "trigger sql", "Ready", "True").await;
    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: nothing}\ndata:\n  channel-template-spec: |\n    apiVersion: messaging.knative.dev/v1\n    kind: InMemoryChannel\n";
    apply(&cluster, config);
    until(&cluster, "broker lost", "Ready", "True").await;
    apply(&cluster, &config.replace("InMemory", "InMemroy"));
    until(&cluster, "broker lost", "Ready", "False").await;
    let sample = Sample::new("/cluster", "still", "com.example.asked");
    let mut producer = program.producer("default/lost");
    assert_eq!(
        producer.send(&sample, Mode::Binary).await.unwrap().status,
        202,
        "goes on as it was"
    );
}

/// A kind with an address, and the right to look at it.
fn define_robots(cluster: &Kubernetes) {
    let crd = |version: &str, more: &str| {
        format!(
            "{{name: {version}, served: true, schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}{more}}}"
        )
    };
    apply(
        cluster,
        &format!(
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n\
             metadata: {{name: robots.example.com}}\n\
             spec: {{group: example.com, scope: Namespaced, names: {{kind: Robot, plural: robots, singular: robot, listKind: RobotList}}, versions: [{}, {}]}}\n",
            crd("v1", ", storage: true"),
            crd("v1alpha1", ", storage: false"),
        ),
    );
    kubectl(cluster, "wait --for=condition=Established --timeout=60s crd robots.example.com");
    // What ships a kind ships such a role for it; the aggregation is a controller's that is not here.
    apply(
        cluster,
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\n\
         metadata: {name: robots, labels: {duck.knative.dev/addressable: 'true'}}\n\
         rules: [{apiGroups: [example.com], resources: [robots], verbs: [get, list, watch]}]\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: robots}\n\
         roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: robots}\n\
         subjects: [{kind: ServiceAccount, name: catchment, namespace: catchment}]\n",
    );
}

/// A subscriber that goes, comes back and moves; by its Service, by anything with an address, by a
/// group without a version; what a trigger depends on.
#[tokio::test]
async fn what_is_referred_to_is_followed() {
    let Some(cluster) = own_cluster("what is referred to").await else { return };
    define_robots(&cluster);
    let subscriber = Subscriber::start().await;
    let robot = |path: &str, ready: &str| {
        format!(
            "apiVersion: example.com/v1\nkind: Robot\nmetadata: {{name: r2}}\n\
             status: {{address: {{url: '{}'}}, conditions: [{{type: Ready, status: '{ready}', reason: Tired, message: sleeps}}]}}\n---\n",
            subscriber.url(path)
        )
    };
    let _program = join(&cluster).await;
    apply(
        &cluster,
        &(broker("shop")
            + &trigger(
                "robot",
                "broker: shop, subscriber: {ref: {group: example.com, kind: Robot, name: r2}, uri: arm}",
            )
            + &trigger(
                "service",
                "broker: shop, subscriber: {ref: {apiVersion: v1, kind: Service, name: till}, uri: /in}",
            )),
    );
    let (_, message) = until(&cluster, "trigger robot", "Ready", "False").await;
    assert_eq!(message, "spec.subscriber.ref: Robot default/r2 does not exist");
    apply(&cluster, &robot("/one/", "True"));
    until(&cluster, "trigger robot", "Ready", "True").await;
    assert_eq!(
        get(&cluster, "trigger robot")["status"]["subscriberUri"],
        subscriber.url("/one/arm")
    );
    crate::joined::arrives(&cluster, "shop", &subscriber, "/one/arm").await;
    apply(&cluster, &robot("/two/", "True"));
    eventually(SOON, || async {
        let uri = get(&cluster, "trigger robot")["status"]["subscriberUri"].clone();
        if uri == subscriber.url("/two/arm") { Ok(()) } else { Err(uri) }
    })
    .await;
    crate::joined::arrives(&cluster, "shop", &subscriber, "/two/arm").await;
    // Gone, it is told; and its events go to where it was, as nobody knows better.
    kubectl(&cluster, "delete robot r2");
    until(&cluster, "trigger robot", "SubscriberResolved", "False").await;
    crate::joined::arrives(&cluster, "shop", &subscriber, "/two/arm").await;
    apply(&cluster, &robot("/two/", "True"));
    until(&cluster, "trigger robot", "Ready", "True").await;

    until(&cluster, "trigger service", "SubscriberResolved", "False").await;
    kubectl(&cluster, "create service clusterip till --tcp=80");
    until(&cluster, "trigger service", "Ready", "True").await;
    let uri = get(&cluster, "trigger service")["status"]["subscriberUri"].clone();
    assert_eq!(uri, "http://till.default.svc.cluster.local/in");

    let dependency = r#"{"apiVersion":"example.com/v1","kind":"Robot","name":"r2"}"#;
    let note = format!("knative.dev/dependency={dependency}");
    let said = cluster.kubectl(&["annotate", "trigger", "service", &note], "");
    assert!(said.is_success, "{}", said.stderr);
    until(&cluster, "trigger service", "DependencyReady", "True").await;
    apply(&cluster, &robot("/two/", "False"));
    let (reason, message) = until(&cluster, "trigger service", "DependencyReady", "False").await;
    assert_eq!((reason.as_str(), message.as_str()), ("Tired", "sleeps"));
}

/// Nothing is written to objects while nothing changes.
#[tokio::test]
async fn nothing_is_written_while_nothing_changes() {
    let Some(cluster) = own_cluster("writes while nothing changes").await else { return };
    let uri = "subscriber: {uri: 'http://till.example'}";
    let mut objects = broker("shop");
    for n in 0..20 {
        objects += &trigger(&format!("t{n}"), &format!("broker: shop, {uri}"));
    }
    objects += &trigger("homeless", &format!("broker: nowhere, {uri}"));
    apply(&cluster, &objects);
    let _program = join(&cluster).await;
    for n in 0..20 {
        until(&cluster, &format!("trigger t{n}"), "Ready", "True").await;
    }
    until(&cluster, "trigger homeless", "Ready", "False").await;
    let writes = || {
        let metrics = kubectl(&cluster, "get --raw /metrics");
        let is_write = |line: &&str| {
            line.starts_with("apiserver_request_total")
                && ["PATCH", "PUT", "POST", "APPLY"]
                    .iter()
                    .any(|verb| line.contains(&format!("verb=\"{verb}\"")))
                && (line.contains("knative.dev")
                    || line.contains("resource=\"events\"")
                    || line.contains("resource=\"services\""))
        };
        let count = |line: &str| line.rsplit(' ').next().and_then(|it| it.parse::<f64>().ok());
        metrics.lines().filter(is_write).filter_map(count).sum::<f64>()
    };
    let before = writes();
    assert!(before > 20.0, "{before}");
    let seconds = if harness::is_long() { 60 } else { 6 };
    tokio::time::sleep(std::time::Duration::from_secs(seconds)).await;
    assert_eq!(writes(), before);
}
