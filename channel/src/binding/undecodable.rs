//! Bytes that are no CloudEvent -> an event that carries them to the dead letters.

use bytes::Bytes;

use crate::{Data, Draft, Kind, SpecVersion};

/// The type of events that stand for something that is none.
pub const UNDECODABLE: &str = "dev.catchment.undecodable";

/// An event for bytes that another client wrote to a broker's storage and that are no CloudEvent.
/// `source` is a URI-reference of the place, `id` the place within it; neither may be empty.
pub fn undecodable(source: &str, id: &str, bytes: Bytes) -> Draft {
    let mut draft = Draft::new(SpecVersion::V10);
    for (name, text) in [("id", id), ("source", source), ("type", UNDECODABLE)] {
        if draft.push_text(name, text, Kind::String).is_err() {
            // The place's name breaks a rule of CloudEvents; the bytes matter more than it.
            draft.set(name, "unknown");
        }
    }
    draft.set("datacontenttype", "application/octet-stream");
    draft.set_data((!bytes.is_empty()).then(|| Data::opaque(bytes)));
    draft
}
