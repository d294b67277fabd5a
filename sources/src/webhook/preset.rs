//! Senders that are known: how they sign, what they say of an event, and what they want to hear.

use std::time::Duration;

use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Answer, Body, EventSpec,
    verify::{Algorithm, Encoding, HmacScheme, Layout, Secret, Signed, TokenScheme, Verifier},
};

/// A sender that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// GitHub, without what GitHubSource knows of it.
    Github,
    /// GitLab.
    Gitlab,
    /// Shopify.
    Shopify,
    /// Slack's Events API.
    Slack,
    /// Stripe.
    Stripe,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Github, Self::Gitlab, Self::Shopify, Self::Slack, Self::Stripe];

    /// How the sender proves who it is, with one of `secrets`.
    pub fn verifier(self, secrets: Vec<Secret>, tolerance: Duration) -> Verifier {
        let body = || vec![Signed::Body];
        let text = |text: &str| Signed::Text(text.to_owned());
        let whole = |prefix: &str| Layout::Whole { prefix: prefix.to_owned() };
        let hmac = |header: &str, layout, signed| HmacScheme {
            algorithm: Algorithm::Sha256,
            header: header.to_owned(),
            encoding: Encoding::Hex,
            layout,
            signed,
            timestamp_header: None,
            id_header: None,
            weak_header: None,
            tolerance,
            keys: secrets.clone(),
        };
        match self {
            Self::Github => Verifier::Hmac(HmacScheme {
                weak_header: Some("x-hub-signature"),
                ..hmac("x-hub-signature-256", whole("sha256="), body())
            }),
            Self::Gitlab => Verifier::Token(TokenScheme {
                header: "x-gitlab-token".to_owned(),
                scheme: None,
                query: None,
                tokens: secrets,
            }),
            Self::Shopify => Verifier::Hmac(HmacScheme {
                encoding: Encoding::Base64,
                ..hmac("x-shopify-hmac-sha256", whole(""), body())
            }),
            Self::Slack => {
                let signed = vec![text("v0:"), Signed::Timestamp, text(":"), Signed::Body];
                Verifier::Hmac(HmacScheme {
                    timestamp_header: Some("x-slack-request-timestamp".to_owned()),
                    ..hmac("x-slack-signature", whole("v0="), signed)
                })
            }
            Self::Stripe => {
                let layout = Layout::Pairs { timestamp: "t", signature: "v1" };
                let signed = vec![Signed::Timestamp, text("."), Signed::Body];
                Verifier::Hmac(hmac("stripe-signature", layout, signed))
            }
        }
    }

    /// What its requests say of their events.
    pub(super) fn event(self) -> EventSpec {
        let [kind, source, id, subject, time] = match self {
            Self::Github => [
                "com.github.{header.X-GitHub-Event}",
                "{body.repository.html_url|https://github.com}",
                "{header.X-GitHub-Delivery}",
                "",
                "",
            ],
            Self::Gitlab => [
                "com.gitlab.{body.object_kind|event}",
                "{body.project.web_url|https://gitlab.com}",
                "{header.Idempotency-Key}",
                "{body.ref}",
                "",
            ],
            Self::Shopify => [
                "com.shopify.{header.X-Shopify-Topic}",
                "https://{header.X-Shopify-Shop-Domain}",
                "{header.X-Shopify-Webhook-Id}",
                "{body.id}",
                "{header.X-Shopify-Triggered-At}",
            ],
            Self::Slack => [
                "com.slack.{body.event.type|request}",
                "https://slack.com/{body.team_id|}",
                "{body.event_id}",
                "{body.event.channel}",
                "",
            ],
            Self::Stripe => [
                "com.stripe.{body.type}",
                "https://stripe.com/{body.account|}",
                "{body.id}",
                "{body.data.object.id}",
                "",
            ],
        }
        .map(|text| Some(text.to_owned()).filter(|text| !text.is_empty()));
        EventSpec { kind, source, id, subject, time, ..EventSpec::default() }
    }

    /// What it wants to hear when its event is stored.
    pub(super) fn accepted(self) -> StatusCode {
        match self {
            Self::Github => StatusCode::ACCEPTED,
            Self::Gitlab | Self::Shopify | Self::Slack | Self::Stripe => StatusCode::OK,
        }
    }

    /// The answer to a request that only asks whether somebody is there.
    pub(super) fn greeting(self, body: &Body<'_>, event: Option<&str>) -> Option<Answer> {
        let text = |name: &str| body.at(&[name.to_owned()]).and_then(|value| value.as_str());
        match self {
            Self::Slack if text("type") == Some("url_verification") => {
                text("challenge").map(Answer::text)
            }
            Self::Github if event == Some("ping") => Some(Answer::text("pong")),
            _ => None,
        }
    }
}
