//! Tests of the disk channel on a simulated disk.

mod any_order;
mod channel;
mod journal;
mod overflow;
mod waiting;

use bytes::Bytes;

use crate::{Data, Draft, Event, SpecVersion};

/// An event whose `id` is a number and whose data has this many bytes.
pub(super) fn event(number: u64, len: usize) -> Event {
    let mut draft = Draft::new(SpecVersion::V10);
    for (name, value) in [("id", &*number.to_string()), ("source", "/s"), ("type", "t")] {
        draft.push_wire(name, value.as_bytes()).unwrap();
    }
    draft.set_data(Some(Data::opaque(Bytes::from(vec![b'x'; len]))));
    draft.finish().unwrap()
}
