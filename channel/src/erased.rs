//! What became of the storage of a broker that is gone.

/// What was deleted of a broker's storage, and what is still there.
///
/// Whoever erases does so until nothing is left: what is on its way out is named too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Erased {
    /// Names of what was deleted now.
    pub removed: Vec<String>,
    /// Names of what is still there: not gone yet, still in use, or perhaps another broker's. Why is
    /// in the log.
    pub left: Vec<String>,
}

impl Erased {
    /// Whether nothing of the broker is there any more.
    pub fn is_done(&self) -> bool {
        self.left.is_empty()
    }
}
