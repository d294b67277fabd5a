//! The database's file, by way of the few operations of a storage.

use std::{io, sync::Arc};

use redb::StorageBackend;

use crate::disk::{space::Room, storage::File};

#[derive(Debug)]
pub(super) struct Backend {
    pub(super) file: Arc<dyn File>,
    pub(super) room: Arc<Room>,
}

impl Backend {
    /// Tries once more with the headroom given back: what is settled must be written even then.
    fn with_headroom(&self, work: impl Fn() -> io::Result<()>) -> io::Result<()> {
        match work() {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                self.room.give_headroom();
                work()
            }
            done => done,
        }
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.file.read_at(out, offset)? < out.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with_headroom(|| self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with_headroom(|| self.file.write_at(data, offset))
    }
}
