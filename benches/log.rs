//! What it costs to store events durably: the disk channel beside redb, a bare fdatasync, and the memory channel.
//!
//! Files lie in the system's folder for temporary files, or where `TMPDIR` says: that must be a disk.

use std::{
    fs::File,
    future::Future,
    os::unix::fs::FileExt,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use channel::{
    Batch, Budget, Channel, Data, Disk, DiskSettings, Draft, Event, Invalid, Lease, Memory,
    MemoryLimits, Name, Reader, SpecVersion, disk, record,
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use redb::{Database, TableDefinition};
use tokio::task::JoinSet;

/// Publishers at once, or records that share a sync.
const PUBLISHERS: [usize; 3] = [1, 64, 512];

#[allow(clippy::panic, reason = "an event that is wrong must not be measured")]
fn event() -> Event {
    let build = || -> Result<Event, Invalid> {
        let mut draft = Draft::new(SpecVersion::V10);
        draft.push_wire("id", support::ID.as_bytes())?;
        draft.push_wire("type", support::ty(0).as_bytes())?;
        for (name, value) in support::HEADERS {
            match name.strip_prefix("ce-") {
                Some("specversion") => {}
                Some(name) => draft.push_wire(name, value.as_bytes())?,
                None => draft.content_type(value.as_bytes())?,
            }
        }
        draft.set_data(Some(Data::opaque(Bytes::from(support::body(1024)))));
        draft.finish()
    };
    build().unwrap_or_else(|invalid| panic!("{invalid}"))
}

/// The time of `count` publishes by so many tasks, with everything lent and settled on the way.
#[allow(clippy::expect_used, reason = "what fails must not be measured")]
async fn publish(
    channel: &Arc<dyn Channel>,
    event: &Event,
    publishers: usize,
    count: u64,
) -> Duration {
    let each = count.div_ceil(publishers as u64);
    let mut reader = channel.reader(0);
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..publishers {
        let (channel, event) = (Arc::clone(channel), event.clone());
        tasks.spawn(async move {
            for number in 0..each {
                channel.publish(0, Batch::from_iter([event.clone()])).await.expect("there is room");
                // A channel that answers at once must leave the reader its turn.
                if number % 64 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    let mut left = each * publishers as u64;
    std::future::poll_fn(|cx| settle(&mut *reader, cx, &mut left)).await;
    while let Some(done) = tasks.join_next().await {
        done.expect("no panic");
    }
    start.elapsed()
}

fn settle(reader: &mut dyn Reader, cx: &mut Context<'_>, left: &mut u64) -> Poll<()> {
    while *left > 0 {
        let Poll::Ready(lease) = reader.poll_lend(cx) else { return Poll::Pending };
        lease.into_iter().for_each(Lease::settle);
        *left -= 1;
    }
    Poll::Ready(())
}

#[allow(clippy::expect_used, reason = "what fails must not be measured")]
fn channels(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let data = disk::Data::open(folder.path()).expect("it opens");
    let settings = DiskSettings { retention_bytes_max: 256 << 20, ..DiskSettings::default() };
    let name = Name::new("default", "bench");
    let budget = || Budget::new(256 << 20);
    let disk = Disk::open(&data, &name, 1, settings, budget()).expect("it opens");
    let channels: [(&str, Arc<dyn Channel>); 2] =
        [("disk", disk), ("memory", Memory::new(1, MemoryLimits::default(), budget()))];
    let event = event();
    let mut group = criterion.benchmark_group("log");
    group.throughput(Throughput::Elements(1));
    for (name, channel) in &channels {
        for publishers in PUBLISHERS {
            group.bench_function(BenchmarkId::new(*name, publishers), |bencher| {
                bencher.iter_custom(|count| {
                    run(&runtime, publish(channel, &event, publishers, count))
                });
            });
        }
    }
    group.finish();
    for (_, channel) in channels {
        channel.close();
        run(&runtime, channel.end(Instant::now() + Duration::from_secs(10)));
    }
}

fn run<T>(runtime: &tokio::runtime::Runtime, work: impl Future<Output = T>) -> T {
    runtime.block_on(work)
}

#[allow(clippy::expect_used, reason = "what fails must not be measured")]
fn engines(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut record = Vec::new();
    record::encode(&event(), &mut record);
    let mut group = criterion.benchmark_group("log");
    group.throughput(Throughput::Elements(1));
    let db = Database::create(folder.path().join("redb")).expect("it opens");
    let mut next = 0;
    for records in PUBLISHERS {
        group.bench_function(BenchmarkId::new("redb", records), |bencher| {
            bencher.iter_custom(|count| {
                let start = Instant::now();
                for _ in 0..count.div_ceil(records as u64) {
                    commit(&db, &record, next, records as u64).expect("there is room");
                    next += records as u64;
                }
                start.elapsed()
            });
        });
    }
    let file = File::create(folder.path().join("file")).expect("it opens");
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, 64 << 20)
        .expect("there is room");
    for records in PUBLISHERS {
        let group_bytes = record.repeat(records);
        group.bench_function(BenchmarkId::new("fdatasync", records), |bencher| {
            bencher.iter_custom(|count| {
                let start = Instant::now();
                let mut offset = 0;
                for _ in 0..count.div_ceil(records as u64) {
                    file.write_all_at(&group_bytes, offset).expect("there is room");
                    file.sync_data().expect("it is synced");
                    offset = (offset + group_bytes.len() as u64) % (60 << 20);
                }
                start.elapsed()
            });
        });
    }
    group.finish();
}

const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");

/// Puts records, and deletes those that lie 20,000 back.
fn commit(db: &Database, record: &[u8], next: u64, records: u64) -> Result<(), redb::Error> {
    let write = db.begin_write()?;
    {
        let mut events = write.open_table(EVENTS)?;
        for position in next..next + records {
            events.insert(position, record)?;
            if let Some(old) = position.checked_sub(20_000) {
                events.remove(old)?;
            }
        }
    }
    write.commit()?;
    Ok(())
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    targets = channels, engines
}
criterion_main!(benches);
