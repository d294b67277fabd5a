//! The installation: what `deploy/kubernetes` builds, whether a cluster takes it, and what it allows.

mod bounds;
mod lifecycle;
mod moved;
mod overlays;
mod pods;
mod rights;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use harness::say_not_run;
use harness::servers::kubernetes::{Kubernetes, is_installed};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::root;

const OVERLAYS: [&str; 6] = ["disk", "kafka", "knative-names", "manifests", "memory", "nats"];

/// The account that follows the cluster.
const PROGRAM: &str = "system:serviceaccount:catchment:catchment";

/// The account of pods whose manifests come by a volume.
const DATA_PLANE: &str = "system:serviceaccount:catchment:catchment-data-plane";

/// The folder of an overlay, as kubectl takes it.
fn overlay(name: &str) -> String {
    root().join("deploy/kubernetes/overlays").join(name).display().to_string()
}

/// What kustomize makes of a folder, as text; `None`, and said so, where there is no kubectl.
fn built(folder: &Path) -> Option<String> {
    if !is_installed("kubectl") {
        say_not_run("kustomize", "kubectl is not there");
        return None;
    }
    let output = Command::new("kubectl").arg("kustomize").arg(folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", folder.display());
    // What is outdated or not understood is a warning.
    assert_eq!(said, "", "{}", folder.display());
    Some(String::from_utf8(output.stdout).unwrap())
}

fn objects(yaml: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(yaml).unwrap()
}

/// The objects of an overlay.
fn objects_of(name: &str) -> Option<Vec<Value>> {
    built(Path::new(&overlay(name))).map(|yaml| objects(&yaml))
}

/// The object of this kind and name.
fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = objects.iter().find(|one| one["kind"] == kind && one["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

/// The Deployment or StatefulSet of the pods.
fn workload(objects: &[Value]) -> &Value {
    let mut found =
        objects.iter().filter(|one| one["kind"] == "Deployment" || one["kind"] == "StatefulSet");
    let workload = found.next().expect("pods");
    assert!(found.next().is_none(), "pods twice");
    workload
}

/// A cluster of its own with the overlay `disk` in it, for tests that change nothing of it: of the shared one the
/// definitions are all that others expect.
async fn installed(what: &str) -> Option<Arc<Kubernetes>> {
    static INSTALLED: OnceCell<Result<Arc<Kubernetes>, String>> = OnceCell::const_new();
    let installed = INSTALLED.get_or_init(|| async {
        let cluster = Kubernetes::start().await?;
        let said = cluster.kubectl(&["apply", "-k", &overlay("disk")], "");
        assert!(said.is_success, "{}", said.stderr);
        Ok(Arc::new(cluster))
    });
    match installed.await {
        Ok(cluster) => Some(Arc::clone(cluster)),
        Err(why) => {
            say_not_run(what, why);
            None
        }
    }
}
