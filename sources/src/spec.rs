//! What the specs of all sources share.

use std::collections::BTreeMap;

use channel::{Draft, Invalid, Kind, SpecVersion, schema::Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::webhook::verify::Secret;

/// Extensions that may be set.
const EXTENSIONS_MAX: usize = 64;

/// Longest attribute that a user sets, or a request of a sender.
pub const ATTRIBUTE_BYTES_MAX: usize = 4096;

/// Attributes that the specification itself defines.
const CORE: [&str; 9] = [
    "id",
    "source",
    "type",
    "specversion",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "data",
];

/// Whether the specification itself defines an attribute.
pub(crate) fn is_core(name: &str) -> bool {
    CORE.contains(&name)
}

/// `ceOverrides`: what is set on every event of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CloudEventOverrides {
    /// Extension attributes and their values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = EXTENSIONS_MAX, "x-kubernetes-validations" = Self::RULES))]
    pub extensions: BTreeMap<String, String>,
}

impl CloudEventOverrides {
    const RULES: [Rule; 1] = [Rule::new(
        "self.all(name, name.matches('^[A-Za-z0-9]+$'))",
        "keys are expected to be alphanumeric",
    )];
}

/// Overrides that were checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides(Vec<(String, String)>);

impl Overrides {
    /// Reads `spec.ceOverrides`; what breaks a rule is added to `problems`.
    ///
    /// As in Knative, names may have upper-case letters; they are sent in lower case.
    pub fn new(spec: Option<&CloudEventOverrides>, problems: &mut Vec<Invalid>) -> Self {
        let mut overrides = Vec::new();
        let extensions = spec.map(|spec| &spec.extensions).into_iter().flatten();
        for (name, value) in extensions {
            let field = || format!("spec.ceOverrides.extensions.{name}");
            let lower = name.to_ascii_lowercase();
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                let field = "spec.ceOverrides.extensions";
                problems.push(Invalid::new(field, "keys are expected to be alphanumeric"));
            } else if is_core(&lower) {
                let rule = "must be an extension, not an attribute that CloudEvents itself defines";
                problems.push(Invalid::new(field(), rule));
            } else if value.len() > ATTRIBUTE_BYTES_MAX {
                problems.push(Invalid::new(field(), "must not be longer than 4096 bytes"));
            } else if let Err(invalid) =
                Draft::new(SpecVersion::V10).push_text(&lower, value, Kind::String)
            {
                problems.push(Invalid::new(field(), invalid.rule));
            } else {
                overrides.push((lower, value.clone()));
            }
        }
        if overrides.len() > EXTENSIONS_MAX {
            let rule = format!("must not have more than {EXTENSIONS_MAX} entries");
            problems.push(Invalid::new("spec.ceOverrides.extensions", rule));
        }
        Self(overrides)
    }

    /// Puts them on an event, over what it has of the same names.
    pub fn apply(&self, draft: &mut Draft) {
        for (name, value) in &self.0 {
            draft.set(name, value);
        }
    }
}

/// A value that is kept elsewhere because it is secret. Exactly one field may be set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecretSpec {
    /// A key of a Secret in the source's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeyRef>,
    /// A file whose content it is. Only in manifests: in a cluster the program's files are not its
    /// users'.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub file: Option<String>,
    /// An environment variable whose value it is. Only in manifests, as `file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub env: Option<String>,
}

/// Finds secrets: `None` while they cannot be known, an error, as a phrase, when they cannot be had.
pub type Resolve<'a> = dyn Fn(&SecretSpec) -> Result<Option<Secret>, String> + 'a;

/// The secret written at `path`, if nothing is wrong with it and it is known.
pub(crate) fn secret(
    spec: &SecretSpec,
    path: &str,
    resolve: &Resolve<'_>,
    problems: &mut Vec<Invalid>,
) -> Option<Secret> {
    let before = problems.len();
    spec.check(path, problems);
    if problems.len() > before {
        return None;
    }
    resolve(spec).unwrap_or_else(|rule| {
        problems.push(Invalid::new(path.to_owned(), rule));
        None
    })
}

/// A key of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
pub struct SecretKeyRef {
    /// Name of the Secret.
    pub name: String,
    /// The key in it.
    pub key: String,
}

impl SecretSpec {
    /// Adds what is wrong with the value written at `path` to `problems`.
    pub fn check(&self, path: &str, problems: &mut Vec<Invalid>) {
        let set = [self.secret_key_ref.is_some(), self.file.is_some(), self.env.is_some()];
        match set.iter().filter(|&&is_set| is_set).count() {
            0 => problems.push(Invalid::new(
                path.to_owned(),
                "expected exactly one, got neither: secretKeyRef, file, env",
            )),
            1 => {}
            _ => problems.push(Invalid::new(
                path.to_owned(),
                "expected exactly one, got several: secretKeyRef, file, env",
            )),
        }
        let Some(reference) = &self.secret_key_ref else { return };
        for (field, value) in [("name", &reference.name), ("key", &reference.key)] {
            if value.is_empty() {
                problems.push(Invalid::new(
                    format!("{path}.secretKeyRef.{field}"),
                    "must not be empty",
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overrides(names: &[&str]) -> (Overrides, Vec<String>) {
        let extensions = names.iter().map(|name| ((*name).to_owned(), "x".to_owned())).collect();
        let mut problems = Vec::new();
        let overrides = Overrides::new(Some(&CloudEventOverrides { extensions }), &mut problems);
        (overrides, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn extensions_are_set_in_lower_case_over_those_of_the_event() {
        let (overrides, problems) = overrides(&["Region", "zone1"]);
        assert!(problems.is_empty(), "{problems:?}");
        let mut draft = Draft::new(SpecVersion::V10);
        draft.set("region", "old");
        overrides.apply(&mut draft);
        assert_eq!((draft.get("region"), draft.get("zone1")), (Some("x"), Some("x")));
    }

    #[test]
    fn names_that_cannot_be_extensions_are_told() {
        let (_, problems) = overrides(&["my-name", "Type", "data"]);
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems.iter().any(|it| it.contains("keys are expected to be alphanumeric")));
    }

    #[test]
    fn a_secret_comes_from_one_place() {
        let check = |spec: SecretSpec| {
            let mut problems = Vec::new();
            spec.check("spec.secretToken", &mut problems);
            problems.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let env = Some("TOKEN".to_owned());
        let file = Some("/run/token".to_owned());
        assert!(check(SecretSpec { env: env.clone(), ..SecretSpec::default() }).is_empty());
        assert_eq!(check(SecretSpec { env, file, ..SecretSpec::default() }).len(), 1);
        assert_eq!(
            check(SecretSpec {
                secret_key_ref: Some(SecretKeyRef { name: "a".to_owned(), key: String::new() }),
                ..SecretSpec::default()
            }),
            ["spec.secretToken.secretKeyRef.key: must not be empty"]
        );
    }
}
