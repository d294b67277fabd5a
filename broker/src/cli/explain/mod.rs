//! `catchment explain`: which triggers want an event, and why the others do not.

mod args;
mod event;
mod manifests;
mod server;

pub(super) use args::EXAMPLES;
pub use args::ExplainArgs;

use super::output::{Console, Failure};

/// Explains an event by manifests, or by a running server when there are none.
///
/// # Errors
///
/// [`Failure::Failed`] for an event that no broker would take, a manifest that is wrong (the others
/// are explained all the same), a broker or trigger that is not there, and a server that does not
/// answer.
pub(super) async fn run(args: ExplainArgs, console: &Console) -> Result<(), Failure> {
    let bytes = super::input::read(&args.event)?;
    if args.paths.is_empty() {
        return server::run(&args, bytes, console).await;
    }
    let event = event::read(bytes, &super::input::name(&args.event))?;
    manifests::run(&args, &event, console)
}
