//! One broker from its resource to its end: opening, running, leaving; and the steps between.

use std::{sync::Arc, time::Duration};

use channel::{Budget, Name};
use dispatcher::Fanout;
use tokio::time::Instant;

use super::{
    Controller, Running,
    emptying::{Emptied, Emptying},
    opening::{News, Report, Start, UnderWay},
};
use crate::{
    channels::{OpenChannel, OpenFailure, OpenRequest},
    control::{BrokerState, NotReady},
    ingress::{Gate, Gates, Shut},
    spec::{ChannelChoice, ChannelKind},
    worker::Command,
};

/// How long the start waits for channels on servers when brokers beside them are at work already.
const BESIDE_PATIENCE: Duration = Duration::from_secs(1);

/// A broker and the channel it asks for.
#[derive(Debug)]
pub(super) struct Broker {
    /// Never [`ChannelChoice::Default`].
    pub(super) choice: ChannelChoice,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// Its channel is not open.
    Opening {
        under_way: UnderWay,
        budget: Arc<Budget>,
        why: NotReady,
        /// Whether an attempt has ended.
        is_tried: bool,
    },
    Running(Running),
    /// It asks for a channel of another kind: the one that it has takes no more events and delivers
    /// what it holds.
    Emptying {
        under_way: UnderWay,
        running: Running,
        /// What the channel that it has was asked for by.
        was: ChannelChoice,
        why: NotReady,
    },
    /// It asks for another channel: the one that it has is closed, and its deliveries end.
    Leaving {
        under_way: UnderWay,
        running: Running,
        why: NotReady,
    },
}

impl Broker {
    pub(super) fn running(&self) -> Option<&Running> {
        match &self.phase {
            Phase::Running(running) | Phase::Emptying { running, .. } => Some(running),
            Phase::Opening { .. } | Phase::Leaving { .. } => None,
        }
    }

    /// The broker while it delivers what it holds, before its channel is replaced.
    pub(super) fn emptying(&self) -> Option<&BrokerState> {
        match &self.phase {
            Phase::Emptying { running, .. } => Some(&running.state),
            _ => None,
        }
    }

    /// The broker at work, or why it is not.
    pub(super) fn state(&self) -> Result<BrokerState, NotReady> {
        match &self.phase {
            Phase::Running(running) => Ok(running.state.clone()),
            Phase::Opening { why, .. }
            | Phase::Emptying { why, .. }
            | Phase::Leaving { why, .. } => Err(why.clone()),
        }
    }

    fn gate(&self, name: &Name) -> Gate {
        match &self.phase {
            Phase::Running(running) => Gate::Open(Arc::clone(&running.gate)),
            Phase::Opening { why, .. }
            | Phase::Emptying { why, .. }
            | Phase::Leaving { why, .. } => {
                let NotReady { reason, message } = why.clone();
                Gate::Shut(Arc::new(Shut { broker: name.clone(), reason, message }))
            }
        }
    }

    fn ticket(&self) -> Option<u64> {
        match &self.phase {
            Phase::Opening { under_way, .. }
            | Phase::Emptying { under_way, .. }
            | Phase::Leaving { under_way, .. } => Some(under_way.ticket),
            Phase::Running(_) => None,
        }
    }
}

impl Controller {
    /// The next news of a channel that was not at hand; cancel safe.
    pub async fn report(&mut self) -> Report {
        self.openings.report().await
    }

    /// Follows news of a channel, and all others that are there: a broker whose channel has opened is
    /// given its triggers, then its gate opens.
    ///
    /// Not cancel safe: a change is to be made whole.
    pub async fn take(&mut self, report: Report) {
        let mut is_change = self.take_one(report).await;
        while let Some(report) = self.openings.waiting_report() {
            is_change |= self.take_one(report).await;
        }
        if is_change {
            self.follow(Vec::new()).await;
        }
    }

    /// Takes news until each broker's channel has opened or failed once, at most for `patience`; and
    /// no longer than a second once one is at work that needs no server.
    pub async fn settle(&mut self, patience: Duration) {
        let mut deadline = Instant::now() + patience;
        let is_untried =
            |broker: &Broker| matches!(broker.phase, Phase::Opening { is_tried: false, .. });
        let default = self.settings.channel_default;
        let is_here = |broker: &Broker| {
            let kind = broker.choice.kind(default);
            broker.running().is_some() && matches!(kind, ChannelKind::Disk | ChannelKind::Memory)
        };
        while self.brokers.values().any(is_untried) {
            if self.brokers.values().any(is_here) {
                deadline = deadline.min(Instant::now() + BESIDE_PATIENCE);
            }
            let Ok(report) = tokio::time::timeout_at(deadline, self.report()).await else { return };
            self.take(report).await;
        }
    }

    /// Closes all channels and lets go of their backends, once the workers have ended.
    pub async fn end(self) {
        let deadline = std::time::Instant::now() + super::opening::END_TIMEOUT;
        let ends = self.brokers.into_values().filter_map(|broker| {
            let running = broker.into_running()?;
            running.state.channel.close();
            Some(running.state.channel.end(deadline))
        });
        let ends = futures_util::future::join_all(ends.collect::<Vec<_>>());
        let openings = self.openings.end(deadline);
        let all = futures_util::future::join(ends, openings);
        if tokio::time::timeout_at(deadline.into(), all).await.is_err() {
            tracing::warn!("a channel did not let go in time");
        }
    }

    /// Closes what is gone or asks for another channel, opens what is new. Returns what is gone.
    pub(super) async fn follow_brokers(&mut self) -> Vec<Name> {
        let resources = Arc::clone(&self.snapshot.resources);
        let gone: Vec<Name> = self.brokers.keys().cloned().collect();
        let gone: Vec<Name> =
            gone.into_iter().filter(|name| !resources.brokers.contains_key(name)).collect();
        let ending: Vec<Broker> =
            gone.iter().filter_map(|name| self.brokers.remove(name)).collect();
        let mut new = Vec::new();
        for name in resources.brokers.keys() {
            let choice = resources.channels.get(name).cloned().unwrap_or_default();
            let choice = choice.or(self.settings.channel_default);
            if self.ask_for(name, &choice) {
                new.push((name.clone(), choice));
            }
        }
        // Gates close before the triggers go: nobody gets a 202 for an event that nothing waits for.
        self.swap_gates();
        for (name, broker) in gone.iter().zip(ending) {
            if let Some(running) = broker.into_running() {
                running.state.channel.close();
                if running.state.fanout.outlives {
                    self.keep_waiting_of(name);
                }
                self.route(&running, Vec::new()).await;
                self.openings.let_go(name, running.state.channel);
            }
        }
        for broker in self.brokers.values() {
            if let Phase::Leaving { running, .. } = &broker.phase {
                running.state.channel.close();
            }
        }
        for (name, choice) in new {
            self.open(name, choice).await;
        }
        gone
    }

    /// Notes the channel that a broker asks for. Returns whether it is to be opened now.
    fn ask_for(&mut self, name: &Name, choice: &ChannelChoice) -> bool {
        let Some(broker) = self.brokers.remove(name) else { return true };
        if broker.choice == *choice {
            self.brokers.insert(name.clone(), broker);
            return false;
        }
        let default = self.settings.channel_default;
        let (old, new) = (broker.choice.kind(default), choice.kind(default));
        let leaving = match broker.phase {
            // Its tries end with it.
            Phase::Opening { .. } => return true,
            Phase::Running(running) if running.state.fanout.outlives && old != new => {
                let BrokerState { fanout, channel, .. } = &running.state;
                let (fanout, channel) = (Arc::clone(fanout), Arc::clone(channel));
                let emptying = Emptying { fanout, channel };
                let left = emptying.events();
                tracing::warn!(
                    broker = %name,
                    from = old.as_str(),
                    to = new.as_str(),
                    left,
                    "the channel is replaced: the old one takes no more events and is emptied first"
                );
                let under_way = self.openings.empty(name, emptying);
                Phase::Emptying {
                    under_way,
                    running,
                    was: broker.choice,
                    why: emptied(old, new, left),
                }
            }
            // Whoever changes their mind finds all as it was.
            Phase::Emptying { running, was, .. } if was == *choice => {
                tracing::info!(broker = %name, channel = new.as_str(), "the channel stays");
                Phase::Running(running)
            }
            Phase::Emptying { under_way, running, was, .. } => {
                let emptying = Emptying {
                    fanout: Arc::clone(&running.state.fanout),
                    channel: Arc::clone(&running.state.channel),
                };
                let why = emptied(was.kind(default), new, emptying.events());
                Phase::Emptying { under_way, running, was, why }
            }
            Phase::Running(running) => {
                let dead_letters = running.state.fanout.dead_letters.held().0;
                tracing::warn!(
                    broker = %name,
                    from = old.as_str(),
                    to = new.as_str(),
                    dead_letters,
                    "the channel is replaced: the old one is closed and drained, its dead letters go"
                );
                let patience = self.settings.drain.timeout;
                Phase::Leaving {
                    under_way: self.drain(name, &running, patience),
                    running,
                    why: changing(old, new),
                }
            }
            Phase::Leaving { under_way, running, .. } => {
                Phase::Leaving { under_way, running, why: changing(old, new) }
            }
        };
        self.brokers.insert(name.clone(), Broker { choice: choice.clone(), phase: leaving });
        false
    }

    /// Closes channels that have failed for good and opens them again; a disk's data is the next
    /// process's to look at.
    ///
    /// Not cancel safe: a change is to be made whole.
    pub async fn reopen_failed(&mut self) {
        let has_failed = |broker: &Broker| {
            let channel = broker.running().map(|running| &running.state.channel);
            channel.is_some_and(|channel| {
                channel.failure().is_some() && channel.kind() != ChannelKind::Disk.as_str()
            })
        };
        let failed = self.brokers.iter().filter(|(_, broker)| has_failed(broker));
        let failed: Vec<Name> = failed.map(|(name, _)| name.clone()).collect();
        for name in &failed {
            let Some(Broker { choice, phase }) = self.brokers.remove(name) else { continue };
            let Some(running) = (Broker { choice: choice.clone(), phase }).into_running() else {
                continue;
            };
            let channel = Arc::clone(&running.state.channel);
            let message = channel.failure().unwrap_or_default();
            tracing::error!(broker = %name, %message, "a channel failed and is opened again");
            channel.close();
            let phase = Phase::Leaving {
                under_way: self.drain(name, &running, Duration::ZERO),
                running,
                why: NotReady { reason: "ChannelFailed", message },
            };
            self.brokers.insert(name.clone(), Broker { choice, phase });
        }
        if !failed.is_empty() {
            self.follow(Vec::new()).await;
        }
    }

    /// Opens a broker's channel, and starts the broker if it is at hand.
    async fn open(&mut self, name: Name, choice: ChannelChoice) {
        let budget = self.control.budget.part(self.settings.memory.bytes_max);
        let request = OpenRequest {
            name: name.clone(),
            choice: choice.clone(),
            budget: Arc::clone(&budget),
            dead_letters: self.settings.dead_letters,
        };
        let phase = match self.openings.open(request).await {
            Start::Open(open) => Phase::Running(self.run(&name, open, budget).await),
            Start::UnderWay(under_way) => {
                let default = self.settings.channel_default;
                let kind = choice.kind(default).as_str();
                let message = match self.settings.server_of(choice.kind(default)) {
                    Some(address) => format!("{kind} is being opened at {address}"),
                    None => format!("{kind} is being opened"),
                };
                let why = NotReady { reason: "ChannelOpening", message };
                Phase::Opening { under_way, budget, why, is_tried: false }
            }
        };
        self.brokers.insert(name, Broker { choice, phase });
    }

    /// Returns whether anything has changed.
    async fn take_one(&mut self, report: Report) -> bool {
        let Report { broker: name, ticket, news } = report;
        let is_current = |broker: &&mut Broker| broker.ticket() == Some(ticket);
        let broker = self.brokers.get_mut(&name).filter(is_current);
        match (news, broker) {
            (News::Failed(failure), Some(broker)) => {
                let kind = broker.choice.kind(self.settings.channel_default);
                broker.note(kind, &failure)
            }
            (News::Opened(open, turn), Some(_)) => {
                drop(turn);
                self.start(name, open).await;
                true
            }
            (News::Left(left), Some(broker)) => {
                let kind = broker.choice.kind(self.settings.channel_default);
                if let Phase::Emptying { was, why, .. } = &mut broker.phase {
                    *why = emptied(was.kind(self.settings.channel_default), kind, left);
                }
                true
            }
            (News::Emptied(how), Some(_)) => {
                self.close_emptied(&name, how);
                true
            }
            (News::Drained, Some(_)) => {
                self.replace(name).await;
                true
            }
            (News::Opened(open, turn), None) => {
                self.openings.discard(open.channel, turn);
                false
            }
            (News::Failed(_) | News::Left(_) | News::Emptied(_) | News::Drained, None) => false,
        }
    }

    /// Starts a broker whose channel has opened.
    async fn start(&mut self, name: Name, open: OpenChannel) {
        let Some(broker) = self.brokers.remove(&name) else { return };
        let Phase::Opening { budget, .. } = broker.phase else { return };
        let phase = Phase::Running(self.run(&name, open, budget).await);
        self.brokers.insert(name, Broker { choice: broker.choice, phase });
    }

    /// Closes a channel that has been emptied, and ends its deliveries.
    fn close_emptied(&mut self, name: &Name, how: Emptied) {
        let Some(Broker { choice, phase }) = self.brokers.remove(name) else { return };
        let Phase::Emptying { running, was, .. } = phase else { return };
        let default = self.settings.channel_default;
        let (old, new) = (was.kind(default), choice.kind(default));
        let BrokerState { channel, .. } = &running.state;
        channel.close();
        let kind = old.as_str();
        let events = channel.depth().events;
        if events > 0 {
            let why = channel.health().err().unwrap_or_default();
            tracing::warn!(broker = %name, channel = kind, events, why, "events stay in the former channel: they come back with it");
        }
        let of_broker = self.triggers.values().filter(|it| it.made_from.broker_name == *name);
        for trigger in of_broker {
            let events = trigger.running.overflow.depth().events;
            if events > 0 {
                let trigger = &trigger.running.plan.name;
                tracing::warn!(broker = %name, %trigger, channel = kind, events, "events that wait stay in the former channel: they come back with it");
            }
        }
        let patience = match how {
            Emptied::Empty => self.settings.drain.timeout,
            Emptied::Down => Duration::ZERO,
        };
        let under_way = self.drain(name, &running, patience);
        let phase = Phase::Leaving { under_way, running, why: changing(old, new) };
        self.brokers.insert(name.clone(), Broker { choice, phase });
    }

    /// Lets the deliveries from a closed channel end.
    fn drain(&mut self, name: &Name, running: &Running, patience: Duration) -> UnderWay {
        let (state, control) = (running.state.clone(), Arc::clone(&self.control));
        self.openings.drain(name, state, control, patience)
    }

    /// Ends what is left of a broker's old channel, and opens the one that it asks for.
    async fn replace(&mut self, name: Name) {
        let Some(broker) = self.brokers.remove(&name) else { return };
        let Phase::Leaving { running, .. } = broker.phase else { return };
        self.route(&running, Vec::new()).await;
        self.tell_workers(|| Command::Forget { broker: name.clone() }).await;
        self.openings.let_go(&name, running.state.channel);
        self.open(name, broker.choice).await;
    }

    /// Has a worker send on what an earlier process had not got to its dead letter sinks.
    pub(super) async fn resume_sinks(&self, fanout: &Arc<Fanout>) {
        if let Some(worker) = self.control.workers().first()
            && worker.send(Command::ResumeSinks { fanout: Arc::clone(fanout) }).await.is_err()
        {
            tracing::error!(worker = 0, "a worker has ended");
        }
    }

    pub(super) fn swap_gates(&self) {
        let gates: Gates = self
            .brokers
            .iter()
            .map(|(name, broker)| (name.to_string(), broker.gate(name)))
            .collect();
        self.gates.store(Arc::new(gates));
    }

    /// The broker at work that a trigger takes events from.
    pub(super) fn broker_at_work(&self, name: &Name) -> Result<BrokerState, NotReady> {
        let broker = self.brokers.get(name);
        if let Some(running) = broker.and_then(Broker::running) {
            return Ok(running.state.clone());
        }
        let why = match broker.map(Broker::state) {
            Some(Ok(state)) => return Ok(state),
            Some(Err(why)) => why,
            None => NotReady { reason: "Unknown", message: "it is not known".to_owned() },
        };
        let message = format!("Broker {:?}: {}: {}", name.to_string(), why.reason, why.message);
        Err(NotReady { reason: "BrokerNotReady", message })
    }
}

impl Broker {
    fn into_running(self) -> Option<Running> {
        match self.phase {
            Phase::Running(running)
            | Phase::Emptying { running, .. }
            | Phase::Leaving { running, .. } => Some(running),
            Phase::Opening { .. } => None,
        }
    }

    /// Notes why the channel is not open. Returns whether that is news.
    fn note(&mut self, kind: ChannelKind, failure: &OpenFailure) -> bool {
        let Phase::Opening { why, is_tried, .. } = &mut self.phase else { return false };
        let message = format!("{}: {}", kind.as_str(), failure.message);
        let now = NotReady { reason: failure.reason, message };
        *is_tried = true;
        let is_news = *why != now;
        *why = now;
        is_news
    }
}

/// Why a broker is not ready while its durable channel is emptied.
fn emptied(old: ChannelKind, new: ChannelKind, left: usize) -> NotReady {
    let mut why = changing(old, new);
    let are_left = if left == 1 { "event is left" } else { "events are left" };
    why.message.push_str(&format!(": {left} {are_left}"));
    why
}

fn changing(old: ChannelKind, new: ChannelKind) -> NotReady {
    let message = format!("{} is being emptied, to be replaced by {}", old.as_str(), new.as_str());
    NotReady { reason: "ChannelChanging", message }
}
