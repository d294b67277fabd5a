//! Decides who wants an event, and sees each one delivered or dead-lettered.

pub mod filter;
pub mod http;
pub mod route;
mod spec;

pub use spec::{BrokerRef, DeliverySpec, FilterSpec, TriggerFilter, TriggerSpec};
