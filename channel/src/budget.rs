//! Memory that events may hold: charged before they are read, given back when they are gone.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// A bound on bytes, shared by everything that holds events in this process.
///
/// An event carries its [`Charge`] with it, so what is charged is what is held, wherever it waits:
/// in a channel, a lane, a delivery or the dead letters.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
    parent: Option<Arc<Self>>,
}

impl Budget {
    /// A budget of `limit` bytes, all of it free.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0), parent: None })
    }

    /// A budget within this one: what it takes is taken here too.
    pub fn part(self: &Arc<Self>, limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0), parent: Some(Arc::clone(self)) })
    }

    /// Takes `bytes`, or returns `None` when that would pass the limit.
    pub fn try_charge(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        self.take(bytes).then(|| Charge { budget: Arc::clone(self), bytes })
    }

    /// Bytes that may be held in all.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes held now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.checked_add(bytes).is_some_and(|after| after <= self.limit)
            && self.parent.as_ref().is_none_or(|parent| parent.take(bytes));
        if !fits {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(parent) = &self.parent {
            parent.give_back(bytes);
        }
    }
}

/// Bytes taken from a [`Budget`]; dropping it gives them back.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Charge {
    /// Bytes held by this charge.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes the charge `bytes` in all; returns whether the budget had room. Making it smaller always works.
    pub fn resize(&mut self, bytes: usize) -> bool {
        if let Some(more) = bytes.checked_sub(self.bytes) {
            if !self.budget.take(more) {
                return false;
            }
        } else {
            self.budget.give_back(self.bytes - bytes);
        }
        self.bytes = bytes;
        true
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_is_given_back_when_dropped() {
        let budget = Budget::new(100);
        let charge = budget.try_charge(60).unwrap();
        assert!(budget.try_charge(41).is_none());
        drop(charge);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_part_never_passes_the_whole() {
        let whole = Budget::new(100);
        let (one, other) = (whole.part(80), whole.part(80));
        let held = one.try_charge(80).unwrap();
        assert!(other.try_charge(21).is_none());
        assert_eq!((whole.used(), other.used()), (80, 0));
        drop(held);
        assert_eq!((whole.used(), one.used()), (0, 0));
    }

    #[test]
    fn a_charge_grows_only_within_the_limit() {
        let budget = Budget::new(100);
        let mut charge = budget.try_charge(60).unwrap();
        assert!(!charge.resize(101));
        assert_eq!(budget.used(), 60);
        assert!(charge.resize(100));
        assert!(charge.resize(10));
        assert_eq!(budget.used(), 10);
    }
}
