//! A place with an address where events come in and from which they are passed on: a broker or a channel.
//!
//! # Why
//!
//! To the program both are the same: a log, those who want its events, dead letters. To users they
//! are two kinds of things, and one namespace may have one of each with the same name. So whatever
//! belongs to one of them (its address, its storage, its numbers) is found by its [`Hub`], never
//! by its name alone.

use std::{fmt, str::FromStr};

use crate::{Invalid, Name};

/// What stands before the name of a channel, in its text and in its path.
const CHANNELS: &str = "channels";

/// What a hub is to its users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HubKind {
    /// A broker, whose events triggers want.
    Broker,
    /// A channel, whose events subscriptions want.
    Channel,
}

impl HubKind {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Broker, Self::Channel];

    /// The word for one.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Channel => "channel",
        }
    }

    /// The word for whoever wants the events of one.
    pub fn taker(self) -> &'static str {
        match self {
            Self::Broker => "trigger",
            Self::Channel => "subscription",
        }
    }

    /// The word for several.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Broker => "brokers",
            Self::Channel => CHANNELS,
        }
    }
}

/// A broker or a channel by name.
///
/// Its text is the path of its address: `namespace/name` of a broker, `channels/namespace/name` of
/// a channel. No name has a slash, so the two are never the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hub {
    /// Which of the two.
    pub kind: HubKind,
    /// What it is called among those of its kind.
    pub name: Name,
}

impl Hub {
    /// The broker of that name.
    pub fn broker(name: Name) -> Self {
        Self { kind: HubKind::Broker, name }
    }

    /// The channel of that name.
    pub fn channel(name: Name) -> Self {
        Self { kind: HubKind::Channel, name }
    }

    /// Its kind and name, as a message says it: `channel default/orders`.
    pub fn in_words(&self) -> String {
        format!("{} {}", self.kind.as_str(), self.name)
    }
}

impl From<&Name> for Hub {
    /// As in a text, a name alone is a broker's.
    fn from(name: &Name) -> Self {
        Self::broker(name.clone())
    }
}

impl From<&Hub> for Hub {
    fn from(hub: &Hub) -> Self {
        hub.clone()
    }
}

impl fmt::Display for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            HubKind::Broker => self.name.fmt(f),
            HubKind::Channel => write!(f, "{CHANNELS}/{}", self.name),
        }
    }
}

impl FromStr for Hub {
    type Err = Invalid;

    /// Reads `namespace/name` and `channels/namespace/name`.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let rest = text.strip_prefix(CHANNELS).and_then(|rest| rest.strip_prefix('/'));
        match rest.filter(|rest| rest.contains('/')) {
            Some(name) => Ok(Self::channel(name.parse()?)),
            None => Ok(Self::broker(text.parse()?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_and_a_channel_of_one_name_are_told_apart_and_read_back() {
        for (text, hub) in [
            ("a/b", Hub::broker(Name::new("a", "b"))),
            ("channels/a/b", Hub::channel(Name::new("a", "b"))),
            ("channels/a", Hub::broker(Name::new("channels", "a"))),
            ("channels/channels/a", Hub::channel(Name::new("channels", "a"))),
        ] {
            assert_eq!((text.parse(), hub.to_string().as_str()), (Ok(hub.clone()), text));
        }
        for text in ["", "a", "channels", "channels/", "channels//a", "channels/a/b/c", "a/b/c"] {
            assert!(text.parse::<Hub>().is_err(), "{text}");
        }
    }
}
