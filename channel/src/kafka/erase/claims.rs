//! Whose a topic is, by its name, its configuration, and the other topics that there are. Pure.
//!
//! # Why
//!
//! Names alone do not say it: with the usual template `b.overflow.n.t` may hold what waits for trigger
//! `n/t` of broker `b`, or be the log of broker `b.overflow.n.t`. How a topic is set says which of the
//! three kinds it is, and another broker's claim counts when that broker has topics of its own.

use std::collections::BTreeMap;

use super::super::{overflow::naming, settings::Names};

/// What a topic is for, by its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Deleted by age.
    Log,
    /// Compacted.
    Ledger,
    /// Kept until it is taken off.
    Overflow,
    /// Of another configuration, or one that we may not see.
    Unknown,
}

impl Kind {
    /// The kind of a topic that is set so.
    pub(super) fn of(cleanup: Option<&str>, retention_ms: Option<&str>) -> Self {
        match (cleanup, retention_ms.and_then(|text| text.parse::<i64>().ok())) {
            (Some("compact"), _) => Self::Ledger,
            (Some("delete"), Some(-1)) => Self::Overflow,
            (Some("delete"), Some(0..)) => Self::Log,
            _ => Self::Unknown,
        }
    }

    fn may_be(self, kind: Self) -> bool {
        self == kind || self == Self::Unknown
    }
}

/// Whose a topic is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The broker's.
    Ours,
    /// Another broker's.
    Others,
    /// An overflow of the broker or of one of those with these logs: their ledgers know.
    Contested(Vec<String>),
    /// Nothing says whose.
    Unclear,
}

/// One way to read a topic's name: what it would be, of the broker with the log `root`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reading {
    root: String,
    kind: Kind,
}

/// The topics of a cluster, and the kinds of those that matter.
pub(super) struct Cluster {
    kinds: BTreeMap<String, Kind>,
}

impl Cluster {
    /// Topics of kinds that are not known yet.
    pub(super) fn new(topics: &[String]) -> Self {
        Self { kinds: topics.iter().map(|topic| (topic.clone(), Kind::Unknown)).collect() }
    }

    pub(super) fn set(&mut self, topic: &str, kind: Kind) {
        self.kinds.insert(topic.to_owned(), kind);
    }

    /// Topics that have a name as the broker's would, the ledger last: it says that there is a broker.
    pub(super) fn candidates(&self, names: &Names) -> Vec<String> {
        let (prefix, ledger) = (names.overflow_prefix(), names.ledger());
        let overflows = self.kinds.keys().filter(|topic| naming::suffix(&prefix, topic).is_some());
        let mut found: Vec<_> = overflows.cloned().collect();
        found.extend([names.topic.clone(), ledger].into_iter().filter(|it| self.has(it)));
        found
    }

    /// The topics whose kinds decide over `candidates`.
    pub(super) fn deciding(&self, candidates: &[String]) -> Vec<String> {
        let mut found: Vec<String> = candidates.to_vec();
        for topic in candidates {
            for Reading { root, .. } in readings(topic) {
                found.push(ledger(&root));
                found.push(root);
            }
        }
        found.retain(|topic| self.has(topic));
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Whose a candidate is.
    pub(super) fn verdict(&self, names: &Names, topic: &str) -> Verdict {
        let kind = self.kind(topic).unwrap_or(Kind::Unknown);
        let (mine, others): (Vec<_>, Vec<_>) =
            readings(topic).into_iter().partition(|reading| reading.root == names.topic);
        let is_mine = mine.iter().any(|mine| kind.may_be(mine.kind));
        let others: Vec<_> = others.into_iter().filter(|other| kind.may_be(other.kind)).collect();
        let there: Vec<_> = others.iter().filter(|other| self.is_there(&other.root)).collect();
        match (is_mine, there.is_empty()) {
            (true, true) => Verdict::Ours,
            (true, false) if kind == Kind::Overflow => {
                Verdict::Contested(there.into_iter().map(|other| other.root.clone()).collect())
            }
            (true, false) => Verdict::Unclear,
            (false, false) => Verdict::Others,
            // Somebody has changed how it is set, and it cannot be anybody else's.
            (false, true) if others.is_empty() => Verdict::Ours,
            (false, true) => Verdict::Unclear,
        }
    }

    pub(super) fn has(&self, topic: &str) -> bool {
        self.kinds.contains_key(topic)
    }

    fn kind(&self, topic: &str) -> Option<Kind> {
        self.kinds.get(topic).copied()
    }

    /// Whether there is a broker with this log, as far as topics say.
    fn is_there(&self, root: &str) -> bool {
        self.kind(&ledger(root)).is_some_and(|kind| kind.may_be(Kind::Ledger))
    }
}

pub(super) fn ledger(root: &str) -> String {
    format!("{root}.ledger")
}

/// All that a topic may be by its name.
fn readings(topic: &str) -> Vec<Reading> {
    let mut found = vec![Reading { root: topic.to_owned(), kind: Kind::Log }];
    if let Some(root) = topic.strip_suffix(".ledger") {
        found.push(Reading { root: root.to_owned(), kind: Kind::Ledger });
    }
    for (root, _) in splits(topic) {
        if naming::suffix(&format!("{root}.overflow."), topic).is_some() {
            found.push(Reading { root: root.to_owned(), kind: Kind::Overflow });
        }
    }
    found
}

/// What stands before and behind each `.overflow.`; they may overlap.
pub(super) fn splits(text: &str) -> impl Iterator<Item = (&str, &str)> {
    const MARK: &str = ".overflow.";
    let starts =
        (0..text.len()).filter(|&at| text.get(at..).is_some_and(|it| it.starts_with(MARK)));
    starts.filter_map(|at| Some((text.get(..at)?, text.get(at + MARK.len()..)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(topic: &str) -> Names {
        Names { topic: topic.to_owned(), group: "g".to_owned() }
    }

    fn cluster(topics: &[(&str, Kind)]) -> Cluster {
        Cluster { kinds: topics.iter().map(|&(topic, kind)| (topic.to_owned(), kind)).collect() }
    }

    /// The topics of a broker whose log is `log`, with these overflows.
    fn broker<'a>(log: &'a str, ledger: &'a str, overflows: &[&'a str]) -> Vec<(&'a str, Kind)> {
        let mut found = vec![(log, Kind::Log), (ledger, Kind::Ledger)];
        found.extend(overflows.iter().map(|&overflow| (overflow, Kind::Overflow)));
        found
    }

    fn ours(cluster: &Cluster, log: &str) -> Vec<String> {
        let candidates = cluster.candidates(&names(log)).into_iter();
        candidates.filter(|it| cluster.verdict(&names(log), it) == Verdict::Ours).collect()
    }

    #[test]
    fn a_topic_is_of_a_kind_by_how_it_is_set() {
        for (cleanup, retention, kind) in [
            (Some("compact"), Some("604800000"), Kind::Ledger),
            (Some("delete"), Some("604800000"), Kind::Log),
            (Some("delete"), Some("-1"), Kind::Overflow),
            (Some("compact,delete"), Some("-1"), Kind::Unknown),
            (Some("delete"), None, Kind::Unknown),
            (None, Some("-1"), Kind::Unknown),
        ] {
            assert_eq!(Kind::of(cleanup, retention), kind, "{cleanup:?} {retention:?}");
        }
    }

    #[test]
    fn a_broker_has_its_own_and_nothing_of_those_whose_names_go_on() {
        let mut all = broker("p-n.a", "p-n.a.ledger", &["p-n.a.overflow.n.t"]);
        all.extend(broker("p-n.a.b", "p-n.a.b.ledger", &["p-n.a.b.overflow.n.t"]));
        all.extend(broker("p-n.a.ledger.b", "p-n.a.ledger.b.ledger", &[]));
        let all = cluster(&all);
        assert_eq!(ours(&all, "p-n.a"), ["p-n.a.overflow.n.t", "p-n.a", "p-n.a.ledger"]);
        assert_eq!(ours(&all, "p-n.a.b"), ["p-n.a.b.overflow.n.t", "p-n.a.b", "p-n.a.b.ledger"]);
    }

    #[test]
    fn the_topics_of_a_broker_that_is_named_like_an_overflow_are_its_own() {
        let (other, its_ledger) = ("n.a.overflow.n.t", "n.a.overflow.n.t.ledger");
        let mut all = broker("n.a", "n.a.ledger", &["n.a.overflow.n.u"]);
        all.extend(broker(other, its_ledger, &["n.a.overflow.n.t.overflow.n.u"]));
        let all = cluster(&all);
        assert_eq!(ours(&all, "n.a"), ["n.a.overflow.n.u", "n.a", "n.a.ledger"]);
        assert_eq!(ours(&all, other), [other, its_ledger]);
        // It may be of trigger n/u of the one, or n/t.overflow.n.u of the other.
        for (log, rival) in [("n.a", other), (other, "n.a")] {
            let verdict = all.verdict(&names(log), "n.a.overflow.n.t.overflow.n.u");
            assert_eq!(verdict, Verdict::Contested(vec![rival.to_owned()]));
        }
    }

    #[test]
    fn the_topics_of_a_broker_that_is_named_like_a_ledger_are_its_own() {
        let mut all = broker("n.a", "n.a.ledger", &[]);
        // The log of the other cannot be opened, since it is the ledger of the first.
        all.push(("n.a.ledger.ledger", Kind::Ledger));
        let all = cluster(&all);
        assert_eq!(ours(&all, "n.a.ledger"), ["n.a.ledger.ledger"]);
        assert_eq!(all.verdict(&names("n.a.ledger"), "n.a.ledger"), Verdict::Others);
    }

    #[test]
    fn what_nobody_knows_stays() {
        let mut all = broker("n.a", "n.a.ledger", &["n.a.overflow.n.t"]);
        // A log by how it is set, and a broker without a ledger by its name.
        all.push(("n.a.overflow.n.u", Kind::Log));
        // It may be either's, and how it is set is not known.
        all.extend([
            ("n.a.overflow.n.v", Kind::Unknown),
            ("n.a.overflow.n.v.ledger", Kind::Unknown),
        ]);
        let all = cluster(&all);
        for topic in ["n.a.overflow.n.u", "n.a.overflow.n.v", "n.a.overflow.n.v.ledger"] {
            assert_eq!(all.verdict(&names("n.a"), topic), Verdict::Unclear, "{topic}");
        }
        assert_eq!(ours(&all, "n.a"), ["n.a.overflow.n.t", "n.a", "n.a.ledger"]);
    }

    #[test]
    fn what_decides_is_asked_for() {
        let all =
            cluster(&broker("a", "a.ledger", &["a.overflow.n.t", "x", "a.overflow.n.t.ledger"]));
        let found = all.deciding(&["a.overflow.n.t".to_owned()]);
        assert_eq!(found, ["a", "a.ledger", "a.overflow.n.t", "a.overflow.n.t.ledger"]);
    }
}
