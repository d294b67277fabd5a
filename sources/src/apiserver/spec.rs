//! An ApiServerSource as the user writes it, and its plan.

use channel::{
    Destination, Invalid,
    schema::{API_VERSION_LENGTH_MAX, LABEL_LENGTH_MAX, NAME_LENGTH_MAX, Rule},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    CloudEventOverrides, LabelSelector, Overrides,
    objects::{KIND_RULES, check_kind, is_subdomain},
    status::SourceStatus,
};

/// Most kinds of objects that one source may follow.
pub const RESOURCES_MAX: usize = 64;

/// Most filters of one source.
const FILTERS_MAX: usize = 1024;

/// Longest `mode`.
const MODE_LENGTH_MAX: usize = 16;

/// `spec` of a `sources.knative.dev/v1` ApiServerSource.
// Filters are of a type that whoever compiles them chooses: this crate knows none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = RULES))]
pub struct ApiServerSourceSpec<F: Default> {
    /// The objects to follow. At least one.
    #[schemars(extend("minItems" = 1, "maxItems" = RESOURCES_MAX))]
    pub resources: Vec<ResourceSpec>,
    /// Only objects whose controller is of this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerSpec>,
    /// What an event holds: `Reference`, the default, or `Resource`, the whole object.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = MODE_LENGTH_MAX))]
    pub mode: Option<String>,
    /// The service account, in the source's namespace, with whose rights objects are read. Default:
    /// `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = NAME_LENGTH_MAX))]
    pub service_account_name: Option<String>,
    /// The namespaces to look into, by their labels; an empty selector means all. Default: the
    /// source's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Conditions on events that must all hold, as those of a Trigger.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = FILTERS_MAX))]
    pub filters: Vec<F>,
    /// What is set on every event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ce_overrides: Option<CloudEventOverrides>,
    /// Where events go. Required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<Destination>,
}

const RULES: [Rule; 3] = [
    Rule::new("has(self.sink)", "expected at least one, got none: spec.sink.ref, spec.sink.uri"),
    Rule::new(
        "has(self.resources) && self.resources.size() > 0",
        "missing field(s): spec.resources",
    ),
    Rule::new(
        "!has(self.mode) || self.mode in ['', 'Reference', 'Resource']",
        "invalid value: spec.mode: must be Reference or Resource",
    ),
];

/// Objects to follow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = KIND_RULES))]
pub struct ResourceSpec {
    /// Group and version of their kind, such as `apps/v1`. Required.
    #[schemars(extend("maxLength" = API_VERSION_LENGTH_MAX))]
    pub api_version: String,
    /// Their kind. Required.
    #[schemars(extend("maxLength" = LABEL_LENGTH_MAX))]
    pub kind: String,
    /// Only those with these labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// A kind that controls objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = KIND_RULES))]
pub struct OwnerSpec {
    /// Its group and version. Required.
    #[schemars(extend("maxLength" = API_VERSION_LENGTH_MAX))]
    pub api_version: String,
    /// Its kind. Required.
    #[schemars(extend("maxLength" = LABEL_LENGTH_MAX))]
    pub kind: String,
}

/// `status` of an ApiServerSource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ApiServerSourceStatus {
    /// What every source says.
    #[serde(flatten)]
    pub source: SourceStatus,
    /// The namespaces that are looked into; the empty name stands for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
}

/// What an event holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// A reference to the object.
    #[default]
    Reference,
    /// The object.
    Resource,
}

/// Where objects are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespaces {
    /// In the source's namespace.
    Own,
    /// In all of them.
    All,
    /// In those whose labels fit this selector.
    Labelled(String),
}

/// Objects to follow, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourcePlan {
    /// Group and version of their kind.
    pub api_version: String,
    /// Their kind.
    pub kind: String,
    /// The selector of their labels, as an API server takes it.
    pub selector: Option<String>,
}

/// An ApiServerSource that is complete and valid, but for its filters and for where its sink is.
#[derive(Clone, Debug)]
pub struct ApiServerPlan {
    /// What it follows.
    pub resources: Vec<ResourcePlan>,
    /// Where.
    pub namespaces: Namespaces,
    /// With whose rights.
    pub service_account: String,
    pub(super) owner: Option<OwnerSpec>,
    pub(super) mode: Mode,
    pub(super) overrides: Overrides,
}

impl ApiServerPlan {
    /// Whether namespaces are found by their labels, so that they come and go.
    pub fn is_labelled(&self) -> bool {
        matches!(self.namespaces, Namespaces::Labelled(_))
    }

    /// Reads a spec. Everything that is wrong in it is added to `problems`; the plan is there if
    /// nothing is.
    pub fn new<F: Default>(
        spec: &ApiServerSourceSpec<F>,
        problems: &mut Vec<Invalid>,
    ) -> Option<Self> {
        let before = problems.len();
        let count = spec.resources.len();
        if count == 0 {
            problems.push(Invalid::new("spec.resources", "must name at least one kind of object"));
        } else if count > RESOURCES_MAX {
            let rule = format!("must not have more than {RESOURCES_MAX} elements");
            problems.push(Invalid::new("spec.resources", rule));
        }
        let mut resources: Vec<ResourcePlan> = Vec::new();
        for (index, resource) in spec.resources.iter().enumerate() {
            let path = format!("spec.resources[{index}]");
            check_kind(&resource.api_version, &resource.kind, &path, problems);
            let text = |it: &LabelSelector| it.text(&format!("{path}.selector"), problems);
            let selector = resource.selector.as_ref().map(text).filter(|text| !text.is_empty());
            let plan = ResourcePlan {
                api_version: resource.api_version.clone(),
                kind: resource.kind.clone(),
                selector,
            };
            if resources.contains(&plan) {
                problems.push(Invalid::new(path, "is there twice"));
            }
            resources.push(plan);
        }
        if let Some(owner) = &spec.owner {
            check_kind(&owner.api_version, &owner.kind, "spec.owner", problems);
        }
        let mode = match spec.mode.as_deref().unwrap_or_default() {
            "" | "Reference" => Mode::Reference,
            "Resource" => Mode::Resource,
            _ => {
                problems.push(Invalid::new("spec.mode", "must be Reference or Resource"));
                Mode::Reference
            }
        };
        let account = spec.service_account_name.as_deref().filter(|name| !name.is_empty());
        let service_account = account.unwrap_or("default").to_owned();
        if !is_subdomain(&service_account) {
            let rule = "must be a name: lower case letters, digits, '-' and '.'";
            problems.push(Invalid::new("spec.serviceAccountName", rule));
        }
        let namespaces = match &spec.namespace_selector {
            None => Namespaces::Own,
            Some(selector) => match selector.text("spec.namespaceSelector", problems) {
                text if text.is_empty() => Namespaces::All,
                text => Namespaces::Labelled(text),
            },
        };
        let overrides = Overrides::new(spec.ce_overrides.as_ref(), problems);
        spec.sink.clone().unwrap_or_default().check("spec.sink", problems);
        let owner = spec.owner.clone();
        let plan = Self { resources, namespaces, service_account, owner, mode, overrides };
        (problems.len() == before).then_some(plan)
    }
}
