//! Removing the streams of overflows that have been empty for long, whoever made them.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use futures_util::StreamExt as _;
use tokio::{
    select,
    time::{MissedTickBehavior, interval},
};
use tracing::{debug, info};

use crate::{
    Name,
    nats::{channel::Known, ledger::NatsLedger, link::Link, names::Names},
    removal::{Removals, Silences},
};

/// Longest wait between two looks.
const LOOK_EVERY_MAX: Duration = Duration::from_secs(60);

/// Removes what has been empty for long.
pub(in crate::nats) struct Remover {
    link: Arc<Link>,
    names: Names,
    known: Known,
    removals: Arc<Removals>,
    removed_after: Duration,
}

impl Remover {
    pub(in crate::nats) fn new(
        link: &Arc<Link>,
        names: &Names,
        known: &Known,
        ledger: &Arc<NatsLedger>,
        removed_after: Duration,
    ) -> Self {
        let (runtime, tasks, stop) = (link.runtime.clone(), link.tasks.clone(), link.stop.clone());
        Self {
            link: Arc::clone(link),
            names: names.clone(),
            known: Arc::clone(known),
            removals: Removals::new(Arc::<NatsLedger>::clone(ledger), runtime, tasks, stop),
            removed_after,
        }
    }

    /// What those who put ask.
    pub(in crate::nats) fn removals(&self) -> Arc<Removals> {
        Arc::clone(&self.removals)
    }

    /// Runs until the link closes or ends.
    pub(in crate::nats) async fn run(self) {
        let mut turn = interval(LOOK_EVERY_MAX.min(self.removed_after / 8));
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silences = Silences::default();
        loop {
            let tidied = async {
                turn.tick().await;
                if self.link.state.is_connected() { self.tidy(&mut silences).await } else { Ok(()) }
            };
            let done = select! {
                biased;
                () = self.link.closing.cancelled() => return,
                () = self.link.stop.cancelled() => return,
                done = tidied => done,
            };
            if let Err(error) = done {
                debug!(error = %error, "empty overflows are not removed");
            }
        }
    }

    async fn tidy(&self, silences: &mut Silences) -> Result<(), async_nats::Error> {
        let prefix = self.names.overflow_description();
        let mut empty = Vec::new();
        let mut streams = self.link.jet.streams();
        while let Some(info) = streams.next().await {
            let info = info?;
            let is_ours = info.config.description.is_some_and(|it| it.starts_with(&prefix));
            if is_ours && info.state.messages == 0 {
                empty.push((info.config.name, info.state.last_sequence));
            }
        }
        for stream in silences.note(empty, Instant::now(), self.removed_after) {
            self.remove(&stream).await?;
        }
        Ok(())
    }

    /// Removes a stream that has been empty for long, if it still is when nobody puts to it unseen.
    async fn remove(&self, name: &str) -> Result<(), async_nats::Error> {
        let announced = self.removals.announce(name).await?;
        let removed = async {
            let mut stream = self.link.jet.get_stream(name).await?;
            let info = stream.info().await?;
            if info.state.messages > 0 || !announced.is_fresh() {
                return Ok(());
            }
            let prefix = self.names.overflow_description();
            let description = info.config.description.as_deref().unwrap_or_default();
            let trigger = description.strip_prefix(&prefix).and_then(|name| name.parse().ok());
            self.link.jet.delete_stream(name).await?;
            if let Some(trigger) = trigger {
                let trigger: Name = trigger;
                self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&trigger);
            }
            info!(stream = name, "removed an overflow that was empty for long");
            Ok(())
        };
        let removed = removed.await;
        self.removals.withdraw(announced).await;
        removed
    }
}
