//! The whole channel on a simulated disk: failures, a full disk, and more than memory holds.

use std::{
    collections::BTreeSet,
    future::poll_fn,
    sync::Arc,
    time::{Duration, Instant},
};

use super::event;
use crate::{
    Batch, Budget, Channel, Disk, DiskSettings, Envelope, Lease, Name, PublishError, Reader,
    Waiting, clock,
    disk::{
        settings::{BYTES_MAX, EVENT_BYTES_MAX, EVENTS_MAX, FREE_BYTES_MIN, FREE_PERCENT_MIN},
        simulated::{Fails, Simulated},
    },
};

const SETTINGS: fn() -> DiskSettings = || DiskSettings {
    free_bytes_min: 0,
    free_percent_min: 0,
    segment_bytes: 64 << 10,
    ..DiskSettings::default()
};

fn open(disk: &Simulated, settings: DiskSettings, budget: &Arc<Budget>) -> Arc<Disk> {
    Disk::with_storage(Arc::new(disk.clone()), None, 2, settings, Arc::clone(budget)).unwrap()
}

async fn end(channel: Arc<Disk>) {
    channel.close();
    channel.end(Instant::now() + Duration::from_secs(20)).await;
}

async fn publish(channel: &Disk, number: u64, len: usize) -> Result<(), PublishError> {
    channel.publish(0, Batch::from_iter([event(number, len)])).await.map(drop)
}

async fn next(reader: &mut dyn Reader) -> Lease {
    let lease = poll_fn(|cx| reader.poll_lend(cx));
    tokio::time::timeout(Duration::from_secs(20), lease).await.unwrap().unwrap()
}

fn number(lease: &Lease) -> u64 {
    lease.event().id().parse().unwrap()
}

#[tokio::test]
async fn a_failing_disk_stops_the_channel() {
    for fails in [Fails::Writes, Fails::Syncs] {
        let disk = Simulated::new();
        let channel = open(&disk, SETTINGS(), &Budget::new(1 << 20));
        publish(&channel, 1, 10).await.unwrap();
        assert_eq!((channel.health(), channel.failure()), (Ok(()), None));
        disk.fail(Some(fails));
        let unknown = publish(&channel, 2, 10).await;
        assert!(matches!(unknown, Err(PublishError::Unknown { .. })), "{unknown:?}");
        disk.fail(None);
        let down = publish(&channel, 3, 10).await;
        assert!(matches!(down, Err(PublishError::Down { .. })), "{down:?}");
        assert!(channel.health().is_err() && channel.failure().is_some());
        let moment = disk.moment();
        end(channel).await;
        assert_eq!(disk.moment(), moment, "a disk that failed was written to");
        let channel = open(&disk, SETTINGS(), &Budget::new(1 << 20));
        let mut reader = channel.reader(0);
        assert_eq!(number(&next(&mut *reader).await), 1);
    }
}

#[tokio::test]
async fn a_failing_database_stops_the_channel() {
    for fails in [Fails::Writes, Fails::Syncs] {
        let disk = Simulated::new();
        let channel = open(&disk, SETTINGS(), &Budget::new(1 << 20));
        let ledger = channel.ledger().unwrap();
        ledger.put("a", "1".into()).await.unwrap();
        disk.fail(Some(fails));
        let unknown = ledger.put("b", "2".into()).await;
        assert!(matches!(unknown, Err(PublishError::Unknown { .. })), "{unknown:?}");
        let down = publish(&channel, 3, 10).await;
        assert!(matches!(down, Err(PublishError::Down { .. })), "{down:?}");
        end(channel).await;
    }
}

#[tokio::test]
async fn a_full_disk_refuses_what_is_new_and_settles_what_is_there() {
    let disk = Simulated::new();
    let channel = open(&disk, SETTINGS(), &Budget::new(8 << 20));
    let mut reader = channel.reader(0);
    // Room for the headroom file and some segments.
    disk.limit(Some((16 << 20) + (512 << 10)));
    let mut stored = 0;
    let refused = loop {
        match publish(&channel, stored, 4000).await {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
    };
    let is_full = matches!(refused, PublishError::Full { bound: FREE_BYTES_MIN, .. });
    assert!(is_full && stored > 50, "{refused:?} after {stored}");
    // Nothing else may take the room that the headroom gave back.
    for _ in 0..stored {
        next(&mut *reader).await.settle();
    }
    drop(reader);
    end(channel).await;
    let channel = open(&disk, SETTINGS(), &Budget::new(8 << 20));
    assert_eq!(channel.depth().events, 0, "what was settled was not written down");
    disk.limit(None);
    let again = async || {
        while publish(&channel, 1, 10).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again()).await.expect("it takes events again");
}

#[tokio::test]
async fn little_room_refuses_what_is_new() {
    let disk = Simulated::new();
    disk.limit(Some(64 << 20));
    let settings = DiskSettings { free_bytes_min: 65 << 20, ..SETTINGS() };
    let channel = open(&disk, settings, &Budget::new(1 << 20));
    let refused = publish(&channel, 1, 10).await;
    let is_full = matches!(refused, Err(PublishError::Full { bound: FREE_BYTES_MIN, .. }));
    assert!(is_full, "{refused:?}");
    // What was accepted may still wait.
    put(&channel, 1).await.unwrap();
    end(channel).await;
}

#[tokio::test]
async fn little_room_is_told_by_the_larger_of_two_bounds() {
    let disk = Simulated::new();
    disk.limit(Some(64 << 20));
    let settings = DiskSettings { free_bytes_min: 63 << 20, free_percent_min: 101, ..SETTINGS() };
    let channel = open(&disk, settings, &Budget::new(1 << 20));
    let refused = publish(&channel, 1, 10).await;
    let is_full = matches!(refused, Err(PublishError::Full { bound: FREE_PERCENT_MIN, .. }));
    assert!(is_full, "{refused:?}");
    end(channel).await;
}

async fn put(channel: &Disk, number: u64) -> Result<(), PublishError> {
    let now = clock::now();
    let envelope = Envelope {
        attempts: 0,
        first_at: now,
        put_at: now,
        due_at: now,
        history: bytes::Bytes::new(),
    };
    let overflow = channel.overflow(&Name::new("n", "t"), false);
    overflow.put(vec![Waiting { event: event(number, 4000), envelope }]).await.map(drop)
}

#[tokio::test]
async fn every_bound_is_kept_and_counted() {
    let settings =
        DiskSettings { events_max: 30, bytes_max: 100 << 10, event_bytes_max: 5000, ..SETTINGS() };
    let channel = open(&Simulated::new(), settings, &Budget::new(1 << 20));
    for number in 0..12 {
        publish(&channel, number, 4000).await.unwrap();
    }
    let refused = async |len| publish(&channel, 100, len).await.unwrap_err();
    assert!(matches!(refused(6000).await, PublishError::TooLarge { limit: 5000, .. }));
    while publish(&channel, 21, 4000).await.is_ok() {}
    let error = refused(4000).await;
    assert!(matches!(error, PublishError::Full { bound: BYTES_MAX, .. }), "{error:?}");
    // A sixteenth is left for what was accepted.
    put(&channel, 1).await.unwrap();
    let error = loop {
        if let Err(error) = put(&channel, 2).await {
            break error;
        }
    };
    assert!(matches!(error, PublishError::Full { bound: BYTES_MAX, .. }), "{error:?}");
    let mut reader = channel.reader(0);
    for _ in 0..channel.depth().events {
        next(&mut *reader).await.settle();
    }
    tokio::time::timeout(Duration::from_secs(20), async {
        while publish(&channel, 1, 10).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("settling makes room");
    while publish(&channel, 1, 10).await.is_ok() {}
    let error = refused(10).await;
    assert!(matches!(error, PublishError::Full { bound: EVENTS_MAX, .. }), "{error:?}");
    let reached = channel.bounds_reached();
    for bound in [EVENTS_MAX, BYTES_MAX, EVENT_BYTES_MAX] {
        assert!(reached.iter().any(|&(name, count)| name == bound && count > 0), "{bound}");
    }
    end(channel).await;
}

#[tokio::test]
async fn more_than_memory_holds_is_read_back_in_order() {
    const EVENTS: u64 = 3000;
    let disk = Simulated::new();
    let settings = DiskSettings { read_ahead_bytes_max: 100 << 10, ..SETTINGS() };
    let budget = Budget::new(150 << 10);
    let channel = open(&disk, settings, &budget);
    for number in 0..EVENTS {
        publish(&channel, number, 500).await.unwrap();
    }
    assert!(channel.gauges.ahead.load(std::sync::atomic::Ordering::Relaxed) <= 110 << 10);
    let mut reader = channel.reader(0);
    let mut held = Vec::new();
    for expected in 0..EVENTS / 2 {
        let lease = next(&mut *reader).await;
        assert_eq!(number(&lease), expected);
        assert!(budget.used() <= budget.limit());
        if expected % 100 == 7 {
            held.push(expected);
            // Dropped at the end: it is stored, and lent by the next process.
            std::mem::forget(lease);
        } else {
            lease.settle();
        }
        if expected % 10 == 0 {
            publish(&channel, EVENTS + expected / 10, 500).await.unwrap();
        }
    }
    drop(reader);
    end(channel).await;
    let channel = open(&disk, settings, &Budget::new(150 << 10));
    let mut reader = channel.reader(0);
    let mut seen = BTreeSet::new();
    let all = EVENTS + EVENTS / 20;
    while seen.len() < usize::try_from(all - EVENTS / 2).unwrap() + held.len() {
        let lease = next(&mut *reader).await;
        let number = number(&lease);
        assert!(seen.last().is_none_or(|&last| last < number), "{number} is out of order");
        seen.insert(number);
        lease.settle();
    }
    let expected: BTreeSet<u64> = held.into_iter().chain(EVENTS / 2..all).collect();
    assert_eq!(seen, expected);
    assert_eq!(channel.depth(), crate::Depth::default());
    publish(&channel, 1, 10).await.unwrap();
    assert_eq!(number(&next(&mut *reader).await), 1, "it goes on from memory");
    end(channel).await;
}

#[tokio::test]
async fn publishes_of_many_tasks_share_syncs_and_are_all_answered() {
    let disk = Simulated::new();
    let channel = open(&disk, SETTINGS(), &Budget::new(64 << 20));
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..64 {
        let channel = Arc::clone(&channel);
        tasks.spawn(async move {
            for number in 0..50 {
                publish(&channel, task * 50 + number, 100).await.unwrap();
                if number % 7 == 0 {
                    // Some are given up on while they are on their way.
                    drop(channel.publish(1, Batch::from_iter([event(9999, 10)])));
                }
            }
        });
    }
    tokio::time::timeout(Duration::from_secs(60), async {
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    })
    .await
    .expect("a publish was never answered");
    end(channel).await;
    let channel = open(&disk, SETTINGS(), &Budget::new(64 << 20));
    assert_eq!(channel.depth().events, 64 * (50 + 8));
    end(channel).await;
}

#[tokio::test]
async fn a_worker_that_takes_nothing_holds_up_no_other_even_when_keys_move() {
    const EVENTS: u64 = 2000;
    let settings = DiskSettings { read_ahead_bytes_max: 64 << 10, ..SETTINGS() };
    let channel = open(&Simulated::new(), settings, &Budget::new(1 << 20));
    let keyed = |number: u64| {
        let mut draft = event(number, 300).edit();
        draft.set("partitionkey", &format!("k{}", number % 5));
        Batch::from_iter([draft.finish().unwrap()])
    };
    for number in 0..EVENTS {
        let worker = usize::try_from(number % 2).unwrap();
        channel.publish(worker, keyed(number)).await.unwrap();
    }
    let mut readers = [channel.reader(0), channel.reader(1)];
    let mut seen = BTreeSet::new();
    // Only the first worker takes anything.
    while seen.len() < 500 {
        let lease = next(&mut *readers[0]).await;
        assert!(seen.insert(number(&lease)) && number(&lease).is_multiple_of(2));
        lease.settle();
    }
    channel.keep_keys_together(true);
    tokio::time::timeout(Duration::from_secs(20), async {
        while u64::try_from(seen.len()).unwrap() < EVENTS {
            for reader in &mut readers {
                loop {
                    let lease = poll_fn(|cx| reader.poll_lend(cx));
                    let lease = tokio::time::timeout(Duration::from_millis(50), lease).await;
                    let Ok(Some(lease)) = lease else { break };
                    assert!(seen.insert(number(&lease)), "{} was lent twice", number(&lease));
                    lease.settle();
                }
            }
        }
    })
    .await
    .expect("everything is lent");
    assert_eq!(channel.depth(), crate::Depth::default());
    end(channel).await;
}

#[tokio::test]
async fn keys_stay_together_after_a_restart() {
    let disk = Simulated::new();
    let channel = open(&disk, SETTINGS(), &Budget::new(1 << 20));
    for number in 0..100 {
        let mut draft = event(number, 10).edit();
        draft.set("partitionkey", &format!("k{}", number % 5));
        let some = Batch::from_iter([draft.finish().unwrap()]);
        channel.publish(usize::try_from(number % 2).unwrap(), some).await.unwrap();
    }
    end(channel).await;
    let channel = open(&disk, SETTINGS(), &Budget::new(1 << 20));
    channel.keep_keys_together(true);
    let mut readers = [channel.reader(0), channel.reader(1)];
    for (worker, reader) in readers.iter_mut().enumerate() {
        loop {
            let lease = poll_fn(|cx| reader.poll_lend(cx));
            let lease = tokio::time::timeout(Duration::from_millis(100), lease).await;
            let Ok(Some(lease)) = lease else { break };
            assert_eq!(crate::key_worker(lease.event(), 2), worker);
            lease.settle();
        }
    }
    assert_eq!(channel.depth().events, 0);
    end(channel).await;
}

#[tokio::test]
async fn large_events_go_in_several_groups_and_are_all_found_again() {
    let disk = Simulated::new();
    let channel = open(&disk, SETTINGS(), &Budget::new(64 << 20));
    let publishes: Vec<_> = (0..10)
        .map(|number| channel.publish(0, Batch::from_iter([event(number, 700 << 10)])))
        .collect();
    for (place, publish) in publishes.into_iter().enumerate() {
        assert_eq!(publish.await.unwrap().0, place as u64);
    }
    end(channel).await;
    let channel = open(&disk, SETTINGS(), &Budget::new(64 << 20));
    let mut reader = channel.reader(0);
    for expected in 0..10 {
        let lease = next(&mut *reader).await;
        assert_eq!(lease.event(), &event(expected, 700 << 10));
        lease.settle();
    }
    end(channel).await;
}
