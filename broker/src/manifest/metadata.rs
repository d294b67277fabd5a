//! `metadata`: any field of Kubernetes' ObjectMeta, of which a few are used.

use std::collections::BTreeMap;

use channel::{Invalid, Name};
use serde::{Deserialize, de::IgnoredAny};

/// A resource's metadata as written. What only a cluster uses is accepted, so that the output
/// of `kubectl get -o yaml` is a manifest.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(dead_code, reason = "the fields are the names that metadata may hold")]
pub(super) struct ObjectMeta {
    pub(super) name: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    cluster_name: IgnoredAny,
    creation_timestamp: IgnoredAny,
    deletion_grace_period_seconds: IgnoredAny,
    deletion_timestamp: IgnoredAny,
    finalizers: IgnoredAny,
    generate_name: IgnoredAny,
    generation: IgnoredAny,
    managed_fields: IgnoredAny,
    owner_references: Vec<OwnerReference>,
    resource_version: IgnoredAny,
    self_link: IgnoredAny,
    uid: IgnoredAny,
}

/// An object that another one belongs to.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(dead_code, reason = "the fields are the names that a reference may hold")]
struct OwnerReference {
    api_version: IgnoredAny,
    block_owner_deletion: IgnoredAny,
    controller: IgnoredAny,
    kind: String,
    name: String,
    uid: IgnoredAny,
}

impl ObjectMeta {
    /// Whether it belongs to an object of that kind that has its own name.
    pub(super) fn is_owned_by(&self, kind: &str) -> bool {
        let owners = self.owner_references.iter();
        let mut owners = owners.filter(|owner| owner.kind == kind);
        owners.any(|owner| Some(owner.name.as_str()) == self.name.as_deref())
    }

    /// The resource's name, `default` being the namespace when none is given.
    pub(super) fn name(&self) -> Result<Name, Vec<Invalid>> {
        let mut wrong = Vec::new();
        match self.name.as_deref() {
            None => wrong.push(Invalid::new("metadata.name", "is required")),
            Some(name) if !is_subdomain(name) => {
                wrong.push(Invalid::new("metadata.name", NAME_RULE));
            }
            Some(_) => {}
        }
        let namespace = self.namespace.as_deref().unwrap_or("default");
        if !is_label(namespace) {
            wrong.push(Invalid::new("metadata.namespace", NAMESPACE_RULE));
        }
        match &self.name {
            Some(name) if wrong.is_empty() => Ok(Name::new(namespace, name)),
            _ => Err(wrong),
        }
    }
}

const NAME_RULE: &str = "must be lower case letters, digits, '-' and '.', with a letter or digit \
                         at both ends of every part, at most 253 characters";
const NAMESPACE_RULE: &str = "must be lower case letters, digits and '-', with a letter or digit \
                              at both ends, at most 63 characters";

/// DNS-1123 label: at most 63 of `[a-z0-9-]`, beginning and ending with a letter or digit.
fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_part(text)
}

/// DNS-1123 subdomain: labels joined by dots, at most 253 in all.
pub(crate) fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_part)
}

fn is_part(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(allowed) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_dns_1123() {
        let long = "a".repeat(64);
        let cases = [
            ("a", true, true),
            ("my-broker-1", true, true),
            ("a.b", false, true),
            ("", false, false),
            ("A", false, false),
            ("a_b", false, false),
            ("-a", false, false),
            ("a-", false, false),
            ("a..b", false, false),
            (".a", false, false),
            ("ä", false, false),
            (long.as_str(), false, true),
        ];
        for (text, label, subdomain) in cases {
            assert_eq!((is_label(text), is_subdomain(text)), (label, subdomain), "{text}");
        }
    }
}
