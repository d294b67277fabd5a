//! Deleting what a broker has in Kafka: its topics, found by their names and by how they are set, and
//! its groups.
//!
//! The ledger goes last: as long as it is there, the broker's other topics are known to be somebody's.

mod claims;
mod notes;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, OwnedResourceSpecifier, ResourceSpecifier},
    error::{KafkaResult, RDKafkaErrorCode as Code},
};
use tokio::{runtime::Handle, time::timeout};

use self::claims::{Cluster, Kind, Verdict, ledger, splits};
use super::{
    config,
    context::Context,
    error::{OpenError, words},
    overflow::naming,
    probe::{Connected, Probe},
    settings::{KafkaSasl, KafkaSettings, Names},
    topics::{Topics, options},
};
use crate::{Erased, Hub, HubKind, Name};

/// Topics of one request.
const TOPICS_MAX: usize = 100;

/// How long to wait before it is looked again whether topics are gone.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Deletes the topics and groups of `hub`, within `within`. What another hub may have, too, stays and is named. No replica should have the channel open; what one makes anew is found when
/// this is called again, which is needed until nothing is left.
///
/// # Errors
///
/// [`OpenError`], in one line. What was deleted before stays deleted.
pub async fn erase(
    settings: KafkaSettings,
    hub: impl Into<Hub>,
    within: Duration,
    runtime: Handle,
) -> Result<Erased, OpenError> {
    let hub = hub.into();
    let names = settings.names(&hub).map_err(OpenError::Settings)?;
    let servers = settings.bootstrap_servers.clone();
    // Whoever waits for the end is told why it was not reached.
    let deadline = Instant::now() + within.mul_f64(0.9);
    let erasing = Erasing { settings, hub, names, deadline, runtime };
    let runtime = erasing.runtime.clone();
    let task = runtime.spawn(erasing.run());
    let abort = task.abort_handle();
    match timeout(within, task).await {
        Ok(Ok(erased)) => erased,
        Ok(Err(error)) => Err(OpenError::Failed { doing: "erase", reason: error.to_string() }),
        Err(_late) => {
            abort.abort();
            let reason = format!("it does not answer within {} s", within.as_secs_f64());
            Err(OpenError::Unreachable { servers, reason })
        }
    }
}

struct Erasing {
    settings: KafkaSettings,
    hub: Hub,
    names: Names,
    deadline: Instant,
    runtime: Handle,
}

/// How to speak to the cluster.
struct Means {
    base: ClientConfig,
    context: Context,
    topics: Topics,
    connected: Arc<Connected>,
}

impl Erasing {
    async fn run(self) -> Result<Erased, OpenError> {
        let means = self.connect().await?;
        let mut cluster = Cluster::new(means.connected.topics());
        let candidates = cluster.candidates(&self.names);
        let groups = self.block(&means, "list the groups", |all| all.groups()).await?;
        let is_ours = groups.contains(&self.names.group);
        if candidates.is_empty() && !is_ours {
            return Ok(Erased::default());
        }
        if !means.topics.is_able() {
            let user = "the bearer of a token cannot delete topics: somebody else must";
            tracing::warn!(hub = %self.hub, "{user}");
            let group = is_ours.then(|| group_name(&self.names.group));
            let left = candidates.into_iter().map(|it| topic_name(&it)).chain(group).collect();
            return Ok(Erased { removed: Vec::new(), left });
        }
        if let Some(other) = self.sharing(&groups) {
            tracing::warn!(hub = %self.hub, %other, "these have the same topics, which stay");
            let left = candidates.iter().map(|it| topic_name(it)).collect();
            let mut erased = Erased { removed: Vec::new(), left };
            // So that it is the other's alone from now on.
            let group = is_ours.then(|| self.names.group.clone());
            self.delete_groups(&means, group.as_slice(), &mut erased).await?;
            return Ok(erased);
        }
        self.learn(&means, &mut cluster, &candidates).await;
        let mut erased = Erased::default();
        let mut ours = Vec::new();
        for topic in candidates {
            match self.verdict(&means, &cluster, &topic).await? {
                Verdict::Ours => ours.push(topic),
                Verdict::Others => {}
                Verdict::Contested(_) | Verdict::Unclear => {
                    tracing::warn!(topic, hub = %self.hub, "it may be another broker's, and stays");
                    erased.left.push(topic_name(&topic));
                }
            }
        }
        // Without its ledger nobody would know whose the rest is.
        if !erased.left.is_empty() && ours.contains(&self.names.ledger()) {
            ours.retain(|topic| *topic != self.names.ledger());
            erased.left.push(topic_name(&self.names.ledger()));
        }
        self.delete(&means, &ours, &mut erased).await?;
        let groups = self.groups(&cluster, &groups, &ours);
        self.delete_groups(&means, &groups, &mut erased).await?;
        Ok(erased)
    }

    async fn connect(&self) -> Result<Means, OpenError> {
        let base = config::base(&self.settings).map_err(OpenError::Settings)?;
        let token_file = match &self.settings.sasl {
            Some(KafkaSasl::OauthBearer { token_file }) => Some(token_file.clone()),
            _ => None,
        };
        let context = Context { token_file, ..Context::default() };
        let probe = Probe {
            servers: self.settings.bootstrap_servers.clone(),
            config: config::observer(&base, &self.names.group),
            context: context.clone(),
            deadline: self.deadline,
        };
        let connected = match self.runtime.spawn_blocking(move || probe.connect()).await {
            Ok(connected) => Arc::new(connected?),
            Err(error) => {
                return Err(OpenError::Failed { doing: "connect", reason: error.to_string() });
            }
        };
        let topics = Topics::new(&base, self.runtime.clone());
        Ok(Means { base, context, topics, connected })
    }

    async fn block<T: Send + 'static>(
        &self,
        means: &Means,
        doing: &'static str,
        ask: impl FnOnce(&Connected) -> KafkaResult<T> + Send + 'static,
    ) -> Result<T, OpenError> {
        let connected = Arc::clone(&means.connected);
        let failed = |reason| OpenError::Failed {
            doing,
            reason: format!("{}: {reason}", self.settings.bootstrap_servers),
        };
        match self.runtime.spawn_blocking(move || ask(&connected)).await {
            Ok(answer) => answer.map_err(|error| failed(words(&error))),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// Another hub whose topic has the same name, by its group: a template may not part them.
    fn sharing(&self, groups: &[String]) -> Option<Hub> {
        groups.iter().find_map(|group| {
            let mut parts = group.splitn(3, '.').skip(1);
            let name = Name::new(parts.next()?, parts.next()?);
            HubKind::ALL.into_iter().find_map(|kind| {
                let other = Hub { kind, name: name.clone() };
                let names = self.settings.names(&other).ok()?;
                let is_same = names.group == *group && names.topic == self.names.topic;
                (is_same && other != self.hub).then_some(other)
            })
        })
    }

    /// Learns how the topics are set that decide over `candidates`. What is not told stays unknown.
    async fn learn(&self, means: &Means, cluster: &mut Cluster, candidates: &[String]) {
        for topics in cluster.deciding(candidates).chunks(TOPICS_MAX) {
            let asked: Vec<_> = topics.iter().map(|it| ResourceSpecifier::Topic(it)).collect();
            let ask = async |client: &AdminClient<Context>| {
                client.describe_configs(&asked, &options()).await
            };
            let found = match means.topics.with_client(ask).await {
                Ok(found) => found,
                Err(error) => {
                    tracing::debug!(reason = words(&error), "how topics are set is not known");
                    continue;
                }
            };
            for found in found.into_iter().flatten() {
                let OwnedResourceSpecifier::Topic(topic) = &found.specifier else { continue };
                let value = |key| found.get(key).and_then(|entry| entry.value.as_deref());
                cluster.set(topic, Kind::of(value("cleanup.policy"), value("retention.ms")));
            }
        }
    }

    /// Whose a topic is; where several may say so, their ledgers know who made it.
    async fn verdict(
        &self,
        means: &Means,
        cluster: &Cluster,
        topic: &str,
    ) -> Result<Verdict, OpenError> {
        let verdict = cluster.verdict(&self.names, topic);
        let Verdict::Contested(others) = &verdict else { return Ok(verdict) };
        let has_made = async |root: &str| -> Result<bool, OpenError> {
            let prefix = format!("{root}.overflow.");
            let (ledger, suffix) = (ledger(root), naming::suffix(&prefix, topic));
            let Some(key) = suffix.map(naming::made_key).filter(|_| cluster.has(&ledger)) else {
                return Ok(false);
            };
            let config = config::observer(&means.base, &self.names.group);
            let (context, deadline) = (means.context.clone(), self.deadline);
            self.block(means, "read a ledger", move |_| {
                notes::holds(&config, &context, &ledger, &key, deadline)
            })
            .await
        };
        let is_ours = has_made(&self.names.topic).await?;
        let mut is_others = false;
        for other in others {
            is_others |= has_made(other).await?;
        }
        Ok(match (is_ours, is_others) {
            (true, false) => Verdict::Ours,
            (false, true) => Verdict::Others,
            _ => verdict,
        })
    }

    /// Deletes topics in their order, and waits until none of them is listed any more.
    async fn delete(
        &self,
        means: &Means,
        ours: &[String],
        erased: &mut Erased,
    ) -> Result<(), OpenError> {
        let mut going = BTreeSet::new();
        for topics in ours.chunks(TOPICS_MAX) {
            let names: Vec<&str> = topics.iter().map(String::as_str).collect();
            let ask = async |client: &AdminClient<Context>| {
                client.delete_topics(&names, &options()).await
            };
            let first = || topics.first().map_or_else(String::new, |it| topic_name(it));
            let deleted = means.topics.with_client(ask).await;
            for deleted in deleted.map_err(|error| self.not_erased(first(), &words(&error)))? {
                match deleted {
                    Ok(topic) => drop(going.insert(topic)),
                    Err((_, Code::UnknownTopic | Code::UnknownTopicOrPartition)) => {}
                    Err((topic, code)) => {
                        return Err(self.not_erased(topic_name(&topic), &code.to_string()));
                    }
                }
            }
        }
        let mut listed = going.clone();
        while !listed.is_empty() {
            let now = self.block(means, "list the topics", |all| all.topics_now()).await?;
            listed.retain(|topic| now.contains(topic));
            if Instant::now() >= self.deadline {
                break;
            }
            if !listed.is_empty() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
        for topic in going {
            let is_gone = !listed.contains(&topic);
            tracing::info!(topic, is_gone, hub = %self.hub, "deleted the topic of a broker");
            let names = if is_gone { &mut erased.removed } else { &mut erased.left };
            names.push(topic_name(&topic));
        }
        Ok(())
    }

    /// The broker's group, and those that read the topics that were deleted, of all that there are.
    fn groups(&self, cluster: &Cluster, all: &[String], deleted: &[String]) -> Vec<String> {
        let prefix = self.names.overflow_prefix();
        let suffixes = deleted.iter().filter_map(|topic| naming::suffix(&prefix, topic));
        let mut ours: Vec<_> =
            suffixes.map(|suffix| format!("{}.overflow.{suffix}", self.names.group)).collect();
        if !cluster.has(&self.names.topic) || deleted.contains(&self.names.topic) {
            ours.push(self.names.group.clone());
        }
        ours.retain(|group| all.contains(group) && !self.is_read(group, cluster, deleted));
        ours
    }

    async fn delete_groups(
        &self,
        means: &Means,
        groups: &[String],
        erased: &mut Erased,
    ) -> Result<(), OpenError> {
        for some in groups.chunks(TOPICS_MAX) {
            let names: Vec<&str> = some.iter().map(String::as_str).collect();
            let ask = async |client: &AdminClient<Context>| {
                client.delete_groups(&names, &options()).await
            };
            let first = || some.first().map_or_else(String::new, |it| group_name(it));
            let gone = means.topics.with_client(ask).await;
            for gone in gone.map_err(|error| self.not_erased(first(), &words(&error)))? {
                match gone {
                    Ok(group) => erased.removed.push(group_name(&group)),
                    Err((_, Code::GroupIdNotFound)) => {}
                    // A member that stopped counts until its session is over. Where that of an overflow
                    // stood went with its topic, and Kafka forgets the group in the end.
                    Err((group, code)) if group != self.names.group => {
                        tracing::debug!(group, %code, "the group of an overflow is not deleted");
                    }
                    Err((group, Code::NonEmptyGroup)) => {
                        tracing::info!(group, hub = %self.hub, "a group still has members");
                        erased.left.push(group_name(&group));
                    }
                    Err((group, code)) => {
                        return Err(self.not_erased(group_name(&group), &code.to_string()));
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether a group is of a topic that stays: the log of a broker, or the overflow of one.
    fn is_read(&self, group: &str, cluster: &Cluster, deleted: &[String]) -> bool {
        let Hub { kind, name: ours } = &self.hub;
        let own = self.names.group.strip_suffix(&ours.name).unwrap_or_default();
        let Some(name) = group.strip_prefix(own) else { return false };
        let topic = |name: &str| {
            let name = Name::new(ours.namespace.clone(), name);
            self.settings.names(&Hub { kind: *kind, name }).map(|names| names.topic)
        };
        let overflows = splits(name).filter_map(|(broker, suffix)| {
            Some(format!("{}.overflow.{suffix}", topic(broker).ok()?))
        });
        let mut topics = overflows.chain(topic(name).ok());
        topics.any(|topic| cluster.has(&topic) && !deleted.contains(&topic))
    }

    fn not_erased(&self, what: String, reason: &str) -> OpenError {
        let servers = self.settings.bootstrap_servers.clone();
        OpenError::NotErased { servers, what, reason: reason.to_owned() }
    }
}

fn topic_name(topic: &str) -> String {
    format!("topic {topic}")
}

fn group_name(group: &str) -> String {
    format!("consumer group {group}")
}
