//! Room in the file system: refused before it runs out, and some kept back for what must be written.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::disk::{
    gauges::Gauges,
    storage::{Space, Storage},
};

/// Deleted first when the disk is full, so that what was settled can be written down.
const HEADROOM: &str = "headroom";
const HEADROOM_BYTES: u64 = 16 << 20;
/// How often the file system is asked while something happens.
const CHECK_WAIT: Duration = Duration::from_secs(1);

/// Watches the room in the file system.
#[derive(Debug)]
pub(super) struct Room {
    storage: Arc<dyn Storage>,
    gauges: Arc<Gauges>,
    has_headroom: AtomicBool,
    next: Mutex<Option<Instant>>,
}

/// Whether so little is free that nothing new may be taken.
pub(super) fn is_low(space: Space, bytes_min: u64, percent_min: u64) -> bool {
    space.free < bytes_min.max(share(space, percent_min))
}

fn share(space: Space, percent: u64) -> u64 {
    space.total / 100 * percent
}

/// The same for what was accepted already and has somewhere to be.
fn is_low_at_half(space: Space, bytes_min: u64, percent_min: u64) -> bool {
    is_low(Space { free: space.free.saturating_mul(2), ..space }, bytes_min, percent_min)
}

impl Room {
    pub(super) fn new(storage: Arc<dyn Storage>, gauges: Arc<Gauges>) -> Arc<Self> {
        let room =
            Self { storage, gauges, has_headroom: AtomicBool::new(false), next: Mutex::new(None) };
        room.look();
        Arc::new(room)
    }

    fn next(&self) -> MutexGuard<'_, Option<Instant>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the file system if it is time to.
    pub(super) fn check(&self, now: Instant) {
        let mut next = self.next();
        if next.is_none_or(|next| next <= now) {
            *next = Some(now + CHECK_WAIT);
            drop(next);
            self.look();
        }
    }

    /// When to look again although nothing happens: while there is too little room.
    pub(super) fn check_at(&self) -> Option<Instant> {
        let is_low = self.gauges.is_low.load(Ordering::Relaxed);
        is_low.then(|| *self.next()).flatten()
    }

    fn look(&self) {
        let settings = &self.gauges.settings;
        let Ok(space) = self.storage.space() else { return };
        let is_low = is_low(space, settings.free_bytes_min, settings.free_percent_min);
        let tight = is_low_at_half(space, settings.free_bytes_min, settings.free_percent_min);
        let is_share = share(space, settings.free_percent_min) > settings.free_bytes_min;
        self.gauges.is_share.store(is_share, Ordering::Relaxed);
        self.gauges.is_tight.store(tight, Ordering::Relaxed);
        if self.gauges.is_low.swap(is_low, Ordering::Relaxed) != is_low {
            tracing::warn!(free_bytes = space.free, is_low, "room on the disk");
        }
        if !is_low && !self.has_headroom.load(Ordering::Relaxed) && self.take_headroom().is_ok() {
            self.has_headroom.store(true, Ordering::Relaxed);
        }
    }

    fn take_headroom(&self) -> io::Result<()> {
        self.storage.open(HEADROOM)?.set_len(HEADROOM_BYTES)
    }

    /// Deletes the headroom because the disk is full, and refuses what is new until it is not.
    pub(super) fn give_headroom(&self) {
        self.gauges.is_low.store(true, Ordering::Relaxed);
        self.gauges.is_tight.store(true, Ordering::Relaxed);
        *self.next() = Some(Instant::now() + CHECK_WAIT);
        if self.has_headroom.swap(false, Ordering::Relaxed)
            && let Err(error) = self.storage.remove(HEADROOM)
        {
            tracing::warn!(error = %error, "the headroom on the disk was not given back");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_is_the_larger_of_bytes_and_share() {
        for (free, total, expected) in
            [(300, 1000, false), (255, 1000, true), (300, 10_000, true), (500, 10_000, false)]
        {
            assert_eq!(is_low(Space { free, total }, 256, 5), expected, "{free} of {total}");
        }
    }
}
