//! A WebhookSource as the user writes it, and its plan.

mod plan;

use std::collections::BTreeMap;

use channel::{
    Destination,
    schema::{DURATION, DURATION_LENGTH_MAX, Rule},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::plan::WebhookPlan;
pub(crate) use self::plan::check_length;
use super::{
    Preset,
    verify::{Algorithm, Encoding},
};
use crate::{CloudEventOverrides, SecretSpec};

/// `spec` of a `sources.catchment.dev/v1alpha1` WebhookSource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = Self::RULES))]
pub struct WebhookSourceSpec {
    /// A sender that is known: how it signs and what its events are is known then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// How the sender proves who it is. Required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification: Option<VerificationSpec>,
    /// What the events are, as templates; field by field in place of what the preset says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<EventSpec>,
    /// How deliveries that come twice are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplaySpec>,
    /// Longest body in bytes. Default: 1 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_bytes_max: Option<u32>,
    /// What is set on every event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ce_overrides: Option<CloudEventOverrides>,
    /// Where events go. Required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<Destination>,
}

impl WebhookSourceSpec {
    const RULES: [Rule; 2] = [
        Rule::new(
            "has(self.sink)",
            "expected at least one, got none: spec.sink.ref, spec.sink.uri",
        ),
        Rule::new("has(self.verification)", "missing field(s): spec.verification"),
    ];
}

/// `spec.verification`. Exactly one of the ways is set, none of them with a preset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VerificationSpec {
    /// Keys, tokens or passwords; one of them is enough. Several are needed while one is changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretSpec>,
    /// How far the time that is signed may be from now, an ISO 8601 duration. Default: PT5M.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = DURATION_LENGTH_MAX, "x-kubernetes-validations" = [DURATION]))]
    pub tolerance: Option<String>,
    /// Signatures of Standard Webhooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standard_webhooks: Option<StandardWebhooksSpec>,
    /// A signature with a shared key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hmac: Option<HmacSpec>,
    /// A bearer token, in `Authorization` or the query's `access_token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer: Option<BearerSpec>,
    /// A token in a header field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenSpec>,
    /// A user name and a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicSpec>,
    /// `true` takes requests of anybody who can reach the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub none: Option<bool>,
}

/// `spec.verification.standardWebhooks`: the keys say everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StandardWebhooksSpec {}

/// `spec.verification.bearer`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BearerSpec {}

/// `spec.verification.hmac`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HmacSpec {
    /// The hash. Default: `sha256`.
    pub algorithm: Algorithm,
    /// The header field of the signature. Required.
    pub header: String,
    /// `hex` or `base64`. Default: `hex`.
    pub encoding: Encoding,
    /// What stands in front of the signature, such as `sha256=`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// What is signed: text with `{body}`, `{timestamp}` and `{id}` in it. Default: `{body}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed: Option<String>,
    /// The header field of the time, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp_header: Option<String>,
    /// The header field of the delivery's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_header: Option<String>,
}

/// `spec.verification.token`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TokenSpec {
    /// The header field of the token. Required.
    pub header: String,
}

/// `spec.verification.basic`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BasicSpec {
    /// The user name. Required.
    pub username: String,
}

/// `spec.event`: attributes as templates, see [`super::Template`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EventSpec {
    /// The event's type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Its id; one that is missing is made up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its subject; left out when it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Its time (RFC 3339); that of the request when it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Extension attributes; left out when they are missing.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extensions: BTreeMap<String, String>,
}

/// `spec.replay`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplaySpec {
    /// What a delivery is known by, as a template. Default: the event's id, when the sender gives one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// How long it is remembered, an ISO 8601 duration. Default: PT72H.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = DURATION_LENGTH_MAX, "x-kubernetes-validations" = [DURATION]))]
    pub window: Option<String>,
}
