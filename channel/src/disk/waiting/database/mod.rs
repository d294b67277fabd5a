//! The tables: rows by trigger and sequence, an index by due time, notes by key, and counts.
//!
//! Nothing here waits or wakes: the keeper's thread calls it, and tests do.

mod reading;

use std::{collections::HashMap, sync::Arc};

use redb::{
    AccessGuard, Database as Redb, ReadableDatabase, ReadableTable, Table, TableDefinition,
    TableError, WriteTransaction,
};

use crate::{
    Envelope, clock,
    disk::{
        OpenError,
        space::Room,
        storage::{File, Storage},
        waiting::{
            backend::Backend,
            row::{self, Row},
        },
    },
};

const FILE: &str = "waiting.redb";
/// Says that the database was made: without it a file is one that a crash left half made.
const MADE: &str = "waiting-made";

/// Events, bytes, and for [`GENERAL`] the next sequence and the time of the last commit.
type Count = (u64, u64, u64, u64);
const COUNTS: TableDefinition<'_, &str, Count> = TableDefinition::new("counts");
const NOTES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("notes");
/// The count of notes; no trigger has an empty name.
const GENERAL: &str = "";

type Rows<'a> = Table<'a, u64, &'static [u8]>;
type Dues<'a> = Table<'a, (u64, u64), ()>;

/// A row where the database has it.
pub(in crate::disk) type Stored = AccessGuard<'static, &'static [u8]>;

fn rows_of(name: &str) -> TableDefinition<'_, u64, &'static [u8]> {
    TableDefinition::new(name)
}

fn dues_of(name: &str) -> TableDefinition<'_, (u64, u64), ()> {
    TableDefinition::new(name)
}

/// A change of the tables. Triggers are named as `namespace/name`.
#[derive(Clone, Debug)]
pub(in crate::disk) enum Change {
    /// Puts rows with their due times; answered with the last one's sequence.
    Put {
        trigger: Arc<str>,
        rows: Vec<(u64, Row)>,
    },
    Amend {
        trigger: Arc<str>,
        sequence: u64,
        envelope: Envelope,
    },
    Settle {
        trigger: Arc<str>,
        sequences: Vec<u64>,
    },
    /// Answered with how many there were.
    Clear {
        trigger: Arc<str>,
    },
    PutNote {
        key: String,
        value: bytes::Bytes,
    },
    RemoveNote {
        key: String,
    },
}

impl Change {
    fn trigger(&self) -> &str {
        match self {
            Self::Put { trigger, .. }
            | Self::Amend { trigger, .. }
            | Self::Settle { trigger, .. }
            | Self::Clear { trigger } => trigger,
            Self::PutNote { .. } | Self::RemoveNote { .. } => GENERAL,
        }
    }
}

/// How often its own size something that waits takes at most, as far as is counted.
const FILE_FACTOR_MAX: u64 = 4;

/// The database of one channel.
#[derive(Debug)]
pub(in crate::disk) struct Database {
    db: Redb,
    file: Arc<dyn File>,
    /// Events and bytes of each trigger for whom something waits, and of the notes.
    counts: HashMap<String, (u64, u64)>,
    next: u64,
    /// Rows of earlier processes are below.
    pub(in crate::disk) found_below: u64,
    /// How much the clock is behind that of the last process, in microseconds.
    pub(in crate::disk) behind_micros: u64,
}

impl Database {
    /// Opens the database of a folder; `None` when there is none.
    pub(in crate::disk) fn open(
        storage: &Arc<dyn Storage>,
        room: &Arc<Room>,
        cache_bytes: usize,
    ) -> Result<Option<Self>, OpenError> {
        let names = storage.list().map_err(OpenError::io("list the channel's files"))?;
        let has = |name: &str| names.iter().any(|one| one == name);
        match (has(MADE), has(FILE)) {
            (true, true) => {
                let damaged = |error: redb::Error| OpenError::Database(Box::new(error));
                Self::load(storage, room, cache_bytes).map(Some).map_err(damaged)
            }
            (true, false) => Err(OpenError::damaged(FILE, "it is gone")),
            (false, true) => {
                storage.remove(FILE).map_err(OpenError::io(format!("remove {FILE}")))?;
                Ok(None)
            }
            (false, false) => Ok(None),
        }
    }

    /// Makes the database.
    pub(in crate::disk) fn make(
        storage: &Arc<dyn Storage>,
        room: &Arc<Room>,
        cache_bytes: usize,
    ) -> Result<Self, redb::Error> {
        let made = Self::load(storage, room, cache_bytes)?;
        storage.sync_dir()?;
        storage.open(MADE)?.sync_data()?;
        storage.sync_dir()?;
        Ok(made)
    }

    fn load(
        storage: &Arc<dyn Storage>,
        room: &Arc<Room>,
        cache_bytes: usize,
    ) -> Result<Self, redb::Error> {
        let file = storage.open(FILE)?;
        let backend = Backend { file: Arc::clone(&file), room: Arc::clone(room) };
        let mut builder = Redb::builder();
        builder.set_cache_size(cache_bytes);
        let db = builder.create_with_backend(backend)?;
        let mut loaded =
            Self { db, file, counts: HashMap::new(), next: 0, found_below: 0, behind_micros: 0 };
        let read = loaded.db.begin_read()?;
        let table = match read.open_table(COUNTS) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(loaded),
            table => table?,
        };
        for row in table.iter()? {
            let (name, count) = row?;
            let (events, bytes, next, clock_micros) = count.value();
            loaded.counts.insert(name.value().to_owned(), (events, bytes));
            if name.value() == GENERAL {
                loaded.next = next;
                let now = clock::to_micros(clock::now());
                loaded.behind_micros = clock_micros.saturating_sub(now);
            }
        }
        loaded.found_below = loaded.next;
        Ok(loaded)
    }

    /// Events and bytes that wait for a trigger.
    pub(in crate::disk) fn count(&self, trigger: &str) -> (u64, u64) {
        self.counts.get(trigger).copied().unwrap_or_default()
    }

    /// Triggers for whom something waits, with events and bytes.
    pub(in crate::disk) fn triggers(&self) -> impl Iterator<Item = (&str, (u64, u64))> {
        let counts = self.counts.iter().map(|(name, count)| (name.as_str(), *count));
        counts.filter(|(name, _)| *name != GENERAL)
    }

    /// The sequence of the next row.
    pub(in crate::disk) fn next(&self) -> u64 {
        self.next
    }

    /// Bytes of everything.
    pub(in crate::disk) fn bytes(&self) -> u64 {
        self.counts.values().map(|(_, bytes)| bytes).sum()
    }

    /// What the file takes for it: rows share or fill pages of sizes that double, and pages that are
    /// being replaced take room too. Pages left free by much more than there is now will be used again.
    pub(in crate::disk) fn bytes_on_disk(&self) -> u64 {
        let (bytes, file) = (self.bytes(), self.file.len().unwrap_or_default());
        bytes.max(file.min(bytes.saturating_mul(FILE_FACTOR_MAX)))
    }

    /// Makes all changes, or none; when this returns they survive a loss of power. Answers each.
    pub(in crate::disk) fn apply(&mut self, changes: &[Change]) -> Result<Vec<u64>, redb::Error> {
        let mut write = self.db.begin_write()?;
        // So that opening after a crash does not read the whole file.
        write.set_quick_repair(true);
        let mut answers = vec![0; changes.len()];
        let mut order: Vec<(usize, &Change)> = changes.iter().enumerate().collect();
        // Stable: those of one trigger stay in their order, and its tables are opened once.
        order.sort_by(|(_, a), (_, b)| a.trigger().cmp(b.trigger()));
        let mut next = self.next;
        let mut counts = Vec::new();
        for group in order.chunk_by(|(_, a), (_, b)| a.trigger() == b.trigger()) {
            let Some((_, first)) = group.first() else { continue };
            let trigger = first.trigger();
            let mut edit = Edit { count: self.count(trigger), next };
            if trigger == GENERAL {
                edit.notes(&write, group)?;
            } else {
                edit.rows(&write, trigger, group, &mut answers)?;
            }
            next = edit.next;
            counts.push((trigger, edit.count));
        }
        {
            let mut table = write.open_table(COUNTS)?;
            for &(trigger, (events, bytes)) in &counts {
                if events == 0 {
                    table.remove(trigger)?;
                } else if trigger != GENERAL {
                    table.insert(trigger, (events, bytes, 0, 0))?;
                }
            }
            let notes = counts.iter().find(|(name, _)| *name == GENERAL);
            let (events, bytes) = notes.map_or(self.count(GENERAL), |&(_, count)| count);
            let now = clock::to_micros(clock::now()) + self.behind_micros;
            table.insert(GENERAL, (events, bytes, next, now))?;
        }
        write.commit()?;
        self.next = next;
        for (trigger, count) in counts {
            if count.0 == 0 {
                self.counts.remove(trigger);
            } else {
                self.counts.insert(trigger.to_owned(), count);
            }
        }
        Ok(answers)
    }

    /// Gives the file's free pages back.
    pub(in crate::disk) fn compact(&mut self) -> Result<(), redb::Error> {
        match self.db.compact() {
            Ok(_) => Ok(()),
            Err(redb::CompactionError::Storage(error)) => Err(error.into()),
            // Readers are in the way: the pages are used again all the same.
            Err(_) => Ok(()),
        }
    }
}

/// Changes of one trigger, or of the notes, on their way.
struct Edit {
    /// Events and bytes.
    count: (u64, u64),
    next: u64,
}

impl Edit {
    fn add(&mut self, bytes: usize) {
        self.count = (self.count.0 + 1, self.count.1 + bytes as u64);
    }

    fn subtract(&mut self, bytes: usize) {
        self.count = (self.count.0.saturating_sub(1), self.count.1.saturating_sub(bytes as u64));
    }

    fn notes(
        &mut self,
        write: &WriteTransaction,
        changes: &[(usize, &Change)],
    ) -> Result<(), redb::Error> {
        let mut notes = write.open_table(NOTES)?;
        for (_, change) in changes {
            let old = match change {
                Change::PutNote { key, value } => {
                    self.add(key.len() + value.len());
                    let old = notes.insert(key.as_str(), &value[..])?;
                    old.map(|old| key.len() + old.value().len())
                }
                Change::RemoveNote { key } => {
                    let old = notes.remove(key.as_str())?;
                    old.map(|old| key.len() + old.value().len())
                }
                _ => None,
            };
            if let Some(old) = old {
                self.subtract(old);
            }
        }
        Ok(())
    }

    fn rows(
        &mut self,
        write: &WriteTransaction,
        trigger: &str,
        changes: &[(usize, &Change)],
        answers: &mut [u64],
    ) -> Result<(), redb::Error> {
        let (rows, dues) = (format!("rows:{trigger}"), format!("dues:{trigger}"));
        for part in changes.split_inclusive(|(_, one)| matches!(one, Change::Clear { .. })) {
            {
                let mut rows = write.open_table(rows_of(&rows))?;
                let mut dues = write.open_table(dues_of(&dues))?;
                for &(at, change) in part {
                    let answer = self.row(&mut rows, &mut dues, change)?;
                    if let Some(place) = answers.get_mut(at) {
                        *place = answer;
                    }
                }
            }
            // Whole tables are freed without reading them.
            if self.count.0 == 0 {
                write.delete_table(rows_of(&rows))?;
                write.delete_table(dues_of(&dues))?;
                self.count = (0, 0);
            }
        }
        Ok(())
    }

    fn row(
        &mut self,
        rows: &mut Rows<'_>,
        dues: &mut Dues<'_>,
        change: &Change,
    ) -> Result<u64, redb::Error> {
        match change {
            Change::Put { rows: put, .. } => {
                for (due, row) in put {
                    row.write(rows.insert_reserve(self.next, row.len())?.as_mut());
                    dues.insert((*due, self.next), ())?;
                    self.add(row.len());
                    self.next += 1;
                }
                return Ok(self.next.saturating_sub(1));
            }
            Change::Amend { sequence, envelope, .. } => {
                let old = rows.get(*sequence)?.map(|row| row.value().to_vec());
                let amended = old.as_deref().and_then(|row| row::amend(row, envelope));
                if let (Some(old), Some(amended)) = (old, amended) {
                    rows.insert(*sequence, &amended[..])?;
                    dues.remove((row::due_micros(&old).unwrap_or_default(), *sequence))?;
                    dues.insert((clock::to_micros(envelope.due_at), *sequence), ())?;
                    self.subtract(old.len());
                    self.add(amended.len());
                }
                return Ok(*sequence);
            }
            Change::Settle { sequences, .. } => {
                for &sequence in sequences {
                    let old = rows.remove(sequence)?;
                    let old = old.map(|row| (row.value().len(), row::due_micros(row.value())));
                    if let Some((len, due)) = old {
                        dues.remove((due.unwrap_or_default(), sequence))?;
                        self.subtract(len);
                    }
                }
            }
            Change::Clear { .. } => {
                let cleared = self.count.0;
                self.count = (0, 0);
                return Ok(cleared);
            }
            Change::PutNote { .. } | Change::RemoveNote { .. } => {}
        }
        Ok(0)
    }
}
