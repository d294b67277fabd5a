//! Sources of every kind: what can be wrong with one whatever else is defined, and what it refers to.

use std::collections::BTreeMap;

use ::channel::{Destination, Invalid, Name, Reference};
use ::sources::{
    ApiServerPlan, BindingPlan, CloudEventOverrides, ContainerPlan, ContainerSourceSpec,
    GitHubPlan, GitHubSourceSpec, KafkaPlan, KafkaSourceSpec, PingSourceSpec, Secret, SecretKeyRef,
    SecretSpec, SinkBindingSpec, WebhookPlan, WebhookSourceSpec, apiserver, binding, github, kafka,
    ping, webhook,
};
use dispatcher::{Filter, FilterSpec};

use super::{
    channel::names_channel,
    document::Bad,
    kind::Kind,
    links::nearest_name,
    problem::{Problem, Severity},
    resource::{Resource, Resources},
};

/// The kinds of sources that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceKind {
    /// `sources.knative.dev/v1` PingSource.
    Ping,
    /// `sources.knative.dev/v1alpha1` GitHubSource.
    GitHub,
    /// `sources.knative.dev/v1` KafkaSource.
    Kafka,
    /// `sources.catchment.dev/v1alpha1` WebhookSource.
    Webhook,
    /// `sources.knative.dev/v1` ApiServerSource.
    ApiServer,
    /// `sources.knative.dev/v1` SinkBinding.
    SinkBinding,
    /// `sources.knative.dev/v1` ContainerSource.
    Container,
}

/// `spec` of an ApiServerSource, whose filters are those of Triggers.
pub type ApiServerSourceSpec = ::sources::ApiServerSourceSpec<FilterSpec>;

impl SourceKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Ping,
        Self::GitHub,
        Self::Kafka,
        Self::Webhook,
        Self::ApiServer,
        Self::SinkBinding,
        Self::Container,
    ];

    /// The kind as written in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ping => ping::KIND,
            Self::GitHub => github::KIND,
            Self::Kafka => kafka::KIND,
            Self::Webhook => webhook::KIND,
            Self::ApiServer => apiserver::KIND,
            Self::SinkBinding => binding::KIND,
            Self::Container => binding::CONTAINER_KIND,
        }
    }

    /// The `apiVersion`s it is read in, the one to write first.
    pub(super) fn api_versions(self) -> &'static [&'static str] {
        match self {
            Self::Ping => &["sources.knative.dev/v1", "sources.knative.dev/v1beta2"],
            Self::ApiServer | Self::SinkBinding | Self::Container => &["sources.knative.dev/v1"],
            Self::GitHub => &["sources.knative.dev/v1alpha1"],
            Self::Kafka => &["sources.knative.dev/v1beta1", "sources.knative.dev/v1"],
            Self::Webhook => &["sources.catchment.dev/v1alpha1"],
        }
    }

    /// What to do without a cluster, of a kind that needs one.
    pub(super) fn instead(self) -> Option<&'static str> {
        match self {
            Self::ApiServer => Some("use a WebhookSource, or `catchment send`"),
            Self::SinkBinding => Some(
                "start the program yourself, with K_SINK in its environment: the address of a broker, \
                 such as http://127.0.0.1:8080/default/default",
            ),
            Self::Container => Some(
                "start the container yourself, with K_SINK in its environment: the address of a broker, \
                 as in `docker run --network host -e K_SINK=http://127.0.0.1:8080/default/default IMAGE`",
            ),
            Self::Ping | Self::GitHub | Self::Kafka | Self::Webhook => None,
        }
    }

    /// Whether programs of others make its events, which are told where those go.
    pub fn is_binding(self) -> bool {
        matches!(self, Self::SinkBinding | Self::Container)
    }

    /// Whether others call it, at `/sources/namespace/name`.
    pub fn is_called(self) -> bool {
        matches!(self, Self::GitHub | Self::Webhook)
    }
}

/// `spec` of a source.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceSpec {
    /// Of a PingSource.
    Ping(PingSourceSpec),
    /// Of a GitHubSource.
    GitHub(GitHubSourceSpec),
    /// Of a KafkaSource.
    Kafka(Box<KafkaSourceSpec>),
    /// Of a WebhookSource.
    Webhook(WebhookSourceSpec),
    /// Of an ApiServerSource.
    ApiServer(ApiServerSourceSpec),
    /// Of a SinkBinding.
    SinkBinding(Box<SinkBindingSpec>),
    /// Of a ContainerSource.
    Container(Box<ContainerSourceSpec>),
}

impl SourceSpec {
    /// The kind that it is of.
    pub fn kind(&self) -> SourceKind {
        match self {
            Self::Ping(_) => SourceKind::Ping,
            Self::GitHub(_) => SourceKind::GitHub,
            Self::Kafka(_) => SourceKind::Kafka,
            Self::Webhook(_) => SourceKind::Webhook,
            Self::ApiServer(_) => SourceKind::ApiServer,
            Self::SinkBinding(_) => SourceKind::SinkBinding,
            Self::Container(_) => SourceKind::Container,
        }
    }

    /// Where its events go.
    pub fn sink(&self) -> Option<&Destination> {
        match self {
            Self::Ping(spec) => spec.sink.as_ref(),
            Self::GitHub(spec) => spec.sink.as_ref(),
            Self::Kafka(spec) => spec.sink.as_ref(),
            Self::Webhook(spec) => spec.sink.as_ref(),
            Self::ApiServer(spec) => spec.sink.as_ref(),
            Self::SinkBinding(spec) => spec.sink.as_ref(),
            Self::Container(spec) => spec.sink.as_ref(),
        }
    }

    /// What programs of others are asked to set on every event, of a kind whose events those make.
    pub(crate) fn asked_overrides(&self) -> Option<&CloudEventOverrides> {
        match self {
            Self::SinkBinding(spec) => spec.ce_overrides.as_ref(),
            Self::Container(spec) => spec.ce_overrides.as_ref(),
            _ => None,
        }
    }

    /// The secrets that it names, each with its field.
    fn secrets(&self) -> Vec<(String, &SecretSpec)> {
        match self {
            Self::Ping(_) | Self::ApiServer(_) | Self::SinkBinding(_) | Self::Container(_) => {
                Vec::new()
            }
            Self::GitHub(spec) => {
                let named = [
                    ("spec.secretToken", &spec.secret_token),
                    ("spec.accessToken", &spec.access_token),
                ];
                let named = named.into_iter();
                named.filter_map(|(field, it)| Some((field.to_owned(), it.as_ref()?))).collect()
            }
            Self::Kafka(spec) => {
                let secrets = spec.secrets().into_iter();
                secrets.map(|(field, secret)| (field.to_owned(), secret)).collect()
            }
            Self::Webhook(spec) => {
                let secrets = spec.verification.iter().flat_map(|it| it.secrets.iter().enumerate());
                let field = |index| format!("spec.verification.secrets[{index}]");
                secrets.map(|(index, secret)| (field(index), secret)).collect()
            }
        }
    }

    /// The keys of Secrets that it names.
    pub(crate) fn secret_refs(&self) -> impl Iterator<Item = &SecretKeyRef> {
        self.secrets().into_iter().filter_map(|(_, secret)| secret.secret_key_ref.as_ref())
    }

    /// How many consumers it has, of a kind that has some.
    pub fn consumers(&self) -> Option<i32> {
        match self {
            Self::Kafka(spec) => Some(spec.consumers.unwrap_or(1)),
            _ => None,
        }
    }

    /// Where dead letters go that the source itself speaks of.
    pub fn dead_letter_sink(&self) -> Option<&Destination> {
        match self {
            Self::Kafka(spec) => spec.delivery.as_ref()?.dead_letter_sink.as_ref(),
            _ => None,
        }
    }

    /// Adds everything that is wrong with the spec of the source `name` on its own, and with its
    /// labels, to `problems`.
    pub(super) fn check(
        &self,
        name: &Name,
        labels: &BTreeMap<String, String>,
        problems: &mut Vec<Invalid>,
    ) {
        let unknown = |_: &SecretSpec| -> Result<Option<Secret>, String> { Ok(None) };
        match self {
            Self::Ping(spec) => drop(ping::PingPlan::new(spec, problems)),
            Self::GitHub(spec) => drop(GitHubPlan::new(spec, &unknown, problems)),
            Self::Kafka(spec) => {
                drop(KafkaPlan::new(name, spec, labels, &unknown, problems));
            }
            Self::Webhook(spec) => drop(WebhookPlan::new(name, spec, &unknown, problems)),
            Self::ApiServer(spec) => {
                ApiServerPlan::new(spec, problems);
                problems.extend(Filter::compile(None, &spec.filters).err().into_iter().flatten());
            }
            Self::SinkBinding(spec) => drop(BindingPlan::new(name, spec, problems)),
            Self::Container(spec) => drop(ContainerPlan::new(&name.name, spec, problems)),
        }
    }
}

/// What sources refer to that is not defined: a broker, a channel, a secret or a key of one.
pub(super) fn unlinked(resources: &Resources, bad: &Bad) -> Vec<Problem> {
    let mut problems = Vec::new();
    for ((_, name), source) in &resources.sources {
        for (field, sink) in [
            ("spec.sink", source.spec.sink()),
            ("spec.delivery.deadLetterSink", source.spec.dead_letter_sink()),
        ] {
            let reference = sink.and_then(|sink| sink.reference.as_ref());
            let missing =
                reference.and_then(|it| missing_sink(name, source, (field, it), resources, bad));
            problems.extend(missing);
        }
        for (field, secret) in source.spec.secrets() {
            problems.extend(missing_secret(name, source, (&field, secret), resources, bad));
        }
    }
    problems
}

fn missing_sink(
    name: &Name,
    source: &Resource<SourceSpec>,
    (field, reference): (&str, &Reference),
    resources: &Resources,
    bad: &Bad,
) -> Option<Problem> {
    let namespace = reference.namespace.as_deref().filter(|it| !it.is_empty());
    let wanted = Name::new(namespace.unwrap_or(&name.namespace), reference.name.as_deref()?);
    let (word, suggestion) = if reference.kind.as_deref() == Some("Broker") {
        if resources.brokers.contains_key(&wanted) || bad.may_be(Kind::Broker, &wanted) {
            return None;
        }
        ("broker", nearest_name(&wanted, resources.brokers.keys()))
    } else if names_channel(reference) {
        if resources.channels.contains_key(&wanted) || bad.may_be(Kind::Channel, &wanted) {
            return None;
        }
        ("channel", nearest_name(&wanted, resources.channels.keys()))
    } else {
        return None;
    };
    let message = format!("{word} {wanted} is not defined here");
    Some(Problem { suggestion, ..warning(source, &format!("{field}.ref.name"), message) })
}

fn missing_secret(
    name: &Name,
    source: &Resource<SourceSpec>,
    (field, secret): (&str, &SecretSpec),
    resources: &Resources,
    bad: &Bad,
) -> Option<Problem> {
    let reference = secret.secret_key_ref.as_ref()?;
    let wanted = Name::new(name.namespace.as_str(), reference.name.as_str());
    match resources.secrets.get(&wanted) {
        None if bad.may_be(Kind::Secret, &wanted) => None,
        None => {
            let field = format!("{field}.secretKeyRef.name");
            let message = format!("Secret {wanted} is not defined here");
            let suggestion = nearest_name(&wanted, resources.secrets.keys());
            Some(Problem { suggestion, ..warning(source, &field, message) })
        }
        Some(secret) if secret.spec.data.contains_key(&reference.key) => None,
        Some(_) => {
            let field = format!("{field}.secretKeyRef.key");
            let message = format!("Secret {wanted} has no key {}", reference.key);
            Some(warning(source, &field, message))
        }
    }
}

fn warning(source: &Resource<SourceSpec>, field: &str, message: String) -> Problem {
    let problem = Problem::at(&source.origin.file, source.place(field), message);
    Problem { severity: Severity::Warning, field: field.to_owned(), ..problem }
}
