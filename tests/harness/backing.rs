//! The channels that a scene can run on, and what each needs from outside.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::program::Setup;
use crate::servers::{kafka, nats};

/// Where a broker keeps its events.
#[derive(Clone, Debug)]
pub enum Backing {
    /// In memory.
    Memory,
    /// In the data folder.
    Disk,
    /// In topics of a Kafka, which is there as long as somebody holds it.
    Kafka(Arc<kafka::Kafka>),
    /// In streams of a NATS, likewise.
    Nats(Arc<nats::Nats>),
}

impl Backing {
    /// On a Kafka that all tests of this process share.
    ///
    /// # Errors
    ///
    /// Why there is none, in words for [`crate::say_not_run`].
    pub async fn kafka() -> Result<Self, String> {
        kafka::Kafka::shared().await.map(Self::Kafka)
    }

    /// On a NATS that all tests of this process share.
    ///
    /// # Errors
    ///
    /// Why there is none, in words for [`crate::say_not_run`].
    pub async fn nats() -> Result<Self, String> {
        static SHARED: OnceCell<Result<Arc<nats::Nats>, String>> = OnceCell::const_new();
        let start = || async {
            nats::build()?;
            Ok(Arc::new(nats::Nats::start(&nats::Options::default()).await))
        };
        SHARED.get_or_init(start).await.clone().map(Self::Nats)
    }

    /// The kind of `messaging.knative.dev`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Memory => "InMemoryChannel",
            Self::Disk => "DiskChannel",
            Self::Kafka(_) => "KafkaChannel",
            Self::Nats(_) => "NatsJetStreamChannel",
        }
    }

    /// The `spec` of its template.
    #[must_use]
    pub fn spec(&self) -> Value {
        match self {
            Self::Kafka(_) => json!({"numPartitions": 4}),
            Self::Memory | Self::Disk | Self::Nats(_) => json!({}),
        }
    }

    /// What the program is told about it: a scene has topics and streams of its own.
    #[must_use]
    pub fn configure(&self, setup: Setup) -> Setup {
        let own = format!("t{:x}", fastrand::u64(..));
        match self {
            Self::Memory | Self::Disk => setup,
            Self::Kafka(kafka) => setup.config(json!({"kafka": {
                "bootstrapServers": kafka.bootstrap(),
                "topicTemplate": format!("{own}-{{namespace}}.{{name}}"),
                "channelTopicTemplate": format!("{own}-channel-{{namespace}}.{{name}}"),
            }})),
            Self::Nats(nats) => {
                setup.config(json!({"nats": {"url": nats.url(), "streamPrefix": own}}))
            }
        }
    }
}

impl fmt::Display for Backing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}
