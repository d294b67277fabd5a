//! Messages whose headers the client cannot read: found by asking for them in another form.
//!
//! The client gives a connection up over such a message, the server sends it again after the ack
//! wait, and so on for ever. So after a connection was lost, what was sent and is neither acknowledged
//! nor here is read through the API, where headers are base64. What the client can read is left to the consumer.

use std::sync::Arc;

use async_nats::{
    HeaderName, StatusCode, Subject,
    jetstream::{consumer, response::Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use tracing::warn;

use crate::{
    Beside, Budget, binding,
    nats::{
        desk::{Arrival, Ready},
        link::Link,
        names::LOG_CONSUMER,
        source::Source,
    },
};

/// Most messages that are read in one search.
const READ_MAX: usize = 1000;

const PROBLEM: &str = "its header block is not one of NATS";

#[derive(Deserialize)]
struct Answer {
    message: Stored,
}

/// A stored message as the API tells it.
#[derive(Deserialize)]
struct Stored {
    hdrs: Option<String>,
    data: Option<String>,
}

/// Lends the messages of a log that the client cannot read, as events that carry their bytes.
pub(super) async fn lend(
    link: &Link,
    source: &Source,
    budget: &Arc<Budget>,
    stream: &str,
    consumer: &consumer::Info,
) -> Result<(), async_nats::Error> {
    let sent = consumer.ack_floor.stream_sequence + 1..=consumer.delivered.stream_sequence;
    let unknown: Vec<u64> = {
        let desk = source.desk();
        sent.filter(|&sequence| desk.reply(sequence).is_none()).take(READ_MAX).collect()
    };
    for sequence in unknown {
        let request = json!({"seq": sequence});
        let answer = link.jet.request(format!("STREAM.MSG.GET.{stream}"), &request).await?;
        let stored = match answer {
            Response::Ok(Answer { message }) => message,
            // It is gone.
            Response::Err { .. } => continue,
        };
        let headers =
            stored.hdrs.map(|text| STANDARD.decode(text)).transpose()?.unwrap_or_default();
        if is_readable(&headers) {
            continue;
        }
        let mut bytes = headers;
        bytes
            .extend(stored.data.map(|text| STANDARD.decode(text)).transpose()?.unwrap_or_default());
        let mut draft = binding::undecodable(
            &format!("/nats/{stream}"),
            &sequence.to_string(),
            Bytes::from(bytes),
        );
        // Without memory it is found again later.
        let Some(charge) = budget.try_charge(draft.cost()) else { continue };
        draft.set_charge(charge);
        let event = draft.finish()?;
        let arrival = source.desk().arrive(sequence, address(stream, sequence), 0);
        if arrival == Some(Arrival::New) {
            warn!(stream, sequence, "a message that no client can read is lent as bytes");
            let beside = Some(Beside::Problem(PROBLEM.into()));
            let due_at = std::time::SystemTime::UNIX_EPOCH;
            source.offer(sequence, Ready { event, beside, redelivered: true, due_at });
        }
    }
    Ok(())
}

/// Where to acknowledge a message that we never had: the server goes by its sequence number alone.
fn address(stream: &str, sequence: u64) -> Subject {
    format!("$JS.ACK.{stream}.{LOG_CONSUMER}.1.{sequence}.1.0.0").into()
}

/// Whether the client can read a header block. It gives the connection up over those it cannot, or
/// ends in a panic over a stray carriage return.
fn is_readable(block: &[u8]) -> bool {
    if block.is_empty() {
        return true;
    }
    let Ok(text) = std::str::from_utf8(block) else { return false };
    let mut lines = text.lines();
    let Some(status) = lines.next().and_then(|first| first.strip_prefix("NATS/1.0")) else {
        return false;
    };
    let status = status.trim().split(' ').next().unwrap_or_default();
    if !status.is_empty() && status.parse::<StatusCode>().is_err() {
        return false;
    }
    lines.filter(|line| !line.is_empty()).all(|line| {
        let is_continued = line.starts_with(char::is_whitespace);
        let is_named =
            line.split_once(':').is_some_and(|(name, _)| name.parse::<HeaderName>().is_ok());
        (is_continued || is_named) && !line.trim().contains('\r')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_connection_is_recognised() {
        for (block, expected) in [
            (&b""[..], true),
            (b"NATS/1.0\r\n\r\n", true),
            (b"NATS/1.0\r\nce-id: 1\r\nx:\r\n\r\n", true),
            (b"NATS/1.0\r\nce-id: 1\r\n continued\r\n\r\n", true),
            (b"NATS/1.0 503\r\n\r\n", true),
            (b"NATS/1.0 what\r\n\r\n", false),
            (b"HTTP/1.1\r\n\r\n", false),
            (b"NATS/1.0\r\nno colon here\r\n\r\n", false),
            (b"NATS/1.0\r\nwith space: x\r\n\r\n", false),
            (b"NATS/1.0\r\nce-id: \xff\r\n\r\n", false),
            (b"NATS/1.0\r\nce-id: a\rb\r\n\r\n", false),
        ] {
            assert_eq!(is_readable(block), expected, "{}", String::from_utf8_lossy(block));
        }
    }
}
