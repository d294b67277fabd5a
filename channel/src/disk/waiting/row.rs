//! One event that waits: its envelope and its record.

use bytes::{Buf, BufMut, Bytes};

use crate::{Envelope, Event, Invalid, clock::to_micros, disk::entries::large_data, record};

/// A row that this program did not write.
#[derive(Debug, thiserror::Error)]
pub(in crate::disk) enum RowError {
    #[error("it is cut short")]
    Short,
    #[error(transparent)]
    Corrupt(#[from] record::Corrupt),
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// A row on its way: large data is where the event has it.
#[derive(Clone, Debug)]
pub(in crate::disk) struct Row {
    head: Vec<u8>,
    data: Bytes,
}

impl Row {
    /// Envelope length 4, envelope, record.
    pub(in crate::disk) fn new(event: &Event, envelope: &Envelope) -> Self {
        let data = large_data(event).cloned().unwrap_or_default();
        let envelope = envelope.encode();
        let len = 4 + envelope.len() + record::encoded_len(event) - data.len();
        let mut head = Vec::with_capacity(len);
        put_envelope(&mut head, &envelope);
        if data.is_empty() {
            record::encode(event, &mut head);
        } else {
            record::encode_head(event, &mut head);
        }
        Self { head, data }
    }

    pub(in crate::disk) fn len(&self) -> usize {
        self.head.len() + self.data.len()
    }

    /// Writes it to its place, which is as long as it is.
    pub(in crate::disk) fn write(&self, mut place: &mut [u8]) {
        place.put_slice(&self.head);
        place.put_slice(&self.data);
    }
}

fn put_envelope(row: &mut Vec<u8>, envelope: &[u8]) {
    row.put_u32_le(u32::try_from(envelope.len()).unwrap_or(u32::MAX));
    row.put_slice(envelope);
}

/// The row with another envelope; `None` when it is none.
pub(in crate::disk) fn amend(row: &[u8], envelope: &Envelope) -> Option<Vec<u8>> {
    let (_, record) = split(row)?;
    let envelope = envelope.encode();
    let mut amended = Vec::with_capacity(4 + envelope.len() + record.len());
    put_envelope(&mut amended, &envelope);
    amended.put_slice(record);
    Some(amended)
}

fn split(mut row: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = usize::try_from(row.try_get_u32_le().ok()?).ok()?;
    row.split_at_checked(len)
}

/// When the row is due, as the index has it.
pub(in crate::disk) fn due_micros(row: &[u8]) -> Option<u64> {
    let (envelope, _) = split(row)?;
    let envelope = Envelope::decode(Bytes::copy_from_slice(envelope))?;
    Some(to_micros(envelope.due_at))
}

/// What a row holds. The event has no charge yet.
pub(in crate::disk) fn decode(row: &[u8]) -> Result<(crate::Draft, Envelope), RowError> {
    let (envelope, record) = split(row).ok_or(RowError::Short)?;
    let envelope = Envelope::decode(Bytes::copy_from_slice(envelope)).ok_or(RowError::Short)?;
    Ok((record::decode(Bytes::copy_from_slice(record))?, envelope))
}
