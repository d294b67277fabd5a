//! `/api/v1/explain`: which triggers of a broker want an event, and why the others do not.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use channel::{Event, HubKind, Name, Refusal, binding::http as binding};
use dispatcher::filter::Filter;
use tokio::task::spawn_blocking;

use super::{
    super::{
        Admin,
        openapi::{BadRequest, NotFound, ServiceUnavailable, UnsupportedMediaType},
        request::{self, Params},
    },
    triggers,
};
use crate::{
    control::{Inventory, TriggerState},
    display::{LIMITS, escape},
    explain::{Explained, Subject},
    ingress::{self, Problem},
};

/// Bytes of a request: the largest event that a broker takes, in any mode.
const BODY_BYTES_MAX: usize = 16 << 20;

/// Explains an event to all triggers of a broker: which want it, why the others do not, and what would
/// become of it. Nothing is stored or sent.
///
/// The body is the event as a broker would get it, in binary or structured mode.
#[utoipa::path(
    post,
    path = "/api/v1/explain",
    operation_id = "explain",
    tag = "resources",
    params(
        ("broker" = Option<String>, Query, description = "the broker, as namespace/name; without it that of the trigger, default/default, or the only one"),
        ("trigger" = Option<String>, Query, description = "only this trigger, as namespace/name"),
    ),
    request_body(
        description = "an event, in binary or structured mode of the HTTP binding",
        content((Object = "application/cloudevents+json"), (String = "*/*")),
    ),
    responses(
        (
            status = 200,
            description = "what the event would meet; as lines for people with `Accept: text/plain`",
            content((Explained = "application/json"), (String = "text/plain")),
        ),
        BadRequest,
        NotFound,
        UnsupportedMediaType,
        ServiceUnavailable,
    )
)]
pub(crate) async fn explain(
    State(admin): State<Arc<Admin>>,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let params = Params::read(head.uri.query(), &["broker", "trigger"])?;
    let broker = params.get("broker", request::name)?;
    let trigger = params.get("trigger", request::name)?;
    let body = request::body(body, BODY_BYTES_MAX).await?;
    let event = read(&head.headers, body)?;
    let inventory = admin.control.inventory.load_full();
    let broker = chosen(&inventory, broker, trigger.as_ref())?;
    // Many filters take a while, and others are served by this thread.
    let explained = spawn_blocking(move || {
        let wanted = |state: &&TriggerState| {
            state.hub.name == broker && trigger.as_ref().is_none_or(|name| state.name == *name)
        };
        let states = inventory.triggers.values().filter(wanted);
        Explained::new(&event, states.filter_map(subject).collect())
    });
    let explained = explained.await.map_err(|error| {
        let detail = format!("the event could not be explained: {error}");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    })?;
    Ok(match wants_text(&head.headers) {
        true => escape(&explained.to_string(), true).into_owned().into_response(),
        false => Json(explained).into_response(),
    })
}

/// The event as a broker's triggers would see it.
fn read(headers: &HeaderMap, body: Bytes) -> Result<Event, Problem> {
    let draft = match binding::decode(headers, body, &LIMITS)? {
        binding::Decoded::One(draft) => draft,
        binding::Decoded::Many(_) => {
            let detail = "a batch is not explained: send one event at a time";
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
    };
    ingress::rehearse(draft).map_err(|refusal| match refusal {
        Refusal::Invalid(invalid) => request::invalid(&invalid.field, &invalid.rule),
        other => Problem::new(StatusCode::BAD_REQUEST, other.to_string()),
    })
}

/// The broker that is meant.
fn chosen(
    inventory: &Inventory,
    broker: Option<Name>,
    trigger: Option<&Name>,
) -> Result<Name, Problem> {
    let trigger = match trigger {
        Some(name) => Some(
            inventory.triggers.get(name).ok_or_else(|| triggers::unknown(HubKind::Broker, name))?,
        ),
        None => None,
    };
    if let (Some(broker), Some(trigger)) = (&broker, trigger)
        && trigger.hub.name != *broker
    {
        let detail = format!("trigger {} is of broker {}", trigger.name, trigger.hub.name);
        return Err(request::invalid("broker", &detail));
    }
    if let Some(trigger) = trigger {
        return Ok(trigger.hub.name.clone());
    }
    let known = || inventory.brokers.keys().cloned();
    let usual = Name::new("default", "default");
    match broker {
        Some(broker) if inventory.brokers.contains_key(&broker) => Ok(broker),
        Some(broker) => {
            let detail = format!("there is no broker {broker}");
            Err(Problem::new(StatusCode::NOT_FOUND, detail))
        }
        None if inventory.brokers.contains_key(&usual) => Ok(usual),
        None if inventory.brokers.len() == 1 => known().next().ok_or_else(none),
        None if inventory.brokers.is_empty() => Err(none()),
        None => {
            let rule = "is required: there are several brokers, and none is default/default";
            Err(request::invalid("broker", rule))
        }
    }
}

fn none() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no broker")
}

/// `None` for a filter that cannot be read, which is none of a trigger that was loaded.
fn subject(state: &TriggerState) -> Option<Subject<'_>> {
    let filter = match &state.running {
        Ok(running) => running.plan.filter.clone(),
        Err(_) => compiled(state)?,
    };
    Some(Subject {
        name: &state.name,
        broker: &state.hub.name,
        filter,
        plan: state.running.as_ref().map(|running| &*running.plan).map_err(Clone::clone),
        sink_from: state.sink_from,
        paused: state.paused,
    })
}

/// The filter of a trigger that is not at work.
fn compiled(state: &TriggerState) -> Option<Filter> {
    let spec = &state.written.as_ref()?.spec;
    Filter::compile(spec.filter.as_ref(), &spec.filters).ok()
}

fn wants_text(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|one| {
        let essence = one.split(';').next().unwrap_or_default();
        essence.trim().eq_ignore_ascii_case("text/plain")
    })
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, Method};
    use serde_json::{Value, json};

    use super::{
        super::super::fixture::{Bench, Reply},
        *,
    };

    const EVENT: &str = r#"{"specversion":"1.0","id":"e1","source":"/s","type":"a"}"#;
    const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json");

    async fn ask(target: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        Bench::new().call(Method::POST, target, headers, body).await
    }

    fn names(told: &Value) -> Vec<&str> {
        told["triggers"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect()
    }

    #[tokio::test]
    async fn all_triggers_of_the_broker_are_asked_at_once() {
        let told = ask("/api/v1/explain", &[STRUCTURED], EVENT).await.json();
        assert_eq!(told["event"], json!({"id": "e1", "source": "/s", "type": "a"}));
        assert_eq!((&told["total"], &told["matched"]), (&json!(2), &json!(2)));
        assert_eq!(names(&told), ["broken", "orders"]);
        let [broken, orders] = &told["triggers"].as_array().unwrap()[..] else { panic!("{told}") };
        // The one that is not ready is explained by what its manifest says.
        assert_eq!(broken["tree"]["tests"][0]["expected"], "a");
        assert_eq!(
            (&broken["ready"], &broken["reason"]),
            (&json!(false), &json!("SubscriberUnresolved"))
        );
        assert_eq!(
            (&orders["ready"], &orders["subscriber"]),
            (&json!(true), &json!("http://127.0.0.1:9/take?x=1"))
        );
        assert_eq!(orders["deadLetterSinkFrom"], "broker");
        assert_eq!(orders["delivery"]["retry"], 10);
    }

    #[tokio::test]
    async fn an_event_may_come_in_binary_mode_and_the_answer_as_text() {
        let binary = [
            ("ce-specversion", "1.0"),
            ("ce-id", "e1"),
            ("ce-source", "/s"),
            ("ce-type", "b"),
            ("accept", "text/plain, */*;q=0.1"),
        ];
        let reply = ask("/api/v1/explain?trigger=default/broken", &binary, "hello").await;
        assert_eq!(reply.media(), "text/plain; charset=utf-8");
        let expected = "event e1 (type b, source /s) is wanted by 0 of 1 trigger\n
default/broken of broker default/default does not want it
  [-] spec.filter.attributes: type is \"b\", must be \"a\"
  not ready, so every event passes it by: SubscriberUnresolved: spec.subscriber: is required
";
        assert_eq!(reply.text(), expected);
    }

    #[tokio::test]
    async fn another_broker_may_be_asked_for_and_must_be_there() {
        let told = ask("/api/v1/explain?broker=default/second", &[STRUCTURED], EVENT).await.json();
        assert_eq!((&told["total"], names(&told).len()), (&json!(0), 0));
        for (query, status, words) in [
            ("broker=default/third", 404, "there is no broker default/third"),
            ("trigger=default/third", 404, "there is no trigger default/third"),
            ("broker=third", 400, "broker: "),
            ("broker=default/second&trigger=default/orders", 400, "is of broker default/default"),
            ("limit=3", 400, "limit: is no parameter here"),
        ] {
            let reply = ask(&format!("/api/v1/explain?{query}"), &[STRUCTURED], EVENT).await;
            assert_eq!(reply.status, status, "{query}");
            assert!(reply.text().contains(words), "{}", reply.text());
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let latin = EVENT.replace("/s", "?");
        let latin: Vec<u8> =
            latin.bytes().map(|byte| if byte == b'?' { 0xe9 } else { byte }).collect();
        let mut headers = HeaderMap::new();
        let structured = HeaderValue::from_static("application/cloudevents+json");
        headers.insert(header::CONTENT_TYPE, structured);
        assert_eq!(read(&headers, latin.into()).unwrap_err().status, 400);
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("ce-specversion", &b"1.0"[..]),
            ("ce-id", b"1"),
            ("ce-source", b"/s"),
            ("ce-type", b"t"),
            ("ce-subject", b"caf\xe9"),
        ] {
            headers.insert(name, HeaderValue::from_bytes(value).unwrap());
        }
        let problem = read(&headers, Bytes::new()).unwrap_err();
        assert_eq!((problem.status, problem.field.as_deref()), (400, Some("ce-subject")));
    }

    #[tokio::test]
    async fn what_a_broker_would_refuse_is_refused() {
        let batch = ("content-type", "application/cloudevents-batch+json");
        let json = ("content-type", "application/json");
        let cases: [((&str, &str), String, u16, &str); 7] = [
            (STRUCTURED, "{".to_owned(), 400, "not valid JSON"),
            (
                STRUCTURED,
                r#"{"specversion":"1.0"}"#.to_owned(),
                400,
                "required attribute is missing",
            ),
            (STRUCTURED, EVENT.replace("/s", "a b"), 400, "source"),
            (STRUCTURED, EVENT.replace("\"a\"", "\"a\",\"knativebrokerttl\":1"), 400, "no hop"),
            (batch, format!("[{EVENT}]"), 400, "one event at a time"),
            (json, EVENT.to_owned(), 400, "neither a ce-specversion header"),
            (("content-type", "application/cloudevents+avro"), EVENT.to_owned(), 415, "avro"),
        ];
        for (header, body, status, words) in cases {
            let reply = ask("/api/v1/explain", &[header], &body).await;
            assert_eq!(reply.status, status, "{body}");
            assert!(reply.text().contains(words), "{}", reply.text());
        }
    }
}
