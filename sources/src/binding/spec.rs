//! A SinkBinding as the user writes it, and its plan.

use channel::{
    Destination, Invalid, Name,
    schema::{API_VERSION_LENGTH_MAX, LABEL_LENGTH_MAX, NAME_LENGTH_MAX, Rule},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    CloudEventOverrides, LabelSelector, Overrides,
    objects::{KIND_RULES, check_kind, is_subdomain},
};

/// `spec` of a `sources.knative.dev/v1` SinkBinding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = RULES))]
pub struct SinkBindingSpec {
    /// The objects whose pods are told where their events go. Required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<SubjectSpec>,
    /// What the pods are asked to set on every event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ce_overrides: Option<CloudEventOverrides>,
    /// Where events go. Required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<Destination>,
}

const RULES: [Rule; 2] = [
    Rule::new("has(self.sink)", "expected at least one, got none: spec.sink.ref, spec.sink.uri"),
    Rule::new("has(self.subject)", "missing field(s): spec.subject"),
];

/// Objects with a pod template: one by its name, or all that have some labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = SUBJECT_RULES))]
pub struct SubjectSpec {
    /// Group and version of their kind, such as `apps/v1`. Required.
    #[schemars(extend("maxLength" = API_VERSION_LENGTH_MAX))]
    pub api_version: String,
    /// Their kind, such as `Deployment`. Required.
    #[schemars(extend("maxLength" = LABEL_LENGTH_MAX))]
    pub kind: String,
    /// Their namespace: that of the SinkBinding, which is the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = LABEL_LENGTH_MAX))]
    pub namespace: Option<String>,
    /// The name of one object.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = NAME_LENGTH_MAX))]
    pub name: Option<String>,
    /// The labels of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

const SUBJECT_RULES: [Rule; 4] = [
    KIND_RULES[0],
    KIND_RULES[1],
    Rule::new(
        "has(self.name) && self.name != '' || has(self.selector)",
        "expected exactly one, got neither: name, selector",
    ),
    Rule::new(
        "!(has(self.name) && self.name != '' && has(self.selector))",
        "expected exactly one, got both: name, selector",
    ),
];

/// Which objects of a kind are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one of this name.
    Named(String),
    /// Those with these labels.
    Labelled(LabelSelector),
}

/// The objects whose pods are told, checked. They are in the namespace of the SinkBinding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectPlan {
    /// Group and version of their kind.
    pub api_version: String,
    /// Their kind.
    pub kind: String,
    /// Which of that kind.
    pub which: Which,
}

/// A SinkBinding that is complete and valid, but for where its sink is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingPlan {
    /// What is told.
    pub subject: SubjectPlan,
}

impl BindingPlan {
    /// Reads the spec of the SinkBinding `name`. Everything that is wrong in it is added to
    /// `problems`; the plan is there if nothing is.
    pub fn new(name: &Name, spec: &SinkBindingSpec, problems: &mut Vec<Invalid>) -> Option<Self> {
        let before = problems.len();
        let subject = match &spec.subject {
            Some(subject) => subject.plan(&name.namespace, problems),
            None => {
                problems.push(Invalid::new("spec.subject", "is required"));
                None
            }
        };
        Overrides::new(spec.ce_overrides.as_ref(), problems);
        spec.sink.clone().unwrap_or_default().check("spec.sink", problems);
        subject.filter(|_| problems.len() == before).map(|subject| Self { subject })
    }
}

impl SubjectSpec {
    fn plan(&self, namespace: &str, problems: &mut Vec<Invalid>) -> Option<SubjectPlan> {
        check_kind(&self.api_version, &self.kind, "spec.subject", problems);
        let other = self.namespace.as_deref().filter(|it| !it.is_empty() && *it != namespace);
        if other.is_some() {
            let rule = format!("must be the namespace of the SinkBinding, {namespace}");
            problems.push(Invalid::new("spec.subject.namespace", rule));
        }
        let name = self.name.as_ref().filter(|name| !name.is_empty());
        let which = match (name, &self.selector) {
            (Some(name), None) => {
                if !is_subdomain(name) {
                    let rule = "must be a name: lower case letters, digits, '-' and '.'";
                    problems.push(Invalid::new("spec.subject.name", rule));
                }
                Which::Named(name.clone())
            }
            (None, Some(selector)) => {
                selector.text("spec.subject.selector", problems);
                Which::Labelled(selector.clone())
            }
            (name, _) => {
                let got = if name.is_some() { "both" } else { "neither" };
                let rule = format!("expected exactly one of name and selector, got {got}");
                problems.push(Invalid::new("spec.subject", rule));
                return None;
            }
        };
        let (api_version, kind) = (self.api_version.clone(), self.kind.clone());
        Some(SubjectPlan { api_version, kind, which })
    }
}
