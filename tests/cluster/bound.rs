//! SinkBindings: pod templates of others are told where events go, and nothing else of them is touched.

use harness::servers::kubernetes::Kubernetes;
use harness::{Subscriber, eventually};
use serde_json::{Value, json};

use crate::joined::{
    SOON, apply, arrives, broker, condition, get, join, kubectl, own_cluster, trigger, until,
};

/// A cluster where the program may write pod templates.
pub(crate) async fn bound_cluster(what: &str) -> Option<Kubernetes> {
    let cluster = own_cluster(what).await?;
    allow(&cluster);
    Some(cluster)
}

fn allow(cluster: &Kubernetes) {
    let component = crate::root().join("deploy/kubernetes/components/sink-bindings");
    for file in ["bounds.yaml", "rights.yaml"] {
        kubectl(cluster, &format!("apply -f {}", component.join(file).display()));
    }
}

/// Two containers and one that comes before them.
const PODS: &str = "initContainers: [{name: first, image: 'a:1'}], containers: [{name: till, image: 'a:1', \
                    env: [{name: OWN, value: x}]}, {name: side, image: 'b:1'}]";

/// An object with a pod template, with a label `app` that is its name.
pub(crate) fn workload(kind: &str, name: &str, more: &str) -> String {
    let selector = format!("selector: {{matchLabels: {{app: {name}}}}}, ");
    let template = format!(
        "template: {{metadata: {{labels: {{app: {name}}}}}, spec: {{restartPolicy: RESTART, {PODS}}}}}"
    );
    let (api, spec) = match kind {
        "CronJob" => {
            let template = template.replace("RESTART", "Never");
            ("batch/v1", format!("schedule: '0 0 * * *', jobTemplate: {{spec: {{{template}}}}}"))
        }
        "Job" => ("batch/v1", template.replace("RESTART", "Never")),
        _ => ("apps/v1", selector + &template.replace("RESTART", "Always")),
    };
    format!(
        "apiVersion: {api}\nkind: {kind}\nmetadata: {{name: {name}, labels: {{app: {name}{more}}}}}\n\
         spec: {{{spec}}}\n---\n"
    )
}

/// A SinkBinding of a broker.
pub(crate) fn binding(name: &str, subject: &str, broker: &str) -> String {
    format!(
        "apiVersion: sources.knative.dev/v1\nkind: SinkBinding\nmetadata: {{name: {name}}}\nspec:\n  \
         subject: {{{subject}}}\n  sink: {{ref: {{apiVersion: eventing.knative.dev/v1, kind: Broker, \
         name: {broker}}}}}\n"
    )
}

pub(crate) fn deployment(name: &str) -> String {
    format!("apiVersion: apps/v1, kind: Deployment, name: {name}")
}

/// The environments of all containers of an object.
pub(crate) fn environments(object: &Value) -> Vec<Value> {
    let template = match object["kind"].as_str() {
        Some("CronJob") => &object["spec"]["jobTemplate"]["spec"]["template"],
        _ => &object["spec"]["template"],
    };
    let lists = ["initContainers", "containers"].map(|list| template["spec"][list].as_array());
    let containers = lists.into_iter().flatten().flatten();
    let read = |container: &Value| {
        let env = container["env"].as_array().into_iter().flatten();
        let pairs = env.map(|it| {
            (it["name"].as_str().unwrap().to_owned(), it["value"].as_str().unwrap_or("").into())
        });
        Value::Object(pairs.collect())
    };
    containers.map(read).collect()
}

/// Waits until every container of an object has these variables of ours, and no others.
pub(crate) async fn until_told(cluster: &Kubernetes, what: &str, told: &Value) {
    eventually(SOON, || async {
        let object = get(cluster, what);
        let all = environments(&object);
        let is_so = all.iter().all(|env| {
            ["K_SINK", "K_CE_OVERRIDES", "K_CA_CERTS"].iter().all(|name| env[name] == told[name])
        });
        if is_so && !all.is_empty() { Ok(()) } else { Err(all) }
    })
    .await;
}

/// What containers are told of a broker.
pub(crate) fn of(cluster: &Kubernetes, broker: &str) -> Value {
    let object = get(cluster, &format!("broker {broker}"));
    json!({"K_SINK": object["status"]["address"]["url"], "K_CE_OVERRIDES": ""})
}

pub(crate) async fn bound(cluster: &Kubernetes, name: &str) {
    until(cluster, &format!("sinkbinding {name}"), "Ready", "True").await;
}

pub(crate) async fn gone(cluster: &Kubernetes, what: &str) {
    eventually(SOON, || async {
        let said = cluster.kubectl(&["get", "--ignore-not-found", "sinkbinding", what], "").stdout;
        if said.is_empty() { Ok(()) } else { Err(said) }
    })
    .await;
}

#[tokio::test]
async fn containers_are_told_and_all_else_is_left_in_peace() {
    let Some(cluster) = bound_cluster("SinkBindings").await else { return };
    let subscriber = Subscriber::start().await;
    let _program = join(&cluster).await;
    let to = format!("broker: shop, subscriber: {{uri: '{}'}}", subscriber.url("/all"));
    let own = workload("Deployment", "till", "");
    let overrides = "  ceOverrides: {extensions: {zone: north}}\n";
    let mut objects = broker("shop") + &trigger("all", &to) + &own;
    objects += &binding("till", &deployment("till"), "shop");
    apply(&cluster, &(objects + overrides));
    bound(&cluster, "till").await;
    let mut told = of(&cluster, "shop");
    told["K_CE_OVERRIDES"] = r#"{"extensions":{"zone":"north"}}"#.into();
    until_told(&cluster, "deployment till", &told).await;
    assert_eq!(environments(&get(&cluster, "deployment till")).len(), 3);
    let object = get(&cluster, "sinkbinding till");
    for kind in [
        "SinkProvided",
        "SinkBindingAvailable",
        "OIDCIdentityCreated",
        "OIDCTokenSecretCreated",
        "TrustBundlePropagated",
    ] {
        assert_eq!(condition(&object, kind).0, "True", "{kind} {object}");
    }
    assert_eq!(object["status"]["sinkUri"], told["K_SINK"]);
    arrives(&cluster, "shop", &subscriber, "/all").await;

    // Others go on writing to it, each in their own way.
    kubectl(&cluster, "set image deployment/till till=a:2");
    kubectl(&cluster, "set env deployment/till MORE=y");
    kubectl(&cluster, "scale deployment/till --replicas 3");
    let sidecar = r#"[{"op":"add","path":"/spec/template/spec/containers/-","value":{"name":"more","image":"c:1"}}]"#;
    let said = cluster.kubectl(&["patch", "deployment", "till", "--type=json", "-p", sidecar], "");
    assert!(said.is_success, "{}", said.stderr);
    until_told(&cluster, "deployment till", &told).await;
    let object = get(&cluster, "deployment till");
    let all = environments(&object);
    assert_eq!((all.len(), &all[1]["OWN"], &all[1]["MORE"]), (4, &"x".into(), &"y".into()));
    assert_eq!(object["spec"]["replicas"], 3);
    assert_eq!(object["spec"]["template"]["spec"]["containers"][0]["image"], "a:2");
    // The file that it was made from, once more.
    apply(&cluster, &own);
    until_told(&cluster, "deployment till", &told).await;

    // Where events go changes, then nobody knows where: pods keep what they were told last.
    apply(&cluster, &(broker("books") + &binding("till", &deployment("till"), "books")));
    until(&cluster, "broker books", "Ready", "True").await;
    until_told(&cluster, "deployment till", &of(&cluster, "books")).await;
    let told = of(&cluster, "books");
    kubectl(&cluster, "delete broker books");
    until(&cluster, "sinkbinding till", "SinkProvided", "False").await;
    until_told(&cluster, "deployment till", &told).await;

    kubectl(&cluster, "delete sinkbinding till");
    gone(&cluster, "till").await;
    until_told(&cluster, "deployment till", &json!({})).await;
    let all = environments(&get(&cluster, "deployment till"));
    assert_eq!((&all[1]["OWN"], &all[1]["MORE"]), (&"x".into(), &"y".into()));
}

#[tokio::test]
async fn subjects_are_found_by_their_labels_and_may_be_of_any_kind() {
    let Some(cluster) = bound_cluster("subjects by labels").await else { return };
    let mut program = join(&cluster).await;
    let mut objects = broker("shop");
    for (kind, name) in [("StatefulSet", "a"), ("StatefulSet", "b"), ("CronJob", "c")] {
        objects += &workload(kind, name, ", tier: web");
    }
    objects += &workload("StatefulSet", "other", ", tier: back");
    objects += &workload("StatefulSet", "out", ", tier: web, bindings.knative.dev/exclude: 'true'");
    let by_label = |api: &str, kind: &str| {
        format!("apiVersion: {api}, kind: {kind}, selector: {{matchLabels: {{tier: web}}}}")
    };
    objects += &(binding("sets", &by_label("apps/v1", "StatefulSet"), "shop") + "---\n");
    objects += &(binding("crons", &by_label("batch/v1", "CronJob"), "shop") + "---\n");
    objects += &binding("none", &by_label("apps/v1", "DaemonSet"), "shop");
    apply(&cluster, &objects);
    for name in ["sets", "crons", "none"] {
        bound(&cluster, name).await;
    }
    let (told, not) = (of(&cluster, "shop"), json!({}));
    for (what, told) in [
        ("statefulset a", &told),
        ("statefulset b", &told),
        ("cronjob c", &told),
        ("statefulset other", &not),
        ("statefulset out", &not),
    ] {
        until_told(&cluster, what, told).await;
    }
    // Labels come and go.
    kubectl(&cluster, "label statefulset b tier-");
    kubectl(&cluster, "label statefulset a bindings.knative.dev/exclude=true");
    kubectl(&cluster, "label --overwrite statefulset other tier=web");
    until_told(&cluster, "statefulset b", &not).await;
    until_told(&cluster, "statefulset a", &not).await;
    until_told(&cluster, "statefulset other", &told).await;
    // One that comes later.
    apply(&cluster, &workload("DaemonSet", "late", ", tier: web"));
    until_told(&cluster, "daemonset late", &told).await;

    // A process that begins anew writes nothing when all is as it should be.
    let whats = ["statefulset other", "cronjob c", "daemonset late", "sinkbinding sets"];
    let versions = || whats.map(|what| get(&cluster, what)["metadata"]["resourceVersion"].clone());
    eventually(SOON, || async {
        let object = get(&cluster, "sinkbinding sets");
        let marks = object["metadata"]["annotations"]["catchment.dev/bound-kinds"].clone();
        if marks == "apps/v1/StatefulSet" { Ok(()) } else { Err(object) }
    })
    .await;
    let before = versions();
    program.terminate();
    program.exit(SOON).await;
    program.start_again().await;
    // It has looked at all of them once it has told the last.
    apply(&cluster, &workload("StatefulSet", "last", ", tier: web"));
    until_told(&cluster, "statefulset last", &told).await;
    assert_eq!(versions(), before);
}

#[tokio::test]
async fn what_others_have_set_is_theirs() {
    let Some(cluster) = bound_cluster("variables of others").await else { return };
    let _program = join(&cluster).await;
    let mut objects = broker("shop") + &broker("books") + &workload("Deployment", "till", "");
    objects += &binding("till", &deployment("till"), "shop");
    apply(&cluster, &workload("Deployment", "set", ""));
    kubectl(&cluster, "set env deployment/set -c till K_SINK=http://mine");
    objects += &("---\n".to_owned() + &binding("set", &deployment("set"), "shop"));
    apply(&cluster, &objects);
    bound(&cluster, "till").await;
    let (reason, message) =
        until(&cluster, "sinkbinding set", "SinkBindingAvailable", "False").await;
    assert_eq!(reason, "SubjectConflict");
    assert!(
        message.contains(r#"env[name="K_SINK"]"#) && message.contains("default/set"),
        "{message}"
    );
    let all = environments(&get(&cluster, "deployment set"));
    assert_eq!((&all[0]["K_SINK"], &all[1]["K_SINK"]), (&Value::Null, &"http://mine".into()));
    // Once they have taken it out it is put in.
    kubectl(&cluster, "set env deployment/set -c till K_SINK-");
    bound(&cluster, "set").await;
    until_told(&cluster, "deployment set", &of(&cluster, "shop")).await;

    // Of two SinkBindings the first one counts, as long as it is there.
    apply(&cluster, &binding("second", &deployment("till"), "books"));
    let (_, message) = until(&cluster, "sinkbinding second", "Ready", "False").await;
    assert!(message.contains("catchment-binding/till"), "{message}");
    until_told(&cluster, "deployment till", &of(&cluster, "shop")).await;
    kubectl(&cluster, "delete sinkbinding till");
    gone(&cluster, "till").await;
    bound(&cluster, "second").await;
    until_told(&cluster, "deployment till", &of(&cluster, "books")).await;
    // Somebody sets another value: it stays, and goes with nobody.
    kubectl(&cluster, "set env deployment/till K_SINK=http://mine");
    until(&cluster, "sinkbinding second", "SinkBindingAvailable", "False").await;
    kubectl(&cluster, "delete sinkbinding second");
    gone(&cluster, "second").await;
    let mine = json!({"K_SINK": "http://mine"});
    until_told(&cluster, "deployment till", &mine).await;
}

#[tokio::test]
async fn what_cannot_be_told_says_why() {
    let Some(cluster) = own_cluster("SinkBindings that cannot be").await else { return };
    let program = join(&cluster).await;
    let mut objects =
        broker("shop") + &workload("Deployment", "till", "") + &workload("Job", "once", "");
    let subjects = [
        ("till", deployment("till")),
        ("lost", deployment("nowhere")),
        ("job", "apiVersion: batch/v1, kind: Job, name: once".to_owned()),
        ("rollout", "apiVersion: argoproj.io/v1alpha1, kind: Rollout, name: a".to_owned()),
        ("flat", "apiVersion: v1, kind: Service, name: kubernetes".to_owned()),
    ];
    for (name, subject) in &subjects {
        objects += &(binding(name, subject, "shop") + "---\n");
    }
    objects += &(binding("homeless", &deployment("till"), "nowhere") + "---\n");
    objects += "apiVersion: sources.knative.dev/v1\nkind: SinkBinding\nmetadata: {name: distrusted}\nspec: {subject: \
                {apiVersion: apps/v1, kind: Deployment, name: other}, sink: {uri: 'https://a', CACerts: \
                \"-----BEGIN CERTIFICATE-----\\nMIIB\\n-----END CERTIFICATE-----\\n\"}}\n";
    apply(&cluster, &objects);
    let why = |name: &'static str, kind: &'static str| {
        let cluster = &cluster;
        async move { until(cluster, &format!("sinkbinding {name}"), kind, "False").await }
    };
    // Nobody has given the right yet.
    let (reason, message) = why("till", "SinkBindingAvailable").await;
    assert_eq!(reason, "MissingPermissions", "{message}");
    assert!(message.starts_with("cannot list deployments.apps: "), "{message}");
    let text = program.admin().get("/readyz?verbose").await.text();
    assert!(text.contains("[-] cluster: cannot list deployments.apps"), "{text}");
    // What was never put in holds nothing up.
    apply(&cluster, &binding("early", &deployment("till"), "shop"));
    why("early", "SinkBindingAvailable").await;
    kubectl(&cluster, "delete sinkbinding early --timeout=20s");
    assert_eq!(environments(&get(&cluster, "deployment till"))[1], json!({"OWN": "x"}));
    allow(&cluster);
    bound(&cluster, "till").await;
    let because = |name: &'static str, reason: &'static str| {
        let cluster = &cluster;
        eventually(SOON, move || async move {
            let object = get(cluster, &format!("sinkbinding {name}"));
            let (_, is, message) = condition(&object, "SinkBindingAvailable");
            if is == reason { Ok(message) } else { Err(object) }
        })
    };
    let message = because("lost", "SubjectMissing").await;
    assert_eq!(message, "Deployment default/nowhere does not exist");
    let message = because("job", "SubjectRefused").await;
    assert_eq!(message, "cannot patch jobs.batch default/once: spec.template: field is immutable");
    let message = because("rollout", "SubjectKindMissing").await;
    assert!(message.contains("Rollout"), "{message}");
    let (reason, message) = why("distrusted", "SinkProvided").await;
    assert!(reason == "SinkInvalid" && message.contains("CA certificates"), "{message}");
    let (reason, _) = why("homeless", "SinkProvided").await;
    assert_eq!(reason, "NotFound");
    let sources = program.admin().get("/api/v1/sources/default/lost").await.json();
    assert_eq!(sources["items"][0]["ready"], false, "{sources}");
    let failure = sources["items"][0]["failure"].as_str().unwrap();
    assert!(failure.contains("does not exist"), "{sources}");
    // It is there at last.
    apply(&cluster, &workload("Deployment", "nowhere", ""));
    bound(&cluster, "lost").await;
}

#[tokio::test]
async fn the_program_changes_three_variables_and_nothing_else() {
    let Some(cluster) = bound_cluster("bounds of SinkBindings").await else { return };
    apply(&cluster, &workload("Deployment", "till", ""));
    let account = "--as=system:serviceaccount:catchment:catchment";
    let patch = |what: &str, patch: &str| {
        let args = ["patch", "deployment", "till", account, "--type=json", "-p", patch];
        let mut args = args.to_vec();
        if what == "dry" {
            args.push("--dry-run=server");
        }
        let said = cluster.kubectl(&args, "");
        if said.is_success { Ok(()) } else { Err(said.stderr) }
    };
    let image =
        r#"[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"evil"}]"#;
    eventually(SOON, || async {
        match patch("dry", image) {
            Err(said) if said.contains("K_CE_OVERRIDES and K_CA_CERTS") => Ok(()),
            other => Err(other),
        }
    })
    .await;
    for (path, value) in [
        ("/spec/template/spec/serviceAccountName", r#""other""#),
        ("/spec/template/spec/hostNetwork", "true"),
        ("/spec/template/spec/containers/0/command", r#"["sh"]"#),
        ("/spec/template/spec/initContainers/0/args", r#"["x"]"#),
        ("/spec/template/spec/containers/0/env/-", r#"{"name":"PATH","value":"/evil"}"#),
        ("/spec/template/spec/containers/0/env/0/value", r#""else""#),
        ("/spec/template/spec/volumes", r#"[{"name":"v","hostPath":{"path":"/"}}]"#),
        ("/spec/template/metadata/annotations", r#"{"a":"b"}"#),
        ("/spec/replicas", "0"),
        (
            "/metadata/ownerReferences",
            r#"[{"apiVersion":"sources.knative.dev/v1","kind":"ContainerSource","name":"x","uid":"x","controller":true}]"#,
        ),
    ] {
        let said = patch("", &format!(r#"[{{"op":"add","path":"{path}","value":{value}}}]"#));
        let said = said.expect_err(path);
        assert!(said.contains("the program may"), "{path}: {said}");
    }
    let sink = r#"[{"op":"add","path":"/spec/template/spec/containers/0/env/-","value":{"name":"K_SINK","value":"a"}}]"#;
    patch("", sink).unwrap();
    // Others are not bound by that.
    kubectl(&cluster, "set image deployment/till till=a:3");
    let args = ["apply", "--server-side", account, "-f", "-"];
    let said = cluster.kubectl(&args, &workload("Deployment", "own-deployment", ""));
    assert!(said.stderr.contains("that a ContainerSource controls"), "{}", said.stderr);
}
