//! Something in a broker's storage that is no CloudEvent -> dead letters.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};

use channel::{Lease, Name};

use super::{DeadLetter, Kept, Reason};
use crate::{Fanout, TriggerKey, attempt::AttemptLog, worker::Worker};

/// How long to wait while the dead letters have no room, or cannot be stored.
const AGAIN: Duration = Duration::from_secs(1);

/// What is shown in place of a trigger.
const NO_TRIGGER: &str = "-";

/// Puts what another client wrote, and what is no CloudEvent, into the dead letters, for as long as it
/// takes; only then is it settled.
pub(crate) fn bury_undecodable(worker: &Rc<Worker>, fanout: &Arc<Fanout>, lease: Lease) {
    let fanout = Arc::clone(fanout);
    worker.tasks.spawn_local(async move {
        let mut letter = Box::new(DeadLetter {
            id: 0,
            hub: fanout.hub.clone(),
            trigger: Name::new(fanout.hub.name.namespace.clone(), NO_TRIGGER),
            key: TriggerKey::fresh(),
            destination: NO_TRIGGER.to_owned(),
            reason: Reason::Undecodable,
            detail: lease.problem().map(str::to_owned),
            failed_at: SystemTime::now(),
            attempts: AttemptLog::default(),
            event: lease.event().clone(),
            sink: None,
        });
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
