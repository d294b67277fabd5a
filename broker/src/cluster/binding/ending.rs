//! What SinkBindings say of themselves so that all they put in is taken out, and what ends them.

use std::collections::{BTreeMap, BTreeSet};

use channel::Name;
use tokio::time::{Duration, Instant};

use super::{
    FINALIZER,
    binder::Binder,
    subjects::Known,
    template::manager_part,
    wanted::{Binding, Wanted, in_words, kinds_of},
};
use crate::{
    cluster::{apiserver::Trouble, referred::KindKey, seen::Seen},
    manifest::{Kind, SourceKind},
};

/// How soon it is looked again whether a deleted SinkBinding can end.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How soon it is tried again to take off a finalizer.
const UNMARKED_AFTER: Duration = Duration::from_secs(10);

/// How long it may wait without a word.
const PENDING_AFTER: Duration = Duration::from_secs(5);

/// A deleted SinkBinding that waits.
#[derive(Debug)]
pub(super) struct Ending {
    since: Instant,
    /// When it is tried again to take off its finalizer.
    next_at: Instant,
    /// What was last told of it.
    told: Option<String>,
}

impl Binder {
    /// Lets every SinkBinding name the kinds of what it is put into before it is. Returns those that
    /// could not be written to, and why; those without a reason have changed meanwhile.
    pub(super) async fn mark(&mut self, wanted: &Wanted) -> BTreeMap<Name, Option<Trouble>> {
        let mut unmarked = BTreeMap::new();
        for binding in &wanted.bindings {
            let seen = &binding.seen;
            let is_held = seen.finalizers.iter().any(|it| it == FINALIZER);
            let (marked, needed) = (kinds_of(seen), self.needed(binding));
            // What cannot be looked at is not written to either, and needs nobody to wait.
            let is_early = !is_held && !self.is_listed(&binding.kind);
            if (is_held && marked == needed) || (!is_held && needed.is_empty()) || is_early {
                continue;
            }
            let mut finalizers = seen.finalizers.clone();
            if !is_held {
                finalizers.push(FINALIZER.to_owned());
            }
            let words = in_words(&needed);
            match self.requests.mark(&binding.name, seen, &finalizers, Some(&words)).await {
                Ok(Some(seen)) => self.note_seen(&binding.name, seen),
                // The next look sees how it is now.
                Ok(None) => {
                    unmarked.insert(binding.name.clone(), None);
                    self.look_at(Instant::now() + AGAIN_AFTER);
                }
                Err(trouble) => {
                    unmarked.insert(binding.name.clone(), Some(trouble));
                    self.look_at(Instant::now() + AGAIN_AFTER);
                }
            }
        }
        unmarked
    }

    /// The kinds that a SinkBinding is to name: that of its subjects, and those of what still has something of it.
    fn needed(&self, binding: &Binding) -> BTreeSet<KindKey> {
        let marked = kinds_of(&binding.seen).into_iter();
        let mut needed: BTreeSet<KindKey> = marked
            .filter(|kind| {
                !self.is_listed(kind) || self.has_some(kind, &binding.name.namespace, &binding.part)
            })
            .collect();
        if binding.environment.is_some() || kinds_of(&binding.seen).contains(&binding.kind) {
            needed.insert(binding.kind.clone());
        }
        needed
    }

    /// Takes the finalizer off deleted SinkBindings that have nothing anywhere any more.
    pub(super) async fn end(&mut self, wanted: &Wanted) {
        let ending = &wanted.ending;
        self.ending.retain(|name, _| ending.iter().any(|(it, _)| it == name));
        let now = Instant::now();
        for (name, seen) in ending {
            let waits = self.ending.entry(name.clone()).or_insert_with(|| Ending {
                since: now,
                next_at: now,
                told: None,
            });
            let (since, next_at) = (waits.since, waits.next_at);
            if let Some(why) = self.left_of(name, seen) {
                let is_given_up = seen.is_abandoned || since.elapsed() >= self.patience;
                let (reason, note) = if is_given_up {
                    ("LeftBehind", format!("what was put into pod templates is left there: {why}"))
                } else {
                    let what = "what was put into pod templates is not taken out yet";
                    ("CleanupPending", format!("{what}: {why}"))
                };
                // What is as it should be in a moment is nothing to tell.
                if is_given_up || since.elapsed() >= PENDING_AFTER {
                    self.warn(name, seen, reason, note).await;
                }
                if !is_given_up {
                    self.look_at(now + AGAIN_AFTER);
                    continue;
                }
            }
            if next_at > now {
                self.look_at(next_at);
                continue;
            }
            let others: Vec<String> =
                seen.finalizers.iter().filter(|it| *it != FINALIZER).cloned().collect();
            let again_at = match self.requests.mark(name, seen, &others, None).await {
                Ok(Some(seen)) => {
                    self.note_seen(name, seen);
                    continue;
                }
                Ok(None) => now + AGAIN_AFTER,
                Err(trouble) => {
                    let note = format!("a finalizer cannot be taken off: {}", trouble.why);
                    self.warn(name, seen, "CleanupPending", note).await;
                    now + UNMARKED_AFTER
                }
            };
            if let Some(waits) = self.ending.get_mut(name) {
                waits.next_at = again_at;
            }
            self.look_at(again_at);
        }
    }

    /// Why something of a SinkBinding may still be somewhere; `None` when nothing is.
    fn left_of(&self, name: &Name, seen: &Seen) -> Option<String> {
        let part = manager_part(name);
        let kinds = kinds_of(seen);
        let left = kinds
            .iter()
            .find(|kind| !self.is_listed(kind) || self.has_some(kind, &name.namespace, &part))?;
        let why = match self.subjects.known(left) {
            Some(Known::Failed(why)) => Some(why.clone()),
            _ => self.why_held(&name.namespace, &part),
        };
        Some(why.unwrap_or_else(|| "it was not tried".to_owned()))
    }

    /// Tells of a deleted SinkBinding what was not told of it last.
    async fn warn(&mut self, name: &Name, seen: &Seen, reason: &str, note: String) {
        let told = self.ending.get_mut(name).map(|waits| &mut waits.told);
        if told.is_none_or(|told| told.replace(note.clone()).as_ref() == Some(&note)) {
            return;
        }
        tracing::warn!(binding = %name, reason, why = %note, "a deleted SinkBinding");
        let kind = Kind::Source(SourceKind::SinkBinding);
        self.teller.warn(kind, name, seen, reason, note).await;
    }

    fn note_seen(&self, name: &Name, seen: Seen) {
        // Of an object that is gone now the watch tells.
        self.shared.seen.note((Kind::Source(SourceKind::SinkBinding), name.clone()), seen);
    }

    /// Whether all objects of a kind are known, or there can be none.
    fn is_listed(&self, kind: &KindKey) -> bool {
        matches!(self.subjects.known(kind), Some(Known::Listed | Known::Absent))
    }

    /// Whether something of a SinkBinding is in an object of a kind.
    fn has_some(&self, kind: &KindKey, namespace: &str, part: &str) -> bool {
        let mut objects = self.subjects.of_namespace(kind, namespace);
        objects.any(|(_, thing)| thing.bound_by.iter().any(|it| it == part))
    }
}
