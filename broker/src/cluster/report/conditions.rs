//! The conditions of one object, and what they come to: its readiness.

use channel::status::Condition;

/// The condition that sums up the others.
pub(super) const READY: &str = "Ready";

/// Conditions in the making.
#[derive(Clone, Debug, Default)]
pub(super) struct Conditions {
    all: Vec<Condition>,
}

impl Conditions {
    fn set(&mut self, kind: &str, status: &str, why: Option<(&str, &str)>) {
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let condition = Condition {
            kind: kind.to_owned(),
            status: status.to_owned(),
            severity: None,
            last_transition_time: None,
            reason: why.and_then(|(reason, _)| given(reason)),
            message: why.and_then(|(_, message)| given(message)),
        };
        match self.all.iter_mut().find(|known| known.kind == kind) {
            Some(known) => *known = condition,
            None => self.all.push(condition),
        }
    }

    /// It holds.
    pub(super) fn holds(&mut self, kind: &str) {
        self.set(kind, "True", None);
    }

    /// It holds, though for a reason that is worth telling.
    pub(super) fn holds_because(&mut self, kind: &str, reason: &str, message: &str) {
        self.set(kind, "True", Some((reason, message)));
    }

    /// It does not hold.
    pub(super) fn fails(&mut self, kind: &str, reason: &str, message: &str) {
        self.set(kind, "False", Some((reason, message)));
    }

    /// Nobody knows yet.
    pub(super) fn is_unknown(&mut self, kind: &str, reason: &str, message: &str) {
        self.set(kind, "Unknown", Some((reason, message)));
    }

    /// As another object's condition.
    pub(super) fn mirrors(&mut self, kind: &str, other: &Condition) {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        self.set(kind, &other.status, Some((&text(&other.reason), &text(&other.message))));
    }

    /// Whether it fails already.
    pub(super) fn has_failed(&self, kind: &str) -> bool {
        self.all.iter().any(|condition| condition.kind == kind && condition.status == "False")
    }

    /// All of them with [`READY`], sorted as Knative writes them: the first that fails, else the first
    /// that is unknown, is why the object is not ready.
    pub(super) fn finish(mut self) -> Vec<Condition> {
        let of = |status: &str| self.all.iter().find(|condition| condition.status == status);
        let ready = match of("False").or_else(|| of("Unknown")) {
            Some(why) => Condition { kind: READY.to_owned(), ..why.clone() },
            None => Condition {
                kind: READY.to_owned(),
                status: "True".to_owned(),
                severity: None,
                last_transition_time: None,
                reason: None,
                message: None,
            },
        };
        self.all.push(ready);
        self.all.sort_by(|one, other| one.kind.cmp(&other.kind));
        self.all
    }
}

/// The one that sums up the others.
pub(super) fn ready(conditions: &[Condition]) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.kind == READY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_first_is_why_an_object_is_not_ready() {
        let mut conditions = Conditions::default();
        conditions.holds("C");
        conditions.is_unknown("B", "Waiting", "for it");
        conditions.fails("A", "Broken", "it is");
        let all = conditions.clone().finish();
        let kinds: Vec<&str> = all.iter().map(|it| it.kind.as_str()).collect();
        assert_eq!(kinds, ["A", "B", "C", "Ready"]);
        let why = ready(&all).unwrap();
        assert_eq!((why.status.as_str(), why.reason.as_deref()), ("False", Some("Broken")));
        conditions.holds("A");
        let all = conditions.clone().finish();
        assert_eq!(ready(&all).unwrap().status, "Unknown");
        conditions.holds("B");
        let all = conditions.finish();
        let ready = ready(&all).unwrap();
        assert_eq!((ready.status.as_str(), &ready.reason), ("True", &None));
    }
}
