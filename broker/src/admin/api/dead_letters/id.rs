//! What a dead letter is called outside.

use std::{fmt, str::FromStr};

use channel::{Hub, HubKind, Name};

/// `namespace.broker.number`, since a broker numbers only its own dead letters; before those of a
/// channel stands `channels:`.
///
/// It can be read back because a namespace has no dot or colon in it and a number has none either; a
/// hub's name may have dots. To clients it is one word without structure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Id {
    /// The hub that keeps it.
    pub(super) hub: Hub,
    /// Its number there, from 1.
    pub(super) number: u64,
}

/// What the ids of a channel's dead letters begin with.
const CHANNELS: &str = "channels:";

/// What is wrong with a text that is no [`Id`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be the id of a dead letter")]
pub(super) struct NoId;

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hub { kind, name } = &self.hub;
        if *kind == HubKind::Channel {
            f.write_str(CHANNELS)?;
        }
        write!(f, "{}.{}.{}", name.namespace, name.name, self.number)
    }
}

impl FromStr for Id {
    type Err = NoId;

    fn from_str(text: &str) -> Result<Self, NoId> {
        let (kind, text) = match text.strip_prefix(CHANNELS) {
            Some(text) => (HubKind::Channel, text),
            None => (HubKind::Broker, text),
        };
        let (hub, number) = text.rsplit_once('.').ok_or(NoId)?;
        let (namespace, name) = hub.split_once('.').ok_or(NoId)?;
        let is_written_so = number.bytes().all(|byte| byte.is_ascii_digit());
        if namespace.is_empty() || name.is_empty() || !is_written_so {
            return Err(NoId);
        }
        let number = number.parse().map_err(|_| NoId)?;
        Ok(Self { hub: Hub { kind, name: Name::new(namespace, name) }, number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_whatever_the_hub_is_called() {
        for (namespace, name) in [("default", "default"), ("a", "b.c"), ("a-1", "1.2.3")] {
            for kind in HubKind::ALL {
                let id = Id { hub: Hub { kind, name: Name::new(namespace, name) }, number: 42 };
                assert_eq!(id.to_string().parse(), Ok(id));
            }
        }
    }

    #[test]
    fn anything_else_is_no_id() {
        for text in ["", "1", "a.b", "a.b.", "a.b.x", "a.b.-1", "a.b.+1", "a..1", ".b.1"] {
            assert_eq!(text.parse::<Id>(), Err(NoId), "{text}");
        }
        assert_eq!("a.b.99999999999999999999".parse::<Id>(), Err(NoId));
    }
}
