//! ApiServerSources tell of changes: all of them, each once, whatever is away meanwhile.

use harness::servers::kubernetes::Kubernetes;
use harness::{Subscriber, eventually};
use serde_json::Value;

use crate::joined::{SOON, apply, condition, get, join, kubectl, own_cluster, until};

/// An account of the namespace that may read ConfigMaps, and that the program may act as.
pub(crate) fn account(namespace: &str, name: &str) -> String {
    let subject = |name: &str, of: &str| {
        format!("subjects: [{{kind: ServiceAccount, name: {name}, namespace: {of}}}]\n---\n")
    };
    let role = |name: &str, rule: &str, subject: &str| {
        let head = |kind: &str| {
            format!(
                "apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\n\
                 metadata: {{name: {name}, namespace: {namespace}}}\n"
            )
        };
        format!(
            "{}rules: [{{apiGroups: [''], {rule}}}]\n---\n{}\
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {name}}}\n{subject}",
            head("Role"),
            head("RoleBinding")
        )
    };
    let reads = "resources: [configmaps], verbs: [list, watch]";
    let acts =
        format!("resources: [serviceaccounts], resourceNames: [{name}], verbs: [impersonate]");
    format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, namespace: {namespace}}}\n---\n{}{}",
        role(&format!("{name}-reads"), reads, &subject(name, namespace)),
        role(&format!("{name}-acts"), &acts, &subject("catchment", "catchment")),
    )
}

/// A source of changes of ConfigMaps, unless `spec` says something else.
pub(crate) fn source(name: &str, subscriber: &Subscriber, spec: &str) -> String {
    let resources = "resources: [{apiVersion: v1, kind: ConfigMap}], ";
    let resources = if spec.contains("resources:") { "" } else { resources };
    format!(
        "apiVersion: sources.knative.dev/v1\nkind: ApiServerSource\nmetadata: {{name: {name}}}\n\
         spec: {{{resources}sink: {{uri: '{}'}}{spec}}}\n---\n",
        subscriber.url(&format!("/{name}"))
    )
}

pub(crate) const AS_READER: &str = ", serviceAccountName: reader";

fn map(name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, labels: {{tier: {value}}}}}\n\
         data: {{value: {value}}}\n---\n"
    )
}

/// What was told of one source, as `add till`, in the order in which it came; each event once.
fn told(subscriber: &Subscriber, source: &str) -> Vec<String> {
    let received = subscriber.received_at(&format!("/{source}"));
    let events = received.iter().filter(|it| it.earlier == 0);
    let events = events.map(|it| &it.event.as_ref().expect("an event").attributes);
    let own = events.filter(|it| it["name"] != "kube-root-ca.crt");
    own.map(|it| format!("{} {}", it["type"].rsplit('.').next().unwrap(), it["name"])).collect()
}

async fn until_told(subscriber: &Subscriber, source: &str, expected: &[&str]) {
    eventually(SOON, || async {
        let told = told(subscriber, source);
        if told == expected { Ok(()) } else { Err(told) }
    })
    .await;
}

/// The same in any order.
async fn until_told_all(subscriber: &Subscriber, source: &str, expected: &[&str]) {
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    eventually(SOON, || async {
        let mut told = told(subscriber, source);
        told.sort_unstable();
        if told == expected { Ok(()) } else { Err(told) }
    })
    .await;
}

fn events(subscriber: &Subscriber, source: &str) -> Vec<(Value, Value)> {
    let received = subscriber.received_at(&format!("/{source}"));
    let events = received.iter().map(|it| it.event.as_ref().expect("an event"));
    let data = |it: &harness::seen::Seen| serde_json::from_slice(it.data.as_ref().unwrap());
    events.map(|it| (serde_json::to_value(&it.attributes).unwrap(), data(it).unwrap())).collect()
}

fn ready(cluster: &Kubernetes, name: &str) -> impl Future<Output = (String, String)> {
    let what = format!("apiserversource {name}");
    async move { until(cluster, &what, "Ready", "True").await }
}

#[tokio::test]
async fn changes_are_told_in_both_modes() {
    let Some(cluster) = own_cluster("changes of a cluster as events").await else { return };
    let subscriber = Subscriber::start().await;
    let mut objects = account("default", "reader") + &map("before", "a");
    objects += &source("refs", &subscriber, AS_READER);
    objects += &source(
        "wholes",
        &subscriber,
        ", mode: Resource, serviceAccountName: reader, \
         resources: [{apiVersion: v1, kind: ConfigMap, selector: {matchLabels: {tier: a}}}], \
         filters: [{not: {exact: {name: quiet}}}], ceOverrides: {extensions: {zone: x}}",
    );
    apply(&cluster, &objects);
    let _program = join(&cluster).await;
    // One of several tells.
    let _other = join(&cluster).await;
    ready(&cluster, "refs").await;
    ready(&cluster, "wholes").await;
    apply(&cluster, &map("till", "a"));
    apply(&cluster, &map("quiet", "a"));
    until_told(&subscriber, "refs", &["add till", "add quiet"]).await;
    apply(&cluster, &map("till", "b"));
    apply(&cluster, &map("till", "a"));
    kubectl(&cluster, "delete configmap till");
    let all = ["add till", "add quiet", "update till", "update till", "delete till"];
    until_told(&subscriber, "refs", &all).await;
    // What leaves the selector is gone from view.
    until_told(&subscriber, "wholes", &["add till", "delete till", "add till", "delete till"])
        .await;

    assert_eq!(subscriber.received_at("/refs").len(), all.len(), "none came twice");
    let (attributes, data) = events(&subscriber, "refs").swap_remove(0);
    let object = get(&cluster, "apiserversource refs");
    for (name, value) in [
        ("type", "dev.knative.apiserver.ref.add"),
        ("subject", "/apis/v1/namespaces/default/configmaps/till"),
        ("kind", "ConfigMap"),
        ("apiversion", "v1"),
        ("name", "till"),
        ("namespace", "default"),
    ] {
        assert_eq!(attributes[name], value);
    }
    assert_eq!(attributes["source"], object["status"]["ceAttributes"][0]["source"]);
    assert!(attributes["source"].as_str().unwrap().starts_with("https://"), "{attributes}");
    assert_eq!((&data["kind"], &data["name"]), (&"ConfigMap".into(), &"till".into()));
    assert_eq!(data.get("data"), None);
    let (attributes, data) = events(&subscriber, "wholes").swap_remove(0);
    assert_eq!(attributes["type"], "dev.knative.apiserver.resource.add");
    assert_eq!(attributes["zone"], "x");
    assert_eq!((&data["kind"], &data["data"]["value"]), (&"ConfigMap".into(), &"a".into()));

    assert_eq!(object["status"]["namespaces"][0], "default");
    for kind in ["Deployed", "SinkProvided", "SufficientPermissions", "OIDCIdentityCreated"] {
        assert_eq!(condition(&object, kind).0, "True", "{kind}");
    }
}

#[tokio::test]
async fn nothing_is_lost_or_repeated_while_something_is_away() {
    let Some(mut cluster) = own_cluster("changes while something is away").await else { return };
    let subscriber = Subscriber::start().await;
    let mut objects = account("default", "reader") + &source("refs", &subscriber, AS_READER);
    objects += &(map("stays", "a") + &map("changes", "a") + &map("goes", "a"));
    apply(&cluster, &objects);
    let mut program = join(&cluster).await;
    ready(&cluster, "refs").await;
    let mut expected = Vec::new();
    // The API server crashes and comes back.
    apply(&cluster, &map("till", "a"));
    expected.push("add till");
    until_told(&subscriber, "refs", &expected).await;
    cluster.crash().await;
    cluster.come_back().await;
    apply(&cluster, &map("till", "b"));
    expected.push("update till");
    until_told(&subscriber, "refs", &expected).await;
    // The program stands still, and what happened meanwhile is forgotten by the cluster (410).
    program.freeze();
    cluster.crash().await;
    cluster.come_back().await;
    apply(&cluster, &(map("changes", "b") + &map("comes", "a")));
    kubectl(&cluster, "delete configmap goes");
    cluster.compact();
    program.thaw();
    expected.extend(["update changes", "add comes", "delete goes"]);
    until_told_all(&subscriber, "refs", &expected).await;
    assert_eq!(subscriber.received_at("/refs").len(), expected.len(), "none came twice");
    // The program is killed and starts again: it goes on from what it has noted.
    apply(&cluster, &map("till", "c"));
    expected.push("update till");
    until_told_all(&subscriber, "refs", &expected).await;
    program.kill().await;
    apply(&cluster, &(map("changes", "c") + &map("new", "a")));
    kubectl(&cluster, "delete configmap comes");
    // One that came and went is told of too.
    apply(&cluster, &map("brief", "a"));
    kubectl(&cluster, "delete configmap brief");
    program.start_again().await;
    expected.extend(["update changes", "add new", "delete comes", "add brief", "delete brief"]);
    until_told_all(&subscriber, "refs", &expected).await;
    ready(&cluster, "refs").await;
    // The same, but the cluster has forgotten: all that can still be seen is told.
    program.kill().await;
    apply(&cluster, &(map("changes", "d") + &map("last", "a")));
    kubectl(&cluster, "delete configmap new");
    cluster.compact();
    cluster.crash().await;
    cluster.come_back().await;
    program.start_again().await;
    apply(&cluster, &map("end", "a"));
    expected.extend(["update changes", "add last", "add end"]);
    until_told_all(&subscriber, "refs", &expected).await;
}

#[tokio::test]
async fn what_cannot_be_watched_is_a_condition_and_the_others_go_on() {
    let Some(cluster) = own_cluster("objects that cannot be watched").await else { return };
    let subscriber = Subscriber::start().await;
    let mut objects = account("default", "reader") + &source("refs", &subscriber, AS_READER);
    objects += &source(
        "kind",
        &subscriber,
        ", serviceAccountName: reader, resources: [{apiVersion: example.com/v1, kind: Thing}, \
         {apiVersion: v1, kind: ConfigMap}]",
    );
    objects += &source("stranger", &subscriber, ", serviceAccountName: nobody");
    objects += &source(
        "pods",
        &subscriber,
        ", serviceAccountName: reader, resources: [{apiVersion: v1, kind: Pod}]",
    );
    objects += &source(
        "labelled",
        &subscriber,
        ", serviceAccountName: reader, namespaceSelector: {matchLabels: {a: b}}",
    );
    apply(&cluster, &objects);
    let program = join(&cluster).await;
    ready(&cluster, "refs").await;
    let fails = |name: &str, kind: &'static str| {
        let what = format!("apiserversource {name}");
        let cluster = &cluster;
        async move { until(cluster, &what, kind, "False").await }
    };
    let (reason, message) = fails("kind", "Deployed").await;
    assert_eq!(reason, "KindNotFound");
    assert_eq!(message, "the cluster does not have example.com/v1 Thing");
    let (reason, message) = fails("stranger", "SufficientPermissions").await;
    assert_eq!(reason, "MissingPermissions");
    assert!(message.contains(r#"cannot impersonate resource "serviceaccounts""#), "{message}");
    let (_, message) = fails("pods", "SufficientPermissions").await;
    assert!(message.starts_with("cannot list pods in namespace default"), "{message}");
    assert!(message.contains(r#"cannot list resource "pods""#), "{message}");
    let (_, message) = fails("labelled", "SufficientPermissions").await;
    assert!(message.starts_with("cannot list and watch namespaces"), "{message}");
    let sources = program.admin().get("/api/v1/sources").await.json();
    let items = sources["items"].as_array().unwrap();
    let of = |name: &str| items.iter().find(|it| it["name"] == name).unwrap();
    assert_eq!((&of("pods")["ready"], &of("refs")["ready"]), (&false.into(), &true.into()));
    assert!(of("pods")["failure"].as_str().unwrap().starts_with("cannot list pods"), "{sources}");
    apply(&cluster, &map("till", "a"));
    until_told(&subscriber, "refs", &["add till"]).await;
    until_told(&subscriber, "kind", &["add till"]).await;
    // The right is given: nothing need be started again.
    let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\n\
                metadata: {name: reader-reads, namespace: default}\n\
                rules: [{apiGroups: [''], resources: [configmaps, pods], verbs: [list, watch]}]\n";
    apply(&cluster, role);
    ready(&cluster, "pods").await;
}

#[tokio::test]
async fn namespaces_are_found_by_their_labels() {
    let Some(cluster) = own_cluster("namespaces by their labels").await else { return };
    let subscriber = Subscriber::start().await;
    let component = crate::root().join("deploy/kubernetes/components/api-server-sources");
    kubectl(&cluster, &format!("apply -f {}", component.join("rights.yaml").display()));
    // In every namespace: one that comes has no bindings yet.
    let binding = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: reader}\n---\n\
                   apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\n\
                   metadata: {name: reader}\n\
                   rules: [{apiGroups: [''], resources: [configmaps], verbs: [list, watch]}]\n---\n\
                   apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\n\
                   metadata: {name: reader}\n\
                   roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}\n\
                   subjects: [{kind: ServiceAccount, name: reader, namespace: default}]\n---\n";
    let mut objects = binding.to_owned();
    let labelled = ", serviceAccountName: reader, namespaceSelector: {matchLabels: {team: a}}";
    objects += &source("some", &subscriber, labelled);
    objects += &source("all", &subscriber, ", serviceAccountName: reader, namespaceSelector: {}");
    apply(&cluster, &objects);
    for name in ["one", "two"] {
        kubectl(&cluster, &format!("create namespace {name}"));
    }
    kubectl(&cluster, "label namespace one team=a");
    kubectl(&cluster, "create configmap before -n one");
    let _program = join(&cluster).await;
    ready(&cluster, "some").await;
    ready(&cluster, "all").await;
    kubectl(&cluster, "create configmap till -n one");
    kubectl(&cluster, "create configmap books -n two");
    until_told(&subscriber, "all", &["add till", "add books"]).await;
    until_told(&subscriber, "some", &["add till"]).await;
    // All that is in a namespace that comes later is new.
    kubectl(&cluster, "label namespace two team=a");
    until_told(&subscriber, "some", &["add till", "add books"]).await;
    eventually(SOON, || async {
        let object = get(&cluster, "apiserversource some");
        let namespaces = object["status"]["namespaces"].clone();
        if namespaces == serde_json::json!(["one", "two"]) { Ok(()) } else { Err(namespaces) }
    })
    .await;
    kubectl(&cluster, "label namespace two team-");
    kubectl(&cluster, "create configmap shut -n two");
    kubectl(&cluster, "create configmap open -n one");
    until_told(&subscriber, "all", &["add till", "add books", "add shut", "add open"]).await;
    eventually(SOON, || async {
        let told = told(&subscriber, "some");
        if told.iter().any(|it| it == "add open") { Ok(()) } else { Err(told) }
    })
    .await;
}
