//! A scene: brokers, triggers and subscribers stated -> a running program with the oracle watching.

use std::time::Duration;

use crate::admin::{Admin, TriggerStatus};
use crate::backing::Backing;
use crate::load::{Flowing, Load};
use crate::manifest::{Broker, Manifests, Trigger};
use crate::oracle::{Evidence, Observer, Oracle};
use crate::producer::Producer;
use crate::program::{Program, Setup};
use crate::sample::{Mode, Sample};
use crate::subscriber::Subscriber;
use crate::wait::eventually;

/// How long a program may take for what it should do at once, on a machine that is busy.
pub const SOON: Duration = Duration::from_secs(15);

/// What is to be started. Broker `default/default` is there from the beginning.
#[derive(Debug)]
pub struct Scene {
    brokers: Vec<Broker>,
    triggers: Vec<(Trigger, Subscriber)>,
    unwatched: Vec<Trigger>,
    setup: Setup,
}

impl Default for Scene {
    fn default() -> Self {
        Self::new()
    }
}

impl Scene {
    /// One broker, no trigger.
    #[must_use]
    pub fn new() -> Self {
        Self {
            brokers: vec![Broker::named("default")],
            triggers: Vec::new(),
            unwatched: Vec::new(),
            setup: Setup::new(),
        }
    }

    /// Adds a broker, or replaces the one of the same name.
    #[must_use]
    pub fn broker(mut self, broker: Broker) -> Self {
        self.brokers.retain(|other| other.name != broker.name);
        self.brokers.push(broker);
        self
    }

    /// Adds a trigger that sends to a subscriber, at the path of its name.
    #[must_use]
    pub fn trigger(mut self, trigger: Trigger, subscriber: &Subscriber) -> Self {
        self.triggers.push((trigger.to(subscriber), subscriber.clone()));
        self
    }

    /// Adds a trigger that the oracle does not answer for: its subscriber's outcomes are not clear.
    #[must_use]
    pub fn unwatched(mut self, trigger: Trigger, subscriber: &Subscriber) -> Self {
        self.unwatched.push(trigger.to(subscriber));
        self
    }

    /// Keeps the events of every broker so far in a channel.
    #[must_use]
    pub fn channel(mut self, channel: &Backing) -> Self {
        for broker in &mut self.brokers {
            broker.channel = Some((channel.kind().to_owned(), channel.spec()));
        }
        self.setup = channel.configure(self.setup);
        self
    }

    /// Changes how the program is started.
    #[must_use]
    pub fn setup(mut self, change: impl FnOnce(Setup) -> Setup) -> Self {
        self.setup = change(self.setup);
        self
    }

    /// Writes the manifests, starts the program and waits until it is ready.
    pub async fn start(self) -> Running {
        let manifests = Manifests::new();
        let mut oracle = Oracle::default();
        for broker in &self.brokers {
            manifests.broker(broker);
        }
        for (trigger, subscriber) in &self.triggers {
            manifests.trigger(trigger);
            let broker = self.brokers.iter().find(|broker| broker.name == trigger.broker);
            let delivery = broker.and_then(|broker| broker.delivery.as_ref());
            oracle.watch(trigger, delivery, subscriber);
        }
        for trigger in &self.unwatched {
            manifests.trigger(trigger);
        }
        let program = self.setup.path(manifests.path()).start().await;
        Running { program, manifests, oracle }
    }
}

/// A scene that runs.
#[derive(Debug)]
pub struct Running {
    /// The program.
    pub program: Program,
    /// Its manifests.
    pub manifests: Manifests,
    /// The oracle.
    pub oracle: Oracle,
}

impl Running {
    /// The admin API.
    #[must_use]
    pub fn admin(&self) -> Admin {
        self.program.admin()
    }

    /// A producer for `default/default` that the oracle does not see.
    #[must_use]
    pub fn producer(&self) -> Producer {
        self.program.producer("default/default")
    }

    /// Sends an event in binary mode with the oracle watching.
    ///
    /// # Panics
    ///
    /// When it is not accepted.
    pub async fn send(&self, sample: &Sample) {
        self.send_as(sample, Mode::Binary).await;
    }

    /// As [`Running::send`], in a mode.
    pub async fn send_as(&self, sample: &Sample, mode: Mode) {
        let entry = self.oracle.ledger.open("default/default", sample, mode);
        let answer = self.producer().send(sample, mode).await;
        self.oracle.ledger.close(entry, &answer);
        let response = answer.expect("an answer");
        assert_eq!(response.status, 202, "{}", response.text());
    }

    /// Starts load.
    #[must_use]
    pub fn load(&self, load: Load) -> Flowing {
        load.start(self.program.events(), self.oracle.ledger.clone())
    }

    /// Watches counters and sizes until dropped.
    #[must_use]
    pub fn observe(&self) -> Observer {
        Observer::start(self.admin(), self.program.process.id())
    }

    /// Waits until nothing waits and nothing is in flight.
    pub async fn settled(&self, deadline: Duration) {
        self.oracle.settled(&self.admin(), deadline).await;
    }

    /// Waits until every accepted event has an end at every trigger that wants it, and nothing waits or is
    /// in flight. The program may have been started again in between.
    pub async fn ended(&self, deadline: Duration) {
        let ended = || async {
            let lost = self.evidence().await.nothing_lost().violations;
            let statuses = self.admin().triggers().await;
            let busy = |status: &&TriggerStatus| {
                status.counters.waiting != 0 || status.counters.in_flight != 0
            };
            match (lost.first(), statuses.iter().find(busy)) {
                (None, None) => Ok(()),
                (None, Some(status)) => Err(format!("{}: {:?}", status.name, status.counters)),
                (Some(first), _) => Err(format!("{} of them, the first: {first}", lost.len())),
            }
        };
        eventually(deadline, ended).await;
    }

    /// Waits until a trigger, as `namespace/name`, is there and ready.
    pub async fn admin_has(&self, trigger: &str) {
        let admin = self.admin();
        let path = format!("/api/v1/triggers/{trigger}");
        let is_there = || async {
            let answer = admin.get(&path).await;
            if answer.status == 200 && answer.json()["ready"] == true {
                Ok(())
            } else {
                Err(answer.text())
            }
        };
        eventually(SOON, is_there).await;
    }

    /// Gathers what is known now.
    pub async fn evidence(&self) -> Evidence {
        Evidence::gather(&self.oracle, Some(&self.admin())).await
    }

    /// Gathers what is known without the program.
    pub async fn evidence_without_program(&self) -> Evidence {
        Evidence::gather(&self.oracle, None).await
    }
}

/// An event of a scenario: source and id from its number, the type given, JSON data of about so many bytes.
#[must_use]
pub fn numbered(scenario: &str, number: usize, ty: &str, bytes: usize) -> Sample {
    let filler = "x".repeat(bytes.saturating_sub(30));
    Sample::new(&format!("/{scenario}"), &format!("{scenario}-{number}"), ty)
        .with("subject", &format!("ten % of \"{number}\""))
        .with_integer("sequence", i32::try_from(number).unwrap_or(i32::MAX))
        .json(&serde_json::json!({"n": number, "filler": filler}))
}
