//! What the accounts may do: the shipped roles against a list in code, and what an API server says of them.

use std::collections::BTreeSet;

use harness::servers::kubernetes::Kubernetes;
use serde_json::{Value, json};

use super::{DATA_PLANE, OVERLAYS, PROGRAM, find, installed, objects_of};

const EVENTING: &str = "eventing.knative.dev";
const MESSAGING: &str = "messaging.knative.dev";

const SOURCES: &str = "sources.knative.dev";
const OWN_SOURCES: &str = "sources.catchment.dev";

const BACKING: [&str; 4] =
    ["inmemorychannels", "diskchannels", "kafkachannels", "natsjetstreamchannels"];

const KNATIVE_SOURCES: [&str; 6] = [
    "pingsources",
    "githubsources",
    "kafkasources",
    "apiserversources",
    "sinkbindings",
    "containersources",
];

const READ: [&str; 3] = ["get", "list", "watch"];

/// One thing that may be done: verb, group, resource, name.
type Right = (String, String, String, String);

fn right(verb: &str, group: &str, resource: &str) -> Right {
    (verb.into(), group.into(), resource.into(), String::new())
}

/// All that the program may do in every namespace.
fn allowed() -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    let mut allow = |verbs: &[&str], group: &str, resources: &[&str]| {
        for verb in verbs {
            rights.extend(resources.iter().map(|resource| right(verb, group, resource)));
        }
    };
    allow(&READ, EVENTING, &["brokers", "triggers"]);
    allow(&READ, MESSAGING, &["channels", "subscriptions"]);
    allow(&READ, MESSAGING, &BACKING);
    allow(&READ, SOURCES, &KNATIVE_SOURCES);
    allow(&READ, OWN_SOURCES, &["webhooksources"]);
    allow(&READ, "", &["services", "configmaps"]);
    allow(&["get", "list"], "apiextensions.k8s.io", &["customresourcedefinitions"]);
    for (group, kinds) in [
        (EVENTING, &["brokers", "triggers"][..]),
        (MESSAGING, &["channels", "subscriptions"]),
        (MESSAGING, &BACKING),
        (SOURCES, &KNATIVE_SOURCES),
        (OWN_SOURCES, &["webhooksources"]),
    ] {
        for kind in kinds {
            let subresources = [format!("{kind}/status"), format!("{kind}/finalizers")];
            allow(&["update", "patch"], group, &subresources.each_ref().map(String::as_str));
        }
    }
    allow(&["patch"], EVENTING, &["brokers"]);
    allow(&["patch"], MESSAGING, &["channels"]);
    allow(&["patch"], SOURCES, &["sinkbindings"]);
    allow(&["create", "patch"], MESSAGING, &BACKING);
    allow(&["create", "patch"], "", &["services"]);
    allow(&["create", "patch"], "events.k8s.io", &["events"]);
    rights
}

/// All that a role allows.
fn rights(role: &Value) -> BTreeSet<Right> {
    let texts = |list: &Value| -> Vec<String> {
        let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().map(|one| one.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        assert!(rule["nonResourceURLs"].is_null(), "{rule}");
        let mut names = texts(&rule["resourceNames"]);
        if names.is_empty() {
            names.push(String::new());
        }
        for verb in texts(&rule["verbs"]) {
            for group in texts(&rule["apiGroups"]) {
                for resource in texts(&rule["resources"]) {
                    let of_name = |name: &String| {
                        (verb.clone(), group.clone(), resource.clone(), name.clone())
                    };
                    rights.extend(names.iter().map(of_name));
                }
            }
        }
    }
    rights
}

#[test]
fn the_program_may_do_what_the_list_says_and_nothing_else() {
    for name in OVERLAYS.into_iter().filter(|name| *name != "manifests") {
        let Some(objects) = objects_of(name) else { return };
        assert_eq!(rights(find(&objects, "ClusterRole", "catchment")), allowed(), "{name}");
        let lease = |verb: &str, of: &str| {
            (verb.to_owned(), "coordination.k8s.io".to_owned(), "leases".to_owned(), of.to_owned())
        };
        let leases = [
            lease("get", "catchment"),
            lease("update", "catchment"),
            lease("patch", "catchment"),
            lease("create", ""),
        ];
        let role = find(&objects, "Role", "catchment");
        assert_eq!(role["metadata"]["namespace"], "catchment");
        assert_eq!(rights(role), leases.into(), "{name}");
        // What owners of other kinds say may be named in references.
        let role = find(&objects, "ClusterRole", "catchment-addressables");
        let labels = json!([{"matchLabels": {"duck.knative.dev/addressable": "true"}}]);
        assert_eq!(role["aggregationRule"]["clusterRoleSelectors"], labels, "{name}");
        // Rules that stand there would be put back at every `kubectl apply`.
        assert!(role["rules"].is_null(), "{name}");
        let ours = find(&objects, "ClusterRole", "catchment-addressable-kinds");
        assert_eq!(ours["metadata"]["labels"]["duck.knative.dev/addressable"], "true");
        let verbs: BTreeSet<_> = rights(ours).into_iter().map(|(verb, ..)| verb).collect();
        assert_eq!(verbs, READ.map(str::to_owned).into(), "{name}");
    }
}

#[test]
fn roles_are_bound_to_the_program_alone() {
    for name in OVERLAYS {
        let Some(objects) = objects_of(name) else { return };
        let bindings: Vec<_> = objects
            .iter()
            .filter(|one| one["kind"].as_str().unwrap().ends_with("RoleBinding"))
            .collect();
        let mut bound = BTreeSet::new();
        for binding in bindings {
            let subjects =
                json!([{"kind": "ServiceAccount", "name": "catchment", "namespace": "catchment"}]);
            assert_eq!(binding["subjects"], subjects, "{name}");
            bound.insert(format!("{} {}", binding["kind"], binding["roleRef"]["name"]));
        }
        let expected: BTreeSet<String> = match name {
            "manifests" => BTreeSet::new(),
            _ => [
                r#""ClusterRoleBinding" "catchment""#,
                r#""ClusterRoleBinding" "catchment-addressables""#,
                r#""RoleBinding" "catchment""#,
            ]
            .map(str::to_owned)
            .into(),
        };
        assert_eq!(bound, expected, "{name}");
        for role in objects.iter().filter(|one| one["kind"].as_str().unwrap().ends_with("Role")) {
            for (verb, group, resource, _) in rights(role) {
                let all = [&verb, &group, &resource];
                assert!(all.iter().all(|one| !one.contains('*')), "{name}: {all:?}");
                let is_secret = resource.starts_with("secrets") || resource.starts_with("pods");
                assert!(!is_secret, "{name}: {all:?}");
                let is_escalation = ["escalate", "bind", "impersonate"].contains(&verb.as_str());
                assert!(!is_escalation, "{name}: {all:?}");
            }
        }
    }
}

#[test]
fn a_component_lets_the_program_act_as_service_accounts_and_nothing_else() {
    let folder = crate::root().join("deploy/kubernetes/components/api-server-sources");
    let text = std::fs::read_to_string(folder.join("rights.yaml")).unwrap();
    let objects = super::objects(&text);
    let expected = [
        right("impersonate", "", "serviceaccounts"),
        right("list", "", "namespaces"),
        right("watch", "", "namespaces"),
    ];
    let role = find(&objects, "ClusterRole", "catchment-api-server-sources");
    assert_eq!(rights(role), expected.into());
    let binding = find(&objects, "ClusterRoleBinding", "catchment-api-server-sources");
    let program =
        json!([{"kind": "ServiceAccount", "name": "catchment", "namespace": "catchment"}]);
    assert_eq!(binding["subjects"], program);
    assert_eq!(objects.len(), 2);
}

#[test]
fn a_component_lets_the_program_write_pod_templates() {
    let folder = crate::root().join("deploy/kubernetes/components/sink-bindings");
    let text = std::fs::read_to_string(folder.join("rights.yaml")).unwrap();
    let objects = super::objects(&text);
    let mut expected = BTreeSet::from([right("create", "apps", "deployments")]);
    for (group, kinds) in [
        ("apps", &["deployments", "statefulsets", "daemonsets", "replicasets"][..]),
        ("batch", &["jobs", "cronjobs"]),
        ("serving.knative.dev", &["services"]),
    ] {
        let verbs = READ.into_iter().chain(["patch"]);
        expected
            .extend(verbs.flat_map(|verb| kinds.iter().map(move |kind| right(verb, group, kind))));
    }
    assert_eq!(rights(find(&objects, "ClusterRole", "catchment-sink-bindings")), expected);
    let binding = find(&objects, "ClusterRoleBinding", "catchment-sink-bindings");
    let program =
        json!([{"kind": "ServiceAccount", "name": "catchment", "namespace": "catchment"}]);
    assert_eq!(binding["subjects"], program);
    assert_eq!(objects.len(), 2);
}

#[test]
fn an_example_lets_the_program_get_one_secret_by_its_name_and_nothing_else() {
    let folder = crate::root().join("deploy/kubernetes/examples/source-secrets");
    let text = std::fs::read_to_string(folder.join("rights.yaml")).unwrap();
    let objects = super::objects(&text);
    let expected = ("get".into(), String::new(), "secrets".into(), "github".into());
    assert_eq!(rights(find(&objects, "Role", "catchment-secrets")), [expected].into());
    let binding = find(&objects, "RoleBinding", "catchment-secrets");
    let program =
        json!([{"kind": "ServiceAccount", "name": "catchment", "namespace": "catchment"}]);
    assert_eq!(binding["subjects"], program);
    assert_eq!(objects.len(), 2);
}

/// Whether the API server lets `account` do what `asked` says, in words of `kubectl auth can-i`.
fn can(cluster: &Kubernetes, account: &str, asked: &str) -> bool {
    let account = format!("--as={account}");
    let mut args = vec!["auth", "can-i", &account];
    args.extend(asked.split(' '));
    let said = cluster.kubectl(&args, "");
    match said.stdout.trim() {
        "yes" => true,
        "no" => false,
        _ => panic!("{asked}: {}{}", said.stdout, said.stderr),
    }
}

#[tokio::test]
async fn an_api_server_lets_the_program_do_all_of_the_list() {
    let Some(cluster) = installed("rights").await else { return };
    for (verb, group, resource, _) in allowed() {
        let (resource, sub) = resource.split_once('/').unwrap_or((&resource, ""));
        let kind =
            if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
        let sub = if sub.is_empty() { String::new() } else { format!(" --subresource={sub}") };
        let mut asked = format!("{verb} {kind}{sub} -A");
        if resource == "customresourcedefinitions" {
            // They are in no namespace.
            asked = format!("{verb} {kind}");
        }
        assert!(can(&cluster, PROGRAM, &asked), "{asked}");
        assert!(!can(&cluster, DATA_PLANE, &asked), "{asked}");
    }
    for verb in ["get", "update", "patch"] {
        let asked = format!("{verb} leases.coordination.k8s.io/catchment -n catchment");
        assert!(can(&cluster, PROGRAM, &asked), "{asked}");
        assert!(!can(&cluster, DATA_PLANE, &asked), "{asked}");
    }
    assert!(can(&cluster, PROGRAM, "create leases.coordination.k8s.io -n catchment"));
}

#[tokio::test]
async fn an_api_server_refuses_the_accounts_everything_else() {
    let Some(cluster) = installed("rights").await else { return };
    for asked in [
        "get secrets -n catchment",
        "get secrets -n default",
        "list secrets -A",
        "watch secrets -A",
        "create pods -A",
        "get pods -n catchment",
        "get pods --subresource=log -n catchment",
        "create pods --subresource=exec -A",
        "create pods --subresource=exec -n catchment",
        "create pods --subresource=portforward -n catchment",
        "create serviceaccounts --subresource=token -n catchment",
        "get nodes",
        "get nodes --subresource=proxy",
        "list namespaces",
        "create namespaces",
        "update configmaps -A",
        "create configmaps -n catchment",
        "delete services -A",
        "update services -A",
        "create endpoints -A",
        "create endpointslices.discovery.k8s.io -A",
        "create deployments.apps -A",
        "create brokers.eventing.knative.dev -A",
        "update brokers.eventing.knative.dev -A",
        "delete brokers.eventing.knative.dev -A",
        "patch triggers.eventing.knative.dev -A",
        "delete triggers.eventing.knative.dev -A",
        "create channels.messaging.knative.dev -A",
        "patch subscriptions.messaging.knative.dev -A",
        "delete inmemorychannels.messaging.knative.dev -A",
        "delete kafkachannels.messaging.knative.dev -A",
        "create customresourcedefinitions.apiextensions.k8s.io",
        "patch customresourcedefinitions.apiextensions.k8s.io",
        "create clusterroles.rbac.authorization.k8s.io",
        "bind clusterroles.rbac.authorization.k8s.io",
        "escalate roles.rbac.authorization.k8s.io -A",
        "create rolebindings.rbac.authorization.k8s.io -n catchment",
        "patch validatingadmissionpolicies.admissionregistration.k8s.io",
        "create validatingwebhookconfigurations.admissionregistration.k8s.io",
        "impersonate users",
        "impersonate serviceaccounts -A",
        "impersonate serviceaccounts -n catchment",
        "get leases.coordination.k8s.io/other -n catchment",
        "update leases.coordination.k8s.io/other -n catchment",
        "get leases.coordination.k8s.io/catchment -n default",
        "create leases.coordination.k8s.io -n kube-system",
        "list leases.coordination.k8s.io -n catchment",
        "delete leases.coordination.k8s.io/catchment -n catchment",
        "create events -A",
        "list events.events.k8s.io -A",
        "* * -A",
    ] {
        for account in [PROGRAM, DATA_PLANE] {
            assert!(!can(&cluster, account, asked), "{account}: {asked}");
        }
    }
}
