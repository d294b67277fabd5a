//! The forms on disk: the header of a segment, and a group of events and notes, checked as one.
//!
//! ```text
//! segment: header, padded to a sector | groups, each padded to a sector | zeros
//! header:  magic 8 | salt 8 | sequence 8 | position 8 | made at, in us 8 | checksum 4
//! group:   magic 8 | salt 8 | sequence 8 | position 8 | events 4 | their bytes 4 | note bytes 4 | checksum 4
//!          events: length 4, worker 2, record
//!          notes: what was settled, as `settled` writes it
//! ```
//!
//! One write is one group, synced before the next one begins: a crash tears the last group alone,
//! and no sector that was acknowledged is written again. The salt is the segment's own, so that
//! nothing that a producer sends can look like a group.

use std::{io, sync::Arc};

use bytes::{Buf, BufMut};
use crc32c::{crc32c, crc32c_append};

use crate::disk::{entries::Entries, storage::File};

/// What a disk writes whole.
pub(super) const SECTOR: usize = 512;
pub(super) const HEADER_LEN: usize = 48;
/// Bytes before each record: its length and its worker.
pub(super) const ENTRY_LEN: usize = 6;

const GROUP: u64 = u64::from_le_bytes(*b"CtmtGrp1");
const SEGMENT: u64 = u64::from_le_bytes(*b"CtmtSeg1");
const SEGMENT_LEN: usize = 44;
const CHECKSUM_AT: usize = HEADER_LEN - 4;

/// The start of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) salt: u64,
    /// The first group's number.
    pub(super) sequence: u64,
    /// The first event's position.
    pub(super) first: u64,
    pub(super) made_at_micros: u64,
}

impl SegmentHeader {
    /// Appends a sector.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        for number in [SEGMENT, self.salt, self.sequence, self.first, self.made_at_micros] {
            bytes.put_u64_le(number);
        }
        let checksum = crc32c(bytes.get(start..).unwrap_or_default());
        bytes.put_u32_le(checksum);
        pad(bytes);
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (mut fields, mut rest) = bytes.split_at_checked(SEGMENT_LEN - 4)?;
        if rest.try_get_u32_le().ok()? != crc32c(fields) || fields.get_u64_le() != SEGMENT {
            return None;
        }
        Some(Self {
            salt: fields.get_u64_le(),
            sequence: fields.get_u64_le(),
            first: fields.get_u64_le(),
            made_at_micros: fields.get_u64_le(),
        })
    }
}

/// The start of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupHeader {
    pub(super) salt: u64,
    pub(super) sequence: u64,
    /// The first event's position.
    pub(super) first: u64,
    pub(super) events: u32,
    pub(super) events_len: u32,
    pub(super) notes_len: u32,
    checksum: u32,
}

impl GroupHeader {
    /// Makes room for a header before all entries, for [`GroupHeader::write`] to fill.
    pub(super) fn reserve(entries: &mut Entries) {
        entries.clear();
        entries.bytes.put_bytes(0, HEADER_LEN);
    }

    /// Completes the group in `entries`: its header, checksum and padding.
    pub(super) fn write(mut self, entries: &mut Entries) {
        if let Some(mut header) = entries.bytes.get_mut(..HEADER_LEN) {
            for number in [GROUP, self.salt, self.sequence, self.first] {
                header.put_u64_le(number);
            }
            for number in [self.events, self.events_len, self.notes_len] {
                header.put_u32_le(number);
            }
        }
        let fields = crc32c(entries.bytes.get(..CHECKSUM_AT).unwrap_or_default());
        let parts = entries.parts(HEADER_LEN);
        self.checksum = parts.fold(fields, crc32c_append);
        if let Some(mut place) = entries.bytes.get_mut(CHECKSUM_AT..HEADER_LEN) {
            place.put_u32_le(self.checksum);
        }
        let padding = entries.len().next_multiple_of(SECTOR) - entries.len();
        entries.bytes.put_bytes(0, padding);
    }

    pub(super) fn new(salt: u64, sequence: u64, first: u64) -> Self {
        Self { salt, sequence, first, events: 0, events_len: 0, notes_len: 0, checksum: 0 }
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEADER_LEN || bytes.get_u64_le() != GROUP {
            return None;
        }
        Some(Self {
            salt: bytes.get_u64_le(),
            sequence: bytes.get_u64_le(),
            first: bytes.get_u64_le(),
            events: bytes.get_u32_le(),
            events_len: bytes.get_u32_le(),
            notes_len: bytes.get_u32_le(),
            checksum: bytes.get_u32_le(),
        })
    }

    /// Bytes of header, events and notes.
    fn len(&self) -> u64 {
        HEADER_LEN as u64 + u64::from(self.events_len) + u64::from(self.notes_len)
    }

    /// Bytes that the group takes in its segment.
    pub(super) fn padded_len(&self) -> u64 {
        self.len().next_multiple_of(SECTOR as u64)
    }

    /// The position after its last event.
    pub(super) fn end(&self) -> u64 {
        self.first + u64::from(self.events)
    }
}

/// Whether a sector may be the start of a group.
pub(super) fn starts_group(sector: &[u8]) -> bool {
    sector.starts_with(&GROUP.to_le_bytes())
}

fn checksum(group: &[u8]) -> u32 {
    let (fields, rest) = group.split_at_checked(CHECKSUM_AT).unwrap_or((group, &[]));
    crc32c_append(crc32c(fields), rest.get(4..).unwrap_or_default())
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(SECTOR), 0);
}

/// An event of a group: where it lies, whose it is, and its record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) position: u64,
    pub(super) worker: u16,
    pub(super) record: &'a [u8],
}

/// Appends an event to a group; `encode` appends its record but for the last `later` bytes of it.
pub(super) fn put_entry(
    bytes: &mut Vec<u8>,
    worker: u16,
    later: usize,
    encode: impl FnOnce(&mut Vec<u8>),
) {
    let start = bytes.len();
    bytes.put_u32_le(0);
    bytes.put_u16_le(worker);
    encode(bytes);
    let len = u32::try_from(bytes.len() - start - ENTRY_LEN + later).unwrap_or(u32::MAX);
    if let Some(mut place) = bytes.get_mut(start..start + 4) {
        place.put_u32_le(len);
    }
}

/// A group that was read and whose checksum is right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group<'a> {
    pub(super) header: GroupHeader,
    events: &'a [u8],
    pub(super) notes: &'a [u8],
}

impl<'a> Group<'a> {
    /// The events; fewer than the header says only when this program wrote it wrongly.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let mut rest = self.events;
        let mut position = self.header.first;
        std::iter::from_fn(move || {
            let len = usize::try_from(rest.try_get_u32_le().ok()?).ok()?;
            let worker = rest.try_get_u16_le().ok()?;
            let (record, after) = rest.split_at_checked(len)?;
            rest = after;
            position += 1;
            Some(Entry { position: position - 1, worker, record })
        })
    }
}

/// What lies at a place of a segment.
#[derive(Debug)]
pub(super) enum Found<'a> {
    Group(Group<'a>),
    /// Zeros, something torn, or the end of the file.
    Nothing,
}

/// Reads a segment through a window, so that small groups need no read each.
#[derive(Debug)]
pub(super) struct Window {
    file: Arc<dyn File>,
    bytes: Vec<u8>,
    start: u64,
    /// Bytes from `start` on that were read.
    count: usize,
}

const WINDOW_LEN: usize = 256 << 10;

impl Window {
    pub(super) fn new(file: Arc<dyn File>) -> Self {
        Self { file, bytes: Vec::new(), start: 0, count: 0 }
    }

    /// The bytes at `offset`, fewer at the end of the file.
    pub(super) fn read(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let end = offset + len as u64;
        if offset < self.start || end > self.start + self.count as u64 {
            if self.bytes.len() < len.max(WINDOW_LEN) {
                // First away with the one that is too small: both would take the memory of two.
                self.bytes = Vec::new();
                self.bytes = vec![0; len.max(WINDOW_LEN)];
            }
            (self.start, self.count) = (offset, 0);
            self.count = self.file.read_at(&mut self.bytes, offset)?;
        }
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        let rest = self.bytes.get(from..self.count).unwrap_or_default();
        Ok(rest.get(..len).unwrap_or(rest))
    }

    /// The group at `offset` of a segment of `file_len` bytes.
    pub(super) fn group(&mut self, offset: u64, file_len: u64) -> io::Result<Found<'_>> {
        let Some(header) = GroupHeader::decode(self.read(offset, HEADER_LEN)?) else {
            return Ok(Found::Nothing);
        };
        let Ok(len) = usize::try_from(header.len()) else { return Ok(Found::Nothing) };
        if offset.saturating_add(header.len()) > file_len {
            return Ok(Found::Nothing);
        }
        let bytes = self.read(offset, len)?;
        if bytes.len() < len || checksum(bytes) != header.checksum {
            return Ok(Found::Nothing);
        }
        let payload = bytes.get(HEADER_LEN..).unwrap_or_default();
        let events_len = usize::try_from(header.events_len).unwrap_or(usize::MAX);
        let Some((events, notes)) = payload.split_at_checked(events_len) else {
            return Ok(Found::Nothing);
        };
        Ok(Found::Group(Group { header, events, notes }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::disk::{simulated::Simulated, storage::Storage};

    proptest! {
        #[test]
        fn a_group_comes_back_whole_or_not_at_all(
            records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..9),
            notes in proptest::collection::vec(any::<u8>(), 0..40),
            flipped in any::<Option<prop::sample::Index>>(),
        ) {
            let mut entries = Entries::default();
            GroupHeader::reserve(&mut entries);
            for record in &records {
                put_entry(&mut entries.bytes, 3, 0, |bytes| bytes.extend_from_slice(record));
            }
            let events_len = entries.len() - HEADER_LEN;
            entries.bytes.extend_from_slice(&notes);
            let len = entries.len();
            let mut header = GroupHeader::new(7, 8, 9);
            header.events = u32::try_from(records.len()).unwrap();
            header.events_len = u32::try_from(events_len).unwrap();
            header.notes_len = u32::try_from(notes.len()).unwrap();
            header.write(&mut entries);
            let mut bytes = entries.bytes;
            prop_assert_eq!(bytes.len() % SECTOR, 0);
            let is_whole = flipped.is_none();
            if let Some(at) = flipped {
                bytes[at.index(len)] ^= 16;
            }
            let file = Simulated::new().open("one").unwrap();
            file.write_at(&bytes, 0).unwrap();
            let mut window = Window::new(file);
            match window.group(0, bytes.len() as u64).unwrap() {
                Found::Group(group) => {
                    prop_assert!(is_whole);
                    let found: Vec<_> = group.entries().map(|entry| entry.record.to_vec()).collect();
                    prop_assert_eq!(found, records);
                    prop_assert_eq!(group.notes, &notes[..]);
                    prop_assert_eq!(group.header.padded_len(), bytes.len() as u64);
                }
                Found::Nothing => prop_assert!(!is_whole),
            };
        }
    }
}
