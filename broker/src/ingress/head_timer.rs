//! A socket that gives up on a request head that does not come to an end.
//!
//! hyper has one timer for an idle connection and an unfinished head; the two deserve different
//! patience. This one runs from the first byte of a head until the request is handed over.

use std::{
    cell::Cell,
    future::Future,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// Where a connection is in the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Between two requests.
    Idle,
    /// Part of a head has come.
    Head,
    /// A request is being worked on, its body read with it.
    Busy,
}

/// The connection's phase, shared with the service that knows when a request begins and ends.
#[derive(Clone, Debug)]
pub(super) struct Exchange(Rc<Cell<Phase>>);

impl Exchange {
    pub(super) fn new() -> Self {
        Self(Rc::new(Cell::new(Phase::Idle)))
    }

    /// The head is whole.
    pub(super) fn begin(&self) {
        self.0.set(Phase::Busy);
    }

    /// The response is decided.
    pub(super) fn end(&self) {
        self.0.set(Phase::Idle);
    }
}

/// A stream with the timer on its heads.
#[derive(Debug)]
pub(super) struct HeadTimer<S> {
    stream: S,
    exchange: Exchange,
    patience: Duration,
    /// Made only for a head that does not come at once.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S> HeadTimer<S> {
    pub(super) fn new(stream: S, exchange: Exchange, patience: Duration) -> Self {
        Self { stream, exchange, patience, timer: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadTimer<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let phase = self.exchange.0.get();
        if read.is_ready() {
            if phase == Phase::Idle && buf.filled().len() > before {
                self.exchange.0.set(Phase::Head);
            }
            if phase == Phase::Busy {
                self.timer = None;
            }
            return read;
        }
        if phase != Phase::Head {
            self.timer = None;
            return Poll::Pending;
        }
        let patience = self.patience;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(patience)));
        match timer.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadTimer<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_end_is_given_up() {
        let (mut client, server) = duplex(64);
        let exchange = Exchange::new();
        let mut server = HeadTimer::new(server, exchange.clone(), Duration::from_secs(10));
        let mut byte = [0];
        client.write_all(b"P").await.unwrap();
        server.read_exact(&mut byte).await.unwrap();
        let error = server.read_exact(&mut byte).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_and_an_idle_connection_have_timers_of_their_own() {
        let (mut client, server) = duplex(64);
        let exchange = Exchange::new();
        let mut server = HeadTimer::new(server, exchange.clone(), Duration::from_secs(10));
        let mut byte = [0];
        client.write_all(b"P").await.unwrap();
        server.read_exact(&mut byte).await.unwrap();
        exchange.begin();
        let minute = Duration::from_secs(60);
        assert!(tokio::time::timeout(minute, server.read_exact(&mut byte)).await.is_err());
        exchange.end();
        assert!(tokio::time::timeout(minute, server.read_exact(&mut byte)).await.is_err());
    }
}
