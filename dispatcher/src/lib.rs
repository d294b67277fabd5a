//! Decides who wants an event, and sees each one delivered or dead-lettered.

pub mod filter;
pub mod http;
pub mod route;
pub mod duration;
mod plan;
mod retry;
mod spec;

pub use plan::{
    BACKOFF_DELAY_DEFAULT, BACKOFF_POLICY_DEFAULT, DeliveryChoice, DeliveryPlan, Format,
    RETRY_AFTER_MAX_DEFAULT, RETRY_DEFAULT, RETRY_MAX, TIMEOUT_DEFAULT, TIMEOUT_MAX, WAIT_MAX,
};
pub use retry::{BACKOFF_CAP, Backoff, BackoffPolicy};
pub use spec::{BrokerRef, DeliverySpec, FilterSpec, TriggerFilter, TriggerSpec};
