//! Sends a file: lines in, requests out, within the limits of concurrency and rate.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use http::{Response, Uri};
use tokio::{
    select,
    signal::unix::{SignalKind, signal},
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until},
};

use super::{
    super::{
        client::{CallError, Client},
        output::{Console, Failure},
    },
    Mode,
    lines::{self, Line},
    pack::{self, Packer, Parcel},
    progress::Progress,
    report::{Early, Report},
};

/// When this many events found no server and not one did, there is none.
const LOST_CAUSE: u64 = 100;
/// How far a run may lag behind its rate and still catch up; it never bursts by more.
const LAG_MAX: Duration = Duration::from_millis(100);

/// How a file is to be sent.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    /// Where to post.
    pub(super) target: Uri,
    /// How events travel.
    pub(super) mode: Mode,
    /// Most events in a batch.
    pub(super) batch_size: usize,
    /// Most requests under way.
    pub(super) concurrency: usize,
    /// Most events per second.
    pub(super) rate: Option<f64>,
}

struct Done {
    lines: pack::Lines,
    answer: Result<Response<Bytes>, CallError>,
    took: Duration,
}

impl Flow {
    /// Sends every line of `file` and prints the report.
    ///
    /// Ctrl-C ends the reading and waits for the requests under way; a second one does not wait.
    ///
    /// # Errors
    ///
    /// [`Failure::Failed`] when the file cannot be read (after the report of what was sent),
    /// [`Failure::Reported`] when any event was not accepted.
    pub(super) async fn send(
        self,
        file: &Path,
        client: Client,
        console: &Console,
    ) -> Result<(), Failure> {
        let cannot_read =
            |error| Failure::caused(format!("cannot read {}", file.display()), &error);
        let lines = lines::open(file).map_err(cannot_read)?;
        let run = Run {
            packer: Packer::new(self.mode, self.batch_size),
            report: Report::new(&self.target, self.mode),
            progress: Progress::start(lines.size_bytes),
            in_flight: JoinSet::new(),
            has_ended: false,
            read_bytes: 0,
            started: Instant::now(),
            due: Instant::now(),
            flow: self,
            client,
        };
        let (report, elapsed, read) = run.drive(lines).await?;
        if console.is_json() {
            console.document(&report.document(elapsed))?;
        } else {
            console.print(&report.text(elapsed))?;
        }
        read.map_err(cannot_read)?;
        report.verdict()
    }
}

struct Run {
    flow: Flow,
    client: Client,
    packer: Packer,
    report: Report,
    progress: Progress,
    in_flight: JoinSet<Done>,
    /// No more lines are taken.
    has_ended: bool,
    read_bytes: u64,
    started: Instant,
    /// When the next request may leave.
    due: Instant,
}

impl Run {
    async fn drive(
        mut self,
        mut lines: lines::Lines,
    ) -> Result<(Report, Duration, std::io::Result<()>), Failure> {
        let mut read = Ok(());
        let mut interrupts = signal(SignalKind::interrupt())
            .map_err(|error| Failure::caused("cannot listen for Ctrl-C", &error))?;
        while !self.is_over() {
            let has_room = self.in_flight.len() < self.flow.concurrency;
            let is_ready = self.packer.is_ready();
            select! {
                biased;
                Some(()) = interrupts.recv() => {
                    if self.report.ended_early.is_some() {
                        break;
                    }
                    self.end(Early::Interrupted);
                }
                Some(done) = self.in_flight.join_next() => self.settle(done)?,
                () = sleep_until(self.due), if is_ready && has_room => self.launch(),
                line = lines.read.recv(), if !is_ready && !self.has_ended => match line {
                    Some(Ok(line)) => self.take(line),
                    Some(Err(error)) => read = Err(error),
                    None => {
                        self.has_ended = true;
                        self.packer.flush();
                    }
                },
            }
        }
        self.progress.finish();
        Ok((self.report, self.started.elapsed(), read))
    }

    fn is_over(&self) -> bool {
        self.has_ended && !self.packer.is_ready() && self.in_flight.is_empty()
    }

    fn end(&mut self, early: Early) {
        self.report.ended_early = Some(early);
        self.has_ended = true;
        self.packer = Packer::new(self.flow.mode, self.flow.batch_size);
    }

    fn take(&mut self, line: Line) {
        self.read_bytes = line.end;
        let taken = match line.text {
            Some(text) => self.packer.push(line.number, text).map_err(|error| error.to_string()),
            None => Err(lines::too_long()),
        };
        if let Err(detail) = taken {
            self.report.add_invalid(line.number, detail);
        }
    }

    fn launch(&mut self) {
        let Some(parcel) = self.packer.next() else { return };
        if let Some(rate) = self.flow.rate {
            let events = parcel.lines().events;
            self.due = next_due(self.due, Instant::now(), span(events, rate));
        }
        self.in_flight.spawn(post(self.client.clone(), self.flow.target.clone(), parcel));
    }

    fn settle(&mut self, done: Result<Done, JoinError>) -> Result<(), Failure> {
        let done = done.map_err(|error| Failure::caused("a request was lost", &error))?;
        self.report.add(done.lines, &done.answer, done.took);
        self.progress.update(self.read_bytes, &self.report, self.started.elapsed());
        if self.report.failed >= LOST_CAUSE && !self.report.has_answers() && !self.has_ended {
            self.end(Early::NoServer);
        }
        Ok(())
    }
}

async fn post(client: Client, target: Uri, parcel: Parcel) -> Done {
    let started = Instant::now();
    let answer = client.call(parcel.request(&target)).await;
    Done { lines: parcel.lines(), answer, took: started.elapsed() }
}

/// The time that `events` may take at `rate` events per second.
fn span(events: u64, rate: f64) -> Duration {
    // Exact up to 2^53 events.
    Duration::try_from_secs_f64(events as f64 / rate).unwrap_or(Duration::MAX)
}

/// When the request after one that was due at `due` and left at `now` may leave.
fn next_due(due: Instant, now: Instant, span: Duration) -> Instant {
    let earliest = now.checked_sub(LAG_MAX).unwrap_or(now);
    due.max(earliest).checked_add(span).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_lags_catches_up_a_little_and_no_more() {
        let start = Instant::now();
        let millis = Duration::from_millis;
        let now = start + millis(1000);
        assert_eq!(next_due(now - millis(50), now, millis(10)), now - millis(40));
        assert_eq!(next_due(start, now, millis(10)), now - millis(90));
        assert_eq!(next_due(now, now, millis(10)), now + millis(10));
    }

    #[test]
    fn a_batch_takes_the_time_of_its_events() {
        assert_eq!(span(100, 50.0), Duration::from_secs(2));
        assert_eq!(span(1, 0.001), Duration::from_secs(1000));
    }
}
