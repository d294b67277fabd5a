//! Which of many schedules fires when; pure, time comes in as an argument.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::Schedule;

/// A clock that is set back by no more than this is waited for.
const SET_BACK_MIN: SignedDuration = SignedDuration::from_secs(60);

/// Missed ticks of one schedule that are counted one by one; beyond, the last one is looked up.
const MISSED_COUNTED_MAX: u64 = 10_000;

/// Whether the clock was set back, to `now`, since `schedule` fired at `time`, so that it starts anew.
pub(super) fn is_ahead(schedule: &Schedule, time: Timestamp, now: Timestamp) -> bool {
    !schedule.is_fixed() && now < time - SET_BACK_MIN
}

/// A tick of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// When it was due.
    pub time: Timestamp,
    /// Older ones that were due as well and make no event.
    pub skipped: u64,
}

/// Many schedules, by key and by time.
#[derive(Debug)]
pub(super) struct Timetable {
    entries: HashMap<u64, Entry>,
    due: BTreeSet<(Timestamp, u64)>,
    seen: Timestamp,
    last_key: u64,
}

#[derive(Debug)]
struct Entry {
    schedule: Arc<Schedule>,
    next: Option<Timestamp>,
}

impl Timetable {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { entries: HashMap::new(), due: BTreeSet::new(), seen: now, last_key: 0 }
    }

    /// Adds a schedule that has fired for the last time at `since`. Returns its key.
    pub(super) fn add(&mut self, schedule: Arc<Schedule>, since: Timestamp) -> u64 {
        self.last_key += 1;
        let key = self.last_key;
        let next = schedule.next(since);
        self.due.extend(next.map(|next| (next, key)));
        self.entries.insert(key, Entry { schedule, next });
        key
    }

    pub(super) fn remove(&mut self, key: u64) {
        if let Some(Entry { next: Some(next), .. }) = self.entries.remove(&key) {
            self.due.remove(&(next, key));
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// When the first of them fires.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.due.first().map(|(next, _)| *next)
    }

    /// Those that have fired at `now`, each once.
    pub(super) fn advance(&mut self, now: Timestamp) -> Vec<(u64, Tick)> {
        if now < self.seen - SET_BACK_MIN {
            self.set_back(now);
        }
        self.seen = now;
        let mut ticks = Vec::new();
        while let Some(&(time, key)) = self.due.first().filter(|(time, _)| *time <= now) {
            self.due.remove(&(time, key));
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            let (tick, next) = newest(&entry.schedule, time, now);
            entry.next = next;
            self.due.extend(next.map(|next| (next, key)));
            ticks.push((key, tick));
        }
        ticks
    }

    /// Starts the schedules without a fixed time anew from `now`.
    fn set_back(&mut self, now: Timestamp) {
        for (key, entry) in &mut self.entries {
            if entry.schedule.is_fixed() {
                continue;
            }
            if let Some(next) = entry.next {
                self.due.remove(&(next, *key));
            }
            entry.next = entry.schedule.next(now);
            self.due.extend(entry.next.map(|next| (next, *key)));
        }
    }
}

/// The newest tick until `now` of a schedule that fired at `first`, and when it fires next.
fn newest(schedule: &Schedule, first: Timestamp, now: Timestamp) -> (Tick, Option<Timestamp>) {
    let mut tick = Tick { time: first, skipped: 0 };
    loop {
        let next = schedule.next(tick.time);
        match next {
            Some(next) if next <= now => {
                let is_far = tick.skipped >= MISSED_COUNTED_MAX;
                let last = if is_far { schedule.last(now) } else { None };
                tick.time = last.unwrap_or(next).max(next);
                tick.skipped += 1;
            }
            next => return (tick, next),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn schedule(text: &str) -> Arc<Schedule> {
        Arc::new(Schedule::parse(text, "").unwrap())
    }

    #[test]
    fn ten_thousand_schedules_have_one_next_time() {
        let start = at("2026-01-01T00:00:00Z");
        let mut table = Timetable::new(start);
        let keys: Vec<u64> = (0..10_000)
            .map(|number| table.add(schedule(&format!("{} * * * *", number % 60)), start))
            .collect();
        assert_eq!(table.next(), Some(at("2026-01-01T00:01:00Z")));
        assert_eq!(table.advance(at("2026-01-01T00:01:00Z")).len(), 167);
        for key in keys {
            table.remove(key);
        }
        assert_eq!((table.next(), table.len()), (None, 0));
    }

    #[test]
    fn a_machine_that_slept_makes_the_newest_tick_good() {
        let mut table = Timetable::new(at("2026-01-01T00:00:00Z"));
        let key = table.add(schedule("0 * * * *"), at("2026-01-01T00:00:00Z"));
        let ticks = table.advance(at("2026-01-01T09:59:00Z"));
        assert_eq!(ticks, [(key, Tick { time: at("2026-01-01T09:00:00Z"), skipped: 8 })]);
        assert_eq!(table.advance(at("2026-01-01T09:59:30Z")), []);
        assert_eq!(table.next(), Some(at("2026-01-01T10:00:00Z")));
    }

    #[test]
    fn years_of_missed_seconds_are_passed_over_at_once() {
        let mut table = Timetable::new(at("2020-01-01T00:00:00Z"));
        let key = table.add(schedule("@every 1s"), at("2020-01-01T00:00:00Z"));
        let ticks = table.advance(at("2026-01-01T00:00:00.5Z"));
        assert_eq!(ticks.len(), 1);
        assert_eq!((ticks[0].0, ticks[0].1.time), (key, at("2026-01-01T00:00:00Z")));
        assert!(ticks[0].1.skipped >= MISSED_COUNTED_MAX);
    }

    #[test]
    fn a_clock_that_is_set_back_repeats_no_fixed_time_and_stops_no_interval() {
        let mut table = Timetable::new(at("2026-01-01T02:00:00Z"));
        let daily = table.add(schedule("30 2 * * *"), at("2026-01-01T02:00:00Z"));
        let often = table.add(schedule("@every 10s"), at("2026-01-01T02:30:00Z"));
        let keys = |ticks: Vec<(u64, Tick)>| ticks.iter().map(|tick| tick.0).collect::<Vec<_>>();
        assert_eq!(keys(table.advance(at("2026-01-01T02:30:00Z"))), [daily]);
        assert_eq!(table.advance(at("2026-01-01T02:00:00Z")), []);
        assert_eq!(keys(table.advance(at("2026-01-01T02:00:10Z"))), [often]);
        assert_eq!(keys(table.advance(at("2026-01-01T02:31:00Z"))), [often]);
        assert_eq!(table.next(), Some(at("2026-01-01T02:31:10Z")));
        assert_eq!(keys(table.advance(at("2026-01-02T02:30:00Z"))), [often, daily]);
    }

    #[test]
    fn a_clock_that_is_set_a_little_back_repeats_nothing() {
        let mut table = Timetable::new(at("2026-01-01T00:00:00Z"));
        table.add(schedule("@every 10s"), at("2026-01-01T00:00:00Z"));
        assert_eq!(table.advance(at("2026-01-01T00:00:10Z")).len(), 1);
        assert_eq!(table.advance(at("2026-01-01T00:00:05Z")), []);
        assert_eq!(table.advance(at("2026-01-01T00:00:10Z")), []);
        assert_eq!(table.advance(at("2026-01-01T00:00:20Z")).len(), 1);
    }
}
