//! Events in JSON, judged one by one: our own vectors, and the official ones where they are at hand.
//!
//! The official ones are the `format-tests` branch of cloudevents/conformance; `CATCHMENT_VECTORS`
//! names the folder that holds `cloudevents-format-tests`.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests may fail like tests"
)]

use std::{collections::BTreeMap, env, fs, path::Path};

use bytes::Bytes;
use channel::{
    Attributes as _, Draft, Event, Kind, SpecVersion,
    binding::{
        DecodeError, Limits,
        http::{self, Decoded},
        json,
    },
};
use serde::Deserialize;
use serde_json::value::RawValue;

const OWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");

fn read(text: &RawValue) -> Result<Event, DecodeError> {
    let draft = json::read(&Bytes::copy_from_slice(text.get().as_bytes()), &Limits::default())?;
    Ok(draft.finish()?)
}

fn read_batch(text: &RawValue) -> Result<Vec<Event>, DecodeError> {
    let body = Bytes::copy_from_slice(text.get().as_bytes());
    let drafts = json::read_batch(&body, &Limits::default())?;
    Ok(drafts.into_iter().map(|draft| draft.finish().unwrap()).collect())
}

/// A valid event must survive every way out and in again.
fn check_ways_out(event: &Event) {
    let mut body = Vec::new();
    json::write(event, &mut body);
    let again = json::read(&body.into(), &Limits::default()).unwrap().finish().unwrap();
    assert_eq!(&again, event, "through JSON");
    assert!(
        again.attributes().zip(event.attributes()).all(|(a, b)| a.kind == b.kind),
        "types through JSON"
    );
    assert_eq!(&binary(event), event, "through headers");
    let sdk = cloudevents::Event::try_from(event).unwrap();
    let expected = event.data().map(|data| &data.bytes[..]);
    assert_eq!(Event::try_from(sdk).unwrap().data().map(|data| &data.bytes[..]), expected);
}

/// The event after it was sent and received in binary mode.
fn binary(event: &Event) -> Event {
    let mut headers = ::http::HeaderMap::new();
    for line in event.http_head().split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let at = line.iter().position(|&byte| byte == b':').unwrap();
        let value = line[at + 1..].trim_ascii();
        headers.append(
            ::http::HeaderName::from_bytes(&line[..at]).unwrap(),
            ::http::HeaderValue::from_bytes(value).unwrap(),
        );
    }
    let body = event.data().map(|data| data.bytes.clone()).unwrap_or_default();
    match http::decode(&headers, body, &Limits::default()).unwrap() {
        Decoded::One(draft) => draft.finish().unwrap(),
        Decoded::Many(_) => panic!("a batch"),
    }
}

#[derive(Deserialize)]
struct Valid {
    name: String,
    event: Box<RawValue>,
    attributes: BTreeMap<String, String>,
    data: Option<String>,
}

#[test]
fn valid_events_are_read_as_they_are_meant() {
    let vectors = fs::read_to_string(Path::new(OWN).join("valid.json")).unwrap();
    for vector in serde_json::from_str::<Vec<Valid>>(&vectors).unwrap() {
        let event = read(&vector.event).unwrap_or_else(|error| panic!("{}: {error}", vector.name));
        let attributes: BTreeMap<String, String> = event
            .attributes()
            .map(|attribute| (attribute.name.to_owned(), attribute.text.to_owned()))
            .collect();
        assert_eq!(attributes, vector.attributes, "{}", vector.name);
        let data = event.data().map(|data| String::from_utf8(data.bytes.to_vec()).unwrap());
        assert_eq!(data, vector.data, "{}", vector.name);
        check_ways_out(&event);
    }
}

#[derive(Deserialize)]
struct Bad {
    name: String,
    field: String,
    event: Box<RawValue>,
}

#[test]
fn invalid_events_are_refused_for_the_right_field() {
    let vectors = fs::read_to_string(Path::new(OWN).join("invalid.json")).unwrap();
    for vector in serde_json::from_str::<Vec<Bad>>(&vectors).unwrap() {
        match read(&vector.event) {
            Err(DecodeError::Invalid(problem)) => {
                assert_eq!(problem.field, vector.field, "{}: {problem}", vector.name);
            }
            other => panic!("{}: {other:?}", vector.name),
        }
    }
}

#[derive(Deserialize)]
struct Batch {
    name: String,
    batch: Box<RawValue>,
    events: Option<usize>,
    #[serde(default)]
    refused: Vec<String>,
}

#[test]
fn a_batch_is_taken_whole_or_every_bad_event_is_named() {
    let vectors = fs::read_to_string(Path::new(OWN).join("batches.json")).unwrap();
    for vector in serde_json::from_str::<Vec<Batch>>(&vectors).unwrap() {
        match read_batch(&vector.batch) {
            Ok(events) => assert_eq!(Some(events.len()), vector.events, "{}", vector.name),
            Err(DecodeError::Batch(refused)) => {
                let fields: Vec<&str> =
                    refused.iter().map(|refused| refused.problem.field.as_ref()).collect();
                assert_eq!(fields, vector.refused, "{}", vector.name);
            }
            Err(other) => panic!("{}: {other}", vector.name),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Official {
    test_type: String,
    tests: Vec<OfficialTest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfficialTest {
    id: String,
    test_type: Option<String>,
    sample_id: Option<String>,
    event: Option<Box<RawValue>>,
    batch: Option<Box<RawValue>>,
}

#[test]
fn the_official_vectors_are_judged_right() {
    let Some(folder) = env::var_os("CATCHMENT_VECTORS") else {
        println!("CATCHMENT_VECTORS is not set: the official vectors were NOT run");
        return;
    };
    let folder = Path::new(&folder).join("cloudevents-format-tests/json");
    let mut judged = 0;
    for file in ["valid-events", "invalid-events", "valid-batches", "invalid-batches"] {
        let path = folder.join(file).with_extension("json");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let official: Official = serde_json::from_str(&text).unwrap();
        for test in official.tests {
            judge(test.test_type.as_ref().unwrap_or(&official.test_type), &test);
            judged += 1;
        }
    }
    assert_eq!(judged, 43);
}

fn judge(test_type: &str, test: &OfficialTest) {
    let id = &test.id;
    let sample = test.sample_id.as_deref().unwrap_or_default();
    match (test_type, &test.event, &test.batch) {
        ("ValidSingleEvent", Some(event), _) => {
            let event = read(event).unwrap_or_else(|error| panic!("{id}: {error}"));
            same_as_golden(id, &event, sample);
            check_ways_out(&event);
        }
        ("InvalidSingleEvent", Some(event), _) => assert!(read(event).is_err(), "{id}"),
        ("ValidBatch", _, Some(batch)) => {
            let events = read_batch(batch).unwrap_or_else(|error| panic!("{id}: {error}"));
            let golden: &[&str] = match sample {
                "empty" => &[],
                "minimal" => &["minimal"],
                "minimal2" => &["minimal", "minimal"],
                "minimalAndAllCore" => &["minimal", "allCore"],
                "minimalAndAllExtensionTypes" => &["minimal", "allExtensionTypes"],
                other => panic!("no golden batch {other}"),
            };
            assert_eq!(events.len(), golden.len(), "{id}");
            for (event, sample) in events.iter().zip(golden) {
                same_as_golden(id, event, sample);
            }
        }
        ("InvalidBatch", _, Some(batch)) => assert!(read_batch(batch).is_err(), "{id}"),
        other => panic!("{id}: {other:?}"),
    }
}

/// Compares as the vectors ask for: times by instant, which the SDK's event does.
fn same_as_golden(id: &str, event: &Event, sample: &str) {
    let golden = golden(sample);
    assert_eq!(
        cloudevents::Event::try_from(event).unwrap(),
        cloudevents::Event::try_from(&golden).unwrap(),
        "{id}"
    );
    for attribute in golden.attributes().filter(|attribute| attribute.name != "time") {
        assert_eq!(event.attribute(attribute.name), Some(attribute.text), "{id}");
    }
}

fn golden(sample: &str) -> Event {
    let mut draft = Draft::new(SpecVersion::V10);
    let mut push = |name, text, kind| draft.push_text(name, text, kind).unwrap();
    push("id", sample, Kind::String);
    push("type", "io.cloudevents.test", Kind::String);
    let source =
        if sample == "minimalWithRelativeSource" { "#fragment" } else { "https://cloudevents.io" };
    push("source", source, Kind::String);
    match sample {
        "minimal" | "minimalWithRelativeSource" => {}
        "minimalWithTime" => push("time", "2018-04-05T17:31:00Z", Kind::String),
        "allCore" => {
            push("datacontenttype", "text/plain", Kind::String);
            push("dataschema", "https://cloudevents.io/dataschema", Kind::String);
            push("subject", "tests", Kind::String);
            push("time", "2018-04-05T17:31:00Z", Kind::String);
        }
        "simpleTextData" => push("datacontenttype", "text/plain", Kind::String),
        "allExtensionTypes" => {
            push("extinteger", "10", Kind::Integer);
            push("extboolean", "true", Kind::Boolean);
            push("extstring", "text", Kind::String);
            push("extbinary", "TWE=", Kind::String);
            push("exttimestamp", "2023-03-31T15:12:00Z", Kind::String);
            push("exturi", "https://cloudevents.io", Kind::String);
            push("exturiref", "//authority/path", Kind::String);
        }
        other => panic!("no golden event {other}"),
    }
    if sample == "simpleTextData" {
        draft.set_data(Some(channel::Data::opaque(Bytes::from_static(b"Simple text"))));
    }
    draft.finish().unwrap()
}
