//! A PingSource from its schedule to its sink, by a clock that the test moves.

use std::sync::Mutex;

use channel::{Attributes as _, PublishError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    House, Supervisor,
    testing::{Kept, house, id, sink},
};

const START: &str = "2026-01-01T00:00:00Z";

/// A clock that goes with tokio's, from [`START`], and can be set.
#[derive(Clone, Debug)]
struct Clock {
    offset: Arc<Mutex<jiff::SignedDuration>>,
    begun: Instant,
}

impl Clock {
    fn new() -> Self {
        Self { offset: Arc::default(), begun: Instant::now() }
    }

    fn now(&self) -> Timestamp {
        let start: Timestamp = START.parse().unwrap();
        start + self.begun.elapsed() + *self.offset.lock().unwrap()
    }

    fn set(&self, by: jiff::SignedDuration) {
        *self.offset.lock().unwrap() += by;
    }

    fn alarm(&self) -> Alarm {
        let clock = self.clone();
        Alarm::with_clock(move || clock.now())
    }
}

/// A process: its alarm and its supervisor.
struct Process {
    alarm: Alarm,
    supervisor: Supervisor,
    stop: CancellationToken,
    timer: tokio::task::JoinSet<()>,
}

impl Process {
    fn start(clock: &Clock, house: &House) -> Self {
        let (alarm, stop) = (clock.alarm(), CancellationToken::new());
        let mut timer = tokio::task::JoinSet::new();
        let (own, stopped) = (alarm.clone(), stop.clone());
        timer.spawn(async move { own.run(stopped).await });
        Self { alarm, supervisor: Supervisor::new(house.clone()), stop, timer }
    }

    fn ping(&mut self, name: &str, schedule: &str, sink: &Arc<Kept>) -> Arc<crate::Report> {
        let sink_uri = channel::Destination::from_uri("http://a");
        let spec = PingSourceSpec {
            schedule: Some(schedule.to_owned()),
            data: Some("hello".to_owned()),
            content_type: Some("text/plain".to_owned()),
            sink: Some(sink_uri),
            ..PingSourceSpec::default()
        };
        let plan = PingPlan::new(&spec, &mut Vec::new()).unwrap();
        let source = PingSource::new(id(name).name, plan, self.alarm.clone());
        self.supervisor.start(id(name), Arc::new(source), sink.clone())
    }

    async fn end(mut self) {
        assert_eq!(self.supervisor.end(Duration::from_secs(5)).await, 0);
        self.stop.cancel();
        while self.timer.join_next().await.is_some() {}
    }
}

async fn seconds(count: u64) {
    // In small steps, so that everything that is due has run.
    for _ in 0..count * 10 {
        time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_says_when_and_of_what_it_is() {
    let (clock, house, kept) = (Clock::new(), house(), sink());
    let mut process = Process::start(&clock, &house);
    process.ping("beat", "*/10 * * * * *", &kept);
    seconds(11).await;
    process.end().await;
    let events = kept.events.lock().unwrap();
    assert_eq!(events.len(), 1);
    let attribute = |name: &str| events[0].attribute(name).unwrap_or_default();
    assert_eq!(attribute("type"), "dev.knative.sources.ping");
    assert_eq!(attribute("source"), "/apis/v1/namespaces/default/pingsources/beat");
    assert_eq!(attribute("time"), "2026-01-01T00:00:10Z");
    assert_eq!(attribute("datacontenttype"), "text/plain");
    assert!(attribute("id").starts_with("20260101T000010Z-"), "{}", attribute("id"));
    assert_eq!(events[0].data().unwrap().bytes, "hello");
}

#[tokio::test(start_paused = true)]
async fn a_restart_makes_the_newest_missed_tick_good_and_repeats_none() {
    let (clock, house, kept) = (Clock::new(), house(), sink());
    let mut process = Process::start(&clock, &house);
    process.ping("beat", "0 * * * * *", &kept);
    seconds(61).await;
    process.end().await;
    clock.set(jiff::SignedDuration::from_mins(10));
    let mut process = Process::start(&clock, &house);
    let report = process.ping("beat", "0 * * * * *", &kept);
    seconds(1).await;
    assert_eq!(kept.values("time"), ["2026-01-01T00:01:00Z", "2026-01-01T00:11:00Z"]);
    assert_eq!(report.counts().skipped, 9);
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_back_while_the_process_was_down_stops_no_interval() {
    let (clock, house, kept) = (Clock::new(), house(), sink());
    let mut process = Process::start(&clock, &house);
    process.ping("beat", "*/10 * * * * *", &kept);
    process.ping("daily", "5 0 0 * * *", &kept);
    seconds(11).await;
    process.end().await;
    clock.set(-jiff::SignedDuration::from_secs(3_611));
    let mut process = Process::start(&clock, &house);
    process.ping("beat", "*/10 * * * * *", &kept);
    process.ping("daily", "5 0 0 * * *", &kept);
    seconds(11).await;
    let expected = ["2026-01-01T00:00:05Z", "2026-01-01T00:00:10Z", "2025-12-31T23:00:10Z"];
    assert_eq!(kept.values("time"), expected);
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn another_schedule_starts_from_now() {
    let (clock, house, kept) = (Clock::new(), house(), sink());
    let mut process = Process::start(&clock, &house);
    process.ping("beat", "0 * * * * *", &kept);
    seconds(61).await;
    process.end().await;
    clock.set(jiff::SignedDuration::from_mins(10));
    let mut process = Process::start(&clock, &house);
    process.ping("beat", "30 * * * * *", &kept);
    seconds(1).await;
    assert_eq!(kept.values("time"), ["2026-01-01T00:01:00Z"]);
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_event_is_kept_until_the_sink_takes_it() {
    let (clock, house, kept) = (Clock::new(), house(), sink());
    let down = PublishError::Down { reason: "no route".to_owned() };
    kept.refusals.lock().unwrap().extend(vec![channel::Refusal::from(down); 5]);
    let mut process = Process::start(&clock, &house);
    let report = process.ping("beat", "0 * * * * *", &kept);
    seconds(70).await;
    assert_eq!(kept.values("time"), ["2026-01-01T00:01:00Z"]);
    assert_eq!((report.counts().retried, report.counts().made), (5, 1));
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn of_two_replicas_one_sends_and_the_other_goes_on() {
    let (clock, kept) = (Clock::new(), sink());
    let base = house();
    let (first_leads, first) = watch::channel(true);
    let (second_leads, second) = watch::channel(false);
    // Replicas share the notes.
    let house = |leads| House { leads, ..base.clone() };
    let mut one = Process::start(&clock, &house(first));
    let mut two = Process::start(&clock, &house(second));
    one.ping("beat", "*/10 * * * * *", &kept);
    two.ping("beat", "*/10 * * * * *", &kept);
    seconds(21).await;
    assert_eq!(kept.values("time"), ["2026-01-01T00:00:10Z", "2026-01-01T00:00:20Z"]);
    first_leads.send(false).unwrap();
    seconds(10).await;
    assert_eq!(kept.ids().len(), 2, "nobody leads");
    second_leads.send(true).unwrap();
    seconds(10).await;
    let times = kept.values("time");
    assert_eq!(times[2..], ["2026-01-01T00:00:30Z", "2026-01-01T00:00:40Z"]);
    one.end().await;
    two.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_sources_fire_in_the_same_second() {
    let (clock, house, kept) = (Clock::new(), house(), sink());
    let mut process = Process::start(&clock, &house);
    for number in 0..1000 {
        process.ping(&format!("beat{number}"), "*/30 * * * * *", &kept);
    }
    seconds(31).await;
    let mut sources = kept.values("source");
    sources.sort();
    sources.dedup();
    assert_eq!((sources.len(), kept.ids().len()), (1000, 1000));
    process.end().await;
}
