//! What sources keep over restarts: short notes by key, in a channel's ledger.

use std::{
    collections::BTreeMap,
    fmt,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use channel::{Change, Ledger, PublishError, Watch};
use sha2::{Digest as _, Sha256};
use tokio::select;
use tokio_util::sync::CancellationToken;

/// Longest key that a ledger takes.
const KEY_LENGTH_MAX: usize = 200;

/// Why the notes could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotesError {
    /// The ledger ended before it told everything.
    #[error("the channel ended before its notes were read")]
    Ended,
    /// The process stops.
    #[error("the process stops")]
    Stopped,
}

/// Short notes by key. Clones share them.
///
/// Without a ledger, as with channels in memory, they last as long as the process.
#[derive(Clone, Default)]
pub struct Notes {
    ledger: Option<Arc<dyn Ledger>>,
    known: Arc<Mutex<BTreeMap<String, Bytes>>>,
}

impl fmt::Debug for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notes").field("is_durable", &self.ledger.is_some()).finish_non_exhaustive()
    }
}

impl Notes {
    /// Reads everything that `ledger` holds. The watch that is returned must go to
    /// [`Notes::follow`], when there is one.
    ///
    /// # Errors
    ///
    /// When the ledger ends or `stop` fires first.
    pub async fn open(
        ledger: Option<Arc<dyn Ledger>>,
        stop: &CancellationToken,
    ) -> Result<(Self, Option<Box<dyn Watch>>), NotesError> {
        let notes = Self { ledger, known: Arc::default() };
        let Some(ledger) = &notes.ledger else { return Ok((notes, None)) };
        let mut watch = ledger.watch();
        loop {
            let change = select! {
                biased;
                () = stop.cancelled() => return Err(NotesError::Stopped),
                change = poll_fn(|cx| watch.poll_change(cx)) => change,
            };
            match change {
                Some(Change::Loaded) => return Ok((notes, Some(watch))),
                Some(change) => notes.learn(change),
                None => return Err(NotesError::Ended),
            }
        }
    }

    /// Learns what other processes note, until the ledger ends or `stop` fires.
    pub async fn follow(&self, mut watch: Box<dyn Watch>, stop: CancellationToken) {
        loop {
            let change = select! {
                biased;
                () = stop.cancelled() => return,
                change = poll_fn(|cx| watch.poll_change(cx)) => change,
            };
            match change {
                Some(change) => self.learn(change),
                None => return,
            }
        }
    }

    /// What was noted under `key`.
    pub fn get(&self, key: &str) -> Option<Bytes> {
        self.known().get(key).cloned()
    }

    /// Everything noted under keys that begin with `prefix`.
    pub fn under(&self, prefix: &str) -> Vec<(String, Bytes)> {
        let known = self.known();
        let from = known.range(prefix.to_owned()..);
        from.take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// Notes something, in place of what was under that key. Resolves when it is stored.
    ///
    /// # Errors
    ///
    /// When the ledger cannot store it; it is known to this process all the same.
    pub async fn put(&self, key: &str, value: impl Into<Bytes>) -> Result<(), PublishError> {
        let value = value.into();
        self.known().insert(key.to_owned(), value.clone());
        match &self.ledger {
            Some(ledger) => ledger.put(key, value).await,
            None => Ok(()),
        }
    }

    /// Forgets a note; one that is not there is no error.
    ///
    /// # Errors
    ///
    /// When the ledger cannot forget it; this process has forgotten it all the same.
    pub async fn remove(&self, key: &str) -> Result<(), PublishError> {
        let was_known = self.known().remove(key).is_some();
        match &self.ledger {
            Some(ledger) if was_known => ledger.remove(key).await,
            _ => Ok(()),
        }
    }

    fn learn(&self, change: Change) {
        match change {
            Change::Put { key, value } => {
                self.known().insert(key, value);
            }
            Change::Removed { key } => {
                self.known().remove(&key);
            }
            Change::Loaded => {}
        }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `prefix/namespace/name`, as a ledger takes it: a name that is too long stands there as its hash.
pub(crate) fn key_of(prefix: &str, name: &channel::Name) -> String {
    let plain = format!("{prefix}/{name}");
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let fits = plain.len() <= KEY_LENGTH_MAX / 2
        && plain.bytes().all(|byte| is_plain(byte) || b"./-".contains(&byte))
        && plain.ends_with(|last: char| last.is_ascii_alphanumeric());
    if fits {
        plain
    } else {
        format!("{prefix}/{}", fingerprint(&[&name.namespace, &name.name], 16))
    }
}

/// A name of `bytes` bytes for what the parts say together, in hexadecimal.
pub(crate) fn fingerprint(parts: &[&str], bytes: usize) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.finalize().iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use channel::Name;

    use super::*;

    #[tokio::test]
    async fn notes_are_found_by_key_and_by_prefix() {
        let stop = CancellationToken::new();
        let (notes, watch) = Notes::open(None, &stop).await.unwrap();
        assert!(watch.is_none());
        for (key, value) in [("a/1", "x"), ("a/2", "y"), ("b/1", "z")] {
            notes.put(key, value).await.unwrap();
        }
        notes.remove("a/2").await.unwrap();
        assert_eq!(notes.get("a/1"), Some(Bytes::from("x")));
        assert_eq!(notes.under("a/"), [("a/1".to_owned(), Bytes::from("x"))]);
    }

    #[test]
    fn a_long_name_has_a_key_of_its_own() {
        assert_eq!(key_of("ping", &Name::new("default", "beat")), "ping/default/beat");
        let long = |last: char| {
            key_of("ping", &Name::new("default", format!("{}{last}", "a".repeat(250))))
        };
        assert!(long('a').len() < KEY_LENGTH_MAX);
        assert_ne!(long('a'), long('b'));
    }
}
