//! Values, casts and faults that the compatibility kit does not look at.

use super::*;

fn event() -> Sample {
    Sample::minimal()
        .with("subject", "Bestellung-ä", Kind::String)
        .with("priority", "5", Kind::String)
        .with("count", "5", Kind::Integer)
        .with("urgent", "true", Kind::Boolean)
}

/// Evaluates `text` and writes the value down as a literal, with the faults after it.
#[track_caller]
fn check(text: &str, expected: &str) {
    let expression = Expression::parse(text).unwrap();
    let event = event();
    let found = expression.evaluate(&event);
    let faults: Vec<String> = found.faults.iter().map(ToString::to_string).collect();
    let value = match &found.value {
        Value::String(text) => format!("'{text}'"),
        Value::Integer(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
    };
    let written = [vec![value], faults].concat().join("; ");
    assert_eq!(written, expected, "{text}");
    assert_eq!(expression.accepts(&event), expected == "true", "{text}");
}

#[test]
fn the_right_operand_decides_what_is_compared() {
    check("priority = 5", "true");
    check("priority = '5'", "true");
    check("priority = '05'", "false");
    check("priority = 05", "true");
    check("'05' = priority", "false");
    check("'05' = count", "true");
    check("count = '5'", "true");
    check("count = '05'", "false");
    check("type = 5", "false; the text is not of type Integer");
    check("urgent = 'true'", "true");
    check("urgent = 'TRUE'", "false");
    check("'TRUE' = urgent", "true");
    check("urgent = 1", "true");
    check("5 = '5'", "true");
    check("5 = '+5'", "false");
    check("0 = '-0'", "false");
    check("-5 = '-5'", "true");
    check("type != 'x'", "true");
    check("type <> 'order.created'", "false");
    check("'b' < 'a'", "false; the text is not of type Integer");
}

#[test]
fn the_item_decides_what_a_set_is_cast_to() {
    check("count IN ('05', 'x')", "true");
    check("count IN ('x', '5')", "false; the text is not of type Integer");
    check("priority IN (5)", "true");
    check("priority IN ('05')", "false");
    check("priority NOT IN ('6', missing)", "false; the event has no attribute `missing`");
    check("priority IN ('5', missing)", "true");
    check(
        "missing IN ('5', 1 / 0)",
        "false; the event has no attribute `missing`; division by zero",
    );
    check("(1 = 1) IN (TRUE)", "true");
}

#[test]
fn numbers_and_truths_are_such_when_the_event_came_in_json() {
    let json = br#"{"specversion":"1.0","id":"7","source":"/s","type":"5","n":5,"flag":true}"#;
    let draft = channel::binding::json::read(&json.to_vec().into(), &Default::default()).unwrap();
    let event = draft.finish().unwrap();
    for (text, expected) in [
        ("flag", true),
        ("n", false),
        ("n IN ('05')", true),
        ("type IN ('05')", false),
        ("'05' = n", true),
        ("n = '5' AND n = 5 AND type = 5", true),
    ] {
        assert_eq!(Expression::parse(text).unwrap().accepts(&event), expected, "{text}");
    }
}

#[test]
fn logic_reads_from_the_right_and_stops_early() {
    check("FALSE AND TRUE OR TRUE", "false");
    check("TRUE OR TRUE AND FALSE", "true");
    check("(FALSE AND TRUE) OR TRUE", "true");
    check("TRUE XOR TRUE OR FALSE", "false");
    check("TRUE XOR FALSE AND missing", "true");
    check("FALSE XOR TRUE AND FALSE", "false");
    check("TRUE XOR TRUE XOR TRUE", "true");
    check("TRUE OR missing = 'x'", "true");
    check("missing = 'x' OR TRUE", "false; the event has no attribute `missing`");
    check("FALSE AND missing", "false");
    check("NOT (missing = 'x')", "false; the event has no attribute `missing`");
    check("NOT 10", "false");
    check("NOT type = 'x'", "false; the text is not of type Boolean");
    check("urgent", "true");
    check("urgent AND count", "true");
    check("priority", "'5'");
}

#[test]
fn all_faults_are_found_and_each_is_told_once() {
    check("nope + 1 / 0 + nope", "0; the event has no attribute `nope`; division by zero");
    check(
        "CONCAT(a, 'x', b)",
        "''; the event has no attribute `a`; the event has no attribute `b`",
    );
    check("CONCAT_WS(a, b)", "''; the event has no attribute `a`; the event has no attribute `b`");
    check("LEFT(LEFT('abc', -1), 2)", "''; an argument of LEFT is out of range");
    check("NOPE(1, 2)", "false; there is no function NOPE with 2 arguments");
    check("1 + NOPE()", "0; there is no function NOPE with 0 arguments");
    check("EXISTS nope", "false");
    check("nope", "false; the event has no attribute `nope`");
}

#[test]
fn numbers_overflow_with_a_fault_and_without_a_panic() {
    const OUT: &str = "the number is out of range";
    for (text, value) in [
        ("2147483647 + 1", "-2147483648"),
        ("-2147483648 - 1", "2147483647"),
        ("65536 * 65536", "0"),
        ("-2147483648 / -1", "-2147483648"),
        ("-(-2147483648)", "-2147483648"),
        ("ABS(-2147483648)", "2147483647"),
        ("2147483647 + 1 - 1", "0"),
    ] {
        check(text, &format!("{value}; {OUT}"));
    }
    check("-2147483648 % -1", "0");
    check("-7 / 2", "-3");
    check("-7 % 2", "-1");
    check("7 % -2", "1");
    check("INT('2147483648')", "0; the text is not of type Integer");
    check("INT('+5')", "5");
    check("INT(' 5')", "0; the text is not of type Integer");
    check("INT('')", "0; the text is not of type Integer");
}

#[test]
fn signs_are_arithmetic_after_a_value_and_part_of_a_number_elsewhere() {
    check("4 -1", "3");
    check("4-1", "3");
    check("count-1", "4");
    check("1+1", "2");
    check("4 - -1", "5");
    check("4--1", "5");
    check("4 - +1", "3");
    check("- 5", "-5");
    check("+5", "5");
    check("--5", "5");
    check("-'5'", "-5");
    check("2 * -3", "-6");
    check("10 - 2 - 3", "5");
    check("2 + 3 * 4 % 5", "4");
}

#[test]
fn characters_are_counted_not_bytes() {
    check("LENGTH('é')", "1");
    check("LENGTH(subject)", "12");
    check("LEFT('日本語', 2)", "'日本'");
    check("RIGHT('日本語', 2)", "'本語'");
    check("RIGHT('日本語', 0)", "''");
    check("SUBSTRING('日本語', 2)", "'本語'");
    check("SUBSTRING('日本語', 2, 1)", "'本'");
    check("SUBSTRING('日本語', -2, 1)", "'本'");
    check("SUBSTRING('日本語', 3)", "'語'");
    check("SUBSTRING('日本語', 4)", "''; an argument of SUBSTRING is out of range");
    check("SUBSTRING('日本語', -4)", "''; an argument of SUBSTRING is out of range");
    check("SUBSTRING('abc', 1, -1)", "''; an argument of SUBSTRING is out of range");
    check("SUBSTRING('abc', 0, -1)", "''; an argument of SUBSTRING is out of range");
    check("SUBSTRING('abc', 2, 0)", "''");
    check("SUBSTRING('', 1)", "''; an argument of SUBSTRING is out of range");
    check("SUBSTRING('abc', -2147483648)", "''; an argument of SUBSTRING is out of range");
    check("UPPER('straße é')", "'STRASSE É'");
    check("LOWER('ÀB')", "'àb'");
    check("TRIM('\u{2003}a\u{a0}')", "'a'");
    check("subject LIKE '%-_'", "true");
    check("LENGTH(CONCAT_WS('é', 1, TRUE, 'x'))", "8");
    check("RIGHT(CONCAT('ab', 'cd'), 3)", "'bcd'");
    check("IS_INT('5') AND NOT IS_INT('x') AND IS_BOOL('TRUE')", "true");
}

#[test]
fn texts_are_borrowed_where_no_function_makes_one() {
    for (text, is_borrowed) in [
        ("type", true),
        ("'x'", true),
        ("STRING(urgent)", true),
        ("TRIM(LOWER(SUBSTRING(type, 3, 4)))", true),
        ("LEFT(RIGHT(subject, 5), 2)", true),
        ("UPPER(type)", false),
        ("CONCAT(type)", false),
    ] {
        let (expression, event) = (Expression::parse(text).unwrap(), event());
        let Value::String(value) = expression.evaluate(&event).value else { panic!("{text}") };
        assert_eq!(matches!(value, std::borrow::Cow::Borrowed(_)), is_borrowed, "{text}");
    }
}

#[test]
fn not_and_minus_bind_before_everything_between_two_values() {
    check("NOT FALSE = TRUE", "true");
    check("NOT urgent LIKE 'fal%'", "true");
    check("- count LIKE '-5'", "true");
    check("NOT EXISTS nope AND EXISTS TYPE", "true");
    check("2 * count IN (5)", "2");
    check("1 = 1 = TRUE", "true");
    check("3 > 2 > 1", "false");
}

#[test]
fn steps_and_made_text_have_a_bound() {
    let long = "a".repeat(60_000);
    let event = Sample::minimal().with("x", &long, Kind::String);
    for (text, fault) in [
        (format!("x LIKE '%{}b%'", "a_".repeat(1_000)), Fault::Steps),
        ("x LIKE '%_b_c%' OR x LIKE '%_b%'".to_owned(), Fault::Steps),
        ("LENGTH(CONCAT(x, x, x, x, x)) > 0".to_owned(), Fault::Built),
        (format!("CONCAT({}x) = 'a'", "x, ".repeat(1_000)), Fault::Built),
    ] {
        let expression = Expression::parse(&text).unwrap();
        let found = expression.evaluate(&event);
        assert_eq!(found.faults.iter().collect::<Vec<_>>(), [&fault], "{text}");
        assert!(!expression.accepts(&event));
    }
    let most = Expression::parse("LENGTH(CONCAT(x, x, x, x)) = 240000").unwrap();
    assert!(most.accepts(&event));
    let linear =
        Expression::parse("x LIKE '%a' AND x NOT LIKE '%aab%' AND x LIKE 'a%aaa%a'").unwrap();
    assert!(linear.accepts(&event));
}

#[test]
fn the_longest_chain_is_evaluated_without_depth() {
    for (unit, operator, end, expected) in [
        ("1", "+", " > 1", true),
        ("TRUE", " AND ", "", true),
        ("FALSE", " OR ", " OR TRUE", true),
        ("TRUE", " XOR ", "", true),
        ("1", "*", " = 1", true),
    ] {
        let times = (LENGTH_MAX_BYTES - end.len()) / (unit.len() + operator.len());
        let times = if times.is_multiple_of(2) { times - 1 } else { times };
        let text = vec![unit; times].join(operator) + end;
        assert!(text.len() > LENGTH_MAX_BYTES - 20 && text.len() <= LENGTH_MAX_BYTES);
        let expression = Expression::parse_filter(&text).unwrap();
        assert_eq!(expression.accepts(&event()), expected, "{unit}{operator}");
    }
}
