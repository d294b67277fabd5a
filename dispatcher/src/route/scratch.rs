//! What one look-up needs to write down: kept between events, so that routing does not allocate.

/// Working memory of [`RouteTable::matches`](super::RouteTable::matches).
///
/// One for each worker; it serves any number of tables and grows to the largest: 16 bytes for
/// each part that the table looks at, 4 bytes for each trigger.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The hash of each part of the event, in the order of the table's columns.
    pub(super) hashes: Vec<Option<u64>>,
    /// Whether the event has the attribute of each column.
    pub(super) present: Vec<bool>,
    pub(super) seen: Seen,
}

impl Scratch {
    /// A scratch that has not grown yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the last event, and makes room for a table of so many triggers.
    pub(super) fn begin(&mut self, triggers: usize) {
        self.hashes.clear();
        self.present.clear();
        self.seen.begin(triggers);
    }
}

/// The triggers that this event has come across.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// For each trigger, the last round that came across it.
    stamps: Vec<u32>,
    round: u32,
}

impl Seen {
    fn begin(&mut self, triggers: usize) {
        if self.stamps.len() < triggers {
            self.stamps.resize(triggers, 0);
        }
        self.round = self.round.wrapping_add(1);
        if self.round == 0 {
            // Stamps of four billion events ago would look like this event's.
            self.stamps.fill(0);
            self.round = 1;
        }
    }

    /// Whether this event comes across the trigger in `slot` for the first time.
    pub(super) fn is_first(&mut self, slot: u32) -> bool {
        let stamp = usize::try_from(slot).ok().and_then(|slot| self.stamps.get_mut(slot));
        stamp.is_some_and(|stamp| std::mem::replace(stamp, self.round) != self.round)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_is_first_once_an_event_even_when_the_rounds_start_again() {
        let mut seen = Seen { stamps: Vec::new(), round: u32::MAX - 2 };
        for _ in 0..5 {
            seen.begin(2);
            assert!(seen.is_first(1));
            assert!(!seen.is_first(1));
        }
    }
}
