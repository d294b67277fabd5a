//! Decides who wants an event, and sees each one delivered or dead-lettered.

mod attempt;
pub mod breaker;
mod concurrency;
mod dead_letter;
mod delivery;
pub mod duration;
mod fanout;
pub mod filter;
pub mod http;
mod lane;
mod options;
mod outcome;
mod plan;
mod reply;
mod retry;
mod retry_after;
mod retry_budget;
pub mod route;
mod spec;
mod trigger;
mod window;
mod worker;

pub use attempt::{ANSWER_BYTES_MAX, Attempt, AttemptLog};
pub use dead_letter::{
    DeadLetter, DeadLetterLimits, DeadLetters, HeldTally, Page, Reason, Selection, SinkState,
    SinkStatus,
};
pub use fanout::{Fanout, Routes};
pub use filter::Filter;
pub use lane::{AttemptEnd, DURATION_BOUNDS, LaneReport, Tally};
pub use options::{IN_FLIGHT_DEFAULT, IN_FLIGHT_MAX, MAX_IN_FLIGHT, ORDERING, TriggerOptions};
pub use plan::{
    BACKOFF_DELAY_DEFAULT, BACKOFF_POLICY_DEFAULT, DeliveryChoice, DeliveryPlan, Format,
    RETRY_AFTER_MAX_DEFAULT, RETRY_DEFAULT, RETRY_MAX, TIMEOUT_DEFAULT, TIMEOUT_MAX, WAIT_MAX,
};
pub use retry::{BACKOFF_CAP, Backoff, BackoffPolicy};
pub use spec::{BrokerRef, DeliverySpec, FilterSpec, TriggerFilter, TriggerSpec};
pub use trigger::{Quota, Trigger, TriggerKey, TriggerPlan, Usage};
pub use worker::{Settings, Worker};
