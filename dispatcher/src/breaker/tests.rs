//! When a breaker opens, how it finds out, and that it never asks more than it may.

use proptest::prelude::*;

use super::*;
use Verdict::{Failure, Neutral, Success};

const MIDDLE: f64 = 0.5;

/// A breaker with a clock.
struct Bench {
    breaker: Breaker,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        Self { breaker: Breaker::new(now), now }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    #[track_caller]
    fn ticket(&mut self) -> Ticket {
        match self.breaker.admit(self.now) {
            Admit::Go(ticket) | Admit::Probe(ticket) => ticket,
            Admit::WaitUntil(_) => panic!("nothing may be sent"),
        }
    }

    /// Sends events that all end in `verdict`.
    #[track_caller]
    fn send(&mut self, count: u32, verdict: Verdict) -> &mut Self {
        for _ in 0..count {
            let ticket = self.ticket();
            self.breaker.record(ticket, self.now, verdict, MIDDLE);
        }
        self
    }

    fn opened() -> Self {
        let mut bench = Self::new();
        bench.send(FAILURES_IN_A_ROW, Failure);
        bench
    }

    fn half_open() -> Self {
        let mut bench = Self::opened();
        bench.pass(OPEN_MIN);
        bench
    }

    fn state(&self) -> &'static str {
        self.breaker.state().as_str()
    }

    fn waits(&mut self) -> bool {
        matches!(self.breaker.admit(self.now), Admit::WaitUntil(_))
    }
}

#[test]
fn twenty_failures_in_a_row_open_it_nineteen_do_not() {
    let mut bench = Bench::new();
    bench.send(19, Failure);
    assert_eq!(bench.state(), "closed");
    bench.send(1, Failure);
    assert_eq!(bench.breaker.state(), State::Open { until: bench.now + OPEN_MIN });
}

#[test]
fn failures_hours_apart_are_still_in_a_row() {
    let mut bench = Bench::new();
    for _ in 0..20 {
        assert_eq!(bench.state(), "closed");
        bench.send(1, Failure).pass(Duration::from_secs(3600));
    }
    assert_eq!(bench.state(), "open");
}

#[test]
fn an_answer_about_one_event_ends_a_row() {
    let mut bench = Bench::new();
    bench.send(10, Failure).pass(RESULTS_WINDOW);
    bench.send(1, Neutral);
    bench.send(10, Failure).pass(RESULTS_WINDOW);
    bench.send(9, Failure);
    assert_eq!(bench.state(), "closed");
    bench.send(1, Failure);
    assert_eq!(bench.state(), "open");
}

#[test]
fn half_of_twenty_open_it_when_they_lie_within_thirty_seconds() {
    let cases = [
        (10, 10, 0, "open"),
        (10, 9, 0, "closed"),
        (11, 10, 0, "closed"),
        (10, 10, 31, "closed"),
        (100, 19, 31, "closed"),
    ];
    for (successes, failures, seconds_between, expected) in cases {
        let mut bench = Bench::new();
        bench.send(successes, Success).pass(Duration::from_secs(seconds_between));
        for _ in 0..failures {
            if bench.state() == "closed" {
                bench.send(1, Failure);
            }
        }
        assert_eq!(bench.state(), expected, "{successes} then {failures}, {seconds_between} s");
    }
}

#[test]
fn answers_about_single_events_never_open_it() {
    let mut bench = Bench::new();
    bench.send(1000, Neutral);
    assert_eq!(bench.state(), "closed");
}

#[test]
fn while_open_nothing_is_sent() {
    let mut bench = Bench::opened();
    let until = bench.now + OPEN_MIN;
    assert_eq!(bench.breaker.admit(bench.now), Admit::WaitUntil(until));
    bench.pass(OPEN_MIN - Duration::from_nanos(1));
    assert_eq!(bench.breaker.admit(bench.now), Admit::WaitUntil(until));
}

#[test]
fn one_probe_then_four_then_it_is_closed() {
    let mut bench = Bench::half_open();
    let first = bench.ticket();
    assert_eq!(bench.breaker.admit(bench.now), Admit::WaitUntil(bench.now + PROBE_POLL));
    assert!(!bench.breaker.record(first, bench.now, Success, MIDDLE));
    let four: Vec<_> = (0..4).map(|_| bench.ticket()).collect();
    assert!(bench.waits());
    let changed: Vec<_> = four
        .into_iter()
        .map(|ticket| bench.breaker.record(ticket, bench.now, Success, MIDDLE))
        .collect();
    assert_eq!(changed, [false, false, false, true]);
    assert_eq!(bench.state(), "closed");
}

#[test]
fn an_answer_of_any_kind_passes_as_a_probe() {
    let mut bench = Bench::half_open();
    bench.send(5, Neutral);
    assert_eq!(bench.state(), "closed");
}

#[test]
fn each_failed_trial_doubles_the_time_up_to_five_minutes() {
    let mut bench = Bench::opened();
    let mut seconds = Vec::new();
    for passed in [0, 1, 4, 0, 0, 0, 0, 0] {
        let State::Open { until } = bench.breaker.state() else { panic!("{:?}", bench.breaker) };
        seconds.push((until - bench.now).as_secs());
        bench.now = until;
        bench.send(passed, Success).send(1, Failure);
    }
    assert_eq!(seconds, [5, 10, 20, 40, 80, 160, 300, 300]);
}

#[test]
fn a_closed_breaker_has_forgotten_how_long_it_was_open() {
    let mut bench = Bench::half_open();
    bench.send(1, Failure).pass(OPEN_MIN * 2);
    bench.send(5, Success).send(FAILURES_IN_A_ROW, Failure);
    assert_eq!(bench.breaker.state(), State::Open { until: bench.now + OPEN_MIN });
}

#[test]
fn the_time_it_is_open_is_spread_by_a_fifth() {
    for (draw, millis) in [(0.0, 4000), (1.0, 6000)] {
        let mut bench = Bench::new();
        bench.send(19, Failure);
        let ticket = bench.ticket();
        bench.breaker.record(ticket, bench.now, Failure, draw);
        let until = bench.now + Duration::from_millis(millis);
        assert_eq!(bench.breaker.state(), State::Open { until });
    }
}

#[test]
fn what_was_sent_before_it_opened_does_not_count() {
    for verdict in [Success, Failure, Neutral] {
        let mut bench = Bench::new();
        let late: Vec<_> = (0..10).map(|_| bench.ticket()).collect();
        bench.send(FAILURES_IN_A_ROW, Failure).pass(OPEN_MIN);
        let _probe = bench.ticket();
        for ticket in late {
            assert!(!bench.breaker.record(ticket, bench.now, verdict, MIDDLE));
        }
        assert_eq!(bench.state(), "halfOpen");
        assert!(bench.waits());
    }
}

#[test]
fn a_probe_that_was_not_sent_leaves_its_place_to_another() {
    let mut bench = Bench::half_open();
    let ticket = bench.ticket();
    assert!(bench.waits());
    bench.breaker.withdraw(ticket);
    assert!(!bench.waits());
}

#[test]
fn a_lost_probe_does_not_block_for_ever() {
    let mut bench = Bench::half_open();
    let lost = bench.ticket();
    bench.pass(PROBE_LOST_AFTER - Duration::from_nanos(1));
    assert!(bench.waits());
    bench.pass(Duration::from_nanos(1));
    let next = bench.ticket();
    assert!(!bench.breaker.record(lost, bench.now, Failure, MIDDLE));
    bench.breaker.record(next, bench.now, Success, MIDDLE);
    bench.send(4, Success);
    assert_eq!(bench.state(), "closed");
}

#[test]
fn an_operator_can_close_it() {
    let mut bench = Bench::opened();
    bench.breaker.reset();
    assert_eq!(bench.state(), "closed");
    bench.send(19, Failure);
    assert_eq!(bench.state(), "closed");
}

proptest! {
    /// Random sends and results, with tickets held back and given in any order.
    #[test]
    fn it_never_admits_more_than_its_probes(
        steps in prop::collection::vec((0_u8..10, any::<prop::sample::Index>(), 0_u64..600), 1..600),
        failing in 5_u8..=10,
    ) {
        let mut bench = Bench::new();
        let mut held: Vec<Ticket> = Vec::new();
        let mut passed = 0_usize;
        for (kind, pick, millis) in steps {
            bench.pass(Duration::from_millis(millis));
            let before = bench.state();
            if kind < 5 || held.is_empty() {
                match bench.breaker.admit(bench.now) {
                    Admit::Go(ticket) => {
                        prop_assert_eq!(before, "closed");
                        held.push(ticket);
                    }
                    Admit::Probe(ticket) => {
                        if before == "open" {
                            passed = 0;
                        }
                        held.push(ticket);
                    }
                    Admit::WaitUntil(at) => prop_assert!(at > bench.now),
                }
            } else {
                let ticket = held.swap_remove(pick.index(held.len()));
                let is_current = ticket.era == bench.breaker.era;
                let verdict = if kind < failing { Failure } else { Success };
                let changed = bench.breaker.record(ticket, bench.now, verdict, MIDDLE);
                prop_assert_eq!(changed, before != bench.state());
                passed += usize::from(is_current && before == "halfOpen");
            }
            if bench.state() == "halfOpen" {
                let era = bench.breaker.era;
                let out = held.iter().filter(|ticket| ticket.era == era);
                let allowed = if passed == 0 { 1 } else { 5 - passed };
                prop_assert!(out.count() <= allowed);
            }
        }
    }
}
