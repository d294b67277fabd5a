//! The HTTP binding's binary mode: attributes as `ce-` headers, data as the body.

use bytes::Bytes;
use channel::Invalid;
use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};

use super::{Data, Form, Message, form_of, is_attribute_name, percent};

impl Message {
    /// Reads a request in binary mode.
    ///
    /// # Errors
    ///
    /// [`Invalid`] for a missing required attribute, a header name that no attribute can have,
    /// and values that are not text.
    pub(crate) fn from_http(headers: &HeaderMap, body: &Bytes) -> Result<Self, Invalid> {
        let mut message = Self::default();
        for (header, value) in headers {
            let Some(name) = header.as_str().strip_prefix("ce-") else { continue };
            let field = || header.as_str().to_owned();
            if !is_attribute_name(name) || name == "datacontenttype" {
                return Err(Invalid::new(field(), "cannot be an attribute"));
            }
            if message.get(name).is_some() {
                return Err(Invalid::new(field(), "is given twice"));
            }
            let text = percent::decode(value.as_bytes())
                .ok_or_else(|| Invalid::new(field(), "is not UTF-8 text"))?;
            message.push(name, text);
        }
        if let Some(value) = headers.get(CONTENT_TYPE) {
            let text = std::str::from_utf8(value.as_bytes())
                .map_err(|_| Invalid::new("content-type", "is not UTF-8 text"))?;
            message.push("datacontenttype", text);
        }
        message.require()?;
        if !body.is_empty() {
            let form = form_of(body, message.get("datacontenttype"));
            message.data = Some(Data { bytes: body.clone(), form });
        }
        Ok(message)
    }

    /// The request that carries the event in binary mode.
    ///
    /// JSON data without a declared type gets `application/json`, as the specification's
    /// transcoding rule asks.
    ///
    /// # Errors
    ///
    /// [`Invalid`] for an attribute that does not fit in a header.
    pub(crate) fn to_http(&self) -> Result<(HeaderMap, Bytes), Invalid> {
        let mut headers = HeaderMap::with_capacity(self.attributes.len() + 1);
        for attribute in &self.attributes {
            let unfit = || Invalid::new(attribute.name.clone(), "does not fit in an HTTP header");
            if attribute.name == "datacontenttype" {
                let value = HeaderValue::from_str(&attribute.text).map_err(|_| unfit())?;
                headers.insert(CONTENT_TYPE, value);
            } else {
                let name = HeaderName::from_bytes(format!("ce-{}", attribute.name).as_bytes())
                    .map_err(|_| unfit())?;
                let value = HeaderValue::from_str(&percent::encode(&attribute.text))
                    .map_err(|_| unfit())?;
                headers.insert(name, value);
            }
        }
        let is_untyped_json = self.data.as_ref().is_some_and(|data| data.form == Form::Json);
        if is_untyped_json && !headers.contains_key(CONTENT_TYPE) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Ok((headers, self.data.as_ref().map(|data| data.bytes.clone()).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_mode_there_and_back() {
        let mut sent = Message::default();
        for (name, text) in [("specversion", "1.0"), ("id", "é 1"), ("source", "/s"), ("type", "t")]
        {
            sent.push(name, text);
        }
        sent.push("datacontenttype", "text/plain");
        sent.data = Some(Data { bytes: "hello".into(), form: Form::Text });
        let (headers, body) = sent.to_http().unwrap();
        assert_eq!(headers.get("ce-id").unwrap(), "%C3%A9%201");
        assert_eq!(headers.get("content-type").unwrap(), "text/plain");
        assert_eq!(Message::from_http(&headers, &body).unwrap(), sent);
    }

    #[test]
    fn untyped_json_data_is_declared() {
        let event = br#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"a":1}}"#;
        let (headers, body) = Message::from_json(event).unwrap().to_http().unwrap();
        assert_eq!(headers.get("content-type").unwrap(), "application/json");
        assert_eq!(body, r#"{"a":1}"#);
    }

    #[test]
    fn a_refusal_names_the_header() {
        let cases = [("ce-my-ext", "a"), ("ce-datacontenttype", "a/b"), ("ce-subject", "%ff")];
        for (name, value) in cases {
            let mut headers = HeaderMap::new();
            for required in ["ce-specversion", "ce-id", "ce-source", "ce-type"] {
                headers.insert(required, HeaderValue::from_static("x"));
            }
            headers.insert(name, HeaderValue::from_static(value));
            assert_eq!(Message::from_http(&headers, &Bytes::new()).unwrap_err().field, name);
        }
        let none = Message::from_http(&HeaderMap::new(), &Bytes::new()).unwrap_err();
        assert_eq!(none.field, "specversion");
    }
}
