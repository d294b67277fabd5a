//! The document of a channel, whatever its kind → what is asked for.

use channel::{Invalid, Reference};
use dispatcher::{DeliveryChoice, DeliverySpec};
use serde::{Deserialize, de::IgnoredAny};

use super::{
    finding::{Finding, join},
    kind::{Kind, MESSAGING},
    metadata::ObjectMeta,
    node::{Node, Value},
    template, typed,
};
use crate::spec::{ChannelChoice, ChannelKind};

/// A channel as its user defined it.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelDefinition {
    /// The kind of its object.
    pub kind: Kind,
    /// What keeps its events; [`ChannelChoice::Default`] for a Channel that leaves it open.
    pub choice: ChannelChoice,
    /// What holds for every subscription that has no delivery of its own.
    pub delivery: Option<DeliverySpec>,
    /// Whether it stands behind the Channel of its name, as a controller made it.
    pub is_backing: bool,
}

impl ChannelDefinition {
    /// Whether `reference` means this channel: by the kind of its object, or by that of the channel
    /// behind it. `default` is the process's.
    pub(crate) fn is_meant(&self, reference: &Reference, default: ChannelKind) -> bool {
        let kind = reference.kind.as_deref();
        names_channel(reference)
            && (kind == Some(self.kind.as_str())
                || kind == Some(self.choice.kind(default).as_str()))
    }

    /// Whether `other` is the object that a controller put behind this Channel.
    pub(super) fn stands_before(&self, other: &Self) -> bool {
        let is_asked_for = match (&self.choice, other.kind) {
            (ChannelChoice::Default, _) => true,
            (choice, Kind::Backing(kind)) => choice.kind(kind) == kind,
            _ => false,
        };
        self.kind == Kind::Channel && other.is_backing && is_asked_for
    }
}

/// Whether a reference is to a channel of any kind.
pub(crate) fn names_channel(reference: &Reference) -> bool {
    let kinds = Kind::CHANNELS.map(Kind::as_str);
    reference.kind.as_deref().is_some_and(|kind| kinds.contains(&kind))
        && reference.api_version.as_deref().is_some_and(|version| version.starts_with(MESSAGING))
}

/// Reads the `spec` of `node`, a channel of that kind; `path` is where it is in its document.
pub(super) fn read(
    kind: Kind,
    node: &Node,
    path: &str,
    metadata: Option<&ObjectMeta>,
) -> (Option<ChannelDefinition>, Vec<Finding>) {
    let mut wrong = Vec::new();
    let mut keep = |read: Result<ChannelChoice, Vec<Finding>>| {
        read.map_err(|findings| wrong.extend(findings)).ok()
    };
    let choice = match kind {
        Kind::Backing(kind) => keep(template::of_kind(kind, node, path)),
        _ => keep(plain(node, path)),
    };
    let given = |node: &'_ Node| !matches!(node.value, Value::Null);
    let spec = node.get("spec");
    let own = spec.and_then(|spec| spec.get("delivery")).filter(|node| given(node));
    let in_template = || {
        let template = spec?.get("channelTemplate")?.get("spec")?.get("delivery")?;
        given(template).then_some((template, "spec.channelTemplate.spec.delivery"))
    };
    let found = own.map(|node| (node, "spec.delivery")).or_else(in_template);
    let delivery = found.and_then(|(node_of, field)| {
        let (delivery, findings) = delivery(node, node_of, path, field);
        wrong.extend(findings);
        delivery
    });
    let is_backing = metadata.is_some_and(|metadata| metadata.is_owned_by("Channel"));
    let definition = choice.map(|choice| ChannelDefinition { kind, choice, delivery, is_backing });
    (definition, wrong)
}

/// Reads the `delivery` that is at `field` of `node`.
pub(super) fn delivery(
    node: &Node,
    at: &Node,
    path: &str,
    field: &str,
) -> (Option<DeliverySpec>, Vec<Finding>) {
    let (delivery, mut wrong) = typed::read(at, &join(path, field), node.locate(field));
    let mut invalid = Vec::new();
    if let Some(delivery) = &delivery {
        DeliveryChoice::new(delivery, field, &mut invalid);
    }
    wrong.extend(invalid.into_iter().map(|Invalid { field, rule }| {
        Finding::new(node.locate(&field), join(path, &field), rule)
    }));
    (delivery, wrong)
}

/// The names that the `spec` of a Channel may hold; each is read on its own.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(dead_code, reason = "the fields are the names that a spec may hold")]
struct PlainSpec {
    channel_template: IgnoredAny,
    delivery: IgnoredAny,
    subscribers: Vec<IgnoredAny>,
}

/// What a Channel asks for.
fn plain(node: &Node, path: &str) -> Result<ChannelChoice, Vec<Finding>> {
    let Some(spec) = node.get("spec").filter(|spec| !matches!(spec.value, Value::Null)) else {
        return Ok(ChannelChoice::Default);
    };
    let (read, mut wrong) =
        typed::read::<PlainSpec>(spec, &join(path, "spec"), node.locate_key("spec"));
    if read.is_some_and(|spec| !spec.subscribers.is_empty()) {
        let field = "spec.subscribers";
        let rule = "must not set the field(s): spec.subscribers";
        wrong.push(Finding::new(node.locate(field), join(path, field), rule));
    }
    let template = spec.get("channelTemplate").filter(|node| !matches!(node.value, Value::Null));
    let choice = template.map_or(Ok(ChannelChoice::Default), |template| {
        let field = join(path, "spec.channelTemplate");
        template::choose(template, template::Around::Kind).map_err(|findings| {
            let located = findings.into_iter();
            located.map(|it| Finding { field: join(&field, &it.field), ..it }).collect::<Vec<_>>()
        })
    });
    match choice {
        Ok(choice) if wrong.is_empty() => Ok(choice),
        Ok(_) => Err(wrong),
        Err(findings) => {
            wrong.extend(findings);
            Err(wrong)
        }
    }
}
