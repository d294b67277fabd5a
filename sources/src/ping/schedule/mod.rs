//! When a PingSource fires: cron expressions and intervals, in a time zone.
//!
//! Time comes in as an argument.

use channel::Invalid;
use croner::{
    Cron, JobType,
    parser::{CronParser, Seconds, Year},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::SCHEDULE_LENGTH_MAX;

/// What an empty schedule means, as in Knative.
const EVERY_MINUTE: &str = "* * * * *";

/// The names that stand for a schedule, and what they stand for.
const NAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// What names begin with that are no zones of IANA: each machine has its own idea of them.
const OF_MACHINES: [&str; 4] = ["localtime", "posixrules", "posix/", "right/"];

/// Longest interval: ten years.
const INTERVAL_SECONDS_MAX: i64 = 10 * 366 * 24 * 60 * 60;

/// When something fires.
#[derive(Clone, Debug)]
pub struct Schedule {
    text: String,
    zone_name: String,
    rule: Rule,
}

#[derive(Clone, Debug)]
enum Rule {
    Cron {
        cron: Box<Cron>,
        zone: TimeZone,
    },
    /// At every multiple of so many seconds since 1970, so that all replicas agree.
    Every {
        seconds: i64,
    },
}

impl Schedule {
    /// Reads `spec.schedule` and `spec.timezone`; an empty schedule is every minute, an empty time
    /// zone is UTC. As in Knative, `CRON_TZ=` or `TZ=` may stand in front of the schedule instead.
    ///
    /// # Errors
    ///
    /// The field that is wrong: no such time zone, no cron expression, or one that never fires.
    pub fn parse(schedule: &str, timezone: &str) -> Result<Self, Invalid> {
        let in_schedule = |rule: String| Invalid::new("spec.schedule", rule);
        if schedule.len() > SCHEDULE_LENGTH_MAX {
            let rule = format!("must not be longer than {SCHEDULE_LENGTH_MAX} bytes");
            return Err(in_schedule(rule));
        }
        let (written_zone, text) = split_zone(schedule.trim());
        let (zone_field, zone_name) = match (written_zone, timezone.trim()) {
            (Some(_), outer) if !outer.is_empty() => {
                let rule = "must not name a time zone when spec.timezone does";
                return Err(in_schedule(rule.to_owned()));
            }
            (Some(inner), _) => ("spec.schedule", inner),
            (None, "") => ("spec.timezone", "UTC"),
            (None, outer) => ("spec.timezone", outer),
        };
        let lower = zone_name.to_ascii_lowercase();
        let is_of_machine = OF_MACHINES.iter().any(|start| lower.starts_with(start));
        let zone = TimeZone::get(zone_name).ok().filter(|_| !is_of_machine);
        let zone = zone.ok_or_else(|| {
            let rule = format!(
                "{zone_name:?} is not a time zone that is known; an IANA name is needed, such as Europe/Berlin"
            );
            Invalid::new(zone_field, rule)
        })?;
        let text = if text.is_empty() { EVERY_MINUTE } else { text };
        let rule = match text.strip_prefix("@every") {
            Some(interval) => Rule::Every { seconds: seconds(interval).map_err(in_schedule)? },
            None => Rule::Cron { cron: Box::new(cron(text).map_err(in_schedule)?), zone },
        };
        let schedule = Self { text: text.to_owned(), zone_name: zone_name.to_owned(), rule };
        if schedule.next(Timestamp::UNIX_EPOCH).is_none() {
            let rule = format!("{text:?} never fires: no day fits all of its fields");
            return Err(in_schedule(rule));
        }
        Ok(schedule)
    }

    /// The expression, without time zone.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The time zone's name.
    pub fn zone_name(&self) -> &str {
        &self.zone_name
    }

    /// Whether it fires at one time of day, whatever the days are.
    pub fn is_fixed(&self) -> bool {
        match &self.rule {
            Rule::Cron { cron, .. } => cron.determine_job_type() == JobType::FixedTime,
            Rule::Every { .. } => false,
        }
    }

    /// When it fires next after `time`.
    pub fn next(&self, time: Timestamp) -> Option<Timestamp> {
        match &self.rule {
            Rule::Cron { cron, zone } => {
                let next = cron.find_next_occurrence(&time.to_zoned(zone.clone()), false).ok()?;
                // Never back: a schedule that does not move on would fire without end.
                Some(next.timestamp()).filter(|next| *next > time)
            }
            Rule::Every { seconds } => {
                let count = time.as_second().div_euclid(*seconds).checked_add(1)?;
                Timestamp::from_second(count.checked_mul(*seconds)?).ok()
            }
        }
    }

    /// When it fired last, `time` included.
    pub fn last(&self, time: Timestamp) -> Option<Timestamp> {
        match &self.rule {
            Rule::Cron { cron, zone } => {
                let last =
                    cron.find_previous_occurrence(&time.to_zoned(zone.clone()), true).ok()?;
                Some(last.timestamp()).filter(|last| *last <= time)
            }
            Rule::Every { seconds } => {
                Timestamp::from_second(time.as_second().div_euclid(*seconds) * seconds).ok()
            }
        }
    }
}

/// A time zone in front of the schedule, and the schedule.
fn split_zone(text: &str) -> (Option<&str>, &str) {
    let after = text.strip_prefix("CRON_TZ=").or_else(|| text.strip_prefix("TZ="));
    match after {
        None => (None, text),
        Some(after) => {
            let (zone, rest) = after.split_once(char::is_whitespace).unwrap_or((after, ""));
            (Some(zone), rest.trim_start())
        }
    }
}

fn seconds(interval: &str) -> Result<i64, String> {
    const RULE: &str = "@every needs a duration such as 10s or 1h30m";
    let written = interval.strip_prefix(char::is_whitespace).map(str::trim).ok_or(RULE)?;
    let starts_well = written.starts_with(|first: char| first.is_ascii_digit());
    let length: SignedDuration = written.parse().map_err(|_| RULE)?;
    if !starts_well || length.subsec_nanos() != 0 || length.as_secs() < 1 {
        return Err(format!("{RULE}: whole seconds, and at least one"));
    }
    if length.as_secs() > INTERVAL_SECONDS_MAX {
        return Err("@every needs a duration of ten years at most".to_owned());
    }
    Ok(length.as_secs())
}

fn cron(text: &str) -> Result<Cron, String> {
    const FORM: &str = "must be a cron expression of 5 fields, or of 6 with seconds in front";
    let named = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    let fields = match named {
        Some((_, fields)) => fields,
        None if text.starts_with('@') => {
            let names = NAMES.map(|(name, _)| name).join(", ");
            return Err(format!("unsupported descriptor {text}; known are @every, {names}"));
        }
        None => text,
    };
    let count = fields.split_whitespace().count();
    if !(5..=6).contains(&count) {
        return Err(format!("{FORM}; it has {count}"));
    }
    // As in Knative's parser, a question mark is a star in every field.
    let starred: Vec<String> = fields
        .split_whitespace()
        .rev()
        .enumerate()
        .map(|(from_end, field)| match field.strip_prefix('?') {
            Some(rest) if !matches!(from_end, 0 | 2) => format!("*{rest}"),
            _ => field.to_owned(),
        })
        .collect();
    let fields = starred.into_iter().rev().collect::<Vec<_>>().join(" ");
    // In both days of month and days of week a star, stepped or not, leaves the choice to the other.
    let days = |from_end: usize| fields.split_whitespace().rev().nth(from_end).unwrap_or_default();
    let is_open = |days: &str| days.starts_with(['*', '?']);
    CronParser::builder()
        .seconds(Seconds::Optional)
        .year(Year::Disallowed)
        .sloppy_ranges(true)
        .dom_and_dow(is_open(days(0)) || is_open(days(2)))
        .build()
        .parse(&fields)
        .map_err(|error| format!("{FORM}: {error}"))
}

#[cfg(test)]
mod tests;
