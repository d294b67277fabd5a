//! The connection of one channel: how it is made, how it is doing, and the tasks that live with it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_nats::{
    Client, ConnectErrorKind, Event,
    client::FlushErrorKind,
    jetstream::{self, context::ContextBuilder},
};
use tokio::{runtime::Handle, sync::watch, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

use crate::nats::{NatsSettings, OpenError, amount};

/// Oldest version of a server that will do.
const VERSION_MIN: (u32, u32, u32) = (2, 9, 0);
/// Oldest version with which replicas lose nothing.
const REPLICATED_VERSION_MIN: (u32, u32, u32) = (2, 10, 23);
/// Oldest version whose interval of writing to disk can be set.
const SYNC_VERSION_MIN: (u32, u32, u32) = (2, 10, 0);
/// Oldest version that forgets single messages after a time.
const MARKERS_VERSION_MIN: (u32, u32, u32) = (2, 11, 0);

/// A connection and what runs on it.
pub(super) struct Link {
    pub(super) client: Client,
    /// For events: at the limit of receipts it refuses.
    pub(super) publisher: jetstream::Context,
    /// For everything else: at the limit of receipts it waits.
    pub(super) jet: jetstream::Context,
    pub(super) state: Arc<LinkState>,
    pub(super) runtime: Handle,
    pub(super) tasks: TaskTracker,
    /// Nothing new is lent or published.
    pub(super) closing: CancellationToken,
    /// What was settled is to be written down now.
    pub(super) ending: CancellationToken,
    /// Every task ends.
    pub(super) stop: CancellationToken,
    version: (u32, u32, u32),
    timeout: Duration,
}

impl Link {
    /// Connects. To be called on `runtime`, where the client's tasks stay.
    pub(super) async fn open(
        settings: &NatsSettings,
        replicas: usize,
        runtime: Handle,
    ) -> Result<Self, OpenError> {
        if let Some(problem) = settings.problems().into_iter().next() {
            return Err(problem.into());
        }
        let url = settings.url.clone();
        let state = Arc::new(LinkState::new(url.clone()));
        let told = Arc::clone(&state);
        let options = settings.options().await?.event_callback(move |event| {
            told.tell(&event);
            std::future::ready(())
        });
        let addresses =
            settings.addresses().map_err(|rule| crate::Invalid::new("nats.url", rule))?;
        let client = options.connect(addresses).await.map_err(|error| {
            let reason = error.to_string();
            match error.kind() {
                ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                    OpenError::Unauthorized { url: url.clone(), reason }
                }
                _ => OpenError::Unreachable { url: url.clone(), reason },
            }
        })?;
        state.change(|now| now.is_connected = true);
        let found = client.server_info().version;
        let version = check_version(&url, &found, replicas)?;
        let timeout = settings.publish_timeout();
        let publisher = ContextBuilder::new()
            .timeout(timeout)
            .max_ack_inflight(settings.publish_window_max)
            .backpressure_on_inflight(false)
            .build(client.clone());
        let jet = ContextBuilder::new()
            .timeout(timeout)
            .max_ack_inflight(settings.publish_window_max)
            .backpressure_on_inflight(true)
            .build(client.clone());
        jet.query_account().await.map_err(|error| OpenError::NoJetStream {
            url: url.clone(),
            reason: error.to_string(),
        })?;
        Ok(Self {
            client,
            publisher,
            jet,
            state,
            runtime,
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            ending: CancellationToken::new(),
            stop: CancellationToken::new(),
            version,
            timeout,
        })
    }

    /// Starts a task that [`Link::stop`] must end.
    pub(super) fn start(&self, task: impl Future<Output = ()> + Send + 'static) {
        // Nobody needs the handle: the tracker awaits the task.
        drop(self.tasks.spawn_on(task, &self.runtime));
    }

    /// Looks whether the client itself has ended, which nothing else says: a panic of its task over
    /// what a server sent, for instance.
    pub(super) async fn check_client(&self) {
        let flushed = timeout(self.timeout, self.client.flush()).await;
        if matches!(flushed, Ok(Err(error)) if error.kind() == FlushErrorKind::SendError) {
            self.state.end();
        }
    }

    /// Longest wait for an answer.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Whether notes that say that something is gone can go themselves after a time.
    pub(super) fn has_markers(&self) -> bool {
        self.version >= MARKERS_VERSION_MIN
    }
}

fn check_version(url: &str, found: &str, replicas: usize) -> Result<(u32, u32, u32), OpenError> {
    let too_old = |needed, reason| OpenError::TooOld {
        url: url.to_owned(),
        found: found.to_owned(),
        needed,
        reason,
    };
    let version = amount::version(found).unwrap_or_default();
    if version < VERSION_MIN {
        return Err(too_old("2.9.0", "older servers lack what the channel is made of"));
    }
    if replicas > 1 && version < REPLICATED_VERSION_MIN {
        return Err(too_old("2.10.23", "with replicas, older servers lose events"));
    }
    if version < SYNC_VERSION_MIN {
        warn!(version = found, "this server writes to disk every 60 s, which cannot be changed");
    }
    Ok(version)
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("state", &self.state).finish_non_exhaustive()
    }
}

/// How a connection is doing.
#[derive(Debug)]
pub(super) struct LinkState {
    url: String,
    now: Mutex<Now>,
    /// Connections made so far: requests of a former one are forgotten by the server.
    connections: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Now {
    is_connected: bool,
    /// The client will not come back.
    has_ended: bool,
    last_error: Option<String>,
    /// What is wrong with a stream or consumer, by what it is.
    problems: BTreeMap<String, String>,
}

impl LinkState {
    fn new(url: String) -> Self {
        Self { url, now: Mutex::default(), connections: watch::Sender::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Now)) {
        change(&mut self.lock());
    }

    /// What the client says of itself.
    fn tell(&self, event: &Event) {
        match event {
            Event::Connected => {
                info!(url = self.url, "connected to NATS");
                self.change(|now| (now.is_connected, now.last_error) = (true, None));
                self.connections.send_modify(|connections| *connections += 1);
            }
            Event::Disconnected | Event::Closed => {
                if self.is_connected() {
                    warn!(url = self.url, "the connection to NATS is lost");
                }
                self.change(|now| now.is_connected = false);
            }
            Event::ServerError(_) | Event::ClientError(_) => {
                self.change(|now| now.last_error = Some(event.to_string()));
            }
            Event::LameDuckMode | Event::Draining => info!(%event, "NATS moves its clients on"),
            Event::SlowConsumer(_) => {
                warn!(%event, "messages came faster than they were read; they will come again");
            }
        }
    }

    /// The client has ended and will not come back.
    fn end(&self) {
        if self.is_connected() {
            error!(url = self.url, "the client of NATS has ended");
        }
        let told = "the client has ended, and the channel must be opened again";
        self.change(|now| {
            (now.is_connected, now.has_ended) = (false, true);
            now.last_error = Some(told.into());
        });
    }

    /// The connection is about to be closed by us.
    pub(super) fn let_go(&self) {
        self.change(|now| now.is_connected = false);
    }

    /// Tells of every further connection.
    pub(super) fn connections(&self) -> watch::Receiver<u64> {
        self.connections.subscribe()
    }

    pub(super) fn is_connected(&self) -> bool {
        self.lock().is_connected
    }

    /// Says what is wrong with something, or that nothing is any more. Logs only what changes.
    pub(super) fn set_problem(&self, what: &str, problem: Option<String>) {
        let mut now = self.lock();
        match problem {
            None => drop(now.problems.remove(what)),
            Some(problem) => {
                if now.problems.get(what) != Some(&problem) {
                    warn!(problem, "the channel needs somebody to look");
                    now.problems.insert(what.to_owned(), problem);
                }
            }
        }
    }

    /// What ended the client for good, if something did.
    pub(super) fn failure(&self) -> Option<String> {
        let now = self.lock();
        now.last_error.clone().filter(|_| now.has_ended)
    }

    /// Why the channel cannot be used, in one line.
    pub(super) fn health(&self) -> Result<(), String> {
        let now = self.lock();
        if !now.is_connected {
            let reason = now.last_error.as_deref().unwrap_or("the connection is lost");
            return Err(format!("NATS at {} cannot be reached: {reason}", self.url));
        }
        now.problems.values().next().map_or(Ok(()), |problem| Err(problem.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_lose_events_are_refused() {
        for (version, replicas, is_taken) in [
            ("2.8.4", 1, false),
            ("2.9.10", 1, true),
            ("2.10.22", 3, false),
            ("2.10.22", 1, true),
            ("2.10.23", 3, true),
            ("2.12.1", 3, true),
            ("unheard of", 1, false),
        ] {
            assert_eq!(check_version("nats://x", version, replicas).is_ok(), is_taken, "{version}");
        }
    }

    #[test]
    fn health_follows_the_connection_and_what_is_wrong() {
        let state = LinkState::new("nats://x:1".into());
        state.tell(&Event::Connected);
        assert_eq!(state.health(), Ok(()));
        state.set_problem("stream", Some("bad".into()));
        assert_eq!(state.health(), Err("bad".into()));
        state.tell(&Event::Disconnected);
        assert!(state.health().unwrap_err().starts_with("NATS at nats://x:1 cannot be reached"));
        state.tell(&Event::Connected);
        state.set_problem("stream", None);
        assert_eq!(state.health(), Ok(()));
    }
}
