//! `PingSource`: an event whenever a schedule says so.
//!
//! # Rules
//!
//! - Every tick has one id, made of schedule and time: a tick that is sent twice can be told.
//! - What nobody sent while the process was down, the machine slept or the sink took nothing is
//!   made good once: the newest missed tick is sent, the others are counted as skipped. A source that
//!   is new, or whose schedule was changed, starts with the first tick after that.
//! - Of several replicas only the leading one sends. A new leader goes on from the last tick that was
//!   noted, under the same rule.
//! - When clocks go forward, a schedule with one fixed time of day that is left out fires right
//!   after the gap; others leave the gap out. When they go back, a schedule with a fixed time fires
//!   the first time only; others go on through both hours.
//! - A clock that is set back by more than a minute, while the process runs or is down, starts schedules
//!   without a fixed time anew from there; those with one do not fire again for a time that they have
//!   fired for.

mod alarm;
mod schedule;
mod spec;
mod timetable;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use channel::{Data, Draft, Event, Invalid, Kind, Name, SpecVersion, Work};
use jiff::Timestamp;
use tokio::{
    select,
    time::{self, Instant},
};
use tracing::warn;

use self::timetable::is_ahead;
pub use self::{
    alarm::{Alarm, Ticks},
    schedule::Schedule,
    spec::{DATA_BYTES_MAX, PingPlan, PingSourceSpec, SCHEDULE_LENGTH_MAX},
};
use crate::{
    Context, Failure, Put, Source,
    notes::{fingerprint, key_of},
    status::EventAttributes,
};

/// The type of its events.
pub const EVENT_TYPE: &str = "dev.knative.sources.ping";

/// The kind, as manifests name it.
pub const KIND: &str = "PingSource";

/// What the keys of its notes begin with.
const NOTES: &str = "ping";

/// A source notes how far it is at most so often. After a crash, ticks of that long may be looked at
/// again; the newest of them is sent, with the id that it had.
const NOTED_EVERY: Duration = Duration::from_secs(1);

/// A PingSource at work.
#[derive(Debug)]
pub struct PingSource {
    name: Name,
    plan: PingPlan,
    alarm: Alarm,
}

impl PingSource {
    /// The source `name`, which `alarm` wakes.
    pub fn new(name: Name, plan: PingPlan, alarm: Alarm) -> Self {
        Self { name, plan, alarm }
    }

    /// The event of the tick at `time`.
    ///
    /// # Errors
    ///
    /// When an attribute breaks a rule.
    pub fn event(&self, time: Timestamp) -> Result<Event, Invalid> {
        let mut draft = Draft::new(SpecVersion::V10);
        let id = format!("{}-{}", time.strftime("%Y%m%dT%H%M%SZ"), self.schedule_id(4));
        draft.push_text("id", &id, Kind::String)?;
        draft.push_text("source", &event_source(&self.name), Kind::String)?;
        draft.push_text("type", EVENT_TYPE, Kind::String)?;
        draft.push_text("time", &time.to_string(), Kind::String)?;
        if let Some(content_type) = &self.plan.content_type {
            draft.content_type(content_type.as_bytes())?;
        }
        draft.set_data(self.plan.data.clone().map(Data::opaque));
        self.plan.overrides.apply(&mut draft);
        draft.finish()
    }

    fn schedule_id(&self, bytes: usize) -> String {
        fingerprint(&[self.plan.schedule.text(), self.plan.schedule.zone_name()], bytes)
    }

    /// The newest tick that was noted for the schedule as it is now.
    fn noted(&self, context: &Context) -> Option<Timestamp> {
        let note = context.notes.get(&key_of(NOTES, &self.name))?;
        let (time, schedule) = std::str::from_utf8(&note).ok()?.split_once(' ')?;
        if schedule == self.schedule_id(8) { time.parse().ok() } else { None }
    }

    async fn note(&self, context: &Context, time: Timestamp) {
        let note = Bytes::from(format!("{time} {}", self.schedule_id(8)));
        if let Err(error) = context.notes.put(&key_of(NOTES, &self.name), note).await {
            warn!(source = %context.id, %error, "how far the source is could not be noted");
        }
    }

    /// Sends ticks for as long as this replica leads. Returns whether to stop.
    async fn lead(&self, context: &Context, mut ticks: Ticks) -> Result<bool, Failure> {
        let mut last_noted = Instant::now();
        let mut unnoted = None;
        let ends = loop {
            let step = select! {
                biased;
                () = context.stop.cancelled() => break true,
                () = context.until_leads(false) => break false,
                tick = ticks.next() => Some(tick),
                () = time::sleep_until(last_noted + NOTED_EVERY), if unnoted.is_some() => None,
            };
            if let Some(tick) = step {
                context.report.skipped(tick.skipped);
                let event = self.event(tick.time).map_err(|invalid| Failure {
                    reason: format!("its events are not valid: {invalid}"),
                })?;
                if context.put(&event, tick.time).await == Put::Stopped {
                    break true;
                }
                unnoted = Some(tick.time);
            }
            if last_noted.elapsed() >= NOTED_EVERY {
                if let Some(time) = unnoted.take() {
                    self.note(context, time).await;
                }
                last_noted = Instant::now();
            }
        };
        if let Some(time) = unnoted {
            self.note(context, time).await;
        }
        Ok(ends)
    }
}

impl Source for PingSource {
    fn run(&self, context: Context) -> Work<Result<(), Failure>> {
        let this =
            Self { name: self.name.clone(), plan: self.plan.clone(), alarm: self.alarm.clone() };
        Box::pin(async move {
            let begun = this.alarm.now();
            loop {
                select! {
                    biased;
                    () = context.stop.cancelled() => return Ok(()),
                    () = context.until_leads(true) => {}
                }
                let schedule = Arc::clone(&this.plan.schedule);
                let now = this.alarm.now();
                let since = match this.noted(&context) {
                    Some(noted) if !is_ahead(&schedule, noted, now) => noted,
                    noted => {
                        let since = if noted.is_some() { now } else { begun };
                        this.note(&context, since).await;
                        since
                    }
                };
                if this.lead(&context, this.alarm.follow(schedule, since)).await? {
                    return Ok(());
                }
            }
        })
    }
}

/// The `source` of the events of the PingSource `name`, as Knative writes it.
pub fn event_source(name: &Name) -> String {
    format!("/apis/v1/namespaces/{}/pingsources/{}", name.namespace, name.name)
}

/// What the events of the PingSource `name` say of themselves.
pub fn ce_attributes(name: &Name) -> EventAttributes {
    EventAttributes { kind: EVENT_TYPE.to_owned(), source: event_source(name) }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod year;
