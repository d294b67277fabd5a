//! A tree of values → a typed spec, with every unknown field and every wrong type on the way.
//!
//! # Why
//!
//! `serde_ignored` and `serde_path_to_error` stop at the first wrong type and cannot say which
//! names a struct knows. Reading from the tree itself gives both, and exact positions with them.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use serde::{
    Deserialize, Deserializer,
    de::{
        self, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
        value::{BorrowedStrDeserializer, MapAccessDeserializer},
    },
    forward_to_deserialize_any,
};

use super::{
    finding::{Finding, join},
    mismatch::Mismatch,
    node::{Entry, Float, Node, Value},
    problem::{Position, nearest},
};

/// Wrong types reported of one resource; more are a file of another kind.
const WRONG_MAX: usize = 50;

/// Reads `node` as a `T`. `path` is where the node is in its document, empty for the document;
/// `at` is where a person looks for it.
///
/// Returns the value unless a type is wrong, and everything found: a value with unknown fields is
/// still returned. A value is never quoted in a message, for it may be a secret.
pub(crate) fn read<'n, T: Deserialize<'n>>(
    node: &'n Node,
    path: &str,
    at: Position,
) -> (Option<T>, Vec<Finding>) {
    let reading = Reading { path: RefCell::new(path.to_owned()), ..Reading::default() };
    let mut wrong = Vec::new();
    // A wrong value is noted, then left out of the next reading, so that it hides no other.
    while wrong.len() < WRONG_MAX {
        let mismatch = match T::deserialize(Typed { node, reading: &reading }) {
            Ok(value) => {
                let value = wrong.is_empty().then_some(value);
                wrong.extend(reading.unknown.into_inner().into_values());
                return (value, wrong);
            }
            Err(mismatch) => mismatch.placed(path, at),
        };
        let (left_out, finding) = mismatch.into_finding();
        // A required field that was left out for its wrong type is not missing.
        if !reading.left_out.borrow().contains(&finding.field) {
            wrong.push(finding);
        }
        if left_out == path || !reading.left_out.borrow_mut().insert(left_out) {
            break;
        }
    }
    wrong.extend(reading.unknown.into_inner().into_values());
    (None, wrong)
}

/// What is known while one resource is read.
#[derive(Debug, Default)]
struct Reading {
    /// Path of the value being read.
    path: RefCell<String>,
    /// Paths that are passed over.
    left_out: RefCell<BTreeSet<String>>,
    /// Unknown fields by their path.
    unknown: RefCell<BTreeMap<String, Finding>>,
}

impl Reading {
    fn path_to(&self, step: Step<'_>) -> String {
        let path = self.path.borrow();
        match step {
            Step::Key(key) => join(&path, key),
            Step::Index(index) => format!("{path}[{index}]"),
        }
    }

    fn leaves_out(&self, step: Step<'_>) -> bool {
        let left_out = self.left_out.borrow();
        !left_out.is_empty() && left_out.contains(&self.path_to(step))
    }

    /// Reads `node`, one step further down; `at` is where a person would look for it.
    fn descend<'n, S: DeserializeSeed<'n>>(
        &self,
        step: Step<'_>,
        (at, node): (Position, &'n Node),
        seed: S,
    ) -> Result<S::Value, Mismatch> {
        let inner = self.path_to(step);
        let outer = self.path.replace(inner);
        let result = seed
            .deserialize(Typed { node, reading: self })
            .map_err(|mismatch| mismatch.placed(&self.path.borrow(), at));
        self.path.replace(outer);
        result
    }

    fn note_unknown(&self, entry: &Entry, known: &[&'static str]) {
        let field = self.path_to(Step::Key(&entry.key));
        let suggestion = nearest(&entry.key, known.iter().copied());
        let message = match suggestion {
            Some(_) => "unknown field".to_owned(),
            None => format!("unknown field; known here: {}", known.join(", ")),
        };
        let finding = Finding::new(entry.at, field.as_str(), message).meant(suggestion);
        let finding = Finding { is_unknown_field: true, ..finding };
        self.unknown.borrow_mut().insert(field, finding);
    }
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// One value of the tree, as serde reads it.
#[derive(Clone, Copy)]
struct Typed<'n, 'r> {
    node: &'n Node,
    reading: &'r Reading,
}

impl<'n, 'r> Typed<'n, 'r> {
    fn entries(
        self,
        entries: &'n [Entry],
        known: Option<&'static [&'static str]>,
    ) -> Entries<'n, 'r> {
        Entries { left: entries.iter(), known, current: None, reading: self.reading }
    }
}

impl<'de> Deserializer<'de> for Typed<'de, '_> {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Negative(value) => visitor.visit_i64(*value),
            Value::Whole(value) => visitor.visit_u64(*value),
            Value::Float(Float(value)) => visitor.visit_f64(*value),
            Value::Text(value) => visitor.visit_borrowed_str(value),
            Value::List(items) => {
                visitor.visit_seq(Items { left: items.iter().enumerate(), reading: self.reading })
            }
            Value::Map(entries) => visitor.visit_map(self.entries(entries, None)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match &self.node.value {
            Value::Map(entries) => visitor.visit_map(self.entries(entries, Some(known))),
            // Serde would read a struct from a list as well, field by field.
            Value::List(_) => Err(de::Error::invalid_type(Unexpected::Seq, &visitor)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match &self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match &self.node.value {
            Value::Text(variant) => visitor.visit_enum(variant.as_str().into_deserializer()),
            Value::Map(entries) => {
                visitor.visit_enum(MapAccessDeserializer::new(self.entries(entries, None)))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map identifier
    }
}

/// The entries of a mapping; of a struct when the names it knows are given.
struct Entries<'n, 'r> {
    left: std::slice::Iter<'n, Entry>,
    known: Option<&'static [&'static str]>,
    current: Option<&'n Entry>,
    reading: &'r Reading,
}

impl<'n> MapAccess<'n> for Entries<'n, '_> {
    type Error = Mismatch;

    fn next_key_seed<K: DeserializeSeed<'n>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Mismatch> {
        for entry in self.left.by_ref() {
            if let Some(known) = self.known {
                if !known.contains(&entry.key.as_str()) {
                    self.reading.note_unknown(entry, known);
                    continue;
                }
                // As in Kubernetes, a field with nothing after its colon is absent.
                if matches!(entry.value.value, Value::Null) {
                    continue;
                }
            }
            if self.reading.leaves_out(Step::Key(&entry.key)) {
                continue;
            }
            self.current = Some(entry);
            return seed.deserialize(BorrowedStrDeserializer::new(&entry.key)).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'n>>(&mut self, seed: S) -> Result<S::Value, Mismatch> {
        let Some(entry) = self.current.take() else {
            return Err(Mismatch::say("value read before its key"));
        };
        let at = match entry.value.value {
            Value::Null | Value::Map(_) => entry.at,
            _ => entry.value.at,
        };
        self.reading.descend(Step::Key(&entry.key), (at, &entry.value), seed)
    }
}

/// The items of a list.
struct Items<'n, 'r> {
    left: std::iter::Enumerate<std::slice::Iter<'n, Node>>,
    reading: &'r Reading,
}

impl<'n> SeqAccess<'n> for Items<'n, '_> {
    type Error = Mismatch;

    fn next_element_seed<S: DeserializeSeed<'n>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Mismatch> {
        for (index, item) in self.left.by_ref() {
            if !self.reading.leaves_out(Step::Index(index)) {
                return self.reading.descend(Step::Index(index), (item.at, item), seed).map(Some);
            }
        }
        Ok(None)
    }
}
