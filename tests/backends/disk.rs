//! The contract, kept by the channel on disk.

use std::{
    collections::HashMap,
    env, fs,
    future::poll_fn,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use channel::{
    Budget, Channel, Data as Body, Disk, DiskSettings, Draft, Envelope, Name, SpecVersion, Waiting,
    clock,
    contract::{self, Backend, Wanted},
    disk::{Data, OpenError},
};
use tempfile::TempDir;

/// Each fresh channel has a folder of its own.
#[derive(Default)]
struct OnDisk {
    folders: Mutex<HashMap<*const (), (TempDir, Data)>>,
}

fn key(channel: &Arc<dyn Channel>) -> *const () {
    Arc::as_ptr(channel).cast()
}

impl OnDisk {
    fn open(&self, folder: TempDir, data: Data, wanted: Wanted) -> Arc<dyn Channel> {
        let settings = DiskSettings {
            events_max: wanted.events_max,
            // The suite must run on a disk that is nearly full, too.
            free_bytes_min: 64 << 20,
            free_percent_min: 0,
            ..DiskSettings::default()
        };
        let name = Name::new("default", "a-broker");
        let budget = Budget::new(64 << 20);
        let disk: Arc<dyn Channel> =
            Disk::open(&data, &name, wanted.workers, settings, budget).expect("it opens");
        self.folders.lock().expect("no panic").insert(key(&disk), (folder, data));
        disk
    }
}

impl Backend for OnDisk {
    async fn fresh(&self, wanted: Wanted) -> Arc<dyn Channel> {
        let folder = tempfile::tempdir().expect("a folder");
        let data = Data::open(folder.path()).expect("it opens");
        self.open(folder, data, wanted)
    }

    async fn again(&self, before: Arc<dyn Channel>, wanted: Wanted) -> Arc<dyn Channel> {
        let (folder, data) =
            self.folders.lock().expect("no panic").remove(&key(&before)).expect("it was opened");
        drop(before);
        drop(data);
        let data = Data::open(folder.path()).expect("the folder was let go");
        self.open(folder, data, wanted)
    }
}

#[tokio::test]
async fn disk_keeps_the_contract() {
    contract::check(&OnDisk::default()).await;
}

fn waiting(number: usize) -> Waiting {
    let mut draft = Draft::new(SpecVersion::V10);
    for (name, value) in [("id", &*number.to_string()), ("source", "/s"), ("type", "t")] {
        draft.push_wire(name, value.as_bytes()).unwrap();
    }
    draft.set_data(Some(Body::opaque(Bytes::from(vec![b'x'; 1024]))));
    let now = clock::now();
    let envelope = Envelope {
        attempts: 1,
        first_at: now,
        put_at: now,
        due_at: now,
        history: Bytes::from_static(b"503"),
    };
    Waiting { event: draft.finish().unwrap(), envelope }
}

/// Bytes of memory that are this process's own: without pages of files.
fn resident() -> i64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<i64>().unwrap() * 1024
}

fn open(folder: &TempDir) -> Result<Arc<Disk>, OpenError> {
    let settings =
        DiskSettings { free_bytes_min: 64 << 20, free_percent_min: 0, ..DiskSettings::default() };
    let name = Name::new("default", "a-broker");
    Disk::open(&Data::open(folder.path())?, &name, 2, settings, Budget::new(64 << 20))
}

/// 1,000,000 in the long form.
#[tokio::test]
async fn what_waits_costs_no_memory_and_is_found_at_once() {
    let is_long = env::var("CATCHMENT_TEST_LONG").is_ok();
    let count = if is_long { 1_000_000 } else { 50_000 };
    let folder = tempfile::tempdir().unwrap();
    let disk = open(&folder).unwrap();
    let trigger = Name::new("default", "slow");
    let overflow = disk.overflow(&trigger, false);
    let put = async |first: usize| {
        let some = (first..first + 500).map(waiting).collect();
        overflow.put(some).await.expect("there is room");
    };
    for first in (0..5000).step_by(500) {
        put(first).await;
    }
    let (before, start) = (resident(), Instant::now());
    for first in (5000..count).step_by(500) {
        put(first).await;
    }
    let grown = (resident() - before) >> 10;
    println!("{count} waiting: {grown} KiB more, put in {:?}", start.elapsed());
    assert!(grown < 16 << 10, "{grown} KiB");
    assert_eq!(overflow.depth().events, count);
    // What a process that is killed leaves: its files, as they are while it runs.
    let killed = copy_of(&folder);
    let start = Instant::now();
    let again = open(&killed).unwrap();
    let overflow_again = again.overflow(&trigger, false);
    let mut reader = overflow_again.reader(0);
    let lease = poll_fn(|cx| reader.poll_lend(cx)).await.expect("it is lent");
    println!("opened and lent after {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(20));
    assert_eq!(lease.event().id(), "0");
    assert_eq!(overflow_again.depth().events, count);
    assert_eq!(again.overflowing(), [trigger]);
    drop(lease);
    let start = Instant::now();
    assert_eq!(overflow_again.clear().await.unwrap(), count);
    println!("cleared in {:?}", start.elapsed());
    let left = fs::metadata(killed.path().join("brokers/default/a-broker/waiting.redb")).unwrap();
    assert!(left.len() < 16 << 20, "{} bytes are left", left.len());
    for channel in [disk, again] {
        channel.close();
        channel.end(Instant::now() + Duration::from_secs(20)).await;
    }
}

fn copy_of(folder: &TempDir) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    let part = "brokers/default/a-broker";
    fs::create_dir_all(copy.path().join(part)).unwrap();
    fs::copy(folder.path().join("VERSION"), copy.path().join("VERSION")).unwrap();
    for entry in fs::read_dir(folder.path().join(part)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(part).join(entry.file_name())).unwrap();
    }
    copy
}

#[tokio::test]
async fn a_folder_has_one_process_and_a_channel_one_owner() {
    let folder = tempfile::tempdir().unwrap();
    let data = Data::open(folder.path()).unwrap();
    let name = Name::new("default", "a-broker");
    let again = || Disk::open(&data, &name, 1, DiskSettings::default(), Budget::new(1 << 20));
    let disk = again().unwrap();
    assert!(matches!(open(&folder), Err(OpenError::Locked { .. })));
    assert!(matches!(again(), Err(OpenError::InUse { .. })));
    let other = Name::new("..", "a-broker");
    let unsafe_name = Disk::open(&data, &other, 1, DiskSettings::default(), Budget::new(1 << 20));
    assert!(matches!(unsafe_name, Err(OpenError::UnsafeName { .. })));
    disk.close();
    disk.end(Instant::now() + Duration::from_secs(20)).await;
    again().expect("it was let go");
    drop(data);
}
