//! A record that a source cannot deliver -> the dead letters of the hub that is its sink.

use std::sync::Arc;

use ::sources::{
    SourceId,
    kafka::{DeadRecord, DeadRecords, Why},
};
use channel::{Hub, PublishError, Work};
use dispatcher::{DeadLetter, Kept, Reason};

use crate::control::Control;

/// Puts dead records of one source into the dead letters of a hub, as that stands then.
#[derive(Debug)]
pub(super) struct HubRecords {
    source: String,
    hub: Hub,
    /// Where the records should have gone.
    destination: String,
    control: Arc<Control>,
}

impl HubRecords {
    pub(super) fn new(
        source: &SourceId,
        hub: Hub,
        destination: &str,
        control: Arc<Control>,
    ) -> Self {
        Self { source: source.to_string(), hub, destination: destination.to_owned(), control }
    }

    fn letter(&self, record: DeadRecord) -> Box<DeadLetter> {
        let DeadRecord { event, why, detail } = record;
        let reason = match why {
            Why::Undecodable => Reason::Undecodable,
            Why::Refused => Reason::Refused,
            Why::Exhausted => Reason::Exhausted,
        };
        let detail = Some(format!("{}: {detail}", self.source));
        DeadLetter::without_trigger(&self.hub, &self.destination, reason, detail, event)
    }
}

impl DeadRecords for HubRecords {
    fn keep(&self, record: DeadRecord) -> Work<Result<(), String>> {
        let (hub, control) = (self.hub.clone(), Arc::clone(&self.control));
        let letter = self.letter(record);
        Box::pin(async move {
            let inventory = control.inventory.load_full();
            let state = match inventory.hub(&hub) {
                Some(Ok(state)) => state,
                Some(Err(why)) => return Err(format!("{hub} is not ready: {}", why.message)),
                None => return Err(format!("there is no {hub}")),
            };
            let letters = &state.fanout.dead_letters;
            let Ok(Kept { letter, storing }) = letters.put(letter) else {
                return Err(format!("the dead letters of {hub} are full"));
            };
            let Some(storing) = storing else { return Ok(()) };
            match storing.await {
                Ok(()) => Ok(()),
                Err(error @ PublishError::TooLarge { .. }) => {
                    tracing::error!(%hub, dead_letter = letter.id, %error, "a dead letter is kept in memory alone");
                    Ok(())
                }
                Err(error) => {
                    // It comes again, under another id.
                    letters.take(letter.id);
                    Err(error.to_string())
                }
            }
        })
    }
}
