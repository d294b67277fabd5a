//! Every overlay: it builds, a cluster takes it, the program takes its configuration, one field sets its image.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use harness::program::{Setup, command};
use harness::say_not_run;
use serde_json::Value;

use super::{OVERLAYS, built, find, installed, objects, objects_of, overlay, workload};
use crate::root;

#[tokio::test]
async fn a_cluster_takes_every_overlay() {
    let folder = root().join("deploy/kubernetes/overlays");
    let there: BTreeSet<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(there, OVERLAYS.map(str::to_owned).into());
    let Some(cluster) = installed("overlays").await else { return };
    // Where Knative was, it is there.
    let said = cluster.kubectl(&["create", "namespace", "knative-eventing"], "");
    assert!(said.is_success, "{}", said.stderr);
    for name in OVERLAYS {
        let said = cluster.kubectl(&["apply", "--dry-run=server", "-k", &overlay(name)], "");
        assert!(said.is_success, "{name}: {}", said.stderr);
        // The API server warns of what is outdated, and of pods that the namespace would refuse.
        assert_eq!(said.stderr, "", "{name}");
    }
}

#[tokio::test]
async fn a_pod_of_every_overlay_is_let_in() {
    let Some(cluster) = installed("pods").await else { return };
    for name in OVERLAYS {
        let objects = objects_of(name).expect("kubectl is there");
        let mut template = workload(&objects)["spec"]["template"].clone();
        // The claim of a StatefulSet is a volume of its pods.
        let volumes = template["spec"]["volumes"].as_array_mut().unwrap();
        if volumes.iter().all(|volume| volume["name"] != "data") {
            volumes.push(serde_json::json!({"name": "data", "emptyDir": {}}));
        }
        template["apiVersion"] = "v1".into();
        template["kind"] = "Pod".into();
        template["metadata"]["name"] = "let-in".into();
        template["metadata"]["namespace"] = "catchment".into();
        let create = ["create", "--dry-run=server", "-f", "-"];
        let said = cluster.kubectl(&create, &template.to_string());
        assert!(said.is_success, "{name}: {}", said.stderr);
        // It is the namespace that looks: a pod that asks for more is not let in.
        template["spec"]["hostPID"] = true.into();
        let said = cluster.kubectl(&create, &template.to_string());
        assert!(said.stderr.contains("violates PodSecurity"), "{name}: {}", said.stderr);
    }
}

#[tokio::test]
async fn the_program_takes_every_configuration() {
    let help = command(&["serve", "--help"]).await.stdout;
    let follows = help.contains("--kubernetes");
    if !follows {
        say_not_run("the section kubernetes of configurations", "the program follows no cluster");
    }
    for name in OVERLAYS {
        let Some(objects) = objects_of(name) else { return };
        let mut config = configuration(&objects);
        let section = config.as_object_mut().unwrap();
        let ingress = section["kubernetes"]["ingressUrl"].clone();
        let host = match name {
            "knative-names" => "broker-ingress.knative-eventing",
            _ => "catchment-ingress.catchment",
        };
        assert_eq!(ingress, format!("http://{host}.svc.cluster.local"), "{name}");
        if !follows {
            section.remove("kubernetes");
        }
        let kind = if matches!(name, "knative-names" | "manifests") { "disk" } else { name };
        assert_eq!(section["channel"]["default"], kind);
        // A server that cannot be reached keeps brokers from being ready, not the program from starting.
        let none = tempfile::tempdir().unwrap();
        Setup::new().path(none.path()).config(config).start().await;
    }
}

/// What the pods mount as `catchment.yaml`.
fn configuration(objects: &[Value]) -> Value {
    let volumes = workload(objects)["spec"]["template"]["spec"]["volumes"].as_array().unwrap();
    let volume = volumes.iter().find(|volume| volume["name"] == "config").unwrap();
    let name = volume["configMap"]["name"].as_str().unwrap();
    let text = &find(objects, "ConfigMap", name)["data"]["catchment.yaml"];
    serde_saphyr::from_str(text.as_str().unwrap()).unwrap()
}

/// Writes an overlay that stands on others; kustomize takes no absolute paths.
fn stand_on(folder: &Path, name: &str, rest: &str) {
    let up = "../".repeat(folder.components().count());
    let base = overlay(name);
    let text = format!("resources: [\"{up}{}\"]\n{rest}", base.trim_start_matches('/'));
    fs::write(folder.join("kustomization.yaml"), text).unwrap();
}

fn component(folder: &Path, name: &str) -> String {
    let up = "../".repeat(folder.components().count());
    let path = root().join("deploy/kubernetes/components").join(name).display().to_string();
    format!("\"{up}{}\"", path.trim_start_matches('/'))
}

fn images(yaml: &str) -> Vec<&str> {
    yaml.lines().filter_map(|line| line.trim().strip_prefix("image: ")).collect()
}

#[test]
fn one_field_sets_the_image_of_every_pod() {
    for name in OVERLAYS {
        let made = tempfile::tempdir().unwrap();
        let folder = made.path().canonicalize().unwrap();
        stand_on(
            &folder,
            name,
            "images: [{name: catchment, newName: registry.example/x, newTag: v2}]",
        );
        let Some(yaml) = built(&folder) else { return };
        assert_eq!(images(&yaml), ["registry.example/x:v2"], "{name}");
        let yaml = built(Path::new(&overlay(name))).unwrap();
        // All packages have one version.
        assert_eq!(images(&yaml), [concat!("catchment:", env!("CARGO_PKG_VERSION"))], "{name}");
    }
}

#[test]
fn every_component_goes_with_every_overlay() {
    for name in OVERLAYS {
        let made = tempfile::tempdir().unwrap();
        let folder = made.path().canonicalize().unwrap();
        let mut chosen =
            vec!["service-monitor", "subscribers-outside", "api-server-sources", "sink-bindings"];
        if name != "knative-names" {
            chosen.push("knative-names");
        }
        let paths: Vec<_> = chosen.iter().map(|one| component(&folder, one)).collect();
        stand_on(&folder, name, &format!("components: [{}]", paths.join(", ")));
        let Some(yaml) = built(&folder) else { return };
        let objects = objects(&yaml);
        let config = configuration(&objects);
        assert_eq!(
            config["kubernetes"]["ingressUrl"],
            "http://broker-ingress.knative-eventing.svc.cluster.local",
            "{name}"
        );
        // What the monitor selects is a Service with that port.
        let monitor = find(&objects, "ServiceMonitor", "catchment");
        let pods = find(&objects, "Service", "catchment-pods");
        let labels = monitor["spec"]["selector"]["matchLabels"].as_object().unwrap();
        assert!(labels.iter().all(|(label, value)| pods["metadata"]["labels"][label] == *value));
        assert_eq!(monitor["spec"]["endpoints"][0]["port"], pods["spec"]["ports"][0]["name"]);
        find(&objects, "NetworkPolicy", "catchment-subscribers-outside");
    }
}

#[test]
fn all_definitions_are_installed() {
    let list = fs::read_to_string(root().join("deploy/crds/Kustomization")).unwrap();
    let list: Value = serde_saphyr::from_str(&list).unwrap();
    let names = list["resources"].as_array().unwrap();
    let named: BTreeSet<_> = names.iter().map(|name| name.as_str().unwrap().to_owned()).collect();
    let there = fs::read_dir(root().join("deploy/crds")).unwrap();
    let there = there.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(named, there.filter(|name| name.ends_with(".yaml")).collect());
}
