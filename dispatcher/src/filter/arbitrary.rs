//! Random filters, as a user writes them, and events that they are about.

use channel::{Draft, Event, Kind, SpecVersion};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::Filter;
use crate::spec::{FilterSpec, TriggerFilter};

/// Compiles what [`trigger`] and [`sql_trigger`] give.
pub(crate) fn compile(trigger: &Value) -> Filter {
    let filter: Option<TriggerFilter> =
        trigger.get("filter").map(|it| serde_json::from_value(it.clone()).unwrap());
    let filters: Vec<FilterSpec> = trigger
        .get("filters")
        .map_or_else(Vec::new, |it| serde_json::from_value(it.clone()).unwrap());
    Filter::compile(filter.as_ref(), &filters).unwrap()
}

/// An event with these attributes, as far as events may have them.
pub(crate) fn event(attributes: &[(String, String)]) -> Event {
    let is_old = attributes.iter().any(|(name, text)| name == "specversion" && text == "0.3");
    let mut draft = Draft::new(if is_old { SpecVersion::V03 } else { SpecVersion::V10 });
    let required = [("id", "a"), ("source", "b"), ("type", "a")];
    let required = required.map(|(name, text)| (name.to_owned(), text.to_owned()));
    for (name, text) in attributes.iter().chain(&required) {
        let kind = match (name.as_str(), text.parse::<i32>(), text.parse::<bool>()) {
            ("typed", Ok(_), _) => Kind::Integer,
            ("typed", _, Ok(_)) => Kind::Boolean,
            _ => Kind::String,
        };
        if draft.get(name).is_none() {
            // What no event may have is left out.
            draft.push_text(name, text, kind).unwrap_or_default();
        }
    }
    draft.finish().unwrap()
}

/// Events of [`NAMES`] and [`SQL_NAMES`].
pub(crate) fn any_event() -> impl Strategy<Value = Event> {
    let names = select([NAMES, SQL_NAMES].concat()).prop_map(str::to_owned);
    let texts = prop_oneof![text(), select(SQL_TEXTS).prop_map(str::to_owned)];
    prop::collection::vec((names, texts), 0..8).prop_map(|attributes| event(&attributes))
}

/// Names that filters and events have in common.
pub(crate) const NAMES: &[&str] = &[
    "type",
    "source",
    "id",
    "subject",
    "kind",
    "specversion",
    "dataschema",
    "schemaurl",
    "datacontenttype",
    "datamediatype",
];

/// Short texts that often begin, end or are alike, some of them only in the bytes of a character.
pub(crate) fn text() -> impl Strategy<Value = String> {
    let piece = select(vec!["a", "b", "/", "é", "è", "日", "旦", "🦀", "0.3", ";", "A"]);
    prop::collection::vec(piece, 1..4).prop_map(|pieces| pieces.concat())
}

fn map() -> impl Strategy<Value = Value> {
    prop::collection::btree_map(select(NAMES), text(), 1..4).prop_map(|map| json!(map))
}

/// The names of `cesql` and texts that it casts.
pub(crate) const SQL_NAMES: &[&str] = &["type", "source", "subject", "kind", "typed", "dataschema"];
pub(crate) const SQL_TEXTS: &[&str] =
    &["a", "b", "ab", "a/b", "é", "", "5", "05", "+5", "-0", "0", "true", "TRUE", "1", "日本"];

/// A condition on an attribute in one of the ways in which it can be written.
fn condition() -> impl Strategy<Value = String> {
    let name = || select(SQL_NAMES);
    let text = || select(SQL_TEXTS).prop_map(|text| format!("'{text}'"));
    let not = || select(vec!["", "NOT "]);
    let texts = prop::collection::vec(text(), 1..4).prop_map(|texts| texts.join(", "));
    let pattern = prop::collection::vec(select(vec!["a", "b", "é", "%", "_", "5", "\\%"]), 0..4);
    let equal = || select(vec!["=", "!="]);
    prop_oneof![
        3 => (name(), equal(), text()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        2 => (text(), equal(), name()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        2 => (name(), not(), texts).prop_map(|(a, not, set)| format!("{a} {not}IN ({set})")),
        2 => (name(), not(), pattern)
            .prop_map(|(a, not, pattern)| format!("{a} {not}LIKE '{}'", pattern.concat())),
        1 => (name(), select(vec!["=", "<", ">="]), -1..6)
            .prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        1 => name().prop_map(|a| format!("EXISTS {a}")),
        1 => (name(), name()).prop_map(|(a, b)| format!("{a} = {b}")),
        1 => (text(), text()).prop_map(|(a, b)| format!("{a} IN ({b}, type)")),
        1 => select(vec!["typed", "kind", "TRUE", "FALSE", "5 = 5"]).prop_map(str::to_owned),
    ]
}

fn expression() -> impl Strategy<Value = String> {
    condition().prop_recursive(4, 24, 4, |inner| {
        let operator = select(vec![" AND ", " OR ", " AND ", " OR ", " XOR "]);
        let more = prop::collection::vec((operator, inner.clone()), 1..4);
        prop_oneof![
            3 => (inner.clone(), more).prop_map(|(first, more)| {
                let more = more.iter().map(|(operator, next)| format!("{operator}{next}"));
                format!("({first}{})", more.collect::<String>())
            }),
            1 => inner.clone().prop_map(|operand| format!("(NOT ({operand}))")),
            1 => inner.prop_map(|operand| format!("(({operand}) = TRUE)")),
        ]
    })
}

/// `filters` with expressions in them.
pub(crate) fn sql_trigger() -> impl Strategy<Value = Value> {
    let sql = || expression().prop_map(|text| json!({ "cesql": text }));
    prop_oneof![
        6 => sql().prop_map(|sql| json!({"filters": [sql]})),
        1 => sql().prop_map(|sql| json!({"filters": [{"not": sql}]})),
        2 => (sql(), element()).prop_map(|(sql, other)| json!({"filters": [{"any": [sql, other]}]})),
        2 => (sql(), element()).prop_map(|(sql, other)| json!({"filters": [sql, other]})),
        1 => (sql(), sql()).prop_map(|(a, b)| json!({"filters": [{"not": {"all": [a, b]}}]})),
    ]
}

fn element() -> impl Strategy<Value = Value> {
    let leaf = (select(vec!["exact", "prefix", "suffix"]), map())
        .prop_map(|(dialect, map)| json!({ dialect: map }));
    leaf.prop_recursive(4, 24, 4, |inner| {
        let list = prop::collection::vec(inner.clone(), 1..5);
        prop_oneof![
            list.clone().prop_map(|list| json!({"all": list})),
            list.prop_map(|list| json!({"any": list})),
            inner.prop_map(|child| json!({"not": child})),
        ]
    })
}

/// `filter` or `filters` without expressions.
pub(crate) fn trigger() -> impl Strategy<Value = Value> {
    let old =
        prop::collection::btree_map(select(NAMES), prop_oneof![Just(String::new()), text()], 0..4)
            .prop_map(|map| json!({"filter": {"attributes": map}}));
    let new = prop::collection::vec(element(), 0..3).prop_map(|list| json!({"filters": list}));
    prop_oneof![1 => old, 4 => new]
}
