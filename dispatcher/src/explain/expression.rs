//! An expression of CloudEvents SQL, part by part.

use channel::{Attributes as _, Event};
use serde::Serialize;

use super::{PARTS_DEPTH_MAX, SHOWN_CHARS_MAX, name, near, shorten};
use crate::cesql::{Comparison, Evaluation, Expr, Expression, Logic, Value, evaluate_part};
use crate::filter::{AttributeName, Check};

/// A part of an expression, the whole of it at the top. Literals are no parts of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// The part as it is read.
    pub expression: String,
    /// Whether it was looked at: the right of `AND`, `OR` and a set may not be.
    pub evaluated: bool,
    /// What it comes to; where an error leaves nothing, the zero value of its type.
    pub value: Option<Shown>,
    /// What went wrong in it. An expression with an error accepts nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// What is nearly right, or how it is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The parts within, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Self>,
    /// Whether it is the name of an attribute and nothing else.
    #[serde(skip)]
    pub(super) is_attribute: bool,
    /// Whether all within must be true.
    #[serde(skip)]
    pub(super) is_conjunction: bool,
}

/// A value as it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Shown {
    /// A text, or the start of a long one.
    Text(String),
    /// A number.
    Integer(i32),
    /// A truth value.
    Boolean(bool),
}

impl Shown {
    fn of(value: &Value<'_>) -> Self {
        match value {
            Value::String(text) => Self::Text(shorten(text)),
            Value::Integer(number) => Self::Integer(*number),
            Value::Boolean(truth) => Self::Boolean(*truth),
        }
    }
}

/// The whole expression.
pub(super) fn part(expression: &Expression, event: &Event) -> Part {
    let whole =
        Part { expression: expression.to_string(), ..told(expression.root(), true, 0, event) };
    match expression.mixed_reading() {
        Some(reading) if reading.chars().count() <= SHOWN_CHARS_MAX => {
            Part { hint: Some(format!("read as {reading}")), ..whole }
        }
        _ => whole,
    }
}

/// At most [`PARTS_DEPTH_MAX`] deep.
fn told(expr: &Expr, is_evaluated: bool, depth: usize, event: &Event) -> Part {
    let evaluation = is_evaluated.then(|| evaluate_part(expr, event));
    let hint = evaluation.as_ref().and_then(|evaluation| hint(expr, evaluation, event));
    let parts = match expr {
        _ if depth == PARTS_DEPTH_MAX => Vec::new(),
        Expr::Logic { first, rest } => operands(first, rest, is_evaluated, depth, event),
        Expr::In { item, set, .. } => elements(item, set, is_evaluated, depth, event),
        other => {
            let parts = other.children().filter(|part| !matches!(part, Expr::Literal(_)));
            parts.map(|part| told(part, is_evaluated, depth.saturating_add(1), event)).collect()
        }
    };
    Part {
        expression: shorten(&expr.to_string()),
        evaluated: is_evaluated,
        value: evaluation.as_ref().map(|evaluation| Shown::of(&evaluation.value)),
        errors: evaluation
            .iter()
            .flat_map(|evaluation| {
                evaluation.faults.iter().map(|fault| shorten(&fault.to_string()))
            })
            .collect(),
        hint,
        parts,
        is_attribute: matches!(expr, Expr::Attribute(_)),
        is_conjunction: matches!(
            expr,
            Expr::Logic { rest, .. } if rest.iter().all(|(operator, _)| *operator == Logic::And)
        ),
    }
}

/// The operands of `AND`, `OR` and `XOR`, until one decides or has a fault.
fn operands(
    first: &Expr,
    rest: &[(Logic, Expr)],
    is_evaluated: bool,
    depth: usize,
    event: &Event,
) -> Vec<Part> {
    let operators = rest.iter().map(|(operator, _)| Some(operator)).chain([None]);
    let operands = std::iter::once(first).chain(rest.iter().map(|(_, operand)| operand));
    let mut goes_on = is_evaluated;
    let mut parts = Vec::new();
    for (operand, operator) in operands.zip(operators) {
        parts.push(told(operand, goes_on, depth.saturating_add(1), event));
        let truth = || {
            let Evaluation { value, faults } = evaluate_part(operand, event);
            value.to_boolean().filter(|_| faults.is_empty())
        };
        goes_on = goes_on
            && match (operator, truth()) {
                (Some(Logic::And), Some(truth)) => truth,
                (Some(Logic::Or), Some(truth)) => !truth,
                (Some(Logic::Xor), Some(_)) => true,
                (None, _) | (_, None) => false,
            };
    }
    parts
}

/// What is looked for in a set and the set's elements, until one is found.
fn elements(
    item: &Expr,
    set: &[Expr],
    is_evaluated: bool,
    depth: usize,
    event: &Event,
) -> Vec<Part> {
    let depth = depth.saturating_add(1);
    let Evaluation { value: wanted, faults } = evaluate_part(item, event);
    let mut has_fault = !faults.is_empty();
    let mut goes_on = is_evaluated;
    let mut parts = Vec::new();
    if !matches!(item, Expr::Literal(_)) {
        parts.push(told(item, is_evaluated, depth, event));
    }
    for element in set {
        if !matches!(element, Expr::Literal(_)) {
            parts.push(told(element, goes_on, depth, event));
        }
        if goes_on {
            let Evaluation { value, faults } = evaluate_part(element, event);
            let equals = value.equals_when_cast(&wanted).filter(|_| faults.is_empty());
            has_fault |= equals.is_none();
            goes_on = has_fault || equals != Some(true);
        }
    }
    parts
}

/// What is nearly right with a part that is false, or an attribute that is not there.
fn hint(expr: &Expr, evaluation: &Evaluation<'_>, event: &Event) -> Option<String> {
    if let Expr::Attribute(name) = expr {
        return name::meant(name, event).filter(|_| event.attribute(name).is_none());
    }
    if evaluation.value != Value::Boolean(false) || !evaluation.faults.is_empty() {
        return None;
    }
    let near = |name: &str, check: Check| {
        let actual = event.attribute(name)?;
        let fails = !check.holds(actual);
        fails.then(|| near::value(&AttributeName::Plain(name.into()), &check, actual)).flatten()
    };
    match expr {
        Expr::Compare { operator: Comparison::Equal, left, right } => match (&**left, &**right) {
            (Expr::Attribute(name), Expr::Literal(Value::String(text)))
            | (Expr::Literal(Value::String(text)), Expr::Attribute(name)) => {
                near(name, Check::Exact((&**text).into()))
            }
            _ => None,
        },
        Expr::In { item, set, is_negated: false } => {
            let Expr::Attribute(name) = &**item else { return None };
            set.iter().find_map(|element| match element {
                Expr::Literal(Value::String(text)) => near(name, Check::Exact((&**text).into())),
                _ => None,
            })
        }
        Expr::Like { text, pattern, is_negated: false } => {
            let Expr::Attribute(name) = &**text else { return None };
            match pattern.exact() {
                Some(text) => near(name, Check::Exact(text.into())),
                None => {
                    [Check::Prefix(pattern.prefix().into()), Check::Suffix(pattern.suffix().into())]
                        .into_iter()
                        .find_map(|check| near(name, check))
                }
            }
        }
        _ => None,
    }
}
