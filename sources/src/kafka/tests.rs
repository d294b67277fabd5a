//! What records become, and what is wrong with specs.

use std::collections::BTreeMap;

use bytes::Bytes;
use channel::{Attributes as _, Event, Name};
use jiff::Timestamp;

use super::{
    KEY_TYPE_LABEL, KafkaPlan, KafkaSourceSpec,
    record::{Content, Mapping, Record},
};
use crate::{Secret, SecretSpec};

const SPEC: &str = r#"{"topics":["orders"],"bootstrapServers":["k:9092"],"sink":{"uri":"http://a"},
    "ceOverrides":{"extensions":{"region":"eu"}}}"#;

fn resolve(spec: &SecretSpec) -> Result<Option<Secret>, String> {
    match spec.env.as_deref() {
        Some("UNKNOWN") => Ok(None),
        Some(text) => Ok(Some(Secret::new(text.as_bytes()))),
        None => Err("is not there".to_owned()),
    }
}

fn plan(json: &str, label: &str) -> (Option<KafkaPlan>, Vec<String>) {
    let spec: KafkaSourceSpec = serde_json::from_str(json).unwrap();
    let mut problems = Vec::new();
    let labels = BTreeMap::from([(KEY_TYPE_LABEL.to_owned(), label.to_owned())]);
    let name = Name::new("shop", "in");
    let plan = KafkaPlan::new(&name, &spec, &labels, &resolve, &mut problems);
    (plan, problems.iter().map(ToString::to_string).collect())
}

fn read(headers: Option<&[(&str, &[u8])]>, value: &str) -> Content {
    let (plan, problems) = plan(SPEC, "string");
    assert!(problems.is_empty(), "{problems:?}");
    let mapping = Mapping::new(&Name::new("shop", "in"), &plan.unwrap());
    let record = Record {
        topic: "orders",
        partition: 3,
        offset: 7,
        time: Timestamp::from_millisecond(1_700_000_000_123).ok(),
        key: Some(b"k1"),
        headers: headers.map(<[_]>::to_vec),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
    };
    mapping.read(&record).unwrap()
}

fn event(headers: &[(&str, &[u8])], value: &str) -> Event {
    match read(Some(headers), value) {
        Content::Event(event) => event,
        Content::Poison(_, problem) => panic!("{problem}"),
    }
}

#[test]
fn a_record_becomes_an_event_as_knative_s() {
    let long = [b'x'; 5000];
    let headers: &[(&str, &[u8])] = &[
        ("Content-Type", b"application/json"),
        ("X-Trace-Id", b"abc"),
        ("x_trace_id", b"again"),
        ("type", b"hides one"),
        ("key", b"hides the key"),
        ("raw", b"\xff"),
        ("long", &long),
        ("-", b"no name is left"),
    ];
    let event = event(headers, "{}");
    for (name, text) in [
        ("id", "partition:3/offset:7"),
        ("source", "/apis/v1/namespaces/shop/kafkasources/in#orders"),
        ("type", "dev.knative.kafka.event"),
        ("subject", "partition:3#7"),
        ("time", "2023-11-14T22:13:20.123Z"),
        ("datacontenttype", "application/json"),
        ("key", "k1"),
        ("xtraceid", "abc"),
        ("region", "eu"),
    ] {
        assert_eq!(event.attribute(name), Some(text), "{name}");
    }
    assert_eq!(event.attribute("raw").or(event.attribute("long")), None);
    assert_eq!(event.data().unwrap().bytes, "{}");
}

#[test]
fn a_cloud_event_passes_as_it_is() {
    let binary: &[(&str, &[u8])] = &[
        ("ce_specversion", b"1.0"),
        ("ce_id", b"1"),
        ("ce_source", b"/s"),
        ("ce_type", b"t"),
        ("other", b"x"),
    ];
    let structured: &[(&str, &[u8])] = &[("content-type", b"application/cloudevents+json")];
    let json = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":1}"#;
    for (headers, value, data) in [(binary, "1", "1"), (structured, json, "1")] {
        let event = event(headers, value);
        let of = |name: &str| event.attribute(name).unwrap_or_default().to_owned();
        assert_eq!([of("id"), of("source"), of("type"), of("region")], ["1", "/s", "t", "eu"]);
        assert_eq!((event.attribute("key"), event.attribute("other")), (None, None));
        assert_eq!(event.data().unwrap().bytes, data);
    }
}

#[test]
fn what_claims_to_be_an_event_and_is_none_is_poison() {
    let no_type: &[(&str, &[u8])] =
        &[("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"/s")];
    let structured: &[(&str, &[u8])] = &[("content-type", b"application/cloudevents+json")];
    let batch: &[(&str, &[u8])] = &[("content-type", b"application/cloudevents-batch+json")];
    for (headers, told) in [
        (Some(no_type), "ce_type"),
        (Some(structured), "JSON"),
        (Some(batch), "batch"),
        (None, "not UTF-8"),
    ] {
        let Content::Poison(event, problem) = read(headers, "{") else { panic!("{told}") };
        assert!(problem.contains(told), "{problem}");
        assert_eq!(event.id(), "partition:3/offset:7");
        assert_eq!(event.source(), "/apis/v1/namespaces/shop/kafkasources/in#orders");
        assert_eq!(event.data().unwrap().bytes, "{");
    }
}

fn with(field: &str) -> String {
    SPEC.replacen('{', &format!("{{{field},"), 1)
}

#[test]
fn everything_that_is_wrong_is_told_with_its_field() {
    for (field, told) in [
        (r#""consumers":33"#, "spec.consumers: "),
        (r#""consumers":-1"#, "spec.consumers: "),
        (r#""initialOffset":"newest""#, "spec.initialOffset: "),
        (r#""ordering":"partly""#, "spec.ordering: "),
        (r#""delivery":{"retry":-1}"#, "spec.delivery.retry: "),
        (r#""delivery":{"backoffPolicy":"quick"}"#, "spec.delivery.backoffPolicy: "),
        (r#""delivery":{"backoffDelay":"5s"}"#, "spec.delivery.backoffDelay: "),
        (r#""delivery":{"deadLetterSink":{}}"#, "spec.delivery.deadLetterSink: "),
        (r#""net":{"sasl":{"enable":true,"user":{"env":"me"}}}"#, "spec.net.sasl.password: "),
        (
            r#""net":{"sasl":{"enable":true,"user":{"env":"me"},"password":{"env":"p"},"type":{"env":"GSSAPI"}}}"#,
            "spec.net.sasl.type: ",
        ),
        (r#""net":{"tls":{"enable":true,"cert":{"env":"pem"}}}"#, "spec.net.tls.key: "),
        (
            r#""net":{"tls":{"enable":true,"caCert":{"secretKeyRef":{"name":"a","key":"b"}}}}"#,
            "spec.net.tls.caCert: is not there",
        ),
    ] {
        let (plan, problems) = plan(&with(field), "");
        assert!(plan.is_none(), "{field}");
        assert_eq!(problems.len(), 1, "{field} {problems:?}");
        assert!(problems[0].starts_with(told), "{field} {problems:?}");
    }
    let (_, problems) = plan(r#"{"topics":["a b","c","c"],"bootstrapServers":["k:x"]}"#, "text");
    let fields = [
        "spec.bootstrapServers[0]",
        "spec.topics[0]",
        "spec.topics[2]",
        "metadata.labels",
        "spec.sink",
    ];
    for field in fields {
        assert!(problems.iter().any(|it| it.starts_with(field)), "{field} {problems:?}");
    }
    let (_, problems) = plan(r#"{"sink":{"uri":"http://a"}}"#, "");
    assert_eq!(problems.len(), 2, "{problems:?}");
}

#[test]
fn a_plan_fills_in_what_is_not_written() {
    let (first, problems) = plan(SPEC, "");
    assert!(problems.is_empty(), "{problems:?}");
    let first = first.unwrap();
    assert_eq!(first.group, "catchment-source.shop.in");
    assert_eq!((first.consumers, first.is_ordered, first.begins_at_end), (1, true, true));
    let net = r#""net":{"sasl":{"enable":true,"user":{"env":"me"},"password":{"env":"p"}},
        "tls":{"enable":true}}"#;
    let (second, problems) = plan(&with(net), "");
    assert!(problems.is_empty(), "{problems:?}");
    let config = super::config::consumer(&second.unwrap()).unwrap();
    for (name, value) in [
        ("security.protocol", "sasl_ssl"),
        ("sasl.mechanisms", "PLAIN"),
        ("enable.auto.offset.store", "false"),
        ("auto.offset.reset", "earliest"),
    ] {
        assert_eq!(config.get(name), Some(value), "{name}");
    }
    config.create_native_config().unwrap();
    let unknown = net.replace(r#""env":"p""#, r#""env":"UNKNOWN""#);
    let (third, problems) = plan(&with(&unknown), "");
    assert!(third.is_none() && problems.is_empty(), "a secret that is not known yet is waited for");
}
