//! A broker's ledger, read: the dead letters and pauses that were noted before, or are by others.

use std::{
    collections::BTreeSet,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use channel::{Budget, Change, Ledger, Name, PublishError, Watch};
use tokio_util::sync::CancellationToken;

use crate::{DeadLetterLimits, DeadLetters};

/// Keys of pauses in a ledger begin with this.
const PAUSED: &str = "paused/";

/// The triggers that an operator has paused, as far as no manifest says it.
#[derive(Debug)]
pub struct Pauses {
    ledger: Option<Arc<dyn Ledger>>,
    paused: Mutex<BTreeSet<Name>>,
}

impl Pauses {
    /// No pause yet; they are written to `ledger`.
    pub fn new(ledger: Option<Arc<dyn Ledger>>) -> Self {
        Self { ledger, paused: Mutex::default() }
    }

    /// Whether an operator has paused the trigger.
    pub fn has(&self, trigger: &Name) -> bool {
        self.lock().contains(trigger)
    }

    /// Whether pauses outlive the process.
    pub fn are_durable(&self) -> bool {
        self.ledger.is_some()
    }

    /// Pauses or resumes a trigger, durably where the broker's channel is. Whoever runs the trigger
    /// has to be told. Returns whether that is a change.
    ///
    /// # Errors
    ///
    /// When it could not be written down; then nothing has changed, unless the error says that
    /// nobody knows.
    pub async fn set(&self, trigger: &Name, paused: bool) -> Result<bool, PublishError> {
        let was_paused = self.has(trigger);
        if let Some(ledger) = &self.ledger {
            let key = format!("{PAUSED}{trigger}");
            if paused {
                ledger.put(&key, Bytes::from_static(b"true")).await?;
            } else {
                ledger.remove(&key).await?;
            }
        }
        // Whoever follows a shared ledger may have noted it before this comes back.
        Ok(self.note(trigger, paused) || was_paused != paused)
    }

    fn note(&self, trigger: &Name, paused: bool) -> bool {
        let mut all = self.lock();
        if paused { all.insert(trigger.clone()) } else { all.remove(trigger) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<Name>> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a broker has written down.
#[derive(Clone, Debug)]
pub struct Notes {
    /// Events that could not be delivered.
    pub dead_letters: Arc<DeadLetters>,
    /// What an operator has paused.
    pub pauses: Arc<Pauses>,
}

/// The rest of a shared ledger's changes.
pub struct Following {
    notes: Notes,
    watch: Box<dyn Watch>,
}

impl std::fmt::Debug for Following {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Following").field("notes", &self.notes).finish_non_exhaustive()
    }
}

impl Notes {
    /// Reads all that `ledger` holds; of a ledger that others write to, what follows too. Events are
    /// charged to `budget` while there is room. `None` when the ledger has ended before all was told.
    pub async fn load(
        limits: DeadLetterLimits,
        ledger: Option<Arc<dyn Ledger>>,
        budget: Arc<Budget>,
    ) -> Option<(Self, Option<Following>)> {
        let notes = Self {
            dead_letters: Arc::new(DeadLetters::new(limits, ledger.clone(), budget)),
            pauses: Arc::new(Pauses::new(ledger.clone())),
        };
        let Some(ledger) = ledger else { return Some((notes, None)) };
        let mut watch = ledger.watch();
        while let Some(change) = poll_fn(|cx| watch.poll_change(cx)).await {
            if change == Change::Loaded {
                let following =
                    ledger.is_shared().then(|| Following { notes: notes.clone(), watch });
                return Some((notes, following));
            }
            notes.apply(change);
        }
        None
    }

    /// Takes a change in. Returns whether it is one of the pauses.
    fn apply(&self, change: Change) -> bool {
        let (key, value) = match change {
            Change::Put { key, value } => (key, Some(value)),
            Change::Removed { key } => (key, None),
            Change::Loaded => return false,
        };
        if let Some(trigger) = key.strip_prefix(PAUSED) {
            let trigger = trigger.parse::<Name>();
            return trigger.is_ok_and(|trigger| self.pauses.note(&trigger, value.is_some()));
        }
        match value {
            Some(value) => self.dead_letters.told(&key, value),
            None => self.dead_letters.told_gone(&key),
        }
        false
    }
}

impl Following {
    /// Follows the changes until `stop`, and calls `pauses_changed` when a pause is among them.
    pub async fn run(mut self, stop: CancellationToken, pauses_changed: impl Fn()) {
        loop {
            let change = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                change = poll_fn(|cx| self.watch.poll_change(cx)) => change,
            };
            let Some(change) = change else { return };
            if self.notes.apply(change) {
                pauses_changed();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use channel::Work;

    use super::*;

    /// A shared ledger that tells of each note before its write has ended.
    #[derive(Debug, Default)]
    struct Hasty {
        reader: OnceLock<Notes>,
    }

    impl Hasty {
        fn tell(&self, change: Change) -> Work<Result<(), PublishError>> {
            self.reader.get().expect("a reader").apply(change);
            Box::pin(std::future::ready(Ok(())))
        }
    }

    impl Ledger for Hasty {
        fn is_shared(&self) -> bool {
            true
        }

        fn put(&self, key: &str, value: Bytes) -> Work<Result<(), PublishError>> {
            self.tell(Change::Put { key: key.into(), value })
        }

        fn remove(&self, key: &str) -> Work<Result<(), PublishError>> {
            self.tell(Change::Removed { key: key.into() })
        }

        fn watch(&self) -> Box<dyn Watch> {
            unimplemented!("not watched")
        }
    }

    #[tokio::test]
    async fn a_pause_is_a_change_although_the_ledger_tells_of_it_first() {
        let ledger = Arc::new(Hasty::default());
        let shared: Option<Arc<dyn Ledger>> = Some(Arc::<Hasty>::clone(&ledger));
        let limits = DeadLetterLimits::default();
        let dead_letters = Arc::new(DeadLetters::new(limits, None, Budget::new(1)));
        let pauses = Arc::new(Pauses::new(shared));
        let reader = Notes { dead_letters, pauses: Arc::clone(&pauses) };
        ledger.reader.set(reader).expect("the first");
        let trigger = Name::new("default", "t");
        for (paused, is_change) in [(true, true), (true, false), (false, true), (false, false)] {
            assert_eq!(pauses.set(&trigger, paused).await, Ok(is_change), "{paused}");
            assert_eq!(pauses.has(&trigger), paused);
        }
    }
}
