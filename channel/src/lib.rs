//! A place events can be put, kept, and taken back from.

mod attributes;
mod invalid;

pub use attributes::Attributes;
pub use invalid::Invalid;
