//! What an event costs on its way out, in each form that a subscriber may be sent.

use std::hint::black_box;

use bytes::Bytes;
use channel::{
    Data, Draft, Event, Invalid, SpecVersion,
    binding::{http::structured_head, json},
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Bytes of data in each event.
const DATA: usize = 1024;
/// Events in the batch.
const BATCH: usize = 100;

fn draft() -> Result<Draft, Invalid> {
    let mut draft = Draft::new(SpecVersion::V10);
    draft.push_wire("id", support::ID.as_bytes())?;
    draft.push_wire("type", support::ty(0).as_bytes())?;
    for (name, value) in support::HEADERS {
        match name.strip_prefix("ce-") {
            Some("specversion") => {}
            Some(name) => draft.push_wire(name, value.as_bytes())?,
            None => draft.content_type(value.as_bytes())?,
        }
    }
    draft.set_data(Some(Data::opaque(Bytes::from(support::body(DATA)))));
    Ok(draft)
}

fn binary(event: &Event, out: &mut Vec<u8>) {
    out.extend_from_slice(event.http_head());
    out.extend_from_slice(b"\r\n");
    if let Some(data) = event.data() {
        out.extend_from_slice(&data.bytes);
    }
}

fn structured(event: &Event, out: &mut Vec<u8>) {
    let mut body = Vec::new();
    json::write(event, &mut body);
    out.extend_from_slice(&structured_head(event, body.len()));
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&body);
}

#[allow(clippy::panic, reason = "an event that is wrong must not be measured")]
fn event() -> Event {
    draft().and_then(Draft::finish).unwrap_or_else(|invalid| panic!("{invalid}"))
}

/// A whole message, into a buffer that is there already. Nothing is put together in binary mode:
/// the head was written when the event was made.
fn messages(criterion: &mut Criterion) {
    let event = event();
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Elements(1));
    let mut out = Vec::new();
    for (mode, encode) in
        [("binary", binary as fn(&Event, &mut Vec<u8>)), ("structured", structured)]
    {
        group.bench_function(mode, |bencher| {
            bencher.iter(|| {
                out.clear();
                encode(&event, &mut out);
                black_box(out.len())
            });
        });
    }
    let events = vec![event; BATCH];
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("batched", |bencher| {
        bencher.iter(|| {
            out.clear();
            json::write_batch(&events, &mut out);
            black_box(out.len())
        });
    });
    group.finish();
}

/// A copy of an event with one more attribute, as dead letters and replies are.
fn editing(criterion: &mut Criterion) {
    let event = event();
    criterion.bench_function("edit", |bencher| {
        bencher.iter(|| {
            let mut draft = event.edit();
            draft.set("knativeerrorcode", "503");
            draft.finish()
        });
    });
}

criterion_group!(benches, messages, editing);
criterion_main!(benches);
