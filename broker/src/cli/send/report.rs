//! What became of the events: counts that add up, latency, and the first refusals by line.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use bytes::Bytes;
use http::{Response, Uri};
use serde::Serialize;

use super::{
    super::{
        client::{CallError, explain},
        output::{Failure, paint},
    },
    Mode,
    latency::Latency,
    pack::Lines,
};

/// Refusals that are told one by one; the rest is counted.
const PROBLEMS_MAX: usize = 20;

/// Counts of one run. `sent + invalid = accepted + refused + failed` at every moment.
#[derive(Clone, Debug)]
pub(super) struct Report {
    target: String,
    mode: Mode,
    /// Events that were part of a request which has ended.
    pub(super) sent: u64,
    /// Events answered with 2xx.
    pub(super) accepted: u64,
    /// Events answered otherwise, and lines that are no event.
    pub(super) refused: u64,
    /// Lines that are no event.
    invalid: u64,
    /// Events without an answer.
    pub(super) failed: u64,
    by_status: BTreeMap<u16, u64>,
    latency: Latency,
    problems: Vec<Problem>,
    problems_omitted: u64,
    /// Why the run ended before the end of the file, if it did.
    pub(super) ended_early: Option<Early>,
    /// The event's id, when there is one event only.
    pub(super) id: Option<String>,
}

/// Why a run ended before the end of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Early {
    /// Ctrl-C.
    Interrupted,
    /// Nothing ever answered.
    NoServer,
}

/// One refusal.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Problem {
    line: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_line: Option<u64>,
    status: Option<u16>,
    detail: String,
}

impl Report {
    /// A report in which nothing has happened yet.
    pub(super) fn new(target: &Uri, mode: Mode) -> Self {
        Self {
            target: target.to_string(),
            mode,
            sent: 0,
            accepted: 0,
            refused: 0,
            invalid: 0,
            failed: 0,
            by_status: BTreeMap::new(),
            latency: Latency::new(),
            problems: Vec::new(),
            problems_omitted: 0,
            ended_early: None,
            id: None,
        }
    }

    /// Counts a request that has ended.
    pub(super) fn add(
        &mut self,
        lines: Lines,
        answer: &Result<Response<Bytes>, CallError>,
        took: Duration,
    ) {
        self.sent += lines.events;
        let (status, detail) = match answer {
            Ok(answer) => {
                let status = answer.status();
                self.latency.record(took);
                *self.by_status.entry(status.as_u16()).or_default() += lines.events;
                if status.is_success() {
                    self.accepted += lines.events;
                    return;
                }
                self.refused += lines.events;
                (Some(status.as_u16()), explain(answer))
            }
            Err(error) => {
                self.failed += lines.events;
                (None, error.to_string())
            }
        };
        let last_line = (lines.last > lines.first).then_some(lines.last);
        self.tell(Problem { line: lines.first, last_line, status, detail });
    }

    /// Counts a line that is no event.
    pub(super) fn add_invalid(&mut self, line: u64, detail: String) {
        self.refused += 1;
        self.invalid += 1;
        self.tell(Problem { line, last_line: None, status: None, detail });
    }

    fn tell(&mut self, problem: Problem) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        } else {
            self.problems_omitted += 1;
        }
    }

    /// Whether the server has answered anything, refusals included.
    pub(super) fn has_answers(&self) -> bool {
        !self.by_status.is_empty()
    }

    /// Fine only when every event was accepted and the file was read to its end.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        if self.refused + self.failed > 0 || self.ended_early.is_some() {
            return Err(Failure::Reported);
        }
        Ok(())
    }

    /// The report for programs; `elapsed` is the time of the whole run.
    pub(super) fn document(&self, elapsed: Duration) -> impl Serialize {
        let millis = |took: Duration| round(took.as_secs_f64() * 1000.0);
        let percentile = |percent| self.latency.percentile(percent).map(millis);
        let mut document = serde_json::json!({
            "target": self.target,
            "mode": self.mode.name(),
            "sent": self.sent,
            "accepted": self.accepted,
            "refused": self.refused,
            "invalid": self.invalid,
            "failed": self.failed,
            "byStatus": self.by_status,
            "seconds": round(elapsed.as_secs_f64()),
            "eventsPerSecond": self.rate(elapsed).map(round),
            "latencyMs": {
                "p50": percentile(50),
                "p99": percentile(99),
                "max": self.has_answers().then(|| millis(self.latency.max())),
            },
            "problems": self.problems,
            "problemsOmitted": self.problems_omitted,
            "endedEarly": self.ended_early,
        });
        if let (Some(id), Some(members)) = (&self.id, document.as_object_mut()) {
            members.insert("id".to_owned(), id.as_str().into());
        }
        document
    }

    /// The report for people.
    pub(super) fn text(&self, elapsed: Duration) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        self.write(&mut text, elapsed).unwrap_or_default();
        text
    }

    fn write(&self, out: &mut String, elapsed: Duration) -> std::fmt::Result {
        let (good, bad) = (paint::GOOD, paint::BAD);
        if let Some(early) = self.ended_early {
            let why = match early {
                Early::Interrupted => "interrupted",
                Early::NoServer => "gave up, because nothing ever answered",
            };
            writeln!(out, "{bad}{why}, before the end of the file{bad:#}")?;
        }
        write!(out, "sent {} in {elapsed:.2?}", events(self.sent))?;
        if let Some(rate) = self.rate(elapsed) {
            write!(out, " ({rate:.0}/s)")?;
        }
        write!(out, ": {good}{} accepted{good:#}", self.accepted)?;
        for (count, word) in [(self.refused, "refused"), (self.failed, "failed")] {
            if count > 0 {
                write!(out, ", {bad}{count} {word}{bad:#}")?;
            }
        }
        writeln!(out)?;
        if let (Some(p50), Some(p99)) = (self.latency.percentile(50), self.latency.percentile(99)) {
            let max = self.latency.max();
            writeln!(out, "latency p50 {p50:.1?}, p99 {p99:.1?}, max {max:.1?}")?;
        }
        let mut refused: Vec<String> = self
            .by_status
            .iter()
            .filter(|(status, _)| !(200..300).contains(*status))
            .map(|(status, count)| format!("{count} with {status}"))
            .collect();
        if self.invalid > 0 {
            refused.push(format!("{} not sent because the line is no event", self.invalid));
        }
        if !refused.is_empty() {
            writeln!(out, "refused: {}", refused.join(", "))?;
        }
        for problem in &self.problems {
            problem.write(out)?;
        }
        if self.problems_omitted > 0 {
            writeln!(out, "... and {} more like these", self.problems_omitted)?;
        }
        Ok(())
    }

    fn rate(&self, elapsed: Duration) -> Option<f64> {
        // Exact up to 2^53 events.
        let sent = self.sent as f64;
        (self.sent > 0 && !elapsed.is_zero()).then(|| sent / elapsed.as_secs_f64())
    }
}

impl Problem {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        match self.last_line {
            Some(last) => write!(out, "lines {}-{last}: ", self.line)?,
            None => write!(out, "line {}: ", self.line)?,
        }
        if let Some(status) = self.status {
            write!(out, "{status} ")?;
        }
        writeln!(out, "{}", crate::display::escape(&self.detail, false))
    }
}

fn events(count: u64) -> String {
    if count == 1 { "1 event".to_owned() } else { format!("{count} events") }
}

/// Three digits after the point.
fn round(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn answer(status: StatusCode) -> Result<Response<Bytes>, CallError> {
        let mut answer = Response::new(Bytes::new());
        *answer.status_mut() = status;
        Ok(answer)
    }

    fn report() -> Report {
        let mut report = Report::new(&Uri::from_static("http://localhost/a/b"), Mode::Batched);
        let took = Duration::from_millis(2);
        report.add(Lines { first: 1, last: 4, events: 3 }, &answer(StatusCode::ACCEPTED), took);
        report.add(Lines { first: 5, last: 6, events: 2 }, &answer(StatusCode::BAD_REQUEST), took);
        report.add_invalid(2, "id: is required".to_owned());
        let timeout = CallError::Timeout { server: "localhost".into(), timeout: took };
        report.add(Lines { first: 7, last: 7, events: 1 }, &Err(timeout), took);
        report
    }

    #[test]
    fn the_counts_add_up() {
        let report = report();
        assert_eq!(report.sent + report.invalid, report.accepted + report.refused + report.failed);
        assert_eq!((report.accepted, report.refused, report.failed), (3, 3, 1));
        assert!(report.verdict().is_err());
    }

    #[test]
    fn people_get_a_summary_and_the_lines_at_fault() {
        let text = report().text(Duration::from_secs(2));
        assert_eq!(
            anstream::adapter::strip_str(&text).to_string(),
            "\
sent 6 events in 2.00s (3/s): 3 accepted, 3 refused, 1 failed
latency p50 2.0ms, p99 2.0ms, max 2.0ms
refused: 2 with 400, 1 not sent because the line is no event
lines 5-6: 400 bad request
line 2: id: is required
line 7: no answer from localhost within 2ms
"
        );
    }

    #[test]
    fn the_list_of_refusals_is_bounded() {
        let mut report = Report::new(&Uri::from_static("http://localhost/"), Mode::Binary);
        for line in 0..100 {
            report.add_invalid(line, "x".to_owned());
        }
        let document = serde_json::to_value(report.document(Duration::ZERO)).unwrap();
        assert_eq!(document["problems"].as_array().unwrap().len(), PROBLEMS_MAX);
        assert_eq!(document["problemsOmitted"], 80);
        assert_eq!(document["latencyMs"]["p50"], serde_json::Value::Null);
    }
}
