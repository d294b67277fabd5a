//! Schedules over whole years, against a calendar that is looked through second by second.

use jiff::{SignedDuration, ToSpan as _, Zoned, civil};
use proptest::prelude::*;

use super::*;

fn schedule(text: &str, zone: &str) -> Schedule {
    Schedule::parse(text, zone).unwrap_or_else(|invalid| panic!("{text}: {invalid}"))
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// All times from `from` until `to` that a schedule fires at.
fn fires(schedule: &Schedule, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
    let mut fires = Vec::new();
    let mut time = from;
    while let Some(next) = schedule.next(time).filter(|next| *next < to) {
        fires.push(next);
        time = next;
    }
    fires
}

/// Zones of both hemispheres, whole and half hours, and one without clock changes.
const ZONES: [&str; 7] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Santiago",
    "Pacific/Chatham",
    "Asia/Kathmandu",
];

#[test]
fn a_fixed_time_fires_once_on_every_day_of_the_year() {
    for zone in ZONES {
        for text in ["30 2 * * *", "15 0 * * *", "0 2 * * *", "59 23 * * *", "0 30 1 * * *"] {
            let schedule = schedule(text, zone);
            assert!(schedule.is_fixed(), "{text}");
            let zoned = |day: civil::Date| day.in_tz(zone).unwrap().timestamp();
            let (from, to) = (civil::date(2026, 1, 1), civil::date(2027, 1, 1));
            let fires = fires(&schedule, zoned(from) - SignedDuration::from_secs(1), zoned(to));
            let days: Vec<civil::Date> =
                fires.iter().map(|time| time.in_tz(zone).unwrap().date()).collect();
            let expected: Vec<civil::Date> =
                from.series(1.day()).take_while(|day| *day < to).collect();
            assert_eq!(days, expected, "{text} {zone}");
        }
    }
}

/// The days of 2026 around the clock changes of these zones.
fn changes() -> impl Iterator<Item = (Timestamp, Timestamp)> {
    let days = ["03-08", "03-29", "04-05", "09-06", "09-27", "10-04", "10-25", "11-01"];
    days.into_iter().map(|day| {
        let noon = at(&format!("2026-{day}T12:00:00Z"));
        (noon - SignedDuration::from_hours(30), noon + SignedDuration::from_hours(30))
    })
}

#[test]
fn an_interval_fires_whenever_the_clock_shows_it() {
    for zone in ZONES {
        for (text, step) in [("*/15 * * * *", 15), ("*/30 * * * *", 30), ("* * * * *", 1)] {
            let schedule = schedule(text, zone);
            assert!(!schedule.is_fixed(), "{text}");
            for (from, to) in changes() {
                let all = fires(&schedule, from - SignedDuration::from_secs(1), to);
                let mut expected = Vec::new();
                let mut time = from;
                while time < to {
                    let shown: Zoned = time.in_tz(zone).unwrap();
                    if i32::from(shown.minute()) % step == 0 {
                        expected.push(time);
                    }
                    time += SignedDuration::from_mins(1);
                }
                assert_eq!(all, expected, "{text} {zone}");
            }
        }
    }
}

#[test]
fn a_time_that_clocks_leave_out_fires_right_after_the_gap() {
    let berlin = schedule("30 2 * * *", "Europe/Berlin");
    assert_eq!(berlin.next(at("2026-03-28T12:00:00Z")), Some(at("2026-03-29T01:00:00Z")));
    let lord_howe = schedule("15 2 * * *", "Australia/Lord_Howe");
    assert_eq!(lord_howe.next(at("2026-10-03T12:00:00Z")), Some(at("2026-10-03T15:30:00Z")));
}

#[test]
fn a_time_that_clocks_show_twice_fires_the_first_time() {
    let schedule = schedule("30 2 * * *", "Europe/Berlin");
    let first = at("2026-10-25T00:30:00Z");
    assert_eq!(schedule.next(at("2026-10-24T12:00:00Z")), Some(first));
    assert_eq!(schedule.next(first), Some(at("2026-10-26T01:30:00Z")));
}

#[test]
fn the_same_fields_mean_the_same_as_in_knative() {
    for (text, from, next) in [
        ("", "2026-01-01T00:00:30Z", "2026-01-01T00:01:00Z"),
        ("*/10 * * * * *", "2026-01-01T00:00:01Z", "2026-01-01T00:00:10Z"),
        ("@hourly", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"),
        ("@midnight", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
        ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
        ("0 0 13 * FRI", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
        ("0 0 ? * mon-fri", "2026-01-02T12:00:00Z", "2026-01-05T00:00:00Z"),
        ("?/20 ? ? * ?", "2026-01-02T12:01:00Z", "2026-01-02T12:20:00Z"),
        ("0 0 */2 * 1", "2026-01-01T00:00:00Z", "2026-01-05T00:00:00Z"),
        ("5/20 * * * *", "2026-01-01T00:06:00Z", "2026-01-01T00:25:00Z"),
        ("CRON_TZ=Asia/Tokyo 0 9 * * *", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
        ("@every 90s", "2026-01-01T00:00:00Z", "2026-01-01T00:01:30Z"),
        ("@every 1h30m", "2026-01-01T00:00:00Z", "2026-01-01T01:30:00Z"),
    ] {
        assert_eq!(schedule(text, "").next(at(from)), Some(at(next)), "{text}");
    }
}

#[test]
fn what_cannot_be_a_schedule_is_refused_with_its_field() {
    for (text, zone, told) in [
        ("0 0 30 2 *", "", "spec.schedule: \"0 0 30 2 *\" never fires"),
        ("0 0 31 4,6,9,11 *", "", "never fires"),
        ("* * * *", "", "spec.schedule: must be a cron expression of 5 fields"),
        ("* * * * * * *", "", "it has 7"),
        ("60 * * * *", "", "spec.schedule: "),
        ("a b c d e", "", "spec.schedule: "),
        ("@reboot", "", "unsupported descriptor @reboot"),
        ("@every", "", "@every needs a duration"),
        ("@every 10", "", "@every needs a duration"),
        ("@every 10ms", "", "at least one"),
        ("@every 1500ms", "", "whole seconds"),
        ("@every -10s", "", "@every needs a duration"),
        ("@every 200000h", "", "ten years"),
        ("@every10s", "", "@every needs a duration"),
        ("* * * * *", "Europe/Atlantis", "spec.timezone: \"Europe/Atlantis\" is not a time zone"),
        ("* * * * *", "localtime", "spec.timezone: \"localtime\" is not a time zone"),
        ("* * * * *", "right/UTC", "spec.timezone: \"right/UTC\" is not a time zone"),
        ("TZ=Nowhere * * * * *", "", "spec.schedule: \"Nowhere\" is not a time zone"),
        ("TZ=UTC * * * * *", "UTC", "must not name a time zone"),
        (&"*".repeat(300), "", "must not be longer than 256 bytes"),
    ] {
        let told_of = Schedule::parse(text, zone).unwrap_err().to_string();
        assert!(told_of.contains(told), "{text} {zone}: {told_of}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "[0-9*/,@A-Za-z#?+-]{0,6}( [0-9*/,LW#?-]{1,4}){0,6}") {
        drop(Schedule::parse(&text, ""));
    }

    #[test]
    fn last_and_next_agree(second in 0_i64..4_000_000_000, which in 0_usize..5, zone in 0_usize..7) {
        let text = ["*/7 * * * *", "30 2 * * *", "0 0 1 * *", "@every 90s", "17 3 * * 2"][which];
        let schedule = schedule(text, ZONES[zone]);
        let time = Timestamp::from_second(second).unwrap();
        let next = schedule.next(time).unwrap();
        prop_assert!(next > time);
        prop_assert_eq!(schedule.next(next - SignedDuration::from_secs(1)), Some(next));
        if let Some(last) = schedule.last(time) {
            prop_assert!(last <= time);
            prop_assert!(schedule.next(last).is_none_or(|next| next > time));
        }
    }
}
