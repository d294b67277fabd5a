//! Request body -> bytes of their own, within size, time and rate.

use std::{
    pin::{Pin, pin},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use channel::{Charge, PublishError};
use futures_util::future::poll_immediate;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use super::Limits;

/// Memory is taken in steps of this size for a body of unknown length.
const STEP_BYTES: usize = 64 << 10;

/// How long a body may be slower than the least rate.
const RATE_GRACE: Duration = Duration::from_secs(5);

/// Why a body was not read.
#[derive(Debug)]
pub(super) enum BodyError {
    /// It is longer than a body may be.
    TooLarge,
    /// It took too long.
    TooLate,
    /// It came too slowly.
    TooSlow,
    /// It ended early or is not what its framing says.
    Broken(String),
    /// There is no memory for it.
    NoRoom(PublishError),
}

/// Reads a whole body into an allocation of its own, so that it never holds the connection's read
/// buffer. `charge` grows with what is read.
///
/// `room` takes memory, and says why there is none. Dropping the future gives everything back.
pub(super) async fn read<B>(
    body: B,
    room: &impl Fn(usize) -> Result<Charge, PublishError>,
    charge: &mut Charge,
    limits: &Limits,
) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    let hint = body.size_hint();
    if hint.lower() > limits.body_bytes_max as u64 {
        return Err(BodyError::TooLarge);
    }
    let expected = usize::try_from(hint.exact().unwrap_or_default()).unwrap_or_default();
    let mut body = pin!(body);
    let mut read = Read { bytes: BytesMut::new(), deadline: None };
    read.bytes.reserve(expected);
    while let Some(frame) = read.next(&mut body, limits).await? {
        let Ok(data) = frame.into_data() else { continue };
        let length = read.bytes.len() + data.len();
        if length > limits.body_bytes_max {
            return Err(BodyError::TooLarge);
        }
        if length > expected && length > read.bytes.capacity() {
            let steps = length.div_ceil(STEP_BYTES) * STEP_BYTES;
            if !charge.resize(charge.bytes().max(steps)) {
                // Says in the channel's own words which bound is reached and when to come back.
                return Err(match room(steps) {
                    Err(error) => BodyError::NoRoom(error),
                    Ok(_) => BodyError::Broken("memory ran out while it was read".to_owned()),
                });
            }
        }
        read.bytes.extend_from_slice(&data);
    }
    let spare = read.bytes.capacity() - read.bytes.len();
    if spare > read.bytes.len() / 4 {
        // It was read into room to grow, which nobody is charged for once it is an event.
        return Ok(Bytes::copy_from_slice(&read.bytes));
    }
    Ok(read.bytes.freeze())
}

struct Read {
    bytes: BytesMut,
    /// Start and end of the time for the body; set when it first has to be waited for.
    deadline: Option<(Instant, Instant)>,
}

impl Read {
    async fn next<B>(
        &mut self,
        body: &mut Pin<&mut B>,
        limits: &Limits,
    ) -> Result<Option<http_body::Frame<Bytes>>, BodyError>
    where
        B: Body<Data = Bytes>,
        B::Error: std::fmt::Display,
    {
        // Most bodies have arrived with their head: no timer for those.
        let frame = match poll_immediate(body.frame()).await {
            Some(frame) => frame,
            None => self.wait(body, limits).await?,
        };
        frame.transpose().map_err(|error| BodyError::Broken(error.to_string()))
    }

    async fn wait<B>(
        &mut self,
        body: &mut Pin<&mut B>,
        limits: &Limits,
    ) -> Result<Option<Result<http_body::Frame<Bytes>, B::Error>>, BodyError>
    where
        B: Body<Data = Bytes>,
    {
        let now = Instant::now();
        let (start, end) = *self.deadline.get_or_insert((now, now + limits.body_timeout));
        // What came so far pays for some time at the least rate.
        #[expect(clippy::cast_precision_loss, reason = "bodies are far below 52 bits")]
        let paid = self.bytes.len() as f64 / f64::from(limits.body_rate_min.max(1));
        let too_slow = start + RATE_GRACE.max(Duration::from_secs_f64(paid));
        match timeout_at(end.min(too_slow), body.frame()).await {
            Ok(frame) => Ok(frame),
            Err(_) if too_slow < end => Err(BodyError::TooSlow),
            Err(_) => Err(BodyError::TooLate),
        }
    }
}
