//! An explanation never differs from the decision, and says what a person would.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::filter::arbitrary::{any_event, compile, event, sql_trigger, trigger};

fn greeting() -> Event {
    let attributes = [
        ("id", "1"),
        ("source", "/shop/berlin"),
        ("type", "greeting"),
        ("kynd", "x"),
        ("typed", "5"),
        ("subject", "a b"),
    ];
    event(&attributes.map(|(name, text)| (name.to_owned(), text.to_owned())))
}

/// The lines of an explanation, and the first thing that does not hold.
#[track_caller]
fn check(filters: Value, lines: &[&str], first_miss: Option<&str>) {
    let filter = compile(&json!({ "filters": filters }));
    let explanation = explain(&filter, &greeting());
    let text = explanation.to_string();
    assert_eq!(text.lines().collect::<Vec<_>>(), lines, "{filters}");
    assert_eq!(explanation.first_miss.as_deref(), first_miss, "{filters}");
    assert_eq!(explanation.matches, filter.accepts(&greeting()), "{filters}");
}

#[test]
fn what_matches_says_by_what() {
    check(json!([]), &["[+] no filter: every event"], None);
    check(
        json!([{"exact": {"type": "greeting"}}]),
        &["[+] spec.filters[0].exact: type is \"greeting\""],
        None,
    );
    check(
        json!([{"not": {"suffix": {"source": "/test"}}}, {"prefix": {"source": "/shop", "type": "g"}}]),
        &[
            "[+] spec.filters: all must hold",
            "    [+] spec.filters[0].not: must not hold",
            "        [-] spec.filters[0].not.suffix: source is \"/shop/berlin\", must end with \"/test\"",
            "    [+] spec.filters[1].prefix: all must hold",
            "        [+] source is \"/shop/berlin\", which begins with \"/shop\"",
            "        [+] type is \"greeting\", which begins with \"g\"",
        ],
        None,
    );
}

#[test]
fn the_first_thing_that_does_not_hold_is_told_with_what_is_nearly_right() {
    check(
        json!([{"exact": {"type": "Greeting"}}, {"exact": {"kind": "x"}}]),
        &[
            "[-] spec.filters: all must hold",
            "    [-] spec.filters[0].exact: type is \"greeting\", must be \"Greeting\"",
            "        (`type` differs only in case)",
            "    [-] spec.filters[1].exact: kind is absent, must be \"x\"",
            "        (the event has `kynd`)",
        ],
        Some(
            "spec.filters[0].exact: type is \"greeting\", must be \"Greeting\" (`type` differs only in case)",
        ),
    );
    check(
        json!([{"any": [{"exact": {"type": "a"}}, {"exact": {"cetype": "b"}}]}]),
        &[
            "[-] spec.filters[0].any: one must hold",
            "    [-] spec.filters[0].any[0].exact: type is \"greeting\", must be \"a\"",
            "    [-] spec.filters[0].any[1].exact: cetype is absent, must be \"b\"",
            "        (the event has `type`; attributes are named without `ce-`)",
        ],
        Some("spec.filters[0].any: none of 2 holds"),
    );
    check(
        json!([{"not": {"exact": {"type": "greeting"}}}]),
        &[
            "[-] spec.filters[0].not: must not hold",
            "    [+] spec.filters[0].not.exact: type is \"greeting\"",
        ],
        Some("spec.filters[0].not: holds, and must not"),
    );
}

#[test]
fn an_expression_is_told_part_by_part() {
    check(
        json!([{"cesql": "type = 'Greeting' AND subject LIKE 'a%'"}]),
        &[
            "[-] spec.filters[0].cesql: type = 'Greeting' AND subject LIKE 'a%' is false",
            "    [-] type = 'Greeting' is false: type is \"greeting\"",
            "        (`type` differs only in case)",
            "    [ ] subject LIKE 'a%': not looked at",
        ],
        Some(
            "spec.filters[0].cesql: type = 'Greeting' is false: type is \"greeting\" \
             (`type` differs only in case)",
        ),
    );
    check(
        json!([{"sql": "kind = 'x' OR typed > 4"}]),
        &[
            "[!] spec.filters[0].sql: kind = 'x' OR typed > 4: the event has no attribute `kind`",
            "    [!] kind = 'x': the event has no attribute `kind`",
            "        (the event has `kynd`)",
            "    [ ] typed > 4: not looked at",
        ],
        Some(
            "spec.filters[0].sql: kind = 'x': the event has no attribute `kind` (the event has `kynd`)",
        ),
    );
    check(
        json!([{"cesql": "LENGTH(subject) + 1 = 4 AND type IN ('a', type, kind) OR TRUE"}]),
        &[
            "[+] spec.filters[0].cesql: LENGTH(subject) + 1 = 4 AND type IN ('a', type, kind) OR TRUE is true",
            "    (read as LENGTH(subject) + 1 = 4 AND (type IN ('a', type, kind) OR TRUE))",
            "    [+] LENGTH(subject) + 1 = 4 is true",
            "        [=] LENGTH(subject) + 1 is 4",
            "            [=] LENGTH(subject) is 3: subject is \"a b\"",
            "    [+] type IN ('a', type, kind) is true: type is \"greeting\"",
            "    [ ] TRUE: not looked at",
        ],
        None,
    );
}

#[test]
fn json_has_every_number_as_it_is() {
    let filter =
        compile(&json!({"filters": [{"exact": {"type": "farewell"}}, {"cesql": "typed = 5"}]}));
    let explanation = serde_json::to_value(explain(&filter, &greeting())).unwrap();
    let expected = json!({
        "matches": false,
        "firstMiss": "spec.filters[0].exact: type is \"greeting\", must be \"farewell\"",
        "tree": {
            "path": "spec.filters", "dialect": "all", "result": false,
            "children": [
                {"path": "spec.filters[0].exact", "dialect": "exact", "result": false, "tests": [{
                    "attribute": "type", "check": "exact",
                    "expected": "farewell", "actual": "greeting", "result": false,
                }]},
                {"path": "spec.filters[1].cesql", "dialect": "cesql", "result": true, "expression": {
                    "expression": "typed = 5", "evaluated": true, "value": true,
                    "parts": [{"expression": "typed", "evaluated": true, "value": 5}],
                }},
            ],
        },
    });
    assert_eq!(explanation, expected);
}

#[test]
fn long_values_and_deep_expressions_are_cut() {
    let long = "x".repeat(4000);
    let event = event(&[("subject".to_owned(), long.clone())]);
    let deep = format!("{}subject = 'a'{}", "NOT (".repeat(60), ")".repeat(60));
    let filter = compile(&json!({"filters": [{"exact": {"subject": "b"}}, {"cesql": deep}]}));
    let json = serde_json::to_string(&explain(&filter, &event)).unwrap();
    assert!(!json.contains(&long), "{json}");
    // Deep enough to be useful, and not too deep for a reader of JSON with the usual bound of 128.
    let nested = json.bytes().fold((0_u32, 0), |(depth, most), byte| match byte {
        b'{' | b'[' => (depth + 1, most.max(depth + 1)),
        b'}' | b']' => (depth - 1, most),
        _ => (depth, most),
    });
    assert!((40..100).contains(&nested.1), "{nested:?}");
}

#[test]
fn what_goes_wrong_in_an_expression_is_an_error_and_no_end() {
    for expression in [
        "INT(type) = 1",
        "1 / 0 = 1",
        "2147483647 + typed = 1",
        "ABS(-2147483648) = 1",
        "LEFT(type, 0 - 1) = 'a'",
        "NOT type",
        "missing LIKE '%'",
        "SUBSTRING(type, 99) = ''",
    ] {
        let filter = compile(&json!({"filters": [{ "cesql": expression }]}));
        let explanation = explain(&filter, &greeting());
        assert!(!explanation.matches, "{expression}");
        assert!(
            explanation.to_string().starts_with("[!] spec.filters[0].cesql: "),
            "{explanation}"
        );
    }
}

/// Whether every part of an expression that was looked at says what it is to those around it.
fn agrees(part: &Part) -> bool {
    let is_told = part.evaluated == part.value.is_some();
    // What was not looked at has nothing looked at within.
    is_told && part.parts.iter().all(|inner| (part.evaluated || !inner.evaluated) && agrees(inner))
}

fn parts_agree(step: &Step) -> bool {
    let accepts = |part: &Part| part.errors.is_empty() && part.value == Some(Shown::Boolean(true));
    let is_right =
        step.expression.as_ref().is_none_or(|it| accepts(it) == step.result && agrees(it));
    is_right && step.children.iter().all(parts_agree)
}

proptest! {
    #[test]
    fn the_result_is_what_the_filter_decides(
        trigger in prop_oneof![trigger(), sql_trigger()],
        events in prop::collection::vec(any_event(), 1..8),
    ) {
        let filter = compile(&trigger);
        for event in events {
            let explanation = explain(&filter, &event);
            prop_assert_eq!(explanation.matches, filter.accepts(&event), "{}", explanation);
            prop_assert_eq!(explanation.matches, explanation.first_miss.is_none());
            prop_assert!(parts_agree(&explanation.tree), "{}", explanation);
        }
    }
}
