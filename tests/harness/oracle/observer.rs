//! Watching while a scenario runs: counters that must add up at every read, and the size of the process.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::sleep;

use crate::admin::{Admin, Counters, TriggerStatus};
use crate::oracle::Verdict;
use crate::process::Size;
use crate::wait::Background;

const EVERY: Duration = Duration::from_millis(100);

/// Reads counters and sizes ten times a second until it is dropped.
#[derive(Debug)]
pub struct Observer {
    seen: Arc<Mutex<Observations>>,
    _reading: Background,
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Observations {
    /// How many reads there were.
    pub reads: usize,
    /// Reads in which a trigger's counters did not add up.
    pub unbalanced: Vec<(String, Counters)>,
    /// The largest values of the process.
    pub largest: Size,
}

impl Observations {
    fn note(&mut self, triggers: &[TriggerStatus], size: Size) {
        self.reads += 1;
        for one in triggers.iter().filter(|one| !is_balanced(&one.counters)) {
            self.unbalanced.push((one.name.clone(), one.counters));
        }
        let largest = &mut self.largest;
        largest.resident_bytes = largest.resident_bytes.max(size.resident_bytes);
        largest.resident_bytes_max = largest.resident_bytes_max.max(size.resident_bytes_max);
        largest.files = largest.files.max(size.files);
        largest.threads = largest.threads.max(size.threads);
    }
}

impl Observer {
    /// Starts to read.
    #[must_use]
    pub fn start(admin: Admin, pid: u32) -> Self {
        let seen: Arc<Mutex<Observations>> = Arc::default();
        let into = seen.clone();
        let reading = Background::start(async move {
            loop {
                let triggers = admin.triggers().await;
                let size = Size::of(pid);
                into.lock().unwrap().note(&triggers, size);
                sleep(EVERY).await;
            }
        });
        Self { seen, _reading: reading }
    }

    /// What was read so far.
    #[must_use]
    pub fn observations(&self) -> Observations {
        self.seen.lock().unwrap().clone()
    }

    /// I8 at every read so far.
    #[must_use]
    pub fn conserved(&self) -> Verdict {
        let seen = self.observations();
        let mut verdict = Verdict::new("I8 conservation, at every read");
        verdict.checked = seen.reads;
        for (name, counters) in &seen.unbalanced {
            verdict.violation(format!("{name}: {counters:?}"));
        }
        if seen.reads == 0 {
            verdict.violation("nothing was read".into());
        }
        verdict
    }

    /// I9: the most memory and descriptors, against bounds.
    #[must_use]
    pub fn bounded(&self, resident_bytes_max: u64, files_max: usize) -> Verdict {
        let seen = self.observations();
        let mut verdict = Verdict::new("I9 bounded");
        verdict.checked = seen.reads;
        if seen.largest.resident_bytes_max > resident_bytes_max {
            verdict.violation(format!("{} resident bytes", seen.largest.resident_bytes_max));
        }
        if seen.largest.files > files_max {
            verdict.violation(format!("{} descriptors", seen.largest.files));
        }
        verdict
    }
}

/// Whether `matched` is the sum of the others.
#[must_use]
pub fn is_balanced(counters: &Counters) -> bool {
    let ends = counters.delivered + counters.dead + counters.expired + counters.purged;
    counters.matched == ends + counters.waiting + counters.in_flight
}
