//! Something in a broker's storage that is no CloudEvent -> dead letters.

use std::{rc::Rc, sync::Arc, time::Duration};

use channel::Lease;

use super::{DeadLetter, Kept, NO_TRIGGER, Reason};
use crate::{Fanout, worker::Worker};

/// How long to wait while the dead letters have no room, or cannot be stored.
const AGAIN: Duration = Duration::from_secs(1);

/// Puts what another client wrote, and what is no CloudEvent, into the dead letters, for as long as it
/// takes; only then is it settled.
pub(crate) fn bury_undecodable(worker: &Rc<Worker>, fanout: &Arc<Fanout>, lease: Lease) {
    let fanout = Arc::clone(fanout);
    worker.tasks.spawn_local(async move {
        let mut letter = DeadLetter::without_trigger(
            &fanout.hub,
            NO_TRIGGER,
            Reason::Undecodable,
            lease.problem().map(str::to_owned),
            lease.event().clone(),
        );
        let Kept { letter, mut storing } = loop {
            match fanout.dead_letters.put(letter) {
                Ok(kept) => break kept,
                Err(unkept) => letter = unkept,
            }
            tokio::time::sleep(AGAIN).await;
        };
        while let Some(work) = storing.take() {
            if let Err(error) = work.await {
                tracing::warn!(dead_letter = letter.id, %error, "a dead letter could not be stored yet");
                tokio::time::sleep(AGAIN).await;
                storing = fanout.dead_letters.store(&letter);
            }
        }
        tracing::warn!(
            hub = %fanout.hub,
            dead_letter = letter.id,
            problem = letter.detail,
            "another client wrote something that is no CloudEvent"
        );
        lease.settle();
    });
}
