//! What one look at SinkBindings and ContainerSources does, and what it came to.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher as _},
};

use ::sources::binding::Environment;
use channel::Name;
use kube::core::{ApiResource, DynamicObject};
use serde_json::json;
use tokio::time::{Duration, Instant};

use super::{
    binder::Binder,
    deployment::{self, Applied},
    requests::{Failed, Manager, Requests},
    subjects::{Known, Thing},
    template,
    wanted::{Binding, Container, Wanted, deployments},
};
use crate::cluster::{apiserver::Trouble, referred::KindKey};

/// The first wait after a failure; it doubles with each further one.
const RETRY_FIRST: Duration = Duration::from_secs(1);

/// The longest such wait.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// How often what somebody else takes out is put in again at once, and in what time.
const RESTORED_MAX: u32 = 3;
const RESTORED_IN: Duration = Duration::from_secs(600);

/// The longest wait before it is put in again after that.
const CONTEST_MAX: Duration = Duration::from_secs(300);

/// Who writes to which object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Target {
    /// A SinkBinding, by its namespace and its part of the manager's name; without one it is a Deployment of
    /// a ContainerSource.
    pub(super) binding: Option<Name>,
    pub(super) kind: KindKey,
    pub(super) object: Name,
}

/// What became of an object that is written to.
#[derive(Debug, Default)]
pub(super) struct State {
    /// What was applied last, and the generation that it made.
    pub(super) applied: Option<(u64, i64)>,
    pub(super) failure: Option<Failure>,
    /// How often it was put in again because somebody else had taken it out; and when last.
    restored: u32,
    restored_at: Option<Instant>,
}

/// Why an object could not be written to.
#[derive(Debug)]
pub(super) struct Failure {
    /// What was to be applied, to which generation.
    of: (u64, i64),
    times: u32,
    again_at: Instant,
    pub(super) trouble: Trouble,
}

impl State {
    /// Until when nothing is put in, because others take it out again and again.
    pub(super) fn contested_until(&self) -> Option<Instant> {
        let last = self.restored_at?;
        let more = self.restored.checked_sub(RESTORED_MAX)?;
        let wait = Duration::from_secs(10).saturating_mul(1 << more.min(8)).min(CONTEST_MAX);
        Some(last + wait)
    }
}

/// One thing to do.
pub(super) struct Work {
    pub(super) target: Target,
    /// What it is about, to tell whether it was done.
    pub(super) digest: u64,
    resource: ApiResource,
    uid: String,
    task: Task,
}

enum Task {
    Bind(Environment),
    Unbind,
    Deploy(Box<Applied>),
}

/// What a thing to do came to.
pub(super) enum Done {
    /// The object as it is now, and whether it had to be written to.
    Applied(Box<DynamicObject>, bool),
    /// Nothing of it is there any more.
    Removed(Option<Box<DynamicObject>>),
    Failed(Failed),
}

impl Work {
    /// Does it, and says what it was about.
    pub(super) async fn run(self, requests: &Requests) -> (Target, u64, Done) {
        let (target, digest) = (self.target.clone(), self.digest);
        (target, digest, self.perform(requests).await)
    }

    async fn perform(self, requests: &Requests) -> Done {
        let Self { target, resource, uid, task, .. } = self;
        let metadata =
            |name: &Name| json!({"name": name.name, "namespace": name.namespace, "uid": uid});
        let part = target.binding.as_ref().map(|binding| binding.name.as_str()).unwrap_or_default();
        let manager = Manager::Binding(part);
        let name = &target.object;
        let outcome = match task {
            Task::Bind(environment) => {
                let object = match requests.get(&resource, name).await {
                    Ok(object) => object,
                    Err(failed) => return Done::Failed(failed),
                };
                let is_ours = Thing::of(&object).bound_by.iter().any(|it| it == part);
                if is_ours && template::is_bound(&resource.kind, &object, &environment) {
                    return Done::Applied(Box::new(object), false);
                }
                let fields = match template::bound(&resource.kind, &object, &environment) {
                    Ok(fields) => fields,
                    Err(why) => {
                        let why = format!("{} {name}: {why}", resource.kind);
                        let trouble = Trouble { reason: "NoPodTemplate", why };
                        return Done::Failed(Failed::Because(trouble));
                    }
                };
                requests.apply(&resource, name, metadata(name), fields, manager).await
            }
            Task::Unbind => {
                return match requests.release(&resource, name, metadata(name), manager).await {
                    Ok(object) => Done::Removed(Some(Box::new(object))),
                    Err(Failed::Gone) => Done::Removed(None),
                    Err(failed) => Done::Failed(failed),
                };
            }
            Task::Deploy(applied) => {
                let Applied { metadata, fields } = *applied;
                requests.apply(&resource, name, metadata, fields, Manager::Program).await
            }
        };
        match outcome {
            Ok(object) => Done::Applied(Box::new(object), true),
            Err(failed) => Done::Failed(failed),
        }
    }
}

impl Binder {
    /// What there is to do now. SinkBindings that could not be marked as having something to take out
    /// put nothing in.
    pub(super) fn works(
        &mut self,
        wanted: &Wanted,
        unmarked: &BTreeMap<Name, Option<Trouble>>,
    ) -> Vec<Work> {
        let mut works = Vec::new();
        let mut targets = Vec::new();
        for binding in wanted.bindings.iter().filter(|it| !unmarked.contains_key(&it.name)) {
            let Some(environment) = &binding.environment else { continue };
            let digest = digest(environment);
            let Some(resource) = self.subjects.resource(&binding.kind).cloned() else { continue };
            for (name, thing) in binding.subjects(&self.subjects) {
                let target = binding.target(name);
                let task = Task::Bind(environment.clone());
                let (resource, uid) = (resource.clone(), thing.uid.clone());
                let generation = thing.generation;
                works.push((Work { target, digest, resource, uid, task }, generation));
            }
        }
        for (kind, name, thing) in self.subjects.all().filter(|(_, _, thing)| !thing.is_ending) {
            for part in &thing.bound_by {
                if wanted.keeps(kind, name, thing, part) {
                    continue;
                }
                let Some(resource) = self.subjects.resource(kind).cloned() else { continue };
                let binding = Some(Name::new(name.namespace.as_str(), part.as_str()));
                let target = Target { binding, kind: kind.clone(), object: name.clone() };
                let (uid, task) = (thing.uid.clone(), Task::Unbind);
                works.push((Work { target, digest: 0, resource, uid, task }, thing.generation));
            }
        }
        works.extend(wanted.containers.iter().filter_map(|source| self.deploy(source)));
        let now = Instant::now();
        works.retain(|(work, generation)| {
            targets.push(work.target.clone());
            let Some(state) = self.states.get(&work.target) else { return true };
            let of = (work.digest, *generation);
            if state.applied == Some(of) {
                return false;
            }
            let is_failed = |it: &Failure| it.of == of && it.again_at > now;
            !state.failure.as_ref().is_some_and(is_failed)
                && (matches!(work.task, Task::Unbind)
                    || state.contested_until().is_none_or(|until| until <= now))
        });
        let is_one: std::collections::HashSet<Target> = targets.into_iter().collect();
        self.states.retain(|target, _| is_one.contains(target));
        let waits: Vec<Instant> = self
            .states
            .values()
            .flat_map(|state| {
                [state.failure.as_ref().map(|it| it.again_at), state.contested_until()]
            })
            .flatten()
            .filter(|at| *at > now)
            .collect();
        waits.into_iter().for_each(|at| self.look_at(at));
        works.into_iter().map(|(work, _)| work).collect()
    }

    /// What makes the Deployment of a ContainerSource what it should be.
    fn deploy(&self, source: &Container) -> Option<(Work, i64)> {
        let environment = source.environment.as_ref()?;
        let kind = deployments();
        let resource = self.subjects.resource(&kind)?.clone();
        // Whose it is must be known first.
        if !matches!(self.subjects.known(&kind), Some(Known::Listed)) {
            return None;
        }
        let target = source.target();
        let thing = self.subjects.get(&kind, &target.object);
        if thing.is_some_and(|thing| !source.owns(thing) || thing.is_ending) {
            return None;
        }
        let applied = deployment::applied(source, environment);
        let digest = digest(&(applied.metadata.to_string(), applied.fields.to_string()));
        let (label, value) = deployment::label(&source.name);
        // Labels have no generation: what lacks its own is written to again.
        let is_whole = |it: &&Thing| it.labels.get(label) == Some(&value);
        let generation = thing.filter(is_whole).map_or(-1, |thing| thing.generation);
        let task = Task::Deploy(Box::new(applied));
        Some((Work { target, digest, resource, uid: String::new(), task }, generation))
    }

    /// Notes what something that was to be done came to.
    pub(super) fn note(&mut self, target: Target, digest: u64, done: Done) {
        let now = Instant::now();
        match done {
            Done::Applied(object, is_written) => {
                let generation = object.metadata.generation.unwrap_or_default();
                self.subjects.note(&target.kind, &target.object, &object);
                let state = self.states.entry(target.clone()).or_default();
                let was_there = state.applied.is_some_and(|(before, _)| before == digest);
                let is_changed = state.applied.is_some_and(|(_, before)| before != generation);
                if is_written && was_there && is_changed && target.binding.is_some() {
                    let is_recent = state.restored_at.is_some_and(|at| now - at < RESTORED_IN);
                    state.restored = if is_recent { state.restored.saturating_add(1) } else { 1 };
                    state.restored_at = Some(now);
                }
                state.applied = Some((digest, generation));
                state.failure = None;
            }
            Done::Removed(object) => {
                if let Some(object) = object {
                    self.subjects.note(&target.kind, &target.object, &object);
                }
                self.states.remove(&target);
            }
            Done::Failed(Failed::Gone) => drop(self.states.remove(&target)),
            Done::Failed(Failed::Because(trouble)) => {
                let thing = self.subjects.get(&target.kind, &target.object);
                let generation = thing.map_or(-1, |thing| thing.generation);
                let state = self.states.entry(target.clone()).or_default();
                let before = state.failure.take();
                let times = before.as_ref().map_or(0, |failure| failure.times) + 1;
                if before.is_none_or(|failure| failure.trouble != trouble) {
                    tracing::warn!(object = %target.object, why = %trouble.why, "a pod template could not be written to");
                }
                let doublings = times.saturating_sub(1).min(16);
                let wait = RETRY_FIRST.saturating_mul(1 << doublings).min(RETRY_MAX);
                let again_at = now + wait;
                state.failure =
                    Some(Failure { of: (digest, generation), times, again_at, trouble });
                self.look_at(again_at);
            }
        }
    }
}

impl Wanted {
    /// Whether what the SinkBinding with this part of a manager's name has put into an object stays there.
    fn keeps(&self, kind: &KindKey, name: &Name, thing: &Thing, part: &str) -> bool {
        let namespace = &name.namespace;
        let is_unclear =
            |it: &Name| it.namespace == *namespace && template::manager_part(it) == part;
        self.unclear.iter().any(is_unclear)
            || self.bindings.iter().any(|binding| {
                binding.name.namespace == *namespace
                    && binding.part == part
                    && binding.kind == *kind
                    && binding.is_meant(name, thing)
            })
    }
}

impl Binding {
    pub(super) fn target(&self, object: &Name) -> Target {
        let binding = Name::new(self.name.namespace.as_str(), self.part.as_str());
        Target { binding: Some(binding), kind: self.kind.clone(), object: object.clone() }
    }
}

impl Container {
    pub(super) fn target(&self) -> Target {
        Target { binding: None, kind: deployments(), object: deployment::name_of(&self.name) }
    }

    /// Whether a Deployment is its own.
    pub(super) fn owns(&self, thing: &Thing) -> bool {
        thing.controller.as_ref() == Some(&self.seen.uid)
    }
}

/// What tells whether the same was applied before.
pub(super) fn digest(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}
