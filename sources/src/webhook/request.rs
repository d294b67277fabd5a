//! A request as it came.

use bytes::Bytes;
use http::{HeaderMap, Method};

/// A request to a source's endpoint, its body read.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a Method,
    /// What stands in the path after the source's name, without the first slash.
    pub path: &'a str,
    /// The query, without its question mark.
    pub query: &'a str,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// The body, byte for byte.
    pub body: &'a Bytes,
}

impl<'a> Request<'a> {
    /// The value of a header field that is there once and is text.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let mut values = self.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok().map(str::trim),
            _ => None,
        }
    }

    /// The value of a header field that must be there once.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as a phrase.
    pub fn required(&self, name: &str) -> Result<&'a str, &'static str> {
        let mut values = self.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => Err("is missing"),
            (Some(_), Some(_)) => Err("must not be there more than once"),
            (Some(value), None) => value.to_str().map_err(|_| "must be ASCII"),
        }
    }

    /// The value of a parameter of the query.
    pub fn query(&self, name: &str) -> Option<String> {
        form_value(self.query.as_bytes(), name)
    }
}

/// The first value of `name` in `application/x-www-form-urlencoded` text.
pub(crate) fn form_value(form: &[u8], name: &str) -> Option<String> {
    form_urlencoded::parse(form).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}
