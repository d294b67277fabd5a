//! A PingSource as the user writes it, and its plan.

use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use channel::{Destination, Draft, Invalid, SpecVersion, rules, schema::Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Schedule;
use crate::{CloudEventOverrides, Overrides};

/// Longest `schedule`.
pub const SCHEDULE_LENGTH_MAX: usize = 256;

/// Longest `data`, and `dataBase64` decoded: what an event may hold.
pub const DATA_BYTES_MAX: usize = 1024 * 1024;

/// Longest name of a time zone.
const TIMEZONE_LENGTH_MAX: usize = 64;

/// `spec` of a `sources.knative.dev/v1` PingSource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = Self::RULES))]
pub struct PingSourceSpec {
    /// When: cron with five fields, or six with seconds in front, or `@every 10s`, `@hourly` and the
    /// like. Default: every minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = SCHEDULE_LENGTH_MAX))]
    pub schedule: Option<String>,
    /// The time zone of the schedule, by its IANA name. Default: UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = TIMEZONE_LENGTH_MAX))]
    pub timezone: Option<String>,
    /// The media type of the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The data of every event.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = DATA_BYTES_MAX))]
    pub data: Option<String>,
    /// The same in base64, for data that is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = DATA_BYTES_MAX / 3 * 4 + 4))]
    pub data_base64: Option<String>,
    /// What is set on every event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ce_overrides: Option<CloudEventOverrides>,
    /// Where events go. Required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<Destination>,
}

impl PingSourceSpec {
    const RULES: [Rule; 2] = [
        Rule::new(
            "has(self.sink)",
            "expected at least one, got none: spec.sink.ref, spec.sink.uri",
        ),
        Rule::new(
            "!(has(self.data) && self.data != '' && has(self.dataBase64) && self.dataBase64 != '')",
            "expected exactly one, got both: spec.data, spec.dataBase64",
        ),
    ];
}

/// A PingSource that is complete and valid, but for where its sink is.
#[derive(Clone, Debug)]
pub struct PingPlan {
    pub(super) schedule: Arc<Schedule>,
    pub(super) content_type: Option<String>,
    pub(super) data: Option<Bytes>,
    pub(super) overrides: Overrides,
}

impl PingPlan {
    /// Reads a spec. Everything that is wrong in it is added to `problems`, in Knative's words where
    /// it has the rule; the plan is there if nothing is.
    pub fn new(spec: &PingSourceSpec, problems: &mut Vec<Invalid>) -> Option<Self> {
        let before = problems.len();
        let text = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        let schedule = Schedule::parse(
            spec.schedule.as_deref().unwrap_or_default(),
            spec.timezone.as_deref().unwrap_or_default(),
        );
        let schedule = schedule.map_err(|invalid| {
            // A time zone that is wrong must not hide what is wrong with the schedule.
            let is_of_zone = invalid.field == "spec.timezone";
            problems.push(invalid);
            let written = spec.schedule.as_deref().unwrap_or_default();
            problems.extend(is_of_zone.then(|| Schedule::parse(written, "").err()).flatten());
        });
        let schedule = schedule.ok();
        let content_type = text(&spec.content_type);
        let data = data(spec, problems);
        check_content(content_type.as_deref(), data.as_ref(), spec, problems);
        let overrides = Overrides::new(spec.ce_overrides.as_ref(), problems);
        spec.sink.clone().unwrap_or_default().check("spec.sink", problems);
        let schedule = Arc::new(schedule?);
        (problems.len() == before).then_some(Self { schedule, content_type, data, overrides })
    }

    /// When it makes events.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }
}

fn data(spec: &PingSourceSpec, problems: &mut Vec<Invalid>) -> Option<Bytes> {
    let set = |field: &'_ Option<String>| field.clone().filter(|text| !text.is_empty());
    let (field, bytes) = match (set(&spec.data), set(&spec.data_base64)) {
        (None, None) => return None,
        (Some(_), Some(_)) => {
            let rule = "expected exactly one, got both: spec.data, spec.dataBase64";
            problems.push(Invalid::new("spec.data", rule));
            return None;
        }
        (Some(text), None) => ("spec.data", text.into_bytes()),
        (None, Some(text)) => {
            let Ok(bytes) = base64::engine::general_purpose::STANDARD.decode(text) else {
                problems.push(Invalid::new("spec.dataBase64", "must be base64"));
                return None;
            };
            ("spec.dataBase64", bytes)
        }
    };
    if bytes.len() > DATA_BYTES_MAX {
        let length = bytes.len();
        let rule =
            format!("the data length of {length} bytes exceeds limit set at {DATA_BYTES_MAX}.");
        problems.push(Invalid::new(field, rule));
    }
    Some(bytes.into())
}

fn check_content(
    content_type: Option<&str>,
    data: Option<&Bytes>,
    spec: &PingSourceSpec,
    problems: &mut Vec<Invalid>,
) {
    let Some(content_type) = content_type else { return };
    let mut draft = Draft::new(SpecVersion::V10);
    if let Err(invalid) = draft.content_type(content_type.as_bytes()) {
        problems.push(Invalid::new("spec.contentType", invalid.rule));
    }
    let Some(data) = data else { return };
    let field = if spec.data.as_deref().unwrap_or_default().is_empty() {
        "spec.dataBase64"
    } else {
        "spec.data"
    };
    let is_object =
        || serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(data).is_ok();
    if rules::is_json(content_type) && !is_object() {
        let rule = format!("must be a JSON object when spec.contentType is {content_type}");
        problems.push(Invalid::new(field, rule));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(json: &str) -> Vec<String> {
        let spec: PingSourceSpec = serde_json::from_str(json).unwrap();
        let mut problems = Vec::new();
        let plan = PingPlan::new(&spec, &mut problems);
        assert_eq!(plan.is_some(), problems.is_empty(), "{json}");
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_field() {
        for (json, field) in [
            (r#"{"sink":{"uri":"http://a"},"schedule":"0 0 30 2 *"}"#, "spec.schedule: "),
            (r#"{"sink":{"uri":"http://a"},"schedule":"@every 10"}"#, "spec.schedule: "),
            (r#"{"sink":{"uri":"http://a"},"timezone":"Mars/Base"}"#, "spec.timezone: "),
            (r#"{"sink":{"uri":"http://a"},"data":"a","dataBase64":"YQ=="}"#, "spec.data: "),
            (r#"{"sink":{"uri":"http://a"},"dataBase64":"?"}"#, "spec.dataBase64: "),
            (r#"{"sink":{"uri":"http://a"},"contentType":"json"}"#, "spec.contentType: "),
            (
                r#"{"sink":{"uri":"http://a"},"contentType":"application/json","data":"[1]"}"#,
                "spec.data: ",
            ),
            (r#"{}"#, "spec.sink: "),
        ] {
            let problems = problems(json);
            assert_eq!(problems.len(), 1, "{json} {problems:?}");
            assert!(problems[0].starts_with(field), "{json} {problems:?}");
        }
        assert_eq!(problems(r#"{"schedule":"x","timezone":"UTC","contentType":"x"}"#).len(), 3);
    }

    #[test]
    fn a_spec_needs_no_more_than_a_sink() {
        assert!(problems(r#"{"sink":{"uri":"http://a"}}"#).is_empty());
        let json = r#"{"sink":{"uri":"http://a"},"schedule":"*/10 * * * * *",
            "contentType":"application/json","data":"{\"a\":1}"}"#;
        assert!(problems(json).is_empty());
    }
}
