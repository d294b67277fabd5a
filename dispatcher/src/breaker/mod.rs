//! Stops asking a subscriber that is down, and finds out when it is back.
//!
//! One breaker stands before each subscriber URL on each worker. While it is open nothing is sent,
//! so no attempt is used up: an outage does not turn a backlog into dead letters.
//!
//! ```text
//! closed --20 failures in a row, or half of >= 20 within 30 s--> open (5 s, doubling to 5 min)
//! open --time is over--> half open: 1 probe, then 4 --all passed--> closed
//!                        any probe failed --> open, twice as long
//! ```

use std::time::{Duration, Instant};

use crate::{retry::scaled, window::Window};

#[cfg(test)]
mod tests;

/// Failures in a row that open a breaker.
pub const FAILURES_IN_A_ROW: u32 = 20;
/// Results within [`RESULTS_WINDOW`] from which on half of them failing opens a breaker.
pub const RESULTS_MIN: u32 = 20;
/// Time over which the share of failures is taken.
pub const RESULTS_WINDOW: Duration = Duration::from_secs(30);
/// How long a breaker is open at first, before jitter.
pub const OPEN_MIN: Duration = Duration::from_secs(5);
/// How long it is open at most, before jitter.
pub const OPEN_MAX: Duration = Duration::from_secs(5 * 60);
/// Probes that follow the first one, when that passed.
pub const PROBES_MORE: u32 = 4;
/// When to ask again while all probes are out.
pub const PROBE_POLL: Duration = Duration::from_secs(1);
/// After this time a probe whose result nobody recorded is given up: longer than any attempt.
pub const PROBE_LOST_AFTER: Duration = Duration::from_secs(6 * 60);

/// What an attempt says about the subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It works.
    Success,
    /// It is down, or overloaded.
    Failure,
    /// It is there, and had something to say about this event only. Ends a run of failures and
    /// passes as a probe, but has no part in the share of failures.
    Neutral,
}

/// What a breaker lets happen.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Admit {
    /// Send.
    Go(Ticket),
    /// Send: the subscriber is on trial, and this attempt is part of it.
    Probe(Ticket),
    /// Send nothing, and ask again then; sooner when [`Breaker::record`] says that the state
    /// changed.
    WaitUntil(Instant),
}

/// The right to one attempt. Give it back with [`Breaker::record`] or [`Breaker::withdraw`].
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Ticket {
    era: u64,
}

/// What a breaker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Everything is sent.
    Closed,
    /// Nothing is sent.
    Open {
        /// The first attempt asked for from then on is a probe.
        until: Instant,
    },
    /// Only probes are sent.
    HalfOpen,
}

impl State {
    /// The name that the admin API shows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen => "halfOpen",
        }
    }
}

/// A circuit breaker: pure, so time and chance come in as arguments.
#[derive(Clone, Debug)]
pub struct Breaker {
    phase: Phase,
    /// Counts changes of state. A ticket of an earlier era speaks of a time that is over.
    era: u64,
    /// Openings since it was last closed.
    openings: u32,
    failures_in_a_row: u32,
    failures: Window,
    successes: Window,
}

#[derive(Clone, Debug)]
enum Phase {
    Closed,
    Open { until: Instant },
    HalfOpen(Trial),
}

/// How far the trial of a subscriber has come.
#[derive(Clone, Debug)]
struct Trial {
    out: u32,
    passed: u32,
    last_at: Instant,
}

impl Trial {
    /// How many probes may be out at once now.
    fn room(&self) -> u32 {
        if self.passed == 0 { 1 } else { (1 + PROBES_MORE).saturating_sub(self.passed) }
    }
}

impl Breaker {
    /// A closed breaker that has seen nothing.
    pub fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Closed,
            era: 0,
            openings: 0,
            failures_in_a_row: 0,
            failures: Window::new(RESULTS_WINDOW, now),
            successes: Window::new(RESULTS_WINDOW, now),
        }
    }

    /// What it is doing. An open breaker stays so after its time, until something is to be sent.
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Closed => State::Closed,
            Phase::Open { until } => State::Open { until },
            Phase::HalfOpen(_) => State::HalfOpen,
        }
    }

    /// Asks whether an event may be sent now.
    pub fn admit(&mut self, now: Instant) -> Admit {
        match self.phase {
            Phase::Closed => return Admit::Go(Ticket { era: self.era }),
            Phase::Open { until } if now < until => return Admit::WaitUntil(until),
            Phase::Open { .. } => {
                self.era += 1;
                self.phase = Phase::HalfOpen(Trial { out: 0, passed: 0, last_at: now });
            }
            Phase::HalfOpen(_) => {}
        }
        let Phase::HalfOpen(trial) = &mut self.phase else { return Admit::WaitUntil(now) };
        if trial.out > 0 && now.saturating_duration_since(trial.last_at) >= PROBE_LOST_AFTER {
            self.era += 1;
            trial.out = 0;
        }
        if trial.out >= trial.room() {
            return Admit::WaitUntil(now + PROBE_POLL);
        }
        trial.out += 1;
        trial.last_at = now;
        Admit::Probe(Ticket { era: self.era })
    }

    /// Notes what the attempt of `ticket` said, and returns whether the state changed, so that
    /// whoever waits can ask again. `draw`, uniform in `[0, 1)`, spreads the time it is open.
    ///
    /// An attempt admitted before the last change of state is not counted: what was sent before a
    /// breaker opened neither closes it nor keeps it open.
    pub fn record(&mut self, ticket: Ticket, now: Instant, verdict: Verdict, draw: f64) -> bool {
        if ticket.era != self.era {
            return false;
        }
        match (&mut self.phase, verdict) {
            (Phase::Open { .. }, _) => false,
            (Phase::HalfOpen(_), Verdict::Failure) => {
                self.open(now, draw);
                true
            }
            (Phase::HalfOpen(trial), Verdict::Success | Verdict::Neutral) => {
                trial.out = trial.out.saturating_sub(1);
                trial.passed += 1;
                let is_over = trial.passed > PROBES_MORE;
                if is_over {
                    self.reset();
                }
                is_over
            }
            (Phase::Closed, Verdict::Success) => {
                self.failures_in_a_row = 0;
                self.successes.add(now);
                false
            }
            (Phase::Closed, Verdict::Neutral) => {
                self.failures_in_a_row = 0;
                false
            }
            (Phase::Closed, Verdict::Failure) => {
                self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
                self.failures.add(now);
                let is_down = self.is_down(now);
                if is_down {
                    self.open(now, draw);
                }
                is_down
            }
        }
    }

    /// Takes back a ticket whose attempt was not made, or was broken off by us.
    pub fn withdraw(&mut self, ticket: Ticket) {
        if let Phase::HalfOpen(trial) = &mut self.phase
            && ticket.era == self.era
        {
            trial.out = trial.out.saturating_sub(1);
        }
    }

    /// Closes it and forgets everything, as an operator may ask.
    pub fn reset(&mut self) {
        self.enter(Phase::Closed);
        self.openings = 0;
    }

    fn is_down(&mut self, now: Instant) -> bool {
        let failures = self.failures.sum(now);
        let results = failures.saturating_add(self.successes.sum(now));
        self.failures_in_a_row >= FAILURES_IN_A_ROW
            || (results >= RESULTS_MIN && failures >= results - failures)
    }

    fn open(&mut self, now: Instant, draw: f64) {
        let length = OPEN_MIN.saturating_mul(2_u32.saturating_pow(self.openings)).min(OPEN_MAX);
        self.openings = self.openings.saturating_add(1);
        self.enter(Phase::Open { until: now + scaled(length, draw) });
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.era += 1;
        self.failures_in_a_row = 0;
        self.failures.clear();
        self.successes.clear();
    }
}
