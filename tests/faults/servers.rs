//! A Kafka or a NATS of a scenario's own, and two programs that share it.

use harness::manifest::Broker;
use harness::servers::{kafka::Kafka, nats};
use harness::{Program, Running, Scene, Setup, Subscriber, Trigger};
use serde_json::{Value, json};

/// A server that this scenario alone stops and starts.
pub(crate) enum Server {
    Kafka(Kafka),
    Nats(nats::Nats),
}

impl Server {
    pub(crate) async fn kafka() -> Result<Self, String> {
        Kafka::start().await.map(Self::Kafka)
    }

    pub(crate) async fn nats() -> Result<Self, String> {
        nats::build()?;
        Ok(Self::Nats(nats::Nats::start(&nats::Options::default()).await))
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Kafka(_) => "KafkaChannel",
            Self::Nats(_) => "NatsJetStreamChannel",
        }
    }

    /// A broker whose events it keeps.
    pub(crate) fn broker(&self) -> Broker {
        let spec = match self {
            Self::Kafka(_) => json!({"numPartitions": 4}),
            Self::Nats(_) => json!({}),
        };
        Broker::named("default").channel(self.kind(), spec)
    }

    /// What programs are told of it.
    pub(crate) fn config(&self) -> Value {
        match self {
            Self::Kafka(kafka) => json!({"kafka": {"bootstrapServers": kafka.bootstrap()}}),
            Self::Nats(nats) => json!({"nats": {"url": nats.url()}}),
        }
    }

    /// Broker `default/default` on it, and what waits for long in its overflow.
    pub(crate) fn scene(&self) -> Scene {
        let config = self.config();
        Scene::new()
            .broker(self.broker())
            .setup(|setup| setup.config(config).config(json!({"overflow": {"after": "PT1S"}})))
    }

    pub(crate) async fn kill(&mut self) {
        match self {
            Self::Kafka(kafka) => kafka.kill(0).await,
            Self::Nats(nats) => nats.kill().await,
        }
    }

    pub(crate) async fn restart(&mut self) {
        match self {
            Self::Kafka(kafka) => kafka.restart(0).await.expect("it starts again"),
            Self::Nats(nats) => nats.restart().await,
        }
    }

    pub(crate) fn freeze(&self) {
        match self {
            Self::Kafka(kafka) => kafka.freeze(0),
            Self::Nats(nats) => nats.freeze(),
        }
    }

    pub(crate) fn thaw(&self) {
        match self {
            Self::Kafka(kafka) => kafka.thaw(0),
            Self::Nats(nats) => nats.thaw(),
        }
    }
}

/// Two programs with data folders of their own and the same manifests.
pub(crate) async fn two(server: &Server, subscriber: &Subscriber) -> (Running, Program) {
    let first = server.scene().trigger(Trigger::named("all"), subscriber).start().await;
    let setup = Setup::new().path(first.manifests.path()).config(server.config());
    let second = setup.config(json!({"overflow": {"after": "PT1S"}})).start().await;
    (first, second)
}

/// Makes a test of a scenario on a Kafka and on a NATS of its own.
macro_rules! on_each_server {
    ($($scenario:ident: $kafka:ident, $nats:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $kafka() {
            match $crate::servers::Server::kafka().await {
                Ok(kafka) => $scenario(kafka).await,
                Err(why) => harness::say_not_run(stringify!($kafka), &why),
            }
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $nats() {
            match $crate::servers::Server::nats().await {
                Ok(nats) => $scenario(nats).await,
                Err(why) => harness::say_not_run(stringify!($nats), &why),
            }
        }
    )*};
}

pub(crate) use on_each_server;
