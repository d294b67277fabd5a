//! What SinkBindings and ContainerSources ask for, as they are now.

use std::collections::{BTreeMap, BTreeSet};

use ::sources::{
    SourceId,
    binding::{BindingPlan, ContainerPlan, Environment, Which},
};
use channel::{Name, Target};

use super::{
    subjects::{Subjects, Thing},
    template::manager_part,
};
use crate::{
    cluster::{
        finder::{Finder, written},
        referred::KindKey,
        seen::Seen,
    },
    manifest::{Kind, SourceKind, SourceSpec},
    sourcing::SINK_INVALID,
};

/// What a SinkBinding asks for.
pub(super) struct Binding {
    pub(super) name: Name,
    pub(super) seen: Seen,
    /// Its part of the name of its field manager.
    pub(super) part: String,
    pub(super) kind: KindKey,
    which: Which,
    /// What its subjects are told; `None` while nobody knows where its sink is.
    pub(super) environment: Option<Environment>,
}

impl Binding {
    /// The objects that are meant, of those that are there.
    pub(super) fn subjects<'a>(
        &'a self,
        all: &'a Subjects,
    ) -> Box<dyn Iterator<Item = (&'a Name, &'a Thing)> + 'a> {
        let of_kind = all.of_namespace(&self.kind, &self.name.namespace);
        Box::new(of_kind.filter(|(name, thing)| self.is_meant(name, thing)))
    }

    /// Whether it is about this object, of its kind and in its namespace.
    pub(super) fn is_meant(&self, name: &Name, thing: &Thing) -> bool {
        let is_it = match &self.which {
            Which::Named(named) => *named == name.name,
            Which::Labelled(selector) => selector.matches(&thing.labels),
        };
        is_it && !thing.is_ending && !thing.is_excluded()
    }

    /// The one object that is meant, if it is named.
    pub(super) fn named(&self) -> Option<Name> {
        match &self.which {
            Which::Named(name) => Some(Name::new(self.name.namespace.as_str(), name.as_str())),
            Which::Labelled(_) => None,
        }
    }
}

/// What a ContainerSource asks for.
pub(super) struct Container {
    pub(super) name: Name,
    pub(super) seen: Seen,
    pub(super) plan: ContainerPlan,
    pub(super) environment: Option<Environment>,
}

/// All that is asked for.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) bindings: Vec<Binding>,
    pub(super) containers: Vec<Container>,
    /// SinkBindings that are there, and what they ask for is not known: nothing of theirs is touched.
    pub(super) unclear: BTreeSet<Name>,
    /// SinkBindings that are being deleted and wait for us.
    pub(super) ending: Vec<(Name, Seen)>,
}

impl Wanted {
    /// What the objects that are `seen` ask for.
    pub(super) fn of(finder: &Finder<'_>, seen: &BTreeMap<(Kind, Name), Seen>) -> Self {
        let mut wanted = Self::default();
        for ((kind, name), seen) in seen {
            let Kind::Source(kind) = kind else { continue };
            if !kind.is_binding() {
                continue;
            }
            let resource = finder.inventory.resources.sources.get(&(*kind, name.clone()));
            let spec = resource.map(|resource| &resource.spec);
            let is_held = seen.finalizers.iter().any(|it| it == super::FINALIZER);
            match (kind, spec) {
                (SourceKind::SinkBinding, _) if seen.is_ending && is_held => {
                    wanted.ending.push((name.clone(), seen.clone()));
                }
                (SourceKind::SinkBinding, _) if seen.is_ending => {}
                (SourceKind::SinkBinding, Some(whole @ SourceSpec::SinkBinding(spec))) => {
                    // What is at work is valid.
                    let plan = BindingPlan::new(name, spec, &mut Vec::new());
                    let Some(BindingPlan { subject }) = plan else { continue };
                    wanted.bindings.push(Binding {
                        name: name.clone(),
                        seen: seen.clone(),
                        part: manager_part(name),
                        kind: KindKey::versioned(&subject.api_version, &subject.kind),
                        which: subject.which,
                        environment: environment(finder, name, whole),
                    });
                }
                (SourceKind::SinkBinding, _) => drop(wanted.unclear.insert(name.clone())),
                (SourceKind::Container, Some(whole @ SourceSpec::Container(spec)))
                    if !seen.is_ending =>
                {
                    let plan = ContainerPlan::new(&name.name, spec, &mut Vec::new());
                    let Some(plan) = plan else { continue };
                    let environment = environment(finder, name, whole);
                    let (name, seen) = (name.clone(), seen.clone());
                    wanted.containers.push(Container { name, seen, plan, environment });
                }
                _ => {}
            }
        }
        wanted
    }

    /// The kinds of all objects that are to be watched for that.
    pub(super) fn kinds(&self) -> BTreeSet<KindKey> {
        let of_bindings = self
            .bindings
            .iter()
            .flat_map(|binding| kinds_of(&binding.seen).into_iter().chain([binding.kind.clone()]));
        let of_ending = self.ending.iter().flat_map(|(_, seen)| kinds_of(seen));
        let mut kinds: BTreeSet<KindKey> = of_bindings.chain(of_ending).collect();
        if !self.containers.is_empty() {
            kinds.insert(deployments());
        }
        kinds
    }
}

/// The kind of what runs a ContainerSource's pods.
pub(super) fn deployments() -> KindKey {
    KindKey::versioned("apps/v1", "Deployment")
}

/// The kinds of what a SinkBinding has been put into, as it says itself.
pub(super) fn kinds_of(seen: &Seen) -> BTreeSet<KindKey> {
    let words = seen.bound_kinds.as_deref().unwrap_or_default().split(' ');
    let kinds = words.filter_map(|word| word.rsplit_once('/'));
    kinds.map(|(api_version, kind)| KindKey::versioned(api_version, kind)).collect()
}

/// How a SinkBinding says that.
pub(super) fn in_words(kinds: &BTreeSet<KindKey>) -> String {
    let word = |key: &KindKey| {
        let version = key.version.as_deref().unwrap_or_default();
        let group = if key.group.is_empty() { String::new() } else { format!("{}/", key.group) };
        format!("{group}{version}/{}", key.kind)
    };
    kinds.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// What containers are told; `None` while nobody knows where the sink is, or when nobody could send there.
fn environment(finder: &Finder<'_>, name: &Name, spec: &SourceSpec) -> Option<Environment> {
    let id = SourceId { kind: spec.kind().as_str(), name: name.clone() };
    let state = finder.inventory.sources.get(&id);
    let not_ready = state.and_then(|state| state.not_ready.as_ref());
    if not_ready.is_some_and(|why| why.reason == SINK_INVALID) {
        return None;
    }
    let sink = spec.sink()?;
    let found = sink.resolve_by("spec.sink", &name.namespace, |reference| finder.find(reference));
    let target: Target = found.ok()?;
    Some(Environment::new(written(&target), &target, spec.asked_overrides()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_as_they_are_written() {
        let text = "apps/v1/Deployment v1/Pod";
        let seen = Seen { bound_kinds: Some(text.into()), ..Seen::default() };
        let kinds = kinds_of(&seen);
        assert_eq!(kinds.len(), 2);
        assert!(kinds.contains(&deployments()));
        let mut words: Vec<String> = in_words(&kinds).split(' ').map(ToOwned::to_owned).collect();
        words.sort_unstable();
        assert_eq!(words.join(" "), text);
        assert!(kinds_of(&Seen::default()).is_empty());
    }
}
