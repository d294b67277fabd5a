//! Secrets that sources name in a cluster: read one by one, with a right for that one alone.

use bytes::Bytes;
use harness::http::Headers;
use harness::program::Program;
use harness::servers::kafka::Kafka;
use harness::servers::kubernetes::Kubernetes;
use harness::{Answer, Subscriber, eventually, say_not_run};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::joined::{
    SOON, apply, broker, condition, get, join, kubectl, own_cluster, setup, trigger, until,
};
use crate::root;

const OLD: &str = "a-secret-of-thirty-two-characters";
const NEW: &str = "another-secret-that-is-as-long-as";
const TOKEN: &str = "a-token-that-no-one-else-does-know";

const SINK: &str = "{ref: {apiVersion: eventing.knative.dev/v1, kind: Broker, name: orders}}";

fn secret(name: &str, values: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{{values}}}\n---\n"
    )
}

/// The example of deploy: one right, for one Secret.
fn grant(secret: &str) -> String {
    let file = root().join("deploy/kubernetes/examples/source-secrets/rights.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    text.replace("[github]", &format!("[{secret}]"))
}

fn github(name: &str, key: &str) -> String {
    format!(
        "apiVersion: sources.knative.dev/v1alpha1\nkind: GitHubSource\nmetadata: {{name: {name}}}\nspec:\n  \
         ownerAndRepository: octo/hello\n  eventTypes: [push]\n  \
         secretToken: {{secretKeyRef: {{name: hooks, key: {key}}}}}\n  sink: {SINK}\n---\n"
    )
}

fn webhook(name: &str, key: &str) -> String {
    format!(
        "apiVersion: sources.catchment.dev/v1alpha1\nkind: WebhookSource\nmetadata: {{name: {name}}}\nspec:\n  \
         verification: {{bearer: {{}}, secrets: [{{secretKeyRef: {{name: hooks, key: {key}}}}}]}}\n  \
         event: {{type: com.example.shop}}\n  sink: {SINK}\n---\n"
    )
}

async fn post(program: &Program, name: &str, headers: &[(&str, &str)], body: &str) -> u16 {
    let all = [("content-type", "application/json")];
    let all = all.iter().chain(headers);
    let all = all.map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
    let mut producer = program.producer(&format!("sources/default/{name}"));
    let body = Bytes::copy_from_slice(body.as_bytes());
    producer.post(Headers(all.collect()), body).await.unwrap().status
}

/// Delivers to a GitHubSource, signed with `secret`.
async fn push(program: &Program, secret: &str) -> u16 {
    let body = r#"{"ref":"refs/heads/main","repository":{"name":"hello"}}"#;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let tag = mac.finalize().into_bytes();
    let tag: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
    let signature = format!("sha256={tag}");
    let guid = format!("{:032x}", fastrand::u128(..));
    let headers = [
        ("x-github-event", "push"),
        ("x-github-delivery", guid.as_str()),
        ("x-hub-signature-256", signature.as_str()),
    ];
    post(program, "hello", &headers, body).await
}

/// Calls a WebhookSource with a token.
async fn call(program: &Program, token: &str) -> u16 {
    post(program, "shop", &[("authorization", &format!("Bearer {token}"))], "{}").await
}

/// Waits until a condition of a source is so and its message says this.
async fn says(cluster: &Kubernetes, what: &str, kind: &str, status: &str, words: &str) -> Value {
    eventually(SOON * 3, || async {
        let object = get(cluster, what);
        let (is, _, message) = condition(&object, kind);
        if is == status && message.contains(words) { Ok(object) } else { Err(object) }
    })
    .await
}

#[tokio::test]
async fn a_secret_is_read_when_it_may_be_and_changes_its_sources() {
    let Some(cluster) = own_cluster("Secrets of sources in a cluster").await else { return };
    let subscriber = Subscriber::start().await;
    let to = format!("broker: orders, subscriber: {{uri: '{}'}}", subscriber.url("/all"));
    let mut objects = broker("orders") + &trigger("all", &to);
    objects += &secret("hooks", &format!("github: {OLD}, shop: {TOKEN}"));
    objects += &(github("hello", "github") + &webhook("shop", "shop") + &webhook("lacks", "none"));
    apply(&cluster, &objects);
    let program = join(&cluster).await;

    // Nobody has granted it: what is missing is named, and nobody is let in.
    let hello = "githubsources.sources.knative.dev hello";
    let refused = r#"cannot get secrets default/hooks: secrets "hooks" is forbidden"#;
    let object = says(&cluster, hello, "SecretsProvided", "False", refused).await;
    assert_eq!(condition(&object, "Ready").1, "SecretsNotFound", "{object}");
    let shop = "webhooksources.sources.catchment.dev shop";
    says(&cluster, shop, "SecretsProvided", "False", refused).await;
    assert_eq!(push(&program, OLD).await, 503);
    let text = program.admin().get("/readyz?verbose").await.text();
    assert!(text.contains("[-] cluster: cannot get secrets default/hooks"), "{text}");

    // The right is given: nothing need be started again.
    apply(&cluster, &grant("hooks"));
    for what in [hello, shop] {
        says(&cluster, what, "SecretsProvided", "True", "").await;
        until(&cluster, what, "Ready", "True").await;
    }
    assert_eq!((push(&program, OLD).await, push(&program, NEW).await), (202, 401));
    assert_eq!((call(&program, TOKEN).await, call(&program, NEW).await), (202, 401));
    subscriber.receives(2, SOON).await;
    let lacks = "webhooksources.sources.catchment.dev lacks";
    let no_key = "Secret default/hooks has no key none";
    says(&cluster, lacks, "SecretsProvided", "False", no_key).await;

    // Another value, and a key more.
    apply(&cluster, &secret("hooks", &format!("github: {NEW}, shop: {TOKEN}, none: {TOKEN}")));
    eventually(SOON * 3, || async {
        // The sources that it does not change take everything meanwhile.
        assert_eq!(call(&program, TOKEN).await, 202);
        let status = push(&program, NEW).await;
        if status == 202 { Ok(()) } else { Err(status) }
    })
    .await;
    assert_eq!(push(&program, OLD).await, 401);
    until(&cluster, lacks, "Ready", "True").await;

    // It is deleted, which is told, and what it said goes on.
    kubectl(&cluster, "delete secret hooks");
    let gone = "Secret default/hooks is not there";
    let object = says(&cluster, hello, "SecretsProvided", "False", gone).await;
    assert_eq!(condition(&object, "SecretsProvided").1, "SecretsNotFound", "{object}");
    assert_eq!((push(&program, NEW).await, push(&program, OLD).await), (202, 401));

    // A right that is taken away is told; what was read goes on, and nothing is said of the source.
    apply(&cluster, &secret("hooks", &format!("github: {NEW}, shop: {TOKEN}, none: {TOKEN}")));
    says(&cluster, hello, "Ready", "True", "").await;
    kubectl(&cluster, "delete rolebinding catchment-secrets");
    eventually(SOON * 3, || async {
        let text = program.admin().get("/readyz?verbose").await.text();
        let is_told = text.contains("cluster: cannot get secrets default/hooks");
        if is_told { Ok(()) } else { Err(text) }
    })
    .await;
    assert_eq!((push(&program, NEW).await, push(&program, OLD).await), (202, 401));
    assert_eq!(condition(&get(&cluster, hello), "Ready").0, "True");

    // Values are nowhere to be seen.
    let said = program.process.stderr();
    let sources = program.admin().get("/api/v1/sources").await.text();
    for value in [OLD, NEW, TOKEN] {
        assert!(!said.contains(value) && !sources.contains(value), "{value}");
    }
}

/// Requests for Secrets that the API server has counted: by name, of lists, and of watches at work.
fn requests(cluster: &Kubernetes) -> [f64; 3] {
    let metrics = kubectl(cluster, "get --raw /metrics");
    let of = |metric: &str, verb: &str| -> f64 {
        let verb = format!("verb=\"{verb}\"");
        let lines = metrics.lines().filter(|line| line.starts_with(metric));
        let lines = lines.filter(|line| line.contains("resource=\"secrets\""));
        let lines = lines.filter(|line| line.contains(&verb));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    let requests = "apiserver_request_total{";
    let watches = "apiserver_longrunning_requests{";
    [of(requests, "GET"), of(requests, "LIST"), of(watches, "WATCH")]
}

/// The least is asked for, even by an account that may do more.
#[tokio::test]
async fn secrets_are_neither_listed_nor_watched_though_they_may_be() {
    let Some(cluster) = own_cluster("requests for Secrets").await else { return };
    let wide = grant("hooks").replace("    resourceNames: [hooks]\n", "");
    apply(&cluster, &wide.replace("[get]", "[get, list, watch]"));
    let other = secret("other", "shop: nobody-names-this-one");
    apply(&cluster, &(other + &secret("hooks", &format!("shop: {TOKEN}"))));
    apply(&cluster, &(broker("orders") + &webhook("shop", "shop")));
    let before = requests(&cluster);
    let _program = join(&cluster).await;
    until(&cluster, "webhooksources.sources.catchment.dev shop", "Ready", "True").await;
    let after = requests(&cluster);
    assert_eq!((after[0] - before[0], &after[1..]), (1.0, &before[1..]));
}

/// The hook at GitHub is made with a token of a Secret, told by its id, and removed with its source: here
/// at a server that says what GitHub would.
#[tokio::test]
async fn a_hook_at_github_is_told_by_its_id() {
    let Some(cluster) = own_cluster("hooks of GitHubSources of a cluster").await else { return };
    let api = Subscriber::start().await;
    api.script(|call| match call.request.method.as_str() {
        "GET" => Answer::status(200).body("[]"),
        "POST" => Answer::status(201).body(r#"{"id": 7}"#),
        "DELETE" => Answer::status(204),
        _ => Answer::status(200).body("{}"),
    });
    let url = api.url("/api/v3");
    let token = "accessToken: {secretKeyRef: {name: hooks, key: token}}";
    let source = github("hello", "github")
        .replace("eventTypes", &format!("githubAPIURL: '{url}'\n  {token}\n  eventTypes"));
    let values = secret("hooks", &format!("github: {OLD}, token: {TOKEN}"));
    apply(&cluster, &(grant("hooks") + "---\n" + &values + &broker("orders") + &source));
    let public = json!({"publicUrl": "https://events.example"});
    let program = setup(&cluster).config(public).start().await;
    let hello = "githubsources.sources.knative.dev hello";
    eventually(SOON, || async {
        let object = get(&cluster, hello);
        if object["status"]["webhookIDKey"] == "7" { Ok(()) } else { Err(object) }
    })
    .await;
    until(&cluster, hello, "Ready", "True").await;
    kubectl(&cluster, "delete githubsources.sources.knative.dev hello");
    eventually(SOON, || async {
        let asked = api.received().into_iter().map(|it| (it.request.method, it.request.target));
        let asked: Vec<_> = asked.collect();
        let removed = ("DELETE".to_owned(), "/api/v3/repos/octo/hello/hooks/7".to_owned());
        if asked.contains(&removed) { Ok(()) } else { Err(asked) }
    })
    .await;
    assert!(!program.process.stderr().contains(TOKEN), "a token is not told");
}

/// Users by password.
const SERVER: [&str; 3] = [
    "sasl.enabled.mechanisms=PLAIN",
    "sasl.mechanism.inter.broker.protocol=PLAIN",
    "listener.name.client.plain.sasl.jaas.config=\
     org.apache.kafka.common.security.plain.PlainLoginModule required \
     username=\"admin\" password=\"a\" user_admin=\"a\" user_me=\"right\";",
];

#[tokio::test]
async fn a_kafka_source_says_who_it_is_by_a_secret() {
    let what = "KafkaSources with Secrets in a cluster";
    let kafka = match Kafka::start_nodes(1, &SERVER).await {
        Ok(kafka) => kafka,
        Err(why) => return say_not_run(what, &why),
    };
    let Some(cluster) = own_cluster(what).await else { return };
    let key = |key: &str| format!("{{secretKeyRef: {{name: kafka, key: {key}}}}}");
    let source = format!(
        "apiVersion: sources.knative.dev/v1\nkind: KafkaSource\nmetadata: {{name: far}}\nspec: {{topics: [t], \
         bootstrapServers: ['{}'], sink: {{uri: 'http://127.0.0.1:1/'}}, net: {{sasl: {{enable: true, user: {}, \
         password: {}, type: {}}}}}}}\n---\n",
        kafka.bootstrap(),
        key("user"),
        key("password"),
        key("type")
    );
    let values =
        |password: &str| secret("kafka", &format!("user: me, password: {password}, type: PLAIN"));
    apply(&cluster, &(grant("kafka") + "---\n" + &values("wrong") + &source));
    let _program = join(&cluster).await;
    let far = "kafkasources.sources.knative.dev far";
    says(&cluster, far, "ConnectionEstablished", "False", "uthentication").await;
    apply(&cluster, &values("right"));
    // It is let in, and finds that there is no such topic.
    eventually(SOON * 3, || async {
        let object = get(&cluster, far);
        let why = condition(&object, "ConnectionEstablished").1;
        if why == "TopicNotFound" { Ok(()) } else { Err(object) }
    })
    .await;
}
