//! Channels and a way to open them that do as a test says.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use channel::{
    Batch, Budget, Channel, Charge, Depth, Durability, Erased, Hub, Memory, MemoryLimits, Name,
    Overflow, Publish, PublishError, Reader, Strength, Work,
};
use tokio::sync::oneshot;

use super::{OpenFailure, OpenRequest, Opened, Opener};
use crate::spec::{ChannelChoice, ChannelKind};

/// A channel of any kind, in memory, that is as well as a test says.
#[derive(Debug)]
pub(crate) struct Fake {
    kind: ChannelKind,
    memory: Arc<Memory>,
    health: Mutex<Result<(), String>>,
    is_ended: AtomicBool,
    /// Channels and attempts of its maker that are not let go.
    held: Arc<AtomicUsize>,
}

impl Fake {
    pub(crate) fn new(kind: ChannelKind, budget: Arc<Budget>) -> Arc<Self> {
        Self::counted(kind, budget, Arc::new(AtomicUsize::new(1)))
    }

    fn counted(kind: ChannelKind, budget: Arc<Budget>, held: Arc<AtomicUsize>) -> Arc<Self> {
        let memory = Memory::new(1, MemoryLimits::default(), budget);
        let (health, is_ended) = (Mutex::new(Ok(())), AtomicBool::new(false));
        Arc::new(Self { kind, memory, health, is_ended, held })
    }

    pub(crate) fn set_health(&self, health: Result<(), String>) {
        *self.health.lock().unwrap() = health;
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.is_ended.load(Ordering::SeqCst)
    }
}

impl Channel for Fake {
    fn kind(&self) -> &'static str {
        self.kind.as_str()
    }

    fn durability(&self) -> Durability {
        match self.kind {
            ChannelKind::Memory => self.memory.durability(),
            _ => Durability { strength: Strength::Process, replicated: true },
        }
    }

    fn event_bytes_max(&self) -> usize {
        self.memory.event_bytes_max()
    }

    fn reserve(&self, bytes: usize) -> Result<Charge, PublishError> {
        self.memory.reserve(bytes)
    }

    fn publish(&self, worker: usize, events: Batch) -> Publish {
        self.memory.publish(worker, events)
    }

    fn keep_keys_together(&self, keyed: bool) {
        self.memory.keep_keys_together(keyed);
    }

    fn reader(&self, worker: usize) -> Box<dyn Reader> {
        self.memory.reader(worker)
    }

    fn depth(&self) -> Depth {
        self.memory.depth()
    }

    fn health(&self) -> Result<(), String> {
        self.health.lock().unwrap().clone()
    }

    fn overflow(&self, trigger: &Name, ordered: bool) -> Arc<dyn Overflow> {
        self.memory.overflow(trigger, ordered)
    }

    fn close(&self) {
        self.memory.close();
    }

    fn end(&self, _: Instant) -> Work<()> {
        if !self.is_ended.swap(true, Ordering::SeqCst) {
            self.held.fetch_sub(1, Ordering::SeqCst);
        }
        Box::pin(std::future::ready(()))
    }
}

/// What an attempt comes to.
#[derive(Debug)]
pub(crate) enum Step {
    /// It opens at once.
    Open,
    /// It fails at once.
    Fail(OpenFailure),
    /// It ends so after a while.
    Late(Duration, Result<(), OpenFailure>),
    /// It ends as this says, when it does.
    Wait(oneshot::Receiver<Result<(), OpenFailure>>),
    /// It panics.
    Panic,
}

/// Opens fake channels by a script; once that is over all attempts succeed at once, and those for
/// channels in memory always do.
#[derive(Debug, Default)]
pub(crate) struct Script {
    steps: Mutex<VecDeque<Step>>,
    /// What was opened, in order.
    pub(crate) opened: Mutex<Vec<Arc<Fake>>>,
    /// What was asked for, in order.
    pub(crate) asked: Mutex<Vec<ChannelKind>>,
    /// What was to be erased, in order.
    pub(crate) erased: Mutex<Vec<(Hub, ChannelKind)>>,
    /// What erasing comes to; once that is over nothing is left.
    pub(crate) erasing: Mutex<VecDeque<Result<Erased, OpenFailure>>>,
    held: Arc<AtomicUsize>,
    held_max: Arc<AtomicUsize>,
}

impl Script {
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> Arc<Self> {
        Arc::new(Self { steps: Mutex::new(steps.into_iter().collect()), ..Self::default() })
    }

    /// A step that ends when the sender is used.
    pub(crate) fn waiting() -> (Step, oneshot::Sender<Result<(), OpenFailure>>) {
        let (ends, step) = oneshot::channel();
        (Step::Wait(step), ends)
    }

    pub(crate) fn asked(&self) -> Vec<ChannelKind> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn opened(&self) -> Vec<Arc<Fake>> {
        self.opened.lock().unwrap().clone()
    }

    /// Most attempts and channels that were there at a time.
    pub(crate) fn held_max(&self) -> usize {
        self.held_max.load(Ordering::SeqCst)
    }
}

/// An opener for a test to give away while it keeps the script.
#[derive(Debug)]
pub(crate) struct ByScript(pub(crate) Arc<Script>);

impl Opener for ByScript {
    fn open(&self, request: OpenRequest) -> Work<Opened> {
        let script = Arc::clone(&self.0);
        let kind = request.choice.kind(ChannelKind::Memory);
        // As an attempt does: from its first poll on.
        Box::pin(async move {
            script.asked.lock().unwrap().push(kind);
            let held = script.held.fetch_add(1, Ordering::SeqCst) + 1;
            script.held_max.fetch_max(held, Ordering::SeqCst);
            let step = match kind {
                ChannelKind::Memory => None,
                _ => script.steps.lock().unwrap().pop_front(),
            };
            let step = step.unwrap_or(Step::Open);
            let ended = match step {
                Step::Open => Ok(()),
                Step::Fail(failure) => Err(failure),
                Step::Late(after, ended) => {
                    tokio::time::sleep(after).await;
                    ended
                }
                Step::Wait(ends) => ends.await.expect("the test ends it"),
                Step::Panic => {
                    script.held.fetch_sub(1, Ordering::SeqCst);
                    panic!("as the script says")
                }
            };
            if let Err(failure) = ended {
                script.held.fetch_sub(1, Ordering::SeqCst);
                return Err(failure);
            }
            let fake = Fake::counted(kind, request.budget, Arc::clone(&script.held));
            script.opened.lock().unwrap().push(Arc::clone(&fake));
            let channel: Arc<dyn Channel> = fake;
            Ok(channel)
        })
    }

    fn erase(&self, hub: &Hub, choice: &ChannelChoice) -> Work<Result<Erased, OpenFailure>> {
        let (script, hub) = (Arc::clone(&self.0), hub.clone());
        let kind = choice.kind(ChannelKind::Memory);
        Box::pin(async move {
            script.erased.lock().unwrap().push((hub, kind));
            script.erasing.lock().unwrap().pop_front().unwrap_or_else(|| Ok(Erased::default()))
        })
    }
}
