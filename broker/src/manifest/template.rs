//! A ConfigMap's `channel-template-spec` → the channel that a broker asks for.

use serde::{Deserialize, de::IgnoredAny};

use super::{
    document::within,
    documents,
    finding::{Finding, join},
    node::{Node, Value},
    problem::{Position, nearest},
    typed,
};
use crate::spec::ChannelChoice;

/// The key of the ConfigMap that holds the template.
pub(super) const FIELD: &str = "data.channel-template-spec";

const GROUP: &str = "messaging.knative.dev/";
const KINDS: [&str; 4] = ["InMemoryChannel", "DiskChannel", "KafkaChannel", "NatsJetStreamChannel"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "the fields are the names that a template may hold")]
struct Template {
    api_version: String,
    kind: String,
    #[serde(default)]
    spec: InMemoryChannelSpec,
}

/// Knative's InMemoryChannel has these; delivery is the broker's and its triggers' here.
#[derive(Default, Deserialize)]
#[allow(dead_code, reason = "the fields are the names that a template may hold")]
struct InMemoryChannelSpec {
    #[serde(default)]
    delivery: IgnoredAny,
}

/// Reads a template; `at` is where its text begins in the file.
pub(super) fn read(text: &str, at: Position) -> Result<ChannelChoice, Vec<Finding>> {
    let mut documents = Vec::new();
    documents::parse(text, |document| {
        documents.push(document);
        documents.len() < 2
    });
    let node = match documents.as_slice() {
        [Ok(node)] if matches!(node.value, Value::Map(_)) => node,
        [Err(error), ..] | [_, Err(error)] => {
            return Err(vec![Finding::new(within(at, error.at), FIELD, error.message.as_str())]);
        }
        _ => {
            return Err(vec![Finding::new(
                at,
                FIELD,
                "must be one mapping with apiVersion, kind and spec",
            )]);
        }
    };
    choose(node).map_err(|wrong| {
        let located = |finding: Finding| Finding {
            at: within(at, finding.at),
            field: join(FIELD, &finding.field),
            ..finding
        };
        wrong.into_iter().map(located).collect()
    })
}

fn choose(node: &Node) -> Result<ChannelChoice, Vec<Finding>> {
    let say = |field: &str, message: String| Finding::new(node.locate(field), field, message);
    // The kind first: the spec of a channel that is not supported has fields of its own.
    if let Some(kind) = node.get("kind").and_then(Node::text) {
        if !KINDS.contains(&kind) {
            let message = format!("must be one of {}", KINDS.join(", "));
            return Err(vec![say("kind", message).meant(nearest(kind, KINDS))]);
        }
        if kind != "InMemoryChannel" {
            return Err(vec![say("kind", format!("{kind} is not supported by this build yet"))]);
        }
    }
    let template: Template = match typed::read(node, "", node.at) {
        (Some(template), wrong) if wrong.is_empty() => template,
        (_, wrong) => return Err(wrong),
    };
    if !template.api_version.starts_with(GROUP) {
        let message = format!("must be {GROUP}v1");
        return Err(vec![say("apiVersion", message)]);
    }
    Ok(ChannelChoice::InMemory)
}
