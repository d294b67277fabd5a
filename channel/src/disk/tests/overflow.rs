//! Overflows of a channel on a simulated disk, with more rows than are read ahead.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::poll_fn,
    sync::Arc,
    time::{Duration, Instant},
};

use super::event;
use crate::{
    Budget, Channel, Depth, Disk, DiskSettings, Envelope, Lease, Name, Reader, Waiting, clock,
    disk::simulated::Simulated,
};

const ROWS: u64 = 700;

fn open(disk: &Simulated, budget: usize) -> Arc<Disk> {
    let settings =
        DiskSettings { free_bytes_min: 0, free_percent_min: 0, ..DiskSettings::default() };
    Disk::with_storage(Arc::new(disk.clone()), None, 2, settings, Budget::new(budget)).unwrap()
}

/// Rows of five keys; the later one was put, the earlier it is due.
fn rows() -> Vec<Waiting> {
    let now = clock::now();
    let row = |number| {
        let mut draft = event(number, 300).edit();
        draft.set("partitionkey", &format!("k{}", number % 5));
        let history = bytes::Bytes::new();
        let due_at = now - Duration::from_micros(number);
        let envelope = Envelope { attempts: 1, first_at: now, put_at: now, due_at, history };
        Waiting { event: draft.finish().unwrap(), envelope }
    };
    (0..ROWS).map(row).collect()
}

async fn ready(reader: &mut dyn Reader) -> Option<Lease> {
    let lease = poll_fn(|cx| reader.poll_lend(cx));
    tokio::time::timeout(Duration::from_millis(200), lease).await.ok().flatten()
}

fn number(lease: &Lease) -> u64 {
    lease.event().id().parse().unwrap()
}

async fn end(channel: Arc<Disk>) {
    channel.close();
    channel.end(Instant::now() + Duration::from_secs(20)).await;
}

#[tokio::test]
async fn rows_are_lent_by_due_time_in_little_memory() {
    let disk = Simulated::new();
    let name = Name::new("n", "t");
    let channel = open(&disk, 40 << 10);
    let overflow = channel.overflow(&name, false);
    let mut readers = [overflow.reader(0), overflow.reader(1)];
    overflow.put(rows()).await.unwrap();
    let (mut last, mut count) = (None, 0);
    while count < ROWS / 2 {
        let lease = ready(&mut *readers[usize::try_from(count % 2).unwrap()]).await.unwrap();
        let due = lease.envelope().unwrap().due_at;
        assert!(last.is_none_or(|last| last <= due), "{} came late", number(&lease));
        last = Some(due);
        lease.settle();
        count += 1;
    }
    drop(readers);
    overflow.close();
    drop(overflow);
    end(channel).await;
    let channel = open(&disk, 40 << 10);
    let overflow = channel.overflow(&name, false);
    let mut reader = overflow.reader(1);
    let mut seen = BTreeSet::new();
    while let Some(lease) = ready(&mut *reader).await {
        assert!(seen.insert(number(&lease)));
        lease.settle();
    }
    assert_eq!(seen, (0..ROWS / 2).collect(), "the later half was lent before");
    assert_eq!(overflow.depth(), Depth::default());
    end(channel).await;
}

#[tokio::test]
async fn an_ordered_overflow_goes_on_past_a_worker_that_takes_nothing() {
    let channel = open(&Simulated::new(), 4 << 20);
    let overflow = channel.overflow(&Name::new("n", "t"), true);
    overflow.put(rows()).await.unwrap();
    let mut last = BTreeMap::new();
    let mut count = 0;
    // One after the other: each has all of its own rows without the other.
    for worker in 0..2 {
        let mut reader = overflow.reader(worker);
        let mut again = Vec::new();
        while let Some(lease) = ready(&mut *reader).await {
            let key = crate::order_key(lease.event()).to_owned();
            if number(&lease).is_multiple_of(50) && again.len() < 3 && !lease.redelivered() {
                // It comes again at once, before all others.
                again.push(number(&lease));
                continue;
            }
            let before = last.insert(key, number(&lease));
            assert!(before.is_none_or(|before| before < number(&lease)), "out of order");
            lease.settle();
            count += 1;
        }
    }
    assert_eq!(count, ROWS);
    end(channel).await;
}

#[tokio::test]
async fn what_is_on_loan_when_all_is_cleared_does_not_come_back() {
    let channel = open(&Simulated::new(), 4 << 20);
    let overflow = channel.overflow(&Name::new("n", "t"), false);
    overflow.put(rows()).await.unwrap();
    let mut reader = overflow.reader(0);
    let (dropped, settled) = (ready(&mut *reader).await, ready(&mut *reader).await);
    assert_eq!(overflow.clear().await.unwrap(), usize::try_from(ROWS).unwrap());
    drop(dropped);
    settled.unwrap().settle();
    assert!(ready(&mut *reader).await.is_none());
    assert_eq!(overflow.depth(), Depth::default());
    assert_eq!(channel.overflowing(), []);
    overflow.put(rows()).await.unwrap();
    assert!(ready(&mut *reader).await.is_some(), "it can be used again");
    end(channel).await;
}
