//! Where the objects are that resources refer to and this process does not run.

use std::fmt::Debug;

use channel::{Found, Reference};

/// Knows where things are that references name.
pub trait Addresses: Debug + Send + Sync {
    /// What a reference leads to, its namespace filled in.
    ///
    /// # Errors
    ///
    /// In words, why it leads nowhere.
    fn find(&self, reference: &Reference) -> Result<Found, String>;
}
