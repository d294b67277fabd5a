//! Decides who wants an event, and sees each one delivered or dead-lettered.
//!
//! # Promises
//!
//! - For every event and every trigger that matches it there is one end: a 2xx of the subscriber, a
//!   dead letter, or an operator's purge (deleting a trigger purges what waits for it).
//! - A trigger's books add up whenever they are read: matched = delivered + dead + expired + purged +
//!   waiting + in flight. Summed over all workers and the dead letters, that is.
//! - A lease is settled when the last trigger that wanted its event has brought it to an end. Deliveries
//!   are at least once.
//! - A slow or failing subscriber costs its neighbours nothing: a trigger has its own concurrency and its
//!   own share of what may wait. What has not ended soon leaves the log for the trigger's overflow, with
//!   its attempts and when it is due; on a durable channel it costs no heap there.
//! - Events of one key reach an ordered trigger one after the other: the next is sent when the one before
//!   it has reached its end. Others are delivered in no promised order.
//! - What happens to an event is decided by pure functions ([`filter`], [`breaker`], `outcome`, `retry`,
//!   `retry_budget`, `concurrency`): time and chance are arguments.
//!
//! # Limits
//!
//! | what | default | bounds | at the limit |
//! | --- | --- | --- | --- |
//! | attempts of an event | 11 ([`RETRY_DEFAULT`] + 1) | 1 to 1,001 | dead letter, `exhausted` |
//! | time for one attempt | 10 s ([`TIMEOUT_DEFAULT`]) | up to 5 min | a failed attempt |
//! | wait between attempts | 0.2 s, doubling | capped at 5 min, ± 20 % | – |
//! | obeyed `Retry-After` | 1 h ([`RETRY_AFTER_MAX_DEFAULT`]) | up to 1 day | cut |
//! | deliveries of a trigger at a time | 32 ([`IN_FLIGHT_DEFAULT`]) | 1 to 1,024 | events wait |
//! | retries of a trigger, per worker | 2 a second or a fifth of first attempts | – | put off once by 0.5 to 1.5 s |
//! | failures in a row before a breaker opens | 20, or half of 20 in 30 s | – | nothing is sent for 5 s to 5 min, no attempt is spent |
//! | age of a waiting event | 24 h ([`Settings::age_max`]) | set by the process | dead letter, `aged` |
//! | events and bytes that wait for a trigger | a quarter of the channel ([`Quota`]) | set by the process | dead letter, `overflow` |
//! | dead letters of a broker | 10,000, 64 MiB, 7 days ([`DeadLetterLimits`]) | set by the process | the trigger stops until there is room |
//! | kept of each attempt's answer | 1 KiB ([`ANSWER_BYTES_MAX`]) | – | cut, and said so |
//! | attempts kept of one event | 50 | – | those in the middle go |
//! | nesting and size of a filter | 64 levels, 1,024 elements | – | the trigger is refused |
//! | length and nesting of an expression | 4 KiB, 64 levels ([`cesql`]) | – | the trigger is refused |
//! | steps of an evaluation | 10,000 | – | the event is not accepted |
//!
//! Those of connections are on the page of [`http`].
//!
//! # Reading order
//!
//! [`Worker::read`] (the loop), [`filter`], [`cesql`] and [`route`] (who wants it), [`explain`](mod@explain) (why), `lanes` and [`lane`] (when, and
//! what waits in the overflow), [`delivery`] (one event, one subscriber) with `outcome` and `retry`,
//! [`http`] (the request), [`reply`], [`dead_letter`], `notes` (what is kept of a trigger in the
//! ledger). What users write is in `spec`, what it comes to in `plan`, what a cluster is told of it in `status`.

mod attempt;
pub mod breaker;
pub mod cesql;
mod concurrency;
pub mod dead_letter;
pub mod delivery;
pub mod duration;
pub mod explain;
mod fanout;
pub mod filter;
mod history;
pub mod http;
pub mod lane;
mod lanes;
mod notes;
mod options;
mod outcome;
mod plan;
pub mod reply;
mod retry;
mod retry_after;
mod retry_budget;
pub mod route;
mod spec;
mod status;
mod trigger;
mod window;
mod worker;

pub use attempt::{ANSWER_BYTES_MAX, Attempt, AttemptLog};
pub use dead_letter::{
    DeadLetter, DeadLetterLimits, DeadLetters, HeldTally, Kept, Page, Reason, Selection, SinkState,
    SinkStatus,
};
pub use explain::{Explanation, explain};
pub use fanout::{Fanout, Overflows, Routes};
pub use filter::Filter;
pub use lane::{AttemptEnd, DURATION_BOUNDS, LaneReport, Tally};
pub use notes::{Following, Notes, Pauses};
pub use options::{
    IN_FLIGHT_DEFAULT, IN_FLIGHT_MAX, MAX_IN_FLIGHT, ORDERING, PAUSED, TriggerOptions,
};
pub use plan::{
    BACKOFF_DELAY_DEFAULT, BACKOFF_POLICY_DEFAULT, DeliveryChoice, DeliveryPlan, Format,
    RETRY_AFTER_MAX_DEFAULT, RETRY_DEFAULT, RETRY_MAX, TIMEOUT_DEFAULT, TIMEOUT_MAX, WAIT_MAX,
};
pub use retry::{BACKOFF_CAP, Backoff, BackoffPolicy};
pub use spec::{BrokerRef, DeliverySpec, FilterSpec, SubscriptionSpec, TriggerFilter, TriggerSpec};
pub use status::{DeadLetterSinkStatus, PhysicalSubscription, SubscriptionStatus, TriggerStatus};
pub use trigger::{Quota, Replies, Trigger, TriggerKey, TriggerPlan, Usage};
pub use worker::{Settings, Worker};
