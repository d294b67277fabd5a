//! Where an event goes: a reference to something addressable, a URI, or both.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::Invalid;
use crate::schema::{
    API_VERSION_LENGTH_MAX, CERTIFICATES_LENGTH_MAX, LABEL_LENGTH_MAX, NAME_LENGTH_MAX, Rule,
    URI_LENGTH_MAX,
};

mod pem;
#[cfg(test)]
mod tests;

/// Domain under which a cluster's services are found.
pub const CLUSTER_DOMAIN: &str = "svc.cluster.local";

/// Stands for the host of a reference while only the `uri` beside it is judged.
const ANY_BASE: &str = "http://ref.invalid/";

/// How a user names a sink, as in Knative's `duck/v1` Destination.
///
/// `uri` alone must be absolute; with `ref` it is relative and joined to the reference's address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = Self::RULES))]
pub struct Destination {
    /// The object whose address is meant.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
    /// An absolute URL, or with `ref` a reference relative to its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = URI_LENGTH_MAX))]
    pub uri: Option<String>,
    /// Certificates (PEM) to trust for the sink, in place of those of its address.
    #[serde(rename = "CACerts", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = CERTIFICATES_LENGTH_MAX))]
    pub ca_certs: Option<String>,
    /// The OIDC audience of the sink, in place of that of its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
}

/// An object by kind and name, as in Knative's `duck/v1` `KReference`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = Self::RULES))]
pub struct Reference {
    /// Kind of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = LABEL_LENGTH_MAX))]
    pub kind: Option<String>,
    /// Its namespace; that of the referring resource when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = LABEL_LENGTH_MAX))]
    pub namespace: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = NAME_LENGTH_MAX))]
    pub name: Option<String>,
    /// Group and version of the kind: `v1`, `eventing.knative.dev/v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = API_VERSION_LENGTH_MAX))]
    pub api_version: Option<String>,
    /// Group of the kind, in place of `apiVersion`: the version is the one that the cluster prefers.
    /// Knative reads it only behind a feature that is off by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = NAME_LENGTH_MAX))]
    pub group: Option<String>,
    /// Which of the object's addresses is meant, when it has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// A destination that is resolved: what the client needs to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `http` or `https`, with a host, without user name and password, as WHATWG normalises it.
    pub url: Url,
    /// Certificates (PEM) to trust in place of the system's.
    pub ca_certs: Option<String>,
    /// The OIDC audience that a token must be made for.
    pub audience: Option<String>,
}

/// What a reference leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Something with this address.
    Address(Target),
    /// A Service of the core group: its address follows from its name.
    Service,
}

impl Destination {
    /// What of [`check`](Self::check) an API server can hold.
    const RULES: [Rule; 4] = [
        Rule::new(
            "has(self.ref) || has(self.uri) && self.uri != ''",
            "expected at least one, got none: ref, uri",
        ),
        Rule::new(
            "!has(self.ref) || !has(self.uri) || !self.uri.matches('^[A-Za-z][A-Za-z0-9+.-]*:')",
            "Absolute URI is not allowed when Ref or [apiVersion, kind, name] is present: ref, uri",
        ),
        Rule::new(
            "has(self.ref) || !has(self.uri) || self.uri == '' || self.uri.matches('^[A-Za-z][A-Za-z0-9+.-]*://[^/]')",
            "Relative URI is not allowed when Ref and [apiVersion, kind, name] is absent: uri",
        ),
        Rule::new(
            "has(self.ref) || !has(self.CACerts) || self.CACerts.contains('-----BEGIN CERTIFICATE-----')",
            "CA Cert provided is invalid: CACerts",
        ),
    ];

    /// A destination that is the URL `uri`.
    pub fn from_uri(uri: impl Into<String>) -> Self {
        Self { uri: Some(uri.into()), ..Self::default() }
    }

    /// Adds everything that is wrong with the destination written at `path` to `problems`, in
    /// Knative's words where it has the rule.
    ///
    /// After no problem was added, [`resolve`](Self::resolve) fails only for want of an address.
    pub fn check(&self, path: &str, problems: &mut Vec<Invalid>) {
        let uri = self.uri();
        let uri_problem = match (&self.reference, uri) {
            (None, None) => {
                problems.push(Invalid::new(
                    path.to_owned(),
                    "expected at least one, got none: ref, uri",
                ));
                None
            }
            (None, Some(uri)) => parse_absolute(uri).err(),
            (Some(_), Some(uri)) => parse_relative(uri).err(),
            (Some(_), None) => None,
        };
        if let Some(rule) = uri_problem {
            problems.push(Invalid::new(format!("{path}.uri"), rule));
        }
        if let Some(reference) = &self.reference {
            reference.check(&format!("{path}.ref"), problems);
        }
        if let Some(Err(rule)) = self.ca_certs.as_deref().map(pem::check) {
            problems.push(Invalid::new(format!("{path}.CACerts"), rule));
        }
    }

    /// The target that the destination written at `path` means for a resource of `namespace`.
    ///
    /// A `v1` Service is `http://name.namespace.svc.cluster.local`, and `https` when `CACerts` is
    /// set. `address_of` finds the address of everything else, a Broker included; it is given the
    /// reference with its namespace filled in. `uri` is joined to the address found (RFC 3986, 5.2).
    ///
    /// # Errors
    ///
    /// The first problem that [`check`](Self::check) finds, or `path.ref` when `address_of` knows
    /// no address for it.
    pub fn resolve(
        &self,
        path: &str,
        namespace: &str,
        address_of: impl FnOnce(&Reference) -> Option<Target>,
    ) -> Result<Target, Invalid> {
        self.resolve_by(path, namespace, |reference| {
            if reference.is_service() {
                return Ok(Found::Service);
            }
            let unknown = || format!("nothing with an address is known as {reference}");
            address_of(reference).map(Found::Address).ok_or_else(unknown)
        })
    }

    /// As [`resolve`](Self::resolve); `find` also says whether a Service is there.
    ///
    /// # Errors
    ///
    /// The first problem that [`check`](Self::check) finds, or what `find` says, as that of `path.ref`.
    pub fn resolve_by(
        &self,
        path: &str,
        namespace: &str,
        find: impl FnOnce(&Reference) -> Result<Found, String>,
    ) -> Result<Target, Invalid> {
        let mut problems = Vec::new();
        self.check(path, &mut problems);
        if let Some(first) = problems.into_iter().next() {
            return Err(first);
        }
        let in_uri = |rule| Invalid::new(format!("{path}.uri"), rule);
        let Some(reference) = &self.reference else {
            let url = parse_absolute(self.uri().unwrap_or_default()).map_err(in_uri)?;
            return Ok(self.over(Target { url, ca_certs: None, audience: None }));
        };
        let reference = reference.in_namespace(namespace);
        let wrong = |rule: String| Invalid::new(format!("{path}.ref"), rule);
        let mut target = match find(&reference).map_err(wrong)? {
            Found::Address(target) => target,
            Found::Service => {
                let address = reference.service_address(self.ca_certs.is_some());
                address.ok_or_else(|| wrong(format!("{reference} has no address")))?
            }
        };
        if let Some(uri) = self.uri() {
            target.url = join(&target.url, uri).map_err(in_uri)?;
        }
        Ok(self.over(target))
    }

    /// `uri`, unless it is empty, which Knative reads as absent.
    fn uri(&self) -> Option<&str> {
        self.uri.as_deref().filter(|uri| !uri.is_empty())
    }

    /// Puts the destination's own certificates and audience over those of the address.
    fn over(&self, target: Target) -> Target {
        Target {
            url: target.url,
            ca_certs: self.ca_certs.clone().or(target.ca_certs),
            audience: self.audience.clone().or(target.audience),
        }
    }
}

impl Reference {
    /// What of [`check`](Self::check) an API server can hold.
    pub const RULES: [Rule; 3] = [
        Rule::new("has(self.name) && self.name != ''", "missing field(s): name"),
        Rule::new("has(self.kind) && self.kind != ''", "missing field(s): kind"),
        Rule::new(
            "has(self.apiVersion) && self.apiVersion != '' || has(self.group) && self.group != ''",
            "missing field(s): apiVersion",
        ),
    ];

    /// Adds everything that is wrong with the reference written at `path` to `problems`.
    pub fn check(&self, path: &str, problems: &mut Vec<Invalid>) {
        let is_given = |field: &Option<String>| field.as_deref().is_some_and(|it| !it.is_empty());
        let version = if is_given(&self.api_version) { &self.api_version } else { &self.group };
        let needed = [("name", &self.name), ("kind", &self.kind), ("apiVersion", version)];
        let missing: Vec<&str> = needed
            .iter()
            .filter(|(_, value)| value.as_deref().unwrap_or_default().is_empty())
            .map(|(field, _)| *field)
            .collect();
        if !missing.is_empty() {
            let rule = format!("missing field(s): {}", missing.join(", "));
            problems.push(Invalid::new(path.to_owned(), rule));
        }
        if !self.is_service() {
            return;
        }
        for (field, value) in [("name", &self.name), ("namespace", &self.namespace)] {
            let value = value.as_deref().unwrap_or_default();
            if !value.is_empty() && !is_label(value) {
                problems.push(Invalid::new(
                    format!("{path}.{field}"),
                    "must consist of at most 63 lower-case letters, digits and inner hyphens (RFC 1123)",
                ));
            }
        }
    }

    /// Whether a Service of the core group is meant.
    pub fn is_service(&self) -> bool {
        self.kind.as_deref() == Some("Service") && self.api_version.as_deref() == Some("v1")
    }

    /// The same reference, its namespace filled in with that of the referring resource.
    fn in_namespace(&self, namespace: &str) -> Self {
        let own = self.namespace.clone().filter(|own| !own.is_empty());
        Self { namespace: Some(own.unwrap_or_else(|| namespace.to_owned())), ..self.clone() }
    }

    fn service_address(&self, tls: bool) -> Option<Target> {
        let scheme = if tls { "https" } else { "http" };
        let (name, namespace) = (self.name.as_deref()?, self.namespace.as_deref()?);
        let url = Url::parse(&format!("{scheme}://{name}.{namespace}.{CLUSTER_DOMAIN}")).ok()?;
        Some(Target { url, ca_certs: None, audience: None })
    }
}

impl std::fmt::Display for Reference {
    /// `eventing.knative.dev/v1 Broker default/orders`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let part = |part: &'_ Option<String>| part.clone().unwrap_or_default();
        let is_versioned = self.api_version.as_deref().is_some_and(|it| !it.is_empty());
        let version = if is_versioned { &self.api_version } else { &self.group };
        let (version, kind) = (part(version), part(&self.kind));
        write!(f, "{version} {kind} {}/{}", part(&self.namespace), part(&self.name))
    }
}

/// Reads a URL that events may be sent to.
fn parse_absolute(uri: &str) -> Result<Url, &'static str> {
    check_characters(uri)?;
    let url = match Url::parse(uri) {
        Ok(url) => url,
        Err(url::ParseError::RelativeUrlWithoutBase) => {
            return Err(
                "Relative URI is not allowed when Ref and [apiVersion, kind, name] is absent",
            );
        }
        Err(_) => return Err("must be a URL with a host that can exist"),
    };
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must be an http or https URL");
    }
    // WHATWG repairs `http:x` and `http:///x` by guessing a host; a guess is not what was written.
    let after_scheme = uri.get(url.scheme().len()..).unwrap_or_default();
    if !after_scheme.starts_with("://") || after_scheme.starts_with(":///") {
        return Err("must have a host after http:// or https://");
    }
    check_user(&url)?;
    Ok(url)
}

/// Judges a `uri` written beside a `ref`.
fn parse_relative(uri: &str) -> Result<(), &'static str> {
    check_characters(uri)?;
    if Url::parse(uri).is_ok() {
        return Err("Absolute URI is not allowed when Ref or [apiVersion, kind, name] is present");
    }
    let base = Url::parse(ANY_BASE).map_err(|_| "must be a relative URI")?;
    join(&base, uri).map(|_| ())
}

/// `uri` relative to `base`, on the same host: the reference decides who is called.
fn join(base: &Url, uri: &str) -> Result<Url, &'static str> {
    let joined = base.join(uri).map_err(|_| "must be a relative URI")?;
    if joined.origin() != base.origin() {
        return Err("must not lead away from the host that ref names");
    }
    check_user(&joined)?;
    Ok(joined)
}

/// Refuses what WHATWG would drop in silence.
fn check_characters(uri: &str) -> Result<(), &'static str> {
    if uri.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("must not contain spaces or control characters");
    }
    Ok(())
}

/// Credentials belong into a secret: a URL is logged, listed and sent to dead letter sinks.
fn check_user(url: &Url) -> Result<(), &'static str> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not carry a user name or password");
    }
    Ok(())
}

/// Whether `text` is a DNS label (RFC 1123, 2.1), as names of Services and namespaces are.
fn is_label(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.len() <= 63
        && text.bytes().all(is_inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.is_empty()
}
