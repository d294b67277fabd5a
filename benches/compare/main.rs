//! The broker beside a bare hyper forwarder of the same shape, in interleaved rounds.
//!
//! One executable plays every part: started by `cargo bench` it is the one that measures; it starts
//! itself again as the forwarder, the sinks and the load. Method and reading: `benches/README.md`.

mod args;
mod catchment;
mod forward;
mod load;
mod machine;
mod memory;
mod percore;
mod process;
mod report;
mod round;
mod scenario;
mod sink;

use std::{error::Error, io::Write, process::ExitCode};

use clap::Parser;

use crate::{
    args::{Args, Role},
    report::Report,
    round::Rounds,
};

/// Whatever went wrong, as a sentence for the person at the terminal.
type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match &args.role {
        Some(Role::Forward(it)) => forward::run(it),
        Some(Role::Sink(it)) => sink::run(it),
        Some(Role::Load(it)) => load::run(it),
        None if args.bench && !args.test => compare(&args),
        // `cargo test --benches` runs every bench target; this one has nothing quick to say.
        None => writeln!(std::io::stdout(), "compare: runs with `cargo bench` only")
            .map(|()| true)
            .map_err(Failure::from),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nothing is left to tell when stderr is gone too.
            writeln!(std::io::stderr(), "compare: {error}").ok();
            ExitCode::FAILURE
        }
    }
}

/// Runs what was asked for and prints it; false when a figure is missing or, with `--gate`, too high.
fn compare(args: &Args) -> Result<bool, Failure> {
    if cfg!(debug_assertions) {
        return Err("a forwarder without optimisation would flatter the broker".into());
    }
    let mut out = std::io::stdout();
    if args.memory {
        let found = memory::measure(args)?;
        writeln!(out, "{}", args.output.render(&found)?)?;
        return Ok(found.is_valid() && (!args.gate || found.is_reached()));
    }
    let mut rounds = Rounds::new(args)?;
    for number in 0..args.rounds {
        rounds.run(number)?;
    }
    let report = Report::new(args, &rounds);
    writeln!(out, "{}", args.output.render(&report)?)?;
    Ok(report.is_whole() && (!args.gate || report.is_reached()))
}
