//! One request and its answer on an open connection.
//!
//! Writing and reading go on together: a subscriber may answer, and close, before it has read a
//! large body, and one that answers slowly must not hold back the rest of the request.

use std::{
    cell::Cell,
    future::poll_fn,
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use smallvec::SmallVec;
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};

use super::{
    answer::Answer,
    chunked::{Decoder, Progress},
    error::{Phase, SendError},
    head::{Framing, Head, HeadFinder},
    stream::{Connection, Stream},
};

/// Room for an answer that a kept connection holds on to.
const READ_BUFFER: usize = 4 * 1024;
/// Least room to read into, so that one read empties the socket and the next one needs no call to
/// find that out.
const READ_MIN: usize = 1024;
/// Most interim answers before the final one.
const INTERIM_MAX: u8 = 16;

/// What is to be sent, and how much of the answer's body is wanted.
pub(super) struct Request<'a> {
    pub(super) prefix: &'a [u8],
    pub(super) head: &'a [&'a [u8]],
    pub(super) body: &'a [u8],
    pub(super) answer_max: usize,
}

/// An answer, and whether its connection may serve again.
pub(super) struct Exchanged {
    pub(super) answer: Answer,
    pub(super) can_keep: bool,
}

/// A failure, and whether the peer may not have seen the request at all.
pub(super) struct Failed {
    pub(super) error: SendError,
    /// The connection ended before the first byte of an answer.
    pub(super) is_unanswered: bool,
}

/// Sends `request` and reads its answer. When it fails or is dropped half way, the connection must
/// not be used again.
pub(super) async fn exchange(
    connection: &mut Connection,
    request: &Request<'_>,
    phase: &Cell<Phase>,
) -> Result<Exchanged, Failed> {
    let mut slices: SmallVec<[IoSlice<'_>; 6]> = SmallVec::new();
    slices.push(IoSlice::new(request.prefix));
    slices.extend(request.head.iter().map(|part| IoSlice::new(part)));
    slices.push(IoSlice::new(request.body));
    phase.set(Phase::Write);
    let mut wire = Wire {
        stream: &mut connection.stream,
        unsent: &mut slices,
        sending: Sending::Going,
        has_received: false,
        phase,
    };
    wire.answer(&mut connection.buffer, request.answer_max).await.map_err(|error| Failed {
        is_unanswered: !wire.has_received && matches!(error, SendError::Closed { .. }),
        error,
    })
}

/// A connection in the middle of an exchange.
struct Wire<'a, 'b> {
    stream: &'a mut Stream,
    unsent: &'a mut [IoSlice<'b>],
    sending: Sending,
    has_received: bool,
    phase: &'a Cell<Phase>,
}

enum Sending {
    Going,
    Done,
    /// The peer takes no more; it may have answered all the same.
    Failed(io::Error),
}

impl Wire<'_, '_> {
    async fn answer(
        &mut self,
        buffer: &mut BytesMut,
        answer_max: usize,
    ) -> Result<Exchanged, SendError> {
        let head = self.head(buffer).await?;
        let mut lines = buffer.split_to(head.len).freeze();
        lines.advance(head.status_line_len);
        if head.len > READ_BUFFER {
            *buffer = BytesMut::from(&**buffer);
        }
        self.phase.set(Phase::Body);
        let (body, truncated) = match head.framing {
            Framing::Length(0) => (Bytes::new(), false),
            Framing::Length(length) => self.sized(buffer, length, answer_max).await?,
            Framing::Chunked => self.chunked(buffer, answer_max).await?,
            Framing::Close => self.until_close(buffer, answer_max).await?,
        };
        if (200..300).contains(&head.status) {
            // Success is for the whole event: the subscriber gets the rest if it takes it.
            self.phase.set(Phase::Write);
            poll_fn(|cx| self.poll_send(cx)).await;
        }
        let can_keep = head.keep_alive
            && head.framing != Framing::Close
            && !truncated
            && buffer.is_empty()
            && matches!(self.sending, Sending::Done);
        Ok(Exchanged { answer: Answer::new(head.status, lines, body, truncated), can_keep })
    }

    /// Reads up to the end of the final answer's head, and takes interim ones out of `buffer`.
    async fn head(&mut self, buffer: &mut BytesMut) -> Result<Head, SendError> {
        let mut finder = HeadFinder::default();
        let mut interim = 0;
        loop {
            let found = if buffer.is_empty() { None } else { finder.find(buffer)? };
            match found {
                None => {
                    if self.read(buffer, usize::MAX).await? == 0 {
                        return Err(self.lost(None));
                    }
                }
                Some(head) if head.status >= 200 => return Ok(head),
                Some(_) if interim == INTERIM_MAX => {
                    return Err(SendError::Malformed("more than 16 interim answers"));
                }
                Some(head) => {
                    buffer.advance(head.len);
                    finder = HeadFinder::default();
                    interim += 1;
                }
            }
        }
    }

    /// A body of `length` bytes; also whether it is cut at `max`.
    async fn sized(
        &mut self,
        buffer: &mut BytesMut,
        length: u64,
        max: usize,
    ) -> Result<(Bytes, bool), SendError> {
        let wanted = usize::try_from(length).unwrap_or(usize::MAX).min(max);
        let mut body = BytesMut::from(buffer.get(..wanted).unwrap_or(buffer));
        buffer.advance(body.len());
        while body.len() < wanted {
            let left = wanted - body.len();
            if self.read(&mut body, left).await? == 0 {
                return Err(self.lost(None));
            }
        }
        Ok((body.freeze(), (wanted as u64) < length))
    }

    /// A body in chunks; also whether it is cut at `max`.
    async fn chunked(
        &mut self,
        buffer: &mut BytesMut,
        max: usize,
    ) -> Result<(Bytes, bool), SendError> {
        let (mut decoder, mut body) = (Decoder::new(), BytesMut::new());
        loop {
            match decoder.decode(buffer, &mut body, max)? {
                Progress::Complete => return Ok((body.freeze(), false)),
                Progress::Full => return Ok((body.freeze(), true)),
                Progress::Partial => {
                    if self.read(buffer, usize::MAX).await? == 0 {
                        return Err(self.lost(None));
                    }
                }
            }
        }
    }

    /// A body that ends with the connection; also whether it is cut at `max`.
    async fn until_close(
        &mut self,
        buffer: &mut BytesMut,
        max: usize,
    ) -> Result<(Bytes, bool), SendError> {
        let mut body = buffer.split();
        // One byte more tells a body of `max` bytes from one that goes on.
        let enough = max.saturating_add(1);
        while body.len() < enough {
            let left = enough - body.len();
            if self.read(&mut body, left).await? == 0 {
                break;
            }
        }
        let truncated = body.len() > max;
        body.truncate(max);
        Ok((body.freeze(), truncated))
    }

    /// Reads up to `max` bytes to the end of `into`, and goes on sending meanwhile. Returns how
    /// many there were; zero when the peer has closed.
    async fn read(&mut self, into: &mut BytesMut, max: usize) -> Result<usize, SendError> {
        if into.capacity() - into.len() < READ_MIN.min(max) {
            into.reserve(into.len().max(READ_BUFFER).min(max));
        }
        let result = poll_fn(|cx| {
            // Progress shows in `sending`; reading goes on whether there was any or not.
            let _progress = self.poll_send(cx);
            pin!(self.stream.read_buf(&mut (&mut *into).limit(max))).poll(cx)
        });
        match result.await {
            Ok(len) => {
                self.has_received |= len > 0;
                Ok(len)
            }
            // TLS closed without a farewell, as many servers do: no worse than a TCP that closes,
            // and where the length is known, a body that is cut is noticed.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            Err(error) => Err(self.lost(Some(error))),
        }
    }

    /// Ready when nothing more will be sent: all of it was, or it failed.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while matches!(self.sending, Sending::Going) {
            let result = if self.unsent.is_empty() {
                Pin::new(&mut *self.stream).poll_flush(cx).map_ok(|()| None)
            } else {
                Pin::new(&mut *self.stream).poll_write_vectored(cx, self.unsent).map_ok(Some)
            };
            match result {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(None)) => {
                    self.sending = Sending::Done;
                    if self.phase.get() == Phase::Write {
                        self.phase.set(Phase::Head);
                    }
                }
                Poll::Ready(Ok(Some(0))) => {
                    self.sending = Sending::Failed(io::ErrorKind::WriteZero.into());
                }
                Poll::Ready(Ok(Some(len))) => IoSlice::advance_slices(&mut self.unsent, len),
                Poll::Ready(Err(error)) => self.sending = Sending::Failed(error),
            }
        }
        Poll::Ready(())
    }

    /// The connection ended too early; a failed write says more about it than the end of reading.
    fn lost(&self, read: Option<io::Error>) -> SendError {
        let reason = match (&self.sending, read) {
            (Sending::Failed(error), _) => error.to_string(),
            (Sending::Going | Sending::Done, Some(error)) => error.to_string(),
            (Sending::Going | Sending::Done, None) => "closed by the peer".to_owned(),
        };
        SendError::Closed { phase: self.phase.get(), reason: reason.into() }
    }
}
