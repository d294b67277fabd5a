//! The contract, kept by the channel on disk.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use channel::{
    Budget, Channel, Disk, DiskSettings, Name,
    contract::{self, Backend, Wanted},
    disk::Data,
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
