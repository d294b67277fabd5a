//! One event, or a batch of them, as JSON (CloudEvents JSON format 1.0.2).
//!
//! # Choices where the specification leaves one
//!
//! - The text of JSON data is kept as it came: order, numbers and spaces included.
//! - Data without `datacontenttype` gives the event an explicit `application/json`, so that every
//!   other binding says so (JSON format 3.1); never for `data_base64`.
//! - Integers beyond 32 bits, fractions and exponents are refused in attributes.
//! - A member that is there twice is refused, since readers differ in which one they take.
//! - Version 0.3: base64 text that `datacontentencoding` announces is decoded, the attribute goes with
//!   it, and both are written again by [`write()`].

mod read;
mod scan;
#[cfg(test)]
mod tests;
mod write;

pub use read::{read, read_batch};
pub use write::{write, write_batch};
