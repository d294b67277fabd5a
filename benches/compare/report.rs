//! What the rounds found, as tables or as JSON.

use std::fmt;

use serde::Serialize;

use crate::{
    args::Args,
    machine,
    round::{FOREIGN_MAX, Rounds, Sample, Void},
    scenario::{Figure, Pair, Row},
};

/// All that was found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    machine: String,
    connections: u32,
    body_bytes: usize,
    rounds: u32,
    seconds: u64,
    workers: usize,
    rows: Vec<RowReport>,
    ratios: Vec<RatioReport>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RowReport {
    name: Row,
    samples: Vec<Sample>,
    void: Vec<Void>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RatioReport {
    name: String,
    /// One for each round in which both rows are valid.
    ratios: Vec<f64>,
    median: Option<f64>,
    /// Whether more is better.
    is_rate: bool,
    reach: Option<f64>,
    /// Whether other processes disturbed one of the runs.
    is_disturbed: bool,
}

impl Report {
    pub(crate) fn new(args: &Args, rounds: &Rounds<'_>) -> Self {
        let rows = rounds.rows.iter().map(|(row, found)| RowReport {
            name: *row,
            samples: found.iter().filter_map(|run| run.as_ref().ok()).cloned().collect(),
            void: found.iter().filter_map(|run| run.as_ref().err()).cloned().collect(),
        });
        Self {
            machine: machine::describe(),
            connections: args.connections,
            body_bytes: args.body,
            rounds: args.rounds,
            seconds: args.seconds,
            workers: args.workers(),
            rows: rows.collect(),
            ratios: rounds.pairs.iter().map(|pair| RatioReport::new(pair, rounds)).collect(),
        }
    }

    /// Whether every run of every row counts.
    pub(crate) fn is_whole(&self) -> bool {
        self.rows.iter().all(|row| row.void.is_empty())
    }

    /// Whether no ratio missed its mark in every round.
    pub(crate) fn is_reached(&self) -> bool {
        self.ratios.iter().all(|ratio| {
            let better = if ratio.is_rate { f64::max } else { f64::min };
            let best = ratio.ratios.iter().copied().reduce(better);
            best.is_none_or(|best| ratio.reaches(best) != Some(false))
        })
    }
}

impl RatioReport {
    fn new(pair: &Pair, rounds: &Rounds<'_>) -> Self {
        let runs = |row: Row| {
            let found = rounds.rows.iter().find(|(name, _)| *name == row);
            found.into_iter().flat_map(|(_, runs)| runs)
        };
        let both: Vec<(&Sample, &Sample)> = runs(pair.above)
            .zip(runs(pair.below))
            .filter_map(|(above, below)| above.as_ref().ok().zip(below.as_ref().ok()))
            .collect();
        let is_rate = pair.figure == Figure::Rate;
        let figure = |sample: &Sample| {
            if is_rate { sample.events_per_second } else { sample.server_us }
        };
        let ratios: Vec<f64> =
            both.iter().map(|(above, below)| figure(above) / figure(below)).collect();
        Self {
            name: pair.to_string(),
            median: Spread::of(ratios.iter().copied()).map(|spread| spread.median),
            ratios,
            is_rate,
            reach: pair.reach,
            is_disturbed: both.iter().any(|(a, b)| is_disturbed(a) || is_disturbed(b)),
        }
    }
}

impl RatioReport {
    /// Whether `ratio` is within the mark, when there is one.
    fn reaches(&self, ratio: f64) -> Option<bool> {
        self.reach.map(|reach| if self.is_rate { ratio >= reach } else { ratio <= reach })
    }
}

fn is_disturbed(sample: &Sample) -> bool {
    sample.foreign_cores > FOREIGN_MAX
}

/// Median, least and most of some figures.
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(figures: impl Iterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.collect();
        sorted.sort_by(f64::total_cmp);
        // The middle one, or the mean of the middle two.
        let upper = sorted.get(sorted.len() / 2)?;
        let lower = sorted.get((sorted.len() - 1) / 2)?;
        Some(Self {
            median: f64::midpoint(*lower, *upper),
            least: *sorted.first()?,
            most: *sorted.last()?,
        })
    }

    fn text(figures: impl Iterator<Item = f64>, digits: usize) -> String {
        match Self::of(figures) {
            None => "-".to_owned(),
            Some(Self { median, least, most }) => {
                format!("{median:.digits$} [{least:.digits$}..{most:.digits$}]")
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, connections, body_bytes, rounds, seconds, workers, .. } = self;
        writeln!(f, "{machine}")?;
        writeln!(
            f,
            "{connections} connections, {body_bytes} bytes of data, {workers} workers a server, \
             {rounds} rounds of {seconds} s; median [least..most] of the rounds\n"
        )?;
        writeln!(
            f,
            "{:36} {:>24} {:>22} {:>8} {:>8} {:>22} {:>8} {:>8} {:>8}",
            "CPU us an event",
            "events/s",
            "server",
            "sinks",
            "load",
            "all three",
            "drain s",
            "MiB",
            "foreign"
        )?;
        for row in &self.rows {
            writeln!(f, "{row}")?;
        }
        writeln!(
            f,
            "\n{:64} {:>20} {:>8}",
            "server's CPU an event, or events a second: ratio", "", "reach"
        )?;
        for ratio in &self.ratios {
            writeln!(f, "{ratio}")?;
        }
        if self.rows.iter().flat_map(|row| &row.samples).any(is_disturbed) {
            writeln!(f, "\n* other processes took more than {FOREIGN_MAX} cores: run it again")?;
        }
        for row in &self.rows {
            for void in &row.void {
                writeln!(f, "\n{}: a run is void: {void}", row.name)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for RowReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spread = |figure: fn(&Sample) -> f64, digits| {
            Spread::text(self.samples.iter().map(figure), digits)
        };
        let median = |figure: fn(&Sample) -> f64| {
            let spread = Spread::of(self.samples.iter().map(figure));
            spread.map_or_else(|| "-".to_owned(), |spread| format!("{:.1}", spread.median))
        };
        let foreign = self.samples.iter().map(|sample| sample.foreign_cores).fold(0.0, f64::max);
        let mark = if self.samples.iter().any(is_disturbed) { "*" } else { "" };
        write!(
            f,
            "{:36} {:>24} {:>22} {:>8} {:>8} {:>22} {:>8} {:>8} {:>8}",
            self.name.to_string(),
            spread(|sample| sample.events_per_second, 0),
            spread(|sample| sample.server_us, 1),
            median(|sample| sample.sink_us),
            median(|sample| sample.load_us),
            spread(Sample::total_us, 1),
            median(|sample| sample.drain_seconds),
            median(|sample| sample.memory.resident_mib),
            format!("{foreign:.2}{mark}"),
        )
    }
}

impl fmt::Display for RatioReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.is_disturbed { "*" } else { "" };
        let spread = Spread::text(self.ratios.iter().copied(), 2);
        let sign = if self.is_rate { ">=" } else { "<=" };
        let reach = self.reach.map_or_else(|| "-".to_owned(), |reach| format!("{sign} {reach}"));
        let verdict = match self.median.and_then(|median| self.reaches(median)) {
            Some(true) => "reached",
            Some(false) => "missed",
            None => "",
        };
        write!(f, "{:64} {:>20} {reach:>8} {verdict}", self.name, format!("{spread}{mark}"))
    }
}
