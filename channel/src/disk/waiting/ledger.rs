//! The notes of the broker: the side that others see.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use atomic_waker::AtomicWaker;
use bytes::Bytes;

use crate::{
    Change as Told, Ledger, PublishError, Watch, Work,
    disk::waiting::{
        database::{Change, Database},
        keeper::{Command, Inbox},
        overflow::answer,
    },
};

/// Notes that one watcher is given at a time.
const NOTES_MAX: usize = 64;
/// Bytes of them, unless one alone is larger.
const NOTES_BYTES_MAX: usize = 256 << 10;

/// The notes of a channel.
#[derive(Debug)]
pub(in crate::disk) struct DiskLedger(Arc<Inbox>);

impl DiskLedger {
    pub(in crate::disk) fn new(inbox: Arc<Inbox>) -> Self {
        Self(inbox)
    }

    fn change(&self, change: Change, bytes: usize) -> Work<Result<(), PublishError>> {
        let asked = self.0.change(change, bytes, None);
        Box::pin(async { answer(asked?).await.map(drop) })
    }
}

impl Ledger for DiskLedger {
    fn is_shared(&self) -> bool {
        false
    }

    fn put(&self, key: &str, value: Bytes) -> Work<Result<(), PublishError>> {
        let bytes = key.len() + value.len();
        self.change(Change::PutNote { key: key.to_owned(), value }, bytes)
    }

    fn remove(&self, key: &str) -> Work<Result<(), PublishError>> {
        self.change(Change::RemoveNote { key: key.to_owned() }, 0)
    }

    fn watch(&self) -> Box<dyn Watch> {
        let watched = Arc::new(Watched::default());
        self.0.tell(Command::Watch(Arc::clone(&watched)));
        Box::new(NotesWatch { watched, inbox: Arc::clone(&self.0) })
    }
}

/// What one watcher has not taken yet.
#[derive(Debug, Default)]
pub(super) struct Watched {
    state: Mutex<WatchedState>,
    waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct WatchedState {
    told: VecDeque<Told>,
    /// The last key that was read.
    after: Option<String>,
    is_loaded: bool,
    is_over: bool,
}

impl Watched {
    fn lock(&self) -> MutexGuard<'_, WatchedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads some notes more.
    pub(super) fn feed(&self, database: &Database) -> Result<(), redb::Error> {
        let after = self.lock().after.clone();
        let (mut told, mut bytes) = (VecDeque::new(), 0);
        let is_last = database.notes(after.as_deref(), |key, value| {
            if told.len() >= NOTES_MAX || bytes >= NOTES_BYTES_MAX {
                return false;
            }
            bytes += key.len() + value.len();
            let value = Bytes::copy_from_slice(value);
            told.push_back(Told::Put { key: key.to_owned(), value });
            true
        })?;
        let mut state = self.lock();
        if let Some(Told::Put { key, .. }) = told.back() {
            state.after = Some(key.clone());
        }
        state.told.append(&mut told);
        if is_last {
            state.is_loaded = true;
            state.told.push_back(Told::Loaded);
        }
        drop(state);
        self.waker.wake();
        Ok(())
    }

    /// Says that there are no notes.
    pub(super) fn feed_nothing(&self) -> Result<(), redb::Error> {
        let mut state = self.lock();
        state.is_loaded = true;
        state.told.push_back(Told::Loaded);
        drop(state);
        self.waker.wake();
        Ok(())
    }

    /// Says that nothing will be told any more.
    pub(super) fn end(&self) {
        self.lock().is_over = true;
        self.waker.wake();
    }
}

#[derive(Debug)]
struct NotesWatch {
    watched: Arc<Watched>,
    inbox: Arc<Inbox>,
}

impl Watch for NotesWatch {
    /// Only this process writes the notes, so nothing is new after they are loaded.
    fn poll_change(&mut self, cx: &mut Context<'_>) -> Poll<Option<Told>> {
        self.watched.waker.register(cx.waker());
        let mut state = self.watched.lock();
        let told = state.told.pop_front();
        let wants_more = told.is_some() && state.told.is_empty() && !state.is_loaded;
        let is_over = state.is_over;
        drop(state);
        if wants_more {
            self.inbox.tell(Command::Watch(Arc::clone(&self.watched)));
        }
        match told {
            Some(told) => Poll::Ready(Some(told)),
            None if is_over => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}
