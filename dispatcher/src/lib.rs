//! Decides who wants an event, and sees each one delivered or dead-lettered.

mod breaker;
mod concurrency;
pub mod duration;
pub mod filter;
pub mod http;
mod outcome;
mod plan;
mod retry;
mod retry_after;
mod retry_budget;
pub mod route;
mod spec;
mod window;

pub use breaker::{
    Admit, Breaker, FAILURES_IN_A_ROW, OPEN_MAX, OPEN_MIN, PROBE_LOST_AFTER, PROBE_POLL,
    PROBES_MORE, RESULTS_MIN, RESULTS_WINDOW, State, Ticket, Verdict,
};
pub use concurrency::{Concurrency, HALVE_EVERY, SUCCESSES_PER_STEP};
pub use outcome::{Attempt, Outcome, Payload};
pub use plan::{
    BACKOFF_DELAY_DEFAULT, BACKOFF_POLICY_DEFAULT, DeliveryChoice, DeliveryPlan, Format,
    RETRY_AFTER_MAX_DEFAULT, RETRY_DEFAULT, RETRY_MAX, TIMEOUT_DEFAULT, TIMEOUT_MAX, WAIT_MAX,
};
pub use retry::{BACKOFF_CAP, Backoff, BackoffPolicy};
pub use retry_after::retry_after;
pub use retry_budget::{
    BUDGET_WINDOW, FIRST_ATTEMPTS_PER_RETRY, POSTPONED_MIN, RETRIES_FREE, RetryBudget, Spend,
};
pub use spec::{BrokerRef, DeliverySpec, FilterSpec, TriggerFilter, TriggerSpec};
