//! An event under construction: each attribute is checked as it is added.

use std::{borrow::Cow, sync::Arc};

use crate::{
    Invalid,
    budget::Charge,
    event::{DATACONTENTTYPE, Data, Event, Inner, Kind, Span, SpecVersion, Table, cost, name_bit},
    percent, rules,
};

/// The header by which the hops that are left travel to the next hub. Subscribers do not see
/// Knative's attribute, so without this header two hubs could send to each other for ever.
pub const HOPS_HEADER: &str = "catchment-hops";

/// An event that is being built, by a binding or by the program itself.
///
/// The rules of CloudEvents 1.0.2, sections 3.1 and 3.2, are applied to each attribute when it is
/// added; [`Draft::finish`] applies those that need the whole.
#[derive(Debug)]
pub struct Draft {
    spec_version: SpecVersion,
    table: Table,
    carried: Vec<u8>,
    data: Option<Data>,
    hops: Option<u8>,
    charge: Option<Charge>,
}

/// A first guess at the length of a head, so that most events need one allocation for it.
const HEAD_CAPACITY: usize = 640;

impl Draft {
    /// An event with nothing but its `specversion`.
    pub fn new(spec_version: SpecVersion) -> Self {
        let mut draft = Self {
            spec_version,
            table: Table { head: Vec::with_capacity(HEAD_CAPACITY), ..Table::default() },
            carried: Vec::new(),
            data: None,
            hops: None,
            charge: None,
        };
        draft.write("specversion", spec_version.as_str().as_bytes(), None, Kind::String);
        draft
    }

    pub(crate) fn from_event(event: &Event) -> Self {
        let inner = &event.0;
        let mut table = Table {
            head: Vec::with_capacity(inner.table.head.len() + HEAD_CAPACITY),
            spans: inner.table.spans.clone(),
            decoded: inner.table.decoded.clone(),
            seen: inner.table.seen,
        };
        table
            .head
            .extend_from_slice(inner.table.head.get(..inner.attributes_len).unwrap_or_default());
        Self {
            spec_version: inner.spec_version,
            table,
            carried: event.carried().to_vec(),
            data: inner.data.clone(),
            hops: inner.hops,
            charge: None,
        }
    }

    /// The version of the specification that the event declares.
    pub fn spec_version(&self) -> SpecVersion {
        self.spec_version
    }

    /// Adds an attribute as it stands in a `ce-` header, `name` without the prefix and in lower case.
    ///
    /// The bytes are kept as they are; filters see them with quoting and percent-coding undone
    /// (HTTP binding 3.1.3.2). A URI that is one only before that is seen as it stands: its sender,
    /// like Knative, does not code header values, and the percent signs are the URI's own.
    ///
    /// # Errors
    ///
    /// When the name or value breaks a rule, or the attribute is there already.
    pub fn push_wire(&mut self, name: &str, wire: &[u8]) -> Result<(), Invalid> {
        self.check_new(name)?;
        if percent::is_plain_text(wire) {
            rules::check_named(self.spec_version, name, wire)?;
            self.write(name, wire, None, Kind::String);
            return Ok(());
        }
        let text = self.checked_text(name, wire)?;
        let decoded = match text {
            Cow::Borrowed(_) => None,
            Cow::Owned(ref text) => Some(text.as_str()),
        };
        self.write(name, wire, decoded, Kind::String);
        Ok(())
    }

    /// Adds an attribute by its canonical text.
    ///
    /// # Errors
    ///
    /// As [`Draft::push_wire`].
    pub fn push_text(&mut self, name: &str, text: &str, kind: Kind) -> Result<(), Invalid> {
        self.check_new(name)?;
        rules::check_kind(name, text, kind)?;
        rules::check(self.spec_version, name, text)?;
        self.write_text(name, text, kind);
        Ok(())
    }

    /// Adds `datacontenttype` as it stands in the `content-type` header.
    ///
    /// # Errors
    ///
    /// When it is not a media type (RFC 2046) or is there already.
    pub fn content_type(&mut self, wire: &[u8]) -> Result<(), Invalid> {
        let text = std::str::from_utf8(wire)
            .map_err(|_| Invalid::new("content-type", "must be a media type in ASCII"))?;
        self.push_text(DATACONTENTTYPE, text, Kind::String)
    }

    /// Puts an attribute in place of one that may be there: for the additions of the program itself,
    /// whose names and values it vouches for. A value that breaks a rule is left out.
    pub fn set(&mut self, name: &str, text: &str) {
        self.remove(name);
        if self.push_text(name, text, Kind::String).is_err() {
            // The program's own additions are constants and encoded text: nothing to report to a sender.
            debug_assert!(false, "the program set an invalid attribute {name}");
        }
    }

    /// Takes an attribute out and returns its text.
    pub fn remove(&mut self, name: &str) -> Option<String> {
        let found = *self.table.find(name)?;
        let text = self.table.text(&found).to_owned();
        let line_start =
            if name == DATACONTENTTYPE { found.name.0 } else { found.name.0 - PREFIX_LEN };
        let line_end = found.wire.0 + found.wire.1 + LINE_END_LEN;
        self.table.head.drain(line_start as usize..line_end as usize);
        self.table.spans.retain(|span| span.name.0 != found.name.0);
        for span in self.table.spans.iter_mut().filter(|span| span.name.0 > found.name.0) {
            span.name.0 -= line_end - line_start;
            span.wire.0 -= line_end - line_start;
        }
        Some(text)
    }

    /// The canonical text of an attribute that was added.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.table.find(name).map(|span| self.table.text(span))
    }

    /// Attributes so far.
    pub fn len(&self) -> usize {
        self.table.spans.len()
    }

    /// Whether there is no attribute; never true, because `specversion` is always there.
    pub fn is_empty(&self) -> bool {
        self.table.spans.is_empty()
    }

    /// Lets a header travel with the event without being part of it. The caller chooses which may
    /// (see [`crate::binding::http::is_carried`]) and has it from a parser that checked its bytes.
    pub fn carry(&mut self, name: &str, value: &[u8]) {
        write_line(&mut self.carried, name, value);
    }

    /// Puts back header lines that [`Event::carried`] gave, when they are that.
    pub(crate) fn carry_lines(&mut self, lines: &[u8]) {
        if lines.is_empty() || lines.ends_with(b"\r\n") {
            self.carried.extend_from_slice(lines);
        }
    }

    /// Puts back an attribute of an event that was valid when it was stored.
    pub(crate) fn restore(&mut self, name: &str, wire: &[u8], text: Option<&str>, kind: Kind) {
        self.write(name, wire, text, kind);
    }

    /// Puts the data, in place of any there was.
    pub fn set_data(&mut self, data: Option<Data>) {
        self.data = data;
    }

    /// The data so far.
    pub fn data(&self) -> Option<&Data> {
        self.data.as_ref()
    }

    /// Lets the hops that are left travel with the event, so that the next hub knows of them.
    pub fn carry_hops(&mut self) {
        if let Some(hops) = self.hops {
            self.carry(HOPS_HEADER, hops.to_string().as_bytes());
        }
    }

    /// Sets how often the event may still pass a broker.
    pub fn set_hops(&mut self, hops: Option<u8>) {
        self.hops = hops;
    }

    /// How often the event may still pass a broker.
    pub fn hops(&self) -> Option<u8> {
        self.hops
    }

    /// Gives the event the memory that was charged for it.
    pub fn set_charge(&mut self, charge: Charge) {
        self.charge = Some(charge);
    }

    /// Takes back what [`Draft::set_charge`] gave.
    pub fn take_charge(&mut self) -> Option<Charge> {
        self.charge.take()
    }

    /// Bytes that the event will be charged for; see [`Event::cost`].
    pub fn cost(&self) -> usize {
        cost(&self.table, self.data.as_ref()) + self.carried.len()
    }

    /// The first required attribute that is missing, as a problem (CloudEvents 1.0.2, section 3.1.1).
    pub(crate) fn missing(&self) -> Option<Invalid> {
        ["id", "source", "type"]
            .into_iter()
            .find(|name| self.table.find(name).is_none())
            .map(|name| Invalid::new(name, rules::MISSING_RULE))
    }

    /// The event, if all that must be there is there.
    ///
    /// # Errors
    ///
    /// When `id`, `source` or `type` is missing (CloudEvents 1.0.2, section 3.1.1).
    pub fn finish(mut self) -> Result<Event, Invalid> {
        if let Some(missing) = self.missing() {
            return Err(missing);
        }
        let attributes_len = self.table.head.len();
        self.table.head.extend_from_slice(&self.carried);
        let length = self.data.as_ref().map_or(0, |data| data.bytes.len());
        write_content_length(&mut self.table.head, length);
        Ok(Event(Arc::new(Inner {
            spec_version: self.spec_version,
            carried_len: self.carried.len(),
            attributes_len,
            table: self.table,
            data: self.data,
            hops: self.hops,
            _charge: self.charge,
        })))
    }

    fn check_new(&self, name: &str) -> Result<(), Invalid> {
        rules::check_name(name)?;
        if self.table.find(name).is_some() {
            return Err(Invalid::new(name.to_owned(), "must not be there more than once"));
        }
        Ok(())
    }

    fn checked_text<'a>(&self, name: &str, wire: &'a [u8]) -> Result<Cow<'a, str>, Invalid> {
        let checked = percent::decode(wire)
            .map_err(|rule| Invalid::new(name.to_owned(), rule))
            .and_then(|text| rules::check(self.spec_version, name, &text).map(|()| text));
        match (checked, std::str::from_utf8(wire)) {
            (Err(_), Ok(uri))
                if rules::is_uri(name) && rules::check(self.spec_version, name, uri).is_ok() =>
            {
                Ok(Cow::Borrowed(uri))
            }
            (checked, _) => checked,
        }
    }

    fn write_text(&mut self, name: &str, text: &str, kind: Kind) {
        match percent::encode(text) {
            // A media type goes into its header as it is.
            _ if name == DATACONTENTTYPE => self.write(name, text.as_bytes(), None, kind),
            None => self.write(name, text.as_bytes(), None, kind),
            Some(wire) => self.write(name, wire.as_bytes(), Some(text), kind),
        }
    }

    fn write(&mut self, name: &str, wire: &[u8], text: Option<&str>, kind: Kind) {
        let head = &mut self.table.head;
        let written = if name == DATACONTENTTYPE {
            "content-type"
        } else {
            head.extend_from_slice(b"ce-");
            name
        };
        self.table.seen |= name_bit(written);
        let name_start = position(head.len());
        write_line(head, written, wire);
        let wire_start = name_start + position(written.len()) + position(SEPARATOR.len());
        let text = text.map(|text| {
            let start = position(self.table.decoded.len());
            self.table.decoded.push_str(text);
            (start, position(text.len()))
        });
        self.table.spans.push(Span {
            name: (name_start, position(written.len())),
            wire: (wire_start, position(wire.len())),
            text,
            kind,
        });
    }
}

const PREFIX_LEN: u32 = 3;
const LINE_END_LEN: u32 = 2;
const SEPARATOR: &[u8] = b": ";

/// Heads are bounded far below 4 GiB by the limits of every way in.
fn position(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn write_line(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    head.reserve(name.len() + value.len() + 4);
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(SEPARATOR);
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}

pub(crate) fn write_content_length(head: &mut Vec<u8>, bytes: usize) {
    head.extend_from_slice(b"content-length: ");
    write_number(head, bytes);
    head.extend_from_slice(b"\r\n");
}

fn write_number(head: &mut Vec<u8>, mut number: usize) {
    let start = head.len();
    loop {
        let digit = u8::try_from(number % 10).unwrap_or_default();
        head.push(b'0' + digit);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    if let Some(digits) = head.get_mut(start..) {
        digits.reverse();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Attributes;

    fn draft() -> Draft {
        let mut draft = Draft::new(SpecVersion::V10);
        draft.push_wire("id", b"1").unwrap();
        draft.push_wire("source", b"/s").unwrap();
        draft.push_wire("type", b"t").unwrap();
        draft
    }

    #[test]
    fn the_head_is_what_came() {
        let mut draft = draft();
        draft.push_wire("subject", b"a%20b").unwrap();
        draft.content_type(b"text/plain").unwrap();
        draft.carry("traceparent", b"x");
        draft.set_data(Some(Data::opaque(Bytes::from_static(b"hello"))));
        let event = draft.finish().unwrap();
        assert_eq!(
            std::str::from_utf8(event.http_head()).unwrap(),
            "ce-specversion: 1.0\r\nce-id: 1\r\nce-source: /s\r\nce-type: t\r\nce-subject: a%20b\r\n\
             content-type: text/plain\r\ntraceparent: x\r\ncontent-length: 5\r\n"
        );
        assert_eq!(event.attribute("subject"), Some("a b"));
        assert_eq!(event.attribute("datacontenttype"), Some("text/plain"));
        assert_eq!(event.carried(), b"traceparent: x\r\n");
    }

    #[test]
    fn an_attribute_taken_out_leaves_the_others_whole() {
        let mut draft = draft();
        draft.push_text("subject", "é", Kind::String).unwrap();
        draft.push_wire("last", b"z").unwrap();
        assert_eq!(draft.remove("source").as_deref(), Some("/s"));
        draft.set("source", "/new");
        draft.set("last", "zz");
        let event = draft.finish().unwrap();
        assert_eq!(
            std::str::from_utf8(event.http_head()).unwrap(),
            "ce-specversion: 1.0\r\nce-id: 1\r\nce-type: t\r\nce-subject: %C3%A9\r\n\
             ce-source: /new\r\nce-last: zz\r\ncontent-length: 0\r\n"
        );
        assert_eq!(event.attribute("subject"), Some("é"));
        assert_eq!(event.edit().finish().unwrap(), event);
    }

    #[test]
    fn a_duplicate_is_refused() {
        let error = draft().push_wire("id", b"2").unwrap_err();
        assert_eq!(error.to_string(), "id: must not be there more than once");
    }

    #[test]
    fn a_missing_attribute_is_named() {
        let mut draft = draft();
        draft.remove("type");
        assert_eq!(draft.finish().unwrap_err().field, "type");
    }
}
