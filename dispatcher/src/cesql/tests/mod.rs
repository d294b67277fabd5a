//! The language as its users and its specification see it.

mod evaluate;
mod parse;
mod print;
mod tck;

use std::collections::BTreeMap;

use channel::{Attributes, Kind};

use super::*;

/// An event of attributes alone.
#[derive(Clone, Debug, Default)]
struct Sample(BTreeMap<String, (String, Kind)>);

impl Sample {
    fn with(mut self, name: &str, text: &str, kind: Kind) -> Self {
        self.0.insert(name.to_owned(), (text.to_owned(), kind));
        self
    }

    /// What every event has.
    fn minimal() -> Self {
        [("specversion", "1.0"), ("id", "7"), ("source", "/shop/berlin"), ("type", "order.created")]
            .into_iter()
            .fold(Self::default(), |sample, (name, text)| sample.with(name, text, Kind::String))
    }
}

impl Attributes for Sample {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|(text, _)| text.as_str())
    }

    fn typed_attribute(&self, name: &str) -> Option<(&str, Kind)> {
        self.0.get(name).map(|(text, kind)| (text.as_str(), *kind))
    }
}
