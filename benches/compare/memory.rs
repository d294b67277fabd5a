//! Memory of a broker that has many triggers and has seen many events.

use std::fmt;

use serde::Serialize;

use crate::{
    Failure,
    args::{Args, Channel},
    catchment::{self, Routes},
    load::Order,
    machine,
    round::{Bench, Sample, Stage},
    scenario::{Row, Server},
};

const TRIGGERS: u32 = 1000;
/// Resident memory to stay under.
const REACH_MIB: f64 = 64.0;

/// Resident memory of the broker.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Found {
    machine: String,
    triggers: u32,
    connections: u32,
    body_bytes: usize,
    /// With the triggers loaded, before the first event.
    idle: machine::Memory,
    /// After the last event was delivered.
    run: Option<Sample>,
    /// Why the run counts for nothing.
    void: Option<String>,
    reach_mib: f64,
}

/// Sends `args.events` events, each trigger's type in turn.
pub(crate) fn measure(args: &Args) -> Result<Found, Failure> {
    let bench = Bench { args, executable: catchment::executable()? };
    let row =
        Row { server: Server::Catchment(Routes::Each(TRIGGERS), Channel::Memory), fan_out: 1 };
    let mut stage = Stage::set(&bench, row)?;
    let idle = machine::memory(stage.pid())?;
    let played = stage.play(Order::Events(args.events));
    let (run, void) = match played {
        Ok(sample) => (Some(sample), None),
        Err(error) => (None, Some(error.to_string())),
    };
    Ok(Found {
        machine: machine::describe(),
        triggers: TRIGGERS,
        connections: args.connections,
        body_bytes: args.body,
        idle,
        run,
        void,
        reach_mib: REACH_MIB,
    })
}

impl Found {
    /// Whether every event arrived.
    pub(crate) fn is_valid(&self) -> bool {
        self.run.is_some()
    }

    /// Whether the memory stayed under the mark.
    pub(crate) fn is_reached(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.memory.resident_mib < self.reach_mib)
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.machine)?;
        let Self { triggers, connections, body_bytes, .. } = self;
        writeln!(
            f,
            "{triggers} triggers, {connections} connections, {body_bytes} bytes of data\n"
        )?;
        writeln!(f, "resident before the first event   {:>7.1} MiB", self.idle.resident_mib)?;
        let (Some(run), None) = (&self.run, &self.void) else {
            return write!(f, "void: {}", self.void.as_deref().unwrap_or("not run"));
        };
        let memory = run.memory;
        let after = format!("resident after {} events", run.events);
        writeln!(f, "{after:<33} {:>7.1} MiB", memory.resident_mib)?;
        writeln!(f, "at its highest                    {:>7.1} MiB", memory.peak_mib)?;
        let verdict = if self.is_reached() { "reached" } else { "missed" };
        write!(f, "to stay under                     {:>7.1} MiB  {verdict}", self.reach_mib)
    }
}
