//! What a hub asks for -> its channel, open, or why there is none: the one place that knows the
//! backends.

mod disk;
#[cfg(test)]
pub(crate) mod fake;
mod kafka;
mod nats;

use std::{fmt, sync::Arc, time::Duration};

use channel::{
    Budget, Channel, Erased, Hub, Memory, Work,
    disk::{Data, OpenError},
};
use dispatcher::{DeadLetterLimits, Following, Notes};
use tokio::{runtime::Handle, sync::OnceCell};

use crate::{config::Settings, spec::ChannelChoice};

/// Why a channel is not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct OpenFailure {
    /// In one word, as a condition's reason.
    pub reason: &'static str,
    /// In one line.
    pub message: String,
    /// Whether it may open later without anybody changing the broker or the configuration.
    pub retry: bool,
}

impl OpenFailure {
    /// A failure that time may mend: a server away, a topic that somebody has to put right.
    pub fn for_now(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), retry: true }
    }

    /// A failure that only a change of what is asked for, or a restart, can mend.
    pub fn for_good(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), retry: false }
    }
}

/// A channel, or why there is none.
pub type Opened = Result<Arc<dyn Channel>, OpenFailure>;

/// A channel that is wanted.
#[derive(Clone, Debug)]
pub struct OpenRequest {
    /// The hub.
    pub hub: Hub,
    /// What it asks for; never [`ChannelChoice::Default`].
    pub choice: ChannelChoice,
    /// The memory that its events may take.
    pub budget: Arc<Budget>,
    /// Bounds of its dead letters.
    pub dead_letters: DeadLetterLimits,
}

/// A channel that is open, and what its hub had written down there.
#[derive(Debug)]
pub struct OpenChannel {
    /// The channel.
    pub channel: Arc<dyn Channel>,
    /// Its dead letters and pauses.
    pub notes: Notes,
    /// What others go on writing there.
    pub following: Option<Following>,
}

impl OpenChannel {
    /// Reads what is written down in `channel`; `None` when the channel has ended before that.
    pub async fn of(channel: Arc<dyn Channel>, request: &OpenRequest) -> Option<Self> {
        let (limits, budget) = (request.dead_letters, Arc::clone(&request.budget));
        let (notes, following) = Notes::load(limits, channel.ledger(), budget).await?;
        Some(Self { channel, notes, following })
    }
}

/// Opens channels.
pub trait Opener: fmt::Debug + Send + Sync {
    /// Opens a channel; of a hub only one at a time, and never while the one before is not let go.
    ///
    /// The first poll must be quick: the controller waits for it, so what is at hand at once is there
    /// at once. What blocks belongs on a thread for that. A future that takes longer than a minute
    /// is dropped, and must then leave nothing behind that keeps a later one from opening.
    fn open(&self, request: OpenRequest) -> Work<Opened>;

    /// Deletes what `hub`, which asked for `choice`, has stored. Its channel must not be open
    /// anywhere. To be called again until nothing is left; when nothing is there it changes nothing.
    fn erase(&self, hub: &Hub, choice: &ChannelChoice) -> Work<Result<Erased, OpenFailure>>;
}

/// The backends of this build.
#[derive(Clone, Debug)]
pub struct Backends {
    /// What the process goes by: limits, addresses, credentials.
    pub settings: Arc<Settings>,
    /// Workers, each with a reader of every channel.
    pub workers: usize,
    /// Where backends may run what they have to run beside the workers.
    pub runtime: Handle,
    /// The data folder, once a channel needs it or the process has opened it.
    pub data: Arc<OnceCell<Data>>,
}

impl Opener for Backends {
    fn open(&self, request: OpenRequest) -> Work<Opened> {
        let backends = self.clone();
        Box::pin(async move { backends.open_channel(request).await })
    }

    fn erase(&self, hub: &Hub, choice: &ChannelChoice) -> Work<Result<Erased, OpenFailure>> {
        let (backends, hub, choice) = (self.clone(), hub.clone(), choice.clone());
        Box::pin(async move { backends.erase_channel(&hub, choice).await })
    }
}

/// How long a server may take over deleting what a hub has there.
const ERASE_TIMEOUT: Duration = Duration::from_secs(30);

impl Backends {
    async fn open_channel(self, request: OpenRequest) -> Opened {
        let OpenRequest { hub, choice, budget, .. } = request;
        match choice.or(self.settings.channel_default) {
            ChannelChoice::Disk(spec) => self.disk(&hub, &spec, budget).await,
            ChannelChoice::Kafka(spec) => self.kafka(&hub, &spec, budget).await,
            ChannelChoice::Nats(spec) => self.nats(&hub, &spec, budget).await,
            ChannelChoice::InMemory | ChannelChoice::Default => {
                let channel: Arc<dyn Channel> =
                    Memory::new(self.workers, self.settings.memory.limits, budget);
                Ok(channel)
            }
        }
    }

    async fn erase_channel(self, hub: &Hub, choice: ChannelChoice) -> Result<Erased, OpenFailure> {
        match choice.or(self.settings.channel_default) {
            ChannelChoice::Disk(_) => self.erase_disk(hub).await,
            ChannelChoice::Kafka(_) => self.erase_kafka(hub).await,
            ChannelChoice::Nats(_) => self.erase_nats(hub).await,
            // It went with the process, or with the channel.
            ChannelChoice::InMemory | ChannelChoice::Default => Ok(Erased::default()),
        }
    }

    /// Opens the data folder, and locks it for the life of the process.
    ///
    /// # Errors
    ///
    /// When another process has it, when it is of another version, or when the file system refuses.
    pub async fn data(&self) -> Result<&Data, OpenError> {
        let path = &self.settings.data;
        self.data
            .get_or_try_init(async || {
                let path = path.clone();
                let opened = tokio::task::spawn_blocking(move || Data::open(path)).await;
                opened.unwrap_or_else(|ended| {
                    Err(OpenError::Io {
                        action: "open the data folder".to_owned(),
                        source: std::io::Error::other(ended),
                    })
                })
            })
            .await
    }
}

/// The file of the data folder that names the process among those that share a server's topics.
const INSTANCE: &str = "instance";

impl Backends {
    /// A name for this process that it has again after a restart: kept in the data folder, which no
    /// other process can have. `None` when there is no such folder to have.
    async fn instance(&self) -> Option<String> {
        let data = match self.data().await {
            Ok(data) => data.clone(),
            Err(error) => {
                tracing::info!(%error, "the process has no name that outlives it");
                return None;
            }
        };
        let named = tokio::task::spawn_blocking(move || {
            let file = data.path().join(INSTANCE);
            match std::fs::read_to_string(&file) {
                Ok(name) if !name.trim().is_empty() => Ok(name.trim().to_owned()),
                _ => {
                    let name = format!("catchment-{:016x}", fastrand::u64(..));
                    std::fs::write(&file, &name).map(|()| name)
                }
            }
        });
        named.await.ok()?.ok()
    }
}

fn not_configured(field: &str) -> OpenFailure {
    let message = format!("the configuration does not set {field}");
    OpenFailure::for_good("ChannelNotConfigured", message)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use channel::Name;
    use clap::Parser as _;

    use super::*;
    use crate::spec::ChannelKind;

    fn backends(change: impl FnOnce(&mut Settings)) -> Backends {
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            serve: crate::cli::ServeArgs,
        }
        let mut settings = Settings::new(&Cli::parse_from(["serve"]).serve).unwrap();
        change(&mut settings);
        let data = Arc::default();
        Backends { settings: Arc::new(settings), workers: 1, runtime: Handle::current(), data }
    }

    fn hub() -> Hub {
        Hub::broker(Name::new("a", "b"))
    }

    async fn open(backends: &Backends, choice: ChannelChoice) -> Opened {
        let budget = Budget::new(1 << 20);
        let dead_letters = DeadLetterLimits::default();
        backends.open(OpenRequest { hub: hub(), choice, budget, dead_letters }).await
    }

    #[tokio::test]
    async fn memory_is_at_hand() {
        let memory = open(&backends(|_| {}), ChannelChoice::InMemory).await.unwrap();
        assert_eq!(memory.kind(), ChannelKind::Memory.as_str());
    }

    #[tokio::test]
    async fn a_server_that_nobody_named_is_not_asked_for_again() {
        for kind in [ChannelKind::Kafka, ChannelKind::Nats] {
            let backends = backends(|settings| {
                (settings.kafka.bootstrap_servers, settings.nats.url) = (None, None);
            });
            let choice = ChannelChoice::Default.or(kind);
            let failure = open(&backends, choice.clone()).await.unwrap_err();
            assert_eq!((failure.reason, failure.retry), ("ChannelNotConfigured", false));
            let failure = backends.erase(&hub(), &choice).await.unwrap_err();
            assert_eq!((failure.reason, failure.retry), ("ChannelNotConfigured", false));
        }
    }

    #[tokio::test]
    async fn what_is_on_disk_is_erased_once_it_is_let_go_and_memory_has_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let backends = backends(|settings| settings.data = folder.path().to_owned());
        let (hub, choice) = (hub(), ChannelChoice::Default.or(ChannelKind::Disk));
        let disk = open(&backends, choice.clone()).await.unwrap();
        let failure = backends.erase(&hub, &choice).await.unwrap_err();
        assert!(failure.retry && failure.message.contains("is open"), "{failure}");
        disk.close();
        disk.end(Instant::now() + Duration::from_secs(20)).await;
        drop(disk);
        let path = folder.path().join("brokers/a/b");
        let erased = backends.erase(&hub, &choice).await.unwrap();
        assert_eq!(erased.removed, [path.display().to_string()]);
        assert!(erased.is_done() && !path.exists());
        for choice in [choice, ChannelChoice::InMemory] {
            assert_eq!(backends.erase(&hub, &choice).await.unwrap(), Erased::default());
        }
    }

    #[tokio::test]
    async fn a_server_that_is_away_is_asked_again() {
        let backends = backends(|settings| settings.nats.url = Some("nats://127.0.0.1:1".into()));
        let choice = ChannelChoice::Default.or(ChannelKind::Nats);
        let failure = backends.erase(&hub(), &choice).await.unwrap_err();
        assert_eq!((failure.reason, failure.retry), ("ChannelUnreachable", true));
        assert!(failure.message.contains("nats://127.0.0.1:1"), "{failure}");
    }
}
