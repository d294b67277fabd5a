//! `catchment check`: not part of this build.

use crate::cli::{CheckArgs, Console, Failure};

/// Refuses to check.
///
/// # Errors
///
/// Always [`Failure::Failed`].
pub fn run(_args: CheckArgs, _console: &Console) -> Result<(), Failure> {
    Err(Failure::Failed("check is not built into this program".into()))
}
