//! What the Kafka binding reads, writes and refuses.

use proptest::prelude::*;

use super::*;
use crate::binding::arbitrary;

type Owned = Vec<(String, Vec<u8>)>;

fn written(event: &Event) -> (Owned, Option<Bytes>) {
    let mut headers = Owned::new();
    let value = encode(event, |name, value| headers.push((name.to_owned(), value.to_vec())));
    let value = value.cloned();
    (headers, value)
}

fn read(headers: &Owned, value: Option<Bytes>) -> Result<Draft, DecodeError> {
    let headers: Vec<_> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
    decode(&headers, value, &Limits::default())
}

fn headers(pairs: &[(&str, &str)]) -> Owned {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
}

const REQUIRED: [(&str, &str); 4] =
    [("ce_specversion", "1.0"), ("ce_id", "1"), ("ce_source", "/s"), ("ce_type", "t")];

fn with(more: &[(&str, &str)]) -> Owned {
    let mut all = headers(&REQUIRED);
    all.extend(headers(more));
    all
}

#[test]
fn values_are_raw_utf8_under_the_names_of_the_binding() {
    let mut draft = Draft::new(SpecVersion::V10);
    for (name, value) in [("id", "1"), ("source", "/s"), ("type", "t"), ("subject", "%C3%A9%20x")] {
        draft.push_wire(name, value.as_bytes()).unwrap();
    }
    draft.content_type(b"text/plain").unwrap();
    draft.carry("traceparent", b"00-1");
    draft.set_hops(Some(7));
    carry_hops(&mut draft);
    draft.set_data(Some(Data::opaque(Bytes::from_static(b"hello"))));
    let event = draft.finish().unwrap();
    let (found, value) = written(&event);
    let expected = with(&[
        ("ce_subject", "é x"),
        ("content-type", "text/plain"),
        ("traceparent", "00-1"),
        ("catchment-hops", "7"),
    ]);
    assert_eq!((found, value.as_deref()), (expected, Some(&b"hello"[..])));
}

#[test]
fn a_record_without_a_value_is_an_event_without_data() {
    let event = read(&with(&[]), None).unwrap().finish().unwrap();
    assert_eq!(event.data(), None);
    let event = read(&with(&[]), Some(Bytes::new())).unwrap().finish().unwrap();
    assert_eq!(event.data().map(|data| data.bytes.len()), Some(0));
}

#[test]
fn header_names_of_other_clients_are_read_in_any_case() {
    let found = headers(&[
        ("CE_SpecVersion", "1.0"),
        ("Ce_Id", "1"),
        ("ce_source", "/s"),
        ("ce_type", "t"),
        ("Content-Type", "text/plain"),
        ("TraceParent", "00-1"),
        ("X-Other", "left out"),
    ]);
    let event = read(&found, None).unwrap().finish().unwrap();
    assert_eq!((event.id(), event.carried()), ("1", &b"traceparent: 00-1\r\n"[..]));
    assert_eq!(event.attribute("datacontenttype"), Some("text/plain"));
}

#[test]
fn a_structured_record_is_read() {
    let body = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","n":3,"data":{"a":1}}"#;
    let found = headers(&[
        ("content-type", "application/cloudevents+json; charset=utf-8"),
        ("catchment-hops", "9"),
        ("ce_id", "not looked at"),
    ]);
    let event = read(&found, Some(body.into())).unwrap().finish().unwrap();
    assert_eq!((event.id(), event.attribute("n"), event.hops()), ("1", Some("3"), Some(9)));
    assert_eq!(event.carried(), b"catchment-hops: 9\r\n", "the subscriber is told");
    assert_eq!(event.data().map(|data| &data.bytes[..]), Some(&b"{\"a\":1}"[..]));
}

#[test]
fn what_is_no_event_is_refused_with_the_header() {
    for (found, reason) in [
        (headers(&[]), "neither a ce-specversion"),
        (headers(&[("ce_specversion", "2.0")]), "ce_specversion: must be"),
        (headers(&REQUIRED[..3]), "ce_type: required attribute is missing"),
        (with(&[("ce_id", "2")]), "ce_id: must not be there more than once"),
        (with(&[("ce_a_b", "2")]), "ce_a_b: "),
        (with(&[("ce_time", "noon")]), "ce_time: "),
        (with(&[("ce_datacontenttype", "a/b")]), "ce_datacontenttype: must not be there"),
        (with(&[("content-type", "text")]), "content-type: "),
        (with(&[("content-type", "application/cloudevents-batch+json")]), "is not spoken here"),
        (with(&[("content-type", "application/cloudevents+avro")]), "is not spoken here"),
        (with(&[("ce_x", &"x".repeat(4097))]), "ce_x: must not be longer"),
    ] {
        let error = read(&found, None).unwrap_err().to_string();
        assert!(error.contains(reason), "{error} for {found:?}");
    }
    let not_text = vec![("ce_specversion".to_owned(), vec![0xff])];
    assert!(read(&not_text, None).is_err());
    let mut not_text = with(&[]);
    not_text.push(("ce_x".into(), vec![0xff]));
    assert!(read(&not_text, None).unwrap_err().to_string().contains("ce_x: must be UTF-8"));
}

#[test]
fn hints_that_disagree_are_not_believed() {
    let event = read(
        &with(&[
            ("ce_subject", "real"),
            ("catchment-wire-subject", "other"),
            ("ce_n", "abc"),
            ("catchment-form", "json;n=i"),
            ("catchment-hops", "many"),
            ("traceparent", "a\r\nce-id: 2"),
        ]),
        Some(Bytes::from_static(b"{not json")),
    );
    let event = event.unwrap().finish().unwrap();
    assert_eq!((event.attribute("subject"), event.attribute("n")), (Some("real"), Some("abc")));
    assert_eq!((event.hops(), event.carried()), (None, &b""[..]));
    assert!(event.attributes().all(|attribute| attribute.kind == Kind::String));
    assert_eq!(event.data().map(|data| data.form), Some(Form::Opaque));
}

proptest! {
    #[test]
    fn an_event_comes_back_byte_for_byte(event in arbitrary::event(), hops: Option<u8>) {
        let mut draft = event.edit();
        draft.set_hops(hops);
        draft.carry("traceparent", b"00-1-2-03");
        // As the ingress does.
        carry_hops(&mut draft);
        let event = draft.finish().unwrap();
        let (headers, value) = written(&event);
        let back = read(&headers, value).unwrap().finish().unwrap();
        prop_assert_eq!(&back, &event);
        prop_assert_eq!(back.carried(), event.carried());
        prop_assert_eq!(back.hops(), event.hops());
        prop_assert_eq!(back.data(), event.data());
        let kinds = |event: &Event| {
            let mut kinds: Vec<_> =
                event.attributes().map(|a| (a.name.to_owned(), a.wire.to_vec(), a.kind)).collect();
            kinds.sort_by(|a, b| a.0.cmp(&b.0));
            kinds
        };
        prop_assert_eq!(kinds(&back), kinds(&event));
    }

    #[test]
    fn a_value_keeps_its_form_in_http(wire in "[ -~]{1,20}") {
        let mut draft = Draft::new(SpecVersion::V10);
        for (name, value) in [("id", "1"), ("source", "/s"), ("type", "t")] {
            draft.push_wire(name, value.as_bytes()).unwrap();
        }
        if draft.push_wire("x", wire.as_bytes()).is_ok() {
            let event = draft.finish().unwrap();
            let (headers, value) = written(&event);
            let back = read(&headers, value).unwrap().finish().unwrap();
            prop_assert_eq!(back.http_head(), event.http_head());
        }
    }

    #[test]
    fn any_record_is_an_event_or_refused(
        found in proptest::collection::vec(("(ce_|content-type|catchment-)?[ -~]{0,8}", ".{0,12}"), 0..8),
        value: Option<Vec<u8>>,
    ) {
        let mut all = headers(&REQUIRED);
        all.extend(found.into_iter().map(|(name, value)| (name, value.into_bytes())));
        if let Ok(draft) = read(&all, value.map(Bytes::from)) {
            prop_assert!(draft.finish().is_ok());
        }
    }
}
