//! Kinds and names of a cluster's objects, as specs write them.

use channel::{
    Invalid,
    schema::{NAME_LENGTH_MAX, Rule},
};

/// That both fields of a kind are there.
pub(crate) const KIND_RULES: [Rule; 2] = [
    Rule::new("has(self.apiVersion) && self.apiVersion != ''", "missing field(s): apiVersion"),
    Rule::new("has(self.kind) && self.kind != ''", "missing field(s): kind"),
];

/// Adds what is wrong with a kind named at `path` to `problems`.
pub(crate) fn check_kind(api_version: &str, kind: &str, path: &str, problems: &mut Vec<Invalid>) {
    let (group, version) = api_version.split_once('/').unwrap_or(("v1", api_version));
    if !is_subdomain(group) || !is_subdomain(version) {
        let rule = "must be a version such as v1, or group and version such as apps/v1";
        problems.push(Invalid::new(format!("{path}.apiVersion"), rule));
    }
    if kind.is_empty() || !kind.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        let rule = "must be the name of a kind, such as ConfigMap";
        problems.push(Invalid::new(format!("{path}.kind"), rule));
    }
}

/// Whether it is a name that most objects may have (RFC 1123).
pub(crate) fn is_subdomain(text: &str) -> bool {
    let is_outer = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_outer_at = |byte: Option<&u8>| byte.is_some_and(|byte| is_outer(*byte));
    let bytes = text.as_bytes();
    text.len() <= NAME_LENGTH_MAX
        && bytes.iter().all(|byte| is_outer(*byte) || b"-.".contains(byte))
        && is_outer_at(bytes.first())
        && is_outer_at(bytes.last())
}
