//! The verdicts on loss, strays, bytes, dead letters, sums, refusals, replies and stopping.

use std::collections::HashSet;
use std::time::Duration;

use crate::oracle::observer::is_balanced;
use crate::oracle::{Evidence, Letter, Outcome, Sent, Watched, wants};
use crate::process::Exit;
use crate::program::Ended;
use crate::seen::{ADDED, ADDED_DEAD, Seen};

const SHOWN: usize = 12;

/// The reasons a dead letter may have.
const REASONS: &[&str] =
    &["exhausted", "refused", "aged", "overflow", "loop", "reply", "undecodable"];

/// What one invariant came to.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Which one.
    pub invariant: &'static str,
    /// How many things were looked at.
    pub checked: usize,
    /// How it was broken, one line each.
    pub violations: Vec<String>,
}

impl Verdict {
    /// Nothing looked at yet.
    #[must_use]
    pub fn new(invariant: &'static str) -> Self {
        Self { invariant, checked: 0, violations: Vec::new() }
    }

    /// Adds a violation.
    pub fn violation(&mut self, what: String) {
        self.violations.push(what);
    }
}

/// Panics with every violation of every verdict, a dozen of each written out.
pub fn assert_all(verdicts: impl IntoIterator<Item = Verdict>) {
    let mut report = String::new();
    for verdict in verdicts {
        let count = verdict.violations.len();
        if count == 0 {
            continue;
        }
        report +=
            &format!("\n{}: {count} violations in {} checks", verdict.invariant, verdict.checked);
        for line in verdict.violations.iter().take(SHOWN) {
            report += &format!("\n  - {line}");
        }
        if count > SHOWN {
            report += &format!("\n  - and {} more", count - SHOWN);
        }
    }
    assert!(report.is_empty(), "invariants broken:{report}\n");
}

impl Evidence {
    /// I1 to I8 and I12.
    #[must_use]
    pub fn verdicts(&self) -> Vec<Verdict> {
        vec![
            self.nothing_lost(),
            self.nothing_stray(),
            self.same_bytes(),
            self.once(),
            self.in_order(),
            self.attempts_kept(),
            self.dead_letters_whole(),
            self.conserved(),
            self.refusals_honest(),
        ]
    }

    /// Panics when any of [`Evidence::verdicts`] was broken.
    pub fn assert(&self) {
        assert_all(self.verdicts());
    }

    /// I1: exactly one end for every accepted event at every trigger that wants it.
    #[must_use]
    pub fn nothing_lost(&self) -> Verdict {
        let mut verdict = Verdict::new("I1 nothing lost");
        for watched in &self.watched {
            let name = watched.trigger.full_name();
            let letters = self.letters_of(&name);
            for sent in self.owed(&watched.trigger) {
                verdict.checked += 1;
                let key = sent.sample.key();
                let is_delivered = watched.of(&key).any(|one| one.is_success());
                let is_purged =
                    self.purged.iter().any(|(trigger, one)| *trigger == name && *one == key);
                let is_dead = letters.contains_key(&key);
                if !(is_delivered || is_dead || is_purged) {
                    let tried = watched.of(&key).count();
                    verdict.violation(format!(
                        "{name}: {key:?} has no end ({tried} attempts arrived)"
                    ));
                }
                let was_sure = watched.of(&key).any(|one| self.is_certain(one, watched));
                if was_sure && is_dead {
                    verdict
                        .violation(format!("{name}: {key:?} was delivered and is a dead letter"));
                }
            }
        }
        verdict
    }

    /// I2: nothing arrives that was not sent, nor where it is not wanted.
    #[must_use]
    pub fn nothing_stray(&self) -> Verdict {
        let mut verdict = Verdict::new("I2 nothing stray");
        for watched in &self.watched {
            let name = watched.trigger.full_name();
            for one in &watched.deliveries {
                verdict.checked += 1;
                match &one.event {
                    Err(why) => verdict.violation(format!(
                        "{name}: no CloudEvent: {why}: {:?}",
                        one.request.head.raw
                    )),
                    Ok(seen) => match self.sent_as(&seen.key()) {
                        None => {
                            verdict.violation(format!("{name}: {:?} was never sent", seen.key()))
                        }
                        Some(sent) if !wants(&watched.trigger, sent) => {
                            verdict
                                .violation(format!("{name}: does not want {}", attributes(sent)));
                        }
                        Some(_) => {}
                    },
                }
            }
            let letters = self.letters.iter().filter(|letter| letter.listed.trigger == name);
            for letter in letters.filter(|letter| self.sent_as(&letter.key()).is_none()) {
                verdict.violation(format!("{name}: dead letter of {:?}, never sent", letter.key()));
            }
        }
        for what in &self.malformed {
            verdict.violation(format!("a subscriber got what is not HTTP: {what}"));
        }
        verdict
    }

    /// I3: data and attributes as sent, but for what the contract adds.
    #[must_use]
    pub fn same_bytes(&self) -> Verdict {
        let mut verdict = Verdict::new("I3 same bytes");
        for watched in &self.watched {
            for one in &watched.deliveries {
                let Ok(seen) = &one.event else { continue };
                let Some(sent) = self.sent_as(&seen.key()) else { continue };
                verdict.checked += 1;
                for difference in seen.differences(&sent.sample, sent.mode, ADDED) {
                    verdict.violation(format!(
                        "{}: {:?}: {difference}",
                        watched.trigger.name,
                        seen.key()
                    ));
                }
            }
        }
        verdict
    }

    /// I7: a dead letter has the original event, destination, reason, and every attempt.
    #[must_use]
    pub fn dead_letters_whole(&self) -> Verdict {
        let mut verdict = Verdict::new("I7 dead letters are whole");
        for letter in &self.letters {
            verdict.checked += 1;
            let name = format!("{} of {}", letter.listed.id, letter.listed.trigger);
            for what in letter_problems(letter) {
                verdict.violation(format!("{name}: {what}"));
            }
            let mine = |one: &&Watched| one.trigger.full_name() == letter.listed.trigger;
            let Some(watched) = self.watched.iter().find(mine) else { continue };
            if letter.listed.destination != watched.trigger.subscriber
                && letter.listed.reason != "reply"
            {
                verdict.violation(format!("{name}: destination {}", letter.listed.destination));
            }
            let Some(sent) = self.sent_as(&letter.key()) else { continue };
            match Seen::object(letter.whole["event"].to_string().as_bytes()) {
                Err(why) => verdict.violation(format!("{name}: event: {why}")),
                Ok(seen) => {
                    for difference in seen.differences(&sent.sample, sent.mode, ADDED_DEAD) {
                        verdict.violation(format!("{name}: {difference}"));
                    }
                }
            }
        }
        verdict
    }

    /// I8 at the end: the counters add up, and to what was sent.
    #[must_use]
    pub fn conserved(&self) -> Verdict {
        let mut verdict = Verdict::new("I8 conservation");
        for watched in &self.watched {
            let Some(counters) = watched.counters else { continue };
            verdict.checked += 1;
            let name = watched.trigger.full_name();
            if !is_balanced(&counters) {
                verdict.violation(format!("{name}: {counters:?} does not add up"));
            }
            let owed: usize = self.owed(&watched.trigger).map(|one| one.replied.unwrap_or(1)).sum();
            let unsure = self.sent.iter().filter(|one| {
                matches!(one.outcome, Outcome::Unknown(_) | Outcome::Open)
                    && wants(&watched.trigger, one)
            });
            let most = (owed + unsure.count()) as u64;
            if counters.matched < owed as u64 || counters.matched > most {
                verdict.violation(format!(
                    "{name}: matched {}, sent {owed} to {most}",
                    counters.matched
                ));
            }
            let held = self.letters_of(&name).len() as u64;
            if counters.dead != held {
                verdict.violation(format!(
                    "{name}: dead {}, {held} dead letters listed",
                    counters.dead
                ));
            }
        }
        verdict
    }

    /// I12: what was refused never arrives and is no dead letter.
    #[must_use]
    pub fn refusals_honest(&self) -> Verdict {
        let mut verdict = Verdict::new("I12 refusals are honest");
        let refused = |one: &&Sent| matches!(one.outcome, Outcome::Refused(_));
        let refused: HashSet<_> =
            self.sent.iter().filter(refused).map(|one| one.sample.key()).collect();
        verdict.checked = refused.len();
        for watched in &self.watched {
            for key in watched.by_key.keys().filter(|key| refused.contains(*key)) {
                verdict.violation(format!(
                    "{}: {key:?} was refused and arrived",
                    watched.trigger.name
                ));
            }
        }
        for letter in self.letters.iter().filter(|letter| refused.contains(&letter.key())) {
            verdict.violation(format!("{:?} was refused and is a dead letter", letter.key()));
        }
        verdict
    }

    /// I13: an event that a subscriber answered with arrives once per answer, and no hop counter shows.
    #[must_use]
    pub fn replies_once(&self) -> Verdict {
        let mut verdict = Verdict::new("I13 replies");
        for watched in &self.watched {
            let name = watched.trigger.full_name();
            for sent in self.owed(&watched.trigger) {
                let Some(times) = sent.replied else { continue };
                verdict.checked += 1;
                let key = sent.sample.key();
                let got = watched.of(&key).filter(|one| one.is_success()).count();
                if got > times {
                    verdict.violation(format!(
                        "{name}: reply {key:?} answered {times} times, arrived {got}"
                    ));
                }
            }
            for one in watched.deliveries.iter().filter_map(|one| one.event.as_ref().ok()) {
                if one.attribute("knativebrokerttl").is_some() {
                    verdict.violation(format!("{name}: {:?} shows its hop counter", one.key()));
                }
            }
        }
        verdict
    }

    /// I14: ended by itself before the deadline; 0 only when nothing was left.
    #[must_use]
    pub fn stopping(&self, ended: Ended, deadline: Duration) -> Verdict {
        let mut verdict = Verdict::new("I14 stopping");
        verdict.checked = 1;
        let lost = self.nothing_lost().violations.len();
        match ended.exit {
            Exit::Signal(signal) => verdict.violation(format!("ended by signal {signal}")),
            Exit::Code(0) if lost > 0 => {
                verdict.violation(format!("exit code 0, {lost} events without end"))
            }
            Exit::Code(code) if code != 0 && lost == 0 => {
                verdict.violation(format!("exit code {code}, nothing was left"));
            }
            Exit::Code(_) => {}
        }
        if ended.after > deadline {
            verdict.violation(format!("ended after {:?}, deadline {deadline:?}", ended.after));
        }
        verdict
    }
}

fn attributes(sent: &Sent) -> String {
    let all = sent.sample.attributes.iter().map(|one| format!("{}={:?}", one.name, one.text));
    all.collect::<Vec<_>>().join(" ")
}

fn letter_problems(letter: &Letter) -> Vec<String> {
    let mut problems = Vec::new();
    let listed = &letter.listed;
    if !REASONS.contains(&listed.reason.as_str()) {
        problems.push(format!("reason {:?}", listed.reason));
    }
    let is_time = |text: &str| text.parse::<jiff::Timestamp>().is_ok();
    if !is_time(&listed.failed_at) {
        problems.push(format!("failedAt {:?}", listed.failed_at));
    }
    let log = letter.whole["attemptLog"].as_array().cloned().unwrap_or_default();
    if log.is_empty() && listed.attempts > 0 {
        problems.push(format!("no attempt written down of {}", listed.attempts));
    }
    if listed.attempts == 0 && matches!(listed.reason.as_str(), "exhausted" | "refused") {
        problems.push(format!("{} without an attempt", listed.reason));
    }
    for one in &log {
        let has_outcome = one["status"].is_u64() || one["error"].is_string();
        if !has_outcome || !one["durationMs"].is_u64() || !one["at"].as_str().is_some_and(is_time) {
            problems.push(format!("attempt {one}"));
        }
    }
    let last = log.last().and_then(|one| one["status"].as_u64());
    if !log.is_empty() && last != listed.last_status.map(u64::from) {
        problems
            .push(format!("lastStatus {:?}, the last attempt has {last:?}", listed.last_status));
    }
    problems
}
