//! What an HTTP request costs on its way to checked events, in each mode of the binding.

use std::hint::black_box;

use bytes::Bytes;
use channel::binding::{
    DecodeError, Limits,
    http::{BATCHED, Decoded, STRUCTURED, decode},
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Bytes of data in each event.
const DATA: usize = 1024;
/// Events in the batch.
const BATCH: usize = 100;

struct Message {
    headers: HeaderMap,
    body: Bytes,
}

impl Message {
    fn binary() -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in support::HEADERS {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers.insert("ce-id", HeaderValue::from_static(support::ID));
        headers.insert("ce-type", HeaderValue::from_static("dev.catchment.bench.000000"));
        Self::new(headers, support::body(DATA))
    }

    fn structured() -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(STRUCTURED));
        Self::new(headers, json().into_bytes())
    }

    fn batched() -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(BATCHED));
        Self::new(headers, format!("[{}]", vec![json(); BATCH].join(",")).into_bytes())
    }

    /// With the headers that a client adds.
    fn new(mut headers: HeaderMap, body: Vec<u8>) -> Self {
        headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:8080"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static("Go-http-client/1.1"));
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        headers.insert(header::CONTENT_LENGTH, body.len().into());
        Self { headers, body: body.into() }
    }

    /// Decodes and finishes every event; returns how many there were.
    fn decode(&self) -> Result<usize, DecodeError> {
        match decode(&self.headers, self.body.clone(), &Limits::default())? {
            Decoded::One(draft) => {
                black_box(draft.finish()?);
                Ok(1)
            }
            Decoded::Many(drafts) => {
                let events = drafts.len();
                for draft in drafts {
                    black_box(draft.finish()?);
                }
                Ok(events)
            }
        }
    }
}

/// The event in the JSON format.
fn json() -> String {
    let mut members = format!(r#"{{"id":"{}","type":"{}""#, support::ID, support::ty(0));
    for (name, value) in support::HEADERS {
        let name = name.strip_prefix("ce-").unwrap_or("datacontenttype");
        members.push_str(&format!(r#","{name}":"{value}""#));
    }
    let data = support::body(DATA);
    format!(r#"{members},"data":{}}}"#, String::from_utf8_lossy(&data))
}

fn decoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for (mode, message, events) in [
        ("binary", Message::binary(), 1),
        ("structured", Message::structured(), 1),
        ("batched", Message::batched(), BATCH),
    ] {
        let decoded = message.decode();
        assert!(decoded.as_ref().is_ok_and(|count| *count == events), "{mode}: {decoded:?}");
        group.throughput(Throughput::Elements(events as u64));
        group.bench_function(mode, |bencher| bencher.iter(|| message.decode()));
    }
    group.finish();
}

criterion_group!(benches, decoding);
criterion_main!(benches);
