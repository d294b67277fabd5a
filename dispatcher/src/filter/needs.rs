//! What an event must have for an expression of CloudEvents SQL to accept it, as far as an index can
//! look it up.
//!
//! An accepted event has met no fault, so every part that was evaluated has its plain meaning:
//! both sides of a true `AND` are true, one side of a true `OR` is. What is not understood here
//! needs nothing, which is always right.

use super::{AttributeName, Check, Node, Test};
use crate::cesql::{Comparison, Expr, Logic, Value};

/// How deep the filter may be; what lies deeper in the expression is left out.
const DEPTH_MAX: usize = 32;

/// A filter of `all`, `any` and tests that accepts whatever `root` accepts.
pub(super) fn needs(root: &Expr) -> Node {
    when(root, true, DEPTH_MAX)
}

/// What holds when `expr`, cast to Boolean, is `truth` without a fault. At most `room` deep.
fn when(expr: &Expr, truth: bool, room: usize) -> Node {
    let Some(less_room) = room.checked_sub(1) else { return everything() };
    match expr {
        Expr::Literal(value) if value.to_boolean() == Some(truth) => everything(),
        Expr::Literal(_) => nothing(),
        Expr::Not(operand) => when(operand, !truth, less_room),
        Expr::Logic { first, rest } => chain(first, rest, truth, less_room),
        Expr::Compare { operator, left, right } => {
            let wanted = match operator {
                Comparison::Equal => truth,
                Comparison::NotEqual => !truth,
                _ => return everything(),
            };
            match (&**left, &**right) {
                (Expr::Attribute(attribute), Expr::Literal(Value::String(text))) if wanted => {
                    one(attribute, text, Check::Exact)
                }
                (Expr::Literal(Value::String(text)), Expr::Attribute(attribute)) if wanted => {
                    Node::Any(castable(attribute, text).into())
                }
                _ => everything(),
            }
        }
        Expr::In { item, set, is_negated } if *is_negated != truth => match &**item {
            Expr::Attribute(attribute) => any_of(attribute, set),
            _ => everything(),
        },
        Expr::Like { text, pattern, is_negated } if *is_negated != truth => match &**text {
            Expr::Attribute(attribute) => match pattern.exact() {
                Some(text) => one(attribute, text, Check::Exact),
                None => Node::All(Box::new([
                    one(attribute, pattern.prefix(), Check::Prefix),
                    one(attribute, pattern.suffix(), Check::Suffix),
                ])),
            },
            _ => everything(),
        },
        _ => everything(),
    }
}

/// What holds when `first AND (x OR ...)` is `truth`. Operators of one kind in a row are one node.
fn chain(first: &Expr, rest: &[(Logic, Expr)], truth: bool, room: usize) -> Node {
    let Some(((operator, next), after)) = rest.split_first() else {
        return when(first, truth, room);
    };
    let Some(less_room) = room.checked_sub(1).filter(|_| *operator != Logic::Xor) else {
        return everything();
    };
    let mut parts = vec![when(first, truth, less_room)];
    let (mut last, mut rest) = (next, after);
    while let Some(((_, next), after)) = rest.split_first().filter(|((it, _), _)| it == operator) {
        parts.push(when(last, truth, less_room));
        (last, rest) = (next, after);
    }
    parts.push(chain(last, rest, truth, less_room));
    let needs_all = (*operator == Logic::And) == truth;
    if needs_all { Node::All(parts.into()) } else { Node::Any(parts.into()) }
}

/// What holds when the attribute is in a set.
fn any_of(attribute: &str, set: &[Expr]) -> Node {
    let mut ways = Vec::new();
    for element in set {
        match element {
            Expr::Literal(Value::String(text)) => ways.extend(castable(attribute, text)),
            _ => return everything(),
        }
    }
    Node::Any(ways.into())
}

/// The ways in which `text`, cast to the type of the attribute, equals it: as it stands when that
/// is a text; otherwise as the number or truth value is written in an event.
fn castable(attribute: &str, text: &str) -> Vec<Node> {
    casts(text).iter().map(|way| one(attribute, way, Check::Exact)).collect()
}

/// The texts that an attribute can have which `text`, cast to its type, equals.
pub(super) fn casts(text: &str) -> Vec<String> {
    let value = Value::String(text.into());
    let number = value.to_integer().map(|number| number.to_string());
    let truth = value.to_boolean().map(|truth| truth.to_string());
    let mut ways = vec![text.to_owned()];
    ways.extend(number.into_iter().chain(truth).filter(|other| other != text));
    ways
}

/// One test. An empty text is left out: there is nothing to look up.
fn one(attribute: &str, text: &str, check: fn(Box<str>) -> Check) -> Node {
    if text.is_empty() {
        return everything();
    }
    Node::Tests(Box::new([Test {
        attribute: AttributeName::Plain(attribute.into()),
        check: check(text.into()),
    }]))
}

fn everything() -> Node {
    Node::All(Box::default())
}

fn nothing() -> Node {
    Node::Any(Box::default())
}
