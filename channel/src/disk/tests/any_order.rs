//! Publishing, lending, settling, dropping and restarting in any order, with hardly any memory.

use std::{
    collections::BTreeSet,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use super::event;
use crate::{
    Batch, Budget, Channel, Disk, DiskSettings, Lease, Reader, disk::simulated::Simulated,
};

const WORKERS: usize = 3;

fn open(disk: &Simulated) -> (Arc<Disk>, Vec<Box<dyn Reader>>) {
    let settings = DiskSettings {
        free_bytes_min: 0,
        free_percent_min: 0,
        segment_bytes: 16 << 10,
        // Segments go as soon as they are settled.
        retention: Duration::ZERO,
        read_ahead_bytes_max: 12 << 10,
        ..DiskSettings::default()
    };
    let storage = Arc::new(disk.clone());
    let budget = Budget::new(64 << 10);
    let channel = Disk::with_storage(storage, None, WORKERS, settings, budget).unwrap();
    let readers = (0..WORKERS).map(|worker| channel.reader(worker)).collect();
    (channel, readers)
}

fn poll(reader: &mut dyn Reader) -> Option<Lease> {
    match reader.poll_lend(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(lease) => lease,
        Poll::Pending => None,
    }
}

async fn run(seed: u64) {
    let random = &mut fastrand::Rng::with_seed(seed);
    let disk = Simulated::new();
    let (mut channel, mut readers) = open(&disk);
    let (mut published, mut settled) = (0, BTreeSet::new());
    let mut held: Vec<Lease> = Vec::new();
    for step in 0..400 {
        match random.u8(..12) {
            0..5 => {
                let count = random.u64(1..6);
                let some: Batch = (published..published + count)
                    .map(|number| {
                        let mut draft = event(number, random.usize(..900)).edit();
                        draft.set("partitionkey", &format!("k{}", number % 7));
                        draft.finish().unwrap()
                    })
                    .collect();
                channel.publish(random.usize(..WORKERS), some).await.unwrap();
                published += count;
            }
            // The first worker is lazy.
            5..9 => {
                let worker = if random.u8(..8) == 0 { 0 } else { random.usize(1..WORKERS) };
                held.extend((0..random.usize(1..20)).map_while(|_| poll(&mut *readers[worker])));
            }
            9 | 10 => {
                random.shuffle(&mut held);
                for lease in held.drain(held.len() / 3..) {
                    let number: u64 = lease.event().id().parse().unwrap();
                    let is_new = settled.insert(number);
                    assert!(
                        is_new,
                        "seed {seed}, step {step}: {number} was lent after it was settled"
                    );
                    lease.settle();
                }
                if random.bool() {
                    held.clear();
                }
            }
            _ if random.u8(..4) == 0 => {
                channel.close();
                held.clear();
                channel.end(Instant::now() + Duration::from_secs(20)).await;
                (channel, readers) = open(&disk);
            }
            _ => channel.keep_keys_together(random.bool()),
        }
    }
    held.clear();
    let deadline = Instant::now() + Duration::from_secs(20);
    while (settled.len() as u64) < published {
        assert!(Instant::now() < deadline, "seed {seed}: lost, {} of {published}", settled.len());
        assert_eq!(channel.failure(), None, "seed {seed}");
        for reader in &mut readers {
            while let Some(lease) = poll(&mut **reader) {
                let number: u64 = lease.event().id().parse().unwrap();
                assert!(settled.insert(number), "seed {seed}: {number} was lent twice");
                lease.settle();
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(channel.depth(), crate::Depth::default());
    channel.close();
    channel.end(Instant::now() + Duration::from_secs(20)).await;
}

#[tokio::test]
async fn everything_is_lent_until_it_is_settled_and_never_after() {
    let seeds = if std::env::var("CATCHMENT_TEST_LONG").is_ok() { 500 } else { 15 };
    for seed in 0..seeds {
        run(seed).await;
    }
}
