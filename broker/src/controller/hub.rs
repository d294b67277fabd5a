//! One broker or channel from its resource to its end: opening, running, leaving; and the steps between.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use channel::{Budget, Hub, HubKind};
use dispatcher::Fanout;
use tokio::time::Instant;

use super::{
    Controller, Running,
    emptying::{Emptied, Emptying},
    opening::{News, Report, Start, UnderWay},
};
use crate::{
    channels::{OpenChannel, OpenFailure, OpenRequest},
    control::{HubState, NotReady},
    ingress::{Gate, Gates, Shut},
    spec::{ChannelChoice, ChannelKind},
    worker::Command,
};

/// How long the start waits for channels on servers when hubs beside them are at work already.
const BESIDE_PATIENCE: Duration = Duration::from_secs(1);

/// A hub and the channel it asks for.
#[derive(Debug)]
pub(super) struct Site {
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

impl Site {
    pub(super) fn running(&self) -> Option<&Running> {
        match &self.phase {
            Phase::Running(running) | Phase::Emptying { running, .. } => Some(running),
            Phase::Opening { .. } | Phase::Leaving { .. } => None,
        }
    }

    /// The hub while it delivers what it holds, before its channel is replaced.
    pub(super) fn emptying(&self) -> Option<&HubState> {
        match &self.phase {
            Phase::Emptying { running, .. } => Some(&running.state),
            _ => None,
        }
    }

    /// The hub at work, or why it is not.
    pub(super) fn state(&self) -> Result<HubState, NotReady> {
        match &self.phase {
            Phase::Running(running) => Ok(running.state.clone()),
            Phase::Opening { why, .. }
            | Phase::Emptying { why, .. }
            | Phase::Leaving { why, .. } => Err(why.clone()),
        }
    }

    fn gate(&self, hub: &Hub) -> Gate {
        match &self.phase {
            Phase::Running(running) => Gate::Open(Arc::clone(&running.gate)),
            Phase::Opening { why, .. }
            | Phase::Emptying { why, .. }
            | Phase::Leaving { why, .. } => {
                let NotReady { reason, message } = why.clone();
                Gate::Shut(Arc::new(Shut { hub: hub.clone(), reason, message }))
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

    /// Follows news of a channel, and all others that are there: a hub whose channel has opened is
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

    /// Takes news until each hub's channel has opened or failed once, at most for `patience`; and
    /// no longer than a second once one is at work that needs no server.
    pub async fn settle(&mut self, patience: Duration) {
        let mut deadline = Instant::now() + patience;
        let is_untried = |site: &Site| matches!(site.phase, Phase::Opening { is_tried: false, .. });
        let default = self.settings.channel_default;
        let is_here = |site: &Site| {
            let kind = site.choice.kind(default);
            site.running().is_some() && matches!(kind, ChannelKind::Disk | ChannelKind::Memory)
        };
        while self.hubs.values().any(is_untried) {
            if self.hubs.values().any(is_here) {
                deadline = deadline.min(Instant::now() + BESIDE_PATIENCE);
            }
            let Ok(report) = tokio::time::timeout_at(deadline, self.report()).await else { return };
            self.take(report).await;
        }
    }

    /// Closes all channels and lets go of their backends, once the workers have ended.
    pub async fn end(self) {
        let deadline = std::time::Instant::now() + super::opening::END_TIMEOUT;
        self.sources.end(deadline).await;
        let ends = self.hubs.into_values().filter_map(|site| {
            let running = site.into_running()?;
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
    pub(super) async fn follow_hubs(&mut self) -> Vec<Hub> {
        let resources = Arc::clone(&self.snapshot.resources);
        let gone: Vec<Hub> = self.hubs.keys().cloned().collect();
        let wanted: BTreeSet<Hub> = resources.hubs().collect();
        let gone: Vec<Hub> = gone.into_iter().filter(|hub| !wanted.contains(hub)).collect();
        let ending: Vec<Site> = gone.iter().filter_map(|hub| self.hubs.remove(hub)).collect();
        let mut new = Vec::new();
        for hub in &wanted {
            let choice = resources.choices.get(hub).cloned().unwrap_or_default();
            let choice = choice.or(self.settings.channel_default);
            if self.ask_for(hub, &choice) {
                new.push((hub.clone(), choice));
            }
        }
        // Gates close before the triggers go: nobody gets a 202 for an event that nothing waits for.
        self.swap_gates();
        for (hub, site) in gone.iter().zip(ending) {
            if let Some(running) = site.into_running() {
                running.state.channel.close();
                if running.state.fanout.outlives {
                    self.keep_waiting_of(hub);
                }
                self.route(&running, Vec::new()).await;
                self.openings.let_go(hub, running.state.channel);
            }
        }
        for site in self.hubs.values() {
            if let Phase::Leaving { running, .. } = &site.phase {
                running.state.channel.close();
            }
        }
        for (hub, choice) in new {
            self.open(hub, choice).await;
        }
        gone
    }

    /// Notes the channel that a hub asks for. Returns whether it is to be opened now.
    fn ask_for(&mut self, hub: &Hub, choice: &ChannelChoice) -> bool {
        let Some(site) = self.hubs.remove(hub) else { return true };
        if site.choice == *choice {
            self.hubs.insert(hub.clone(), site);
            return false;
        }
        let default = self.settings.channel_default;
        let (old, new) = (site.choice.kind(default), choice.kind(default));
        let leaving = match site.phase {
            // Its tries end with it.
            Phase::Opening { .. } => return true,
            Phase::Running(running) if running.state.fanout.outlives && old != new => {
                let HubState { fanout, channel, .. } = &running.state;
                let (fanout, channel) = (Arc::clone(fanout), Arc::clone(channel));
                let emptying = Emptying { fanout, channel };
                let left = emptying.events();
                tracing::warn!(
                    %hub,
                    from = old.as_str(),
                    to = new.as_str(),
                    left,
                    "the channel is replaced: the old one takes no more events and is emptied first"
                );
                let under_way = self.openings.empty(hub, emptying);
                Phase::Emptying {
                    under_way,
                    running,
                    was: site.choice,
                    why: emptied(old, new, left),
                }
            }
            // Whoever changes their mind finds all as it was.
            Phase::Emptying { running, was, .. } if was == *choice => {
                tracing::info!(%hub, channel = new.as_str(), "the channel stays");
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
                    %hub,
                    from = old.as_str(),
                    to = new.as_str(),
                    dead_letters,
                    "the channel is replaced: the old one is closed and drained, its dead letters go"
                );
                let patience = self.settings.drain.timeout;
                Phase::Leaving {
                    under_way: self.drain(hub, &running, patience),
                    running,
                    why: changing(old, new),
                }
            }
            Phase::Leaving { under_way, running, .. } => {
                Phase::Leaving { under_way, running, why: changing(old, new) }
            }
        };
        self.hubs.insert(hub.clone(), Site { choice: choice.clone(), phase: leaving });
        false
    }

    /// Closes channels that have failed for good and opens them again; a disk's data is the next
    /// process's to look at.
    ///
    /// Not cancel safe: a change is to be made whole.
    pub async fn reopen_failed(&mut self) {
        let has_failed = |site: &Site| {
            let channel = site.running().map(|running| &running.state.channel);
            channel.is_some_and(|channel| {
                channel.failure().is_some() && channel.kind() != ChannelKind::Disk.as_str()
            })
        };
        let failed = self.hubs.iter().filter(|(_, site)| has_failed(site));
        let failed: Vec<Hub> = failed.map(|(hub, _)| hub.clone()).collect();
        for hub in &failed {
            let Some(Site { choice, phase }) = self.hubs.remove(hub) else { continue };
            let Some(running) = (Site { choice: choice.clone(), phase }).into_running() else {
                continue;
            };
            let channel = Arc::clone(&running.state.channel);
            let message = channel.failure().unwrap_or_default();
            tracing::error!(%hub, %message, "a channel failed and is opened again");
            channel.close();
            let phase = Phase::Leaving {
                under_way: self.drain(hub, &running, Duration::ZERO),
                running,
                why: NotReady { reason: "ChannelFailed", message },
            };
            self.hubs.insert(hub.clone(), Site { choice, phase });
        }
        if !failed.is_empty() {
            self.follow(Vec::new()).await;
        }
    }

    /// Opens a hub's channel, and starts the hub if it is at hand.
    async fn open(&mut self, hub: Hub, choice: ChannelChoice) {
        let budget = self.control.budget.part(self.settings.memory.bytes_max);
        let request = OpenRequest {
            hub: hub.clone(),
            choice: choice.clone(),
            budget: Arc::clone(&budget),
            dead_letters: self.settings.dead_letters,
        };
        let phase = match self.openings.open(request).await {
            Start::Open(open) => Phase::Running(self.run(&hub, open, budget).await),
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
        self.hubs.insert(hub, Site { choice, phase });
    }

    /// Returns whether anything has changed.
    async fn take_one(&mut self, report: Report) -> bool {
        let Report { hub, ticket, news } = report;
        let is_current = |site: &&mut Site| site.ticket() == Some(ticket);
        let site = self.hubs.get_mut(&hub).filter(is_current);
        match (news, site) {
            (News::Failed(failure), Some(site)) => {
                let kind = site.choice.kind(self.settings.channel_default);
                site.note(kind, &failure)
            }
            (News::Opened(open, turn), Some(_)) => {
                drop(turn);
                self.start(hub, open).await;
                true
            }
            (News::Left(left), Some(site)) => {
                let kind = site.choice.kind(self.settings.channel_default);
                if let Phase::Emptying { was, why, .. } = &mut site.phase {
                    *why = emptied(was.kind(self.settings.channel_default), kind, left);
                }
                true
            }
            (News::Emptied(how), Some(_)) => {
                self.close_emptied(&hub, how);
                true
            }
            (News::Drained, Some(_)) => {
                self.replace(hub).await;
                true
            }
            (News::Opened(open, turn), None) => {
                self.openings.discard(open.channel, turn);
                false
            }
            (News::Failed(_) | News::Left(_) | News::Emptied(_) | News::Drained, None) => false,
        }
    }

    /// Starts a hub whose channel has opened.
    async fn start(&mut self, hub: Hub, open: OpenChannel) {
        let Some(site) = self.hubs.remove(&hub) else { return };
        let Phase::Opening { budget, .. } = site.phase else { return };
        let phase = Phase::Running(self.run(&hub, open, budget).await);
        self.hubs.insert(hub, Site { choice: site.choice, phase });
    }

    /// Closes a channel that has been emptied, and ends its deliveries.
    fn close_emptied(&mut self, hub: &Hub, how: Emptied) {
        let Some(Site { choice, phase }) = self.hubs.remove(hub) else { return };
        let Phase::Emptying { running, was, .. } = phase else { return };
        let default = self.settings.channel_default;
        let (old, new) = (was.kind(default), choice.kind(default));
        let HubState { channel, .. } = &running.state;
        channel.close();
        let kind = old.as_str();
        let events = channel.depth().events;
        if events > 0 {
            let why = channel.health().err().unwrap_or_default();
            tracing::warn!(%hub, channel = kind, events, why, "events stay in the former channel: they come back with it");
        }
        let of_hub = self.triggers.values().filter(|it| it.made_from.hub == *hub);
        for trigger in of_hub {
            let events = trigger.running.overflow.depth().events;
            if events > 0 {
                let trigger = &trigger.running.plan.name;
                tracing::warn!(%hub, %trigger, channel = kind, events, "events that wait stay in the former channel: they come back with it");
            }
        }
        let patience = match how {
            Emptied::Empty => self.settings.drain.timeout,
            Emptied::Down => Duration::ZERO,
        };
        let under_way = self.drain(hub, &running, patience);
        let phase = Phase::Leaving { under_way, running, why: changing(old, new) };
        self.hubs.insert(hub.clone(), Site { choice, phase });
    }

    /// Lets the deliveries from a closed channel end.
    fn drain(&mut self, hub: &Hub, running: &Running, patience: Duration) -> UnderWay {
        let (state, control) = (running.state.clone(), Arc::clone(&self.control));
        self.openings.drain(hub, state, control, patience)
    }

    /// Ends what is left of a hub's old channel, and opens the one that it asks for.
    async fn replace(&mut self, hub: Hub) {
        let Some(site) = self.hubs.remove(&hub) else { return };
        let Phase::Leaving { running, .. } = site.phase else { return };
        self.route(&running, Vec::new()).await;
        self.tell_workers(|| Command::Forget { hub: hub.clone() }).await;
        self.openings.let_go(&hub, running.state.channel);
        self.open(hub, site.choice).await;
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
        let gates: Gates =
            self.hubs.iter().map(|(hub, site)| (hub.to_string(), site.gate(hub))).collect();
        self.gates.store(Arc::new(gates));
    }

    /// The hub at work that a trigger takes events from.
    pub(super) fn hub_at_work(&self, hub: &Hub) -> Result<HubState, NotReady> {
        let site = self.hubs.get(hub);
        if let Some(running) = site.and_then(Site::running) {
            return Ok(running.state.clone());
        }
        let why = match site.map(Site::state) {
            Some(Ok(state)) => return Ok(state),
            Some(Err(why)) => why,
            None => NotReady { reason: "Unknown", message: "it is not known".to_owned() },
        };
        let (kind, reason) = match hub.kind {
            HubKind::Broker => ("Broker", "BrokerNotReady"),
            HubKind::Channel => ("Channel", "ChannelNotReady"),
        };
        let message = format!("{kind} {:?}: {}: {}", hub.name.to_string(), why.reason, why.message);
        Err(NotReady { reason, message })
    }
}

impl Site {
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

/// Why a hub is not ready while its durable channel is emptied.
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
