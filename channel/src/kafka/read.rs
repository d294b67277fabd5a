//! Record -> the event that it holds, or one that stands for what is none.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use rdkafka::{
    Message,
    message::{BorrowedMessage, Headers as _},
};
use smallvec::SmallVec;

use crate::{
    Draft,
    binding::{Limits, kafka, undecodable},
};

/// Header: what is known of an event that waits ([`Envelope::encode`](crate::Envelope::encode)).
pub(super) const ENVELOPE: &str = "catchment-envelope";

/// A record that was read.
pub(super) struct Read {
    pub(super) draft: Draft,
    /// Why the record holds no CloudEvent: the event was made up.
    pub(super) problem: Option<Box<str>>,
    /// The header [`ENVELOPE`].
    pub(super) envelope: Option<Bytes>,
}

/// Reads a record. Whatever it holds, an event comes of it, so that nothing stops a partition.
pub(super) fn read(message: &BorrowedMessage<'_>, limits: &Limits) -> Read {
    // The client library panics over a header's name that is not UTF-8.
    let read = catch_unwind(AssertUnwindSafe(|| try_read(message, limits)));
    let problem = match read {
        Ok(Ok(read)) => return read,
        Ok(Err(problem)) => problem,
        Err(_) => "a header's name is not UTF-8".into(),
    };
    let source = format!("/kafka/{}/{}", message.topic(), message.partition());
    let bytes = Bytes::copy_from_slice(message.payload().unwrap_or_default());
    let draft = undecodable(&source, &message.offset().to_string(), bytes);
    Read { draft, problem: Some(problem), envelope: None }
}

fn try_read(message: &BorrowedMessage<'_>, limits: &Limits) -> Result<Read, Box<str>> {
    let mut headers: SmallVec<[kafka::Header<'_>; 24]> = SmallVec::new();
    let mut envelope = None;
    for header in message.headers().into_iter().flat_map(|headers| headers.iter()) {
        let value = header.value.unwrap_or_default();
        if header.key == ENVELOPE {
            envelope = Some(Bytes::copy_from_slice(value));
        } else {
            headers.push((header.key, value));
        }
    }
    let value = message.payload().map(Bytes::copy_from_slice);
    let draft = kafka::decode(&headers, value, limits)
        .map_err(|error| error.to_string().into_boxed_str())?;
    Ok(Read { draft, problem: None, envelope })
}
