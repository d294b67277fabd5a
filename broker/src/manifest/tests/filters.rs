//! What filters are told: refusals with their place in the file and in the expression, and doubts.

use super::*;

/// The problems of a trigger with these lines in its `filters`, without their line.
#[track_caller]
fn told(filters: &str) -> Vec<String> {
    let text = trigger("a", &format!("  filters:\n{filters}"));
    let text = format!("{}---\n{text}", broker("default"));
    let found = problems(text);
    found.iter().map(|line| line.split_once(':').unwrap().1.to_owned()).collect()
}

/// The one problem of a trigger with this expression.
#[track_caller]
fn of_expression(expression: &str) -> String {
    let quoted = serde_json::to_string(expression).unwrap();
    let told = told(&format!("  - cesql: {quoted}\n"));
    assert_eq!(told.len(), 1, "{told:?}");
    told.into_iter().next().unwrap()
}

#[test]
fn filters_are_refused_in_the_words_of_knative() {
    let expected = [
        "5: spec.filters[0].exact: invalid key name \"Type\": Attribute name must start with a letter \
         and can only contain lowercase alphanumeric",
        "5: spec.filters[1]: multiple dialects found, filters can have only one dialect set",
        "12: spec.filters[2].cesql: invalid value: \"type == 'a'\": expected an operand, found `==` at \
         position 5: equality is written with one `=`",
    ];
    let filters = "  - exact: {Type: a}\n  - exact: {type: a}\n    prefix: {type: b}\n  \
                   - cesql: type == 'a'\n";
    assert_eq!(told(filters), expected);
}

#[test]
fn an_expression_that_is_wrong_is_refused_with_its_place_and_a_suggestion() {
    for (expression, words) in [
        ("type = 'a", "the text that begins here has no closing quote at position 7"),
        ("count > 2147483648", "the number is out of range"),
        (
            "LENGHT(type) > 3",
            "there is no function LENGHT with 1 argument(s) at position 0: did you mean LENGTH?",
        ),
        (
            "LEFT(type) = 'a'",
            "there is no function LEFT with 1 argument(s) at position 0: LEFT takes 2",
        ),
        ("LENGTH(type)", "this expression comes to a value of type Integer at position 0"),
        ("'a' < type", "texts and times have no order in CESQL"),
        ("NOT 'x'", "NOT needs a value of type Boolean, and the text is none"),
        ("\"type\" = 'a'", "the attribute is written type, without quotes"),
        ("type = 'it''s'", "a quote within a text is written with a `\\\\` before it"),
    ] {
        let told = of_expression(expression);
        assert!(told.starts_with("12: spec.filters[0].cesql: invalid value: "), "{told}");
        assert!(told.contains(&words.replace("\\\\", "\\")), "{told}");
    }
}

#[test]
fn an_expression_without_end_is_refused_at_its_bound() {
    let longest = format!("type = '{}'", "x".repeat(4096 - 9));
    assert_eq!(longest.len(), 4096);
    assert!(told(&format!("  - cesql: {}\n", serde_json::to_string(&longest).unwrap())).is_empty());
    let longer = format!("{longest} ");
    let told = of_expression(&longer);
    assert!(
        told.contains("the expression has 4097 bytes, 4096 are allowed at position 0"),
        "{told}"
    );
    for many in ["(".repeat(10_000), format!("{}a{}", "(".repeat(10_000), ")".repeat(10_000))] {
        assert!(of_expression(&many).contains("4096 are allowed"));
    }
    let deep = format!("{}a{}", "(".repeat(2000), ")".repeat(2000));
    assert!(of_expression(&deep).contains("nested more than 64 levels deep"));
    assert!(of_expression(&"NOT ".repeat(1000)).contains("nested more than 64 levels deep"));
}

#[test]
fn an_expression_that_is_not_utf_8_is_refused_where_it_shows() {
    let text = trigger("a", "  filters:\n  - cesql: type = 'caf?'\n");
    let bytes: Vec<u8> = text.bytes().map(|byte| if byte == b'?' { 0xe9 } else { byte }).collect();
    let found = problems(bytes);
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("10:23: not UTF-8: byte "), "{found:?}");
}

#[test]
fn what_goes_wrong_only_for_some_events_is_admitted() {
    for expression in [
        "INT(type) = 1",
        "INT('x') = 1",
        "1 / 0 = 1",
        "2147483647 + 1 = 1",
        "ABS(-2147483648) = 1",
        "missing = 'x'",
        "LEFT(type, -1) = 'a'",
    ] {
        let quoted = serde_json::to_string(expression).unwrap();
        assert!(told(&format!("  - cesql: {quoted}\n")).is_empty(), "{expression}");
    }
}

#[test]
fn a_filter_that_can_never_match_is_warned_of_and_used() {
    let text = trigger("a", "  filters:\n  - exact:\n      type: a\n      specversion: '0.9'\n");
    let files = [("a.yaml", &*broker("default")), ("b.yaml", &*text)];
    let expected = "b.yaml:12:20: warning: spec.filters[0].exact.specversion: can never match: \
                    `specversion` is 1.0 or 0.3";
    assert_eq!(linked(&files), [expected]);
    assert_eq!(names(&load(&files).resources), ["Broker default/default", "Trigger default/a"]);
}

#[test]
fn what_excludes_each_other_or_is_read_in_two_ways_is_warned_of() {
    let filters = "  - exact: {type: a}\n  - cesql: type = 'b'\n";
    let expected = "12: warning: spec.filters[1].cesql: can never match: `type` would have to be \"b\", \
                    and be \"a\" (spec.filters[0].exact.type)";
    assert_eq!(told(filters), [expected]);
    let expected = "12: warning: spec.filters[0].cesql: AND, OR and XOR meet without parentheses, which \
                    is read as a AND (b OR c); write the parentheses that you mean";
    assert_eq!(of_expression("a AND b OR c"), expected);
    assert_eq!(told("  - cesql: a AND (b OR c)\n"), [""; 0]);
}
