//! What the program's account is kept from although its rights would allow it.

use std::time::Duration;

use harness::eventually;
use harness::servers::kubernetes::Kubernetes;

use super::{PROGRAM, installed};

/// How long a policy may take to be at work; the machine may be busy.
const AT_WORK: Duration = Duration::from_secs(60);

/// Server-side apply, as the program does it.
fn apply(cluster: &Kubernetes, object: &str) -> Result<(), String> {
    run(cluster, object, "--dry-run=none")
}

fn run(cluster: &Kubernetes, object: &str, dry: &str) -> Result<(), String> {
    let account = format!("--as={PROGRAM}");
    let args = ["apply", "--server-side", "--force-conflicts", &account, dry, "-f", "-"];
    let said = cluster.kubectl(&args, object);
    if said.is_success { Ok(()) } else { Err(said.stderr) }
}

/// Waits until this is refused: a server takes a moment to know a new policy. Nothing is kept meanwhile.
async fn is_refused(cluster: &Kubernetes, object: &str, because: &str) {
    let refused = eventually(AT_WORK, || async {
        match run(cluster, object, "--dry-run=server") {
            Ok(()) => Err("it is taken"),
            Err(said) => Ok(said),
        }
    });
    let said = refused.await;
    assert!(said.contains(because), "{said}");
}

fn service(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default}}\nspec: {spec}\n"
    )
}

const EXTERNAL: &str =
    "{type: ExternalName, externalName: catchment-ingress.catchment.svc.cluster.local}";

#[tokio::test]
async fn the_program_writes_no_services_but_those_of_channels() {
    let Some(cluster) = installed("bounds").await else { return };
    let refused = "the program may write only Services CHANNEL-kn-channel of type ExternalName";
    is_refused(&cluster, &service("till", EXTERNAL), refused).await;
    apply(&cluster, &service("orders-kn-channel", EXTERNAL)).unwrap();
    // Again, and changed.
    apply(&cluster, &service("orders-kn-channel", &EXTERNAL.replace("catchment-", "other-")))
        .unwrap();
    let ports = "{selector: {app: a}, ports: [{port: 80}]}";
    for (name, spec) in [("payments-kn-channel", ports), ("orders-kn-channel", ports)] {
        let said = apply(&cluster, &service(name, spec)).unwrap_err();
        assert!(said.contains(refused), "{said}");
    }
    // It binds the program, and nobody else.
    let said = cluster.kubectl(&["create", "-f", "-"], &service("till", ports));
    assert!(said.is_success, "{}", said.stderr);
    let said = apply(&cluster, &service("till", EXTERNAL)).unwrap_err();
    assert!(said.contains(refused), "{said}");
}

#[tokio::test]
async fn the_program_puts_finalizers_and_changes_no_spec() {
    let Some(cluster) = installed("bounds").await else { return };
    let refused = "spec: the program may not change what a user asks for";
    let (kind, head) = ("broker", "apiVersion: eventing.knative.dev/v1\nkind: Broker\n");
    let made = format!(
        "{head}metadata: {{name: bound, namespace: default}}\nspec: {{delivery: {{retry: 3}}}}\n"
    );
    let said = cluster.kubectl(&["create", "-f", "-"], &made);
    assert!(said.is_success, "{}", said.stderr);
    let named = |metadata: &str, rest: &str| {
        format!("{head}metadata: {{name: bound, namespace: default{metadata}}}\n{rest}")
    };
    let finalizers = ", finalizers: [catchment.dev/channel]";
    let changed = named(finalizers, "spec: {delivery: {retry: 4}}\n");
    is_refused(&cluster, &changed, refused).await;
    assert!(apply(&cluster, &changed).is_err());
    apply(&cluster, &named(finalizers, "")).unwrap();
    let get = ["get", kind, "bound", "-o", "jsonpath={.metadata.finalizers}"];
    assert_eq!(cluster.kubectl(&get, "").stdout, r#"["catchment.dev/channel"]"#);
    // What is no longer said is taken away.
    apply(&cluster, &named("", "")).unwrap();
    assert_eq!(cluster.kubectl(&get, "").stdout, "");
    let account = format!("--as={PROGRAM}");
    let status = ["apply", "--server-side", "--subresource=status", &account, "-f", "-"];
    let said = cluster.kubectl(&status, &named("", "status: {observedGeneration: 1}\n"));
    assert!(said.is_success, "{}", said.stderr);

    // Its own rules keep a Channel's spec; one that has none could be given one.
    let channel = "apiVersion: messaging.knative.dev/v1\nkind: Channel\nmetadata: {name: bound}\n";
    let said = cluster.kubectl(&["create", "-f", "-"], channel);
    assert!(said.is_success, "{}", said.stderr);
    let delivery = format!("{channel}spec: {{delivery: {{retry: 4}}}}\n");
    let said = apply(&cluster, &delivery).unwrap_err();
    assert!(said.contains(refused), "{said}");
}
