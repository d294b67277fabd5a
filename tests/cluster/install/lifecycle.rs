//! Installed with one command into an empty cluster, again without a change, changed, and removed.

use harness::say_not_run;
use harness::servers::kubernetes::Kubernetes;

use super::overlay;

fn run(cluster: &Kubernetes, args: &[&str]) -> String {
    let said = cluster.kubectl(args, "");
    assert!(said.is_success, "{}: {}", args.join(" "), said.stderr);
    assert!(!said.stderr.contains("Warning"), "{}: {}", args.join(" "), said.stderr);
    said.stdout
}

#[tokio::test]
async fn one_command_installs_and_one_removes() {
    let cluster = match Kubernetes::start().await {
        Ok(cluster) => cluster,
        Err(why) => return say_not_run("the installation", &why),
    };
    let disk = overlay("disk");
    let first = run(&cluster, &["apply", "-k", &disk]);
    assert!(first.lines().all(|line| line.ends_with(" created")), "{first}");
    run(&cluster, &["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]);
    let versions =
        "jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.resourceVersion}\n{end}";
    let before = run(&cluster, &["get", "-k", &disk, "-o", versions]);
    let again = run(&cluster, &["apply", "-k", &disk]);
    let changed: Vec<_> = again.lines().filter(|line| !line.ends_with(" unchanged")).collect();
    // kubectl always sends these two lists, so that it always says so of them ...
    let sent = [
        "statefulset.apps/catchment configured",
        "poddisruptionbudget.policy/catchment configured",
    ];
    assert_eq!(changed, sent);
    // ... and nothing has changed.
    assert_eq!(run(&cluster, &["get", "-k", &disk, "-o", versions]), before);
    assert_eq!(again.lines().count(), first.lines().count());

    let broker = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: default}\n";
    let said = cluster.kubectl(&["apply", "-f", "-"], broker);
    assert!(said.is_success, "{}", said.stderr);

    // Other names: the claim and the Broker are as they were, and the pods read another ConfigMap.
    run(&cluster, &["create", "namespace", "knative-eventing"]);
    let get = ["-n", "catchment", "get", "statefulset", "catchment", "-o"];
    let config = "jsonpath={.spec.template.spec.volumes[0].configMap.name}";
    let before = run(&cluster, &[&get[..], &[config]].concat());
    let changed = run(&cluster, &["apply", "-k", &overlay("knative-names")]);
    let changes: Vec<_> = changed
        .lines()
        .filter(|line| !line.ends_with(" unchanged") && !line.starts_with("poddisruptionbudget"))
        .collect();
    let is_expected = |line: &str| {
        line.starts_with("configmap/catchment-config-") && line.ends_with(" created")
            || line == "statefulset.apps/catchment configured"
            || line == "service/broker-ingress created"
            || line == "service/kafka-broker-ingress created"
    };
    assert!(changes.iter().all(|line| is_expected(line)), "{changes:?}");
    assert_eq!(changes.len(), 4, "{changes:?}");
    assert_ne!(run(&cluster, &[&get[..], &[config]].concat()), before);

    run(&cluster, &["delete", "broker", "default"]);
    // What has to be emptied first is only marked: no controller ends a namespace here, and a definition takes its time.
    let removed = ["delete", "-k", &overlay("knative-names"), "--wait=false"];
    run(&cluster, &removed);
    let marks =
        "jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.deletionTimestamp}\n{end}";
    for kinds in [
        "namespaces,crd,clusterroles,clusterrolebindings",
        "validatingadmissionpolicies,validatingadmissionpolicybindings",
    ] {
        let left = run(&cluster, &["get", kinds, "-o", marks]);
        let ours = left.lines().filter(|line| line.contains("catchment") || line.contains("dev "));
        for one in ours {
            let words: Vec<_> = one.split(' ').collect();
            assert!(!words[2].is_empty(), "{one} is left");
            assert!(["Namespace", "CustomResourceDefinition"].contains(&words[0]), "{one} is left");
        }
    }
    let inside =
        ["-n", "catchment", "get", "statefulsets,services,roles,networkpolicies", "-o", "name"];
    assert_eq!(run(&cluster, &inside), "");
    // The namespace of others is theirs.
    let phase = ["get", "namespace", "knative-eventing", "-o", "jsonpath={.status.phase}"];
    assert_eq!(run(&cluster, &phase), "Active");
}
