//! Events in the form of a group, on their way: small ones as they will lie, large data where it is.

use std::io::{self, IoSlice};

use bytes::Bytes;

use crate::{
    Event,
    disk::{group::put_entry, storage::File},
    record,
};

/// Data from this size on is written from where the event has it: a copy would take memory that
/// nobody is charged for.
const LARGE_MIN: usize = 16 << 10;

/// The data of an event that is not to be copied before it is written.
pub(super) fn large_data(event: &Event) -> Option<&Bytes> {
    event.data().map(|data| &data.bytes).filter(|data| data.len() >= LARGE_MIN)
}

/// Buffers above this are given back after use.
const BUFFER_MAX: usize = 256 << 10;

/// Slices of one write; the system takes no more than 1,024.
const SLICES_MAX: usize = 1024;

/// What a group is made of.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) bytes: Vec<u8>,
    large: Vec<Large>,
    large_len: usize,
}

/// Data that belongs before the byte `at`.
#[derive(Clone, Debug)]
struct Large {
    at: usize,
    data: Bytes,
}

impl Entries {
    /// Bytes in all.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() + self.large_len
    }

    /// Appends an event of `worker`.
    pub(super) fn put(&mut self, worker: u16, event: &Event) {
        let Some(data) = large_data(event) else {
            return put_entry(&mut self.bytes, worker, 0, |bytes| record::encode(event, bytes));
        };
        put_entry(&mut self.bytes, worker, data.len(), |bytes| record::encode_head(event, bytes));
        self.large.push(Large { at: self.bytes.len(), data: data.clone() });
        self.large_len += data.len();
    }

    /// Appends what `other` has.
    pub(super) fn append(&mut self, other: &Self) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        let large = other.large.iter();
        self.large.extend(large.map(|one| Large { at: start + one.at, data: one.data.clone() }));
        self.large_len += other.large_len;
    }

    /// Makes it empty, and small where it grew large.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        if self.bytes.capacity() > BUFFER_MAX {
            self.bytes = Vec::new();
        }
        self.large = Vec::new();
        self.large_len = 0;
    }

    /// What it is made of from the byte `from` on, which lies before all large data.
    pub(super) fn parts(&self, from: usize) -> impl Iterator<Item = &[u8]> {
        let mut start = from;
        let large = self.large.iter().flat_map(move |one| {
            let before = self.bytes.get(start..one.at).unwrap_or_default();
            start = one.at;
            [before, &one.data[..]]
        });
        let last = self.large.last().map_or(from, |one| one.at);
        large.chain(self.bytes.get(last..))
    }

    /// Writes all of it to a file.
    pub(super) fn write(&self, file: &dyn File, mut offset: u64) -> io::Result<()> {
        if self.large.is_empty() {
            return file.write_at(&self.bytes, offset);
        }
        let mut slices: Vec<_> = self.parts(0).map(IoSlice::new).collect();
        for some in slices.chunks_mut(SLICES_MAX) {
            let len: usize = some.iter().map(|slice| slice.len()).sum();
            file.write_slices_at(some, offset)?;
            offset += len as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{
        group::{Found, GroupHeader, HEADER_LEN, Window},
        shard::stored_len,
        simulated::Simulated,
        storage::Storage,
        tests::event,
    };

    #[test]
    fn large_data_comes_back_from_where_it_belongs() {
        let lens = [10, LARGE_MIN, 0, 2 * LARGE_MIN, LARGE_MIN - 1, 3 * LARGE_MIN];
        let events: Vec<_> = (0..).zip(lens).map(|(number, len)| event(number, len)).collect();
        let (mut one, mut other, mut group) =
            (Entries::default(), Entries::default(), Entries::default());
        events.iter().take(4).for_each(|event| one.put(1, event));
        events.iter().skip(4).for_each(|event| other.put(2, event));
        assert_eq!(one.len() + other.len(), events.iter().map(stored_len).sum::<usize>());
        GroupHeader::reserve(&mut group);
        group.append(&one);
        group.append(&other);
        let mut header = GroupHeader::new(1, 2, 3);
        header.events = u32::try_from(events.len()).unwrap();
        header.events_len = u32::try_from(group.len() - HEADER_LEN).unwrap();
        header.write(&mut group);
        let file = Simulated::new().open("one").unwrap();
        group.write(&*file, 512).unwrap();
        let mut window = Window::new(file);
        let Found::Group(found) = window.group(512, 512 + group.len() as u64).unwrap() else {
            panic!("it is not whole")
        };
        let found: Vec<_> = found
            .entries()
            .map(|entry| (entry.worker, record::decode(entry.record.to_vec().into()).unwrap()))
            .map(|(worker, draft)| (worker, draft.finish().unwrap()))
            .collect();
        let sent = (1..).zip(events).map(|(at, event)| (if at <= 4 { 1 } else { 2 }, event));
        assert_eq!(found, sent.collect::<Vec<_>>());
    }
}
