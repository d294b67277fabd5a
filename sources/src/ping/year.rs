//! A year of ticks, against another calendar: days counted by hand, clock changes as they are written down.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;

use super::{Schedule, timetable::Timetable};

const MINUTE: i64 = 60;
const DAY: i64 = 24 * 60 * MINUTE;

/// A time zone in one year: its offset from UTC when that begins, and since when another one holds.
struct Zone {
    name: &'static str,
    year: i64,
    offset: i64,
    changes: &'static [(&'static str, i64)],
}

const fn hours(count: i64) -> i64 {
    count * 3_600
}

/// Clocks that change at two o'clock, by half an hour, at midnight, and not at all. Brazil has changed its
/// clocks until 2019.
const ZONES: [Zone; 7] = [
    Zone { name: "UTC", year: 2028, offset: 0, changes: &[] },
    Zone {
        name: "Europe/Berlin",
        year: 2026,
        offset: hours(1),
        changes: &[("2026-03-29T01:00:00Z", hours(2)), ("2026-10-25T01:00:00Z", hours(1))],
    },
    Zone {
        name: "America/New_York",
        year: 2028,
        offset: hours(-5),
        changes: &[("2028-03-12T07:00:00Z", hours(-4)), ("2028-11-05T06:00:00Z", hours(-5))],
    },
    Zone {
        name: "Australia/Lord_Howe",
        year: 2026,
        offset: hours(11),
        changes: &[
            ("2026-04-04T15:00:00Z", hours(10) + 1_800),
            ("2026-10-03T15:30:00Z", hours(11)),
        ],
    },
    Zone {
        name: "America/Sao_Paulo",
        year: 2018,
        offset: hours(-2),
        changes: &[("2018-02-18T02:00:00Z", hours(-3)), ("2018-11-04T03:00:00Z", hours(-2))],
    },
    Zone {
        name: "America/Santiago",
        year: 2026,
        offset: hours(-3),
        changes: &[("2026-04-05T03:00:00Z", hours(-4)), ("2026-09-06T04:00:00Z", hours(-3))],
    },
    Zone { name: "Asia/Kathmandu", year: 2026, offset: hours(5) + 2_700, changes: &[] },
];

/// A schedule as sets: minutes, hours, days of the month, months, days of the week (0 is Sunday).
struct Fields {
    text: &'static str,
    minutes: &'static [i64],
    hours: &'static [i64],
    days: &'static [i64],
    months: &'static [i64],
    weekdays: &'static [i64],
    /// Whether a day that fits in one of both is enough.
    is_either: bool,
    /// Whether it is one time of day: told once on a day that shows it twice, and after a gap.
    is_fixed: bool,
}

const ANY: &[i64] = &[];

impl Fields {
    const fn at(text: &'static str, minutes: &'static [i64], hours: &'static [i64]) -> Self {
        let (days, months, weekdays) = (ANY, ANY, ANY);
        Self { text, minutes, hours, days, months, weekdays, is_either: false, is_fixed: false }
    }

    const fn fixed(text: &'static str, minutes: &'static [i64], hours: &'static [i64]) -> Self {
        Self { is_fixed: true, ..Self::at(text, minutes, hours) }
    }
}

const SCHEDULES: [Fields; 15] = [
    Fields::fixed("30 2 * * *", &[30], &[2]),
    Fields::fixed("15 2 * * *", &[15], &[2]),
    Fields::fixed("0 0 * * *", &[0], &[0]),
    Fields::fixed("@daily", &[0], &[0]),
    Fields::fixed("0 45 23 * * *", &[45], &[23]),
    Fields { days: &[29], months: &[2], ..Fields::fixed("0 0 29 2 *", &[0], &[0]) },
    Fields { days: &[31], ..Fields::fixed("30 1 31 * *", &[30], &[1]) },
    Fields { weekdays: &[0], ..Fields::fixed("30 0 * * SUN", &[30], &[0]) },
    Fields {
        days: &[13],
        weekdays: &[5],
        is_either: true,
        ..Fields::fixed("0 3 13 * FRI", &[0], &[3])
    },
    Fields::at("*/15 0-3 * * *", &[0, 15, 30, 45], &[0, 1, 2, 3]),
    Fields::at("0 */6 * * *", &[0], &[0, 6, 12, 18]),
    Fields::at("5,35 1-3 * * *", &[5, 35], &[1, 2, 3]),
    Fields::at("30 0,23 * * *", &[30], &[0, 23]),
    Fields { weekdays: &[1, 2, 3, 4, 5], ..Fields::at("0 9-17/4 * * 1-5", &[0], &[9, 13, 17]) },
    Fields::at("@hourly", &[0], ANY),
];

/// The day of 1970-01-01 plus so many: year, month, day of the month. By counting.
fn date(day: i64) -> (i64, i64, i64) {
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let (mut year, mut left) = (1970, day);
    loop {
        let days = if is_leap(year) { 366 } else { 365 };
        if left < days {
            break;
        }
        (year, left) = (year + 1, left - days);
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    for (month, days) in (1..).zip(months) {
        if left < days {
            return (year, month, left + 1);
        }
        left -= days;
    }
    unreachable!("a year ends with its last month")
}

impl Zone {
    fn changes(&self) -> Vec<(i64, i64)> {
        let seconds = |text: &str| text.parse::<Timestamp>().unwrap().as_second();
        self.changes.iter().map(|(time, offset)| (seconds(time), *offset)).collect()
    }

    /// The first second of the year, and of the next one, by its clock.
    fn year(&self) -> (i64, i64) {
        let first = |year| (0..).find(|day| date(*day).0 == year).unwrap() * DAY;
        let last = self.changes().last().map_or(self.offset, |(_, offset)| *offset);
        (first(self.year) - self.offset, first(self.year + 1) - last)
    }

    /// Every minute of the year: when it is, and what the clock shows.
    fn minutes(&self) -> impl Iterator<Item = (i64, i64)> {
        let (changes, (from, to)) = (self.changes(), self.year());
        let offset = self.offset;
        (from..to).step_by(60).map(move |time| {
            let known = changes.iter().rev().find(|(since, _)| *since <= time);
            (time, time + known.map_or(offset, |(_, offset)| *offset))
        })
    }
}

impl Fields {
    fn fits_day(&self, shown: i64) -> bool {
        let day = shown.div_euclid(DAY);
        let (_, month, of_month) = date(day);
        let has = |set: &[i64], value: i64| set.is_empty() || set.contains(&value);
        // 1970-01-01 was a Thursday.
        let (in_month, in_week) =
            (has(self.days, of_month), has(self.weekdays, (day + 4).rem_euclid(7)));
        let fits = if self.is_either { in_month || in_week } else { in_month && in_week };
        fits && has(self.months, month)
    }

    /// Whether it may fire at a minute of a day.
    fn fits_minute(&self, minute: i64) -> bool {
        let has = |set: &[i64], value: i64| set.is_empty() || set.contains(&value);
        has(self.minutes, minute % 60) && has(self.hours, minute / 60)
    }
}

/// A year by the clock of a zone.
struct Calendar {
    /// Every minute: when it is, and what the clock shows.
    minutes: Vec<(i64, i64)>,
    /// The same by the minute of the day that is shown.
    by_minute: Vec<Vec<(i64, i64)>>,
    /// What the clock leaves out: when it goes on, and from where to where it goes.
    gaps: Vec<(i64, i64, i64)>,
}

impl Calendar {
    fn of(zone: &Zone) -> Self {
        let minutes: Vec<(i64, i64)> = zone.minutes().collect();
        let mut by_minute = vec![Vec::new(); 24 * 60];
        for one in &minutes {
            let minute = usize::try_from(one.1.rem_euclid(DAY) / MINUTE).unwrap();
            by_minute[minute].push(*one);
        }
        let pairs = minutes.windows(2).map(|pair| (pair[1].0, pair[0].1 + MINUTE, pair[1].1));
        let gaps = pairs.filter(|(_, from, to)| from < to).collect();
        Self { minutes, by_minute, gaps }
    }

    /// When `fields` fires in the year, by the rules that are told of it.
    fn fires(&self, fields: &Fields) -> BTreeSet<i64> {
        let minutes = (0..).zip(&self.by_minute);
        let all = minutes.filter(|(minute, _)| fields.fits_minute(*minute)).flat_map(|it| it.1);
        let all = all.filter(|(_, shown)| fields.fits_day(*shown));
        if !fields.is_fixed {
            return all.map(|(time, _)| *time).collect();
        }
        // At one minute of the day, so that the first one is the earlier one.
        let mut by_day: BTreeMap<i64, i64> = BTreeMap::new();
        for (time, shown) in all {
            by_day.entry(shown.div_euclid(DAY)).or_insert(*time);
        }
        for (time, from, to) in &self.gaps {
            let shows = |shown: &i64| {
                fields.fits_minute(shown.rem_euclid(DAY) / MINUTE) && fields.fits_day(*shown)
            };
            if let Some(shown) = (*from..*to).step_by(60).find(shows) {
                by_day.entry(shown.div_euclid(DAY)).or_insert(*time);
            }
        }
        by_day.into_values().collect()
    }
}

#[test]
fn every_tick_of_a_year_comes_once_and_at_its_time() {
    for zone in &ZONES {
        let calendar = Calendar::of(zone);
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let before = at(zone.year().0 - 1);
        let mut timetable = Timetable::new(before);
        let schedules: BTreeMap<u64, &Fields> = SCHEDULES
            .iter()
            .map(|fields| {
                let schedule = Schedule::parse(fields.text, zone.name).unwrap();
                assert_eq!(schedule.is_fixed(), fields.is_fixed, "{}", fields.text);
                (timetable.add(Arc::new(schedule), before), fields)
            })
            .collect();
        let mut ticks: BTreeMap<u64, Vec<i64>> = BTreeMap::new();
        for (time, _) in &calendar.minutes {
            for (key, tick) in timetable.advance(at(*time)) {
                assert_eq!(tick.skipped, 0);
                assert_eq!(tick.time.as_second(), *time, "a tick comes when it is due");
                ticks.entry(key).or_default().push(*time);
            }
        }
        for (key, fields) in schedules {
            let came = ticks.remove(&key).unwrap_or_default();
            let due = calendar.fires(fields);
            let wrong = came.iter().zip(&due).find(|(came, due)| came != due);
            let shown = wrong.map(|(came, due)| (at(*came), at(*due)));
            assert_eq!(shown, None, "{} in {}: came, due", fields.text, zone.name);
            assert_eq!(came.len(), due.len(), "{} in {}", fields.text, zone.name);
        }
    }
}

/// What the other calendar says of some days, so that it is not itself the measure.
#[test]
fn the_other_calendar_knows_these_days() {
    let told = |zone: &str, text: &str, day: &str| {
        let zone = ZONES.iter().find(|it| it.name == zone).unwrap();
        let fields = SCHEDULES.iter().find(|it| it.text == text).unwrap();
        let times = Calendar::of(zone).fires(fields).into_iter();
        let times = times.map(|time| Timestamp::from_second(time).unwrap().to_string());
        times.filter(|time| time.starts_with(day)).collect::<Vec<_>>()
    };
    // In Berlin 02:30 is left out, and the clock goes on at 03:00; in autumn it is shown at 00:30 and 01:30 UTC.
    assert_eq!(told("Europe/Berlin", "30 2 * * *", "2026-03-29"), ["2026-03-29T01:00:00Z"]);
    assert_eq!(told("Europe/Berlin", "30 2 * * *", "2026-10-25"), ["2026-10-25T00:30:00Z"]);
    let both = ["2026-10-25T00:05:00Z", "2026-10-25T00:35:00Z", "2026-10-25T01:05:00Z"];
    assert_eq!(told("Europe/Berlin", "5,35 1-3 * * *", "2026-10-25")[..3], both);
    // Midnight did not exist in São Paulo on 4 November 2018; 23:45 was shown twice on 17 February.
    assert_eq!(told("America/Sao_Paulo", "0 0 * * *", "2018-11-04"), ["2018-11-04T03:00:00Z"]);
    assert_eq!(told("America/Sao_Paulo", "0 45 23 * * *", "2018-02-18"), ["2018-02-18T01:45:00Z"]);
    assert_eq!(told("UTC", "0 0 29 2 *", ""), ["2028-02-29T00:00:00Z"]);
    assert_eq!(told("Asia/Kathmandu", "0 0 29 2 *", "").len(), 0);
    // 1 January 2028 is a Saturday, and 13 October a Friday.
    let fridays = told("UTC", "0 3 13 * FRI", "2028-10");
    assert_eq!(fridays, ["06", "13", "20", "27"].map(|day| format!("2028-10-{day}T03:00:00Z")));
}
