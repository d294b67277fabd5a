//! The text of one file → its resources, and everything that is wrong with them.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
    sync::Arc,
};

use channel::Name;
use dispatcher::{SubscriptionSpec, TriggerSpec};

use super::{
    body::Reader,
    channel::ChannelDefinition,
    defaults, documents,
    finding::{Finding, join},
    kind::{self, Kind, Verdict},
    metadata::ObjectMeta,
    node::{Node, Value},
    problem::{Position, Problem, Severity},
    resource::{ConfigMap, Origin, Resource, Secret},
    source::SourceSpec,
    template,
};
use crate::spec::BrokerSpec;

/// Fields that other resources decide about: their places are kept.
const PLACES: [&str; 9] = [
    "spec.config.name",
    "spec.broker",
    "spec.brokerRef.name",
    "spec.channel.name",
    "spec.sink.ref.name",
    "spec.secretToken.secretKeyRef.name",
    "spec.accessToken.secretKeyRef.name",
    template::FIELD,
    defaults::FIELD,
];

/// Problems reported of one file; after so many the rest of it is not read.
const PROBLEMS_MAX: usize = 100;

/// What one file says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    /// Its valid resources.
    pub(crate) items: Vec<Item>,
    /// What is wrong in it.
    pub(crate) problems: Vec<Problem>,
    /// What else it defines.
    pub(crate) bad: Bad,
}

/// What files define but wrongly: nobody needs to be told that it is not defined.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bad {
    /// Resources with something wrong in them.
    names: BTreeSet<(Kind, Name)>,
    /// Whether there is a document that could not be read at all.
    is_cut: bool,
}

impl Bad {
    /// Whether such a resource may be among them.
    pub(crate) fn may_be(&self, kind: Kind, name: &Name) -> bool {
        self.is_cut || self.names.contains(&(kind.of_names(), name.clone()))
    }

    /// Adds what is bad in another file.
    pub(crate) fn extend(&mut self, other: &Self) {
        self.names.extend(other.names.iter().cloned());
        self.is_cut |= other.is_cut;
    }
}

/// One valid resource of a file.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// Its name.
    pub(crate) name: Name,
    /// What it is.
    pub(crate) resource: Any,
}

/// A resource of any kind.
#[derive(Clone, Debug)]
pub(crate) enum Any {
    /// A Broker.
    Broker(Arc<Resource<BrokerSpec>>),
    /// A Trigger.
    Trigger(Arc<Resource<TriggerSpec>>),
    /// A channel of any kind.
    Channel(Arc<Resource<ChannelDefinition>>),
    /// A Subscription.
    Subscription(Arc<Resource<SubscriptionSpec>>),
    /// A source of any kind.
    Source(Arc<Resource<SourceSpec>>),
    /// A ConfigMap.
    ConfigMap(Arc<Resource<ConfigMap>>),
    /// A Secret.
    Secret(Arc<Resource<Secret>>),
}

impl Any {
    /// Its kind.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Broker(_) => Kind::Broker,
            Self::Trigger(_) => Kind::Trigger,
            Self::Channel(channel) => channel.spec.kind,
            Self::Subscription(_) => Kind::Subscription,
            Self::Source(source) => Kind::Source(source.spec.kind()),
            Self::ConfigMap(_) => Kind::ConfigMap,
            Self::Secret(_) => Kind::Secret,
        }
    }

    /// Where it was written.
    pub(crate) fn origin(&self) -> &Origin {
        match self {
            Self::Broker(broker) => &broker.origin,
            Self::Trigger(trigger) => &trigger.origin,
            Self::Channel(channel) => &channel.origin,
            Self::Subscription(subscription) => &subscription.origin,
            Self::Source(source) => &source.origin,
            Self::ConfigMap(config_map) => &config_map.origin,
            Self::Secret(secret) => &secret.origin,
        }
    }
}

impl Content {
    /// A file that could not be read.
    pub(crate) fn unreadable(file: &Arc<PathBuf>, message: impl Into<String>) -> Self {
        Self::cut(Problem::file(file, message))
    }

    /// A file of which nothing could be read, for this reason.
    pub(crate) fn cut(problem: Problem) -> Self {
        let bad = Bad { is_cut: true, ..Bad::default() };
        Self { items: Vec::new(), problems: vec![problem], bad }
    }

    /// One resource that cannot be used, for this reason.
    pub(crate) fn of_bad(kind: Kind, name: &Name, problem: Problem) -> Self {
        let names = BTreeSet::from([(kind, name.clone())]);
        let bad = Bad { names, ..Bad::default() };
        Self { items: Vec::new(), problems: vec![problem], bad }
    }

    /// Whether the file must not be used.
    pub(crate) fn is_bad(&self) -> bool {
        self.problems.iter().any(Problem::is_error)
    }
}

/// Reads the text of `file`.
pub(crate) fn read(file: &Arc<PathBuf>, text: &str) -> Content {
    let mut content = Content::default();
    documents::parse(text, |document| {
        match document {
            Ok(node) => {
                File { file, content: &mut content, unknown_fields: Severity::Error }
                    .add(&node, "");
            }
            Err(unreadable) => {
                content.bad.is_cut = true;
                content.problems.push(Problem::at(file, unreadable.at, unreadable.message));
            }
        }
        let goes_on = content.problems.len() < PROBLEMS_MAX;
        if !goes_on {
            content.bad.is_cut = true;
            content.problems.truncate(PROBLEMS_MAX);
            content.problems.push(Problem::file(file, "too much is wrong: not read to its end"));
        }
        goes_on
    });
    content
}

/// Reads an object of a cluster, which is called `file` in what is wrong with it.
///
/// A field that nobody knows is no error: the cluster's definition may be of a later version.
pub(crate) fn read_object(file: &Arc<PathBuf>, object: &serde_json::Value) -> Content {
    let mut content = Content::default();
    let node = Node::from_json(object);
    File { file, content: &mut content, unknown_fields: Severity::Warning }.add(&node, "");
    content
}

/// A file being read.
struct File<'a> {
    file: &'a Arc<PathBuf>,
    content: &'a mut Content,
    /// How bad a field is that is not known.
    unknown_fields: Severity,
}

impl File<'_> {
    /// Adds the document, or item of a list, that is at `path` of its document.
    fn add(&mut self, node: &Node, path: &str) {
        if !matches!(node.value, Value::Map(_)) {
            let rule = "must be a mapping with apiVersion, kind, metadata and spec";
            return self.tell([Finding::new(node.at, path, rule)]);
        }
        match kind::judge(node, path) {
            Err(missing) => self.tell(missing),
            Ok(Verdict::Skip(finding)) => self.tell([finding]),
            Ok(Verdict::Unwrap) => self.add_list(node, path),
            Ok(Verdict::Read(kind)) => self.add_resource(node, path, kind),
        }
    }

    fn add_list(&mut self, node: &Node, path: &str) {
        let field = join(path, "items");
        match node.get("items").map(|items| &items.value) {
            Some(Value::List(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.add(item, &format!("{field}[{index}]"));
                }
            }
            Some(_) => self.tell([Finding::new(node.locate("items"), field, "must be a list")]),
            None => self.tell([Finding::new(node.at, field, "is required")]),
        }
    }

    fn add_resource(&mut self, node: &Node, path: &str, kind: Kind) {
        let mut reader = Reader::new(node, path);
        let metadata = reader.metadata();
        let body = reader.body(kind, metadata.as_ref());
        let mut wrong = reader.into_findings();
        wrong.extend(without_cluster(node, path, kind));
        // Where the rest could not be read for it, it is what is wrong.
        let is_read = body.is_some();
        for finding in wrong.iter_mut().filter(|it| is_read && it.is_unknown_field) {
            finding.severity = self.unknown_fields;
        }
        let is_good = wrong.iter().all(|finding| finding.severity != Severity::Error);
        self.tell(wrong);
        let Some((name, metadata)) = metadata else { return };
        if let (true, Some(body)) = (is_good, body) {
            let hash = content_hash(node, &metadata);
            let position = node.locate("metadata.name");
            let generation = node.get("metadata").and_then(|it| it.get("generation"));
            let origin = Origin { file: Arc::clone(self.file), position };
            let shell = Resource {
                spec: (),
                annotations: metadata.annotations,
                labels: metadata.labels,
                hash,
                generation: generation.and_then(Node::whole).unwrap_or_default(),
                origin,
                places: places(node),
            };
            self.content.items.push(Item { name, resource: body.in_shell(shell) });
        } else {
            self.content.bad.names.insert((kind.of_names(), name));
        }
    }

    fn tell(&mut self, findings: impl IntoIterator<Item = Finding>) {
        let problems = findings.into_iter().map(|finding| Problem {
            severity: finding.severity,
            file: Arc::clone(self.file),
            position: finding.at,
            field: finding.field,
            message: finding.message,
            suggestion: finding.suggestion,
        });
        self.content.problems.extend(problems);
    }
}

/// What a file may not ask for.
fn without_cluster(node: &Node, path: &str, kind: Kind) -> Option<Finding> {
    let is_file = node.at != Position::NONE;
    let Kind::Source(source) = kind else { return None };
    let instead = source.instead().filter(|_| is_file)?;
    let message = format!(
        "{} runs only in a cluster: apply it there, and `catchment serve --kubernetes` runs it; here {instead}",
        kind.as_str()
    );
    Some(Finding::new(node.locate("kind"), join(path, "kind"), message))
}

/// Where the fields are in a file; an object of a cluster has no places.
fn places(node: &Node) -> Vec<(&'static str, Position)> {
    if node.at == Position::NONE {
        return Vec::new();
    }
    PLACES.iter().map(|field| (*field, node.locate(field))).collect()
}

/// Covers what decides how the resource runs: not `status`, nor what a cluster adds to `metadata`.
fn content_hash(node: &Node, metadata: &ObjectMeta) -> u64 {
    let mut hasher = DefaultHasher::new();
    for field in ["spec", "data", "binaryData", "stringData"] {
        node.get(field).hash(&mut hasher);
    }
    (&metadata.annotations, &metadata.labels).hash(&mut hasher);
    hasher.finish()
}

/// Where a place within a text that itself stands in a file is in that file.
pub(super) fn within(outer: Position, inner: Position) -> Position {
    Position {
        line: outer.line.saturating_add(inner.line - 1),
        column: outer.column.saturating_add(inner.column - 1),
    }
}
