//! What the command can be asked for.

use std::{fmt, net::SocketAddr};

use clap::{Parser, Subcommand, ValueEnum};
use serde::Serialize;

use crate::{Failure, catchment, forward, load, sink};

/// Measures catchment beside a bare hyper forwarder: CPU an event of each, and the ratio.
///
/// Every row runs once a round; a ratio is formed inside its round.
#[derive(Debug, Parser)]
#[command(name = "compare", bin_name = "cargo bench -p benches --bench compare --")]
pub(crate) struct Args {
    /// How often each row runs
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Seconds of load in each measured run
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
    /// Keep-alive connections of the load, each with one request at a time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) connections: u32,
    /// Bytes of JSON in each event
    #[arg(long, default_value_t = 1024)]
    pub(crate) body: usize,
    /// Subscribers that each event goes to; a row for each number
    #[arg(long, value_delimiter = ',', default_value = "1,10", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) fan_out: Vec<u16>,
    /// Triggers in the row of which one matches
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) triggers: u32,
    /// Triggers in the row of which one matches by an expression of CloudEvents SQL
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) expressions: u32,
    /// Worker threads of each server [default: one a core]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) workers: Option<u16>,
    /// Compare this channel with the one in memory, by events a second (kafka and nats are found by
    /// CATCHMENT_KAFKA_BOOTSTRAP_SERVERS and CATCHMENT_NATS_URL)
    #[arg(long, value_enum, default_value_t = Channel::Memory)]
    pub(crate) channel: Channel,
    /// The comparisons to make [default: fan-out,triggers,expressions; with --channel: channel]
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<Comparison>,
    /// How often to try a run during which other processes took more than 0.2 cores
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) tries: u32,
    /// Measure resident memory instead: 1,000 triggers, each of them used in turn
    #[arg(long)]
    pub(crate) memory: bool,
    /// Events to send with --memory
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) events: u64,
    /// Exit with 1 when a figure misses its mark in every round
    #[arg(long)]
    pub(crate) gate: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
    /// Understood by all benches: measure nothing
    #[arg(long, hide = true)]
    pub(crate) test: bool,
    #[command(subcommand)]
    pub(crate) role: Option<Role>,
}

impl Args {
    /// Worker threads of each server.
    pub(crate) fn workers(&self) -> usize {
        self.workers.map_or_else(cores, usize::from)
    }

    /// The comparisons that were asked for.
    pub(crate) fn comparisons(&self) -> &[Comparison] {
        match self.only.as_slice() {
            [] if self.channel != Channel::Memory => &[Comparison::Channel],
            [] => &[Comparison::FanOut, Comparison::Triggers, Comparison::Expressions],
            only => only,
        }
    }

    /// The load on `target`, with events of `types` different types.
    pub(crate) fn load(&self, target: SocketAddr, types: u64) -> load::Args {
        load::Args {
            target,
            path: catchment::PATH.to_owned(),
            connections: self.connections,
            body: self.body,
            types,
            threads: cores().min(self.connections as usize),
        }
    }
}

/// Cores that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Two servers, and what is asked of the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Comparison {
    /// catchment / bare hyper, at each fan-out
    FanOut,
    /// many triggers of which one matches / one trigger
    Triggers,
    /// many triggers of which one matches / one trigger, their filters expressions
    Expressions,
    /// catchment with --channel / catchment in memory
    Channel,
    /// bare hyper / bare hyper: what the method cannot tell apart
    Noise,
}

/// Where the broker keeps its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Channel {
    /// In memory
    Memory,
    /// In files
    Disk,
    /// In a Kafka topic of one partition a worker
    Kafka,
    /// In a JetStream stream
    Nats,
}

impl Channel {
    /// The kind that a manifest names.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Memory => "InMemoryChannel",
            Self::Disk => "DiskChannel",
            Self::Kafka => "KafkaChannel",
            Self::Nats => "NatsJetStreamChannel",
        }
    }
}

/// The parts that this executable plays when it starts itself.
#[derive(Debug, Subcommand)]
#[command(hide = true)]
pub(crate) enum Role {
    #[command(hide = true)]
    Forward(forward::Args),
    #[command(hide = true)]
    Sink(sink::Args),
    #[command(hide = true)]
    Load(load::Args),
}

/// How results are printed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Output {
    /// Tables for people
    Text,
    /// One JSON object with every round
    Json,
}

impl Output {
    /// `result` in this form.
    pub(crate) fn render<R: fmt::Display + Serialize>(self, result: &R) -> Result<String, Failure> {
        Ok(match self {
            Self::Text => result.to_string(),
            Self::Json => serde_json::to_string_pretty(result)?,
        })
    }
}
