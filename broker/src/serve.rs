//! `catchment serve`: not part of this build.

use crate::cli::{Console, Failure, ServeArgs};

/// Refuses to serve.
///
/// # Errors
///
/// Always [`Failure::Failed`].
pub fn run(_args: ServeArgs, _console: &Console) -> Result<(), Failure> {
    Err(Failure::Failed("serve is not built into this program".into()))
}
