//! What the state of everything comes to: how far each SinkBinding and ContainerSource is.

use ::sources::status::Holds;
use tokio::time::Instant;

use super::{
    binder::Binder,
    standing::Standing,
    subjects::Known,
    wanted::{Binding, Container},
    work::{State, digest},
};
use crate::cluster::apiserver::Trouble;

/// Troubles of one SinkBinding that are told at a time.
const WHYS_MAX: usize = 5;

impl Binder {
    /// Whether all subjects of a SinkBinding are told where their events go; `None` while they are being
    /// looked up.
    pub(super) fn is_bound(
        &self,
        binding: &Binding,
        unmarked: Option<&Option<Trouble>>,
    ) -> Option<Holds> {
        let fails = |reason, message| Some(Holds::False { reason, message });
        let unknown =
            |reason, message: &str| Some(Holds::Unknown { reason, message: message.to_owned() });
        if binding.environment.is_none() {
            return unknown("SinkNotProvided", "where the sink is is not known");
        }
        if let Some(trouble) = unmarked {
            let trouble = trouble.as_ref()?;
            return fails(trouble.reason, trouble.why.clone());
        }
        match self.subjects.known(&binding.kind) {
            None => {
                let message = "SinkBindings name too many kinds of subjects".to_owned();
                return fails("TooManyKinds", message);
            }
            Some(Known::Absent) => {
                let message = format!("the cluster has no kind {}", binding.kind);
                return fails("SubjectKindMissing", message);
            }
            Some(Known::Asked) => return None,
            Some(Known::Listed | Known::Failed(_)) => {}
        }
        if let Some((reason, why)) = self.subjects.trouble(&binding.kind) {
            return fails(reason, why.to_owned());
        }
        if let Some(named) = binding.named() {
            let kind = &binding.kind.kind;
            match self.subjects.get(&binding.kind, &named) {
                None => return fails("SubjectMissing", format!("{kind} {named} does not exist")),
                Some(thing) if thing.is_excluded() => {
                    let message =
                        format!("{kind} {named} has the label bindings.knative.dev/exclude");
                    return fails("SubjectExcluded", message);
                }
                Some(_) => {}
            }
        }
        let mut troubles = Vec::new();
        let mut is_open = false;
        let digest = binding.environment.as_ref().map(digest);
        for (name, thing) in binding.subjects(&self.subjects) {
            let state = self.states.get(&binding.target(name));
            let until = state.and_then(State::contested_until);
            match state.and_then(|state| state.failure.as_ref()) {
                Some(failure) => {
                    troubles.push((failure.trouble.reason, failure.trouble.why.clone()));
                }
                None if state.and_then(|it| it.applied)
                    == digest.map(|it| (it, thing.generation)) => {}
                None if until.is_some_and(|until| until > Instant::now()) => {
                    let why =
                        format!("somebody else takes out of {name} again and again what is put in");
                    troubles.push(("SubjectContested", why));
                }
                None => is_open |= state.and_then(|state| state.applied).is_none(),
            }
        }
        if let Some((reason, _)) = troubles.first() {
            let reason = *reason;
            let whys: Vec<String> =
                troubles.into_iter().map(|(_, why)| why).take(WHYS_MAX).collect();
            return fails(reason, whys.join("; "));
        }
        if is_open { unknown("Binding", "its subjects are being told") } else { Some(Holds::True) }
    }

    /// How far a ContainerSource is; `None` while its Deployment is being looked up.
    pub(super) fn runs(&self, source: &Container) -> Option<Standing> {
        let target = source.target();
        if matches!(self.subjects.known(&target.kind), Some(Known::Asked)) {
            return None;
        }
        let thing = self.subjects.get(&target.kind, &target.object);
        let state = self.states.get(&target);
        let called = &target.object;
        let unknown = |reason, message: String| Holds::Unknown { reason, message };
        let failure = state.and_then(|state| state.failure.as_ref());
        let bound = match (self.subjects.trouble(&target.kind), thing, failure) {
            _ if source.environment.is_none() => {
                unknown("SinkNotProvided", "where the sink is is not known".to_owned())
            }
            (Some((reason, why)), ..) => Holds::False { reason, message: why.to_owned() },
            (_, Some(thing), _) if !source.owns(thing) => {
                let message = format!("Deployment {called} is somebody else's");
                Holds::False { reason: "DeploymentNotOwned", message }
            }
            (_, _, Some(failure)) => {
                let trouble = &failure.trouble;
                Holds::False { reason: trouble.reason, message: trouble.why.clone() }
            }
            _ if state.is_some_and(|state| state.applied.is_some()) => Holds::True,
            _ => unknown("Starting", format!("Deployment {called} is being made")),
        };
        let runs = match thing.filter(|thing| source.owns(thing)).map(|thing| &thing.available) {
            Some(Some(Ok(()))) => Holds::True,
            Some(Some(Err(why))) => {
                let message = format!("Deployment {called}: {why}");
                Holds::False { reason: "DeploymentUnavailable", message }
            }
            Some(None) => {
                let message = format!("The Deployment '{}' is unavailable.", called.name);
                unknown("DeploymentUnavailable", message)
            }
            None => {
                unknown("DeploymentUnavailable", format!("there is no Deployment {called} yet"))
            }
        };
        Some(Standing { bound, runs })
    }

    /// Why something of a SinkBinding cannot be taken out of one of these kinds, if that is known.
    pub(super) fn why_held(&self, namespace: &str, part: &str) -> Option<String> {
        let mine = self.states.iter().filter(|(target, _)| {
            let binding = target.binding.as_ref();
            binding.is_some_and(|it| it.namespace == namespace && it.name == part)
        });
        mine.filter_map(|(_, state)| state.failure.as_ref()).map(|it| it.trouble.why.clone()).next()
    }
}
