//! An expression as text again, with the fewest parentheses that keep its tree.

use std::fmt::{self, Display as _, Write as _};

use super::tree::{Arithmetic, Comparison, Expr, Logic};
use super::{Pattern, Value};

/// How tightly operators bind, loosest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Logic,
    Comparison,
    Sum,
    Product,
    Postfix,
    Unary,
    Primary,
}

fn level(expr: &Expr) -> Level {
    match expr {
        Expr::Logic { .. } => Level::Logic,
        Expr::Compare { .. } => Level::Comparison,
        Expr::Arithmetic { rest, .. } => match rest.first() {
            Some((Arithmetic::Add | Arithmetic::Subtract, _)) => Level::Sum,
            _ => Level::Product,
        },
        Expr::Like { .. } | Expr::In { .. } => Level::Postfix,
        Expr::Not(_) | Expr::Negate(_) => Level::Unary,
        Expr::Literal(_)
        | Expr::Attribute(_)
        | Expr::Exists(_)
        | Expr::Call { .. }
        | Expr::Missing { .. } => Level::Primary,
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(value) => literal(value, f),
            Self::Attribute(name) => name.fmt(f),
            Self::Exists(name) => write!(f, "EXISTS {name}"),
            Self::Not(x) => {
                f.write_str("NOT ")?;
                operand(x, Level::Unary, f)
            }
            Self::Negate(x) => {
                f.write_char('-')?;
                // A digit right behind the sign would make a negative number of both.
                match **x {
                    Self::Literal(Value::Integer(0..)) => write!(f, "({x})"),
                    _ => operand(x, Level::Unary, f),
                }
            }
            Self::Like { text, pattern, is_negated } => {
                operand(text, Level::Postfix, f)?;
                f.write_str(if *is_negated { " NOT LIKE " } else { " LIKE " })?;
                quoted(Pattern::source(pattern), f)
            }
            Self::In { item, set, is_negated } => {
                operand(item, Level::Postfix, f)?;
                f.write_str(if *is_negated { " NOT IN " } else { " IN " })?;
                list(set, f)
            }
            Self::Arithmetic { first, rest } => {
                let inner = if level(self) == Level::Sum { Level::Product } else { Level::Postfix };
                operand(first, inner, f)?;
                rest.iter().try_for_each(|(operator, x)| {
                    write!(f, " {operator} ")?;
                    operand(x, inner, f)
                })
            }
            Self::Compare { operator, left, right } => {
                operand(left, Level::Comparison, f)?;
                write!(f, " {operator} ")?;
                operand(right, Level::Sum, f)
            }
            Self::Logic { first, rest } => {
                operand(first, Level::Comparison, f)?;
                rest.iter().try_for_each(|(operator, x)| {
                    write!(f, " {operator} ")?;
                    operand(x, Level::Comparison, f)
                })
            }
            Self::Call { function, arguments } => {
                function.fmt(f)?;
                list(arguments, f)
            }
            Self::Missing { name, arguments } => {
                f.write_str(name)?;
                list(arguments, f)
            }
        }
    }
}

impl Expr {
    /// The first part in which `AND`, `OR` and `XOR` meet, with the parentheses that it is read with.
    pub(crate) fn mixed_reading(&self) -> Option<String> {
        match self {
            Self::Logic { first, rest } if mixes(rest) => Some(reading(first, rest)),
            _ => self.children().find_map(Self::mixed_reading),
        }
    }
}

fn mixes(rest: &[(Logic, Expr)]) -> bool {
    rest.iter().zip(rest.iter().skip(1)).any(|((left, _), (right, _))| left != right)
}

/// From right to left: what is read so far is the right operand of the operator before it.
fn reading(first: &Expr, rest: &[(Logic, Expr)]) -> String {
    let Some(((_, last), before)) = rest.split_last() else { return first.to_string() };
    let mut read = Operand(last).to_string();
    let mut inner = None;
    let operands = std::iter::once(first).chain(before.iter().map(|(_, operand)| operand));
    let operands: Vec<&Expr> = operands.collect();
    for ((operator, _), operand) in rest.iter().zip(operands).rev() {
        let operand = Operand(operand);
        read = if inner.is_none_or(|inner| inner == *operator) {
            format!("{operand} {operator} {read}")
        } else {
            format!("{operand} {operator} ({read})")
        };
        inner = Some(*operator);
    }
    read
}

/// An operand of `AND`, `OR` and `XOR`.
struct Operand<'x>(&'x Expr);

impl fmt::Display for Operand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        operand(self.0, Level::Comparison, f)
    }
}

/// `expr` where something that binds as tightly as `least` may stand.
fn operand(expr: &Expr, least: Level, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if level(expr) < least { write!(f, "({expr})") } else { expr.fmt(f) }
}

fn list(items: &[Expr], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_char('(')?;
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            f.write_str(", ")?;
        }
        item.fmt(f)?;
    }
    f.write_char(')')
}

fn literal(value: &Value<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match value {
        Value::String(text) => quoted(text, f),
        Value::Integer(number) => number.fmt(f),
        Value::Boolean(true) => f.write_str("TRUE"),
        Value::Boolean(false) => f.write_str("FALSE"),
    }
}

/// A text between the quotes that can hold it: one of them can, for a text that was parsed.
fn quoted(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let quote = if fits(text, '\'') { '\'' } else { '"' };
    f.write_char(quote)?;
    for char in text.chars() {
        if char == quote {
            f.write_char('\\')?;
        }
        f.write_char(char)?;
    }
    f.write_char(quote)
}

/// Whether `text` can stand between two of `quote`. A `\` takes what follows it along, so an odd
/// one before a quote or the end would take that.
pub(super) fn fits(text: &str, quote: char) -> bool {
    let mut is_taken = false;
    for char in text.chars() {
        if is_taken && char == quote {
            return false;
        }
        is_taken = !is_taken && char == '\\';
    }
    !is_taken
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
            Self::Add => "+",
            Self::Subtract => "-",
        })
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        })
    }
}

impl fmt::Display for Logic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::And => "AND",
            Self::Or => "OR",
            Self::Xor => "XOR",
        })
    }
}
