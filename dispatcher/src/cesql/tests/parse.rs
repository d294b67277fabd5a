//! What does not parse, where that is said, and what is suggested.

use super::*;

/// `expected` is the message; it holds a part of what is shown.
#[track_caller]
fn check(text: &str, position: usize, words: &str) {
    let error = Expression::parse_filter(text).unwrap_err();
    let shown = error.to_string();
    assert!(shown.contains(words), "{text}: {shown}");
    assert_eq!(error.position, position, "{text}: {shown}");
}

#[test]
fn an_error_says_where_and_what_to_write() {
    for (text, position, words) in [
        ("", 0, "expected a value, found the end"),
        ("   ", 3, "expected a value, found the end"),
        ("type = ", 7, "expected a value, found the end at position 7"),
        ("type == 'x'", 5, "equality is written with one `=`"),
        ("type = 'x", 7, "no closing quote"),
        ("type = \"x'", 7, "no closing quote"),
        ("type = 'it''s'", 11, "a quote within a text is written with a `\\` before it"),
        ("type = x.y", 8, "a text needs quotes"),
        ("data.name = 'x'", 4, "cannot be asked for"),
        ("type = 'a' && id = 'b'", 11, "write AND"),
        ("type = 'a' || id = 'b'", 11, "write OR"),
        ("!(type = 'a')", 0, "write NOT"),
        ("type = ‘a’", 7, "a text stands between"),
        ("type = 'a' AND in = 'b'", 15, "this is a keyword"),
        ("EXISTS in", 7, "this is a keyword"),
        ("EXISTS 'x'", 7, "names of attributes have no quotes"),
        ("EXISTS 5", 7, "expected the name of an attribute after EXISTS"),
        ("my_ext = 'x'", 0, "letters and digits only"),
        ("type LIKE id", 10, "the pattern must be a text in quotes"),
        ("type LIKE 5", 10, "the pattern must be a text in quotes"),
        ("type IN 'a'", 8, "write the set as ('a', 'b')"),
        ("type IN ()", 9, "a set must not be empty"),
        ("type IN ('a',)", 13, "expected a value, found `)`"),
        ("type IN ('a'", 12, "it closes the `(` at position 8"),
        ("(type = 'a'", 11, "it closes the `(` at position 0"),
        ("type = 'a')", 10, "there is no `(`"),
        ("type = 'a' id = 'b'", 11, "expected an operator or the end, found `id`"),
        ("type IS NULL", 5, "write EXISTS"),
        ("id BETWEEN 1 AND 2", 3, "write a >= x"),
        ("count = 2147483648", 8, "the number is out of range"),
        ("count = -2147483649", 8, "the number is out of range"),
        ("count = - 2147483648", 10, "the number is out of range"),
        ("count = + 5", 8, "`+` stands between two values"),
        ("count = 99999999999999999999999999", 8, "the number is out of range"),
        (
            "LEN(type) = 3",
            0,
            "there is no function LEN with 1 argument(s) at position 0: did you mean LENGTH?",
        ),
        ("substr(type, 1) = 'x'", 0, "did you mean SUBSTRING?"),
        (
            "type = frobnicate()",
            7,
            "there is no function FROBNICATE with 0 argument(s) at position 7",
        ),
        ("LEFT(type) = 'x'", 0, "LEFT takes 2"),
        ("SUBSTRING(type) = 'x'", 0, "SUBSTRING takes 2 to 3"),
        ("CONCAT_WS() = 'x'", 0, "CONCAT_WS takes 1 or more"),
        ("md5(type) = 'x'", 3, "names of functions have letters and underscores only"),
        ("LENGTH(type)", 0, "of type Integer at position 0: compare it with something"),
        ("'x'", 0, "of type String"),
        ("5", 0, "of type Integer"),
        ("time < '2024-01-01T00:00:00Z'", 7, "texts and times have no order"),
        ("CONCAT(type + '-x') = 'a'", 14, "CONCAT(a, b) joins texts"),
        ("\"type\" = 'x'", 0, "the attribute is written type, without quotes"),
        ("id = '7' AND 'type' LIKE 'com.%'", 13, "the attribute is written type, without quotes"),
        ("\"type\" IN ('a', 'b')", 0, "the attribute is written type, without quotes"),
        ("NOT 'x'", 4, "NOT needs a value of type Boolean"),
        ("type = 'a' OR 'b'", 14, "OR needs a value of type Boolean"),
        ("'abc' = 5", 0, "= needs a value of type Integer"),
        ("a = 1 # x", 6, "unexpected character '#'"),
        ("é = 1", 0, "unexpected character 'é'"),
        ("'é' = x AND $", 13, "unexpected character '$'"),
    ] {
        check(text, position, words);
    }
}

#[test]
fn what_only_a_filter_refuses_is_parsed_elsewhere() {
    for text in ["LENGTH(type)", "NOPE(1)", "'x'", "'a' = 'b'", "'a' < 'b'", "CONCAT_WS()"] {
        assert!(Expression::parse(text).is_ok(), "{text}");
    }
    for text in ["mybool", "'a' = 'a'", "'A-b' = 'x'", "'x' IN ('a', type)", "'true' = TRUE"] {
        assert!(Expression::parse_filter(text).is_ok(), "{text}");
    }
}

#[test]
fn the_length_is_checked_before_anything_is_read() {
    let longest = format!("{}TRUE", " ".repeat(LENGTH_MAX_BYTES - 4));
    assert!(Expression::parse_filter(&longest).is_ok());
    check(&format!("'{longest}"), 0, "4097 bytes, 4096 are allowed");
    check(&"$".repeat(1_000_000), 0, "1000000 bytes");
}

#[test]
fn nesting_ends_at_its_bound_without_an_overflow_of_the_stack() {
    let around = |start: &str, times: usize, end: &str| {
        format!("{}TRUE{}", start.repeat(times), end.repeat(times))
    };
    for (start, end) in [("(", ")"), ("NOT ", ""), ("BOOL(", ")"), ("TRUE IN (", ")"), ("-", "")] {
        assert!(Expression::parse(&around(start, DEPTH_MAX - 1, end)).is_ok(), "{start}");
        let deep = around(start, DEPTH_MAX + 1, end);
        let error = Expression::parse(&deep).unwrap_err();
        assert_eq!(error.problem, Problem::TooDeep, "{start}");
        let deepest = (LENGTH_MAX_BYTES - 4) / (start.len() + end.len());
        let error = Expression::parse(&around(start, deepest, end)).unwrap_err();
        assert_eq!(error.problem, Problem::TooDeep, "{start}");
        let error = Expression::parse(&around(start, 10_000, end)).unwrap_err();
        assert!(matches!(error.problem, Problem::TooLong(_)), "{start}");
    }
    for chain in [" = 1", " < 1", " LIKE '1'", " IN (1)"] {
        let text = format!("1{}", chain.repeat(DEPTH_MAX));
        assert_eq!(Expression::parse(&text).unwrap_err().problem, Problem::TooDeep, "{chain}");
    }
}

#[test]
fn logic_without_parentheses_can_be_warned_of() {
    for (text, mixes) in [
        ("a AND b AND c", false),
        ("a AND b OR c", true),
        ("(a AND b) OR c", false),
        ("a OR b XOR c", true),
        ("NOT (a = 'x' AND b OR c)", true),
        ("a IN (b, c AND d OR e)", true),
        ("a = b AND c = d", false),
    ] {
        assert_eq!(Expression::parse(text).unwrap().mixes_logic(), mixes, "{text}");
    }
}

#[test]
fn texts_escape_their_own_quote_and_nothing_else() {
    let event = Sample::minimal();
    for (text, expected) in [
        (r"'a\'b'", "a'b"),
        (r#"'a\"b'"#, r#"a\"b"#),
        (r#""a\"b""#, r#"a"b"#),
        (r"'a\\'", r"a\\"),
        (r"'a\nb'", r"a\nb"),
        (r"'\\\''", r"\\'"),
        ("''", ""),
        ("'ä\n'", "ä\n"),
    ] {
        let expression = Expression::parse(text).unwrap();
        assert_eq!(expression.evaluate(&event).value, Value::String(expected.into()), "{text}");
    }
}
