//! A worker's client: takes a connection, sends, keeps the connection.

use std::{cell::Cell, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{
    answer::Answer,
    connect::connect,
    endpoint::Endpoint,
    error::{Phase, SendError},
    exchange::{Request, exchange},
    pool::{HostPool, Pool},
    stream::Connection,
};

/// Bounds of a [`Client`]. The defaults are those of the field docs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// Connections to one host (name, port and trust) at a time, for this client alone: a process
    /// divides its bound by its workers. Senders beyond wait for one to come free, first come,
    /// first served; how many may wait is the caller's to bound. Default 128.
    pub connections_per_host: usize,
    /// Unused connections kept to all hosts together; one more is closed. Default 1,024.
    pub idle_max: usize,
    /// How long a connection is kept since the start of its last request. Default 90 s.
    pub idle_timeout: Duration,
    /// How long a connection is used since it was opened, so that moved names and changed policies
    /// take effect. Default 5 min.
    pub age_max: Duration,
    /// Longest wait for TCP, over all addresses of a name. Default 2 s.
    pub connect_timeout: Duration,
    /// Head start of one address of a name over the next. Default 250 ms.
    pub connect_stagger: Duration,
    /// Longest TLS handshake. Default 3 s.
    pub tls_timeout: Duration,
    /// How long the addresses of a name are believed. Default 5 s.
    pub name_ttl: Duration,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            connections_per_host: 128,
            idle_max: 1024,
            idle_timeout: Duration::from_secs(90),
            age_max: Duration::from_secs(300),
            connect_timeout: Duration::from_secs(2),
            connect_stagger: Duration::from_millis(250),
            tls_timeout: Duration::from_secs(3),
            name_ttl: Duration::from_secs(5),
        }
    }
}

/// What a client has done since it was made, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientCounters {
    /// Connections opened, TLS included.
    pub opened: u64,
    /// Requests sent on a kept connection.
    pub reused: u64,
    /// Of those, sent again on a fresh one because the peer had closed the kept one.
    pub resent: u64,
    /// Requests that waited because all connections to their host were in use.
    pub waited: u64,
    /// Connections closed after use because [`ClientSettings::idle_max`] were kept already.
    pub surplus: u64,
    /// Connections kept now.
    pub idle: usize,
}

impl ClientCounters {
    /// Adds what another client has done.
    pub fn add(&mut self, other: &Self) {
        self.opened += other.opened;
        self.reused += other.reused;
        self.resent += other.resent;
        self.waited += other.waited;
        self.surplus += other.surplus;
        self.idle += other.idle;
    }
}

/// Sends requests and keeps their connections. Belongs to one thread; requests of many tasks may be
/// in flight at a time.
#[derive(Debug, Default)]
pub struct Client {
    settings: ClientSettings,
    pool: Pool,
    counters: Cell<ClientCounters>,
}

impl Client {
    /// A client without connections.
    pub fn new(settings: ClientSettings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Sends one request to `endpoint` and returns its answer, whatever its status.
    ///
    /// `head` is written after the endpoint's own lines, part after part, then `body`: together
    /// they are header lines with a `content-length` that is the body's, and an empty line. Of the
    /// answer's body up to `answer_max` bytes are read, all before `deadline`; zero asks for none,
    /// and a body that has more costs the connection.
    ///
    /// Dropping the future closes the connection; the event may or may not have arrived.
    ///
    /// # Errors
    ///
    /// [`SendError`], each worth another attempt. Only [`SendError::Dns`], [`SendError::Connect`]
    /// and [`SendError::Tls`] say for sure that the event did not arrive.
    pub async fn send(
        &self,
        endpoint: &Endpoint,
        head: &[&[u8]],
        body: &[u8],
        deadline: Instant,
        answer_max: usize,
    ) -> Result<Answer, SendError> {
        let request = Request { prefix: &endpoint.prefix, head, body, answer_max };
        let phase = Cell::new(Phase::Queue);
        let now = Instant::now();
        if deadline <= now {
            return Err(SendError::Timeout { phase: Phase::Queue });
        }
        let sent = timeout_at(deadline, self.send_on_any(endpoint, &request, now, &phase)).await;
        sent.unwrap_or_else(|_| Err(SendError::Timeout { phase: phase.get() }))
    }

    /// Closes connections that are too old at `now` or were closed by their peer, and forgets hosts
    /// that are not in use. To be called every second or so.
    pub fn expire(&self, now: Instant) {
        self.pool.expire(&self.settings, now);
    }

    /// The counters as they are now.
    pub fn counters(&self) -> ClientCounters {
        ClientCounters { idle: self.pool.idle(), ..self.counters.get() }
    }

    async fn send_on_any(
        &self,
        endpoint: &Endpoint,
        request: &Request<'_>,
        now: Instant,
        phase: &Cell<Phase>,
    ) -> Result<Answer, SendError> {
        let host = self.pool.host(&endpoint.origin, &self.settings);
        if host.is_full() {
            self.count(|counters| counters.waited += 1);
        }
        let _permit = host.permit().await;
        if let Some(mut kept) = self.pool.take(&host, &self.settings, now) {
            self.count(|counters| counters.reused += 1);
            match exchange(&mut kept, request, phase).await {
                Ok(done) => {
                    if done.can_keep {
                        self.keep(&host, kept, now);
                    }
                    return Ok(done.answer);
                }
                Err(failed) if failed.is_unanswered => {}
                Err(failed) => return Err(failed.error),
            }
            self.count(|counters| counters.resent += 1);
        }
        // On the heap, for it is rare: the future of a send on a kept connection stays small.
        Box::pin(self.send_on_fresh(endpoint, &host, request, phase)).await
    }

    async fn send_on_fresh(
        &self,
        endpoint: &Endpoint,
        host: &HostPool,
        request: &Request<'_>,
        phase: &Cell<Phase>,
    ) -> Result<Answer, SendError> {
        let mut fresh = connect(endpoint, &host.addresses, &self.settings, phase).await?;
        self.count(|counters| counters.opened += 1);
        let opened = fresh.opened;
        let done = exchange(&mut fresh, request, phase).await.map_err(|failed| failed.error)?;
        if done.can_keep {
            self.keep(host, fresh, opened);
        }
        Ok(done.answer)
    }

    fn keep(&self, host: &HostPool, connection: Connection, now: Instant) {
        if !self.pool.keep(host, &self.settings, connection, now) {
            self.count(|counters| counters.surplus += 1);
        }
    }

    fn count(&self, change: impl FnOnce(&mut ClientCounters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }
}
