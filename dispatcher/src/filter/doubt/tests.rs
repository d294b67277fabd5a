//! What is doubted and what is not, and that no doubt is wrong.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::filter::arbitrary::{any_event, compile, sql_trigger, trigger};

#[track_caller]
fn check(filters: Value, expected: &[(&str, &str)]) {
    let found = compile(&json!({ "filters": filters })).doubts();
    let found: Vec<(&str, &str)> =
        found.iter().map(|doubt| (doubt.field.as_str(), doubt.message.as_str())).collect();
    assert_eq!(found, expected, "{filters}");
}

fn sql(expression: &str) -> Value {
    json!([{ "cesql": expression }])
}

#[test]
fn values_that_no_event_has_are_doubted() {
    check(
        json!([{"exact": {"specversion": "0.9"}}]),
        &[("spec.filters[0].exact.specversion", "can never match: `specversion` is 1.0 or 0.3")],
    );
    check(
        json!([{"exact": {"time": "yesterday"}}]),
        &[(
            "spec.filters[0].exact.time",
            "can never match: no event has \"yesterday\": time: must be a timestamp with seconds and \
             offset (RFC 3339)",
        )],
    );
    check(
        json!([{"exact": {"source": "a b"}}]),
        &[(
            "spec.filters[0].exact.source",
            "can never match: no event has \"a b\": source: must be a URI-reference (RFC 3986, 4.1)",
        )],
    );
    check(
        json!([{"prefix": {"source": "my shop"}}]),
        &[(
            "spec.filters[0].prefix.source",
            "can never match: no URI-reference has \"my shop\" in it",
        )],
    );
    check(
        json!([{"prefix": {"time": "Mon"}}]),
        &[("spec.filters[0].prefix.time", "can never match: no RFC 3339 time has \"Mon\" there")],
    );
    check(
        json!([{"exact": {"datamediatype": "text/plain; charset=utf-8"}}]),
        &[(
            "spec.filters[0].exact.datamediatype",
            "can never match: `datamediatype` is without parameters",
        )],
    );
    check(
        json!([{"exact": {"data": "x"}}]),
        &[(
            "spec.filters[0].exact.data",
            "can never match: no event has it: an attribute must not be named data (CloudEvents 3)",
        )],
    );
    check(
        sql("specversion = 1"),
        &[(
            "spec.filters[0].cesql",
            "can never match: `specversion` is never a number or a truth value",
        )],
    );
    check(
        sql("time > 5"),
        &[("spec.filters[0].cesql", "can never match: `time` is never a number or a truth value")],
    );
    check(
        sql("NOT EXISTS type"),
        &[("spec.filters[0].cesql", "can never match: every event has `type`")],
    );
    check(
        sql("type = ''"),
        &[("spec.filters[0].cesql", "can never match: no event has \"\": type: must not be empty")],
    );
    check(sql("FALSE"), &[("spec.filters[0].cesql", "can never match: FALSE is never true")]);
}

#[test]
fn what_excludes_each_other_is_doubted() {
    check(
        json!([{"exact": {"type": "a"}}, {"exact": {"type": "b"}}]),
        &[(
            "spec.filters[1].exact.type",
            "can never match: `type` would have to be \"b\", and be \"a\" (spec.filters[0].exact.type)",
        )],
    );
    check(
        json!([{"all": [{"exact": {"type": "a.b"}}, {"prefix": {"type": "b"}}]}]),
        &[(
            "spec.filters[0].all[1].prefix.type",
            "can never match: `type` would have to begin with \"b\", and be \"a.b\" \
             (spec.filters[0].all[0].exact.type)",
        )],
    );
    check(
        json!([{"exact": {"type": "a"}}, {"not": {"prefix": {"type": "a"}}}]),
        &[(
            "spec.filters[1].not.prefix.type",
            "can never match: `type` would have to not begin with \"a\", and be \"a\" \
             (spec.filters[0].exact.type)",
        )],
    );
    check(
        json!([{"suffix": {"type": "a"}}, {"any": [{"suffix": {"type": "b"}}, {"suffix": {"type": "c"}}]}]),
        &[(
            "spec.filters[1].any[0].suffix.type",
            "can never match: `type` would have to end with \"b\", and end with \"a\" \
             (spec.filters[0].suffix.type)",
        )],
    );
    check(
        sql("type = 'a' AND type = 'b'"),
        &[("spec.filters[0].cesql", "can never match: `type` would have to be \"a\" and be \"b\"")],
    );
    check(
        sql("type LIKE 'a%' AND (type IN ('b', 'c') OR NOT EXISTS type)"),
        &[(
            "spec.filters[0].cesql",
            "can never match: `type` would have to begin with \"a\" and be \"b\"",
        )],
    );
    check(
        sql("NOT EXISTS kind AND kind != 'a'"),
        &[(
            "spec.filters[0].cesql",
            "can never match: `kind` would have to be absent and be there",
        )],
    );
    check(
        json!([{"exact": {"kind": "5"}}, {"cesql": "'6' = kind"}]),
        &[(
            "spec.filters[1].cesql",
            "can never match: `kind` would have to be \"6\", and be \"5\" (spec.filters[0].exact.kind)",
        )],
    );
}

#[test]
fn an_element_of_any_that_can_never_hold_is_doubted_alone() {
    check(
        json!([{"any": [{"exact": {"specversion": "2.0"}}, {"exact": {"type": "a"}}]}]),
        &[(
            "spec.filters[0].any[0].exact.specversion",
            "this element of any can never hold: `specversion` is 1.0 or 0.3",
        )],
    );
}

#[test]
fn operators_that_meet_without_parentheses_are_doubted() {
    check(
        sql("type = 'a' AND source = 'b' OR kind = 'c'"),
        &[(
            "spec.filters[0].cesql",
            "AND, OR and XOR meet without parentheses, which is read as \
             type = 'a' AND (source = 'b' OR kind = 'c'); write the parentheses that you mean",
        )],
    );
    check(
        json!([{"not": {"sql": "a XOR (b OR c AND d)"}}]),
        &[(
            "spec.filters[0].not.sql",
            "AND, OR and XOR meet without parentheses, which is read as b OR (c AND d); \
             write the parentheses that you mean",
        )],
    );
}

#[test]
fn what_can_match_is_not_doubted() {
    check(json!([]), &[]);
    for filters in [
        json!([{"exact": {"specversion": "0.3"}}]),
        json!([{"not": {"exact": {"specversion": "0.9"}}}]),
        json!([{"prefix": {"time": "2026-"}}, {"suffix": {"time": "Z"}}]),
        json!([{"prefix": {"type": "com."}}, {"prefix": {"type": "com.example."}}]),
        json!([{"exact": {"datamediatype": "Text/Plain"}}, {"prefix": {"datamediatype": "text/"}}]),
        json!([{"exact": {"type": "a"}}, {"not": {"exact": {"type": "a", "source": "b"}}}]),
        json!([{"exact": {"dataschema": "no uri"}}]),
        sql("NOT EXISTS subject"),
        sql("type = 'a' OR type = 'b'"),
        sql("(a AND b) OR c"),
        sql("type = 5 AND source < 3"),
        sql("type != 'a' AND type != 'b'"),
        sql("(type = 'a' AND kind = 'x') OR (type = 'b' AND missing = 'y')"),
    ] {
        check(filters, &[]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn no_event_passes_a_filter_of_which_that_is_doubted(
        trigger in prop_oneof![trigger(), sql_trigger()],
        events in prop::collection::vec(any_event(), 1..20),
    ) {
        let filter = compile(&trigger);
        let doubts = filter.doubts();
        if doubts.iter().any(|doubt| doubt.concern == Concern::Never) {
            for event in events {
                prop_assert!(!filter.accepts(&event), "{:?} {:?}", doubts, event);
            }
        }
    }
}
