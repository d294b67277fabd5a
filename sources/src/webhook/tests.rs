//! Webhooks of any sender, from their spec to the sink.

use std::sync::Arc;

use bytes::Bytes;
use channel::{Attributes as _, Name};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use sha2::Sha256;

use super::*;
use crate::{
    Notes, SecretSpec, SourceId,
    testing::{Kept, sink},
    webhook::verify::Secret,
};

const KEY: &str = "a-secret-of-24-characters";

fn plan(json: &str) -> Result<WebhookPlan, Vec<String>> {
    let spec: WebhookSourceSpec = serde_json::from_str(json).unwrap();
    let resolve = |spec: &SecretSpec| match spec.env.as_deref() {
        Some("KEY") => Ok(Some(Secret::new(KEY))),
        Some("SHORT") => Ok(Some(Secret::new("short"))),
        _ => Err("is not there".to_owned()),
    };
    let mut problems = Vec::new();
    let plan = WebhookPlan::new(&Name::new("default", "a"), &spec, &resolve, &mut problems);
    plan.ok_or_else(|| problems.iter().map(ToString::to_string).collect())
}

struct Source {
    endpoint: Endpoint,
    kept: Arc<Kept>,
}

impl Source {
    fn new(json: &str) -> Self {
        let plan = plan(json).unwrap();
        let (id, kept) = (SourceId { kind: KIND, name: Name::new("default", "a") }, sink());
        let replay = Replay::new(&id, Notes::default(), plan.remembered);
        let ways = (plan.verifier, plan.mapper);
        let endpoint =
            Endpoint::new(id, ways, replay, plan.body_bytes_max, kept.clone(), Arc::default());
        Self { endpoint, kept }
    }

    async fn send(
        &self,
        method: Method,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer, Refused> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        let body = Bytes::copy_from_slice(body.as_bytes());
        let request = Request {
            method: &method,
            path: "orders/7",
            query: "region=eu",
            headers: &map,
            body: &body,
        };
        self.endpoint.receive(0, &request, now()).await
    }

    fn attribute(&self, name: &str) -> Option<String> {
        let events = self.kept.events.lock().unwrap();
        events.last().unwrap().attribute(name).map(str::to_owned)
    }
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn mac(text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_sender_without_a_preset_is_described_by_templates() {
    let source = Source::new(
        r#"{"sink":{"uri":"http://a"},
        "verification":{"secrets":[{"env":"KEY"}],"hmac":{"header":"X-Signature","signed":"{timestamp}:{body}",
            "timestampHeader":"X-Time","prefix":"v1="}},
        "event":{"type":"com.example.{path.0}.{body.kind}","source":"https://example.com/{query.region}",
            "subject":"{path.1}","id":"{header.X-Id}","extensions":{"region":"{query.region}","none":"{body.none}"}},
        "ceOverrides":{"extensions":{"team":"red"}}}"#,
    );
    let body = r#"{ "kind" : "made" }"#;
    let time = now().as_second().to_string();
    let signature = format!("v1={}", hex(&mac(&format!("{time}:{body}"))));
    let headers = [
        ("X-Signature", signature.as_str()),
        ("X-Time", &time),
        ("X-Id", "7"),
        ("Content-Type", "application/json"),
    ];
    for _ in 0..2 {
        let answer = source.send(Method::POST, &headers, body).await.unwrap();
        assert_eq!(answer, Answer::status(StatusCode::ACCEPTED));
    }
    assert_eq!(source.kept.ids(), ["7"]);
    for (name, value) in [
        ("type", Some("com.example.orders.made")),
        ("source", Some("https://example.com/eu")),
        ("subject", Some("7")),
        ("time", Some("2026-01-01T00:00:00Z")),
        ("region", Some("eu")),
        ("team", Some("red")),
        ("none", None),
        ("datacontenttype", Some("application/json")),
    ] {
        assert_eq!(source.attribute(name).as_deref(), value, "{name}");
    }
    assert_eq!(source.kept.events.lock().unwrap()[0].data().unwrap().bytes, body);
    let missing = source.send(Method::POST, &headers[..3], "{}").await.unwrap_err();
    assert_eq!(missing.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn slack_is_given_its_challenge_and_its_200() {
    let source = Source::new(
        r#"{"preset":"slack","verification":{"secrets":[{"env":"KEY"}]},"sink":{"uri":"http://a"}}"#,
    );
    let time = now().as_second().to_string();
    let send = async |body: &str| {
        let signature = format!("v0={}", hex(&mac(&format!("v0:{time}:{body}"))));
        let headers = [
            ("X-Slack-Signature", signature.as_str()),
            ("X-Slack-Request-Timestamp", &time),
            ("Content-Type", "application/json"),
        ];
        source.send(Method::POST, &headers, body).await.unwrap()
    };
    let challenge = send(r#"{"type":"url_verification","challenge":"abc"}"#).await;
    assert_eq!(challenge, Answer::text("abc"));
    assert!(source.kept.ids().is_empty());
    let event = r#"{"event_id":"Ev1","team_id":"T1","event":{"type":"message","channel":"C1"}}"#;
    assert_eq!(send(event).await, Answer::status(StatusCode::OK));
    assert_eq!(source.attribute("type").as_deref(), Some("com.slack.message"));
    assert_eq!(source.attribute("source").as_deref(), Some("https://slack.com/T1"));
    assert_eq!(source.kept.ids(), ["Ev1"]);
}

#[tokio::test]
async fn every_preset_says_what_its_events_are() {
    for (preset, headers, body, kind) in [
        (
            "github",
            vec![
                ("X-Hub-Signature-256", "sha256={hex}"),
                ("X-GitHub-Event", "push"),
                ("X-GitHub-Delivery", "1"),
            ],
            "{}",
            "com.github.push",
        ),
        (
            "gitlab",
            vec![("X-Gitlab-Token", KEY), ("Idempotency-Key", "1")],
            r#"{"object_kind":"push"}"#,
            "com.gitlab.push",
        ),
        (
            "shopify",
            vec![
                ("X-Shopify-Hmac-Sha256", "{base64}"),
                ("X-Shopify-Topic", "orders/create"),
                ("X-Shopify-Shop-Domain", "a.myshopify.com"),
                ("X-Shopify-Webhook-Id", "1"),
            ],
            "{}",
            "com.shopify.orders/create",
        ),
        (
            "stripe",
            vec![("Stripe-Signature", "t={time},v1={stripe}")],
            r#"{"id":"1","type":"invoice.paid"}"#,
            "com.stripe.invoice.paid",
        ),
    ] {
        let source = Source::new(&format!(
            r#"{{"preset":"{preset}","verification":{{"secrets":[{{"env":"KEY"}}]}},"sink":{{"uri":"http://a"}}}}"#
        ));
        let time = now().as_second();
        use base64::Engine as _;
        let fill = |value: &str| {
            value
                .replace("{hex}", &hex(&mac(body)))
                .replace("{base64}", &base64::engine::general_purpose::STANDARD.encode(mac(body)))
                .replace("{stripe}", &hex(&mac(&format!("{time}.{body}"))))
                .replace("{time}", &time.to_string())
        };
        let filled: Vec<(&str, String)> =
            headers.iter().map(|(name, value)| (*name, fill(value))).collect();
        let mut headers: Vec<(&str, &str)> =
            filled.iter().map(|(name, value)| (*name, value.as_str())).collect();
        headers.push(("content-type", "application/json"));
        source.send(Method::POST, &headers, body).await.unwrap_or_else(|refused| {
            panic!("{preset}: {}", refused.reason());
        });
        assert_eq!(source.attribute("type").as_deref(), Some(kind));
        assert_eq!(source.kept.ids(), ["1"], "{preset}");
    }
}

#[tokio::test]
async fn a_request_that_nothing_can_be_made_of_is_refused_with_its_part() {
    let source = Source::new(
        r#"{"verification":{"none":true},"event":{"type":"a.{body.kind}"},"bodyBytesMax":1000,
        "sink":{"uri":"http://a"}}"#,
    );
    let json = [("Content-Type", "application/json")];
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    let long = "x".repeat(1001);
    for (body, status, told) in [
        ("{}", 400, "type: is made of {body.kind}, which the request does not have"),
        ("{", 400, "type: is made of {body.kind}"),
        (deep.as_str(), 400, "body: must not have more than 64 levels"),
        (long.as_str(), 413, "body: must not be longer than 1000 bytes"),
        (r#"{"kind":"a\u0007"}"#, 400, "type: must not contain control characters"),
    ] {
        let refused = source.send(Method::POST, &json, body).await.unwrap_err();
        assert_eq!(refused.status.as_u16(), status, "{body}");
        assert!(refused.reason().starts_with(told), "{}", refused.reason());
    }
    let refused = source.send(Method::GET, &[], "").await.unwrap_err();
    assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(source.endpoint.report().counts().refused, 6);
}

#[tokio::test]
async fn a_sender_that_asks_first_is_given_consent() {
    let source = Source::new(r#"{"verification":{"none":true},"sink":{"uri":"http://a"}}"#);
    let headers = [("WebHook-Request-Origin", "example.com"), ("WebHook-Request-Rate", "120")];
    let answer = source.send(Method::OPTIONS, &headers, "").await.unwrap();
    let header = |name: &str| {
        let found = answer.headers.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.to_str().unwrap())
    };
    assert_eq!(header("webhook-allowed-origin"), Some("example.com"));
    assert_eq!(header("webhook-allowed-rate"), Some("*"));
    assert_eq!(header("allow"), Some("POST, OPTIONS"));
}

#[tokio::test]
async fn a_sender_that_says_nothing_makes_an_event_all_the_same() {
    let source = Source::new(r#"{"verification":{"none":true},"sink":{"uri":"http://a"}}"#);
    for _ in 0..2 {
        source.send(Method::POST, &[("Content-Type", "???")], "bytes").await.unwrap();
    }
    assert_eq!(source.kept.ids().len(), 2, "nothing says that they are the same");
    assert_eq!(source.attribute("type").as_deref(), Some(EVENT_TYPE));
    let expected = "/apis/sources.catchment.dev/v1alpha1/namespaces/default/webhooksources/a";
    assert_eq!(source.attribute("source").as_deref(), Some(expected));
    assert_eq!(source.attribute("datacontenttype").as_deref(), Some("application/octet-stream"));
}

/// What is told of a spec that is `more` beside a sink; `KEYS` stands for secrets that are there.
fn told_of(more: &str) -> String {
    let more = more.replace("KEYS", r#""secrets":[{"env":"KEY"}]"#);
    let problems = plan(&format!(r#"{{"sink":{{"uri":"http://a"}},{more}}}"#)).unwrap_err();
    assert_eq!(problems.len(), 1, "{more}: {problems:?}");
    problems[0].clone()
}

#[test]
fn what_proves_nothing_is_told_with_its_field() {
    for (verification, told) in [
        ("{}", ": expected exactly one, got neither"),
        (r#"{"none":false}"#, ": none: false says nothing"),
        (
            r#"{KEYS,"bearer":{},"basic":{"username":"a"}}"#,
            ": expected exactly one, got several: b",
        ),
        (r#"{"bearer":{}}"#, ".secrets: must have at least one"),
        (r#"{"secrets":[{"env":"SHORT"}],"bearer":{}}"#, ".secrets[0]: must have at least 16"),
        (r#"{"secrets":[{"env":"NONE"}],"bearer":{}}"#, ".secrets[0]: is not there"),
        (r#"{KEYS,"standardWebhooks":{}}"#, ".secrets[0]: must begin with whsec_"),
        (r#"{KEYS,"none":true}"#, ".secrets: must not be set when none is true"),
        (r#"{KEYS,"basic":{"username":"a:b"}}"#, ".basic.username: must not be empty or contain"),
        (r#"{KEYS,"token":{"header":"a b"}}"#, ".token.header: must be the name"),
        (r#"{KEYS,"hmac":{}}"#, ".hmac.header: must be the name"),
        (r#"{KEYS,"hmac":{"header":"x","signed":"a"}}"#, ".hmac.signed: must contain {body}"),
        (
            r#"{KEYS,"hmac":{"header":"x","signed":"{timestamp}{body}"}}"#,
            ".hmac.timestampHeader: is required",
        ),
        (r#"{"none":true,"tolerance":"5m"}"#, ".tolerance: must be an ISO 8601 duration"),
    ] {
        let problem = told_of(&format!(r#""verification":{verification}"#));
        assert!(problem.starts_with(&format!("spec.verification{told}")), "{problem}");
    }
    assert!(told_of(r#""preset":"stripe""#).starts_with("spec.verification: is required"));
    let both = told_of(r#""preset":"stripe","verification":{KEYS,"none":true}"#);
    assert_eq!(both, "spec.verification: must not set none: spec.preset says how");
}

#[test]
fn everything_else_that_is_wrong_is_told_with_its_field() {
    for (more, told) in [
        (r#""event":{"type":"{x}"}"#, "spec.event.type: {x} is not known"),
        (r#""event":{"extensions":{"A":"x"}}"#, "spec.event.extensions.A: an attribute name must"),
        (r#""event":{"extensions":{"time":"x"}}"#, "spec.event.extensions.time: must be an ext"),
        (r#""bodyBytesMax":0"#, "spec.bodyBytesMax: must be between 1 and"),
        (r#""replay":{"window":"PT0S"}"#, "spec.replay.window: must be an ISO 8601 duration"),
        (r#""replay":{"id":"{"}"#, "spec.replay.id: has a { without a }"),
    ] {
        let problem = told_of(&format!(r#""verification":{{"none":true}},{more}"#));
        assert!(problem.starts_with(told), "{problem}");
    }
    let problems = plan(r#"{"verification":{"none":true}}"#).unwrap_err();
    assert_eq!(problems, ["spec.sink: expected at least one, got none: ref, uri"]);
}
