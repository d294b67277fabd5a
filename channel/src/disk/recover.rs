//! Files -> a journal that can be written to, and the first event to lend; or what is wrong with them.
//!
//! A tail that a crash tore is cut: it was never acknowledged. Everything else that is not as it was
//! written is damage, and refused.

use std::sync::Arc;

use crate::disk::{
    OpenError,
    group::{ENTRY_LEN, Found, HEADER_LEN, SECTOR, SegmentHeader, Window, starts_group},
    journal::{Draft, Journal, JournalLimits, Place, Segment, file_name},
    settled::Settled,
    shelf::Shelf,
    storage::{File, Storage},
};

/// What a log held when it was opened.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) journal: Journal,
    /// Events that are not settled.
    pub(super) events: u64,
    /// Bytes of their records.
    pub(super) bytes: u64,
    /// The group of the first of them.
    pub(super) first: Option<Place>,
}

/// Says that a log was begun: without it an empty folder is a new one.
const BEGUN: &str = "begun";

/// Opens the log of a folder, or begins one.
pub(super) fn recover(
    storage: Arc<dyn Storage>,
    limits: JournalLimits,
) -> Result<Recovered, OpenError> {
    let names = storage.list().map_err(OpenError::io("list the log"))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_of(name)).collect();
    numbers.sort_unstable();
    let is_begun = names.iter().any(|name| name == BEGUN);
    let journal = Journal {
        storage,
        limits,
        segments: Vec::new(),
        capacity: 0,
        sequence: 0,
        next: 0,
        settled: Settled::default(),
        fresh: Settled::default(),
        shelf: Arc::new(Shelf::default()),
    };
    Recovery { journal, events: 0, bytes: 0, first: None }.run(numbers, is_begun)
}

fn number_of(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_prefix("log-")?, 16).ok()
}

struct Recovery {
    journal: Journal,
    events: u64,
    bytes: u64,
    first: Option<Place>,
}

/// What a scan of a segment found.
struct Scan {
    header: SegmentHeader,
    /// The end of its last group.
    end: u64,
    /// The next group's number.
    sequence: u64,
    /// The next event's position.
    next: u64,
}

impl Recovery {
    fn run(mut self, mut numbers: Vec<u64>, is_begun: bool) -> Result<Recovered, OpenError> {
        let named = numbers.last().copied();
        let last = match named {
            Some(number) => match self.read_notes(number)? {
                None => {
                    // The crash came while it was made: nothing in it was acknowledged.
                    numbers.pop();
                    self.remove(number)?;
                    let last = numbers.last().copied();
                    last.map(|number| self.read_notes(number)).transpose()?.flatten()
                }
                found => found,
            },
            None => None,
        };
        let Some(last) = last else {
            if is_begun || !numbers.is_empty() {
                return Err(OpenError::damaged("the log", "its segments are gone"));
            }
            return self.begin();
        };
        if named.is_some_and(|named| numbers.last() != Some(&named) && named != last.sequence) {
            let name = file_name(last.header.sequence);
            return Err(OpenError::damaged(name, "groups at its end are gone"));
        }
        self.journal.next = last.next;
        self.journal.sequence = last.sequence;
        self.read_segments(&numbers, &last)?;
        self.reopen_last(&last)?;
        if !is_begun {
            self.write_begun()?;
        }
        let Self { journal, events, bytes, first } = self;
        Ok(Recovered { journal, events, bytes, first })
    }

    fn begin(mut self) -> Result<Recovered, OpenError> {
        self.journal.roll(0, false).map_err(|error| {
            let kind = std::io::ErrorKind::StorageFull;
            let source = match error {
                crate::disk::journal::AppendError::NoRoom => kind.into(),
                crate::disk::journal::AppendError::Failed(error) => error,
            };
            OpenError::io("begin the log")(source)
        })?;
        self.write_begun()?;
        Ok(Recovered { journal: self.journal, events: 0, bytes: 0, first: None })
    }

    fn write_begun(&self) -> Result<(), OpenError> {
        let storage = &self.journal.storage;
        let made = storage.open(BEGUN).and_then(|file| file.sync_data());
        made.and_then(|()| storage.sync_dir()).map_err(OpenError::io("begin the log"))
    }

    fn remove(&self, number: u64) -> Result<(), OpenError> {
        let name = file_name(number);
        let storage = &self.journal.storage;
        let removed = storage.remove(&name).and_then(|()| storage.sync_dir());
        removed.map_err(OpenError::io(format!("remove {name}")))
    }

    fn open(&self, number: u64) -> Result<(Arc<dyn File>, u64), OpenError> {
        let name = file_name(number);
        let opened = self.journal.storage.open(&name);
        let opened = opened.and_then(|file| file.len().map(|len| (file, len)));
        opened.map_err(OpenError::io(format!("open {name}")))
    }

    /// Reads the last segment for all that is settled; `None` when its making was cut off.
    fn read_notes(&mut self, number: u64) -> Result<Option<Scan>, OpenError> {
        let mut settled = Settled::default();
        let mut is_right = true;
        let scan = self.scan(number, |_, group_notes, _| {
            is_right &= settled.add_encoded(group_notes).is_some();
        })?;
        if !is_right {
            return Err(OpenError::damaged(file_name(number), "a note cannot be read"));
        }
        if scan.is_some() {
            self.journal.settled = settled;
        }
        Ok(scan)
    }

    /// Goes through the groups of a segment: `visit` is given each one's place, notes, and the
    /// events as positions and lengths. `None` when not even its start is there.
    fn scan(
        &self,
        number: u64,
        mut visit: impl FnMut(Place, &[u8], &mut dyn Iterator<Item = (u64, usize)>),
    ) -> Result<Option<Scan>, OpenError> {
        let name = file_name(number);
        let failed = || OpenError::io(format!("read {name}"));
        let (file, len) = self.open(number)?;
        let mut window = Window::new(file);
        let header = SegmentHeader::decode(window.read(0, HEADER_LEN).map_err(failed())?);
        let header = header.filter(|header| header.sequence == number);
        let mut scan = Scan {
            header: header.unwrap_or(SegmentHeader {
                salt: 0,
                sequence: number,
                first: 0,
                made_at_micros: 0,
            }),
            end: SECTOR as u64,
            sequence: number,
            next: header.map_or(0, |header| header.first),
        };
        while header.is_some() {
            let Found::Group(group) = window.group(scan.end, len).map_err(failed())? else { break };
            let found = group.header;
            let expected = (scan.header.salt, scan.sequence, scan.next);
            if (found.salt, found.sequence, found.first) != expected {
                break;
            }
            let place = Place { segment: number, offset: scan.end, position: found.first };
            let mut entries = group.entries().map(|entry| (entry.position, entry.record.len()));
            visit(place, group.notes, &mut entries);
            scan.end += found.padded_len();
            scan.sequence += 1;
            scan.next = found.end();
        }
        let is_made = scan.sequence > number;
        // The last group may be torn, one after it may not exist; of a start that is not whole only
        // the first group may be there.
        let salt = header.map(|header| header.salt);
        if let Some(at) =
            find_later(&mut window, scan.end, len, salt, scan.sequence).map_err(failed())?
        {
            let problem = format!(
                "the group at byte {} is not as it was written, and one at byte {at} is",
                scan.end
            );
            return Err(OpenError::damaged(name, problem));
        }
        Ok(is_made.then_some(scan))
    }

    /// Checks every segment that holds something unsettled, and that nothing unsettled is missing.
    fn read_segments(&mut self, numbers: &[u64], last: &Scan) -> Result<(), OpenError> {
        let mut covered = 0;
        for (at, &number) in numbers.iter().enumerate() {
            let header = self.read_header(number)?;
            self.check_gap(covered, header.first, number)?;
            let limit = match numbers.get(at + 1) {
                Some(&next) => self.read_header(next)?.first,
                None => last.next,
            };
            let (file, len) = self.open(number)?;
            let mut segment = Segment { file, header, len, unsettled: 0 };
            covered = limit;
            if !self.journal.settled.contains_all(header.first, limit) {
                covered = self.count(number, &mut segment)?;
                self.check_gap(covered, limit, number)?;
                covered = covered.max(limit);
            }
            if number == last.header.sequence {
                segment.len = last.end;
            }
            let shelf = &self.journal.shelf;
            shelf.put(number, header.first, Arc::clone(&segment.file));
            self.journal.segments.push(segment);
        }
        Ok(())
    }

    fn read_header(&self, number: u64) -> Result<SegmentHeader, OpenError> {
        let name = file_name(number);
        let (file, _) = self.open(number)?;
        let mut bytes = [0; HEADER_LEN];
        file.read_at(&mut bytes, 0).map_err(OpenError::io(format!("read {name}")))?;
        let header = SegmentHeader::decode(&bytes).filter(|header| header.sequence == number);
        header.ok_or_else(|| OpenError::damaged(name, "its start is not as it was written"))
    }

    /// Counts what is unsettled in a segment; returns the position after its last event.
    fn count(&mut self, number: u64, segment: &mut Segment) -> Result<u64, OpenError> {
        let settled = &self.journal.settled;
        let (mut events, mut bytes, mut first) = (0, 0, None);
        let scan = self.scan(number, |place, _, entries| {
            for (position, len) in entries {
                if settled.contains(position) {
                    continue;
                }
                events += 1;
                bytes += (len + ENTRY_LEN) as u64;
                first.get_or_insert(Place { position, ..place });
            }
        })?;
        let scan = scan.ok_or_else(|| {
            OpenError::damaged(file_name(number), "its first group is not as it was written")
        })?;
        segment.unsettled = events;
        self.events += events;
        self.bytes += bytes;
        self.first = self.first.or(first);
        Ok(scan.next)
    }

    fn check_gap(&self, from: u64, to: u64, number: u64) -> Result<(), OpenError> {
        if from >= to || self.journal.settled.contains_all(from, to) {
            return Ok(());
        }
        let problem = format!("events {from} to {} are missing", to - 1);
        Err(OpenError::damaged(file_name(number), problem))
    }

    /// Cuts what a crash left behind the last group, so that zeros follow it again.
    fn reopen_last(&mut self, last: &Scan) -> Result<(), OpenError> {
        let Some(segment) = self.journal.segments.last() else { return Ok(()) };
        let usual = self.journal.limits.segment_bytes;
        let cut = || {
            segment.file.set_len(last.end)?;
            // A disk that is full now may have room when the next group comes.
            let capacity = match segment.file.set_len(usual.max(last.end)) {
                Ok(()) => usual.max(last.end),
                Err(_) => last.end,
            };
            segment.file.sync_data()?;
            Ok(capacity)
        };
        let name = file_name(last.header.sequence);
        self.journal.capacity = cut().map_err(OpenError::io(format!("cut {name}")))?;
        // A group with nothing in it: what was read up to here is acknowledged from now on, and a
        // later start can tell it from a torn tail.
        let mut draft = Draft::default();
        draft.clear();
        match self.journal.append(&mut draft) {
            Ok(_) | Err(crate::disk::journal::AppendError::NoRoom) => Ok(()),
            Err(crate::disk::journal::AppendError::Failed(error)) => {
                Err(OpenError::io(format!("write {name}"))(error))
            }
        }
    }
}

/// Bytes that are looked through at once, in whole sectors.
const LOOK_LEN: usize = 256 << 10;

/// The place of a whole group of this segment that was written after the one numbered `sequence`.
fn find_later(
    window: &mut Window,
    from: u64,
    len: u64,
    salt: Option<u64>,
    sequence: u64,
) -> std::io::Result<Option<u64>> {
    let mut at = from;
    while at + (HEADER_LEN as u64) <= len {
        // Nearly all of it is zeros: look for the start of a group before checking one.
        let some = window.read(at, LOOK_LEN)?;
        let Some(sectors) = some.chunks(SECTOR).position(starts_group) else {
            at += LOOK_LEN as u64;
            continue;
        };
        at += (sectors * SECTOR) as u64;
        if let Found::Group(group) = window.group(at, len)? {
            let is_ours = salt.is_none_or(|salt| salt == group.header.salt);
            if is_ours && group.header.sequence > sequence {
                return Ok(Some(at));
            }
        }
        at += SECTOR as u64;
    }
    Ok(None)
}
