//! What a cluster is told of a source: conditions and where its events go, as in Knative's duck types.

use channel::status::{Condition, Identity, Observed};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `status` of every source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SourceStatus {
    /// How far the object was understood, and what holds of it.
    #[serde(flatten)]
    pub observed: Observed,
    /// As whom the source sends events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<Identity>,
    /// What its events say of themselves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ce_attributes: Vec<EventAttributes>,
    /// Where they go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink_uri: Option<String>,
    /// Certificates (PEM) to trust there.
    #[serde(rename = "sinkCACerts", skip_serializing_if = "Option::is_none")]
    pub sink_ca_certs: Option<String>,
    /// The OIDC audience of the sink.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink_audience: Option<String>,
    /// How many consumers read, of a kind that has some.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub consumers: Option<i32>,
    /// The labels of those that read, of a kind that can be scaled.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub selector: Option<String>,
    /// The id of the webhook that was made for it, of a kind that makes one.
    #[serde(rename = "webhookIDKey", skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub webhook_id_key: Option<String>,
}

/// `status` of a KafkaSource, as a cluster keeps it: what can be scaled says how far it is.
#[derive(Debug, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "it is a schema")]
pub struct KafkaSourceStatus {
    #[serde(flatten)]
    source: SourceStatus,
    /// How many consumers read.
    #[schemars(extend("format" = "int32"))]
    consumers: Option<i32>,
    /// The labels of those that read, for who scales them.
    selector: Option<String>,
}

/// `status` of a GitHubSource, as a cluster keeps it.
#[derive(Debug, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "it is a schema")]
pub struct GitHubSourceStatus {
    #[serde(flatten)]
    source: SourceStatus,
    /// The id of the webhook that was made at GitHub.
    #[serde(rename = "webhookIDKey")]
    webhook_id_key: Option<String>,
}

/// What events of one kind say of themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
pub struct EventAttributes {
    /// Their `type`.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// Their `source`.
    #[serde(default)]
    pub source: String,
}

/// Whether something holds, and why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holds {
    /// It does.
    True,
    /// It does not.
    False {
        /// In one word for programs.
        reason: &'static str,
        /// For people.
        message: String,
    },
    /// It is not known yet.
    Unknown {
        /// In one word for programs.
        reason: &'static str,
        /// For people.
        message: String,
    },
}

/// The conditions of a source: those given, and `Ready`, which holds when all of them do. They are
/// in the order of their names, and have no times: those belong to whoever knows the last status.
pub fn conditions(parts: &[(&str, Holds)]) -> Vec<Condition> {
    let is_false = |(_, holds): &&(&str, Holds)| matches!(holds, Holds::False { .. });
    let is_open = |(_, holds): &&(&str, Holds)| *holds != Holds::True;
    let worst = parts.iter().find(is_false).or_else(|| parts.iter().find(is_open));
    let ready = ("Ready", worst.map_or(Holds::True, |(_, holds)| holds.clone()));
    let mut conditions: Vec<Condition> = parts.iter().chain([&ready]).map(condition).collect();
    conditions.sort_by(|left, right| left.kind.cmp(&right.kind));
    conditions
}

fn condition((kind, holds): &(&str, Holds)) -> Condition {
    let (status, why) = match holds {
        Holds::True => ("True", None),
        Holds::False { reason, message } => ("False", Some((reason, message))),
        Holds::Unknown { reason, message } => ("Unknown", Some((reason, message))),
    };
    Condition {
        kind: (*kind).to_owned(),
        status: status.to_owned(),
        severity: None,
        last_transition_time: None,
        reason: why.map(|(reason, _)| (*reason).to_owned()),
        message: why.map(|(_, message)| message.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_sums_up() {
        let unknown = || Holds::Unknown { reason: "Waiting", message: "soon".to_owned() };
        let not = || Holds::False { reason: "NotFound", message: "no broker".to_owned() };
        let ready = |parts: &[(&str, Holds)]| {
            let all = conditions(parts);
            assert!(all.is_sorted_by(|left, right| left.kind <= right.kind));
            let ready = all.into_iter().find(|it| it.kind == "Ready").unwrap();
            (ready.status, ready.reason.unwrap_or_default())
        };
        let told = |status: &str, reason: &str| (status.to_owned(), reason.to_owned());
        assert_eq!(ready(&[("SinkProvided", Holds::True)]), told("True", ""));
        assert_eq!(ready(&[("A", Holds::True), ("B", unknown())]), told("Unknown", "Waiting"));
        assert_eq!(ready(&[("A", unknown()), ("B", not())]), told("False", "NotFound"));
    }
}
