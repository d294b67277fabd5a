//! What waits, on a simulated disk: what a crash may leave of the database, and clocks set back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::event;
use crate::{
    Envelope, clock,
    disk::{
        DiskSettings, OpenError,
        gauges::Gauges,
        simulated::Simulated,
        space::Room,
        storage::Storage,
        waiting::{
            database::{Change, Database, Stored},
            row::{self, Row},
        },
    },
};

fn parts(disk: &Simulated) -> (Arc<dyn Storage>, Arc<Room>) {
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    // No headroom file, so that images are small.
    let settings = DiskSettings { free_bytes_min: u64::MAX, ..DiskSettings::default() };
    (Arc::clone(&storage), Room::new(storage, Gauges::new(settings)))
}

fn open(disk: &Simulated) -> Result<Option<Database>, OpenError> {
    let (storage, room) = parts(disk);
    Database::open(&storage, &room, 1 << 20)
}

fn make(disk: &Simulated) -> Database {
    let (storage, room) = parts(disk);
    Database::make(&storage, &room, 1 << 20).unwrap()
}

fn put(trigger: &str, number: u64, len: usize) -> Change {
    let at = clock::now();
    let history = bytes::Bytes::new();
    let envelope = Envelope { attempts: 1, first_at: at, put_at: at, due_at: at, history };
    let rows = vec![(clock::to_micros(at), Row::new(&event(number, len), &envelope))];
    Change::Put { trigger: trigger.into(), rows }
}

/// Numbers of the events that wait for a trigger, by both ways of reading.
fn waiting(database: &Database, trigger: &str) -> BTreeSet<u64> {
    let id = |row: &[u8]| {
        let (draft, envelope) = row::decode(row).unwrap();
        assert_eq!(envelope.attempts, 1);
        draft.get("id").unwrap().parse().unwrap()
    };
    let mut ordered = BTreeSet::new();
    database.by_sequence(trigger, 0, |_, row| ordered.insert(id(row))).unwrap();
    let mut due = BTreeSet::new();
    let visit = |_, _, row: &dyn Fn() -> Result<Option<Stored>, redb::Error>| {
        Ok(due.insert(id(row()?.unwrap().value())))
    };
    database.by_due(trigger, u64::MAX, visit).unwrap();
    assert_eq!(ordered, due);
    assert_eq!(database.count(trigger).0, due.len() as u64);
    due
}

type Truth = BTreeMap<&'static str, BTreeSet<u64>>;

/// What waited for whom, after which operation of the disk.
fn run(seed: u64) -> (Simulated, BTreeMap<usize, Truth>) {
    let random = &mut fastrand::Rng::with_seed(seed);
    let disk = Simulated::new();
    let mut moments = BTreeMap::from([(0, Truth::new())]);
    let mut database = make(&disk);
    let (mut truth, mut sequences, mut number) = (Truth::new(), BTreeMap::new(), 0);
    for _ in 0..12 {
        let mut changes = Vec::new();
        for _ in 0..random.usize(1..6) {
            let trigger = ["n/a", "n/b"][random.usize(..2)];
            changes.push(put(trigger, number, random.usize(0..3000)));
            truth.entry(trigger).or_default().insert(number);
            number += 1;
        }
        // Sequences are given in the order of triggers.
        changes.sort_by_key(|change| match change {
            Change::Put { trigger, .. } => Arc::clone(trigger),
            _ => unreachable!(),
        });
        for (sequence, change) in (database.next()..).zip(&changes) {
            let Change::Put { rows, .. } = change else { unreachable!() };
            let mut row = vec![0; rows[0].1.len()];
            rows[0].1.write(&mut row);
            let (draft, _) = row::decode(&row).unwrap();
            sequences.insert(sequence, draft.get("id").unwrap().parse().unwrap());
        }
        let trigger = ["n/a", "n/b"][random.usize(..2)];
        let mine = truth.entry(trigger).or_default();
        let known = sequences.iter().filter(|(_, number)| mine.contains(number));
        let gone: Vec<_> = known.filter(|_| random.bool()).map(|(&s, &n)| (s, n)).collect();
        mine.retain(|number| !gone.iter().any(|(_, gone)| gone == number));
        let settled = gone.iter().map(|&(sequence, _)| sequence).collect();
        changes.push(Change::Settle { trigger: trigger.into(), sequences: settled });
        if random.u8(..8) == 0 {
            truth.remove("n/b");
            changes.push(Change::Clear { trigger: "n/b".into() });
        }
        database.apply(&changes).unwrap();
        moments.insert(disk.moment(), truth.clone());
    }
    (disk, moments)
}

#[test]
fn whatever_a_crash_leaves_every_row_is_found() {
    let (runs, images) = (8, 60);
    for seed in 0..runs {
        let (disk, moments) = run(seed);
        for image in 0..images {
            let random = &mut fastrand::Rng::with_seed(seed << 32 | image);
            let moment = random.usize(0..=disk.moment());
            let case = format!("seed {seed}, image {image}, moment {moment}");
            let before = moments.range(..=moment).next_back().unwrap().1;
            let after = moments.range(moment..).next().map_or(before, |(_, truth)| truth);
            let crashed = disk.crash(moment, random);
            let found = open(&crashed).unwrap_or_else(|error| panic!("{case}: {error}"));
            let is_there = found.is_some();
            let database = found.unwrap_or_else(|| make(&crashed));
            let seen = |truth: &Truth| {
                ["n/a", "n/b"].iter().all(|name| {
                    waiting(&database, name) == truth.get(name).cloned().unwrap_or_default()
                })
            };
            assert!(is_there || before.is_empty(), "{case}: the database is gone");
            // A commit is there whole or not at all.
            assert!(seen(before) || seen(after), "{case}");
        }
    }
}

#[test]
fn a_database_that_is_gone_or_another_file_is_refused() {
    let disk = Simulated::new();
    let mut database = make(&disk);
    database.apply(&[put("n/a", 1, 10)]).unwrap();
    drop(database);
    let gone = disk.copy();
    gone.remove("waiting.redb").unwrap();
    assert!(matches!(open(&gone), Err(OpenError::Damaged { .. })));
    let other = disk.copy();
    other.open("waiting.redb").unwrap().write_at(b"something else", 0).unwrap();
    assert!(matches!(open(&other), Err(OpenError::Database(_))));
    assert_eq!(waiting(&open(&disk).unwrap().unwrap(), "n/a"), BTreeSet::from([1]));
}

#[test]
fn a_clock_that_was_set_back_is_noticed() {
    let disk = Simulated::new();
    let mut database = make(&disk);
    // A process whose clock was an hour ahead.
    database.behind_micros = u64::try_from(Duration::from_secs(3600).as_micros()).unwrap();
    database.apply(&[put("n/a", 1, 10)]).unwrap();
    drop(database);
    let database = open(&disk).unwrap().unwrap();
    let behind = Duration::from_micros(database.behind_micros);
    let hour = Duration::from_secs(3600);
    assert!(behind <= hour && behind > hour / 2, "{behind:?}");
    assert_eq!(database.found_below, 1);
}
