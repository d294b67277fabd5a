//! Real servers for the tests: fetched once by the scripts of `tests/servers`, each started on free ports.

pub mod kafka;
pub mod nats;
