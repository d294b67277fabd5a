//! Claims about the JSON format.

use serde_json::json;

use super::*;
use crate::{
    Attributes as _, Event, Form, Kind,
    binding::{DecodeError, Limits},
};
use bytes::Bytes;

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
        r#""datacontenttype":"A/x+JSON;x=y","data":"text \u0041""#,
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
