//! A selector of labels → its text, as an API server is asked for it, and what fits it.

use std::collections::BTreeMap;

use channel::{Invalid, schema::Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Labels and conditions that one selector may have.
const REQUIREMENTS_MAX: usize = 64;

/// Values that one condition may list.
const VALUES_MAX: usize = 256;

/// Longest name of a label with its prefix, and room to spare.
const KEY_LENGTH_MAX: usize = 317;

/// Longest value of a label.
const VALUE_LENGTH_MAX: usize = 63;

/// Which objects are meant, by their labels. An empty one means all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// Labels and the values that they must have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = REQUIREMENTS_MAX))]
    pub match_labels: BTreeMap<String, String>,
    /// Conditions that must all hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = REQUIREMENTS_MAX))]
    pub match_expressions: Vec<Requirement>,
}

/// One condition of a selector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = Self::RULES))]
pub struct Requirement {
    /// The label.
    #[schemars(extend("maxLength" = KEY_LENGTH_MAX))]
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    #[schemars(extend("maxLength" = VALUE_LENGTH_MAX))]
    pub operator: String,
    /// The values of `In` and `NotIn`; none of the others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = VALUES_MAX))]
    pub values: Vec<String>,
}

impl Requirement {
    const RULES: [Rule; 2] = [
        Rule::new(
            "self.operator in ['In', 'NotIn', 'Exists', 'DoesNotExist']",
            "operator: must be In, NotIn, Exists or DoesNotExist",
        ),
        Rule::new(
            "!(self.operator in ['In', 'NotIn']) || has(self.values) && self.values.size() > 0",
            "values: must not be empty for In and NotIn",
        ),
    ];
}

impl Requirement {
    /// Whether a label with this value, or its absence, is what is asked for.
    fn holds(&self, value: Option<&String>) -> bool {
        let is_listed = value.is_some_and(|value| self.values.contains(value));
        match &*self.operator {
            "In" => is_listed,
            "NotIn" => !is_listed,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    }
}

impl LabelSelector {
    /// The text, empty for all objects; what is wrong with it as written at `path` is added to
    /// `problems`.
    pub(crate) fn text(&self, path: &str, problems: &mut Vec<Invalid>) -> String {
        let mut parts = Vec::new();
        for (key, value) in &self.match_labels {
            check_key(key, &format!("{path}.matchLabels"), problems);
            check_value(value, &format!("{path}.matchLabels.{key}"), problems);
            parts.push(format!("{key}={value}"));
        }
        for (index, one) in self.match_expressions.iter().enumerate() {
            let path = format!("{path}.matchExpressions[{index}]");
            check_key(&one.key, &format!("{path}.key"), problems);
            let values_at = format!("{path}.values");
            for value in &one.values {
                check_value(value, &values_at, problems);
            }
            let takes_values = matches!(&*one.operator, "In" | "NotIn");
            if takes_values == one.values.is_empty() {
                let rule = if takes_values {
                    "must not be empty for In and NotIn"
                } else {
                    "must be empty for Exists and DoesNotExist"
                };
                problems.push(Invalid::new(values_at, rule));
            }
            let Requirement { key, .. } = one;
            match &*one.operator {
                "In" => parts.push(format!("{key} in ({})", one.values.join(","))),
                "NotIn" => parts.push(format!("{key} notin ({})", one.values.join(","))),
                "Exists" => parts.push(key.clone()),
                "DoesNotExist" => parts.push(format!("!{key}")),
                _ => {
                    let rule = "must be In, NotIn, Exists or DoesNotExist";
                    problems.push(Invalid::new(format!("{path}.operator"), rule));
                }
            }
        }
        if parts.len() > REQUIREMENTS_MAX {
            let rule = format!("must not have more than {REQUIREMENTS_MAX} labels and conditions");
            problems.push(Invalid::new(path.to_owned(), rule));
        }
        parts.join(",")
    }

    /// Whether an object with these labels is meant.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let has_label =
            |(key, value): (&String, &String)| labels.get(key).is_some_and(|it| it == value);
        self.match_labels.iter().all(has_label)
            && self.match_expressions.iter().all(|one| one.holds(labels.get(&one.key)))
    }
}

/// `name`, or `prefix.example.com/name`.
fn check_key(key: &str, path: &str, problems: &mut Vec<Invalid>) {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let is_prefix = |text: &str| {
        let is_of = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        !text.is_empty() && text.bytes().all(|byte| is_of(byte) || b".-".contains(&byte))
    };
    if name.is_empty() || !is_label(name) || prefix.is_some_and(|prefix| !is_prefix(prefix)) {
        problems.push(Invalid::new(path.to_owned(), format!("{key:?} is no name of a label")));
    }
}

fn check_value(value: &str, path: &str, problems: &mut Vec<Invalid>) {
    if !is_label(value) {
        problems.push(Invalid::new(path.to_owned(), format!("{value:?} is no value of a label")));
    }
}

fn is_label(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_outer = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    text.len() <= VALUE_LENGTH_MAX
        && bytes.iter().copied().all(is_inner)
        && is_outer(bytes.first())
        && is_outer(bytes.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_labels_and_conditions_must_fit() {
        let labels: BTreeMap<String, String> =
            [("app", "till"), ("tier", "a")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let fits = |selector: serde_json::Value| {
            let selector: LabelSelector = serde_json::from_value(selector).unwrap();
            selector.matches(&labels)
        };
        let one = |key: &str, operator: &str, values: &[&str]| {
            fits(serde_json::json!({"matchLabels": {"app": "till"}, "matchExpressions": [
                {"key": key, "operator": operator, "values": values}]}))
        };
        assert!(fits(serde_json::json!({})));
        assert!(!fits(serde_json::json!({"matchLabels": {"app": "till", "tier": "b"}})));
        assert!(one("tier", "In", &["b", "a"]) && !one("tier", "In", &["b"]));
        assert!(!one("zone", "In", &["a"]) && one("zone", "NotIn", &["a"]));
        assert!(!one("tier", "NotIn", &["a"]));
        assert!(one("tier", "Exists", &[]) && !one("zone", "Exists", &[]));
        assert!(one("zone", "DoesNotExist", &[]) && !one("tier", "DoesNotExist", &[]));
    }
}
