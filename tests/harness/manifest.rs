//! Brokers and triggers as a test states them -> YAML files in a temporary folder.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::oracle::{Filter, Selection};
use crate::subscriber::Subscriber;

/// The `delivery` of a broker or trigger; what is `None` is not written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delivery {
    /// `retry`.
    pub retry: Option<u32>,
    /// `backoffPolicy`.
    pub backoff_policy: Option<String>,
    /// `backoffDelay`, ISO 8601.
    pub backoff_delay: Option<String>,
    /// `timeout`, ISO 8601.
    pub timeout: Option<String>,
    /// `retryAfterMax`, ISO 8601.
    pub retry_after_max: Option<String>,
    /// `deadLetterSink.uri`.
    pub dead_letter_sink: Option<String>,
    /// `format`.
    pub format: Option<String>,
}

impl Delivery {
    /// So many retries, after once the delay, twice the delay and so on (ISO 8601).
    #[must_use]
    pub fn retry(times: u32, delay: &str) -> Self {
        Self {
            retry: Some(times),
            backoff_policy: Some("linear".into()),
            backoff_delay: Some(delay.to_owned()),
            ..Self::default()
        }
    }

    /// So many retries, each after twice the delay of the one before.
    #[must_use]
    pub fn exponential(times: u32, delay: &str) -> Self {
        Self { backoff_policy: Some("exponential".into()), ..Self::retry(times, delay) }
    }

    /// Sets the time an attempt may take, ISO 8601.
    #[must_use]
    pub fn timeout(mut self, timeout: &str) -> Self {
        self.timeout = Some(timeout.to_owned());
        self
    }

    /// Sets the longest `Retry-After` that is followed, ISO 8601.
    #[must_use]
    pub fn retry_after_max(mut self, longest: &str) -> Self {
        self.retry_after_max = Some(longest.to_owned());
        self
    }

    /// Sets the dead letter sink.
    #[must_use]
    pub fn dead_letter_sink(mut self, url: String) -> Self {
        self.dead_letter_sink = Some(url);
        self
    }

    /// Sets `json` or `binary`.
    #[must_use]
    pub fn format(mut self, format: &str) -> Self {
        self.format = Some(format.to_owned());
        self
    }

    fn value(&self) -> Value {
        let mut spec = Map::new();
        let texts = [
            ("backoffPolicy", &self.backoff_policy),
            ("backoffDelay", &self.backoff_delay),
            ("timeout", &self.timeout),
            ("retryAfterMax", &self.retry_after_max),
            ("format", &self.format),
        ];
        if let Some(retry) = self.retry {
            spec.insert("retry".into(), json!(retry));
        }
        for (name, text) in texts {
            if let Some(text) = text {
                spec.insert(name.into(), json!(text));
            }
        }
        if let Some(url) = &self.dead_letter_sink {
            spec.insert("deadLetterSink".into(), json!({"uri": url}));
        }
        Value::Object(spec)
    }
}

/// A Broker in a namespace.
#[derive(Clone, Debug, PartialEq)]
pub struct Broker {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its `delivery`.
    pub delivery: Option<Delivery>,
    /// The `channel-template-spec` of its config map: kind and `spec`.
    pub channel: Option<(String, Value)>,
}

impl Broker {
    /// A broker in namespace `default`.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { namespace: "default".into(), name: name.to_owned(), delivery: None, channel: None }
    }

    /// Sets its `delivery`.
    #[must_use]
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = Some(delivery);
        self
    }

    /// Keeps its events in a channel of that kind of `messaging.knative.dev`, with that `spec`.
    #[must_use]
    pub fn channel(mut self, kind: &str, spec: Value) -> Self {
        self.channel = Some((kind.to_owned(), spec));
        self
    }

    /// Its manifest, with the config map that it names.
    #[must_use]
    pub fn yaml(&self) -> String {
        let mut spec = Map::new();
        let mut text = String::new();
        if let Some(delivery) = &self.delivery {
            spec.insert("delivery".into(), delivery.value());
        }
        if let Some((kind, of_channel)) = &self.channel {
            let name = format!("channel-of-{}", self.name);
            let template = json!({
                "apiVersion": "messaging.knative.dev/v1", "kind": kind, "spec": of_channel,
            });
            text += &yaml(&json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": self.namespace},
                // JSON is YAML too, and one line.
                "data": {"channel-template-spec": template.to_string()},
            }));
            text += "---\n";
            let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name});
            spec.insert("config".into(), config);
        }
        let mut broker = json!({
            "apiVersion": "eventing.knative.dev/v1", "kind": "Broker",
            "metadata": {"name": self.name, "namespace": self.namespace},
        });
        if !spec.is_empty() {
            broker["spec"] = Value::Object(spec);
        }
        text + &yaml(&broker)
    }
}

/// A Trigger.
#[derive(Clone, Debug, PartialEq)]
pub struct Trigger {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The name of its broker.
    pub broker: String,
    /// What it wants.
    pub selection: Selection,
    /// `subscriber.uri`.
    pub subscriber: String,
    /// Its `delivery`.
    pub delivery: Option<Delivery>,
    /// Its annotations.
    pub annotations: Vec<(String, String)>,
}

impl Trigger {
    /// A trigger of broker `default` in namespace `default` that wants everything.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            namespace: "default".into(),
            name: name.to_owned(),
            broker: "default".into(),
            selection: Selection::default(),
            subscriber: String::new(),
            delivery: None,
            annotations: Vec::new(),
        }
    }

    /// Sets its broker.
    #[must_use]
    pub fn of(mut self, broker: &str) -> Self {
        self.broker = broker.to_owned();
        self
    }

    /// Sends to a subscriber, at the path `/<name of the trigger>`.
    #[must_use]
    pub fn to(mut self, subscriber: &Subscriber) -> Self {
        self.subscriber = subscriber.url(&self.path());
        self
    }

    /// Sends to a URL.
    #[must_use]
    pub fn to_url(mut self, url: &str) -> Self {
        self.subscriber = url.to_owned();
        self
    }

    /// Adds an element to `filters`.
    #[must_use]
    pub fn wants(mut self, filter: Filter) -> Self {
        self.selection.filters.push(filter);
        self
    }

    /// Adds an entry to `filter.attributes`.
    #[must_use]
    pub fn wants_attribute(mut self, name: &str, value: &str) -> Self {
        self.selection.attributes.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets its `delivery`.
    #[must_use]
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = Some(delivery);
        self
    }

    /// Adds an annotation.
    #[must_use]
    pub fn annotation(mut self, name: &str, value: &str) -> Self {
        self.annotations.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Asks for order per key.
    #[must_use]
    pub fn ordered(self) -> Self {
        self.annotation("catchment.dev/ordering", "ordered")
    }

    /// `namespace/name`.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// `namespace/name` of its broker.
    #[must_use]
    pub fn broker_name(&self) -> String {
        format!("{}/{}", self.namespace, self.broker)
    }

    /// The path at its subscriber.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/{}", self.name)
    }

    /// Its manifest.
    #[must_use]
    pub fn yaml(&self) -> String {
        let mut metadata = json!({"name": self.name, "namespace": self.namespace});
        if !self.annotations.is_empty() {
            let all = self.annotations.iter().map(|(name, value)| (name.clone(), json!(value)));
            metadata["annotations"] = Value::Object(all.collect());
        }
        let mut spec = json!({"broker": self.broker});
        if !self.selection.attributes.is_empty() {
            let all =
                self.selection.attributes.iter().map(|(name, value)| (name.clone(), json!(value)));
            spec["filter"] = json!({"attributes": Value::Object(all.collect())});
        }
        if !self.selection.filters.is_empty() {
            spec["filters"] = self.selection.filters.iter().map(Filter::value).collect();
        }
        spec["subscriber"] = json!({"uri": self.subscriber});
        if let Some(delivery) = &self.delivery {
            spec["delivery"] = delivery.value();
        }
        yaml(&json!({
            "apiVersion": "eventing.knative.dev/v1", "kind": "Trigger", "metadata": metadata, "spec": spec,
        }))
    }
}

/// A folder of manifests that a program watches; removed when this is dropped.
#[derive(Debug)]
pub struct Manifests {
    folder: TempDir,
    aside: TempDir,
}

impl Default for Manifests {
    fn default() -> Self {
        Self::new()
    }
}

impl Manifests {
    /// An empty folder.
    #[must_use]
    pub fn new() -> Self {
        Self { folder: TempDir::new().expect("a folder"), aside: TempDir::new().expect("a folder") }
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file in one step, so that no watcher sees half of it; gives its path.
    pub fn write(&self, file: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let draft = self.aside.path().join(file);
        let path = self.folder.path().join(file);
        fs::write(&draft, content).expect("a writable folder");
        fs::rename(&draft, &path).expect("a writable folder");
        path
    }

    /// Writes a broker.
    pub fn broker(&self, broker: &Broker) -> PathBuf {
        self.write(&format!("broker-{}.yaml", broker.name), broker.yaml())
    }

    /// Writes a trigger.
    pub fn trigger(&self, trigger: &Trigger) -> PathBuf {
        self.write(&format!("trigger-{}.yaml", trigger.name), trigger.yaml())
    }

    /// Removes a file.
    pub fn remove(&self, file: &str) {
        fs::remove_file(self.folder.path().join(file)).expect("a file that was written");
    }
}

/// JSON as block YAML; strings are always quoted.
#[must_use]
pub fn yaml(value: &Value) -> String {
    let mut text = String::new();
    block(value, 0, &mut text);
    text
}

fn block(value: &Value, depth: usize, out: &mut String) {
    let pad = "  ".repeat(depth);
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                write!(out, "{pad}{name}:").unwrap();
                nested(member, depth + 1, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                write!(out, "{pad}-").unwrap();
                nested(item, depth + 1, out);
            }
        }
        flat => writeln!(out, "{pad}{flat}").unwrap(),
    }
}

fn nested(value: &Value, depth: usize, out: &mut String) {
    let is_block = match value {
        Value::Object(members) => !members.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    if is_block {
        out.push('\n');
        block(value, depth, out);
    } else {
        writeln!(out, " {value}").unwrap();
    }
}
