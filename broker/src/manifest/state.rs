//! What all files say together, where a bad file counts as it was when it was last good.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
};

use channel::Name;
use dispatcher::TriggerSpec;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    document::{Bad, Content, Item},
    files::{Scan, Seen, Version},
    links,
    problem::Problem,
    resource::{Resource, Resources},
    trigger::broker_of,
};
use crate::addresses::Addresses;

/// A problem and how long it has been there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// The problem.
    #[serde(flatten)]
    pub problem: Problem,
    /// When it was first seen.
    pub since: Timestamp,
}

/// Everything that manifests say at one time.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The resources to run.
    pub resources: Arc<Resources>,
    /// What is wrong with the files, in reading order; files with errors count in `resources` as
    /// they were when they were last good.
    pub problems: Vec<Standing>,
    /// Who knows the addresses of what this process does not run; nobody without a cluster.
    pub addresses: Option<Arc<dyn Addresses>>,
    /// Which generation of an object its problems are about, by the file that stands for it.
    pub generations: BTreeMap<Arc<PathBuf>, i64>,
}

impl Snapshot {
    /// Whether a file is not used as it is written now.
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|standing| standing.problem.is_error())
    }
}

/// The files and what follows from them.
#[derive(Debug, Default)]
pub(super) struct State {
    files: BTreeMap<PathBuf, Known>,
    /// Files that the last scan did not find; a file is gone when two scans miss it, for
    /// editors save by removing the old file before they put the new one in its place.
    missed: BTreeSet<PathBuf>,
    /// Why some paths could not be looked into at the last scan.
    unreachable: Vec<Problem>,
    foreign: BTreeSet<Name>,
    snapshot: Snapshot,
}

#[derive(Debug, Default)]
struct Known {
    version: Version,
    /// The resources at the last good reading.
    good: Vec<Item>,
    /// The last reading, if something was wrong in it.
    refused: Option<Content>,
    /// What is worth telling of a file that is used.
    remarks: Vec<Problem>,
}

impl State {
    /// What is known of the files, so that they need not be read again.
    pub(super) fn versions(&self) -> BTreeMap<PathBuf, Version> {
        self.files.iter().map(|(path, known)| (path.clone(), known.version)).collect()
    }

    /// What all files say now.
    pub(super) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Whether a file was missed that may only be in the middle of being replaced.
    pub(super) fn is_unsure(&self) -> bool {
        !self.missed.is_empty()
    }

    /// Takes in a scan. Returns whether it changed the snapshot: a resource or a problem.
    ///
    /// One that misses a file for the first time is left to the next one: the resources of that
    /// file may be on their way into another.
    pub(super) fn apply(&mut self, scan: Scan, now: Timestamp) -> bool {
        let missing = self.missing(&scan);
        if !missing.is_subset(&self.missed) {
            self.missed = missing;
            return false;
        }
        let mut is_news = self.forget(missing, &scan) || self.unreachable != scan.problems;
        for (path, seen) in scan.files {
            match seen {
                Seen::Same => {}
                Seen::Confirmed(version) => self.files.entry(path).or_default().version = version,
                Seen::New(version, content) => {
                    is_news = true;
                    self.files.entry(path).or_default().learn(version, content);
                }
            }
        }
        if !is_news {
            return false;
        }
        self.unreachable = scan.problems;
        self.relink(now)
    }

    /// Takes in what one file says now.
    pub(super) fn learn(&mut self, path: PathBuf, content: Content) {
        self.files.entry(path).or_default().learn(Version::default(), content);
    }

    /// Forgets one file. Returns whether it was known.
    pub(super) fn remove(&mut self, path: &Path) -> bool {
        self.files.remove(path).is_some()
    }

    /// Brokers that others run: their triggers are not ours either.
    pub(super) fn set_foreign(&mut self, brokers: BTreeSet<Name>) {
        self.foreign = brokers;
    }

    /// Puts together what all files say now. Returns whether that changed the snapshot.
    pub(super) fn relink(&mut self, now: Timestamp) -> bool {
        let (resources, linked) = self.link();
        let told = self.files.values().flat_map(Known::problems).cloned();
        let problems = told.chain(self.unreachable.iter().cloned()).chain(linked).collect();
        self.replace(resources, problems, now)
    }

    /// What to run, of the last good readings; and what is wrong between the files as they are now.
    fn link(&self) -> (Resources, Vec<Problem>) {
        let mut bad = Bad::default();
        for content in self.files.values().filter_map(|file| file.refused.as_ref()) {
            bad.extend(&content.bad);
        }
        let in_use = &self.snapshot.resources;
        let good = self.files.values().flat_map(|file| &file.good);
        let (mut resources, mut linked) = links::link(good, &bad, in_use);
        if !self.foreign.is_empty() {
            let is_ours = |name: &Name, trigger: &Resource<TriggerSpec>| {
                let broker = broker_of(name, &trigger.spec);
                broker.is_none_or(|broker| !self.foreign.contains(&broker))
            };
            let mut others = BTreeSet::new();
            resources.triggers.retain(|name, trigger| {
                let is_ours = is_ours(name, trigger);
                if !is_ours {
                    others.insert(Arc::clone(&trigger.origin.file));
                }
                is_ours
            });
            linked.retain(|problem| !others.contains(&problem.file));
        }
        if self.files.values().all(|file| file.refused.is_none()) {
            return (resources, linked);
        }
        let (_, linked) = links::link(self.files.values().flat_map(Known::latest), &bad, in_use);
        (resources, linked)
    }

    /// The known files that a scan did not find.
    fn missing(&self, scan: &Scan) -> BTreeSet<PathBuf> {
        let is_hidden = |path: &Path| scan.hidden.iter().any(|hidden| path.starts_with(hidden));
        let paths = self.files.keys();
        paths.filter(|path| !scan.files.contains_key(*path) && !is_hidden(path)).cloned().collect()
    }

    /// Forgets files that were missed before, unless a file that is still being written may say
    /// what they said. Returns whether one is gone.
    fn forget(&mut self, missing: BTreeSet<PathBuf>, scan: &Scan) -> bool {
        if scan.is_settling {
            self.missed = missing;
            return false;
        }
        self.missed.clear();
        for gone in &missing {
            self.files.remove(gone);
        }
        !missing.is_empty()
    }

    fn replace(
        &mut self,
        resources: Resources,
        mut problems: Vec<Problem>,
        now: Timestamp,
    ) -> bool {
        problems.sort_by(Problem::reading_order);
        problems.dedup();
        let old: HashMap<&Problem, Timestamp> =
            self.snapshot.problems.iter().map(|it| (&it.problem, it.since)).collect();
        let standing: Vec<Standing> = problems
            .into_iter()
            .map(|problem| {
                let since = old.get(&problem).copied().unwrap_or(now);
                Standing { problem, since }
            })
            .collect();
        let is_same =
            self.snapshot.resources.says_the_same(&resources) && self.snapshot.problems == standing;
        self.snapshot.resources = Arc::new(resources);
        self.snapshot.problems = standing;
        !is_same
    }
}

impl Known {
    fn learn(&mut self, version: Version, content: Content) {
        self.version = version;
        if content.is_bad() {
            self.refused = Some(content);
        } else {
            *self = Self { version, good: content.items, refused: None, remarks: content.problems };
        }
    }

    fn latest(&self) -> &[Item] {
        self.refused.as_ref().map_or(&self.good, |content| &content.items)
    }

    fn problems(&self) -> &[Problem] {
        self.refused.as_ref().map_or(&self.remarks, |content| &content.problems)
    }
}
