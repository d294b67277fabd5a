//! Reports on their way to the cluster: applied by the server, some at a time, and Events beside them.

use std::sync::Arc;

use channel::{Name, status::Condition};
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use serde_json::{Value, json};
use tokio::{sync::watch, time};

use super::{
    MANAGER, Report,
    conditions::{READY, ready},
};
use crate::{
    cluster::{
        error::in_words,
        kinds::Followed,
        loose::Loose,
        seen::{Changed, Seen, digest, in_seconds},
        shared::Shared,
    },
    manifest::Kind,
};

/// Writes at a time.
const AT_A_TIME: usize = 16;

/// How long one write may take.
const WRITE_TIMEOUT: time::Duration = time::Duration::from_secs(10);

/// The longest text of an Event that an API server takes, in bytes.
const NOTE_MAX: usize = 1024;

/// What became of a report.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) kind: Kind,
    pub(super) name: Name,
    /// What was to be told.
    pub(super) wanted: u64,
    /// The object as it is now; `None` when it is gone.
    pub(super) outcome: Result<Option<Seen>, ()>,
}

/// Writes reports.
pub(super) struct Writer {
    client: Client,
    shared: Arc<Shared>,
    teller: Teller,
    leading: watch::Receiver<bool>,
}

impl Writer {
    pub(super) fn new(client: Client, shared: Arc<Shared>, leading: watch::Receiver<bool>) -> Self {
        Self { teller: Teller::new(client.clone()), client, shared, leading }
    }

    /// Writes all of them, as long as this process leads.
    pub(super) async fn write(&self, reports: Vec<Report>) -> Vec<Written> {
        let writes = reports.into_iter().map(|report| self.write_one(report));
        let written = stream::iter(writes).buffer_unordered(AT_A_TIME);
        written.filter_map(std::future::ready).collect().await
    }

    async fn write_one(&self, report: Report) -> Option<Written> {
        if !*self.leading.borrow() {
            return None;
        }
        let Report { kind, name, status, conditions, warnings } = report;
        let followed = Followed::of(kind)?;
        let before = self.shared.seen.lock().get(&(kind, name.clone())).cloned()?;
        let wanted = digest(&status);
        let resource = followed.resource();
        let body = json!({
            "apiVersion": &resource.api_version,
            "kind": &resource.kind,
            "metadata": { "name": name.name, "namespace": name.namespace },
            "status": with_times(status, &before.changes, Timestamp::now()),
        });
        let api: Api<Loose> = Api::namespaced_with(self.client.clone(), &name.namespace, &resource);
        let params = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(&body);
        let doing = format!("cannot patch {}/status {name}", followed.full_name());
        let patched = time::timeout(WRITE_TIMEOUT, api.patch_status(&name.name, &params, &patch));
        let outcome = match patched.await {
            Ok(Ok(object)) => {
                let (object, _) = object.read(&resource);
                let seen = Seen::of(kind, &object);
                let reference = reference_to(kind, &name, &seen);
                self.tell(&reference, &before, &conditions, &warnings).await;
                Ok(Some(seen))
            }
            // It is gone, or another of its name is there: the watch tells of that.
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => Ok(None),
            Ok(Err(error)) => {
                tracing::warn!(why = %in_words(&doing, &error), "a condition could not be reported");
                Err(())
            }
            Err(_) => {
                tracing::warn!(why = %format!("{doing}: no answer in {WRITE_TIMEOUT:?}"), "a condition could not be reported");
                Err(())
            }
        };
        Some(Written { kind, name, wanted, outcome })
    }

    /// Says in Events what a person should see.
    async fn tell(
        &self,
        object: &ObjectReference,
        before: &Seen,
        conditions: &[Condition],
        warnings: &[String],
    ) {
        let was = before.changes.iter().find(|changed| changed.is_of(READY));
        let was_false = was.is_some_and(|changed| changed.is("False"));
        let mut events = Vec::new();
        match ready(conditions) {
            Some(ready) if ready.status == "False" && !was_false => {
                let note = ready.message.clone().unwrap_or_default();
                events.push((EventType::Warning, reason_of(ready), note));
            }
            Some(ready) if ready.status == "True" && was_false => {
                events.push((EventType::Normal, READY.to_owned(), "is ready again".to_owned()));
            }
            _ => {}
        }
        for warning in warnings {
            events.push((EventType::Warning, "DoubtfulSpec".to_owned(), warning.clone()));
        }
        for (type_, reason, note) in events {
            self.teller.publish(type_, reason, note, object).await;
        }
    }
}

/// Says in Events what a person should see.
pub(in crate::cluster) struct Teller {
    recorder: Recorder,
}

impl Teller {
    pub(in crate::cluster) fn new(client: Client) -> Self {
        let reporter = Reporter { controller: MANAGER.to_owned(), instance: None };
        Self { recorder: Recorder::new(client, reporter) }
    }

    /// Warns of something about an object.
    pub(in crate::cluster) async fn warn(
        &self,
        kind: Kind,
        name: &Name,
        seen: &Seen,
        reason: &str,
        note: String,
    ) {
        let object = reference_to(kind, name, seen);
        self.publish(EventType::Warning, reason.to_owned(), note, &object).await;
    }

    async fn publish(
        &self,
        type_: EventType,
        reason: String,
        note: String,
        object: &ObjectReference,
    ) {
        let note = Some(cut(note));
        let action = "Report".to_owned();
        let event = Event { type_, reason, note, action, secondary: None };
        let published = time::timeout(WRITE_TIMEOUT, self.recorder.publish(&event, object));
        if let Ok(Err(error)) = published.await {
            let why = in_words("cannot create events.events.k8s.io", &error);
            tracing::warn!(%why, "an Event could not be told");
        }
    }
}

fn reference_to(kind: Kind, name: &Name, seen: &Seen) -> ObjectReference {
    let resource = Followed::of(kind).map(Followed::resource);
    ObjectReference {
        api_version: resource.as_ref().map(|resource| resource.api_version.clone()),
        kind: resource.map(|resource| resource.kind),
        name: Some(name.name.clone()),
        namespace: Some(name.namespace.clone()),
        uid: Some(seen.uid.clone()),
        ..ObjectReference::default()
    }
}

/// In one word: those of Knative that are sentences lose their spaces.
fn reason_of(ready: &Condition) -> String {
    let reason = ready.reason.as_deref().unwrap_or("NotReady");
    reason.chars().filter(|it| it.is_ascii_alphanumeric()).take(128).collect()
}

fn cut(mut note: String) -> String {
    if note.len() > NOTE_MAX {
        let mut end = NOTE_MAX - 3;
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        note.truncate(end);
        note.push_str("...");
    }
    note
}

/// The status with the time at which each of its conditions last changed.
fn with_times(mut status: Value, before: &[Changed], now: Timestamp) -> Value {
    let conditions = status.get_mut("conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten() {
        let text = |field: &str| condition.get(field).and_then(Value::as_str).unwrap_or_default();
        let known =
            before.iter().find(|changed| changed.is_of(text("type")) && changed.is(text("status")));
        let since = known.and_then(Changed::since).unwrap_or_else(|| in_seconds(now));
        if let Some(fields) = condition.as_object_mut() {
            fields.insert("lastTransitionTime".to_owned(), Value::String(since));
        }
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_keeps_its_time_while_it_stays_as_it_is() {
        let changed =
            |kind: &str, status: &str| Changed::new(kind, status, Some("2026-01-01T00:00:00Z"));
        let before = [changed("Ready", "True"), changed("Addressable", "False")];
        let status = json!({"conditions": [
            {"type": "Ready", "status": "True"},
            {"type": "Addressable", "status": "True"},
        ]});
        let now = "2026-02-03T04:05:06.7Z".parse().unwrap();
        let status = with_times(status, &before, now);
        let times: Vec<&str> = status["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["lastTransitionTime"].as_str().unwrap())
            .collect();
        assert_eq!(times, ["2026-01-01T00:00:00Z", "2026-02-03T04:05:06Z"]);
    }

    #[test]
    fn a_note_is_cut_between_characters() {
        let note = cut("ü".repeat(1000));
        assert!(note.len() <= NOTE_MAX && note.ends_with("ü..."));
        assert_eq!(cut("short".to_owned()), "short");
    }
}
