//! What expressions of CloudEvents SQL cost beside the other dialects, as ratios within one run.
//!
//! Each ratio is formed in rounds that time both sides in turn, every other round in reverse order;
//! median, least and most are printed, and whether the median reaches its mark. Time is that of this
//! thread on a processor, so a neighbour costs only what it takes out of the caches.

use std::{collections::BTreeMap, hint::black_box, process::ExitCode, time::Duration};

use channel::{Draft, Event, Invalid, SpecVersion};
use clap::Parser;
use dispatcher::{
    FilterSpec,
    filter::Filter,
    route::{RouteTable, Scratch},
};
use rustix::time::{ClockId, clock_gettime};

/// Triggers of which one wants the event.
const TRIGGERS: u32 = 10_000;

#[derive(Debug, Parser)]
struct Args {
    /// Rounds of each ratio
    #[arg(long, default_value_t = 101, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Time for one side of a round, in milliseconds
    #[arg(long, default_value_t = 20)]
    millis: u64,
    /// Exit with 1 if a ratio misses its mark in every round
    #[arg(long)]
    gate: bool,
    /// Runs each side once, measures nothing
    #[arg(long)]
    test: bool,
    /// What cargo passes to benches
    #[arg(long, hide = true)]
    bench: bool,
}

/// Two things to time, and the most that the first may cost in units of the second.
struct Ratio<'a> {
    name: &'static str,
    /// Of the ratio; there is none for what is a small part of an event's cost.
    mark: Option<f64>,
    sides: [Side<'a>; 2],
}

/// Something to time; returns what it found, so that it is not left out.
type Side<'a> = Box<dyn FnMut() -> u32 + 'a>;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(invalid) => {
            print(&format!("a workload is wrong: {invalid:?}"));
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "the figures are what this program is for")]
fn print(line: &str) {
    println!("{line}");
}

/// Returns whether every ratio reached its mark, as far as that is asked for.
fn run(args: &Args) -> Result<bool, Vec<Invalid>> {
    let event = event(7).map_err(|invalid| vec![invalid])?;
    let texts = [exact("type", "com.example.orders.v1.event7"), prefix("subject", "orders/x/")];
    let texts = Filter::compile(None, &texts)?;
    let expression = "type = 'com.example.orders.v1.event7' AND subject LIKE 'orders/x/%'";
    let expression = Filter::compile(None, &[cesql(expression)])?;
    let filters: Vec<Filter> = (0..TRIGGERS)
        .map(|number| Filter::compile(None, &[cesql(&indexable(number))]))
        .collect::<Result<_, _>>()?;
    let (many, one) = (table(&filters), table(filters.get(7..8).unwrap_or_default()));
    let (mut of_many, mut of_one) = (Scratch::new(), Scratch::new());
    let ratios = [
        Ratio {
            name: "an expression / exact and prefix",
            mark: Some(3.0),
            sides: [
                Box::new(|| u32::from(black_box(&expression).accepts(black_box(&event)))),
                Box::new(|| u32::from(black_box(&texts).accepts(black_box(&event)))),
            ],
        },
        Ratio {
            name: "1 of 10000 expressions matches / 1 of 1",
            // `compare` divides what whole events cost, and has the mark.
            mark: None,
            sides: [
                Box::new(|| matches(&many, &event, &mut of_many)),
                Box::new(|| matches(&one, &event, &mut of_one)),
            ],
        },
    ];
    let mut all_reach = true;
    for mut ratio in ratios {
        all_reach &= ratio.measure(args);
    }
    Ok(all_reach || !args.gate)
}

impl Ratio<'_> {
    /// Prints the ratio. Returns whether it reached its mark in one round at least.
    fn measure(&mut self, args: &Args) -> bool {
        let [first, second] = &mut self.sides;
        if first() != 1 || second() != 1 {
            print(&format!("{}: void, not one match", self.name));
            return false;
        }
        if args.test {
            print(&format!("{}: runs", self.name));
            return true;
        }
        let time = Duration::from_millis(args.millis);
        // What is cold is timed once for nothing.
        let _warm = (nanos(first, time), nanos(second, time));
        let mut rounds: Vec<(f64, f64)> = (0..args.rounds)
            .map(|round| {
                if round % 2 == 0 {
                    let first = nanos(first, time);
                    (first, nanos(second, time))
                } else {
                    let second = nanos(second, time);
                    (nanos(first, time), second)
                }
            })
            .collect();
        rounds.sort_by(|left, right| (left.0 / left.1).total_cmp(&(right.0 / right.1)));
        let (Some(least), Some(most)) = (rounds.first(), rounds.last()) else { return true };
        let Some(median) = rounds.get(rounds.len() / 2) else { return true };
        let ratio = |(first, second): &(f64, f64)| first / second;
        let reached = match self.mark {
            Some(mark) if ratio(median) <= mark => format!("; <= {mark} reached"),
            Some(mark) => format!("; <= {mark} missed"),
            None => String::new(),
        };
        print(&format!(
            "{:<42} {:>7.1} ns / {:>6.1} ns = {:.2} ({:.2} to {:.2}){reached}",
            self.name,
            median.0,
            median.1,
            ratio(median),
            ratio(least),
            ratio(most),
        ));
        self.mark.is_none_or(|mark| ratio(least) <= mark)
    }
}

/// Nanoseconds of one call.
fn nanos(side: &mut Side<'_>, time: Duration) -> f64 {
    const CALLS: u32 = 1000;
    let (start, mut calls) = (processor_time(), 0_u32);
    let mut taken = Duration::ZERO;
    while taken < time {
        for _ in 0..CALLS {
            black_box(side());
        }
        calls = calls.saturating_add(CALLS);
        taken = processor_time().saturating_sub(start);
    }
    taken.as_secs_f64() * 1e9 / f64::from(calls)
}

fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

fn matches(table: &RouteTable, event: &Event, scratch: &mut Scratch) -> u32 {
    let mut count = 0;
    table.matches(black_box(event), scratch, |_| count += 1);
    count
}

fn table(filters: &[Filter]) -> RouteTable {
    RouteTable::new((0..).zip(filters))
}

/// An expression that one event matches: its type is looked up, the rest is evaluated.
fn indexable(number: u32) -> String {
    format!("type = 'com.example.orders.v1.event{number}' AND subject LIKE 'orders/%'")
}

fn event(number: u32) -> Result<Event, Invalid> {
    let mut draft = Draft::new(SpecVersion::V10);
    draft.push_wire("id", support::ID.as_bytes())?;
    draft.push_wire("source", b"/apis/v1/namespaces/team7/sources/s7/instance")?;
    draft.push_wire("type", format!("com.example.orders.v1.event{number}").as_bytes())?;
    draft.push_wire("subject", format!("orders/x/item{number}").as_bytes())?;
    draft.finish()
}

fn cesql(expression: &str) -> FilterSpec {
    FilterSpec { cesql: Some(expression.to_owned()), ..FilterSpec::default() }
}

fn exact(name: &str, text: &str) -> FilterSpec {
    FilterSpec { exact: Some(map(name, text)), ..FilterSpec::default() }
}

fn prefix(name: &str, text: &str) -> FilterSpec {
    FilterSpec { prefix: Some(map(name, text)), ..FilterSpec::default() }
}

fn map(name: &str, text: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(name.to_owned(), text.to_owned())])
}
