//! A hub's and a trigger's name -> names of streams, subjects, consumers and buckets.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::{Envelope, Event, Hub, HubKind, Name};

/// Longest name that servers surely take: theirs are names of folders too.
const LEN_MAX: usize = 200;

/// The name of the one consumer of a broker's log.
pub(super) const LOG_CONSUMER: &str = "CATCHMENT";

/// The names of all that a hub has.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: String,
    hub: String,
}

impl Names {
    pub(super) fn new(prefix: &str, hub: &Hub) -> Self {
        Self { prefix: prefix.to_owned(), hub: hub_token(hub) }
    }

    /// The stream of the log.
    pub(super) fn log_stream(&self) -> String {
        bounded(format!("{}_LOG_{}", self.prefix, self.hub))
    }

    /// What the log is published to.
    pub(super) fn log_subject(&self) -> String {
        format!("{}.{}.log", self.prefix, self.hub)
    }

    /// The bucket of the ledger.
    pub(super) fn bucket(&self) -> String {
        bounded(format!("{}_LEDGER_{}", self.prefix, self.hub))
    }

    /// The stream of what waits for a trigger.
    pub(super) fn overflow_stream(&self, trigger: &Name) -> String {
        bounded(format!("{}_OVERFLOW_{}_-{}", self.prefix, self.hub, token(trigger)))
    }

    /// What begins all that is published for a trigger's overflow, without the last dot.
    pub(super) fn overflow_subject(&self, trigger: &Name) -> String {
        format!("{}{}", self.overflow_subjects(), token(trigger))
    }

    /// What begins all that is published for the overflows of the hub.
    pub(super) fn overflow_subjects(&self) -> String {
        format!("{}.{}.overflow.", self.prefix, self.hub)
    }

    /// What the description of an overflow's stream begins with; the trigger's name follows.
    pub(super) fn overflow_description(&self) -> String {
        format!("{} {} overflow of ", self.prefix, self.hub)
    }
}

/// A name as one token of a subject, and part of a stream's name. Different names differ in it:
/// what is no letter, digit or hyphen is written as `_` and two hexadecimal digits, the slash as `__`.
fn token(name: &Name) -> String {
    let mut token = String::with_capacity(name.namespace.len() + name.name.len() + 2);
    escape(&name.namespace, &mut token);
    token.push_str("__");
    escape(&name.name, &mut token);
    token
}

/// The same for a hub: its text has a slash more when it is a channel.
fn hub_token(hub: &Hub) -> String {
    let name = token(&hub.name);
    match hub.kind {
        HubKind::Broker => name,
        HubKind::Channel => format!("{}__{name}", hub.kind.plural()),
    }
}

fn escape(text: &str, token: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            token.push(char::from(byte));
        } else if write!(token, "_{byte:02X}").is_err() {
            // Writing to a string does not fail.
            debug_assert!(false);
        }
    }
}

/// The name itself, or a shorter one that differs for different names.
fn bounded(name: String) -> String {
    if name.len() <= LEN_MAX {
        return name;
    }
    let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(&name));
    let start: String = name.chars().take(LEN_MAX - hash.len() - 1).collect();
    format!("{start}-{hash}")
}

/// What the server recognises a second copy of an event by, within its window: source and id
/// (CloudEvents: together they name an event), and how often it may still pass a broker, so that a
/// reply that keeps the id of its event is another message.
pub(super) fn message_id(event: &Event) -> String {
    let mut id = hash(event);
    if let Some(hops) = event.hops() {
        id.push('-');
        id.push_str(&hops.to_string());
    }
    id
}

/// The same for an event that waits: it may be put again, and must not be taken for its former self.
pub(super) fn waiting_id(trigger: &Name, event: &Event, envelope: &Envelope) -> String {
    let put_at = crate::clock::to_micros(envelope.put_at);
    format!("{trigger}|{}|{put_at}|{}", envelope.attempts, hash(event))
}

fn hash(event: &Event) -> String {
    let mut hash = Sha256::new();
    hash.update(event.source());
    hash.update([0]);
    hash.update(event.id());
    URL_SAFE_NO_PAD.encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::{Draft, SpecVersion};

    fn names() -> Names {
        Names::new("CATCHMENT", &Hub::broker(Name::new("shop", "default")))
    }

    #[test]
    fn names_are_readable() {
        let trigger = Name::new("shop", "a.b");
        assert_eq!(names().log_stream(), "CATCHMENT_LOG_shop__default");
        assert_eq!(names().log_subject(), "CATCHMENT.shop__default.log");
        assert_eq!(
            names().overflow_stream(&trigger),
            "CATCHMENT_OVERFLOW_shop__default_-shop__a_2Eb"
        );
        assert_eq!(
            names().overflow_subject(&trigger),
            "CATCHMENT.shop__default.overflow.shop__a_2Eb"
        );
    }

    #[test]
    fn long_names_stay_within_the_limit_and_apart() {
        let long = |end: &str| {
            let name = Name::new("n".repeat(63), format!("{}{end}", "t".repeat(250)));
            Names::new("CATCHMENT", &Hub::broker(name.clone())).overflow_stream(&name)
        };
        assert!(long("a").len() <= LEN_MAX);
        assert_ne!(long("a"), long("b"));
    }

    proptest! {
        #[test]
        fn different_names_have_different_tokens(
            all in proptest::collection::btree_set(("[a-z/._-]{1,5}", "[a-z/._-]{1,5}"), 2..20),
        ) {
            let names = all.iter().map(|(ns, name)| Name::new(ns, name));
            let hubs = names.flat_map(|name| [Hub::broker(name.clone()), Hub::channel(name)]);
            let tokens: BTreeSet<_> = hubs.map(|hub| hub_token(&hub)).collect();
            prop_assert_eq!(tokens.len(), 2 * all.len());
            let is_token = |token: &String| !token.contains(['.', '*', '>', ' ', '/']);
            prop_assert!(tokens.iter().all(is_token));
        }
    }

    #[test]
    fn the_same_id_of_another_source_is_another_message() {
        let event = |source: &str, id: &str, hops| {
            let mut draft = Draft::new(SpecVersion::V10);
            for (name, value) in [("id", id), ("source", source), ("type", "t")] {
                draft.push_wire(name, value.as_bytes()).unwrap();
            }
            draft.set_hops(hops);
            draft.finish().unwrap()
        };
        let id = message_id(&event("/a", "1", Some(3)));
        assert_eq!(id, message_id(&event("/a", "1", Some(3))));
        for other in
            [event("/b", "1", Some(3)), event("/a", "2", Some(3)), event("/a", "1", Some(2))]
        {
            assert_ne!(id, message_id(&other));
        }
    }
}
