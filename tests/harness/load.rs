//! Steady load: many producers, a rate, a mix of modes, every event in the ledger.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::oracle::Ledger;
use crate::producer::Producer;
use crate::sample::{Mode, Sample};

const AFTER_REFUSAL: Duration = Duration::from_millis(5);

type Make = Arc<dyn Fn(usize) -> Sample + Send + Sync>;

/// What to send.
#[derive(Clone)]
pub struct Load {
    events: usize,
    producers: usize,
    per_second: Option<u32>,
    modes: Vec<Mode>,
    broker: String,
    make: Make,
}

impl fmt::Debug for Load {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Load").field("events", &self.events).finish_non_exhaustive()
    }
}

impl Load {
    /// So many events to broker `default/default` in binary and structured mode by turns, as fast as eight
    /// producers can; `make` gives the event of each number and must not give one twice.
    pub fn new(events: usize, make: impl Fn(usize) -> Sample + Send + Sync + 'static) -> Self {
        Self {
            events,
            producers: 8,
            per_second: None,
            modes: vec![Mode::Binary, Mode::Structured, Mode::Batched],
            broker: "default/default".into(),
            make: Arc::new(make),
        }
    }

    /// By so many producers, each with a connection of its own.
    #[must_use]
    pub fn producers(mut self, producers: usize) -> Self {
        self.producers = producers;
        self
    }

    /// At this rate of all together.
    #[must_use]
    pub fn per_second(mut self, rate: u32) -> Self {
        self.per_second = Some(rate);
        self
    }

    /// Only in this mode.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.modes = vec![mode];
        self
    }

    /// To another broker, as `namespace/name`.
    #[must_use]
    pub fn of(mut self, broker: &str) -> Self {
        self.broker = broker.to_owned();
        self
    }

    /// Starts to send.
    #[must_use]
    pub fn start(self, to: SocketAddr, ledger: Arc<Ledger>) -> Flowing {
        let stop = Arc::new(AtomicBool::new(false));
        let next = Arc::new(AtomicUsize::new(0));
        let mut producers = JoinSet::new();
        for _ in 0..self.producers {
            producers.spawn(produce(self.clone(), to, ledger.clone(), next.clone(), stop.clone()));
        }
        Flowing { stop, producers }
    }
}

/// Load that is being sent.
#[derive(Debug)]
pub struct Flowing {
    stop: Arc<AtomicBool>,
    producers: JoinSet<()>,
}

impl Flowing {
    /// Waits until all is sent.
    pub async fn finish(mut self) {
        while let Some(ended) = self.producers.join_next().await {
            ended.expect("a producer does not panic");
        }
    }

    /// Sends nothing new, and waits for the answers that are open.
    pub async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.finish().await;
    }
}

async fn produce(
    load: Load,
    to: SocketAddr,
    ledger: Arc<Ledger>,
    next: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
) {
    let mut producer = Producer::new(to, &load.broker);
    let every = load.per_second.map(|rate| {
        let producers = u32::try_from(load.producers).expect("few producers");
        let mut every = interval(Duration::from_secs(1) * producers / rate.max(1));
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        every
    });
    let mut every = every;
    while !stop.load(Ordering::Relaxed) {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= load.events {
            return;
        }
        if let Some(every) = &mut every {
            every.tick().await;
        }
        let sample = (load.make)(number);
        let mode = load.modes[number % load.modes.len()];
        let entry = ledger.open(&load.broker, &sample, mode);
        let answer = producer.send(&sample, mode).await;
        ledger.close(entry, &answer);
        if !matches!(&answer, Ok(response) if response.status == 202) {
            sleep(AFTER_REFUSAL).await;
        }
    }
}
