//! The ConfigMap that says what a Channel without a template is, for a whole process.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use ::channel::Name;
use dispatcher::DeliverySpec;
use serde::{Deserialize, de::IgnoredAny};

use super::{
    channel,
    document::within,
    documents,
    finding::{Finding, join},
    node::{Node, Value},
    problem::Position,
    resource::{ConfigMap, Resource, Resources},
    template, typed,
};
use crate::spec::ChannelChoice;

/// The name of the ConfigMap, and the namespaces where it is looked for: this program's, then Knative's.
const NAME: &str = "default-ch-webhook";
const NAMESPACES: [&str; 2] = ["catchment", "knative-eventing"];

/// The key with the defaults.
pub(super) const FIELD: &str = "data.default-ch-config";

/// What a Channel is that does not say.
#[derive(Clone, Debug, Default)]
pub(super) struct Defaults {
    pub(super) choice: ChannelChoice,
    pub(super) delivery: Option<DeliverySpec>,
}

impl Defaults {
    /// Changes the hash of a resource that these became a part of.
    pub(super) fn mix(&self, hash: u64) -> u64 {
        let mut hasher = DefaultHasher::new();
        // A spec has no hash of its own; its text is the same as long as it is.
        (hash, format!("{self:?}")).hash(&mut hasher);
        hasher.finish()
    }
}

/// Where the ConfigMap may be, the one that counts first.
pub(crate) fn places() -> [Name; 2] {
    NAMESPACES.map(|namespace| Name::new(namespace, NAME))
}

/// The ConfigMap among the resources, if it is there.
pub(super) fn find(resources: &Resources) -> Option<&Resource<ConfigMap>> {
    let maps = &resources.config_maps;
    let found = NAMESPACES.iter().find_map(|namespace| maps.get(&Name::new(*namespace, NAME)));
    found.map(|found| &**found)
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(dead_code, reason = "the fields are the names that the text may hold")]
struct Written {
    cluster_default: IgnoredAny,
    namespace_defaults: IgnoredAny,
}

/// What holds in `namespace`: its own default, else that of all; the process's when there is neither.
///
/// # Errors
///
/// What is wrong with it, where it stands in the file.
pub(super) fn of_namespace(
    config_map: &Resource<ConfigMap>,
    namespace: &str,
) -> Result<Defaults, Vec<Finding>> {
    let Some(text) = config_map.spec.data.get("default-ch-config") else {
        return Ok(Defaults::default());
    };
    let at = config_map.place(FIELD);
    read(text, namespace).map_err(|wrong| located(wrong, at))
}

fn located(wrong: Vec<Finding>, at: Position) -> Vec<Finding> {
    let located = |finding: Finding| Finding {
        at: within(at, finding.at),
        field: join(FIELD, &finding.field),
        ..finding
    };
    wrong.into_iter().map(located).collect()
}

fn read(text: &str, namespace: &str) -> Result<Defaults, Vec<Finding>> {
    let mut documents = Vec::new();
    documents::parse(text, |document| {
        documents.push(document);
        documents.len() < 2
    });
    let node = match documents.as_slice() {
        [] => return Ok(Defaults::default()),
        [Ok(node)] if matches!(node.value, Value::Map(_)) => node,
        [Err(error), ..] | [_, Err(error)] => {
            return Err(vec![Finding::new(error.at, "", error.message.as_str())]);
        }
        _ => {
            let rule = "must be one mapping with clusterDefault and namespaceDefaults";
            return Err(vec![Finding::new(Position::START, "", rule)]);
        }
    };
    let (_, wrong) = typed::read::<Written>(node, "", node.at);
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let given = |node: &&Node| !matches!(node.value, Value::Null);
    let of_namespace = node.get("namespaceDefaults").and_then(|all| all.get(namespace));
    let of_namespace =
        of_namespace.filter(given).map(|node| (node, format!("namespaceDefaults.{namespace}")));
    let of_all = node.get("clusterDefault").filter(given);
    let chosen = of_namespace.or_else(|| of_all.map(|node| (node, "clusterDefault".to_owned())));
    chosen.map_or_else(|| Ok(Defaults::default()), |(node, path)| one(node, &path))
}

/// One default: a template, and `delivery` beside it.
fn one(node: &Node, path: &str) -> Result<Defaults, Vec<Finding>> {
    let choice = template::choose(node, template::Around::Delivery).map_err(|wrong| {
        let in_text = |it: Finding| Finding { field: join(path, &it.field), ..it };
        wrong.into_iter().map(in_text).collect::<Vec<_>>()
    })?;
    let delivery = node.get("delivery").filter(|node| !matches!(node.value, Value::Null));
    let (delivery, wrong) = delivery
        .map_or((None, Vec::new()), |delivery| channel::delivery(node, delivery, path, "delivery"));
    if wrong.is_empty() { Ok(Defaults { choice, delivery }) } else { Err(wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ChannelKind;

    const BOTH: &str = "\
clusterDefault:
  apiVersion: messaging.knative.dev/v1
  kind: InMemoryChannel
namespaceDefaults:
  shop:
    apiVersion: messaging.knative.dev/v1beta1
    kind: KafkaChannel
    spec: {numPartitions: 3}
    delivery: {retry: 4}
";

    #[test]
    fn a_namespace_comes_before_all() {
        let kind = |namespace| {
            let read = read(BOTH, namespace).unwrap();
            (read.choice.kind(ChannelKind::Disk), read.delivery.and_then(|it| it.retry))
        };
        assert_eq!(kind("shop"), (ChannelKind::Kafka, Some(4)));
        assert_eq!(kind("other"), (ChannelKind::Memory, None));
        assert_eq!(read("", "shop").unwrap().choice, ChannelChoice::Default);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, field, line) in [
            (
                BOTH.replace("numPartitions", "partitions"),
                "namespaceDefaults.shop.spec.partitions",
                8,
            ),
            (BOTH.replace("retry: 4", "retry: -1"), "namespaceDefaults.shop.delivery.retry", 9),
            (BOTH.replace("clusterDefault", "clusterdefault"), "clusterdefault", 1),
        ] {
            let wrong = read(&text, "shop").unwrap_err();
            assert_eq!((wrong[0].field.as_str(), wrong[0].at.line), (field, line), "{text}");
        }
    }
}
