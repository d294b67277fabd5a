//! Trigger <-> the name of its topic, and of its notes. Pure.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::{Name, Position};

/// Kafka's bound on a topic's name.
const TOPIC_LEN_MAX: usize = 249;

/// Bound on what stands for a trigger in the key of a note, of 200 characters.
const KEY_LEN_MAX: usize = 160;

/// Characters of a hash that stands for a name that is too long.
const HASH_LEN: usize = 48;

/// The topic of a trigger's overflow; `prefix` is that of all overflows of the broker.
pub(super) fn topic(prefix: &str, trigger: &Name) -> String {
    let mut name = String::new();
    escape(&mut name, &trigger.namespace, false);
    name.push('.');
    escape(&mut name, &trigger.name, true);
    if prefix.len() + name.len() > TOPIC_LEN_MAX {
        format!("{prefix}{}", hash(&trigger.to_string()))
    } else {
        format!("{prefix}{name}")
    }
}

/// The trigger of a topic, or `None` when it is none of ours, or a hash stands for it.
pub(super) fn trigger(prefix: &str, topic: &str) -> Option<Name> {
    let (namespace, name) = topic.strip_prefix(prefix)?.split_once('.')?;
    Some(Name::new(unescape(namespace)?, unescape(name)?))
}

/// What stands for a trigger in the name of a topic, or `None` when the topic is no overflow.
pub(in super::super) fn suffix<'a>(prefix: &str, name: &'a str) -> Option<&'a str> {
    let suffix = name.strip_prefix(prefix)?;
    let is_hash = || {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        suffix.len() == HASH_LEN && suffix.bytes().all(is_digit)
    };
    let is_name = trigger(prefix, name).is_some_and(|trigger| topic(prefix, &trigger) == name);
    (is_name || is_hash()).then_some(suffix)
}

/// The key of the note that the overflow topic with this suffix is the broker's own.
pub(in super::super) fn made_key(suffix: &str) -> String {
    if is_key(suffix) { format!("overflow/{suffix}") } else { format!("overflow/{}", hash(suffix)) }
}

/// Begins the keys of notes about what is on loan to a trigger.
pub(super) fn amend_prefix(trigger: &Name) -> String {
    let name = trigger.to_string();
    if is_key(&name) { format!("amend/{name}/") } else { format!("amend/{}/", hash(&name)) }
}

/// Whether a text may stand in the key of a note as it is.
fn is_key(text: &str) -> bool {
    let is_valid =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"./-".contains(&byte);
    text.len() <= KEY_LEN_MAX && text.bytes().all(is_valid)
}

/// The key of the note about what lies at `position`.
pub(super) fn amend_key(prefix: &str, position: Position) -> String {
    format!("{prefix}{}", position.0)
}

/// The position of a note under `prefix`.
pub(super) fn amended(prefix: &str, key: &str) -> Option<Position> {
    key.strip_prefix(prefix)?.parse().ok().map(Position)
}

/// Kafka holds a dot and an underscore to be the same, so the escape is rare.
fn escape(into: &mut String, text: &str, has_dots: bool) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || (has_dots && byte == b'.') {
            into.push(char::from(byte));
        } else {
            write!(into, "_{byte:02x}").ok();
        }
    }
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'_' {
            let (code, after) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn hash(trigger: &str) -> String {
    let mut text = String::with_capacity(HASH_LEN);
    for byte in Sha256::digest(trigger).iter().take(HASH_LEN / 2) {
        write!(text, "{byte:02x}").ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_topic_says_whose_it_is() {
        let name = Name::new("some-namespace", "a.trigger");
        assert_eq!(topic("b.overflow.", &name), "b.overflow.some-namespace.a.trigger");
        let long = Name::new("n", "x".repeat(253));
        let found = topic("b.overflow.", &long);
        assert!(found.len() <= TOPIC_LEN_MAX);
        assert_eq!(trigger("b.overflow.", &found), None);
        assert_ne!(found, topic("b.overflow.", &Name::new("n", "y".repeat(253))));
    }

    #[test]
    fn a_note_says_what_it_is_about() {
        for name in [Name::new("n", "t"), Name::new("n", "x".repeat(253)), Name::new("N_", "t")] {
            let prefix = amend_prefix(&name);
            let key = amend_key(&prefix, Position(u64::MAX));
            assert!(key.len() <= 200, "{key}");
            assert_eq!(amended(&prefix, &key), Some(Position(u64::MAX)));
        }
        assert_eq!(amended("amend/n/t/", "amend/n/t/u/7"), None);
    }

    #[test]
    fn only_what_stands_for_a_trigger_is_a_suffix() {
        let long = topic("b.overflow.", &Name::new("n", "x".repeat(253)));
        for (name, expected) in [
            ("b.overflow.n.t", Some("n.t")),
            ("b.overflow.n.t.overflow.n.u", Some("n.t.overflow.n.u")),
            (long.as_str(), long.strip_prefix("b.overflow.")),
            ("b.overflow.n", None),
            ("b.overflow.n.a_2eb", None),
            ("b.overflowing.n.t", None),
            ("c.overflow.n.t", None),
        ] {
            assert_eq!(suffix("b.overflow.", name), expected, "{name}");
        }
        assert!(made_key(&"x".repeat(240)).len() < 200);
    }

    proptest! {
        #[test]
        fn names_come_back_and_do_not_meet(
            a in ("[a-z.-]{1,8}|.{1,8}", "[a-z.-]{1,8}|.{1,8}"),
            b in ("[a-z.-]{1,8}|.{1,8}", "[a-z.-]{1,8}|.{1,8}"),
        ) {
            let [a, b] = [a, b].map(|(namespace, name)| Name::new(namespace, name));
            let [for_a, for_b] = [&a, &b].map(|name| topic("p.", name));
            prop_assert_eq!(trigger("p.", &for_a), Some(a.clone()));
            prop_assert_eq!(a == b, for_a == for_b);
            let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            prop_assert!(for_a.bytes().all(is_valid));
        }
    }
}
