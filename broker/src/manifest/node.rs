//! YAML text → a tree of values that remember where they were written.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{Location, Spanned};

use super::problem::Position;

/// A value and the place where it was written.
///
/// `Hash` covers the content only: the same manifest further down a file hashes the same.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Where the value starts; for an alias, where the alias is.
    pub(crate) at: Position,
    /// The value, by the rules that turn a Kubernetes manifest into JSON.
    pub(crate) value: Value,
}

/// A value as JSON knows them.
#[derive(Clone, Debug, Hash)]
pub(crate) enum Value {
    /// `null`, `~` or nothing at all.
    Null,
    /// `true`, and YAML 1.1's `yes` and `on` as in Kubernetes.
    Bool(bool),
    /// A whole number below zero.
    Negative(i64),
    /// A whole number.
    Whole(u64),
    /// Any other number.
    Float(Float),
    /// A string.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order written.
    Map(Vec<Entry>),
}

/// A number with a fraction, compared by its bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Float(pub(crate) f64);

/// One key of a mapping and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The key.
    pub(crate) key: String,
    /// Where the key is.
    pub(crate) at: Position,
    /// Its value.
    pub(crate) value: Node,
}

impl Hash for Node {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.value.hash(state);
    }
}

impl Hash for Float {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl Hash for Entry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
        self.value.hash(state);
    }
}

impl Node {
    /// What an API server gave.
    pub(crate) fn from_json(json: &serde_json::Value) -> Self {
        let value = match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(value) => Value::Bool(*value),
            serde_json::Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(whole), _) => Value::Whole(whole),
                (None, Some(negative)) => Value::Negative(negative),
                (None, None) => Value::Float(Float(number.as_f64().unwrap_or_default())),
            },
            serde_json::Value::String(text) => Value::Text(text.clone()),
            serde_json::Value::Array(items) => {
                Value::List(items.iter().map(Self::from_json).collect())
            }
            serde_json::Value::Object(fields) => {
                let entry = |(key, value): (&String, &serde_json::Value)| Entry {
                    key: key.clone(),
                    at: Position::NONE,
                    value: Self::from_json(value),
                };
                Value::Map(fields.iter().map(entry).collect())
            }
        };
        Self { at: Position::NONE, value }
    }

    /// The whole number, if it is one that fits.
    pub(crate) fn whole(&self) -> Option<i64> {
        match &self.value {
            Value::Whole(value) => i64::try_from(*value).ok(),
            Value::Negative(value) => Some(*value),
            _ => None,
        }
    }

    /// The value of a key, if this is a mapping that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The entries of a mapping; none for any other value.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The text, if it is a string.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Where a field is, by its path such as `spec.filters[1].exact`.
    ///
    /// A field that is missing is at the nearest one around it. A key that holds dots is found
    /// too, both as `metadata.annotations.example.com/x` and `metadata.annotations[example.com/x]`.
    pub(crate) fn locate(&self, path: &str) -> Position {
        self.locate_from(path, self.at)
    }

    /// Where the key of a field is, by its path; its value's place in a list.
    pub(crate) fn locate_key(&self, path: &str) -> Position {
        let Some(entry) = self.entries().iter().find(|entry| steps(path, &entry.key) == Some(""))
        else {
            return match self.step(path) {
                Some((_, child, rest)) if !rest.is_empty() => child.locate_key(rest),
                Some((at, ..)) => at,
                None => self.at,
            };
        };
        entry.at
    }

    fn locate_from(&self, path: &str, around: Position) -> Position {
        match self.step(path) {
            // Nothing is written where a null is, and a mapping begins below its key.
            Some((at, Self { value: Value::Null, .. }, _)) => at,
            Some((at, Self { value: Value::Map(_), .. }, "")) => at,
            Some((_, child, "")) => child.at,
            Some((at, child, rest)) => child.locate_from(rest, at),
            None => around,
        }
    }

    /// One step down `path`: the place of the key, its value, and what is left of the path.
    fn step<'n, 'p>(&'n self, path: &'p str) -> Option<(Position, &'n Self, &'p str)> {
        match &self.value {
            Value::Map(entries) => entries
                .iter()
                .filter_map(|entry| Some((entry, steps(path, &entry.key)?)))
                .min_by_key(|(_, rest)| rest.len())
                .map(|(entry, rest)| (entry.at, &entry.value, rest)),
            Value::List(items) => {
                let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
                let item = items.get(index.parse::<usize>().ok()?)?;
                Some((item.at, item, rest.strip_prefix('.').unwrap_or(rest)))
            }
            _ => None,
        }
    }
}

/// What is left of `path` after the step `key` or `[key]`, or `None` when it begins otherwise.
fn steps<'p>(path: &'p str, key: &str) -> Option<&'p str> {
    let bracketed = |path: &'p str| path.strip_prefix('[')?.strip_prefix(key)?.strip_prefix(']');
    let rest = bracketed(path).or_else(|| path.strip_prefix(key))?;
    match rest.as_bytes().first() {
        None | Some(b'[') => Some(rest),
        Some(b'.') => rest.get(1..),
        Some(_) => None,
    }
}

impl From<Location> for Position {
    fn from(location: Location) -> Self {
        let bounded = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).max(1);
        Self { line: bounded(location.line()), column: bounded(location.column()) }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { at: spanned.referenced.into(), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(u64::try_from(value).map_or(Value::Negative(value), Value::Whole))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Whole(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(Float(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let at = key.referenced.into();
            entries.push(Entry { key: key.value, at, value: map.next_value()? });
        }
        Ok(Value::Map(entries))
    }
}
