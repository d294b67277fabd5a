//! One resource's document → its checked content, by kind.

use std::{collections::BTreeMap, sync::Arc};

use ::channel::{Invalid, Name};
use base64::Engine;
use dispatcher::{SubscriptionSpec, TriggerOptions, TriggerSpec};
use serde::{Deserialize, de::IgnoredAny};

use super::{
    channel::{self, ChannelDefinition},
    document::Any,
    finding::{Finding, join},
    kind::Kind,
    metadata::ObjectMeta,
    node::{Node, Value},
    problem::Severity,
    resource::{ConfigMap, Resource, Secret},
    source::{SourceKind, SourceSpec},
    subscription, trigger, typed,
};
use crate::spec::{self, BrokerSpec};

/// A resource without its metadata.
pub(super) enum Body {
    Broker(Box<BrokerSpec>),
    Trigger(Box<TriggerSpec>),
    Channel(Box<ChannelDefinition>),
    Subscription(Box<SubscriptionSpec>),
    Source(Box<SourceSpec>),
    ConfigMap(ConfigMap),
    Secret(Secret),
}

impl Body {
    /// The whole resource.
    pub(super) fn in_shell(self, shell: Resource<()>) -> Any {
        match self {
            Self::Broker(spec) => Any::Broker(Arc::new(shell.with(*spec))),
            Self::Trigger(spec) => Any::Trigger(Arc::new(shell.with(*spec))),
            Self::Channel(spec) => Any::Channel(Arc::new(shell.with(*spec))),
            Self::Subscription(spec) => Any::Subscription(Arc::new(shell.with(*spec))),
            Self::Source(spec) => Any::Source(Arc::new(shell.with(*spec))),
            Self::ConfigMap(spec) => Any::ConfigMap(Arc::new(shell.with(spec))),
            Self::Secret(spec) => Any::Secret(Arc::new(shell.with(spec))),
        }
    }
}

/// One resource being read: its parts one by one, so that a wrong one hides no other.
pub(super) struct Reader<'a> {
    /// Its document.
    node: &'a Node,
    /// Where that is in its file's document.
    path: &'a str,
    /// What is wrong with it.
    wrong: Vec<Finding>,
}

impl<'a> Reader<'a> {
    /// Begins to read the resource `node`, which is at `path` of its document.
    pub(super) fn new(node: &'a Node, path: &'a str) -> Self {
        Self { node, path, wrong: Vec::new() }
    }

    /// What was found wrong on the way.
    pub(super) fn into_findings(self) -> Vec<Finding> {
        self.wrong
    }

    /// The resource's own content by its kind; `None` when it is wrong.
    pub(super) fn body(
        &mut self,
        kind: Kind,
        metadata: Option<&(Name, ObjectMeta)>,
    ) -> Option<Body> {
        match kind {
            Kind::Broker => self.broker(),
            Kind::Trigger => self.trigger(),
            Kind::Channel | Kind::Backing(_) => self.channel(kind, metadata.map(|(_, it)| it)),
            Kind::Subscription => self.subscription(metadata.map(|(name, _)| name)),
            Kind::Source(kind) => {
                self.source(kind, metadata.map(|(name, _)| name), metadata.map(|(_, it)| it))
            }
            Kind::ConfigMap => self.config_map(),
            Kind::Secret => self.secret(),
        }
    }

    fn whole<T: Deserialize<'a>>(&mut self) -> Option<T> {
        let (value, wrong) = typed::read(self.node, self.path, self.node.at);
        self.wrong.extend(wrong);
        value
    }

    /// The value of a field; `absent` if it is not given, `None` if it is wrong.
    fn part<T: Deserialize<'a>>(&mut self, field: &str, absent: Option<T>) -> Option<T> {
        match self.node.get(field) {
            None | Some(Node { value: Value::Null, .. }) => absent,
            Some(node) => {
                let (path, at) = (join(self.path, field), self.node.locate_key(field));
                let (value, wrong) = typed::read(node, &path, at);
                self.wrong.extend(wrong);
                value
            }
        }
    }

    fn say(&mut self, severity: Severity, field: &str, message: impl Into<String>) {
        let finding = Finding::new(self.node.locate(field), join(self.path, field), message);
        self.wrong.push(Finding { severity, ..finding });
    }

    fn check(&mut self, invalid: Vec<Invalid>) {
        for Invalid { field, rule } in invalid {
            self.say(Severity::Error, &field, rule);
        }
    }

    /// Name and metadata; `None` when they are wrong.
    pub(super) fn metadata(&mut self) -> Option<(Name, ObjectMeta)> {
        let metadata = self.part("metadata", Some(ObjectMeta::default()))?;
        match metadata.name() {
            Ok(name) => Some((name, metadata)),
            Err(invalid) => {
                self.check(invalid);
                None
            }
        }
    }

    fn annotations(&self) -> BTreeMap<String, String> {
        let annotations = self.node.get("metadata").and_then(|node| node.get("annotations"));
        let entries = annotations.map_or(&[][..], Node::entries).iter();
        entries
            .filter_map(|entry| Some((entry.key.clone(), entry.value.text()?.to_owned())))
            .collect()
    }

    fn broker(&mut self) -> Option<Body> {
        self.whole::<WithSpec>();
        if let Some(class) = spec::foreign_class(&self.annotations()) {
            let field = format!("metadata.annotations.{}", spec::CLASS_ANNOTATION);
            let message = format!("class {class} is run as {}", spec::CLASS);
            self.say(Severity::Note, &field, message);
        }
        let spec: BrokerSpec = self.part("spec", Some(BrokerSpec::default()))?;
        let mut invalid = Vec::new();
        spec.check(&mut invalid);
        self.check(invalid);
        Some(Body::Broker(Box::new(spec)))
    }

    fn trigger(&mut self) -> Option<Body> {
        self.needs_spec()?;
        let spec: TriggerSpec = self.part("spec", None)?;
        let mut invalid = Vec::new();
        trigger::check(&spec, &mut invalid);
        TriggerOptions::read(&self.annotations(), &mut invalid);
        self.check(invalid);
        for doubt in trigger::doubts(&spec) {
            self.say(Severity::Warning, &doubt.field, doubt.message);
        }
        Some(Body::Trigger(Box::new(spec)))
    }

    /// Says so when there is no `spec`.
    fn needs_spec(&mut self) -> Option<()> {
        self.whole::<WithSpec>();
        if self.node.get("spec").is_none_or(|node| matches!(node.value, Value::Null)) {
            self.say(Severity::Error, "spec", "is required");
            return None;
        }
        Some(())
    }

    fn channel(&mut self, kind: Kind, metadata: Option<&ObjectMeta>) -> Option<Body> {
        self.whole::<WithSpec>();
        let (definition, wrong) = channel::read(kind, self.node, self.path, metadata);
        self.wrong.extend(wrong);
        Some(Body::Channel(Box::new(definition?)))
    }

    fn subscription(&mut self, name: Option<&Name>) -> Option<Body> {
        self.needs_spec()?;
        let spec: SubscriptionSpec = self.part("spec", None)?;
        let mut invalid = Vec::new();
        let namespace = name.map_or("default", |name| name.namespace.as_str());
        subscription::check(&spec, namespace, &mut invalid);
        TriggerOptions::read(&self.annotations(), &mut invalid);
        self.check(invalid);
        Some(Body::Subscription(Box::new(spec)))
    }

    fn source(
        &mut self,
        kind: SourceKind,
        name: Option<&Name>,
        metadata: Option<&ObjectMeta>,
    ) -> Option<Body> {
        self.needs_spec()?;
        let spec = match kind {
            SourceKind::Ping => SourceSpec::Ping(self.part("spec", None)?),
            SourceKind::GitHub => SourceSpec::GitHub(self.part("spec", None)?),
            SourceKind::Kafka => SourceSpec::Kafka(self.part("spec", None)?),
            SourceKind::Webhook => SourceSpec::Webhook(self.part("spec", None)?),
            SourceKind::ApiServer => SourceSpec::ApiServer(self.part("spec", None)?),
            SourceKind::SinkBinding => SourceSpec::SinkBinding(self.part("spec", None)?),
            SourceKind::Container => SourceSpec::Container(self.part("spec", None)?),
        };
        let mut invalid = Vec::new();
        let unnamed = Name::new("default", "");
        let labels = metadata.map(|metadata| metadata.labels.clone()).unwrap_or_default();
        spec.check(name.unwrap_or(&unnamed), &labels, &mut invalid);
        self.check(invalid);
        Some(Body::Source(Box::new(spec)))
    }

    fn config_map(&mut self) -> Option<Body> {
        let written: WrittenConfigMap = self.whole()?;
        let (binary_data, wrong) = decode(written.binary_data, "binaryData");
        self.check(wrong);
        Some(Body::ConfigMap(ConfigMap { data: written.data, binary_data }))
    }

    fn secret(&mut self) -> Option<Body> {
        let written: WrittenSecret = self.whole()?;
        let (data, wrong) = decode(written.data, "data");
        self.check(wrong);
        let texts = written.string_data.into_iter().map(|(key, text)| (key, text.into_bytes()));
        let all = data.into_iter().chain(texts);
        let data = all.map(|(key, value)| (key, ::sources::Secret::new(value))).collect();
        Some(Body::Secret(Secret { data }))
    }
}

fn decode(
    written: BTreeMap<String, String>,
    field: &str,
) -> (BTreeMap<String, Vec<u8>>, Vec<Invalid>) {
    let mut decoded = BTreeMap::new();
    let mut wrong = Vec::new();
    for (key, text) in written {
        let text: String = text.split_ascii_whitespace().collect();
        match base64::engine::general_purpose::STANDARD.decode(text) {
            Ok(bytes) => {
                decoded.insert(key, bytes);
            }
            Err(_) => wrong.push(Invalid::new(format!("{field}.{key}"), "must be base64")),
        }
    }
    (decoded, wrong)
}

/// The fields of a document with `spec`; each part is read on its own.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(dead_code, reason = "the fields are the names that a document may hold")]
struct WithSpec {
    api_version: IgnoredAny,
    kind: IgnoredAny,
    metadata: IgnoredAny,
    spec: IgnoredAny,
    status: IgnoredAny,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(dead_code, reason = "the fields are the names that a document may hold")]
struct WrittenConfigMap {
    api_version: IgnoredAny,
    kind: IgnoredAny,
    metadata: IgnoredAny,
    data: BTreeMap<String, String>,
    binary_data: BTreeMap<String, String>,
    immutable: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(dead_code, reason = "the fields are the names that a document may hold")]
struct WrittenSecret {
    api_version: IgnoredAny,
    kind: IgnoredAny,
    metadata: IgnoredAny,
    #[serde(rename = "type")]
    ty: IgnoredAny,
    data: BTreeMap<String, String>,
    string_data: BTreeMap<String, String>,
    immutable: bool,
}
