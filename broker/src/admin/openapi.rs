//! The description of everything the admin listener serves, as an OpenAPI document.

use axum::Json;
use utoipa::{IntoResponses, OpenApi, openapi::OpenApi as Document};

use super::{api, display, health, metrics};
use crate::ingress::Problem;

/// A parameter, a member or the event is wrong; `field` names it where it has a name.
#[derive(IntoResponses)]
#[response(status = 400, content_type = "application/problem+json")]
#[allow(dead_code, reason = "described here, made from problems of that status")]
pub(super) struct BadRequest(Problem);

/// There is none of that name.
#[derive(IntoResponses)]
#[response(status = 404, content_type = "application/problem+json")]
#[allow(dead_code, reason = "described here, made from problems of that status")]
pub(super) struct NotFound(Problem);

/// It is not in a state for that.
#[derive(IntoResponses)]
#[response(status = 409, content_type = "application/problem+json")]
#[allow(dead_code, reason = "described here, made from problems of that status")]
pub(super) struct Conflict(Problem);

/// The body is declared as something that is not read here.
#[derive(IntoResponses)]
#[response(status = 415, content_type = "application/problem+json")]
#[allow(dead_code, reason = "described here, made from problems of that status")]
pub(super) struct UnsupportedMediaType(Problem);

/// It cannot be done now, or not in time.
#[derive(IntoResponses)]
#[response(status = 503, content_type = "application/problem+json")]
#[allow(dead_code, reason = "described here, made from problems of that status")]
pub(super) struct ServiceUnavailable(Problem);

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Catchment admin API",
        description = "What a Catchment broker does with its events, and the dead letters it keeps.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        health::healthz,
        health::readyz,
        metrics::metrics,
        display::display,
        display::handshake,
        document,
        api::problems::list,
        api::brokers::list,
        api::brokers::show,
        api::triggers::list,
        api::triggers::show,
        api::triggers::reset_breaker,
        api::pause::pause,
        api::pause::resume,
        api::channels::list,
        api::channels::show,
        api::subscriptions::list,
        api::subscriptions::show,
        api::subscriptions::reset_breaker,
        api::subscriptions::pause,
        api::subscriptions::resume,
        api::sources::list,
        api::sources::show,
        api::explain::explain,
        api::dead_letters::list,
        api::dead_letters::redrive,
        api::dead_letters::purge,
        api::dead_letters::show,
    ),
    components(schemas(Problem)),
    tags(
        (name = "resources", description = "brokers, triggers, channels, subscriptions, sources and their manifests"),
        (name = "dead letters", description = "events that could not be delivered"),
        (name = "health", description = "whether the process lives and is of use"),
        (name = "metrics", description = "what is counted"),
        (name = "display", description = "a subscriber that shows its events"),
    )
)]
struct Description;

/// Says what there is, as OpenAPI 3.1.
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    operation_id = "describe",
    tag = "resources",
    responses((status = 200, description = "this document", body = Object))
)]
pub(super) async fn document() -> Json<Document> {
    Json(Description::openapi())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::http::Method;
    use serde_json::Value;

    use super::super::{fixture::Bench, routes::routes};

    const METHODS: [Method; 6] =
        [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

    fn described(document: &Value) -> BTreeSet<(String, String)> {
        let mut all = BTreeSet::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            let methods = operations.as_object().unwrap().keys();
            all.extend(methods.map(|method| (path.clone(), method.to_uppercase())));
        }
        all
    }

    #[tokio::test]
    async fn every_route_is_described_and_nothing_else() {
        let bench = Bench::new();
        let document = bench.get("/api/v1/openapi.json").await.json();
        let mut served = BTreeSet::new();
        for (path, _) in routes() {
            for method in METHODS {
                let reply = bench.call(method.clone(), path, &[], "").await;
                if reply.status != 405 {
                    served.insert((path.to_owned(), method.to_string()));
                }
            }
        }
        assert_eq!(served, described(&document));
    }

    /// The schema that `schema` is, or refers to.
    fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(reference) => document.pointer(&reference[1..]).unwrap(),
            None => schema,
        }
    }

    /// Whether `value` has no member that its schema does not describe, and all that it requires.
    fn check(document: &Value, schema: &Value, value: &Value, path: &str) {
        let schema = resolve(document, schema);
        if let Some(parts) = schema["allOf"].as_array() {
            let members = value.as_object().unwrap();
            let known: BTreeSet<&String> = parts
                .iter()
                .filter_map(|part| resolve(document, part)["properties"].as_object())
                .flat_map(|properties| properties.keys())
                .collect();
            assert_eq!(members.keys().collect::<BTreeSet<_>>(), known, "{path}");
            return;
        }
        let choices = schema["oneOf"].as_array().filter(|_| !value.is_null());
        if let Some(choice) = choices.and_then(|all| all.iter().find(|one| one["type"] != "null")) {
            return check(document, choice, value, path);
        }
        match (value, schema["properties"].as_object()) {
            (Value::Object(members), Some(properties)) => {
                for (name, member) in members {
                    let path = format!("{path}.{name}");
                    let schema = properties.get(name).unwrap_or_else(|| panic!("{path}"));
                    check(document, schema, member, &path);
                }
                for name in schema["required"].as_array().into_iter().flatten() {
                    assert!(members.contains_key(name.as_str().unwrap()), "{path}: {name}");
                }
            }
            (Value::Array(items), _) => {
                for item in items {
                    check(document, &schema["items"], item, path);
                }
            }
            _ => assert!(!schema.is_null(), "{path} is not described"),
        }
    }

    /// Every value of the members called `name`, anywhere in `value`.
    fn all<'a>(value: &'a Value, name: &str) -> Vec<&'a str> {
        match value {
            Value::Array(items) => items.iter().flat_map(|item| all(item, name)).collect(),
            Value::Object(members) => members
                .iter()
                .flat_map(|(key, member)| {
                    let found = member.as_str().filter(|_| key == name);
                    found.into_iter().chain(all(member, name)).collect::<Vec<_>>()
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    #[tokio::test]
    async fn the_document_refers_to_what_it_has_and_names_operations_once() {
        let document = Bench::new().get("/api/v1/openapi.json").await.json();
        for reference in all(&document, "$ref") {
            assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
        }
        let mut operations = all(&document, "operationId");
        assert_eq!(operations.len(), described(&document).len());
        operations.sort_unstable();
        operations.dedup();
        assert_eq!(operations.len(), described(&document).len(), "{operations:?}");
    }

    #[tokio::test]
    async fn answers_are_what_the_document_says() {
        let bench = Bench::new();
        bench.bury("default/default", "default/orders", dispatcher::Reason::Aged);
        bench.subscribe("default/orders", "default/billing");
        let document = bench.get("/api/v1/openapi.json").await.json();
        for (path, target) in [
            ("/api/v1/brokers", "/api/v1/brokers"),
            ("/api/v1/brokers/{namespace}/{name}", "/api/v1/brokers/default/default"),
            ("/api/v1/triggers", "/api/v1/triggers"),
            ("/api/v1/triggers/{namespace}/{name}", "/api/v1/triggers/default/orders"),
            ("/api/v1/channels", "/api/v1/channels"),
            ("/api/v1/channels/{namespace}/{name}", "/api/v1/channels/default/orders"),
            ("/api/v1/subscriptions", "/api/v1/subscriptions"),
            ("/api/v1/subscriptions/{namespace}/{name}", "/api/v1/subscriptions/default/billing"),
            ("/api/v1/problems", "/api/v1/problems"),
            ("/api/v1/dead-letters", "/api/v1/dead-letters"),
            ("/api/v1/dead-letters/{id}", "/api/v1/dead-letters/default.default.1"),
        ] {
            let responses = &document["paths"][path]["get"]["responses"];
            let schema = &responses["200"]["content"]["application/json"]["schema"];
            check(&document, schema, &bench.get(target).await.json(), path);
        }
        let event = [("content-type", "application/cloudevents+json")];
        let body = r#"{"specversion":"1.0","id":"1","source":"/s","type":"a"}"#;
        let explained = bench.call(Method::POST, "/api/v1/explain", &event, body).await.json();
        let responses = &document["paths"]["/api/v1/explain"]["post"]["responses"];
        let schema = &responses["200"]["content"]["application/json"]["schema"];
        check(&document, schema, &explained, "/api/v1/explain");
        let refused = bench.get("/api/v1/brokers?x=1").await.json();
        let responses = &document["paths"]["/api/v1/brokers"]["get"]["responses"];
        let schema = &responses["400"]["content"]["application/problem+json"]["schema"];
        check(&document, schema, &refused, "problem");
    }
}
