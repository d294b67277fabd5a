//! Any expression has a value for any event; both modes, the filter and the index agree on it.
//!
//! The first line is the expression, each other one an attribute, as `name=text`. A `#` before the
//! name makes it a number, a `?` a truth value.
#![no_main]

use std::collections::BTreeMap;

use channel::{Attributes, Kind};
use dispatcher::FilterSpec;
use dispatcher::cesql::{Expression, Value};
use dispatcher::filter::{Filter, Node};
use dispatcher::route::{RouteTable, Scratch};
use libfuzzer_sys::fuzz_target;

#[derive(Default)]
struct Sample<'t>(BTreeMap<&'t str, (&'t str, Kind)>);

impl Attributes for Sample<'_> {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.typed_attribute(name).map(|(text, _)| text)
    }

    fn typed_attribute(&self, name: &str) -> Option<(&str, Kind)> {
        self.0.get(name).copied()
    }
}

impl<'t> Sample<'t> {
    fn read(lines: impl Iterator<Item = &'t str>) -> Self {
        let attributes = lines.filter_map(|line| line.split_once('='));
        Self(attributes.map(|(name, text)| typed(name, text)).collect())
    }
}

fn typed<'t>(name: &'t str, text: &'t str) -> (&'t str, (&'t str, Kind)) {
    match (name.strip_prefix('#'), name.strip_prefix('?')) {
        (Some(name), _) => (name, (text, Kind::Integer)),
        (_, Some(name)) => (name, (text, Kind::Boolean)),
        _ => (name, (text, Kind::String)),
    }
}

fuzz_target!(|input: &str| {
    let mut lines = input.split('\n');
    let Ok(expression) = Expression::parse(lines.next().unwrap_or_default()) else { return };
    let event = Sample::read(lines);

    let found = expression.evaluate(&event);
    let accepts = found.value == Value::Boolean(true) && found.faults.is_empty();
    assert_eq!(expression.accepts(&event), accepts, "{expression}");
    if let Some(kind) = expression.result_type() {
        assert_eq!(found.value.kind(), kind, "{expression}");
    }

    let spec = FilterSpec { cesql: Some(expression.to_string()), ..FilterSpec::default() };
    let Ok(filter) = Filter::compile(None, &[spec]) else { return };
    assert_eq!(filter.accepts(&event), accepts, "{expression}");
    if let Node::All(elements) = filter.root()
        && let [Node::Sql(sql)] = &**elements
    {
        assert!(!accepts || sql.needs().accepts(&event), "{expression}: {:?}", sql.needs());
    }
    // The same filter often enough that the table is indexed.
    let table = RouteTable::new((0..8).map(|id| (id, &filter)));
    let mut matches = 0;
    table.matches(&event, &mut Scratch::new(), |_| matches += 1);
    assert_eq!(matches, if accepts { 8 } else { 0 }, "{expression}");
});
