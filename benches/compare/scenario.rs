//! What is run in a round, and which rows are divided by which.

use std::fmt;

use serde::Serialize;

use crate::{
    args::{Args, Channel, Comparison},
    catchment::Routes,
};

/// A server under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) server: Server,
    /// Sinks that take each event.
    pub(crate) fan_out: u16,
}

/// What the load is put on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    /// The bare forwarder; `again` when it is compared with itself.
    Hyper { again: bool },
    /// The broker.
    Catchment(Routes, Channel),
}

impl Row {
    const fn hyper(fan_out: u16) -> Self {
        Self { server: Server::Hyper { again: false }, fan_out }
    }

    const fn catchment(fan_out: u16) -> Self {
        Self { server: Server::Catchment(Routes::All, Channel::Memory), fan_out }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fan_out = self.fan_out;
        match self.server {
            Server::Hyper { again: false } => write!(f, "bare hyper, fan-out {fan_out}"),
            Server::Hyper { again: true } => write!(f, "bare hyper again, fan-out {fan_out}"),
            Server::Catchment(Routes::All, Channel::Memory) => {
                write!(f, "catchment, fan-out {fan_out}")
            }
            Server::Catchment(Routes::All, channel) => {
                write!(f, "catchment on {channel:?}, fan-out {fan_out}")
            }
            Server::Catchment(Routes::OneOf(count), _) => {
                write!(f, "catchment, 1 of {count} matches")
            }
            Server::Catchment(Routes::Expressions(count), _) => {
                write!(f, "catchment, 1 of {count} expressions matches")
            }
            Server::Catchment(Routes::Each(count), _) => write!(f, "catchment, {count} triggers"),
        }
    }
}

/// What of two rows is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    /// CPU an event of the server: the less the better.
    Cpu,
    /// Events a second: the more the better.
    Rate,
}

/// Two rows that are divided in each round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    pub(crate) above: Row,
    pub(crate) below: Row,
    pub(crate) figure: Figure,
    /// The ratio to stay at or under, or of a rate at or over.
    pub(crate) reach: Option<f64>,
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figure = if self.figure == Figure::Rate { ", events a second" } else { "" };
        write!(f, "{} / {}{figure}", self.above, self.below)
    }
}

impl Serialize for Row {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The most that the broker may cost over the bare forwarder.
const FORWARD_REACH: f64 = 1.3;
/// The most that many triggers may cost over one.
const TRIGGERS_REACH: f64 = 1.1;

/// The least that a durable channel may do of what memory does.
const CHANNEL_REACH: f64 = 0.5;

/// The pairs that `args` asks for.
pub(crate) fn pairs(args: &Args) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for comparison in args.comparisons() {
        match comparison {
            Comparison::FanOut => pairs.extend(args.fan_out.iter().map(|fan_out| Pair {
                above: Row::catchment(*fan_out),
                below: Row::hyper(*fan_out),
                figure: Figure::Cpu,
                reach: Some(FORWARD_REACH),
            })),
            Comparison::Triggers => pairs.push(Pair {
                above: Row {
                    server: Server::Catchment(Routes::OneOf(args.triggers), Channel::Memory),
                    ..Row::catchment(1)
                },
                below: Row::catchment(1),
                figure: Figure::Cpu,
                reach: Some(TRIGGERS_REACH),
            }),
            Comparison::Expressions => {
                let row = |count| Row {
                    server: Server::Catchment(Routes::Expressions(count), Channel::Memory),
                    ..Row::catchment(1)
                };
                pairs.push(Pair {
                    above: row(args.expressions),
                    below: row(1),
                    figure: Figure::Cpu,
                    reach: Some(TRIGGERS_REACH),
                });
            }
            Comparison::Channel => pairs.push(Pair {
                above: Row {
                    server: Server::Catchment(Routes::All, args.channel),
                    ..Row::catchment(1)
                },
                below: Row::catchment(1),
                figure: Figure::Rate,
                reach: (args.channel == Channel::Disk).then_some(CHANNEL_REACH),
            }),
            Comparison::Noise => pairs.extend(args.fan_out.iter().map(|fan_out| Pair {
                above: Row { server: Server::Hyper { again: true }, fan_out: *fan_out },
                below: Row::hyper(*fan_out),
                figure: Figure::Cpu,
                reach: None,
            })),
        }
    }
    pairs
}

/// The rows of `pairs`, each once, partners next to each other.
pub(crate) fn rows(pairs: &[Pair]) -> Vec<Row> {
    let mut rows = Vec::new();
    for row in pairs.iter().flat_map(|pair| [pair.above, pair.below]) {
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    rows
}
