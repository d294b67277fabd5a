//! Claims about HTTP messages.

use proptest::prelude::*;

use super::*;
use crate::{Attributes as _, Form, binding::arbitrary::event};

type Lines<'a> = &'a [(&'a str, &'a [u8])];

const MINIMAL: Lines<'static> =
    &[("ce-specversion", b"1.0"), ("ce-id", b"1"), ("ce-source", b"/s"), ("ce-type", b"t")];

fn headers(lines: Lines<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value).unwrap());
    }
    headers
}

/// The minimal event with the named headers added, or put in place of its own.
fn with(lines: Lines<'_>) -> HeaderMap {
    let mut headers = headers(MINIMAL);
    let added = self::headers(lines);
    for name in added.keys() {
        headers.remove(name);
    }
    for (name, value) in &added {
        headers.append(name, value.clone());
    }
    headers
}

fn one(headers: &HeaderMap, body: &'static [u8]) -> Result<Event, DecodeError> {
    match decode(headers, Bytes::from_static(body), &Limits::default())? {
        Decoded::One(draft) => Ok(draft.finish()?),
        Decoded::Many(_) => panic!("a batch"),
    }
}

#[track_caller]
fn refused(headers: &HeaderMap, field: &str) {
    match one(headers, b"x") {
        Err(DecodeError::Invalid(problem)) => assert_eq!(problem.field, field, "{problem}"),
        other => panic!("{field}: {other:?}"),
    }
}

#[test]
fn a_binary_message_is_passed_on_as_it_came() {
    let headers = with(&[
        ("ce-time", b"2018-04-05T14:48:09.120+02:00"),
        ("ce-subject", b"a%20b"),
        ("ce-comexampleextension1", b"value"),
        ("content-type", b"Text/XML; charset=UTF-8"),
        ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("knative-x", b"y"),
        ("host", b"example.com"),
        ("authorization", b"secret"),
    ]);
    let body = Bytes::from_static(b"<a/>");
    let Ok(Decoded::One(draft)) = decode(&headers, body.clone(), &Limits::default()) else {
        panic!("one event");
    };
    let event = draft.finish().unwrap();
    let head = std::str::from_utf8(event.http_head()).unwrap();
    for line in [
        "ce-specversion: 1.0",
        "ce-time: 2018-04-05T14:48:09.120+02:00",
        "ce-subject: a%20b",
        "ce-comexampleextension1: value",
        "content-type: Text/XML; charset=UTF-8",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "knative-x: y",
        "content-length: 4",
    ] {
        assert!(head.lines().any(|found| found == line), "{line} in {head}");
    }
    assert!(!head.contains("host") && !head.contains("secret"));
    assert_eq!(event.attribute("subject"), Some("a b"));
    let data = event.data().unwrap();
    assert_eq!((data.bytes.as_ptr(), data.form), (body.as_ptr(), Form::Opaque));
}

#[test]
fn an_empty_body_is_no_data() {
    assert_eq!(one(&with(&[]), b"").unwrap().data(), None);
}

#[test]
fn version_0_3_stays_version_0_3() {
    let event = one(
        &with(&[
            ("ce-specversion", b"0.3"),
            ("ce-schemaurl", b"/relative"),
            ("ce-datacontentencoding", b"base64"),
        ]),
        b"TWE=",
    )
    .unwrap();
    assert_eq!(event.spec_version(), SpecVersion::V03);
    assert_eq!(event.attribute("datacontentencoding"), Some("base64"));
    assert_eq!(event.data().unwrap().bytes, "TWE=");
}

#[test]
fn invalid_headers_are_refused_by_name() {
    let long = [b'a'; 4097];
    let cases: &[(&str, &[u8])] = &[
        ("ce-id", b""),
        ("ce-source", b""),
        ("ce-type", b""),
        ("ce-subject", b""),
        ("ce-specversion", b""),
        ("ce-specversion", b"9000.1"),
        ("ce-specversion", b"1.0.2"),
        ("ce-specversion", b"\xff"),
        ("ce-time", b"2018-04-05T18:31Z"),
        ("ce-dataschema", b"/relative"),
        ("ce-source", b"http://[broken"),
        ("ce-my-ext", b"x"),
        ("ce-my_ext", b"x"),
        ("ce-", b"x"),
        ("ce-data", b"x"),
        ("ce-datacontenttype", b"text/plain"),
        ("ce-any", b"%"),
        ("ce-any", b"%C0%A0"),
        ("ce-any", b"\xff"),
        ("ce-any", b"\"open"),
        ("ce-any", b"a%0D%0Aset-cookie: b"),
        ("ce-any", b"a\tb"),
        ("ce-any", &long),
        ("content-type", b"bogus ;====="),
        ("content-type", b"xyz"),
        ("content-type", b""),
        ("content-type", b"application/cloudevents+json ;====="),
    ];
    for (name, value) in cases {
        refused(&with(&[(name, value)]), name);
    }
}

#[test]
fn a_missing_attribute_is_named_by_its_header() {
    for missing in ["ce-id", "ce-source", "ce-type"] {
        let mut headers = with(&[]);
        headers.remove(missing);
        refused(&headers, missing);
    }
}

#[test]
fn a_duplicate_is_refused_even_when_both_are_the_same() {
    for (name, value) in [
        ("ce-specversion", &b"1.0"[..]),
        ("ce-id", b"1"),
        ("ce-any", b"1"),
        ("content-type", b"text/plain"),
        ("content-type", b"application/cloudevents+json"),
    ] {
        refused(&with(&[(name, value), (name, value)]), name);
    }
}

#[test]
fn extensions_are_counted_without_the_attributes_of_the_specification() {
    let mut headers = with(&[("ce-subject", b"s"), ("content-type", b"text/plain")]);
    for at in 0..64 {
        let name = HeaderName::try_from(format!("ce-ext{at}")).unwrap();
        headers.insert(name, HeaderValue::from_static("x"));
    }
    assert!(one(&headers, b"").is_ok());
    headers.insert("ce-onemore", HeaderValue::from_static("x"));
    let error = one(&headers, b"").unwrap_err().to_string();
    assert!(error.ends_with("an event must not have more than 64 extensions"), "{error}");
}

#[test]
fn the_media_type_decides_the_mode() {
    use DecodeError::{NotAnEvent, UnsupportedMediaType};
    let check = |value: &'static str, with_headers: bool| {
        let mut headers = if with_headers { with(&[]) } else { HeaderMap::new() };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
        mode(&headers)
    };
    for (value, expected) in [
        ("application/cloudevents+json", Mode::Structured),
        ("Application/CloudEvents+JSON", Mode::Structured),
        ("application/cloudevents+json; charset=utf-8", Mode::Structured),
        ("application/cloudevents+json;charset=\"UTF-8\"", Mode::Structured),
        ("application/cloudevents-batch+json", Mode::Batched),
        ("APPLICATION/CLOUDEVENTS-BATCH+JSON ; charset=UTF-8", Mode::Batched),
    ] {
        assert_eq!(check(value, false).unwrap(), expected, "{value}");
        assert_eq!(check(value, true).unwrap(), expected, "{value} with ce- headers");
    }
    for value in [
        "application/cloudevents",
        "application/cloudevents+jsonx",
        "application/cloudevents+avro",
        "application/cloudevents+xml",
        "application/cloudevents-batch+protobuf",
        "application/cloudeventsx",
        "application/cloudevents+json; charset=utf-16",
    ] {
        for with_headers in [false, true] {
            let error = check(value, with_headers).unwrap_err();
            assert_eq!(error, UnsupportedMediaType { media_type: value.to_owned() });
        }
    }
    for value in ["application/json", "text/plain", "garbage", "application/cloudevent+json"] {
        assert_eq!(check(value, false).unwrap_err(), NotAnEvent);
        assert_eq!(check(value, true).unwrap(), Mode::Binary);
    }
    assert_eq!(mode(&HeaderMap::new()).unwrap_err(), NotAnEvent);
    assert_eq!(mode(&with(&[])).unwrap(), Mode::Binary);
}

#[test]
fn a_compressed_body_is_refused_in_every_mode() {
    for content_type in [STRUCTURED, BATCHED, "text/plain"] {
        let mut headers = with(&[("content-type", content_type.as_bytes())]);
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("Identity"));
        assert!(mode(&headers).is_ok());
        headers.append(CONTENT_ENCODING, HeaderValue::from_static("identity, gzip"));
        let expected = DecodeError::UnsupportedEncoding { encoding: "identity, gzip".into() };
        assert_eq!(mode(&headers).unwrap_err(), expected);
    }
}

#[test]
fn the_body_of_a_structured_message_wins_over_its_headers() {
    let headers = with(&[
        ("content-type", STRUCTURED.as_bytes()),
        ("ce-id", b"header"),
        ("ce-bad-name", b"x"),
        ("tracestate", b"a=b"),
    ]);
    let event =
        one(&headers, br#"{"specversion":"1.0","id":"body","source":"/s","type":"t"}"#).unwrap();
    assert_eq!(event.id(), "body");
    assert_eq!(event.carried(), b"tracestate: a=b\r\n");
    assert_eq!(
        std::str::from_utf8(&structured_head(&event, 7)).unwrap(),
        "content-type: application/cloudevents+json\r\ntracestate: a=b\r\ncontent-length: 7\r\n"
    );
}

#[test]
fn a_batch_gives_each_event_the_carried_headers() {
    let headers =
        with(&[("content-type", BATCHED.as_bytes()), ("x-request-id", b"7"), ("ce-id", b"no")]);
    let body = br#"[{"specversion":"1.0","id":"a","source":"/s","type":"t"},
        {"specversion":"1.0","id":"b","source":"/s","type":"t"}]"#;
    let decoded = decode(&headers, Bytes::from_static(body), &Limits::default()).unwrap();
    let Decoded::Many(drafts) = decoded else { panic!("a batch") };
    let events: Vec<Event> = drafts.into_iter().map(|draft| draft.finish().unwrap()).collect();
    assert_eq!(events.iter().map(Event::id).collect::<Vec<_>>(), ["a", "b"]);
    assert!(events.iter().all(|event| event.carried() == b"x-request-id: 7\r\n"));
}

#[test]
fn a_sender_that_does_not_code_its_headers_is_understood() {
    let headers = with(&[("ce-source", b"/a%20b"), ("ce-subject", "é b".as_bytes())]);
    let event = one(&headers, b"").unwrap();
    assert_eq!(event.source(), "/a%20b");
    assert_eq!(event.attribute("subject"), Some("é b"));
    assert!(String::from_utf8_lossy(event.http_head()).contains("ce-source: /a%20b\r\n"));
    // A sender that does code them means the same URI with this.
    let headers = with(&[("ce-source", b"/a%2520b")]);
    assert_eq!(one(&headers, b"").unwrap().source(), "/a%20b");
}

/// The headers of a head, as a server would parse them.
fn parsed(head: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in head.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let line = line.strip_suffix(b"\r").unwrap();
        let at = line.iter().position(|&byte| byte == b':').unwrap();
        let value = HeaderValue::from_bytes(&line[at + 2..]).unwrap();
        headers.append(HeaderName::from_bytes(&line[..at]).unwrap(), value);
    }
    headers
}

/// Values that come near every rule of headers.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let token = proptest::sample::select(vec![
        &b"%"[..],
        b"%2",
        b"%20",
        b"%25",
        b"%C3%A9",
        b"%c0%a0",
        b"\"",
        b"\\",
        b"/",
        b"a",
        b"\t",
        b" ",
        b"\xc3\xa9",
        b"\xff",
        b";",
        b"=",
        b"1.0",
        b"application/json",
        b"application/cloudevents",
        b"+json",
        b"-batch",
        b"2018-04-05T17:31:00Z",
    ]);
    proptest::collection::vec(token, 0..5).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn an_event_is_the_same_after_a_binary_message(event in event()) {
        let headers = parsed(event.http_head());
        let body = event.data().map(|data| data.bytes.clone()).unwrap_or_default();
        let Ok(Decoded::One(draft)) = decode(&headers, body, &Limits::default()) else {
            panic!("one event");
        };
        let again = draft.finish().unwrap();
        prop_assert_eq!(again.http_head(), event.http_head());
        for attribute in event.attributes() {
            prop_assert_eq!(again.attribute(attribute.name), Some(attribute.text));
        }
    }

    #[test]
    fn any_headers_are_read_or_refused_and_what_is_read_is_passed_on(
        lines in proptest::collection::vec(
            (
                proptest::sample::select(vec![
                    "ce-id", "ce-source", "ce-type", "ce-time", "ce-dataschema", "ce-subject", "ce-",
                    "ce-any", "ce-my-ext", "ce-data", "content-type", "content-encoding", "ce-schemaurl",
                    "traceparent", "ce-specversion",
                ]),
                value(),
            ),
            0..8,
        ),
        minimal: bool,
        body in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut headers = if minimal { with(&[]) } else { HeaderMap::new() };
        for (name, value) in lines {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_bytes(&value).unwrap());
        }
        if let Ok(Decoded::One(draft)) = decode(&headers, body.clone().into(), &Limits::default()) {
            let event = draft.finish().unwrap();
            let sent = parsed(event.http_head());
            for (name, value) in headers.iter().filter(|(name, _)| name.as_str().starts_with("ce-")) {
                // The version is written by its meaning, all others as they came.
                prop_assert!(sent.get(name) == Some(value) || name == SPECVERSION);
            }
            prop_assert!(decode(&sent, body.into(), &Limits::default()).is_ok());
        }
    }
}
