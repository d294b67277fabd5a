//! The backend that needs no server: a log and a small database in a folder of this machine.

mod data;
mod error;
mod group;
mod journal;
mod recover;
mod settings;
mod settled;
mod shelf;
#[cfg(test)]
mod simulated;
mod storage;
#[cfg(test)]
mod tests;

pub use data::Data;
pub use error::OpenError;
pub use settings::DiskSettings;
