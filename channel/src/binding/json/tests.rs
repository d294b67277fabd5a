//! Claims about the JSON format that need the text as it stands; whole events are judged by
//! `tests/format_vectors.rs`.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{
    Attributes as _, Data, Draft, Event, Form, Kind, SpecVersion,
    binding::{DecodeError, Limits, arbitrary::event},
};

fn body(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn parse(text: &str) -> Result<Event, DecodeError> {
    Ok(read(&body(text), &Limits::default())?.finish()?)
}

/// The minimal event with `members` added.
fn with(members: &str) -> String {
    let comma = if members.is_empty() { "" } else { "," };
    format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t"{comma}{members}}}"#)
}

fn written(event: &Event) -> String {
    let mut out = Vec::new();
    write(event, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn json_goes_out_as_it_came() {
    for members in [
        "",
        r#""subject":"é \"x\" \\","extint":-2147483648,"extbool":true,"exttext":"10""#,
        r#""datacontenttype":"application/json","data":{"b":1.50,  "a":[12345678901234567890123,1e400]}"#,
        r#""datacontenttype":"image/json","data":null"#,
        r#""datacontenttype":"A/x+JSON;x=y","data":"text \u0041 \ud800""#,
        r#""datacontenttype":"text/xml","data":"<a/>\n""#,
        r#""datacontenttype":"application/xml","data":"<a/>""#,
        r#""datacontenttype":"application/json","data_base64":"AAECAw==""#,
        r#""data_base64":"AAECAw==""#,
        r#""datacontenttype":"text/plain","data":"""#,
    ] {
        let text = with(members);
        assert_eq!(written(&parse(&text).unwrap()), text);
    }
}

#[test]
fn version_0_3_goes_out_with_its_own_encoding() {
    let text = r#"{"specversion":"0.3","id":"1","source":"/s","type":"t","datacontentencoding":"base64","data":"AAECAw=="}"#;
    let event = parse(text).unwrap();
    assert_eq!(event.data().unwrap().bytes, &[0, 1, 2, 3][..]);
    assert_eq!(event.attribute("datacontentencoding"), None);
    assert_eq!(written(&event), text);
}

/// An event of binary mode with this media type and body.
fn opaque(version: SpecVersion, media_type: Option<&str>, bytes: &[u8]) -> Draft {
    let mut draft = Draft::new(version);
    for (name, text) in [("id", "1"), ("source", "/s"), ("type", "t")] {
        draft.push_text(name, text, Kind::String).unwrap();
    }
    if let Some(media_type) = media_type {
        draft.content_type(media_type.as_bytes()).unwrap();
    }
    draft.set_data(Some(Data::opaque(Bytes::copy_from_slice(bytes))));
    draft
}

#[test]
fn data_of_binary_mode_is_written_as_its_type_asks() {
    let deep = "[".repeat(63) + &"]".repeat(63);
    for (media_type, bytes, member) in [
        (Some("application/json"), &br#"{"a" : 1.0}"#[..], r#""data":{"a" : 1.0}"#),
        (Some("APPLICATION/X+JSON; a=b"), b"null", r#""data":null"#),
        (Some("application/json"), b"{", r#""data_base64":"ew==""#),
        (Some("application/json"), b"1 2", r#""data_base64":"MSAy""#),
        (Some("application/json"), b"\xef\xbb\xbf1", r#""data_base64":"77u/MQ==""#),
        (Some("application/json"), b"\"\xff\"", r#""data_base64":"Iv8i""#),
        (Some("text/plain"), "é\"\n".as_bytes(), r#""data":"é\"\n""#),
        (Some("TEXT/CSV"), b"a,b", r#""data":"a,b""#),
        (Some("text/plain"), b"\xff", r#""data_base64":"/w==""#),
        (Some("application/xml"), b"<a/>", r#""data_base64":"PGEvPg==""#),
        (None, b"1", r#""data_base64":"MQ==""#),
    ] {
        let text = written(&opaque(SpecVersion::V10, media_type, bytes).finish().unwrap());
        assert!(text.ends_with(&format!(",{member}}}")), "{text}");
        assert_eq!(parse(&text).unwrap().data().unwrap().bytes, bytes, "{text}");
    }
    let json = Some("application/json");
    let deep = written(&opaque(SpecVersion::V10, json, deep.as_bytes()).finish().unwrap());
    assert!(deep.contains("data_base64") && parse(&deep).is_ok(), "{deep}");
}

#[test]
fn version_0_3_never_says_twice_how_its_data_is_encoded() {
    for (encoding, bytes, member) in [
        ("base64", &b"aGk="[..], r#""datacontentencoding":"base64","data":"aGk=""#),
        ("base64", b"\xff", r#""datacontentencoding":"base64","data":"/w==""#),
        ("binary", b"\xff", r#""datacontentencoding":"base64","data":"/w==""#),
        (
            "8bit",
            b"hi",
            r#""datacontentencoding":"8bit","datacontenttype":"text/plain","data":"hi""#,
        ),
    ] {
        let mut draft = opaque(SpecVersion::V03, None, bytes);
        draft.push_text("datacontentencoding", encoding, Kind::String).unwrap();
        draft.content_type(b"text/plain").unwrap();
        let text = written(&draft.finish().unwrap());
        assert_eq!(text.matches("datacontentencoding").count(), 1, "{text}");
        assert!(text.ends_with(&format!("{member}}}")), "{text}");
    }
}

#[test]
fn a_batch_is_written_as_an_array() {
    let event = parse(&with("")).unwrap();
    for count in [0, 1, 3] {
        let mut out = Vec::new();
        write_batch(std::iter::repeat_n(&event, count), &mut out);
        let read = read_batch(&out.into(), &Limits::default()).unwrap();
        assert_eq!(read.len(), count);
    }
}

#[test]
fn a_member_that_is_there_twice_is_refused_however_it_is_spelled() {
    for (members, field) in [
        (r#""id":"2""#, "id"),
        (r#""i\u0064":"2""#, "id"),
        (r#""ext":1,"ext":null"#, "ext"),
        (r#""data":1,"data":1"#, "data"),
        (r#""specversion":"1.0""#, "specversion"),
    ] {
        match parse(&with(members)) {
            Err(DecodeError::Invalid(problem)) => assert_eq!(problem.field, field),
            other => panic!("{members}: {other:?}"),
        }
    }
}

#[test]
fn integers_are_those_of_the_specification() {
    for good in ["0", "-0", "7", "-2147483648", "2147483647"] {
        let event = parse(&with(&format!(r#""ext":{good}"#))).unwrap();
        assert_eq!(event.attribute("ext"), Some(good));
    }
    for bad in ["1.0", "1e3", "1E0", "2147483648", "99999999999999999999"] {
        assert!(parse(&with(&format!(r#""ext":{bad}"#))).is_err(), "{bad}");
    }
}

#[test]
fn what_is_not_one_json_object_is_refused_with_its_place() {
    for (text, line, column) in [
        (&b""[..], 1, 1),
        (b" \n ", 2, 2),
        (b"\xef\xbb\xbf{}", 1, 1),
        (b"[]", 1, 1),
        (b"\n \"{}\"", 2, 2),
        (b"{} x", 1, 4),
        (b"{}{}", 1, 3),
        (b"{\"a\":1,}", 1, 8),
        (b"{\"a\":01}", 1, 7),
        (b"{'a':1}", 1, 2),
        (b"{\"a\":NaN}", 1, 6),
        (b"{\n\"a\":\"\xff\"}", 2, 6),
        (b"{\"a\":\"\n\"}", 1, 6),
        (b"{\"a\":", 1, 5),
        (b"{\"\\ud800\":1}", 1, 9),
    ] {
        match read(&Bytes::from_static(text), &Limits::default()) {
            Err(DecodeError::BadJson { line: l, column: c, reason }) => {
                assert_eq!((l, c), (line, column), "{reason}: {}", String::from_utf8_lossy(text));
                assert!(!reason.contains("line"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(
        read_batch(&body("{}"), &Limits::default()),
        Err(DecodeError::BadJson { .. })
    ));
}

#[test]
fn unpaired_surrogates_are_refused_where_text_is_needed() {
    for (members, field) in [
        (r#""ext":"\ud800""#, "ext"),
        (r#""datacontenttype":"text/plain","data":"\udc00x""#, "data"),
    ] {
        match parse(&with(members)) {
            Err(DecodeError::Invalid(problem)) => assert_eq!(problem.field, field),
            other => panic!("{members}: {other:?}"),
        }
    }
}

#[test]
fn limits_refuse_what_is_one_more() {
    let nested = |levels: usize| {
        with(&format!(r#""data":{}"]{{"{}"#, "[".repeat(levels), "]".repeat(levels)))
    };
    assert!(parse(&nested(63)).is_ok());
    assert_eq!(parse(&nested(64)).unwrap_err(), DecodeError::TooDeep { limit: 64 });

    let extensions = |count: usize| {
        let members: Vec<String> = (0..count).map(|at| format!(r#""e{at}":1"#)).collect();
        with(&members.join(","))
    };
    assert!(parse(&extensions(64)).is_ok());
    for count in [65, 100, 10_000] {
        let error = parse(&extensions(count)).unwrap_err().to_string();
        assert!(error.ends_with("an event must not have more than 64 extensions"), "{error}");
    }

    let long = |len: usize| with(&format!(r#""ext":"{}""#, "x".repeat(len)));
    assert!(parse(&long(4096)).is_ok());
    let error = parse(&long(4097)).unwrap_err().to_string();
    assert_eq!(error, "ext: must not be longer than 4096 bytes");

    let batch = |count: usize| body(&format!("[{}]", vec![with(""); count].join(",")));
    assert_eq!(read_batch(&batch(1000), &Limits::default()).unwrap().len(), 1000);
    let error = read_batch(&batch(1001), &Limits::default()).unwrap_err();
    assert_eq!(error, DecodeError::TooManyEvents { limit: 1000 });
}

#[test]
fn a_long_name_is_cut_in_the_message() {
    let name = "é".repeat(100_000);
    for text in [with(&format!(r#""{name}":1"#)), with(&format!(r#""{name}":1,"{name}":1"#))] {
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.len() < 400, "{}", error.len());
    }
}

#[test]
fn data_is_shared_with_a_body_that_is_mostly_data() {
    let data = "x".repeat(1000);
    for (media_type, form) in [("application/json", Form::Json), ("text/plain", Form::Text)] {
        let body = body(&with(&format!(r#""datacontenttype":"{media_type}","data":"{data}""#)));
        let draft = read(&body, &Limits::default()).unwrap();
        let found = draft.data().unwrap();
        assert_eq!(found.form, form);
        assert!(body.as_ptr_range().contains(&found.bytes.as_ptr()));
    }
    // A small event must not keep a large batch in memory.
    let small = with(r#""data":1"#);
    let large = with(&format!(r#""data":"{data}""#));
    let batch = body(&format!("[{small},{large}]"));
    let drafts = read_batch(&batch, &Limits::default()).unwrap();
    assert!(!batch.as_ptr_range().contains(&drafts[0].data().unwrap().bytes.as_ptr()));
}

proptest! {
    #[test]
    fn an_event_is_the_same_after_json(event in event()) {
        let text = written(&event);
        let again = parse(&text).unwrap();
        prop_assert_eq!(&again, &event);
        for attribute in event.attributes() {
            let found = again.attributes().find(|other| other.name == attribute.name).unwrap();
            prop_assert_eq!(found.kind, attribute.kind);
        }
        prop_assert_eq!(written(&again), text);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        drop(read(&bytes, &Limits::default()));
        drop(read_batch(&bytes, &Limits::default()));
    }

    #[test]
    fn any_tokens_of_json_are_read_or_refused(
        tokens in proptest::collection::vec(
            proptest::sample::select(vec![
                "{", "}", "[", "]", ":", ",", "\"", "\\", "\\u00", "null", "1", "-", "e", "true",
                "\"id\"", "\"data\"", "\"data_base64\"", "\"specversion\":\"1.0\"", "\"x\"", " ", "é",
            ]),
            0..40,
        )
    ) {
        let text = body(&tokens.concat());
        drop(read(&text, &Limits::default()));
        drop(read_batch(&text, &Limits::default()));
    }

    #[test]
    fn a_spoilt_event_is_read_or_refused(event in event(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut text = written(&event).into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        if let Ok(draft) = read(&text.into(), &Limits::default()) {
            let event = draft.finish().unwrap();
            prop_assert_eq!(parse(&written(&event)).unwrap(), event);
        }
    }
}
