//! The backend that needs no server: a log and a small database in a folder of this machine.

mod ack;
mod data;
mod error;
mod feeder;
mod gauges;
mod group;
mod journal;
mod log;
mod recover;
mod settings;
mod settled;
mod shard;
mod shelf;
#[cfg(test)]
mod simulated;
mod space;
mod storage;
#[cfg(test)]
mod tests;
mod waiting;
mod writer;

pub use data::Data;
pub use error::OpenError;
pub use log::Disk;
pub use settings::DiskSettings;
