//! Dead letters that the ledger tells of: of an earlier process, or of another one.

use std::sync::Arc;

use bytes::Bytes;

use super::{DeadLetters, stored};

impl DeadLetters {
    /// The ledger has a letter. One that cannot be read is left there and named in the log.
    pub(crate) fn told(&self, key: &str, value: Bytes) {
        let Some(id) = stored::id(key) else { return };
        let mut state = self.lock();
        if state.own.contains(&id) || state.letters.contains_key(&id) {
            return;
        }
        let Some(letter) = stored::decode(id, |name| state.key_of(name), value, &self.budget)
        else {
            tracing::error!(key, "a stored dead letter cannot be read and is left where it is");
            return;
        };
        // Its event was matched by whoever put it there.
        let tally = state.tallies.entry(letter.key).or_default();
        tally.matched += 1;
        tally.dead += 1;
        state.insert(Arc::new(letter));
    }

    /// The ledger has a letter no longer: whoever took it out has purged it or sent it again.
    pub(crate) fn told_gone(&self, key: &str) {
        let Some(id) = stored::id(key) else { return };
        let mut state = self.lock();
        state.own.remove(&id);
        state.forget(&[id], |tally| tally.purged += 1);
    }
}
