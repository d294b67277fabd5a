//! A lane step by step: tasks are spawned and never polled, so that every entry stays where it was put.

use std::{
    net::TcpListener,
    num::NonZeroU32,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use channel::{
    Beside, Budget, Channel, Draft, Event, Home, Hub, Lease, Memory, MemoryLimits, Name, Position,
    Publish, PublishError, Sink, SpecVersion, Stored,
};
use tokio::task::LocalSet;

use super::*;
use crate::{
    DeadLetterLimits, DeadLetters, DeliveryChoice, DeliveryPlan, Filter, Overflows, Quota, Replies,
    Routes, Settings, TriggerKey, TriggerPlan,
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

    fn lend_again(&self, _position: Position, _event: Event, _beside: Option<Beside>) {
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
    overflow_max: usize,
    paused: bool,
    after: Duration,
    age_max: Duration,
}

const PLAIN: Wish = Wish {
    ordered: false,
    in_flight_max: 32,
    waiting_max: 1000,
    dead_letters_max: 1000,
    overflow_max: 1000,
    paused: false,
    after: Duration::from_secs(3600),
    age_max: Duration::from_secs(3600),
};

impl Rig {
    fn new(wish: &Wish) -> Self {
        let settings = Settings {
            age_max: wish.age_max,
            after: wish.after,
            lane: Quota { events: wish.waiting_max, bytes: 1 << 20 },
        };
        let worker = Worker::new(0, Client::new(ClientSettings::default()), settings);
        let limits =
            DeadLetterLimits { events_max: wish.dead_letters_max, ..DeadLetterLimits::default() };
        let budget = Budget::new(1 << 20);
        let fanout = Arc::new(Fanout {
            hub: Hub::broker(Name::new("n", "b")),
            routes: ArcSwap::from_pointee(Routes::new(Vec::new())),
            dead_letters: Arc::new(DeadLetters::new(limits, None, Arc::clone(&budget))),
            replies: Arc::new(NoReplies),
            budget,
            quota: Quota { events: wish.overflow_max, bytes: 1 << 20 },
            outlives: false,
            overflows: Overflows::default(),
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

    /// An entry that the log lent.
    fn entry(&self, id: &str, born: Instant) -> Entry {
        let event = Self::event(id, "k");
        let home: Arc<dyn Home> = Arc::<Ends>::clone(&self.ends);
        let lease = Lease::new(event.clone(), Position(0), false, home);
        Entry::new(event, SharedLease::new(lease).ticket(), born)
    }

    /// Lets an entry wait in the lane, as one that came before its breaker opened.
    fn wait(&self, id: &str, born: Instant) {
        let mut state = self.lane.state.borrow_mut();
        state.tally.matched += 1;
        state.tally.waiting += 1;
        let entry = self.entry(id, born);
        self.lane.trigger().usage.wait_again(entry.event.cost());
        state.queue.push(entry, false);
    }

    /// Lets the lane's tasks run until the overflow holds so many events.
    async fn overflowed(&self, events: usize) {
        let overflow = Arc::clone(&self.lane.trigger().overflow);
        while overflow.depth().events != events || self.lane.state.borrow().mover {
            tokio::task::yield_now().await;
        }
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
    // It takes connections and never answers, so that deliveries that run stay under way.
    static SILENT: LazyLock<TcpListener> =
        LazyLock::new(|| TcpListener::bind("127.0.0.1:0").unwrap());
    let url = format!("http://{}/", SILENT.local_addr().unwrap());
    let subscriber = Endpoint::new(&url.parse().unwrap(), None).unwrap();
    let (of_broker, of_trigger) = (DeliveryChoice::default(), DeliveryChoice::default());
    let plan = TriggerPlan {
        name: Name::new("n", "t"),
        filter: Filter::compile(None, &[]).unwrap(),
        subscriber: Arc::new(subscriber),
        replies: Replies::Hub,
        dead_letter_sink: None,
        delivery: DeliveryPlan::new(&of_broker, &of_trigger),
        ordered: wish.ordered,
        paused: wish.paused,
        in_flight_max: NonZeroU32::new(wish.in_flight_max).unwrap(),
        request_headers: TriggerPlan::request_headers("n"),
    };
    let channel = Memory::new(1, MemoryLimits::default(), Budget::new(1 << 20));
    let overflow = channel.overflow(&plan.name, wish.ordered);
    Arc::new(Trigger { key: TriggerKey(1), plan: Arc::new(plan), usage: Arc::default(), overflow })
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

/// The same, where tasks run too.
fn running(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let test = async {
        tokio::time::timeout(Duration::from_secs(10), test).await.expect("it stands still");
    };
    LocalSet::new().block_on(&runtime, test);
}

#[test]
fn a_retry_that_is_due_and_may_not_start_does_not_keep_the_worker_awake() {
    within(|| {
        let rig = Rig::new(&PLAIN);
        let start = Instant::now();
        open_breaker(&rig.lane, start);
        rig.wait("1", start);
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
        rig.wait("1", start);
        let now = start + Duration::from_secs(10);
        rig.lane.wake(now);
        assert_eq!(rig.lane.state.borrow().look_again_at(now), None);
        assert_eq!(rig.settled(), 1);
    });
}

#[test]
fn an_event_whose_key_is_under_way_waits_behind_it_though_the_lane_is_full() {
    within(|| {
        let rig = Rig::new(&Wish { ordered: true, waiting_max: 1, ..PLAIN });
        for id in ["1", "2", "3"] {
            rig.offer(id, "k");
        }
        let report = rig.lane.report().tally;
        assert_eq!((report.in_flight, report.waiting, report.dead), (1, 2, 0));
        assert!(rig.take(Instant::now()).is_none(), "2 overtakes 1");
        assert_eq!(rig.lane.state.borrow().leaving.len(), 0);
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
        let done = rig.entry("0", now);
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
        rig.wait("1", Instant::now());
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
fn what_overflows_while_the_dead_letters_are_full_waits_beyond_the_bound() {
    within(|| {
        let rig = Rig::new(&Wish { overflow_max: 1, dead_letters_max: 0, ..PLAIN });
        open_breaker(&rig.lane, Instant::now());
        rig.offer("1", "k");
        rig.offer("2", "k");
        let tally = rig.lane.report().tally;
        assert_eq!((tally.waiting, tally.in_flight), (2, 0));
        assert_eq!(rig.lane.state.borrow().leaving.len(), 2);
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
        let went_on = (0..100)
            .take_while(|_| busy.lane.conclude(busy.entry("0", start), End::Delivered).is_some());
        assert!(went_on.count() < 20);
        assert_eq!(busy.lane.report().tally.in_flight, 0);
        other.lane.wake(Instant::now());
        assert_eq!(other.lane.report().tally.in_flight, 1);
        let armed = busy.lane.state.borrow().timer.is_some();
        assert!(armed);
    });
}

#[test]
fn an_event_for_a_subscriber_that_is_down_leaves_the_log_at_once() {
    running(async {
        let rig = Rig::new(&PLAIN);
        open_breaker(&rig.lane, Instant::now());
        (0..300).for_each(|id| rig.offer(&id.to_string(), "k"));
        rig.overflowed(300).await;
        assert_eq!(rig.settled(), 300, "the log can move on");
        let tally = rig.lane.report().tally;
        assert_eq!((tally.matched, tally.waiting, tally.in_flight), (300, 300, 0));
        assert!(rig.lane.state.borrow().queue.len() <= 1, "waiting must not cost memory");
    });
}

#[test]
fn a_paused_trigger_starts_nothing_and_its_events_wait_in_the_overflow() {
    running(async {
        let rig = Rig::new(&PLAIN);
        rig.wait("1", Instant::now());
        let paused = trigger(&Wish { paused: true, ..PLAIN });
        rig.lane.update(Arc::clone(&paused), Instant::now());
        rig.offer("2", "k");
        rig.overflowed(2).await;
        assert_eq!((rig.settled(), rig.lane.report().tally.in_flight), (2, 0));
        assert!(rig.take(Instant::now()).is_none());
        let plan = TriggerPlan { paused: false, ..(*paused.plan).clone() };
        let resumed = Trigger { plan: Arc::new(plan), ..(*paused).clone() };
        rig.lane.update(Arc::new(resumed), Instant::now());
        while rig.lane.report().tally.in_flight == 0 {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_retry_that_is_far_off_waits_in_the_overflow_with_its_attempts() {
    running(async {
        let rig = Rig::new(&Wish { after: Duration::from_secs(10), ..PLAIN });
        rig.offer("1", "k");
        let now = Instant::now();
        let mut entry = rig.entry("1", now);
        entry.attempts = 3;
        let next = rig.lane.conclude(entry, End::Again(Duration::from_secs(60)));
        assert!(next.is_none());
        rig.overflowed(1).await;
        assert_eq!(rig.settled(), 1);
        let mut soon = rig.entry("2", now);
        soon.attempts = 1;
        rig.offer("2", "k");
        drop(rig.lane.conclude(soon, End::Again(Duration::from_secs(5))));
        assert_eq!(rig.lane.state.borrow().queue.len(), 1, "a short wait is spent in the lane");
        rig.overflowed(1).await;
    });
}

#[test]
fn an_event_that_waited_too_long_in_the_lane_leaves_it() {
    running(async {
        let rig = Rig::new(&Wish { in_flight_max: 1, after: Duration::from_secs(10), ..PLAIN });
        rig.offer("0", "k");
        rig.offer("1", "k");
        let now = Instant::now();
        rig.lane.sweep(now + Duration::from_secs(9), false);
        assert_eq!(rig.lane.state.borrow().leaving.len(), 0);
        rig.lane.sweep(now + Duration::from_secs(11), false);
        rig.overflowed(1).await;
    });
}

#[test]
fn a_key_of_an_ordered_trigger_leaves_whole_and_what_comes_later_follows_it() {
    running(async {
        let rig = Rig::new(&Wish {
            ordered: true,
            after: Duration::from_secs(10),
            in_flight_max: 1,
            ..PLAIN
        });
        // The test reads the overflow, and not the lane.
        let nobody = tokio::task::spawn_local(std::future::pending::<()>());
        rig.lane.state.borrow_mut().borrower = Some(nobody.abort_handle());
        ["1", "2", "3"].into_iter().for_each(|id| rig.offer(id, "k"));
        rig.offer("x", "other");
        // The delivery of 1 ends, and its next attempt is far off.
        let mut first = rig.entry("1", Instant::now());
        first.holds_key = true;
        first.attempts = 1;
        drop(rig.lane.conclude(first, End::Again(Duration::from_secs(60))));
        rig.overflowed(3).await;
        rig.offer("4", "k");
        rig.overflowed(4).await;
        let mut reader = rig.lane.trigger().overflow.reader(0);
        let mut ids = Vec::new();
        for _ in 0..4 {
            let lease = std::future::poll_fn(|cx| reader.poll_lend(cx)).await.unwrap();
            ids.push((lease.event().id().to_owned(), lease.envelope().unwrap().attempts));
            lease.settle();
        }
        assert_eq!(ids, [("1", 1), ("2", 0), ("3", 0), ("4", 0)].map(|(id, n)| (id.to_owned(), n)));
    });
}

#[test]
fn a_process_that_ends_writes_down_attempts_and_leaves_the_rest_where_it_is() {
    running(async {
        let rig = Rig::new(&PLAIN);
        open_breaker(&rig.lane, Instant::now());
        rig.wait("fresh", Instant::now());
        rig.wait("tried", Instant::now());
        {
            let mut state = rig.lane.state.borrow_mut();
            let now = Instant::now();
            let fresh = state.queue.pop(now).unwrap();
            let mut tried = state.queue.pop(now).unwrap();
            tried.attempts = 2;
            state.queue.push(fresh, false);
            state.queue.push_delayed(tried, now + Duration::from_secs(5));
        }
        rig.lane.stop();
        rig.overflowed(1).await;
        assert_eq!(rig.settled(), 1);
        assert_eq!(rig.ends.lent_again.load(Ordering::Relaxed), 1);
        assert_eq!(rig.lane.pending(), 0);
    });
}
