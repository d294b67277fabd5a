//! What pods may do on their node, and what they ask of it.

use serde_json::{Value, json};

use super::{OVERLAYS, find, objects_of, workload};

/// Bytes of a quantity such as `512Mi`.
fn bytes(quantity: &Value) -> u64 {
    let text = quantity.as_str().unwrap();
    let (number, unit) = text.split_at(text.len() - 2);
    let unit: u64 = match unit {
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => panic!("unit of {text}"),
    };
    number.parse::<u64>().unwrap() * unit
}

#[test]
fn no_pod_has_more_than_it_needs_on_its_node() {
    for name in OVERLAYS {
        let Some(objects) = objects_of(name) else { return };
        let pod = &workload(&objects)["spec"]["template"]["spec"];
        let expected = json!({
            "runAsNonRoot": true,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        });
        assert_eq!(pod["securityContext"], expected, "{name}");
        for shared in
            ["hostNetwork", "hostPID", "hostIPC", "initContainers", "shareProcessNamespace"]
        {
            assert!(pod[shared].is_null(), "{name}: {shared}");
        }
        let containers = pod["containers"].as_array().unwrap();
        assert_eq!(containers.len(), 1, "{name}");
        let expected = json!({
            "allowPrivilegeEscalation": false,
            "privileged": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        });
        assert_eq!(containers[0]["securityContext"], expected, "{name}");
        let volumes = pod["volumes"].as_array().unwrap();
        assert!(volumes.iter().all(|volume| volume["hostPath"].is_null()), "{name}");
    }
}

#[test]
fn a_token_is_mounted_where_the_cluster_is_followed_and_nowhere_else() {
    for name in OVERLAYS {
        let Some(objects) = objects_of(name) else { return };
        let pod = &workload(&objects)["spec"]["template"]["spec"];
        let (account, follows) = match name {
            "manifests" => ("catchment-data-plane", false),
            _ => ("catchment", true),
        };
        assert_eq!(pod["serviceAccountName"], account, "{name}");
        assert_eq!(pod["automountServiceAccountToken"], follows, "{name}");
        let args = pod["containers"][0]["args"].as_array().unwrap();
        assert_eq!(args.contains(&json!("--kubernetes")), follows, "{name}: {args:?}");
        assert_eq!(args.contains(&json!("/etc/catchment/manifests")), !follows, "{name}: {args:?}");
        for account in objects.iter().filter(|one| one["kind"] == "ServiceAccount") {
            assert_eq!(account["automountServiceAccountToken"], false, "{name}");
        }
        // Pods that follow no cluster leave no rights behind for others to use.
        let rights = objects.iter().filter(|one| {
            one["apiVersion"].as_str().unwrap().starts_with("rbac.authorization.k8s.io/")
        });
        assert_eq!(rights.count() > 0, follows, "{name}");
    }
}

#[test]
fn memory_and_times_go_with_the_configuration() {
    for name in OVERLAYS {
        let Some(objects) = objects_of(name) else { return };
        let pod = &workload(&objects)["spec"]["template"]["spec"];
        let resources = &pod["containers"][0]["resources"];
        for (what, of) in [("requests", "cpu"), ("requests", "memory"), ("limits", "memory")] {
            assert!(resources[what][of].is_string(), "{name}: {what}.{of}");
        }
        assert!(resources["limits"]["cpu"].is_null(), "{name}");
        let config = config(&objects, pod);
        let budget = bytes(&config["channel"]["memory"]["totalBytesMax"]);
        assert_eq!(bytes(&resources["limits"]["memory"]), budget / 2 * 3, "{name}");
        assert_eq!(
            (&config["drain"]["lag"], &config["drain"]["timeout"]),
            (&json!("PT5S"), &json!("PT25S"))
        );
        assert_eq!(pod["terminationGracePeriodSeconds"], 60, "{name}");
    }
}

fn config(objects: &[Value], pod: &Value) -> Value {
    let name = pod["volumes"][0]["configMap"]["name"].as_str().unwrap();
    let text = find(objects, "ConfigMap", name)["data"]["catchment.yaml"].as_str().unwrap();
    serde_saphyr::from_str(text).unwrap()
}

#[test]
fn probes_ask_the_admin_side() {
    for name in OVERLAYS {
        let Some(objects) = objects_of(name) else { return };
        let container = &workload(&objects)["spec"]["template"]["spec"]["containers"][0];
        for (probe, path) in [
            ("startupProbe", "/healthz"),
            ("livenessProbe", "/healthz"),
            ("readinessProbe", "/readyz"),
        ] {
            let expected = json!({"path": path, "port": "admin"});
            assert_eq!(container[probe]["httpGet"], expected, "{name}: {probe}");
        }
        let ports = json!([
            {"name": "events", "containerPort": 8080},
            {"name": "admin", "containerPort": 8081},
        ]);
        assert_eq!(container["ports"], ports, "{name}");
        for (service, port, target) in
            [("catchment-ingress", 80, "events"), ("catchment-admin", 8081, "admin")]
        {
            let spec = &find(&objects, "Service", service)["spec"];
            assert_eq!(
                (&spec["ports"][0]["port"], &spec["ports"][0]["targetPort"]),
                (&json!(port), &json!(target))
            );
            let labels = &workload(&objects)["spec"]["template"]["metadata"]["labels"];
            assert_eq!(&spec["selector"], labels, "{name}: {service}");
        }
    }
}

#[test]
fn disks_belong_to_pods_and_outlive_them() {
    for (name, replicas, is_stateful) in [
        ("disk", 1, true),
        ("knative-names", 1, true),
        ("manifests", 1, true),
        ("memory", 1, false),
        ("kafka", 2, false),
        ("nats", 2, false),
    ] {
        let Some(objects) = objects_of(name) else { return };
        let workload = workload(&objects);
        assert_eq!(workload["spec"]["replicas"], replicas, "{name}");
        assert_eq!(workload["kind"] == "StatefulSet", is_stateful, "{name}");
        let claims = &workload["spec"]["volumeClaimTemplates"];
        assert_eq!(claims[0]["metadata"]["name"] == "data", is_stateful, "{name}");
        if is_stateful {
            let kept = json!({"whenDeleted": "Retain", "whenScaled": "Retain"});
            assert_eq!(workload["spec"]["persistentVolumeClaimRetentionPolicy"], kept, "{name}");
            assert!(workload["spec"]["strategy"].is_null(), "{name}");
            find(&objects, "Service", workload["spec"]["serviceName"].as_str().unwrap());
        }
        let budget = &find(&objects, "PodDisruptionBudget", "catchment")["spec"];
        // With one replica anything else would hold up a node that is drained.
        assert_eq!(budget["maxUnavailable"], 1, "{name}");
        assert_eq!(budget["selector"], workload["spec"]["selector"], "{name}");
    }
}

#[test]
fn what_is_not_named_is_denied() {
    for name in OVERLAYS {
        let Some(objects) = objects_of(name) else { return };
        let policies: Vec<_> =
            objects.iter().filter(|one| one["kind"] == "NetworkPolicy").collect();
        let deny = json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]});
        assert_eq!(find(&objects, "NetworkPolicy", "default-deny")["spec"], deny, "{name}");
        for policy in policies {
            assert_eq!(policy["metadata"]["namespace"], "catchment", "{name}");
            for rule in policy["spec"]["ingress"].as_array().into_iter().flatten() {
                assert!(rule["from"].is_array() && rule["ports"].is_array(), "{name}: {rule}");
            }
            for rule in policy["spec"]["egress"].as_array().into_iter().flatten() {
                assert!(rule["to"].is_array() || rule["ports"].is_array(), "{name}: {rule}");
            }
        }
        let admin = &find(&objects, "NetworkPolicy", "catchment-admin")["spec"]["ingress"];
        assert_eq!(admin.as_array().unwrap().len(), 1, "{name}");
        let from =
            json!([{"namespaceSelector": {"matchLabels": {"catchment.dev/monitoring": "true"}}}]);
        assert_eq!(admin[0]["from"], from, "{name}");
    }
}
