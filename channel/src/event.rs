//! One event as it travels: attributes parsed once, bytes untouched.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use smallvec::SmallVec;

use crate::{Attributes, budget::Charge, draft::Draft};

/// The version of the CloudEvents specification that an event declares; it is passed on as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecVersion {
    /// `0.3`, which Knative's producers may still send.
    V03,
    /// `1.0`, whatever its patch level.
    V10,
}

impl SpecVersion {
    /// The text of the `specversion` attribute.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V03 => "0.3",
            Self::V10 => "1.0",
        }
    }

    /// The version that `text` names, or `None` for every other version.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "0.3" => Some(Self::V03),
            "1.0" => Some(Self::V10),
            _ => None,
        }
    }
}

/// The type of an attribute as far as the JSON format can tell it.
///
/// Values that came as HTTP headers are strings: the binary mode loses the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A JSON string, or any header.
    String,
    /// A JSON number within 32 bits, signed.
    Integer,
    /// A JSON `true` or `false`.
    Boolean,
}

/// How the data was written where it came from, so that it can be written the same way again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The body of a binary-mode message.
    Opaque,
    /// The raw text of one JSON value, the `data` member of a structured event.
    Json,
    /// The content of a JSON string whose media type is not JSON.
    Text,
    /// Decoded from `data_base64`.
    Base64,
}

/// The payload of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// The bytes, as they are sent in binary mode.
    pub bytes: Bytes,
    /// Where they came from.
    pub form: Form,
}

impl Data {
    /// The body of a binary-mode message.
    pub fn opaque(bytes: Bytes) -> Self {
        Self { bytes, form: Form::Opaque }
    }
}

/// One attribute of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// The name, lower case, without any binding's prefix.
    pub name: &'a str,
    /// The canonical text, with the HTTP binding's percent-coding undone.
    pub text: &'a str,
    /// The value as it stands in an HTTP header.
    pub wire: &'a [u8],
    /// Its JSON type.
    pub kind: Kind,
}

/// Where one attribute lies in the head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) name: (u32, u32),
    pub(crate) wire: (u32, u32),
    /// Range in the decoded text, where that differs from the wire form.
    pub(crate) text: Option<(u32, u32)>,
    pub(crate) kind: Kind,
}

pub(crate) type Spans = SmallVec<[Span; 12]>;

/// The name that the `content-type` header stands for.
pub(crate) const DATACONTENTTYPE: &str = "datacontenttype";

/// Says in version 0.3 that the data is encoded; an extension like any other in 1.0.
pub(crate) const DATACONTENTENCODING: &str = "datacontentencoding";

/// The header block under construction or finished, and where its attributes are.
///
/// One buffer serves three readers: filters (attribute text), every HTTP delivery (the block is
/// sent as it stands), and other bindings (names and values).
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    /// `ce-id: 1\r\nce-source: …\r\ncontent-type: …\r\n`.
    pub(crate) head: Vec<u8>,
    pub(crate) spans: Spans,
    /// Texts that are not the same as their wire form, one after the other.
    pub(crate) decoded: String,
    /// A bit for each name that was added, so that most names that are not there need no search.
    pub(crate) seen: u64,
}

/// The bit of a name as it stands in the head; several names share one.
pub(crate) fn name_bit(written: &str) -> u64 {
    let bytes = written.as_bytes();
    let ends = bytes.first().zip(bytes.last());
    let mix = ends.map_or(0, |(&first, &last)| usize::from(first) * 3 + usize::from(last) * 5);
    1 << ((mix + bytes.len() * 7) & 63)
}

impl Table {
    pub(crate) fn name(&self, span: &Span) -> &str {
        match text(&self.head, span.name) {
            "content-type" => DATACONTENTTYPE,
            name => name,
        }
    }

    pub(crate) fn text(&self, span: &Span) -> &str {
        match span.text {
            None => text(&self.head, span.wire),
            Some(range) => text(self.decoded.as_bytes(), range),
        }
    }

    pub(crate) fn attribute<'a>(&'a self, span: &Span) -> Attribute<'a> {
        Attribute {
            name: self.name(span),
            text: self.text(span),
            wire: bytes(&self.head, span.wire),
            kind: span.kind,
        }
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Span> {
        let wanted = if name == DATACONTENTTYPE { "content-type" } else { name };
        if self.seen & name_bit(wanted) == 0 {
            return None;
        }
        self.spans.iter().find(|span| {
            span.name.1 as usize == wanted.len()
                && bytes(&self.head, span.name) == wanted.as_bytes()
        })
    }
}

/// The bytes of a range that was written by this crate; an impossible range reads as nothing.
fn bytes(buffer: &[u8], (start, len): (u32, u32)) -> &[u8] {
    buffer.get(start as usize..(start as usize + len as usize)).unwrap_or_default()
}

/// The same as text. Only checked text is written, so the check cannot fail.
fn text(buffer: &[u8], range: (u32, u32)) -> &str {
    std::str::from_utf8(bytes(buffer, range)).unwrap_or_default()
}

pub(crate) struct Inner {
    pub(crate) spec_version: SpecVersion,
    pub(crate) table: Table,
    /// Length of the attribute lines at the start of the head.
    pub(crate) attributes_len: usize,
    /// Length of the carried header lines that follow them.
    pub(crate) carried_len: usize,
    pub(crate) data: Option<Data>,
    pub(crate) hops: Option<u8>,
    /// Held so that the memory is given back when the last clone is gone.
    pub(crate) _charge: Option<Charge>,
}

/// A valid CloudEvent. Clones share everything and cost one counter.
///
/// Built by [`Draft::finish`], which checks what the CloudEvents specification asks of attributes.
#[derive(Clone)]
pub struct Event(pub(crate) Arc<Inner>);

/// What an event costs beyond its bytes: its structures and its places in queues.
const OVERHEAD_BYTES: usize = 512;

impl Event {
    /// The version of the specification that the event declares.
    pub fn spec_version(&self) -> SpecVersion {
        self.0.spec_version
    }

    /// The `id` attribute; never empty.
    pub fn id(&self) -> &str {
        self.attribute("id").unwrap_or_default()
    }

    /// The `source` attribute, a URI-reference; never empty.
    pub fn source(&self) -> &str {
        self.attribute("source").unwrap_or_default()
    }

    /// The `type` attribute; never empty.
    pub fn ty(&self) -> &str {
        self.attribute("type").unwrap_or_default()
    }

    /// All attributes in the order they came, `specversion` and `datacontenttype` among them.
    pub fn attributes(&self) -> impl Iterator<Item = Attribute<'_>> {
        self.0.table.spans.iter().map(|span| self.0.table.attribute(span))
    }

    /// The data, or `None` when the event has none (which differs from empty data only in JSON).
    pub fn data(&self) -> Option<&Data> {
        self.0.data.as_ref()
    }

    /// The header lines of the binary HTTP mode: attributes, `content-type`, carried headers and
    /// `content-length`, each ended by CR LF, without the empty line that ends a head.
    pub fn http_head(&self) -> &[u8] {
        &self.0.table.head
    }

    /// The carried header lines alone: what travels with the event without being part of it,
    /// such as `traceparent` and `x-request-id`.
    pub fn carried(&self) -> &[u8] {
        let start = self.0.attributes_len;
        self.0.table.head.get(start..start + self.0.carried_len).unwrap_or_default()
    }

    /// How often the event may still pass a broker (Knative's `knativebrokerttl`), kept out of the
    /// attributes because subscribers and filters do not see it. `None` before a broker admitted it.
    pub fn hops(&self) -> Option<u8> {
        self.0.hops
    }

    /// Bytes of memory that the event is charged for: head, decoded text, data, and a fixed part.
    pub fn cost(&self) -> usize {
        cost(&self.0.table, self.0.data.as_ref())
    }

    /// Bytes of attributes and data, what a backend's size limit is compared with.
    pub fn size(&self) -> usize {
        self.0.table.head.len() + self.0.data.as_ref().map_or(0, |data| data.bytes.len())
    }

    /// Starts a new event from this one: same attributes, data and carried headers, no charge.
    pub fn edit(&self) -> Draft {
        Draft::from_event(self)
    }
}

pub(crate) fn cost(table: &Table, data: Option<&Data>) -> usize {
    table.head.capacity()
        + table.decoded.capacity()
        + data.map_or(0, |data| data.bytes.len())
        + OVERHEAD_BYTES
}

impl Attributes for Event {
    fn attribute(&self, name: &str) -> Option<&str> {
        let table = &self.0.table;
        table.find(name).map(|span| table.text(span))
    }

    fn typed_attribute(&self, name: &str) -> Option<(&str, Kind)> {
        let table = &self.0.table;
        table.find(name).map(|span| (table.text(span), span.kind))
    }
}

/// Two events are the same when attributes and data are; order, carried headers and hops are not looked at.
impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        let same_data = match (self.data(), other.data()) {
            (Some(a), Some(b)) => a.bytes == b.bytes,
            (None, None) => true,
            _ => false,
        };
        same_data
            && self.0.table.spans.len() == other.0.table.spans.len()
            && self.attributes().all(|a| other.attribute(a.name) == Some(a.text))
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The data may be anybody's secret: its size is enough to recognise it by.
        f.debug_struct("Event")
            .field("source", &self.source())
            .field("id", &self.id())
            .field("type", &self.ty())
            .field("data_bytes", &self.data().map(|data| data.bytes.len()))
            .finish_non_exhaustive()
    }
}
