//! What each dialect accepts, and what is refused, as a user writes it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

/// An event of attributes alone.
struct Sample(BTreeMap<String, String>);

impl Attributes for Sample {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// The event `{"type": .., "source": .., ..}`.
fn sample(attributes: &Value) -> Sample {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Sample(attributes.as_object().unwrap().iter().map(|(k, v)| (k.clone(), text(v))).collect())
}

/// The order that most cases are about.
fn order() -> Sample {
    sample(&json!({
        "specversion": "1.0", "id": "7", "source": "/shop/berlin", "type": "com.shop.order.created",
        "subject": "Bestellung-ä", "datacontenttype": "Application/JSON; charset=utf-8",
        "dataschema": "urn:order", "priority": "5", "blank": "",
    }))
}

fn compile(spec: &Value) -> Result<Filter, Vec<Invalid>> {
    let filter: Option<TriggerFilter> =
        spec.get("filter").map(|it| serde_json::from_value(it.clone()).unwrap());
    let filters: Vec<FilterSpec> =
        spec.get("filters").map_or_else(Vec::new, |it| serde_json::from_value(it.clone()).unwrap());
    Filter::compile(filter.as_ref(), &filters)
}

#[track_caller]
fn check_event(spec: &Value, event: &Sample, expected: bool) {
    let filter = compile(spec).unwrap();
    assert_eq!(filter.accepts(event), expected, "{spec}");
}

#[track_caller]
fn check(spec: Value, expected: bool) {
    check_event(&spec, &order(), expected);
}

/// `problems` are pairs of a field and words of its rule.
#[track_caller]
fn check_refused(spec: Value, problems: &[(&str, &str)]) {
    let found = compile(&spec).unwrap_err();
    assert_eq!(found.len(), problems.len(), "{found:#?}");
    for (found, (field, words)) in found.iter().zip(problems) {
        assert_eq!(found.field, *field, "{spec}");
        assert!(found.rule.contains(words), "{found}");
    }
}

#[test]
fn without_a_filter_everything_is_accepted() {
    check(json!({}), true);
    check(json!({"filters": []}), true);
    check(json!({"filter": {}}), true);
    check(json!({"filter": {"attributes": {}}}), true);
    assert_eq!(compile(&json!({})).unwrap(), Filter::everything());
}

#[test]
fn the_old_filter_wants_every_attribute_exactly() {
    let old = |attributes: Value| json!({"filter": {"attributes": attributes}});
    check(old(json!({"type": "com.shop.order.created"})), true);
    check(old(json!({"type": "com.shop.order.created", "source": "/shop/berlin"})), true);
    check(old(json!({"type": "com.shop.order.created", "source": "/shop/bonn"})), false);
    check(old(json!({"type": "com.shop.order.Created"})), false);
    check(old(json!({"type": "com.shop.order"})), false);
    check(old(json!({"priority": "5"})), true);
    check(old(json!({"priority": "05"})), false);
    check(old(json!({"colour": "red"})), false);
    check(old(json!({"specversion": "1.0", "id": "7"})), true);
}

#[test]
fn an_empty_value_of_the_old_filter_means_present_and_not_empty() {
    let old = |name: &str| json!({"filter": {"attributes": {name: ""}}});
    check(old("subject"), true);
    check(old("colour"), false);
    check(old("blank"), false);
    // Knative lets an event without a time pass here, because it formats the year 1.
    check(old("time"), false);
}

#[test]
fn filters_override_the_old_filter_only_when_there_are_any() {
    let old = json!({"attributes": {"type": "other"}});
    check(json!({"filter": old, "filters": []}), false);
    check(json!({"filter": old, "filters": [{"exact": {"id": "7"}}]}), true);
}

#[test]
fn elements_of_filters_must_all_accept() {
    check(json!({"filters": [{"exact": {"id": "7"}}, {"prefix": {"type": "com."}}]}), true);
    check(json!({"filters": [{"exact": {"id": "7"}}, {"prefix": {"type": "org."}}]}), false);
}

#[test]
fn dialects_compare_every_entry_with_regard_to_case() {
    for (dialect, map, expected) in [
        ("exact", json!({"source": "/shop/berlin"}), true),
        ("exact", json!({"source": "/shop/berlin", "id": "8"}), false),
        ("exact", json!({"source": "/shop/Berlin"}), false),
        ("exact", json!({"subject": "Bestellung-ä"}), true),
        ("exact", json!({"colour": "red"}), false),
        ("prefix", json!({"source": "/shop/"}), true),
        ("prefix", json!({"source": "/shop/berlin"}), true),
        ("prefix", json!({"source": "/shop/berlin/"}), false),
        ("prefix", json!({"source": "/Shop/"}), false),
        ("prefix", json!({"source": "/shop/", "type": "com."}), true),
        ("prefix", json!({"source": "/shop/", "type": "org."}), false),
        ("prefix", json!({"colour": "r"}), false),
        ("suffix", json!({"type": ".created"}), true),
        ("suffix", json!({"type": ".Created"}), false),
        ("suffix", json!({"subject": "ä"}), true),
        // The last byte of "ä" is the last byte of "Ф" too; they are different characters.
        ("suffix", json!({"subject": "\u{424}"}), false),
        ("suffix", json!({"type": "created", "source": "berlin"}), true),
        ("suffix", json!({"type": "created", "source": "bonn"}), false),
        ("suffix", json!({"colour": "d"}), false),
    ] {
        check(json!({"filters": [{dialect: map.clone()}]}), expected);
        check(json!({"filters": [{"not": {dialect: map.clone()}}]}), !expected);
        check(json!({"filters": [{"all": [{dialect: map.clone()}]}]}), expected);
        check(json!({"filters": [{"any": [{dialect: map}]}]}), expected);
    }
}

#[test]
fn all_any_and_not_nest() {
    let (yes, no) = (json!({"exact": {"id": "7"}}), json!({"exact": {"id": "8"}}));
    for (element, expected) in [
        (json!({"all": [yes, yes]}), true),
        (json!({"all": [yes, no]}), false),
        (json!({"any": [no, yes]}), true),
        (json!({"any": [no, no]}), false),
        (json!({"not": {"all": [yes, no]}}), true),
        (json!({"not": {"any": [yes, no]}}), false),
        (json!({"not": {"not": yes}}), true),
        (json!({"all": [{"any": [no, {"not": no}]}, {"not": {"any": [no]}}]}), true),
    ] {
        check(json!({"filters": [element]}), expected);
    }
}

#[test]
fn not_of_a_missing_attribute_is_true() {
    check(json!({"filters": [{"not": {"exact": {"colour": "red"}}}]}), true);
    check(json!({"filters": [{"not": {"prefix": {"colour": "r"}}}]}), true);
}

#[test]
fn the_schema_has_two_names_and_an_extension_does_not_take_one() {
    let named = |name: &str| json!({"filters": [{"exact": {name: "urn:order"}}]});
    let v03 = sample(&json!({"specversion": "0.3", "schemaurl": "urn:order"}));
    let other = sample(&json!({"specversion": "1.0", "schemaurl": "urn:order"}));
    for name in ["dataschema", "schemaurl"] {
        check_event(&named(name), &order(), true);
        check_event(&named(name), &v03, true);
        check_event(&named(name), &other, false);
    }
}

#[test]
fn the_media_type_has_no_parameters_and_no_case() {
    for (dialect, value, expected) in [
        ("exact", "application/json", true),
        ("exact", "APPLICATION/json", true),
        ("exact", "application/json; charset=utf-8", false),
        ("exact", "text/plain", false),
        ("prefix", "application/", true),
        ("prefix", "text/", false),
        ("prefix", "application/json; charset", false),
        ("suffix", "JSON", true),
        ("suffix", "utf-8", false),
    ] {
        check(json!({"filters": [{dialect: {"datamediatype": value}}]}), expected);
    }
    check(json!({"filters": [{"prefix": {"datacontenttype": "application/"}}]}), false);
    let no_content = sample(&json!({"type": "t"}));
    check_event(&json!({"filter": {"attributes": {"datamediatype": ""}}}), &no_content, false);
}

#[test]
fn names_must_be_lower_case_and_begin_with_a_letter() {
    const RULE: &str = "Attribute name must start with a letter and can only contain lowercase \
                        alphanumeric";
    for name in ["Type", "data.key", "9lives", "", "ce-type", "größe", "a b", "a_b"] {
        for (spec, field) in [
            (json!({"filter": {"attributes": {name: "x"}}}), "spec.filter.attributes"),
            (json!({"filters": [{"exact": {name: "x"}}]}), "spec.filters[0].exact"),
            (json!({"filters": [{"not": {"prefix": {name: "x"}}}]}), "spec.filters[0].not.prefix"),
            (
                json!({"filters": [{"all": [{"suffix": {name: "x"}}]}]}),
                "spec.filters[0].all[0].suffix",
            ),
        ] {
            check_refused(spec.clone(), &[(field, RULE)]);
            check_refused(spec, &[(field, &format!("invalid key name {name:?}"))]);
        }
    }
}

#[test]
fn what_knative_lets_match_everything_is_refused() {
    for (element, field, words) in [
        (json!({}), "spec.filters[0]", "no dialect found"),
        (json!({"cesql": ""}), "spec.filters[0]", "no dialect found"),
        (json!({"sql": ""}), "spec.filters[0]", "no dialect found"),
        (json!({"not": {}}), "spec.filters[0].not", "no dialect found"),
        (json!({"all": []}), "spec.filters[0].all", "at least one filter"),
        (json!({"any": []}), "spec.filters[0].any", "at least one filter"),
        (json!({"exact": {}}), "spec.filters[0].exact", "at least one attribute"),
        (json!({"prefix": {}}), "spec.filters[0].prefix", "at least one attribute"),
        (json!({"suffix": {}}), "spec.filters[0].suffix", "at least one attribute"),
        (json!({"exact": {"type": ""}}), "spec.filters[0].exact", "\"type\" must not be empty"),
        (json!({"prefix": {"type": ""}}), "spec.filters[0].prefix", "\"type\" must not be empty"),
        (json!({"not": {"suffix": {"type": ""}}}), "spec.filters[0].not.suffix", "\"type\" must"),
    ] {
        check_refused(json!({"filters": [element]}), &[(field, words)]);
    }
}

#[test]
fn an_element_has_one_dialect() {
    const RULE: &str = "multiple dialects found, filters can have only one dialect set";
    let exact = json!({"type": "t"});
    for element in [
        json!({"exact": exact, "prefix": exact}),
        json!({"exact": exact, "not": {"exact": exact}}),
        json!({"all": [{"exact": exact}], "any": [{"exact": exact}]}),
    ] {
        check_refused(
            json!({"filters": [{"exact": exact}, element]}),
            &[("spec.filters[1]", RULE)],
        );
    }
}

#[test]
fn an_expression_accepts_when_it_is_true_without_a_fault() {
    for (expression, expected) in [
        ("type = 'com.shop.order.created'", true),
        ("type LIKE 'com.shop.%' AND priority > 4", true),
        ("TYPE = 'com.shop.order.created' and Source like '/shop/_erlin'", true),
        ("type = 'x' OR colour = 'red'", false),
        ("type = 'com.shop.order.created' OR colour = 'red'", true),
        ("NOT (colour = 'red')", false),
        ("colour IN ('red')", false),
        ("EXISTS colour", false),
        ("dataschema = 'urn:order'", true),
        // Knative's extra names are names of extensions here.
        ("schemaurl = 'urn:order'", false),
        ("datamediatype = 'application/json'", false),
        ("priority", false),
        ("blank = ''", true),
    ] {
        for dialect in ["cesql", "sql"] {
            check(json!({"filters": [{dialect: expression}]}), expected);
            check(json!({"filters": [{"not": {dialect: expression}}]}), !expected);
            check(
                json!({"filters": [{"any": [{"exact": {"id": "8"}}, {dialect: expression}]}]}),
                expected,
            );
        }
    }
}

#[test]
fn an_expression_that_is_wrong_is_refused_with_its_place() {
    for (element, field, words) in [
        (
            json!({"any": [{"cesql": "type == 'x'"}]}),
            "spec.filters[0].any[0].cesql",
            "invalid value: \"type == 'x'\": expected an operand, found `==` at position 5: \
             equality is written with one `=`",
        ),
        (json!({"sql": "LEN(type) = 3"}), "spec.filters[0].sql", "did you mean LENGTH?"),
        (json!({"not": {"cesql": "5"}}), "spec.filters[0].not.cesql", "true or false"),
        (json!({"cesql": " "}), "spec.filters[0].cesql", "found the end at position 1"),
        (json!({"cesql": "(".repeat(10_000)}), "spec.filters[0].cesql", "10000 bytes"),
    ] {
        check_refused(json!({"filters": [element]}), &[(field, words)]);
    }
}

#[test]
fn an_empty_expression_counts_as_not_set() {
    check(json!({"filters": [{"cesql": "", "sql": "", "exact": {"id": "7"}}]}), true);
    check_refused(
        json!({"filters": [{"cesql": "TRUE", "sql": "TRUE"}]}),
        &[("spec.filters[0]", "multiple dialects found")],
    );
}

#[test]
fn every_problem_is_reported_with_its_path() {
    check_refused(
        json!({
            "filter": {"attributes": {"Type": "t"}},
            "filters": [
                {"exact": {"type": "t"}},
                {"all": [{"exact": {"A": ""}}, {}, {"any": [{"not": {"suffix": {}}}]}]},
            ],
        }),
        &[
            ("spec.filter.attributes", "\"Type\""),
            ("spec.filters[1].all[0].exact", "invalid key name \"A\""),
            ("spec.filters[1].all[0].exact", "must not be empty"),
            ("spec.filters[1].all[1]", "no dialect found"),
            ("spec.filters[1].all[2].any[0].not.suffix", "at least one attribute"),
        ],
    );
}

#[test]
fn nesting_ends_at_its_bound() {
    let nested = |levels: usize| {
        (1..levels).fold(json!({"exact": {"id": "7"}}), |inner, _| json!({"not": inner}))
    };
    check(json!({"filters": [nested(DEPTH_MAX)]}), DEPTH_MAX % 2 == 1);
    let path = format!("spec.filters[0]{}", ".not".repeat(DEPTH_MAX));
    check_refused(json!({"filters": [nested(DEPTH_MAX + 1)]}), &[(&path, "64 levels")]);
}

#[test]
fn elements_end_at_their_bound_with_one_complaint() {
    let elements = |count: usize| vec![json!({"exact": {"id": "7"}}); count];
    check(json!({"filters": elements(ELEMENTS_MAX / 2)}), true);
    check_refused(
        json!({"filters": elements(ELEMENTS_MAX / 2 + 100)}),
        &[("spec.filters", "1024 filters and attributes")],
    );
    let names: BTreeMap<String, &str> = (0..2000).map(|i| (format!("a{i}"), "x")).collect();
    check_refused(
        json!({"filter": {"attributes": names}}),
        &[("spec.filters", "1024 filters and attributes")],
    );
}

#[test]
fn a_long_name_is_not_repeated_in_full() {
    let name = "Ä".repeat(10_000);
    let problems = compile(&json!({"filter": {"attributes": {name: "x"}}})).unwrap_err();
    assert!(problems[0].rule.len() < 300, "{}", problems[0].rule);
}

#[test]
fn the_tree_keeps_the_shape_of_the_manifest() {
    let filter =
        compile(&json!({"filters": [{"not": {"any": [{"prefix": {"type": "a"}}]}}]})).unwrap();
    let test =
        Test { attribute: AttributeName::Plain("type".into()), check: Check::Prefix("a".into()) };
    let any = Node::Any(Box::new([Node::Tests(Box::new([test]))]));
    assert_eq!(*filter.root(), Node::All(Box::new([Node::Not(Box::new(any))])));
}
