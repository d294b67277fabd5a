//! A ConfigMap's `channel-template-spec` → the channel that a broker asks for.

use channel::Invalid;
use serde::{Deserialize, de::IgnoredAny};

use super::{
    document::within,
    documents,
    finding::{Finding, join},
    kind::MESSAGING,
    node::{Node, Value},
    problem::{Position, nearest},
    typed,
};
use crate::spec::{
    ChannelChoice, ChannelKind, DiskChannelSpec, InMemoryChannelSpec, KafkaChannelSpec,
    NatsChannelSpec,
};

/// The key of the ConfigMap that holds the template.
pub(super) const FIELD: &str = "data.channel-template-spec";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Template {
    api_version: String,
    #[allow(dead_code, reason = "the fields are the names that a template may hold")]
    kind: String,
    #[serde(default)]
    #[allow(dead_code, reason = "the fields are the names that a template may hold")]
    spec: IgnoredAny,
}

/// The same in the defaults of Channels, where `delivery` stands beside it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "the fields are the names that a default may hold")]
struct BesideDelivery {
    api_version: String,
    kind: String,
    #[serde(default)]
    spec: IgnoredAny,
    #[serde(default)]
    delivery: IgnoredAny,
}

/// What may stand around a template's `spec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Around {
    /// `apiVersion` and `kind`.
    Kind,
    /// `delivery` too.
    Delivery,
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
    choose(node, Around::Kind).map_err(|wrong| {
        let located = |finding: Finding| Finding {
            at: within(at, finding.at),
            field: join(FIELD, &finding.field),
            ..finding
        };
        wrong.into_iter().map(located).collect()
    })
}

/// Reads a template that is part of a document; fields are named from it on.
pub(super) fn choose(node: &Node, around: Around) -> Result<ChannelChoice, Vec<Finding>> {
    let say = |field: &str, message: String| Finding::new(node.locate(field), field, message);
    // The kind first: the spec of each has fields of its own.
    let Some(written) = node.get("kind").and_then(Node::text) else {
        envelope(node, around)?;
        return Err(vec![say("kind", "is required".to_owned())]);
    };
    let Some(kind) = ChannelKind::ALL.into_iter().find(|kind| kind.as_str() == written) else {
        let kinds = ChannelKind::ALL.map(ChannelKind::as_str);
        let message = format!("must be one of {}", kinds.join(", "));
        return Err(vec![say("kind", message).meant(nearest(written, kinds))]);
    };
    envelope(node, around)?;
    of_kind(kind, node, "")
}

/// The choice that the `spec` of `node` makes: a template or an object of that kind, at `path` of its
/// document.
pub(super) fn of_kind(
    kind: ChannelKind,
    node: &Node,
    path: &str,
) -> Result<ChannelChoice, Vec<Finding>> {
    let mut invalid = Vec::new();
    let choice = match kind {
        ChannelKind::Memory => {
            spec::<InMemoryChannelSpec>(node, path)?;
            ChannelChoice::InMemory
        }
        ChannelKind::Disk => {
            let spec: DiskChannelSpec = spec(node, path)?;
            spec.check("spec", &mut invalid);
            ChannelChoice::Disk(spec)
        }
        ChannelKind::Kafka => {
            let spec: KafkaChannelSpec = spec(node, path)?;
            spec.check("spec", &mut invalid);
            ChannelChoice::Kafka(spec)
        }
        ChannelKind::Nats => {
            let spec: NatsChannelSpec = spec(node, path)?;
            spec.check("spec", &mut invalid);
            ChannelChoice::Nats(Box::new(spec))
        }
    };
    if invalid.is_empty() {
        return Ok(choice);
    }
    let found = |Invalid { field, rule }: Invalid| {
        Finding::new(node.locate(&field), join(path, &field), rule)
    };
    Err(invalid.into_iter().map(found).collect())
}

/// What stands around the `spec` of a template.
fn envelope(node: &Node, around: Around) -> Result<(), Vec<Finding>> {
    let (api_version, wrong) = match around {
        Around::Kind => {
            let (read, wrong) = typed::read::<Template>(node, "", node.at);
            (read.map(|it| it.api_version), wrong)
        }
        Around::Delivery => {
            let (read, wrong) = typed::read::<BesideDelivery>(node, "", node.at);
            (read.map(|it| it.api_version), wrong)
        }
    };
    let Some(api_version) = api_version.filter(|_| wrong.is_empty()) else { return Err(wrong) };
    if !api_version.starts_with(MESSAGING) {
        let message = format!("must be {MESSAGING}v1");
        return Err(vec![Finding::new(node.locate("apiVersion"), "apiVersion", message)]);
    }
    Ok(())
}

/// The `spec` of a template or an object.
fn spec<'n, S: Default + Deserialize<'n>>(node: &'n Node, path: &str) -> Result<S, Vec<Finding>> {
    let Some(spec) = node.get("spec").filter(|spec| !matches!(spec.value, Value::Null)) else {
        return Ok(S::default());
    };
    match typed::read(spec, &join(path, "spec"), node.locate_key("spec")) {
        (Some(spec), wrong) if wrong.is_empty() => Ok(spec),
        (_, wrong) => Err(wrong),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn template(rest: &str) -> Result<ChannelChoice, Vec<String>> {
        let text = format!("apiVersion: messaging.knative.dev/v1\n{rest}");
        let line = |finding: Finding| {
            let Finding { at, field, message, suggestion, .. } = finding;
            let field = field.trim_start_matches(FIELD).trim_start_matches('.').to_owned();
            let meant = suggestion.map_or(String::new(), |it| format!(" ({it}?)"));
            format!("{}:{} {field}: {message}{meant}", at.line, at.column)
        };
        read(&text, Position::START).map_err(|wrong| wrong.into_iter().map(line).collect())
    }

    #[test]
    fn every_kind_is_read() {
        assert_eq!(template("kind: InMemoryChannel\nspec:\n"), Ok(ChannelChoice::InMemory));
        let Ok(ChannelChoice::Kafka(kafka)) = template(
            "kind: KafkaChannel\nspec:\n  numPartitions: 3\n  replicationFactor: 1\n  \
             retentionDuration: PT168H\n  delivery: {retry: 3}\n",
        ) else {
            panic!("a KafkaChannel")
        };
        assert_eq!((kafka.num_partitions, kafka.replication_factor), (Some(3), Some(1)));
        assert_eq!(kafka.retention(), Some(Duration::from_secs(7 * 86_400)));
        let Ok(ChannelChoice::Disk(disk)) =
            template("kind: DiskChannel\nspec: {bytesMax: 2Gi, retentionDuration: P1D}\n")
        else {
            panic!("a DiskChannel")
        };
        assert_eq!(disk.bytes_max.unwrap().0, 2 << 30);
        assert_eq!(disk.retention(), Some(Duration::from_secs(86_400)));
        let Ok(ChannelChoice::Nats(nats)) = template(
            "kind: NatsJetStreamChannel\nspec:\n  stream:\n    config: {storage: Memory}\n  \
             consumerConfigTemplate: {rateLimitBPS: 0}\n",
        ) else {
            panic!("a NatsJetStreamChannel")
        };
        assert_eq!(nats.stream.config.storage, Some(crate::spec::Storage::Memory));
        for kind in ["DiskChannel", "KafkaChannel", "NatsJetStreamChannel"] {
            let bare = template(&format!("kind: {kind}\n"));
            assert_eq!(bare, template(&format!("kind: {kind}\nspec: {{subscribers: []}}\n")));
            assert!(bare.is_ok(), "{bare:?}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named_where_it_stands() {
        let kafka = |spec: &str| format!("kind: KafkaChannel\nspec:\n  {spec}\n");
        let disk = |spec: &str| format!("kind: DiskChannel\nspec:\n  {spec}\n");
        let nats = |spec: &str| format!("kind: NatsJetStreamChannel\nspec:\n  {spec}\n");
        for (rest, expected) in [
            (kafka("numPartitions: 0"), "4:18 spec.numPartitions: must be from 1 to 10000"),
            (
                kafka("numPartitions: many"),
                "4:18 spec.numPartitions: must be a whole number from -2147483648 to 2147483647, \
                 not a string",
            ),
            (kafka("replicationFactor: 0"), "4:22 spec.replicationFactor: must be from 1 to 32767"),
            (
                kafka("replicationFactor: 40000"),
                "4:22 spec.replicationFactor: must be a whole number from -32768 to 32767",
            ),
            (
                kafka("retentionDuration: 7d"),
                "4:22 spec.retentionDuration: must be an ISO 8601 duration such as PT0.2S or \
                 P1DT12H",
            ),
            (
                kafka("retentionDuration: PT0S"),
                "4:22 spec.retentionDuration: must be longer than zero",
            ),
            (kafka("numPartition: 3"), "4:3 spec.numPartition: unknown field (numPartitions?)"),
            (disk("bytesMax: 0"), "4:13 spec.bytesMax: must be at least 8Mi"),
            (
                disk("bytesMax: lots"),
                "4:13 spec.bytesMax: must be a number of bytes such as 65536 or 64Ki",
            ),
            (
                disk("retention: PT1H"),
                "4:3 spec.retention: unknown field; known here: bytesMax, \
                retentionDuration, retentionBytes, delivery, subscribers",
            ),
            (
                nats("stream: {config: {discard: Old}}"),
                "4:30 spec.stream.config.discard: must be New: a full stream refuses events, it \
                 never drops those it has",
            ),
            (
                nats("stream: {config: {storage: Files}}"),
                "4:30 spec.stream.config.storage: must be one of File, Memory (File?)",
            ),
            (
                nats("stream: {config: {maxAge: PT1H}}"),
                "4:29 spec.stream.config.maxAge: must be a duration as Go writes it, such as 30s \
                 or 1h30m",
            ),
            (
                nats("consumerConfigTemplate: {ackwait: 1s}"),
                "4:28 spec.consumerConfigTemplate.ackwait: unknown field (ackWait?)",
            ),
            ("spec: {}\n".to_owned(), "1:1 kind: is required"),
        ] {
            assert_eq!(template(&rest), Err(vec![expected.to_owned()]), "{rest}");
        }
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let wrong =
            template("kind: KafkaChannel\nspec: {numPartitions: 0, retentionDuration: x}\n");
        assert_eq!(wrong.unwrap_err().len(), 2);
    }
}
