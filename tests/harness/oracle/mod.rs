//! The oracle: what was sent, what arrived, what the API says of the rest -> which invariants were broken.
//!
//! [`ledger`] keeps what producers sent, [`filter`] decides who should get it, [`evidence`] gathers everything at
//! the end of a scenario, [`verdicts`] and [`attempts`] judge it. Nothing here was written with the
//! dispatcher's code in view.

pub mod attempts;
pub mod evidence;
pub mod filter;
pub mod ledger;
pub mod observer;
#[cfg(test)]
mod tests;
pub mod verdicts;

use std::sync::Arc;
use std::time::Duration;

pub use evidence::{Evidence, Letter, Watched};
pub use filter::{Filter, Selection};
pub use ledger::{Ledger, Outcome, Sent};
pub use observer::Observer;
pub use verdicts::{Verdict, assert_all};

use crate::admin::Admin;
use crate::manifest::{Delivery, Trigger};
use crate::subscriber::Subscriber;
use crate::wait::eventually;

/// The delivery policy that holds for a trigger, its broker's under its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// First attempt and retries together.
    pub attempts_max: u32,
    /// `backoffDelay`.
    pub delay: Duration,
    /// Whether the delay doubles.
    pub is_exponential: bool,
    /// What one attempt may take.
    pub timeout: Duration,
}

impl Policy {
    /// Merges field by field; what neither says is 10 retries, exponential from 0.2 s, 10 s each.
    #[must_use]
    pub fn of(trigger: Option<&Delivery>, broker: Option<&Delivery>) -> Self {
        fn first<T: Clone>(
            pair: [Option<&Delivery>; 2],
            field: impl Fn(&Delivery) -> &Option<T>,
        ) -> Option<T> {
            pair.into_iter().flatten().find_map(|delivery| field(delivery).clone())
        }
        let pair = [trigger, broker];
        let seconds = |text: Option<String>, default: f64| {
            Duration::from_secs_f64(text.map_or(default, |text| seconds(&text)))
        };
        Self {
            attempts_max: first(pair, |delivery| &delivery.retry).unwrap_or(10) + 1,
            delay: seconds(first(pair, |delivery| &delivery.backoff_delay), 0.2),
            is_exponential: first(pair, |delivery| &delivery.backoff_policy)
                .is_none_or(|policy| policy == "exponential"),
            timeout: seconds(first(pair, |delivery| &delivery.timeout), 10.0),
        }
    }
}

fn seconds(iso: &str) -> f64 {
    let number = iso.strip_prefix("PT").and_then(|text| text.strip_suffix('S'));
    number
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("tests write PT<number>S, not {iso}"))
}

/// A trigger the oracle answers for, and the subscriber behind it.
#[derive(Clone, Debug)]
pub struct Watch {
    /// The trigger as it was written.
    pub trigger: Trigger,
    /// The subscriber; the trigger's deliveries are those at [`Trigger::path`].
    pub subscriber: Subscriber,
    /// The policy that holds.
    pub policy: Policy,
    /// Whether order per `partitionkey` was asked for.
    pub is_ordered: bool,
}

/// Everything the oracle follows during one scenario.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    /// What was sent.
    pub ledger: Arc<Ledger>,
    /// The triggers it answers for.
    pub watches: Vec<Watch>,
}

impl Oracle {
    /// Follows a trigger.
    pub fn watch(&mut self, trigger: &Trigger, broker: Option<&Delivery>, subscriber: &Subscriber) {
        self.watches.push(Watch {
            trigger: trigger.clone(),
            subscriber: subscriber.clone(),
            policy: Policy::of(trigger.delivery.as_ref(), broker),
            is_ordered: trigger.annotations.iter().any(|(_, value)| value == "ordered"),
        });
    }

    /// How many accepted events a trigger should have matched.
    #[must_use]
    pub fn expected(&self, trigger: &Trigger) -> u64 {
        let sent = self.ledger.sent();
        let wanted =
            sent.iter().filter(|one| one.outcome == Outcome::Accepted && wants(trigger, one));
        wanted.map(|one| one.replied.unwrap_or(1) as u64).sum()
    }

    /// Waits until every watched trigger has matched what it should have, with nothing waiting or in flight.
    pub async fn settled(&self, admin: &Admin, deadline: Duration) {
        let ask = || async {
            let statuses = admin.triggers().await;
            for watch in &self.watches {
                let name = watch.trigger.full_name();
                let status = statuses
                    .iter()
                    .find(|one| format!("{}/{}", one.namespace, one.name) == name)
                    .ok_or_else(|| format!("no trigger {name}"))?;
                let counters = status.counters;
                let is_quiet = counters.waiting == 0 && counters.in_flight == 0;
                if !is_quiet || counters.matched < self.expected(&watch.trigger) {
                    return Err(format!(
                        "{name}: {counters:?}, expected {} (breaker {})",
                        self.expected(&watch.trigger),
                        status.breaker
                    ));
                }
            }
            Ok(())
        };
        eventually(deadline, ask).await;
    }
}

/// Whether a trigger should get an event.
#[must_use]
pub fn wants(trigger: &Trigger, sent: &Sent) -> bool {
    sent.broker == trigger.broker_name()
        && trigger.selection.matches(&|name| sent.sample.attribute(name))
}
