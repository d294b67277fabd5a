//! Puts events into requests: one each, or many in a batch.

use std::{collections::VecDeque, mem};

use bytes::Bytes;
use channel::{
    Event, Invalid, SpecVersion,
    binding::{DecodeError, json},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header::CONTENT_TYPE};
use http_body_util::Full;

use super::Mode;
use crate::display::LIMITS;

/// A batch is sent once it is this large, whatever its number of events.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// What one request carries.
#[derive(Clone, Debug)]
pub(super) struct Parcel {
    lines: Lines,
    headers: HeaderMap,
    body: Bytes,
}

/// Which lines of the file a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lines {
    /// Number of the first line.
    pub(super) first: u64,
    /// Number of the last line; lines between that were no events are not part of it.
    pub(super) last: u64,
    /// Events in the request.
    pub(super) events: u64,
}

impl Parcel {
    fn json(lines: Lines, media: &'static str, body: Bytes) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
        Self { lines, headers, body }
    }

    /// The lines it carries.
    pub(super) fn lines(&self) -> Lines {
        self.lines
    }

    /// The request that posts it.
    pub(super) fn request(&self, target: &Uri) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = target.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// Packs one event alone; `text` is its JSON.
///
/// # Errors
///
/// [`Invalid`] for an attribute that does not fit in a header.
pub(super) fn single(mode: Mode, line: u64, event: &Event, text: Bytes) -> Result<Parcel, Invalid> {
    let lines = Lines { first: line, last: line, events: 1 };
    Ok(match mode {
        Mode::Binary => {
            let body = event.data().map(|data| data.bytes.clone()).unwrap_or_default();
            Parcel { lines, headers: headers(event.http_head())?, body }
        }
        Mode::Structured => Parcel::json(lines, STRUCTURED, text),
        Mode::Batched => Parcel::json(lines, BATCHED, [b"[", text.as_ref(), b"]"].concat().into()),
    })
}

/// The header lines of a head, taken apart for a client that writes its own.
fn headers(head: &[u8]) -> Result<HeaderMap, Invalid> {
    let unfit = |name: &str| Invalid::new(name.to_owned(), "does not fit in an HTTP header");
    let head = std::str::from_utf8(head).map_err(|_| unfit("event"))?;
    let mut headers = HeaderMap::new();
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unfit(name))?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| unfit(name))?;
        headers.insert(header, value);
    }
    Ok(headers)
}

const STRUCTURED: &str = "application/cloudevents+json; charset=utf-8";
const BATCHED: &str = "application/cloudevents-batch+json; charset=utf-8";

/// Fills requests with the lines of a file, in order.
#[derive(Debug)]
pub(super) struct Packer {
    mode: Mode,
    batch_size: usize,
    open: Option<Batch>,
    ready: VecDeque<Parcel>,
}

#[derive(Debug)]
struct Batch {
    version: SpecVersion,
    lines: Lines,
    body: Vec<u8>,
}

impl Packer {
    /// A packer whose batches hold at most `batch_size` events.
    pub(super) fn new(mode: Mode, batch_size: usize) -> Self {
        Self { mode, batch_size, open: None, ready: VecDeque::new() }
    }

    /// Takes the event on a line.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when the line is no event; what was taken before is not touched.
    pub(super) fn push(&mut self, line: u64, text: Bytes) -> Result<(), DecodeError> {
        let event = json::read(&text, &LIMITS)?.finish()?;
        if self.mode == Mode::Batched {
            self.push_batched(line, event.spec_version(), &text);
        } else {
            self.ready.push_back(single(self.mode, line, &event, text)?);
        }
        Ok(())
    }

    /// All events of a batch have the same `specversion` (HTTP binding, section 3.3).
    fn push_batched(&mut self, line: u64, version: SpecVersion, text: &[u8]) {
        let fits = |open: &Batch| {
            open.version == version && open.body.len() + text.len() <= BATCH_BYTES_MAX
        };
        if self.open.as_ref().is_some_and(|open| !fits(open)) {
            self.flush();
        }
        let open = self.open.get_or_insert_with(|| Batch {
            version,
            lines: Lines { first: line, last: line, events: 0 },
            body: Vec::new(),
        });
        open.body.push(if open.body.is_empty() { b'[' } else { b',' });
        open.body.extend_from_slice(text);
        open.lines.last = line;
        open.lines.events += 1;
        if usize::try_from(open.lines.events).is_ok_and(|events| events >= self.batch_size) {
            self.flush();
        }
    }

    /// Closes the batch that is not full yet.
    pub(super) fn flush(&mut self) {
        if let Some(mut batch) = self.open.take() {
            batch.body.push(b']');
            let body = mem::take(&mut batch.body).into();
            self.ready.push_back(Parcel::json(batch.lines, BATCHED, body));
        }
    }

    /// Whether a request waits to be sent.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The oldest request that waits to be sent.
    pub(super) fn next(&mut self) -> Option<Parcel> {
        self.ready.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(version: &str) -> Bytes {
        format!(r#"{{"specversion":"{version}","id":"1","source":"/s","type":"t"}}"#).into()
    }

    #[test]
    fn batches_are_cut_by_size_version_and_end_of_file() {
        let mut packer = Packer::new(Mode::Batched, 2);
        for (line, version) in (1..).zip(["1.0", "1.0", "1.0", "0.3", "0.3", "0.3"]) {
            packer.push(line, event(version)).unwrap();
        }
        packer.flush();
        let lines = |first, last, events| Lines { first, last, events };
        let packed: Vec<_> = std::iter::from_fn(|| packer.next()).map(|one| one.lines()).collect();
        assert_eq!(packed, [lines(1, 2, 2), lines(3, 3, 1), lines(4, 5, 2), lines(6, 6, 1)]);
    }

    #[test]
    fn a_batch_is_an_array_of_the_lines_as_they_are() {
        let mut packer = Packer::new(Mode::Batched, 100);
        packer.push(1, event("1.0")).unwrap();
        let refused = packer.push(2, Bytes::from_static(b"{}")).unwrap_err();
        assert_eq!(refused.to_string(), "specversion: required attribute is missing");
        packer.push(3, event("1.0")).unwrap();
        assert!(!packer.is_ready());
        packer.flush();
        let parcel = packer.next().unwrap();
        let one = String::from_utf8(event("1.0").to_vec()).unwrap();
        assert_eq!(parcel.body, format!("[{one},{one}]"));
        assert_eq!(parcel.lines(), Lines { first: 1, last: 3, events: 2 });
    }

    #[test]
    fn each_mode_has_its_content_type() {
        let read = json::read(&event("1.0"), &LIMITS).unwrap().finish().unwrap();
        let media = |mode| {
            let request = single(mode, 1, &read, event("1.0")).unwrap();
            let request = request.request(&Uri::from_static("http://localhost/"));
            request.headers().get(CONTENT_TYPE).map(|media| media.to_str().unwrap().to_owned())
        };
        assert_eq!(media(Mode::Binary), None);
        assert_eq!(media(Mode::Structured).as_deref(), Some(STRUCTURED));
        assert_eq!(media(Mode::Batched).as_deref(), Some(BATCHED));
    }
}
