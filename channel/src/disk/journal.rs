//! The log of one channel: groups appended to segments, what is settled noted, old segments deleted.
//!
//! Nothing here waits or wakes: the writer's thread calls it, and tests do.

use std::{io, sync::Arc, time::Duration};

use crate::disk::{
    entries::Entries,
    group::{GroupHeader, HEADER_LEN, SECTOR, SegmentHeader},
    settled::Settled,
    shelf::Shelf,
    storage::{File, Storage},
};

/// What a journal may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct JournalLimits {
    pub(super) segment_bytes: u64,
    pub(super) retention: Duration,
    pub(super) retention_bytes_max: u64,
}

/// Why a group was not stored.
#[derive(Debug)]
pub(super) enum AppendError {
    /// There is no room for another segment. Nothing was written: it can be tried again.
    NoRoom,
    /// What was written is unknown: the journal must not be used any more.
    Failed(io::Error),
}

impl From<io::Error> for AppendError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoRoom,
            _ => Self::Failed(error),
        }
    }
}

/// One file of the log.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) file: Arc<dyn File>,
    pub(super) header: SegmentHeader,
    /// Bytes that are written.
    pub(super) len: u64,
    /// Events in it that are not settled.
    pub(super) unsettled: u64,
}

/// Where a group lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The number in the name of the segment.
    pub(super) segment: u64,
    pub(super) offset: u64,
    /// The position of its first event, or of the one to go on with.
    pub(super) position: u64,
}

/// A group in the making.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// Room for a header, then entries.
    pub(super) entries: Entries,
    pub(super) events: u32,
}

impl Draft {
    pub(super) fn clear(&mut self) {
        GroupHeader::reserve(&mut self.entries);
        self.events = 0;
    }
}

#[derive(Debug)]
pub(super) struct Journal {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) limits: JournalLimits,
    /// By position; the last one is written to.
    pub(super) segments: Vec<Segment>,
    /// Space taken for the last segment.
    pub(super) capacity: u64,
    /// The next group's number.
    pub(super) sequence: u64,
    /// The next event's position.
    pub(super) next: u64,
    pub(super) settled: Settled,
    /// Settled and not noted yet.
    pub(super) fresh: Settled,
    pub(super) shelf: Arc<Shelf>,
}

/// The name of a segment by the number of its first group.
pub(super) fn file_name(sequence: u64) -> String {
    format!("log-{sequence:016x}")
}

/// Space for a segment that is begun when the disk is full, for notes alone.
const SMALL_SEGMENT: u64 = 1 << 20;

impl Journal {
    /// Whether something was settled that is not noted.
    pub(super) fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// Stores a group of events, and what was settled with it. When this returns, both survive a
    /// loss of power. Returns where the group lies.
    pub(super) fn append(&mut self, draft: &mut Draft) -> Result<Place, AppendError> {
        let entries = &mut draft.entries;
        let (events_len, without_notes) = (entries.len() - HEADER_LEN, entries.bytes.len());
        if self.has_fresh() {
            self.fresh.encode(&mut entries.bytes);
        }
        let is_small = draft.events == 0;
        if self.end() + padded(entries.len()) > self.capacity {
            // The new segment begins with all that is settled: the notes are in it already.
            entries.bytes.truncate(without_notes);
            self.roll(padded(entries.len()), is_small)?;
        }
        let salt = self.segments.last().map_or(0, |segment| segment.header.salt);
        let mut header = GroupHeader::new(salt, self.sequence, self.next);
        header.events = draft.events;
        header.events_len = length(events_len)?;
        header.notes_len = length(entries.len() - HEADER_LEN - events_len)?;
        header.write(entries);
        let place = self.place();
        let Some(active) = self.segments.last_mut() else {
            return Err(AppendError::Failed(io::Error::other("the log has no segment")));
        };
        // From here on a failure leaves it open what is on the disk: it must not be tried again.
        entries.write(&*active.file, active.len).map_err(AppendError::Failed)?;
        active.file.sync_data().map_err(AppendError::Failed)?;
        active.len += entries.len() as u64;
        active.unsettled += u64::from(draft.events);
        self.next += u64::from(draft.events);
        self.sequence += 1;
        self.fresh = Settled::default();
        Ok(place)
    }

    /// Where the next group will lie.
    pub(super) fn place(&self) -> Place {
        let segment = self.segments.last().map_or(0, |segment| segment.header.sequence);
        Place { segment, offset: self.end(), position: self.next }
    }

    fn end(&self) -> u64 {
        self.segments.last().map_or(0, |segment| segment.len)
    }

    /// Marks positions as settled; each only once, and none that was not lent.
    pub(super) fn settle(&mut self, positions: &mut Vec<u64>) {
        positions.sort_unstable();
        for position in positions.drain(..) {
            if !self.settled.insert(position) {
                continue;
            }
            self.fresh.insert(position);
            let after = self.segments.partition_point(|one| one.header.first <= position);
            if let Some(segment) = after.checked_sub(1).and_then(|at| self.segments.get_mut(at)) {
                segment.unsettled = segment.unsettled.saturating_sub(1);
            }
        }
    }

    /// Bytes of segments that hold something unsettled.
    pub(super) fn needed_bytes(&self) -> u64 {
        self.segments.iter().filter(|one| one.unsettled > 0).map(|one| one.len).sum()
    }

    /// Deletes segments that are settled and past their retention, or all that are settled when room
    /// is short. To be called when everything settled is noted.
    pub(super) fn reclaim(&mut self, now_micros: u64, is_short: bool) -> io::Result<()> {
        let mut kept: u64 = self.settled_segments().map(|at| self.len_of(at)).sum();
        loop {
            let Some(at) = self.settled_segments().next() else { return Ok(()) };
            // What is in a segment is as old as the next one at least.
            let ended =
                self.segments.get(at + 1).map_or(now_micros, |one| one.header.made_at_micros);
            let age = Duration::from_micros(now_micros.saturating_sub(ended));
            let is_retained =
                kept <= self.limits.retention_bytes_max && age < self.limits.retention;
            if is_retained && !is_short {
                return Ok(());
            }
            kept -= self.len_of(at);
            let segment = self.segments.remove(at);
            self.shelf.remove(segment.header.sequence);
            self.storage.remove(&file_name(segment.header.sequence))?;
        }
    }

    /// Segments but the last one that hold nothing unsettled, oldest first.
    fn settled_segments(&self) -> impl Iterator<Item = usize> + '_ {
        let sealed = self.segments.len().saturating_sub(1);
        let segments = self.segments.iter().enumerate().take(sealed);
        segments.filter(|(_, one)| one.unsettled == 0).map(|(at, _)| at)
    }

    fn len_of(&self, at: usize) -> u64 {
        self.segments.get(at).map_or(0, |segment| segment.len)
    }

    /// Begins a segment with room for `len` bytes more than its own start.
    pub(super) fn roll(&mut self, len: u64, is_small: bool) -> Result<(), AppendError> {
        let header = SegmentHeader {
            salt: fastrand::u64(..),
            sequence: self.sequence,
            first: self.next,
            made_at_micros: crate::clock::to_micros(crate::clock::now()),
        };
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        let mut group = Entries::default();
        GroupHeader::reserve(&mut group);
        self.settled.encode(&mut group.bytes);
        let mut snapshot = GroupHeader::new(header.salt, self.sequence, self.next);
        snapshot.notes_len = length(group.len() - HEADER_LEN)?;
        snapshot.write(&mut group);
        bytes.append(&mut group.bytes);
        let least = bytes.len() as u64 + len;
        let name = file_name(header.sequence);
        let (file, capacity) = match self.take_space(&name, least.max(self.limits.segment_bytes)) {
            // Notes must be written down even when there is hardly any room left.
            Err(AppendError::NoRoom) if is_small => {
                self.take_space(&name, least.max(SMALL_SEGMENT))?
            }
            taken => taken?,
        };
        if let Some(sealed) = self.segments.last() {
            sealed.file.set_len(sealed.len).map_err(AppendError::Failed)?;
        }
        file.write_at(&bytes, 0).map_err(AppendError::Failed)?;
        file.sync_data().map_err(AppendError::Failed)?;
        self.storage.sync_dir().map_err(AppendError::Failed)?;
        self.shelf.put(header.sequence, header.first, Arc::clone(&file));
        self.segments.push(Segment { file, header, len: bytes.len() as u64, unsettled: 0 });
        self.capacity = capacity;
        self.sequence += 1;
        self.fresh = Settled::default();
        Ok(())
    }

    fn take_space(&self, name: &str, len: u64) -> Result<(Arc<dyn File>, u64), AppendError> {
        let file = self.storage.open(name)?;
        match file.set_len(len) {
            Ok(()) => Ok((file, len)),
            Err(error) => {
                self.storage.remove(name)?;
                Err(error.into())
            }
        }
    }
}

fn padded(len: usize) -> u64 {
    len.next_multiple_of(SECTOR) as u64
}

/// Groups are bounded far below 4 GiB by the bound on what is pending.
fn length(len: usize) -> Result<u32, AppendError> {
    u32::try_from(len).map_err(|_| AppendError::Failed(io::Error::other("a group is too long")))
}
