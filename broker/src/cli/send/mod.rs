//! `catchment send`: one event from flags, or a file of them, posted to a broker or any sink.

mod args;
mod event;
mod flow;
mod latency;
mod lines;
mod pack;
mod progress;
mod report;

use std::{num::NonZeroUsize, time::Instant};

use channel::binding::json;
use http::{StatusCode, Uri};

use super::{
    client::{Client, Refusal},
    output::{Console, Failure, paint},
};
use crate::display::escape;

pub(super) use args::EXAMPLES;
pub use args::{Mode, SendArgs};

/// Bytes of an answer that are read: enough for any problem document.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Sends what the arguments say and reports.
///
/// # Errors
///
/// [`Failure::Usage`] for an event that cannot be built, [`Failure::Failed`] for a file that
/// cannot be read, [`Failure::Reported`] when any event was refused or got no answer.
pub(super) async fn run(args: SendArgs, console: &Console) -> Result<(), Failure> {
    let client = Client::new(args.timeout, ANSWER_BYTES_MAX);
    match args.file.clone() {
        Some(file) => {
            let flow = flow::Flow {
                target: args.url,
                mode: args.mode,
                batch_size: args.batch_size.map_or(100, NonZeroUsize::get),
                concurrency: args.concurrency.map_or(1, NonZeroUsize::get),
                rate: args.rate,
            };
            flow.send(&file, client, console).await
        }
        None => one(args, &client, console).await,
    }
}

async fn one(args: SendArgs, client: &Client, console: &Console) -> Result<(), Failure> {
    let event = event::from_flags(&args, jiff::Timestamp::now(), fastrand::u128(..))?;
    let id = event.id().to_owned();
    let mut text = Vec::new();
    json::write(&event, &mut text);
    let parcel = pack::single(args.mode, 1, &event, text.into())
        .map_err(|invalid| Failure::Usage(invalid.to_string()))?;
    let started = Instant::now();
    let answer = client.call(parcel.request(&args.url)).await;
    let took = started.elapsed();

    if console.is_json() {
        let mut report = report::Report::new(&args.url, args.mode);
        report.id = Some(id);
        report.add(parcel.lines(), &answer, took);
        console.document(&report.document(took))?;
        return report.verdict();
    }
    match answer {
        Ok(answer) if answer.status().is_success() => {
            let (good, status, id) = (paint::GOOD, answer.status().as_u16(), escape(&id, false));
            console.print(&format!("{good}accepted{good:#} {status} id {id} in {took:.1?}\n"))
        }
        Ok(answer) => Err(Failure::Failed(format!(
            "{} refused the event: {}{}",
            args.url,
            Refusal(&answer),
            hint(&args.url, answer.status()),
        ))),
        Err(error) => Err(Failure::caused("the event was not accepted", &error)),
    }
}

/// What a newcomer most likely overlooked.
fn hint(target: &Uri, status: StatusCode) -> &'static str {
    if status == StatusCode::NOT_FOUND && target.path() == "/" {
        " (a broker's path is /NAMESPACE/BROKER, for example /default/default)"
    } else {
        ""
    }
}
