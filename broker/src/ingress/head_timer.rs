//! A socket that gives up on a request head that does not come to an end.
//!
//! hyper has one timer for an idle connection and an unfinished head; the two deserve different
//! patience. This one runs from the first byte of a head until the request is handed over. hyper
//! has none at all before the first byte, for HTTP/2, and for a client that does not read.

use std::{
    cell::Cell,
    future::Future,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use http::Version;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use super::Bound;

/// Where a connection is in the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing has come yet.
    New,
    /// Between two requests.
    Idle,
    /// Part of a head has come.
    Head,
    /// A request is being worked on, its body read with it.
    Busy,
}

/// The connection's phase, shared with the service that knows when a request begins and ends.
#[derive(Clone, Debug)]
pub(super) struct Exchange(Rc<State>);

#[derive(Debug)]
struct State {
    phase: Cell<Phase>,
    /// Requests being worked on: more than one only with HTTP/2.
    open: Cell<usize>,
    /// With HTTP/2, when the last request ended: what comes between requests may be anything.
    shared_since: Cell<Option<Instant>>,
    /// The bound that the client was given up at.
    overdue: Cell<Option<Bound>>,
}

/// A request that is being worked on.
#[derive(Debug)]
pub(super) struct Underway(Rc<State>);

impl Exchange {
    pub(super) fn new() -> Self {
        let (phase, open) = (Cell::new(Phase::New), Cell::new(0));
        let (shared_since, overdue) = (Cell::new(None), Cell::new(None));
        Self(Rc::new(State { phase, open, shared_since, overdue }))
    }

    /// The bound that the client was given up at, if it was.
    pub(super) fn overdue(&self) -> Option<Bound> {
        self.0.overdue.get()
    }

    /// The head is whole. The response is decided when what it returns is dropped.
    pub(super) fn begin(&self, version: Version) -> Underway {
        let state = &self.0;
        state.phase.set(Phase::Busy);
        state.open.set(state.open.get() + 1);
        if version == Version::HTTP_2 {
            state.shared_since.set(Some(Instant::now()));
        }
        Underway(Rc::clone(state))
    }
}

impl State {
    /// Gives the client up.
    fn give_up<T>(&self, bound: Bound) -> io::Result<T> {
        self.overdue.set(Some(bound));
        Err(io::ErrorKind::TimedOut.into())
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        let state = &self.0;
        state.open.set(state.open.get() - 1);
        if state.open.get() == 0 {
            state.phase.set(Phase::Idle);
            if state.shared_since.get().is_some() {
                state.shared_since.set(Some(Instant::now()));
            }
        }
    }
}

/// A stream with the timer on its heads, and on a client that is silent or does not read.
#[derive(Debug)]
pub(super) struct HeadTimer<S> {
    stream: S,
    exchange: Exchange,
    head_timeout: Duration,
    idle_timeout: Duration,
    /// Made only for a head that does not come at once.
    timer: Option<Pin<Box<Sleep>>>,
    /// Made only when the client does not take what is written.
    write_timer: Option<Pin<Box<Sleep>>>,
}

impl<S> HeadTimer<S> {
    pub(super) fn new(
        stream: S,
        exchange: Exchange,
        head_timeout: Duration,
        idle_timeout: Duration,
    ) -> Self {
        Self { stream, exchange, head_timeout, idle_timeout, timer: None, write_timer: None }
    }

    /// Waits for bytes, as long as the phase allows.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = Rc::clone(&self.exchange.0);
        if let Some(since) = state.shared_since.get() {
            return self.wait_for_streams(cx, &state, since);
        }
        let (patience, bound) = match state.phase.get() {
            Phase::New => (self.idle_timeout, Bound::IdleTime),
            Phase::Head => (self.head_timeout, Bound::HeadTime),
            // hyper has a timer for an idle connection, and the body has its own.
            Phase::Idle | Phase::Busy => {
                self.timer = None;
                return Poll::Pending;
            }
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(patience)));
        timer.as_mut().poll(cx).map(|()| state.give_up(bound))
    }

    /// HTTP/2: only time without a request counts. The timer is left alone by requests that come
    /// and go, and looks again when it ends.
    fn wait_for_streams(
        &mut self,
        cx: &mut Context<'_>,
        state: &State,
        since: Instant,
    ) -> Poll<io::Result<()>> {
        let patience = self.idle_timeout;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(patience)));
        while timer.as_mut().poll(cx).is_ready() {
            let from = if state.open.get() > 0 { Instant::now() } else { since };
            if from.elapsed() >= patience {
                return Poll::Ready(state.give_up(Bound::IdleTime));
            }
            timer.as_mut().reset(from + patience);
        }
        Poll::Pending
    }

    /// Lets a write wait only so long.
    fn written(
        &mut self,
        cx: &mut Context<'_>,
        write: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if write.is_ready() {
            self.write_timer = None;
            return write;
        }
        let patience = self.idle_timeout;
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(sleep(patience)));
        timer.as_mut().poll(cx).map(|()| self.exchange.0.give_up(Bound::IdleTime))
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
        if read.is_pending() {
            return self.wait(cx);
        }
        let phase = &self.exchange.0.phase;
        if matches!(phase.get(), Phase::New | Phase::Idle) && buf.filled().len() > before {
            phase.set(Phase::Head);
            if self.exchange.0.shared_since.get().is_none() {
                self.timer = None;
            }
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadTimer<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, write)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(cx, write)
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn pair() -> (DuplexStream, HeadTimer<DuplexStream>, Exchange) {
        let (client, server) = duplex(64);
        let exchange = Exchange::new();
        let (head, idle) = (Duration::from_secs(10), Duration::from_secs(30));
        (client, HeadTimer::new(server, exchange.clone(), head, idle), exchange)
    }

    /// How long the server waits for a byte before it gives up, at most two minutes.
    async fn patience(server: &mut HeadTimer<DuplexStream>) -> Option<u64> {
        let start = Instant::now();
        let ended = tokio::time::timeout(MINUTE * 2, server.read_u8()).await.ok()?;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
        Some(start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_end_is_given_up() {
        let (mut client, mut server, exchange) = pair();
        client.write_all(b"P").await.unwrap();
        server.read_u8().await.unwrap();
        assert_eq!(patience(&mut server).await, Some(10));
        assert_eq!(exchange.overdue(), Some(Bound::HeadTime));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_says_anything_is_given_up() {
        let (_client, mut server, exchange) = pair();
        assert_eq!(patience(&mut server).await, Some(30));
        assert_eq!(exchange.overdue(), Some(Bound::IdleTime));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_and_an_idle_connection_have_timers_of_their_own() {
        let (mut client, mut server, exchange) = pair();
        client.write_all(b"P").await.unwrap();
        server.read_u8().await.unwrap();
        let underway = exchange.begin(Version::HTTP_11);
        assert_eq!(patience(&mut server).await, None);
        drop(underway);
        assert_eq!(patience(&mut server).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn each_head_has_the_whole_time() {
        let (mut client, mut server, exchange) = pair();
        client.write_all(b"P").await.unwrap();
        server.read_u8().await.unwrap();
        let nine = Duration::from_secs(9);
        assert!(tokio::time::timeout(nine, server.read_u8()).await.is_err());
        drop(exchange.begin(Version::HTTP_11));
        client.write_all(b"P").await.unwrap();
        server.read_u8().await.unwrap();
        assert_eq!(patience(&mut server).await, Some(10));
    }

    #[tokio::test(start_paused = true)]
    async fn frames_between_requests_are_no_head() {
        let (mut client, mut server, exchange) = pair();
        client.write_all(b"PP").await.unwrap();
        server.read_u8().await.unwrap();
        let long = exchange.begin(Version::HTTP_2);
        drop(exchange.begin(Version::HTTP_2));
        server.read_u8().await.unwrap();
        assert_eq!(patience(&mut server).await, None, "a stream is open");
        drop(long);
        let twenty = Duration::from_secs(20);
        assert!(tokio::time::timeout(twenty, server.read_u8()).await.is_err());
        client.write_all(b"P").await.unwrap();
        server.read_u8().await.unwrap();
        assert_eq!(patience(&mut server).await, Some(10), "30 s after the last stream");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_given_up() {
        let (_client, mut server, _exchange) = pair();
        let error = server.write_all(&[0; 100]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
