//! A GitHubSource as the user writes it, and its plan.

use std::collections::BTreeSet;

use channel::{Destination, Invalid, schema::Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{BODY_BYTES_MAX, EVENT_TYPE_PREFIX, Mapping};
use crate::{
    CloudEventOverrides, Overrides, Resolve, Secret, SecretSpec,
    spec::secret,
    status::EventAttributes,
    webhook::{Mapper, Preset, TOLERANCE, check_length, verify::Verifier},
};

/// GitHub's own API.
const API_URL: &str = "https://api.github.com/";

/// Most types of events that may be asked for.
const EVENT_TYPES_MAX: usize = 128;

/// Longest name of an owner, repository or event.
const NAME_LENGTH_MAX: usize = 100;

/// `spec` of a `sources.knative.dev/v1alpha1` GitHubSource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = Self::RULES))]
pub struct GitHubSourceSpec {
    /// `owner/repository`, or an organisation. Required.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(extend("minLength" = 1, "maxLength" = 2 * NAME_LENGTH_MAX + 1))]
    pub owner_and_repository: String,
    /// The events that are wanted, by GitHub's names. Required.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("minItems" = 1, "maxItems" = EVENT_TYPES_MAX))]
    pub event_types: Vec<String>,
    /// The token with which the hook is made, changed and removed. Without it, it is made by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_token: Option<SecretSpec>,
    /// The secret that deliveries are signed with. Required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_token: Option<SecretSpec>,
    /// The API of GitHub Enterprise, such as `https://github.example.com/api/v3/`.
    #[serde(rename = "githubAPIURL", skip_serializing_if = "Option::is_none")]
    pub github_api_url: Option<String>,
    /// Whether the hook is called by https, whatever the program's public URL says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secure: Option<bool>,
    /// As whom Knative runs its receiver; not used here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// What is set on every event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ce_overrides: Option<CloudEventOverrides>,
    /// Where events go. Required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<Destination>,
}

impl GitHubSourceSpec {
    const RULES: [Rule; 2] = [
        Rule::new("has(self.secretToken)", "missing field(s): spec.secretToken"),
        Rule::new(
            "has(self.sink)",
            "expected at least one, got none: spec.sink.ref, spec.sink.uri",
        ),
    ];
}

/// What on GitHub is listened to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The owner, or the organisation.
    pub owner: String,
    /// The repository; none for all of an organisation's.
    pub repository: Option<String>,
}

impl Target {
    fn parse(text: &str) -> Result<Self, &'static str> {
        const RULE: &str = "must be owner/repository, or the name of an organisation";
        let text = text.trim_matches('/');
        let (owner, repository) = match text.split_once('/') {
            Some((owner, repository)) => (owner, Some(repository)),
            None => (text, None),
        };
        let is_name = |name: &str| {
            let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            (1..=NAME_LENGTH_MAX).contains(&name.len())
                && name.bytes().all(is_part)
                && !matches!(name, "." | "..")
        };
        if !is_name(owner) || !repository.is_none_or(is_name) {
            return Err(RULE);
        }
        Ok(Self { owner: owner.to_owned(), repository: repository.map(str::to_owned) })
    }
}

/// A GitHubSource that is complete and valid, but for where its sink is.
#[derive(Clone, Debug)]
pub struct GitHubPlan {
    /// Who may send.
    pub verifier: Verifier,
    /// What the events are.
    pub mapper: Mapper,
    /// Longest body.
    pub body_bytes_max: usize,
    /// What is listened to.
    pub target: Target,
    /// The events that are wanted.
    pub event_types: BTreeSet<String>,
    /// The API at which the hook is made.
    pub api_url: Url,
    /// The token for it; without one the hook is made by hand.
    pub access_token: Option<Secret>,
    /// What deliveries are signed with.
    pub secret_token: Secret,
    /// Whether the hook is called by https whatever the public URL says.
    pub secure: Option<bool>,
    source: String,
}

impl GitHubPlan {
    /// Reads a spec. Everything that is wrong is added to `problems`; the plan is there if nothing
    /// is and all secrets are known.
    pub fn new(
        spec: &GitHubSourceSpec,
        resolve: &Resolve<'_>,
        problems: &mut Vec<Invalid>,
    ) -> Option<Self> {
        let before = problems.len();
        let target = Target::parse(&spec.owner_and_repository)
            .map_err(|rule| problems.push(Invalid::new("spec.ownerAndRepository", rule)))
            .ok();
        let event_types = event_types(&spec.event_types, problems);
        let secret_token = match &spec.secret_token {
            Some(written) => secret(written, "spec.secretToken", resolve, problems),
            None => {
                problems.push(Invalid::new("spec.secretToken", "is required"));
                None
            }
        };
        if let Some(token) = &secret_token {
            check_length(token, "spec.secretToken", problems);
        }
        let access_token = spec.access_token.as_ref();
        let access_token =
            access_token.map(|written| secret(written, "spec.accessToken", resolve, problems));
        let api_url = api_url(spec.github_api_url.as_deref(), problems);
        let is_open = |url: &Url| url.scheme() == "http" && !is_here(url);
        if spec.access_token.is_some() && api_url.as_ref().is_some_and(is_open) {
            let rule = "must be https: spec.accessToken is sent there";
            problems.push(Invalid::new("spec.githubAPIURL", rule));
        }
        let overrides = Overrides::new(spec.ce_overrides.as_ref(), problems);
        spec.sink.clone().unwrap_or_default().check("spec.sink", problems);

        let (target, secret_token, api_url) = (target?, secret_token?, api_url?);
        // A token that is written and not known yet is waited for.
        let access_token = access_token.map_or(Some(None), |token| token.map(Some))?;
        let source = source(&api_url, &target);
        let wants_ping = event_types.contains("ping");
        let mapping = Mapping::new(source.clone(), wants_ping, overrides);
        let plan = Self {
            verifier: Preset::Github.verifier(vec![secret_token.clone()], TOLERANCE),
            mapper: Mapper::GitHub(mapping),
            body_bytes_max: BODY_BYTES_MAX,
            target,
            event_types,
            api_url,
            access_token,
            secret_token,
            secure: spec.secure,
            source,
        };
        (problems.len() == before).then_some(plan)
    }

    /// What its events say of themselves.
    pub fn ce_attributes(&self) -> Vec<EventAttributes> {
        let of = |event: &String| EventAttributes {
            kind: format!("{EVENT_TYPE_PREFIX}{event}"),
            source: self.source.clone(),
        };
        self.event_types.iter().map(of).collect()
    }
}

/// Whether a URL leads to this machine.
fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The `source` of the events: `https://github.com/owner/repository`.
fn source(api_url: &Url, target: &Target) -> String {
    let host = match api_url.host_str() {
        Some("api.github.com") | None => "github.com",
        Some(host) => host,
    };
    match &target.repository {
        Some(repository) => format!("https://{host}/{}/{repository}", target.owner),
        None => format!("https://{host}/{}", target.owner),
    }
}

fn event_types(written: &[String], problems: &mut Vec<Invalid>) -> BTreeSet<String> {
    if written.is_empty() {
        problems.push(Invalid::new("spec.eventTypes", "must have at least one"));
    }
    if written.len() > EVENT_TYPES_MAX {
        let rule = format!("must not have more than {EVENT_TYPES_MAX}");
        problems.push(Invalid::new("spec.eventTypes", rule));
    }
    for (index, event) in written.iter().enumerate() {
        if !is_event(event) {
            let rule = "must be the name of an event of GitHub, such as pull_request";
            problems.push(Invalid::new(format!("spec.eventTypes[{index}]"), rule));
        }
    }
    written.iter().cloned().collect()
}

/// Whether a text can be the name of an event.
pub(super) fn is_event(text: &str) -> bool {
    (1..=NAME_LENGTH_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

fn api_url(written: Option<&str>, problems: &mut Vec<Invalid>) -> Option<Url> {
    let written = written.filter(|text| !text.is_empty()).unwrap_or(API_URL);
    let with_slash = format!("{}/", written.trim_end_matches('/'));
    let url = Url::parse(&with_slash).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
    });
    if url.is_none() {
        let rule = "must be an http or https URL without user name and query, such as https://github.example.com/api/v3/";
        problems.push(Invalid::new("spec.githubAPIURL", rule));
    }
    url
}
