//! A disk for tests: it can fail, fill up, and be cut off at any moment.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::disk::storage::{File, Space, Storage};

/// Files in memory, with a record of everything that was done to them.
#[derive(Clone, Default)]
pub(super) struct Simulated(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    /// What was there before anything was done.
    before: BTreeMap<String, Vec<u8>>,
    operations: Vec<Operation>,
    /// Bytes that files may take in all.
    room: Option<u64>,
    fails: Option<Fails>,
}

/// What fails from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fails {
    Writes,
    Syncs,
}

#[derive(Clone, Debug)]
enum Operation {
    Make(String),
    Remove(String),
    Write { file: String, offset: u64, bytes: Vec<u8> },
    SetLen { file: String, len: u64 },
    Sync(String),
    SyncDir,
}

impl fmt::Debug for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulated").field("moment", &self.moment()).finish_non_exhaustive()
    }
}

impl Simulated {
    pub(super) fn new() -> Self {
        Self::default()
    }

    fn with(files: BTreeMap<String, Vec<u8>>) -> Self {
        let state = State { before: files.clone(), files, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Operations so far: a moment to cut at.
    pub(super) fn moment(&self) -> usize {
        self.lock().operations.len()
    }

    pub(super) fn fail(&self, what: Option<Fails>) {
        self.lock().fails = what;
    }

    pub(super) fn limit(&self, room: Option<u64>) {
        self.lock().room = room;
    }

    pub(super) fn bytes(&self, name: &str) -> Vec<u8> {
        self.lock().files.get(name).cloned().unwrap_or_default()
    }

    /// The same files as they are now, on a disk of their own.
    pub(super) fn copy(&self) -> Self {
        Self::with(self.lock().files.clone())
    }

    /// What a crash at `moment` may leave: what was synced, and any part of the rest, in any order,
    /// some of it torn between sectors.
    pub(super) fn crash(&self, moment: usize, random: &mut fastrand::Rng) -> Self {
        let state = self.lock();
        let done = state.operations.get(..moment).unwrap();
        let (mut dir_synced, mut synced, mut removed) = (0, HashMap::new(), HashSet::new());
        for (at, operation) in done.iter().enumerate() {
            match operation {
                Operation::SyncDir => dir_synced = at,
                Operation::Sync(file) => drop(synced.insert(file, at)),
                Operation::Remove(file) => drop(removed.insert(file)),
                _ => {}
            }
        }
        let mut files = state.before.clone();
        let mut loose = Vec::new();
        for (at, operation) in done.iter().enumerate() {
            let is_kept = match operation {
                Operation::Make(_) | Operation::Remove(_) => at < dir_synced,
                Operation::Write { file, .. } | Operation::SetLen { file, .. } => {
                    synced.get(file).is_some_and(|&synced| at < synced)
                }
                Operation::Sync(_) | Operation::SyncDir => continue,
            };
            if is_kept {
                apply(&mut files, operation.clone());
            } else {
                loose.push(operation.clone());
            }
        }
        if random.bool() {
            random.shuffle(&mut loose);
        }
        for mut operation in loose {
            let is_of_removed = match &operation {
                Operation::Write { file, .. } | Operation::SetLen { file, .. } => {
                    removed.contains(file)
                }
                _ => false,
            };
            if is_of_removed || random.bool() {
                continue;
            }
            if let Operation::Write { offset, bytes, .. } = &mut operation
                && random.u8(..4) == 0
            {
                tear(offset, bytes, random);
            }
            apply(&mut files, operation);
        }
        // A file whose making was lost is not there, whatever was written to it.
        for operation in done.get(dir_synced..).unwrap_or_default() {
            if let Operation::Make(name) = operation
                && random.u8(..4) == 0
            {
                files.remove(name);
            }
        }
        Self::with(files)
    }
}

/// Leaves some sectors of a write out.
fn tear(offset: &mut u64, bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    let sectors = bytes.len().div_ceil(512);
    let first = random.usize(..sectors);
    let end = random.usize(first..sectors) + 1;
    bytes.truncate(end * 512);
    bytes.drain(..first * 512);
    *offset += first as u64 * 512;
}

fn apply(files: &mut BTreeMap<String, Vec<u8>>, operation: Operation) {
    match operation {
        Operation::Make(name) => drop(files.entry(name).or_default()),
        Operation::Remove(name) => drop(files.remove(&name)),
        Operation::Write { file, offset, bytes } => {
            let start = usize::try_from(offset).unwrap();
            let file = files.entry(file).or_default();
            file.resize(file.len().max(start + bytes.len()), 0);
            file[start..start + bytes.len()].copy_from_slice(&bytes);
        }
        Operation::SetLen { file, len } => {
            files.entry(file).or_default().resize(usize::try_from(len).unwrap(), 0);
        }
        Operation::Sync(_) | Operation::SyncDir => {}
    }
}

fn error(kind: io::ErrorKind) -> io::Error {
    io::Error::new(kind, "the test says so")
}

impl State {
    fn run(&mut self, operation: Operation) -> io::Result<()> {
        let fails = match &operation {
            Operation::Sync(_) | Operation::SyncDir => self.fails == Some(Fails::Syncs),
            _ => self.fails == Some(Fails::Writes),
        };
        if fails {
            return Err(error(io::ErrorKind::Other));
        }
        let used: usize = self.files.values().map(Vec::len).sum();
        let more = match &operation {
            Operation::SetLen { file, len } => {
                len.saturating_sub(self.files.get(file).map_or(0, Vec::len) as u64)
            }
            Operation::Write { file, offset, bytes } => (offset + bytes.len() as u64)
                .saturating_sub(self.files.get(file).map_or(0, Vec::len) as u64),
            _ => 0,
        };
        if more > 0 && self.room.is_some_and(|room| used as u64 + more > room) {
            return Err(error(io::ErrorKind::StorageFull));
        }
        self.operations.push(operation.clone());
        apply(&mut self.files, operation);
        Ok(())
    }
}

impl Storage for Simulated {
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut state = self.lock();
        if !state.files.contains_key(name) {
            state.run(Operation::Make(name.to_owned()))?;
        }
        Ok(Arc::new(SimulatedFile { disk: self.clone(), name: name.to_owned() }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().files.keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.lock().run(Operation::Remove(name.to_owned()))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.lock().run(Operation::SyncDir)
    }

    fn space(&self) -> io::Result<Space> {
        let state = self.lock();
        let used = state.files.values().map(Vec::len).sum::<usize>() as u64;
        let total = state.room.unwrap_or(1 << 40);
        Ok(Space { free: total.saturating_sub(used), total })
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: Simulated,
    name: String,
}

impl File for SimulatedFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().files.get(&self.name).map_or(0, Vec::len) as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.lock();
        let file = state.files.get(&self.name).map(Vec::as_slice).unwrap_or_default();
        let rest = usize::try_from(offset).ok().and_then(|from| file.get(from..));
        let rest = rest.unwrap_or_default();
        let count = rest.len().min(bytes.len());
        bytes[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (file, bytes) = (self.name.clone(), bytes.to_vec());
        self.disk.lock().run(Operation::Write { file, offset, bytes })
    }

    fn write_slices_at(&self, slices: &mut [io::IoSlice<'_>], offset: u64) -> io::Result<()> {
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        self.write_at(&bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.lock().run(Operation::SetLen { file: self.name.clone(), len })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.lock().run(Operation::Sync(self.name.clone()))
    }
}
