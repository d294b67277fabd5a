//! A ContainerSource as the user writes it, and its plan.

use channel::{Destination, Invalid, schema::Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{CloudEventOverrides, Overrides};

/// `spec` of a `sources.knative.dev/v1` ContainerSource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = RULES))]
pub struct ContainerSourceSpec {
    /// The pods that make events: a pod template, as a Deployment has one. Required.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub template: Map<String, Value>,
    /// What the pods are asked to set on every event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ce_overrides: Option<CloudEventOverrides>,
    /// Where events go. Required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<Destination>,
}

const RULES: [Rule; 2] = [
    Rule::new("has(self.sink)", "expected at least one, got none: spec.sink.ref, spec.sink.uri"),
    Rule::new("has(self.template)", "missing field(s): spec.template"),
];

/// A ContainerSource that is complete and valid, as far as that is known before a cluster has seen its pods,
/// but for where its sink is.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerPlan {
    /// The pod template; each of its containers has a name.
    pub template: Map<String, Value>,
}

impl ContainerPlan {
    /// Reads the spec of the ContainerSource `name`. Everything that is wrong in it is added to
    /// `problems`; the plan is there if nothing is.
    ///
    /// A container without a name gets the source's, and its place in the list.
    pub fn new(
        name: &str,
        spec: &ContainerSourceSpec,
        problems: &mut Vec<Invalid>,
    ) -> Option<Self> {
        let before = problems.len();
        let mut template = spec.template.clone();
        let pod = template.get_mut("spec").and_then(Value::as_object_mut);
        match pod.and_then(|pod| pod.get_mut("containers")).and_then(Value::as_array_mut) {
            Some(containers) if !containers.is_empty() => {
                for (index, container) in containers.iter_mut().enumerate() {
                    let path = format!("spec.template.spec.containers[{index}]");
                    complete(container, &format!("{name}-{index}"), &path, problems);
                }
            }
            _ => {
                let rule = "must list at least one container";
                problems.push(Invalid::new("spec.template.spec.containers", rule));
            }
        }
        Overrides::new(spec.ce_overrides.as_ref(), problems);
        spec.sink.clone().unwrap_or_default().check("spec.sink", problems);
        (problems.len() == before).then_some(Self { template })
    }
}

/// Names a container that has no name, and looks for its image.
fn complete(container: &mut Value, name: &str, path: &str, problems: &mut Vec<Invalid>) {
    let Some(fields) = container.as_object_mut() else {
        problems.push(Invalid::new(path.to_owned(), "must be a map"));
        return;
    };
    let text = |field: &str| fields.get(field).and_then(Value::as_str).unwrap_or_default();
    if text("image").is_empty() {
        problems.push(Invalid::new(format!("{path}.image"), "is required"));
    }
    if text("name").is_empty() {
        fields.insert("name".to_owned(), name.into());
    }
}
