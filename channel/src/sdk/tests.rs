//! The SDK as an oracle: what one side writes, the other reads, but for the SDK's known defects.

use cloudevents::{
    AttributesReader as _, EventBuilder as _, EventBuilderV03, EventBuilderV10,
    event::ExtensionValue,
};
use proptest::prelude::*;

use super::*;
use crate::{Attributes as _, binding::arbitrary};

fn bytes(event: &Event) -> Option<&[u8]> {
    event.data().map(|data| &data.bytes[..])
}

fn written(event: &Event) -> Vec<u8> {
    let mut out = Vec::new();
    json::write(event, &mut out);
    out
}

fn read(text: Vec<u8>) -> Event {
    json::read(&text.into(), &Limits::default()).unwrap().finish().unwrap()
}

#[test]
fn the_sdk_gets_attributes_by_type_and_data_by_bytes() {
    let event = read(
        br#"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"x","int":-7,"yes":true,
            "text":"7","time":"2018-04-05T14:48:09.120+02:00","dataschema":"HTTP://EXAMPLE.com",
            "data":{"z":1.50,"a":0}}"#
            .to_vec(),
    );
    let sdk = cloudevents::Event::try_from(&event).unwrap();
    assert_eq!((sdk.id(), sdk.source().as_str(), sdk.ty()), ("1", "/s", "t"));
    assert_eq!(sdk.extension("int"), Some(&ExtensionValue::Integer(-7)));
    assert_eq!(sdk.extension("yes"), Some(&ExtensionValue::Boolean(true)));
    assert_eq!(sdk.extension("text"), Some(&ExtensionValue::String("7".into())));
    assert_eq!(sdk.data(), Some(&SdkData::Binary(br#"{"z":1.50,"a":0}"#.to_vec())));

    let again = Event::try_from(sdk).unwrap();
    assert_eq!(bytes(&again), bytes(&event));
    // The losses that the module's page names.
    assert_eq!(again.attribute("time"), Some("2018-04-05T12:48:09.120+00:00"));
    assert_eq!(again.attribute("dataschema"), Some("http://example.com/"));
}

#[test]
fn what_the_sdk_cannot_hold_is_an_error() {
    let event = read(
        br#"{"specversion":"0.3","id":"1","source":"/s","type":"t","schemaurl":"/relative"}"#
            .to_vec(),
    );
    assert!(cloudevents::Event::try_from(&event).is_err());
}

#[test]
fn events_of_the_sdk_are_checked() {
    let valid = || EventBuilderV10::new().id("1").source("/s").ty("t");
    for (builder, field) in [
        (valid().id(""), "id"),
        (valid().ty(""), "type"),
        (valid().source("a b"), "source"),
        (valid().subject(""), "subject"),
        (valid().extension("my-ext", "x"), "my-ext"),
        (valid().extension("data", "x"), "data"),
        (valid().extension("big", 1_i64 << 40), "big"),
        (valid().extension("bad", "a\u{7}"), "bad"),
        (valid().data("xyz", "x"), "datacontenttype"),
    ] {
        let problem = Event::try_from(builder.build().unwrap()).unwrap_err();
        assert_eq!(problem.field, field, "{problem}");
    }
}

#[test]
fn data_of_the_sdk_keeps_its_kind() {
    let cases: [(&str, SdkData, Form, &[u8]); 6] = [
        ("application/json", serde_json::json!({"a": 1}).into(), Form::Json, br#"{"a":1}"#),
        ("application/json", "{ }".into(), Form::Opaque, b"{ }"),
        ("text/xml", "<a/>".into(), Form::Text, b"<a/>"),
        ("image/png", vec![0xff].into(), Form::Opaque, b"\xff"),
        ("application/json", vec![0xff].into(), Form::Opaque, b"\xff"),
        ("text/plain", serde_json::json!(1).into(), Form::Opaque, b"1"),
    ];
    for (media_type, data, form, expected) in cases {
        let sdk = EventBuilderV03::new().id("1").source("/s").ty("t").data(media_type, data);
        let event = Event::try_from(sdk.build().unwrap()).unwrap();
        assert_eq!(event.spec_version(), SpecVersion::V03);
        let data = event.data().unwrap();
        assert_eq!((data.form, &data.bytes[..]), (form, expected), "{media_type}");
        assert_eq!(bytes(&read(written(&event))), Some(expected));
    }
    let mut sdk = EventBuilderV10::new().id("1").source("/s").ty("t").build().unwrap();
    sdk.set_data_unchecked(serde_json::json!([1]));
    let event = Event::try_from(sdk).unwrap();
    assert_eq!(event.attribute("datacontenttype"), Some("application/json"));
}

#[test]
fn a_message_goes_into_any_sink_of_the_sdk() {
    let event = read(br#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#.to_vec());
    let draft: Draft = MessageDeserializer::deserialize_to(&event, Builder::default()).unwrap();
    assert_eq!(draft.finish().unwrap(), event);
    let draft: Draft =
        StructuredDeserializer::deserialize_structured(&event, Builder::default()).unwrap();
    assert_eq!(draft.finish().unwrap(), event);
    let sdk = StructuredDeserializer::into_event(&event).unwrap();
    assert_eq!(sdk, MessageDeserializer::into_event(&event).unwrap());
}

proptest! {
    #[test]
    fn an_event_is_the_same_after_the_sdk(event in arbitrary::event()) {
        let sdk = cloudevents::Event::try_from(&event).unwrap();
        prop_assert_eq!(&Event::try_from(sdk).unwrap(), &event);
    }

    #[test]
    fn the_sdk_reads_what_is_written_here_and_the_other_way(event in arbitrary::event()) {
        let text = String::from_utf8(written(&event)).unwrap();
        // It parses bytes of a JSON type, or of no type, as JSON, and writes them anew.
        let media_type = event.attribute("datacontenttype").unwrap_or("application/json");
        prop_assume!(media_type != "application/json" || !text.contains("base64"));

        let sdk: cloudevents::Event = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&Event::try_from(sdk.clone()).unwrap(), &event);
        prop_assert_eq!(&read(serde_json::to_vec(&sdk).unwrap()), &event);
    }
}
