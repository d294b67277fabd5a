//! A lane step by step: tasks are spawned and never polled, so that every entry stays where it was put.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicUsize, Ordering},
};

use arc_swap::ArcSwap;
use channel::{
    Budget, Draft, Home, Lease, Name, Position, Publish, PublishError, Sink, SpecVersion, Stored,
};
use tokio::task::LocalSet;

use super::*;
use crate::{
    DeadLetterLimits, DeadLetters, DeliveryChoice, DeliveryPlan, Filter, Quota, Routes, Settings,
    TriggerKey,
    breaker::Verdict,
    http::{Client, ClientSettings, Endpoint},
};

/// Counts what becomes of leases.
#[derive(Debug, Default)]
struct Ends {
    settled: AtomicUsize,
    lent_again: AtomicUsize,
}

impl Home for Ends {
    fn settle(&self, _position: Position, _event: &Event) {
        self.settled.fetch_add(1, Ordering::Relaxed);
    }

    fn lend_again(&self, _position: Position, _event: Event, _beside: Option<channel::Beside>) {
        self.lent_again.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct NoReplies;

impl Sink for NoReplies {
    fn put(&self, _worker: usize, _event: Draft) -> Stored {
        Stored::publishing(Publish::done(Err(PublishError::Down { reason: String::new() })))
    }
}

struct Rig {
    lane: Rc<Lane>,
    ends: Arc<Ends>,
}

/// What a test wants to be special.
struct Wish {
    ordered: bool,
    in_flight_max: u32,
    waiting_max: usize,
    dead_letters_max: usize,
    age_max: Duration,
}

const PLAIN: Wish = Wish {
    ordered: false,
    in_flight_max: 32,
    waiting_max: 1000,
    dead_letters_max: 1000,
    age_max: Duration::from_secs(3600),
};

impl Rig {
    fn new(wish: &Wish) -> Self {
        let settings = Settings { age_max: wish.age_max };
        let worker = Worker::new(0, Client::new(ClientSettings::default()), settings);
        let limits =
            DeadLetterLimits { events_max: wish.dead_letters_max, ..DeadLetterLimits::default() };
        let budget = Budget::new(1 << 20);
        let fanout = Arc::new(Fanout {
            name: Name::new("n", "b"),
            routes: ArcSwap::from_pointee(Routes::new(Vec::new())),
            dead_letters: Arc::new(DeadLetters::new(limits)),
            replies: Arc::new(NoReplies),
            budget,
            quota: Quota { events: wish.waiting_max, bytes: 1 << 20 },
        });
        let lane = Lane::new(worker, fanout, trigger(wish));
        Self { lane, ends: Arc::default() }
    }

    /// The same trigger in another worker.
    fn twin(&self) -> Self {
        let twin = Self::new(&PLAIN);
        let (worker, fanout) = (Rc::clone(&twin.lane.worker), Arc::clone(&self.lane.fanout));
        let lane = Lane::new(worker, fanout, self.lane.trigger());
        Self { lane, ends: Arc::default() }
    }

    fn event(id: &str, key: &str) -> Event {
        let mut draft = Draft::new(SpecVersion::V10);
        for (name, value) in [("id", id), ("source", "/s"), ("type", "t"), ("partitionkey", key)] {
            draft.push_wire(name, value.as_bytes()).unwrap();
        }
        draft.finish().unwrap()
    }

    fn offer(&self, id: &str, key: &str) {
        let event = Self::event(id, key);
        let home: Arc<dyn Home> = Arc::<Ends>::clone(&self.ends);
        let lease = Lease::new(event.clone(), Position(0), false, home);
        self.lane.offer(event, SharedLease::new(lease).ticket(), Instant::now());
    }

    /// Takes an entry as a delivery would.
    fn take(&self, now: Instant) -> Option<Entry> {
        let trigger = self.lane.trigger();
        self.lane.next(&mut self.lane.state.borrow_mut(), &trigger, now)
    }

    fn settled(&self) -> usize {
        self.ends.settled.load(Ordering::Relaxed)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        assert!(self.lane.report().tally.is_balanced(), "{:?}", self.lane.report().tally);
    }
}

fn trigger(wish: &Wish) -> Arc<Trigger> {
    let subscriber = Endpoint::new(&"http://127.0.0.1:1/".parse().unwrap(), None).unwrap();
    let (of_broker, of_trigger) = (DeliveryChoice::default(), DeliveryChoice::default());
    let plan = TriggerPlan {
        name: Name::new("n", "t"),
        filter: Filter::compile(None, &[]).unwrap(),
        subscriber: Arc::new(subscriber),
        dead_letter_sink: None,
        delivery: DeliveryPlan::new(&of_broker, &of_trigger),
        ordered: wish.ordered,
        in_flight_max: NonZeroU32::new(wish.in_flight_max).unwrap(),
        request_headers: TriggerPlan::request_headers("n"),
    };
    Arc::new(Trigger { key: TriggerKey(1), plan: Arc::new(plan), usage: Arc::default() })
}

/// Runs `test` where tasks may be spawned.
fn within(test: impl FnOnce()) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    LocalSet::new().block_on(&runtime, async { test() });
}

fn open_breaker(lane: &Lane, now: Instant) {
    let state = lane.state.borrow();
    let mut breaker = state.breaker.borrow_mut();
    while let breaker::Admit::Go(pass) = breaker.admit(now) {
        breaker.record(pass, now, Verdict::Failure, 0.5);
    }
}

#[test]
fn a_retry_that_is_due_and_may_not_start_does_not_keep_the_worker_awake() {
    within(|| {
        let rig = Rig::new(&PLAIN);
        let start = Instant::now();
        open_breaker(&rig.lane, start);
        rig.offer("1", "k");
        let entry = rig.lane.state.borrow_mut().queue.pop(start).unwrap();
        rig.lane.state.borrow_mut().queue.push_delayed(entry, start);
        let now = start + Duration::from_secs(1);
        rig.lane.wake(now);
        let next_look = rig.lane.state.borrow().look_again_at(now);
        assert!(next_look.is_some_and(|at| at > now), "{next_look:?}");
    });
}

#[test]
fn a_lane_whose_blocked_events_grew_too_old_has_nothing_to_look_for() {
    within(|| {
        let rig = Rig::new(&Wish { age_max: Duration::from_secs(3), ..PLAIN });
        let start = Instant::now();
        open_breaker(&rig.lane, start);
        rig.offer("1", "k");
        let now = start + Duration::from_secs(10);
        rig.lane.wake(now);
        assert_eq!(rig.lane.state.borrow().look_again_at(now), None);
        assert_eq!(rig.settled(), 1);
    });
}

#[test]
fn an_event_that_overflows_does_not_free_the_key_of_those_before_it() {
    within(|| {
        let rig = Rig::new(&Wish { ordered: true, waiting_max: 1, ..PLAIN });
        for id in ["1", "2", "3"] {
            rig.offer(id, "k");
        }
        let report = rig.lane.report().tally;
        assert_eq!((report.in_flight, report.waiting, report.dead), (1, 1, 1));
        assert!(rig.take(Instant::now()).is_none(), "2 overtakes 1");
    });
}

#[test]
fn a_backlog_uses_a_limit_that_has_grown_again() {
    within(|| {
        let rig = Rig::new(&Wish { in_flight_max: 2, ..PLAIN });
        let now = Instant::now();
        rig.lane.state.borrow_mut().concurrency.overload(now);
        ["0", "1", "2"].into_iter().for_each(|id| rig.offer(id, "k"));
        assert_eq!(rig.lane.report().tally.in_flight, 1);
        (0..32).for_each(|_| rig.lane.state.borrow_mut().concurrency.success());
        let done = Entry::new(Rig::event("0", "k"), None, now);
        let next = rig.lane.conclude(done, End::Delivered);
        assert!(next.is_some());
        assert_eq!(rig.lane.report().tally.in_flight, 2);
    });
}

#[test]
fn a_deleted_trigger_lends_nothing_again_however_full_the_dead_letters_are() {
    within(|| {
        let rig = Rig::new(&Wish { in_flight_max: 1, dead_letters_max: 0, ..PLAIN });
        open_breaker(&rig.lane, Instant::now());
        rig.offer("1", "k");
        rig.lane.state.borrow_mut().breaker.borrow_mut().reset();
        let entry = rig.take(Instant::now()).unwrap();
        rig.lane.retire();
        let next = rig.lane.conclude(entry, End::Dead(Reason::Refused, None));
        assert!(next.is_none());
        assert_eq!(rig.settled(), 1);
        assert_eq!(rig.lane.pending(), 0);
    });
}

#[test]
fn what_overflows_while_the_dead_letters_are_full_waits_beyond_the_share() {
    within(|| {
        let rig = Rig::new(&Wish { waiting_max: 1, dead_letters_max: 0, ..PLAIN });
        let now = Instant::now();
        open_breaker(&rig.lane, now);
        rig.offer("1", "k");
        rig.offer("2", "k");
        assert!(rig.lane.state.borrow().timer.is_some(), "nobody looks again");
        let tally = rig.lane.report().tally;
        assert_eq!((tally.waiting, tally.in_flight), (2, 0));
        assert!(tally.is_balanced());
        assert_eq!((rig.lane.pending(), rig.settled()), (2, 0));
    });
}

#[test]
fn a_busy_worker_leaves_its_only_place_to_another_in_the_end() {
    within(|| {
        let busy = Rig::new(&Wish { in_flight_max: 1, ..PLAIN });
        let other = busy.twin();
        let start = Instant::now();
        (0..100).for_each(|id| busy.offer(&id.to_string(), "k"));
        other.offer("x", "k");
        let entry = || Entry::new(Rig::event("0", "k"), None, start);
        let went_on =
            (0..100).take_while(|_| busy.lane.conclude(entry(), End::Delivered).is_some());
        assert!(went_on.count() < 20);
        assert_eq!(busy.lane.report().tally.in_flight, 0);
        other.lane.wake(Instant::now());
        assert_eq!(other.lane.report().tally.in_flight, 1);
        let armed = busy.lane.state.borrow().timer.is_some();
        assert!(armed);
    });
}
