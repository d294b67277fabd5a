//! A broker's notes in a key-value bucket, which all its replicas share.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_nats::jetstream::{
    consumer::{DeliverPolicy, ReplayPolicy, push},
    kv::{self, Store},
    stream::StorageType,
};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::{
    select,
    sync::mpsc,
    time::{sleep, timeout},
};
use tracing::debug;

use crate::{
    Change, Ledger, PublishError, Watch, Work,
    nats::{NatsPlan, OpenError, link::Link, names::Names, plan::Storage},
};

/// Most changes that a watch has read and not told.
const CHANGES_MAX: usize = 256;
/// How long a note that another is gone stays, for replicas that are away.
const GONE_FOR: Duration = Duration::from_secs(3600);
/// Wait until a watch that broke is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// What the keys of this backend's own notes begin with: a ledger's users do not see them.
const OWN: &str = "=own/";

/// The notes of a broker.
pub(super) struct NatsLedger {
    link: Arc<Link>,
    store: Store,
}

impl NatsLedger {
    /// Opens the bucket, or makes it.
    pub(super) async fn open(
        link: &Arc<Link>,
        names: &Names,
        plan: &NatsPlan,
    ) -> Result<Arc<Self>, OpenError> {
        let bucket = names.bucket();
        let refused =
            |reason: String| OpenError::Refused { what: format!("bucket {bucket}"), reason };
        let store = match link.jet.get_key_value(&bucket).await {
            Ok(store) => store,
            Err(_missing) => {
                let config = kv::Config {
                    bucket: bucket.clone(),
                    description: "notes of a broker".into(),
                    max_value_size: -1,
                    history: 1,
                    max_bytes: -1,
                    storage: match plan.storage {
                        Storage::File => StorageType::File,
                        Storage::Memory => StorageType::Memory,
                    },
                    num_replicas: plan.replicas,
                    limit_markers: link.has_markers().then_some(GONE_FOR),
                    ..kv::Config::default()
                };
                link.jet.create_key_value(config).await.map_err(|e| refused(e.to_string()))?
            }
        };
        Ok(Arc::new(Self { link: Arc::clone(link), store }))
    }

    /// A note of this backend's own.
    pub(super) async fn own(&self, key: &str) -> Result<Option<Bytes>, PublishError> {
        let read = self.store.get(format!("{OWN}{}", encode(key)));
        match timeout(self.link.timeout(), read).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(down(&error)),
            Err(_late) => Err(down(&"the server did not answer in time")),
        }
    }

    /// Writes a note of this backend's own.
    pub(super) fn put_own(&self, key: &str, value: Bytes) -> Work<Result<(), PublishError>> {
        self.put_raw(format!("{OWN}{}", encode(key)), value)
    }

    /// Takes a note of this backend's own away.
    pub(super) fn remove_own(&self, key: &str) -> Work<Result<(), PublishError>> {
        self.remove_raw(format!("{OWN}{}", encode(key)))
    }

    fn put_raw(&self, key: String, value: Bytes) -> Work<Result<(), PublishError>> {
        let (store, link) = (self.store.clone(), Arc::clone(&self.link));
        Box::pin(async move {
            if !link.state.is_connected() {
                return Err(down(&"the connection is lost"));
            }
            store.put(key, value).await.map(drop).map_err(|error| match error.kind() {
                kv::PutErrorKind::InvalidKey => down(&error),
                _ => unknown(&error),
            })
        })
    }

    fn remove_raw(&self, key: String) -> Work<Result<(), PublishError>> {
        let (store, link) = (self.store.clone(), Arc::clone(&self.link));
        Box::pin(async move {
            if !link.state.is_connected() {
                return Err(down(&"the connection is lost"));
            }
            let removed = if link.has_markers() {
                store.purge_with_ttl(key, GONE_FOR).await
            } else {
                store.purge(key).await
            };
            removed.map_err(|error| unknown(&error))
        })
    }
}

fn down(reason: &impl fmt::Display) -> PublishError {
    PublishError::Down { reason: reason.to_string() }
}

fn unknown(reason: &impl fmt::Display) -> PublishError {
    PublishError::Unknown { reason: reason.to_string() }
}

impl Ledger for NatsLedger {
    fn is_shared(&self) -> bool {
        true
    }

    fn put(&self, key: &str, value: Bytes) -> Work<Result<(), PublishError>> {
        self.put_raw(encode(key), value)
    }

    fn remove(&self, key: &str) -> Work<Result<(), PublishError>> {
        self.remove_raw(encode(key))
    }

    fn watch(&self) -> Box<dyn Watch> {
        let (told, changes) = mpsc::channel(CHANGES_MAX);
        let (link, store) = (Arc::clone(&self.link), self.store.clone());
        self.link.start(watch(link, store, told));
        Box::new(NatsWatch(changes))
    }
}

impl fmt::Debug for NatsLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsLedger").field("bucket", &self.store.name).finish_non_exhaustive()
    }
}

/// Changes that a task reads.
struct NatsWatch(mpsc::Receiver<Change>);

impl Watch for NatsWatch {
    fn poll_change(&mut self, cx: &mut Context<'_>) -> Poll<Option<Change>> {
        self.0.poll_recv(cx)
    }
}

/// Tells everything, then that this was all, then every change; and when the server was away,
/// everything again. Ends when nobody listens, or the channel ends.
async fn watch(link: Arc<Link>, store: Store, told: mpsc::Sender<Change>) {
    let mut is_loaded = false;
    loop {
        select! {
            biased;
            () = link.closing.cancelled() => return,
            () = told.closed() => return,
            end = follow(&link, &store, &told, &mut is_loaded) => match end {
                Ok(()) => return,
                Err(error) => debug!(error = %error, "a watch of notes is tried again"),
            },
        }
        select! {
            biased;
            () = link.closing.cancelled() => return,
            () = told.closed() => return,
            () = sleep(AGAIN_AFTER) => {}
        }
    }
}

/// Follows the bucket until nobody listens (`Ok`) or the server is lost (`Err`).
async fn follow(
    link: &Link,
    store: &Store,
    told: &mpsc::Sender<Change>,
    is_loaded: &mut bool,
) -> Result<(), async_nats::Error> {
    let config = push::OrderedConfig {
        deliver_subject: link.client.new_inbox(),
        description: Some("a watch of notes".into()),
        filter_subject: format!("{}>", store.prefix),
        replay_policy: ReplayPolicy::Instant,
        deliver_policy: DeliverPolicy::LastPerSubject,
        ..push::OrderedConfig::default()
    };
    let consumer = store.stream.create_consumer(config).await?;
    let mut left = consumer.cached_info().num_pending;
    let mut messages = consumer.messages().await?;
    loop {
        if left == 0 && !std::mem::replace(is_loaded, true) && !tell(told, Change::Loaded).await {
            return Ok(());
        }
        let Some(message) = messages.next().await else { return Err("the watch ended".into()) };
        let message = message?;
        left = left.saturating_sub(1);
        let Some(key) = message.subject.strip_prefix(store.prefix.as_str()).and_then(decode) else {
            continue;
        };
        let operation = message.headers.as_ref().and_then(|headers| headers.get("KV-Operation"));
        let change = match operation.map(|operation| operation.as_str()) {
            Some("DEL" | "PURGE") => Change::Removed { key },
            // The server's own sign that a note is gone by its age.
            None if message
                .headers
                .as_ref()
                .is_some_and(|h| h.get("Nats-Marker-Reason").is_some()) =>
            {
                Change::Removed { key }
            }
            _ => Change::Put { key, value: message.payload.clone() },
        };
        if !tell(told, change).await {
            return Ok(());
        }
    }
}

async fn tell(told: &mpsc::Sender<Change>, change: Change) -> bool {
    told.send(change).await.is_ok()
}

/// A key as one token of a subject: buckets take `=` and our keys have none.
fn encode(key: &str) -> String {
    key.replace('.', "=d")
}

/// The key of a token, or `None` of this backend's own notes.
fn decode(token: &str) -> Option<String> {
    (!token.starts_with(OWN)).then(|| token.replace("=d", "."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_one_token_and_come_back() {
        for key in ["dead/1", "a..b/c.d-e", "paused/ns/a.trigger"] {
            let token = encode(key);
            assert!(!token.contains('.'));
            assert_eq!(decode(&token).as_deref(), Some(key));
        }
        assert_eq!(decode(&format!("{OWN}amend")), None);
    }
}
