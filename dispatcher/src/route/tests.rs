//! The table finds what the specification says, and is made as its page promises.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use channel::Kind;

use super::*;
use crate::cesql::{Expression, Value as Truth};
use crate::filter::arbitrary::{NAMES, SQL_NAMES, SQL_TEXTS, sql_trigger, text, trigger};
use crate::spec::{FilterSpec, TriggerFilter};

type Attrs = BTreeMap<String, String>;

/// An event of attributes alone.
#[derive(Clone, Debug)]
struct Sample(Attrs);

impl Attributes for Sample {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// `typed` is the extension that came as a number or a truth value when it can.
    fn typed_attribute(&self, name: &str) -> Option<(&str, Kind)> {
        let text = self.attribute(name)?;
        let kind = match (name, text.parse::<i32>(), text.parse::<bool>()) {
            ("typed", Ok(_), _) => Kind::Integer,
            ("typed", _, Ok(_)) => Kind::Boolean,
            _ => Kind::String,
        };
        Some((text, kind))
    }
}

fn event<const N: usize>(attributes: [(&str, &str); N]) -> Sample {
    Sample(attributes.map(|(name, text)| (name.to_owned(), text.to_owned())).into())
}

fn compile(trigger: &Value) -> Filter {
    let filter: Option<TriggerFilter> =
        trigger.get("filter").map(|it| serde_json::from_value(it.clone()).unwrap());
    let filters: Vec<FilterSpec> =
        serde_json::from_value(trigger.get("filters").cloned().unwrap_or(json!([]))).unwrap();
    Filter::compile(filter.as_ref(), &filters).unwrap()
}

fn table(triggers: &[Value]) -> RouteTable {
    let filters: Vec<Filter> = triggers.iter().map(compile).collect();
    RouteTable::new((0..).zip(&filters))
}

/// A table that is large enough to be indexed: `triggers` and others that no sample here matches.
fn indexed(triggers: &[Value]) -> RouteTable {
    let others = (0..INDEXED_MIN).map(|i| json!({"filters": [{"exact": {"id": format!("-{i}")}}]}));
    table(&triggers.iter().cloned().chain(others).collect::<Vec<_>>())
}

fn found(table: &RouteTable, event: &Sample, scratch: &mut Scratch) -> Vec<u32> {
    let mut ids = Vec::new();
    table.matches(event, scratch, |id| ids.push(id));
    ids.sort_unstable();
    ids
}

/// The specification read aloud, over the manifest and not over what became of it.
mod naive {
    use super::*;

    pub(super) fn wants(trigger: &Value, event: &Attrs) -> bool {
        match trigger["filters"].as_array() {
            Some(filters) if !filters.is_empty() => filters.iter().all(|it| element(it, event)),
            _ => trigger["filter"]["attributes"].as_object().is_none_or(|map| {
                map.iter().all(|(name, want)| match want.as_str().unwrap() {
                    "" => text(name, event).is_some_and(|have| !have.is_empty()),
                    want => text(name, event).is_some_and(|have| have == fold(name, want)),
                })
            }),
        }
    }

    fn element(filter: &Value, event: &Attrs) -> bool {
        let (dialect, value) = filter.as_object().unwrap().iter().next().unwrap();
        let list = || value.as_array().unwrap().iter();
        let entries = |holds: fn(&str, &str) -> bool| {
            value.as_object().unwrap().iter().all(|(name, want)| {
                let want = fold(name, want.as_str().unwrap());
                text(name, event).is_some_and(|have| holds(&have, &want))
            })
        };
        match dialect.as_str() {
            "all" => list().all(|child| element(child, event)),
            "any" => list().any(|child| element(child, event)),
            "not" => !element(value, event),
            "cesql" => {
                let expression = Expression::parse_filter(value.as_str().unwrap()).unwrap();
                let sample = Sample(event.clone());
                let found = expression.evaluate(&sample);
                found.value == Truth::Boolean(true) && found.faults.is_empty()
            }
            "exact" => entries(|have, want| have == want),
            "prefix" => entries(|have, want| have.starts_with(want)),
            "suffix" => entries(|have, want| have.ends_with(want)),
            other => panic!("{other}"),
        }
    }

    fn text(name: &str, event: &Attrs) -> Option<String> {
        let old = event.get("specversion").is_some_and(|version| version == "0.3");
        match name {
            "dataschema" | "schemaurl" if old => {
                event.get("schemaurl").or(event.get("dataschema")).cloned()
            }
            "dataschema" | "schemaurl" => event.get("dataschema").cloned(),
            "datamediatype" => {
                let content_type = event.get("datacontenttype")?;
                Some(fold(name, content_type.split(';').next().unwrap().trim()))
            }
            name => event.get(name).cloned(),
        }
    }

    fn fold(name: &str, value: &str) -> String {
        if name == "datamediatype" { value.to_ascii_lowercase() } else { value.to_owned() }
    }
}

fn sql_sample() -> impl Strategy<Value = Sample> {
    prop::collection::btree_map(
        select(SQL_NAMES).prop_map(str::to_owned),
        select(SQL_TEXTS).prop_map(str::to_owned),
        2..6,
    )
    .prop_map(Sample)
}

fn sample() -> impl Strategy<Value = Sample> {
    let text = prop_oneof![1 => Just(String::new()), 8 => text()];
    prop::collection::btree_map(select(NAMES).prop_map(str::to_owned), text, 0..8).prop_map(Sample)
}

/// Texts whose beginnings and ends of any length make triggers with very many shapes.
const LONG: &str = "/日本/ä/com.example.shop/orders/v1/created/by/🦀/in/berlin/on/a/monday/morning";
const LONG_NAMES: &[&str] = &["type", "source", "subject", "kind", "region"];

/// About the first (or last) `len` bytes of [`LONG`]: up to the next character.
fn piece(len: usize, dialect: &str) -> &'static str {
    match dialect {
        "suffix" => (LONG.len() - len..=LONG.len()).find_map(|start| LONG.get(start..)).unwrap(),
        _ => (len..=LONG.len()).find_map(|end| LONG.get(..end)).unwrap(),
    }
}

fn many_shaped_trigger() -> impl Strategy<Value = Value> {
    let test = (select(vec!["exact", "prefix", "suffix"]), select(LONG_NAMES), 6..LONG.len())
        .prop_map(|(dialect, name, len)| json!({ dialect: { name: piece(len, dialect) } }));
    prop_oneof![
        8 => prop::collection::vec(test.clone(), 1..4).prop_map(|list| json!({"filters": list})),
        1 => prop::collection::vec(test, 1..4)
            .prop_map(|list| json!({"filters": [{"any": list}]})),
    ]
}

fn many_shaped_sample() -> impl Strategy<Value = Sample> {
    let text = (any::<bool>(), 0..=LONG.len())
        .prop_map(|(ends, len)| piece(len, if ends { "suffix" } else { "prefix" }).to_owned());
    let text = prop_oneof![text, Just(LONG.to_owned())];
    prop::collection::btree_map(select(LONG_NAMES).prop_map(str::to_owned), text, 2..6)
        .prop_map(Sample)
}

fn agrees(triggers: &[Value], events: &[Sample]) -> Result<(), TestCaseError> {
    let (table, mut scratch) = (table(triggers), Scratch::new());
    for event in events {
        let expected: Vec<u32> = (0..)
            .zip(triggers)
            .filter_map(|(id, trigger)| naive::wants(trigger, &event.0).then_some(id))
            .collect();
        prop_assert_eq!(found(&table, event, &mut scratch), expected, "{:?}", event);
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_table_finds_what_the_specification_says(
        triggers in prop::collection::vec(trigger(), 0..120),
        events in prop::collection::vec(sample(), 1..12),
    ) {
        agrees(&triggers, &events)?;
    }

    #[test]
    fn any_table_of_expressions_finds_what_their_evaluation_says(
        triggers in prop::collection::vec(sql_trigger(), 0..80),
        events in prop::collection::vec(sql_sample(), 1..12),
    ) {
        agrees(&triggers, &events)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_trigger_given_twice_is_found_twice(
        triggers in prop::collection::vec(trigger(), 30..60),
        events in prop::collection::vec(sample(), 1..8),
    ) {
        let twice: Vec<Value> = triggers.iter().chain(&triggers).cloned().collect();
        agrees(&twice, &events)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn more_shapes_than_there_may_be_change_nothing(
        triggers in prop::collection::vec(many_shaped_trigger(), 500..700),
        events in prop::collection::vec(many_shaped_sample(), 1..24),
    ) {
        agrees(&triggers, &events)?;
        let counts = table(&triggers).counts();
        prop_assert!(counts.shapes > SHAPES_MAX / 2 && counts.shapes <= SHAPES_MAX, "{counts:?}");
        prop_assert_eq!(counts.unindexed, 0);
    }
}

#[track_caller]
fn check_unindexed(element: Value, expected: usize) {
    let counts = indexed(&[json!({"filters": [element]})]).counts();
    assert_eq!(counts.unindexed, expected, "{element}");
}

#[test]
fn expressions_that_fix_an_attribute_are_looked_up() {
    for (text, expected) in [
        ("type = 't'", 0),
        ("'t' = type", 0),
        ("TYPE = \"t\" AND LENGTH(source) > 3", 0),
        ("type = 't' OR source = 's'", 0),
        ("type IN ('a', 'b') AND NOT EXISTS x", 0),
        ("type LIKE 'com.%'", 0),
        ("type LIKE '%.created'", 0),
        ("NOT (type != 't' OR source = 's')", 0),
        ("NOT type NOT LIKE 'a%'", 1),
        ("NOT (type NOT LIKE 'a%')", 0),
        ("priority = 5 AND type = 't'", 0),
        ("priority = 5", 1),
        ("5 = priority", 1),
        ("type = ''", 1),
        ("type LIKE '%a%'", 1),
        ("type = source", 1),
        ("type != 't'", 1),
        ("EXISTS subject", 1),
        ("LOWER(type) = 't'", 1),
        ("type = 't' OR EXISTS subject", 1),
        ("type = 't' XOR source = 's'", 1),
        ("type IN ('a', source)", 1),
        ("TRUE", 1),
        ("type = 't' AND FALSE", 0),
    ] {
        check_unindexed(json!({ "cesql": text }), expected);
    }
    let alternatives = |count: usize| {
        (0..count).map(|i| format!("type = 'v{i}'")).collect::<Vec<_>>().join(" OR ")
    };
    check_unindexed(json!({"cesql": alternatives(64)}), 0);
    check_unindexed(json!({"cesql": alternatives(65)}), 1);
    check_unindexed(json!({"cesql": format!("source = 's' AND ({})", alternatives(65))}), 0);
    let turns = "type = 't' OR source = 's' AND ".repeat(100) + "EXISTS x";
    check_unindexed(json!({ "cesql": turns }), 0);
}

fn any_of(count: usize, name: &str) -> Value {
    let list: Vec<Value> = (0..count).map(|i| json!({"exact": {name: format!("v{i}")}})).collect();
    json!({ "any": list })
}

#[test]
fn only_what_has_nothing_to_look_up_is_asked_every_time() {
    let exact = json!({"exact": {"type": "t"}});
    check_unindexed(exact.clone(), 0);
    check_unindexed(json!({"not": exact}), 1);
    check_unindexed(json!({"not": {"not": exact}}), 0);
    check_unindexed(json!({"not": {"any": [{"not": exact}, exact]}}), 0);
    check_unindexed(json!({"all": [{"not": exact}, {"prefix": {"source": "/"}}]}), 0);
    check_unindexed(json!({"any": [{"not": exact}, {"prefix": {"source": "/"}}]}), 1);
    check_unindexed(json!({"exact": {"datamediatype": "text/plain"}}), 1);
    check_unindexed(json!({"exact": {"datamediatype": "text/plain", "type": "t"}}), 0);
}

#[test]
fn a_filter_with_too_many_alternatives_is_listed_by_some_of_what_it_needs() {
    check_unindexed(any_of(64, "type"), 0);
    check_unindexed(any_of(65, "type"), 1);
    check_unindexed(json!({"all": [any_of(65, "type"), {"exact": {"source": "/"}}]}), 0);
    check_unindexed(json!({"all": [any_of(20, "type"), any_of(20, "source")]}), 0);

    let trigger = json!({"filters": [{"all": [any_of(20, "type"), any_of(20, "source")]}]});
    let (table, mut scratch) = (indexed(&[trigger]), Scratch::new());
    let yes = event([("type", "v3"), ("source", "v19")]);
    assert_eq!(found(&table, &yes, &mut scratch), [0]);
    let no = event([("type", "v3"), ("source", "v20")]);
    assert_eq!(found(&table, &no, &mut scratch), [0; 0]);
}

#[test]
fn a_filter_that_nothing_satisfies_is_not_listed() {
    let never = json!({"filters": [{"exact": {"type": "a"}}, {"prefix": {"type": "b"}}]});
    let shapes = indexed(&[]).counts().shapes;
    let counts = indexed(&[never]).counts();
    assert_eq!((counts.shapes, counts.unindexed), (shapes, 0));
}

#[test]
fn a_trigger_without_a_filter_gets_every_event_and_counts_as_indexed() {
    let (table, mut scratch) = (indexed(&[json!({})]), Scratch::new());
    assert_eq!(found(&table, &event([]), &mut scratch), [0]);
    assert_eq!(table.counts(), Counts { triggers: INDEXED_MIN + 1, shapes: 1, unindexed: 0 });
}

#[test]
fn a_trigger_is_found_once_by_an_event_that_satisfies_it_in_several_ways() {
    let trigger = json!({"filters": [{"any": [
        {"exact": {"type": "t"}}, {"prefix": {"source": "/a"}}, {"suffix": {"source": "b"}},
    ]}]});
    let (table, mut scratch) = (indexed(&[trigger]), Scratch::new());
    for _ in 0..3 {
        let event = event([("type", "t"), ("source", "/ab")]);
        assert_eq!(found(&table, &event, &mut scratch), [0]);
    }
}

#[test]
fn a_small_table_has_no_shapes() {
    let counts = table(&[json!({"filters": [{"exact": {"type": "t"}}]})]).counts();
    assert_eq!(counts, Counts { triggers: 1, shapes: 0, unindexed: 0 });
}

#[test]
fn attributes_without_number_fill_the_shapes_and_the_rest_is_asked() {
    let trigger = |i: usize| json!({"filters": [{"exact": {format!("x{i}"): "v"}}]});
    let triggers: Vec<Value> = (0..400).map(trigger).collect();
    let (table, mut scratch) = (table(&triggers), Scratch::new());
    let expected = Counts { triggers: 400, shapes: SHAPES_MAX, unindexed: 400 - SHAPES_MAX };
    assert_eq!(table.counts(), expected);
    for i in 0..400 {
        let name = format!("x{i}");
        let event = event([(name.as_str(), "v")]);
        assert_eq!(found(&table, &event, &mut scratch), [u32::try_from(i).unwrap()]);
    }
}

#[test]
fn one_scratch_serves_tables_of_any_size() {
    let want = |name: &str| json!({"filters": [{"any": [{"exact": {"type": name}}, {"exact": {"source": "/"}}]}]});
    let small = table(&[want("t")]);
    let large = indexed(&[want("u"), want("t"), want("t")]);
    let mut scratch = Scratch::new();
    let event = event([("type", "t"), ("source", "/")]);
    for _ in 0..3 {
        assert_eq!(found(&small, &event, &mut scratch), [0]);
        assert_eq!(found(&large, &event, &mut scratch), [0, 1, 2]);
    }
}

#[test]
fn a_cut_may_end_within_a_character() {
    let triggers = [
        json!({"filters": [{"prefix": {"subject": "é"}}]}),
        json!({"filters": [{"prefix": {"subject": "日"}}]}),
        json!({"filters": [{"suffix": {"subject": "b"}}]}),
    ];
    let (table, mut scratch) = (indexed(&triggers), Scratch::new());
    for (subject, expected) in [
        ("é", vec![0]),
        ("日b", vec![1, 2]),
        ("旦", vec![]),
        ("a日", vec![]),
        ("", vec![]),
        ("b", vec![2]),
    ] {
        assert_eq!(
            found(&table, &event([("subject", subject)]), &mut scratch),
            expected,
            "{subject}"
        );
    }
}
