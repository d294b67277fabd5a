//! The log on a simulated disk: what a crash may leave, and what must be refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::disk::{
    OpenError,
    group::{Found, SECTOR, Window, put_entry},
    journal::{AppendError, Draft, Journal, JournalLimits},
    recover::{Recovered, recover},
    simulated::{Fails, Simulated},
    storage::Storage,
};

const LIMITS: JournalLimits = JournalLimits {
    segment_bytes: 8 << 10,
    retention: Duration::from_secs(3600),
    retention_bytes_max: 20 << 10,
};

fn open(disk: &Simulated) -> Result<Recovered, OpenError> {
    recover(Arc::new(disk.clone()), LIMITS)
}

/// An event's record: its position, repeated so that a torn one would show.
fn record(position: u64, len: usize) -> Vec<u8> {
    position.to_le_bytes().into_iter().cycle().take(8 * (1 + len / 8)).collect()
}

fn append(
    journal: &mut Journal,
    count: u64,
    random: &mut fastrand::Rng,
) -> Result<(), AppendError> {
    let mut draft = Draft::default();
    draft.clear();
    for position in journal.next..journal.next + count {
        let record = record(position, random.usize(0..900));
        put_entry(&mut draft.entries.bytes, 0, 0, |bytes| bytes.extend_from_slice(&record));
        draft.events += 1;
    }
    journal.append(&mut draft).map(drop)
}

/// Positions of the events that would be lent, read as a reader does.
fn unsettled(found: &Recovered) -> BTreeSet<u64> {
    let mut seen = BTreeSet::new();
    let Some(first) = found.first else { return seen };
    let mut segment = found.journal.shelf.get(first.segment);
    while let Some(open) = segment {
        let len = open.file.len().unwrap();
        let mut window = Window::new(Arc::clone(&open.file));
        let mut offset = SECTOR as u64;
        while let Found::Group(group) = window.group(offset, len).unwrap() {
            for entry in group.entries() {
                let expected = entry.position.to_le_bytes();
                assert!(entry.record.chunks(8).all(|chunk| chunk == expected), "torn");
                if !found.journal.settled.contains(entry.position) {
                    assert!(seen.insert(entry.position));
                }
            }
            offset += group.header.padded_len();
        }
        segment = found.journal.shelf.after(open.sequence);
    }
    seen
}

/// What was true at a moment of the run.
#[derive(Clone, Default)]
struct Truth {
    /// Acknowledged events.
    acked: u64,
    /// Settled, whether noted or not.
    settled: BTreeSet<u64>,
}

/// Runs a script of appends and settlements; says what was true after which operation.
fn run(seed: u64) -> (Simulated, BTreeMap<usize, Truth>, u64) {
    let random = &mut fastrand::Rng::with_seed(seed);
    let disk = Simulated::new();
    let mut journal = open(&disk).unwrap().journal;
    let mut truth = Truth::default();
    let mut moments = BTreeMap::from([(disk.moment(), truth.clone())]);
    for step in 0..40 {
        if random.u8(..3) == 0 {
            let mut some: Vec<u64> = (0..truth.acked).filter(|_| random.u8(..3) > 0).collect();
            truth.settled.extend(&some);
            journal.settle(&mut some);
            moments.insert(disk.moment(), truth.clone());
        }
        let count = random.u64(0..4);
        append(&mut journal, count, random).unwrap();
        truth.acked += count;
        journal.reclaim(step * 200_000_000, false).unwrap();
        moments.insert(disk.moment(), truth.clone());
    }
    (disk, moments, truth.acked)
}

#[test]
fn whatever_a_crash_leaves_every_acknowledged_event_is_found() {
    let (runs, images) = (20, 200);
    for seed in 0..runs {
        let (disk, moments, published) = run(seed);
        for image in 0..images {
            let random = &mut fastrand::Rng::with_seed(seed << 32 | image);
            let start = *moments.keys().next().unwrap();
            let moment = random.usize(start..=disk.moment());
            let case = format!("seed {seed}, image {image}, moment {moment}");
            let truth = moments.range(..=moment).next_back().unwrap().1;
            // Settled before the crash, noted or not; noted after the last moment at most.
            let next = moments.range(moment..).next().map_or(truth, |(_, truth)| truth);
            let crashed = disk.crash(moment, random);
            let found = open(&crashed).unwrap_or_else(|error| panic!("{case}: {error}"));
            let seen = unsettled(&found);
            for event in (0..truth.acked).filter(|event| !next.settled.contains(event)) {
                assert!(seen.contains(&event), "{case}: event {event} is lost");
            }
            assert!(seen.iter().all(|&event| event < published), "{case}: one is made up");
            assert!(found.journal.next <= next.acked.max(truth.acked + 4), "{case}");
            assert_eq!(found.events, seen.len() as u64, "{case}");
            // It can be used, and crash again.
            let mut journal = found.journal;
            let before = journal.next;
            append(&mut journal, 1, random).unwrap();
            let again = open(&crashed.crash(crashed.moment(), random)).unwrap();
            assert!(unsettled(&again).contains(&before), "{case}: lost after a second crash");
        }
    }
}

fn written(groups: u64) -> Simulated {
    let random = &mut fastrand::Rng::with_seed(1);
    let disk = Simulated::new();
    let mut journal = open(&disk).unwrap().journal;
    for _ in 0..groups {
        append(&mut journal, 2, random).unwrap();
    }
    disk
}

#[test]
fn a_torn_last_page_is_cut() {
    let disk = written(3).copy();
    let found = open(&disk).unwrap();
    let (name, end) = ("log-0000000000000000", found.journal.place().offset);
    // The group that was begun when it was opened, and half of another.
    let file = disk.open(name).unwrap();
    let mut draft = Draft::default();
    draft.clear();
    put_entry(&mut draft.entries.bytes, 0, 0, |bytes| bytes.resize(bytes.len() + 3000, 7));
    draft.events = 1;
    let mut other = found.journal;
    other.append(&mut draft).unwrap();
    let mut torn = disk.bytes(name);
    torn[usize::try_from(end).unwrap() + 1024..][..512].fill(0);
    file.write_at(&torn, 0).unwrap();
    let found = open(&disk).unwrap();
    assert_eq!(found.events, 6);
    assert_eq!(found.journal.next, 6);
}

#[test]
fn damage_in_the_middle_is_refused() {
    let disk = written(20);
    let names = disk.list().unwrap();
    let logs: Vec<_> = names.iter().filter(|name| name.starts_with("log-")).collect();
    assert!(logs.len() > 2, "{names:?}");
    for name in &logs {
        // A header, the first group, and the second one, which in the last segment may be torn.
        for at in [3, SECTOR + 20, 2 * SECTOR + 10, 2 * SECTOR + 60] {
            let damaged = disk.copy();
            let mut bytes = disk.bytes(name);
            bytes[at] ^= 1;
            damaged.open(name).unwrap().write_at(&bytes, 0).unwrap();
            let Err(error) = open(&damaged) else {
                assert_eq!(Some(name), logs.last(), "{name} at {at} was accepted");
                continue;
            };
            assert!(matches!(error, OpenError::Damaged { .. }), "{name} at {at}: {error}");
        }
        // That the last one was there is known from itself alone.
        let damaged = disk.copy();
        damaged.remove(name).unwrap();
        let is_refused = matches!(open(&damaged), Err(OpenError::Damaged { .. }));
        assert_eq!(is_refused, Some(name) != logs.last(), "{name} removed");
    }
}

#[test]
fn an_error_ends_the_journal_and_a_full_disk_does_not() {
    let random = &mut fastrand::Rng::with_seed(1);
    for fails in [Fails::Writes, Fails::Syncs] {
        let disk = written(2).copy();
        let mut journal = open(&disk).unwrap().journal;
        disk.fail(Some(fails));
        let failed = append(&mut journal, 1, random);
        assert!(matches!(failed, Err(AppendError::Failed(_))), "{failed:?}");
    }
    let disk = written(2).copy();
    let mut journal = open(&disk).unwrap().journal;
    disk.limit(Some(disk.bytes("log-0000000000000000").len() as u64));
    let full = loop {
        match append(&mut journal, 1, random) {
            Ok(()) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(full, AppendError::NoRoom), "{full:?}");
    disk.limit(None);
    append(&mut journal, 1, random).unwrap();
    let next = journal.next;
    assert_eq!(open(&disk).unwrap().journal.next, next);
}

#[test]
fn settled_segments_are_deleted_and_others_are_not() {
    let random = &mut fastrand::Rng::with_seed(1);
    let disk = Simulated::new();
    let mut journal = open(&disk).unwrap().journal;
    for _ in 0..100 {
        append(&mut journal, 2, random).unwrap();
    }
    let all = journal.segments.len();
    assert_eq!(journal.needed_bytes(), journal.segments.iter().map(|one| one.len).sum::<u64>());
    let held = journal.next / 2;
    let mut rest = (0..journal.next).filter(|&position| position != held).collect();
    journal.settle(&mut rest);
    append(&mut journal, 0, random).unwrap();
    let now = crate::clock::to_micros(crate::clock::now());
    journal.reclaim(now, false).unwrap();
    let retained: u64 = journal.segments.iter().map(|one| one.len).sum();
    assert!(retained < LIMITS.retention_bytes_max + 3 * LIMITS.segment_bytes, "{retained}");
    assert!(journal.segments.len() < all);
    let found = open(&disk.copy()).unwrap();
    assert_eq!(unsettled(&found), BTreeSet::from([held]));
    for (after, is_short) in [(LIMITS.retention * 2, false), (Duration::ZERO, true)] {
        let mut journal = open(&disk.copy()).unwrap().journal;
        let at = crate::clock::to_micros(crate::clock::now() + after);
        journal.reclaim(at, is_short).unwrap();
        assert_eq!(journal.segments.len(), 2, "the one that is held and the last");
    }
}
