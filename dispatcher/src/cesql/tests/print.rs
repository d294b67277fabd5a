//! What is printed parses to the same tree, for every tree that can be parsed at all.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::cesql::print::fits;

/// Texts with quotes and backslashes in any order that can stand between some quotes.
fn text() -> impl Strategy<Value = String> {
    let piece = select(vec!["a", "'", "\"", "\\", "%", "_", "é", " ", "(", "\n"]);
    prop::collection::vec(piece, 0..6)
        .prop_map(|pieces| pieces.concat())
        .prop_filter("needs quotes that fit", |text| fits(text, '\'') || fits(text, '"'))
}

fn name() -> impl Strategy<Value = Box<str>> {
    select(vec!["type", "id", "x", "5a", "length", "null"]).prop_map(Into::into)
}

fn leaf() -> impl Strategy<Value = Expr> {
    prop_oneof![
        text().prop_map(|text| Expr::Literal(Value::String(text.into()))),
        any::<i32>().prop_map(|number| Expr::Literal(Value::Integer(number))),
        (-3..3).prop_map(|number| Expr::Literal(Value::Integer(number))),
        any::<bool>().prop_map(|truth| Expr::Literal(Value::Boolean(truth))),
        name().prop_map(Expr::Attribute),
        name().prop_map(Expr::Exists),
    ]
}

fn chain<O: Clone + fmt::Debug + 'static>(
    inner: impl Strategy<Value = Expr> + Clone,
    operators: Vec<O>,
) -> impl Strategy<Value = (Box<Expr>, Box<[(O, Expr)]>)> {
    let rest = prop::collection::vec((select(operators), inner.clone()), 1..4);
    (inner.prop_map(Box::new), rest.prop_map(Vec::into_boxed_slice))
}

/// Trees of any shape.
fn tree() -> impl Strategy<Value = Expr> {
    leaf().prop_recursive(5, 40, 4, |inner| {
        let one = inner.clone().prop_map(Box::new);
        let some = prop::collection::vec(inner.clone(), 1..4).prop_map(Vec::into_boxed_slice);
        let products = vec![Arithmetic::Multiply, Arithmetic::Divide, Arithmetic::Remainder];
        let comparisons = vec![
            Comparison::Equal,
            Comparison::NotEqual,
            Comparison::Less,
            Comparison::LessOrEqual,
            Comparison::Greater,
            Comparison::GreaterOrEqual,
        ];
        prop_oneof![
            one.clone().prop_map(Expr::Not),
            one.clone().prop_map(Expr::Negate),
            (one.clone(), text(), any::<bool>()).prop_map(|(text, pattern, is_negated)| {
                Expr::Like { text, pattern: Pattern::new(&pattern), is_negated }
            }),
            (one.clone(), some.clone(), any::<bool>())
                .prop_map(|(item, set, is_negated)| Expr::In { item, set, is_negated }),
            (select(comparisons), one.clone(), one)
                .prop_map(|(operator, left, right)| Expr::Compare { operator, left, right }),
            chain(inner.clone(), products)
                .prop_map(|(first, rest)| Expr::Arithmetic { first, rest }),
            chain(inner.clone(), vec![Arithmetic::Add, Arithmetic::Subtract])
                .prop_map(|(first, rest)| Expr::Arithmetic { first, rest }),
            chain(inner, vec![Logic::And, Logic::Or, Logic::Xor])
                .prop_map(|(first, rest)| Expr::Logic { first, rest }),
            (select(Function::ALL.to_vec()), some.clone()).prop_map(|(function, arguments)| {
                let (least, most) = function.arity();
                if (least..=most).contains(&arguments.len()) {
                    Expr::Call { function, arguments }
                } else {
                    Expr::Missing { name: function.name().into(), arguments }
                }
            }),
            some.prop_map(|arguments| Expr::Missing { name: "NO_SUCH".into(), arguments }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_printed_expression_parses_to_the_same_tree(root in tree()) {
        let printed = root.to_string();
        prop_assume!(printed.len() <= LENGTH_MAX_BYTES);
        let parsed = Expression::parse(&printed);
        prop_assert_eq!(parsed.map(|it| it.root), Ok(root), "{}", printed);
    }

    #[test]
    fn any_expression_is_evaluated_and_both_modes_agree(
        root in tree(),
        x in prop::option::of(text()),
        kind in select(vec![Kind::String, Kind::Integer, Kind::Boolean]),
    ) {
        let expression = Expression { root };
        let mut event = Sample::minimal();
        if let Some(x) = x {
            event = event.with("x", &x, kind);
        }
        let found = expression.evaluate(&event);
        let passes = found.value == Value::Boolean(true) && found.faults.is_empty();
        prop_assert_eq!(expression.accepts(&event), passes, "{}", expression);
        if let (Some(expected), found) = (expression.result_type(), found.value.kind()) {
            prop_assert_eq!(found, expected, "{}", expression);
        }
    }

    #[test]
    fn no_text_stops_the_parser(text in "[a-z0-9'\"\\\\(), =<>!%_*/+-]{0,60}|.{0,40}") {
        if let Ok(expression) = Expression::parse(&text) {
            let again = Expression::parse(&expression.to_string());
            prop_assert_eq!(again, Ok(expression));
        }
    }
}

#[test]
fn parentheses_are_printed_where_the_tree_needs_them() {
    for (text, printed) in [
        ("((type = ('a')))", "type = 'a'"),
        ("not exists Time", "NOT EXISTS time"),
        ("- 5", "-(5)"),
        ("-5", "-5"),
        ("+5", "5"),
        ("- -5", "--5"),
        ("(1 + 2) * 3 - (4 - 5)", "(1 + 2) * 3 - (4 - 5)"),
        ("a <> b", "a != b"),
        ("(a AND b) OR c", "(a AND b) OR c"),
        ("a AND (b OR c)", "a AND (b OR c)"),
        ("(a = b) = c", "a = b = c"),
        ("a = (b = c)", "a = (b = c)"),
        ("not (a like \"it's\")", "NOT (a LIKE 'it\\'s')"),
        ("int(a) in (1,'2')", "INT(a) IN (1, '2')"),
        (r#"'\"'"#, r#"'\"'"#),
        (r#""\'""#, r#""\'""#),
    ] {
        assert_eq!(Expression::parse(text).unwrap().to_string(), printed);
    }
}
