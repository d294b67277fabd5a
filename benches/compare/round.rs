//! One measured run of one row, and the rounds it is part of.

use std::{
    fmt,
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    Failure,
    args::{self, Args},
    catchment::{self, Catchment, Routes},
    load::{Answers, Order},
    machine,
    process::{self, Process},
    scenario::{self, Pair, Row, Server},
    sink,
};

/// Cores that other processes may take before a run is tried again, and marked if they still do.
pub(crate) const FOREIGN_MAX: f64 = 0.2;

/// What one run found.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sample {
    /// Events that were accepted, and that every sink they were for has counted.
    pub(crate) events: u64,
    /// Events a second, from the first one sent to the last one delivered.
    pub(crate) events_per_second: f64,
    /// CPU of each process, microseconds an event.
    pub(crate) server_us: f64,
    pub(crate) sink_us: f64,
    pub(crate) load_us: f64,
    /// Seconds from the end of the load to the last delivery.
    pub(crate) drain_seconds: f64,
    /// The server's memory afterwards.
    pub(crate) memory: machine::Memory,
    /// Cores that processes other than these took.
    pub(crate) foreign_cores: f64,
}

impl Sample {
    /// CPU of server, sinks and load together, microseconds an event.
    pub(crate) fn total_us(&self) -> f64 {
        self.server_us + self.sink_us + self.load_us
    }
}

/// Why a run counts for nothing.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Void(pub(crate) String);

impl fmt::Display for Void {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Every row's samples, a place for each round.
#[derive(Debug)]
pub(crate) struct Rounds<'a> {
    bench: Bench<'a>,
    pub(crate) pairs: Vec<Pair>,
    pub(crate) rows: Vec<(Row, Vec<Result<Sample, Void>>)>,
}

impl<'a> Rounds<'a> {
    /// No round yet; builds the broker if a row needs it.
    pub(crate) fn new(args: &'a Args) -> Result<Self, Failure> {
        let pairs = scenario::pairs(args);
        let rows = scenario::rows(&pairs);
        let has_broker = rows.iter().any(|row| matches!(row.server, Server::Catchment(..)));
        let executable = if has_broker { catchment::executable()? } else { PathBuf::new() };
        let rows = rows.into_iter().map(|row| (row, Vec::new())).collect();
        Ok(Self { bench: Bench { args, executable }, pairs, rows })
    }

    /// Runs every row once; every other round in reverse order, so that a drift of the machine does
    /// not always favour the same one.
    pub(crate) fn run(&mut self, number: u32) -> Result<(), Failure> {
        let mut order: Vec<_> = self.rows.iter_mut().collect();
        if number % 2 == 1 {
            order.reverse();
        }
        for (row, samples) in order {
            let found = self.bench.quietest(*row);
            let said = match &found {
                Ok(sample) => format!("{:.1} us", sample.server_us),
                Err(void) => format!("void: {void}"),
            };
            writeln!(std::io::stderr(), "round {}: {row}: {said}", number + 1)?;
            samples.push(found);
        }
        Ok(())
    }
}

/// What is needed to measure a row.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    pub(crate) args: &'a Args,
    pub(crate) executable: PathBuf,
}

const WARM_UP: Order = Order::Seconds(1);

impl Bench<'_> {
    /// The first of some tries during which the machine was ours, or else the quietest one.
    fn quietest(&self, row: Row) -> Result<Sample, Void> {
        let mut best = self.once(row)?;
        for _ in 1..self.args.tries {
            if best.foreign_cores <= FOREIGN_MAX {
                break;
            }
            let next = self.once(row)?;
            if next.foreign_cores < best.foreign_cores {
                best = next;
            }
        }
        Ok(best)
    }

    fn once(&self, row: Row) -> Result<Sample, Void> {
        let measure = || {
            let mut stage = Stage::set(self, row)?;
            stage.play(WARM_UP)?;
            stage.play(Order::Seconds(self.args.seconds))
        };
        measure().map_err(|error: Failure| Void(error.to_string()))
    }
}

/// Sinks, a server and the load, running.
#[derive(Debug)]
pub(crate) struct Stage {
    server: Running,
    load: Process,
    sink: Process,
    fan_out: u16,
    /// Events that each sink should have counted.
    expected: u64,
}

#[derive(Debug)]
enum Running {
    Hyper(Process),
    Catchment(Catchment),
}

const START_MAX: Duration = Duration::from_secs(10);
/// Beyond the time that an order takes by itself.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Orders by number of events have no end of their own.
const EVENTS_MAX: Duration = Duration::from_secs(1800);

impl Stage {
    /// Starts all three; the server is ready when this returns.
    pub(crate) fn set(bench: &Bench<'_>, row: Row) -> Result<Self, Failure> {
        let ports = row.fan_out.to_string();
        let threads = args::cores().to_string();
        let sink = Process::role("sink", ["--ports", &ports, "--threads", &threads])?;
        let ready: sink::Ready = sink.read(START_MAX)?;
        let sinks: Vec<SocketAddr> =
            ready.ports.into_iter().map(|port| (Ipv4Addr::LOCALHOST, port).into()).collect();
        let workers = bench.args.workers();
        let (server, address, types) = match row.server {
            Server::Hyper { .. } => {
                let list: Vec<String> = sinks.iter().map(ToString::to_string).collect();
                let (list, threads) = (list.join(","), workers.to_string());
                let process = Process::role("forward", ["--sinks", &list, "--threads", &threads])?;
                let port: u16 = process.read(START_MAX)?;
                (Running::Hyper(process), (Ipv4Addr::LOCALHOST, port).into(), 1)
            }
            Server::Catchment(routes, channel) => {
                let broker = Catchment::start(&bench.executable, routes, channel, &sinks, workers)?;
                let address = broker.address;
                let types = if let Routes::Each(count) = routes { count.into() } else { 1 };
                (Running::Catchment(broker), address, types)
            }
        };
        let load = Process::role("load", bench.args.load(address, types).to_flags())?;
        Ok(Self { server, load, sink, fan_out: row.fan_out, expected: 0 })
    }

    /// Carries out `order`, waits until the sinks have everything, and says what it cost.
    ///
    /// # Errors
    ///
    /// When an event was refused, lost or repeated: figures of such a run mean nothing.
    pub(crate) fn play(&mut self, order: Order) -> Result<Sample, Failure> {
        let before = self.snapshot()?;
        let limit = match order {
            Order::Seconds(seconds) => Duration::from_secs(seconds) + ANSWER_MAX,
            Order::Events(_) => EVENTS_MAX,
        };
        self.load.write(&order)?;
        let answers: Answers = self.load.read(limit)?;
        let loaded = Instant::now();
        let events = answers.accepted();
        self.expected += events;
        let counts = self.drain()?;
        let after = self.snapshot()?;
        if let Some(trouble) = answers.trouble() {
            return Err(format!("of the requests {trouble}").into());
        }
        self.check(&counts)?;
        if events == 0 {
            return Err("no event was sent".into());
        }
        let memory = machine::memory(self.pid())?;
        let sample = after.since(&before, events, memory, after.at - loaded);
        if sample.server_us <= 0.0 {
            return Err(
                "the server's process used no CPU: is it a script around the server?".into()
            );
        }
        Ok(sample)
    }

    /// The server's process.
    pub(crate) fn pid(&self) -> u32 {
        match &self.server {
            Running::Hyper(process) => process.pid(),
            Running::Catchment(broker) => broker.process.pid(),
        }
    }

    fn counts(&mut self) -> Result<sink::Counts, Failure> {
        self.sink.write(&())?;
        self.sink.read(START_MAX)
    }

    fn is_right(&self, counts: &sink::Counts) -> bool {
        counts.bad == 0 && counts.events.iter().all(|count| *count == self.expected)
    }

    /// Waits until every sink has all that it should have; gives up when nothing comes any more.
    fn drain(&mut self) -> Result<sink::Counts, Failure> {
        const LOOK_EVERY: Duration = Duration::from_millis(5);
        const STILL_MAX: Duration = Duration::from_secs(10);
        let mut counts = self.counts()?;
        let mut moved = Instant::now();
        while !self.is_right(&counts) && moved.elapsed() < STILL_MAX {
            process::pause(LOOK_EVERY);
            let now = self.counts()?;
            if now.events != counts.events {
                moved = Instant::now();
            }
            counts = now;
        }
        Ok(counts)
    }

    fn check(&self, counts: &sink::Counts) -> Result<(), Failure> {
        if self.is_right(counts) {
            return Ok(());
        }
        let got: u64 = counts.events.iter().sum();
        let wanted = self.expected * u64::from(self.fan_out);
        Err(format!("the sinks took {got} of {wanted} events and {} bad requests", counts.bad)
            .into())
    }

    fn snapshot(&self) -> Result<Snapshot, Failure> {
        Ok(Snapshot {
            at: Instant::now(),
            server: machine::cpu(self.pid())?,
            sink: machine::cpu(self.sink.pid())?,
            load: machine::cpu(self.load.pid())?,
            this: machine::cpu(std::process::id())?,
            busy: machine::busy()?,
        })
    }
}

/// Seconds of CPU so far.
#[derive(Debug)]
struct Snapshot {
    at: Instant,
    server: f64,
    sink: f64,
    load: f64,
    this: f64,
    busy: f64,
}

impl Snapshot {
    fn ours(&self) -> f64 {
        self.server + self.sink + self.load + self.this
    }

    #[allow(clippy::cast_precision_loss, reason = "an event more or less in 2^52")]
    fn since(
        &self,
        before: &Self,
        events: u64,
        memory: machine::Memory,
        drained_in: Duration,
    ) -> Sample {
        let wall = (self.at - before.at).as_secs_f64();
        let us = |seconds: f64| seconds * 1e6 / events as f64;
        let foreign = (self.busy - before.busy) - (self.ours() - before.ours());
        Sample {
            events,
            events_per_second: events as f64 / wall,
            server_us: us(self.server - before.server),
            sink_us: us(self.sink - before.sink),
            load_us: us(self.load - before.load),
            drain_seconds: drained_in.as_secs_f64(),
            memory,
            foreign_cores: (foreign / wall).max(0.0),
        }
    }
}
