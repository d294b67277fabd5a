//! A WebhookSource that is complete and valid, its secrets included.

use std::time::Duration;

use channel::{Invalid, Name, rules};
use http::HeaderName;
use jiff::{SignedDuration, Span, SpanRelativeTo};

use super::{EventSpec, HmacSpec, VerificationSpec, WebhookSourceSpec};
use crate::{
    Overrides, Resolve,
    webhook::{
        BODY_BYTES_MAX, EVENT_TYPE, Mapper, REMEMBERED, TOLERANCE, Template,
        event::Templates,
        verify::{
            BasicScheme, HmacScheme, Layout, SECRET_BYTES_MIN, SECRETS_MAX, Secret, Signed,
            StandardKey, StandardScheme, TokenScheme, Verifier,
        },
    },
};

/// Longest body that may be asked for.
const BODY_BYTES_LIMIT: usize = 32 * 1024 * 1024;

/// A WebhookSource that is complete and valid, but for where its sink is.
#[derive(Clone, Debug)]
pub struct WebhookPlan {
    /// Who may send.
    pub verifier: Verifier,
    /// What the events are.
    pub mapper: Mapper,
    /// How long deliveries are remembered.
    pub remembered: Duration,
    /// Longest body.
    pub body_bytes_max: usize,
}

impl WebhookPlan {
    /// Reads the spec of source `name`. Everything that is wrong is added to `problems`; the plan is
    /// there if nothing is and all secrets are known.
    pub fn new(
        name: &Name,
        spec: &WebhookSourceSpec,
        resolve: &Resolve<'_>,
        problems: &mut Vec<Invalid>,
    ) -> Option<Self> {
        let before = problems.len();
        let verifier = verifier(spec, resolve, problems);
        let templates = templates(name, spec, problems);
        let window = spec.replay.as_ref().and_then(|replay| replay.window.as_deref());
        let remembered = duration("spec.replay.window", window, REMEMBERED, problems);
        let body_bytes_max = spec.body_bytes_max.map_or(BODY_BYTES_MAX, |max| max as usize);
        if !(1..=BODY_BYTES_LIMIT).contains(&body_bytes_max) {
            let rule = format!("must be between 1 and {BODY_BYTES_LIMIT}");
            problems.push(Invalid::new("spec.bodyBytesMax", rule));
        }
        spec.sink.clone().unwrap_or_default().check("spec.sink", problems);
        let mapper = Mapper::Templates(Box::new(templates?));
        let plan = Self { verifier: verifier?, mapper, remembered, body_bytes_max };
        (problems.len() == before).then_some(plan)
    }
}

/// The secrets written at `path`, or `None` while one of them is not known.
fn secrets(
    written: &[crate::SecretSpec],
    path: &str,
    resolve: &Resolve<'_>,
    problems: &mut Vec<Invalid>,
) -> Option<Vec<Secret>> {
    if written.is_empty() {
        problems.push(Invalid::new(path.to_owned(), "must have at least one"));
    }
    if written.len() > SECRETS_MAX {
        let rule = format!("must not have more than {SECRETS_MAX}");
        problems.push(Invalid::new(path.to_owned(), rule));
    }
    let mut secrets = Some(Vec::new());
    for (index, secret) in written.iter().enumerate() {
        let known = crate::spec::secret(secret, &format!("{path}[{index}]"), resolve, problems);
        secrets = secrets.zip(known).map(|(mut secrets, known)| {
            secrets.push(known);
            secrets
        });
    }
    secrets
}

/// Whether keys and tokens are long enough not to be guessed.
pub(crate) fn check_length(secret: &Secret, path: &str, problems: &mut Vec<Invalid>) {
    if secret.expose().len() < SECRET_BYTES_MIN {
        let rule = format!("must have at least {SECRET_BYTES_MIN} bytes");
        problems.push(Invalid::new(path.to_owned(), rule));
    }
}

const SECRETS: &str = "spec.verification.secrets";

fn verifier(
    spec: &WebhookSourceSpec,
    resolve: &Resolve<'_>,
    problems: &mut Vec<Invalid>,
) -> Option<Verifier> {
    let Some(written) = &spec.verification else {
        let rule = "is required; none: true takes requests of anybody";
        problems.push(Invalid::new("spec.verification", rule));
        return None;
    };
    check_ways(spec, written, problems)?;
    let tolerance = written.tolerance.as_deref();
    let tolerance = duration("spec.verification.tolerance", tolerance, TOLERANCE, problems);
    if written.none == Some(true) {
        if !written.secrets.is_empty() {
            problems.push(Invalid::new(SECRETS, "must not be set when none is true"));
        }
        return Some(Verifier::None);
    }
    let secrets = secrets(&written.secrets, SECRETS, resolve, problems);
    if let Some(basic) = &written.basic {
        if basic.username.is_empty() || basic.username.contains(':') {
            let rule = "must not be empty or contain a colon";
            problems.push(Invalid::new("spec.verification.basic.username", rule));
        }
        let username = basic.username.clone();
        return Some(Verifier::Basic(BasicScheme { username, passwords: secrets? }));
    }
    if written.standard_webhooks.is_some() {
        let keys = standard_keys(&secrets?, problems);
        return Some(Verifier::Standard(StandardScheme { keys, tolerance }));
    }
    for (index, secret) in secrets.iter().flatten().enumerate() {
        check_length(secret, &format!("{SECRETS}[{index}]"), problems);
    }
    if let Some(preset) = spec.preset {
        return Some(preset.verifier(secrets?, tolerance));
    }
    if let Some(token) = &written.token {
        let header = header("spec.verification.token.header", &token.header, problems);
        let scheme = TokenScheme { header: header?, scheme: None, query: None, tokens: secrets? };
        return Some(Verifier::Token(scheme));
    }
    match &written.hmac {
        Some(hmac) => hmac_scheme(hmac, secrets, tolerance, problems).map(Verifier::Hmac),
        None => Some(Verifier::Token(TokenScheme::bearer(secrets?))),
    }
}

/// Whether exactly one way is written.
fn check_ways(
    spec: &WebhookSourceSpec,
    written: &VerificationSpec,
    problems: &mut Vec<Invalid>,
) -> Option<()> {
    let ways = [
        ("standardWebhooks", written.standard_webhooks.is_some()),
        ("hmac", written.hmac.is_some()),
        ("bearer", written.bearer.is_some()),
        ("token", written.token.is_some()),
        ("basic", written.basic.is_some()),
        ("none", written.none.is_some()),
    ];
    let set: Vec<&str> = ways.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name).collect();
    let rule = match (spec.preset.is_some(), set.as_slice()) {
        (true, []) => return Some(()),
        (true, set) => format!("must not set {}: spec.preset says how", set.join(", ")),
        (false, ["none"]) if written.none == Some(false) => {
            "none: false says nothing; leave it out, and set another way".to_owned()
        }
        (false, [_]) => return Some(()),
        (false, []) => {
            let all = ways.map(|(name, _)| name).join(", ");
            format!("expected exactly one, got neither: {all}")
        }
        (false, set) => format!("expected exactly one, got several: {}", set.join(", ")),
    };
    problems.push(Invalid::new("spec.verification", rule));
    None
}

fn standard_keys(secrets: &[Secret], problems: &mut Vec<Invalid>) -> Vec<StandardKey> {
    let mut keys = Vec::new();
    for (index, secret) in secrets.iter().enumerate() {
        let text = String::from_utf8_lossy(secret.expose());
        match StandardKey::parse(&text) {
            Ok(key) => keys.push(key),
            Err(error) => {
                problems.push(Invalid::new(format!("{SECRETS}[{index}]"), error.to_string()));
            }
        }
    }
    keys
}

fn hmac_scheme(
    spec: &HmacSpec,
    secrets: Option<Vec<Secret>>,
    tolerance: Duration,
    problems: &mut Vec<Invalid>,
) -> Option<HmacScheme> {
    let path = |field: &str| format!("spec.verification.hmac.{field}");
    let mut optional = |field: &str, name: &Option<String>| {
        name.as_ref().and_then(|name| header(&path(field), name, problems))
    };
    let timestamp_header = optional("timestampHeader", &spec.timestamp_header);
    let id_header = optional("idHeader", &spec.id_header);
    let header = header(&path("header"), &spec.header, problems);
    let signed = spec.signed.as_deref().unwrap_or("{body}");
    let signed = HmacScheme::parse_signed(signed)
        .map_err(|rule| problems.push(Invalid::new(path("signed"), rule)))
        .unwrap_or_default();
    for (piece, field, is_set) in [
        (Signed::Timestamp, "timestampHeader", spec.timestamp_header.is_some()),
        (Signed::Id, "idHeader", spec.id_header.is_some()),
    ] {
        if signed.contains(&piece) != is_set && !signed.is_empty() {
            let rule = if is_set {
                "is of no use unless spec.verification.hmac.signed contains it"
            } else {
                "is required when spec.verification.hmac.signed contains it"
            };
            problems.push(Invalid::new(path(field), rule));
        }
    }
    Some(HmacScheme {
        algorithm: spec.algorithm,
        header: header?,
        encoding: spec.encoding,
        layout: Layout::Whole { prefix: spec.prefix.clone() },
        signed,
        timestamp_header,
        id_header,
        weak_header: None,
        tolerance,
        keys: secrets?,
    })
}

/// The name of a header field, in lower case.
fn header(field: &str, name: &str, problems: &mut Vec<Invalid>) -> Option<String> {
    let parsed = HeaderName::try_from(name);
    if parsed.is_err() {
        problems.push(Invalid::new(field.to_owned(), "must be the name of a header field"));
    }
    parsed.ok().map(|name| name.as_str().to_owned())
}

fn templates(
    name: &Name,
    spec: &WebhookSourceSpec,
    problems: &mut Vec<Invalid>,
) -> Option<Templates> {
    let own = spec.event.clone().unwrap_or_default();
    let preset = spec.preset.map(|preset| preset.event()).unwrap_or_default();
    let mut parse = |field: String, text: Option<String>| {
        let parsed = Template::parse(&text?);
        parsed.map_err(|rule| problems.push(Invalid::new(field, rule))).ok()
    };
    let mut attribute =
        |field: &str, own: Option<String>, preset: Option<String>, default: Option<String>| {
            parse(format!("spec.event.{field}"), own.or(preset).or(default))
        };
    let EventSpec { kind, source, id, subject, time, extensions } = own;
    let default_source = format!(
        "/apis/sources.catchment.dev/v1alpha1/namespaces/{}/webhooksources/{}",
        name.namespace, name.name
    );
    let kind = attribute("type", kind, preset.kind, Some(EVENT_TYPE.to_owned()));
    let source = attribute("source", source, preset.source, Some(default_source));
    let id = attribute("id", id, preset.id, None);
    let subject = attribute("subject", subject, preset.subject, None);
    let time = attribute("time", time, preset.time, None);
    let delivery = spec.replay.as_ref().and_then(|replay| replay.id.clone());
    let delivery = parse("spec.replay.id".to_owned(), delivery);
    let mut parsed = Vec::new();
    for (name, text) in extensions {
        if let Some(template) = parse(format!("spec.event.extensions.{name}"), Some(text)) {
            parsed.push((name, template));
        }
    }
    check_extensions(&parsed, problems);
    let overrides = Overrides::new(spec.ce_overrides.as_ref(), problems);
    Some(Templates {
        preset: spec.preset,
        kind: kind?,
        source: source?,
        id,
        subject,
        time,
        extensions: parsed,
        delivery,
        overrides,
    })
}

fn check_extensions(extensions: &[(String, Template)], problems: &mut Vec<Invalid>) {
    for (name, _) in extensions {
        let field = || format!("spec.event.extensions.{name}");
        if let Err(invalid) = rules::check_name(name) {
            problems.push(Invalid::new(field(), invalid.rule));
        } else if crate::spec::is_core(name) {
            let rule = "must be an extension, not an attribute that CloudEvents itself defines";
            problems.push(Invalid::new(field(), rule));
        }
    }
}

/// A duration as written at `field`, or the default.
fn duration(
    field: &'static str,
    written: Option<&str>,
    default: Duration,
    problems: &mut Vec<Invalid>,
) -> Duration {
    let Some(text) = written else { return default };
    let length = text.parse::<Span>().ok().filter(|_| text.starts_with('P'));
    let length: Option<SignedDuration> =
        length.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    let length = length.and_then(|length| Duration::try_from(length).ok());
    length.filter(|length| !length.is_zero()).unwrap_or_else(|| {
        let rule = "must be an ISO 8601 duration longer than zero, such as PT5M";
        problems.push(Invalid::new(field, rule));
        default
    })
}
