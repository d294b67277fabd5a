//! A place events can be put, kept, and taken back from.

mod attributes;
pub mod binding;
mod budget;
mod draft;
mod event;
mod invalid;
mod percent;
pub mod rules;

pub use attributes::Attributes;
pub use budget::{Budget, Charge};
pub use draft::Draft;
pub use event::{Attribute, Data, Event, Form, Kind, SpecVersion};
pub use invalid::Invalid;
