//! What is said about an expression that is refused.

use super::{Parser, Part};
use crate::cesql::lexer::{Kind, Symbol, Token, unexpected};
use crate::cesql::{Expr, Function, ParseError, Problem, Type, Value};

/// Longest part of an expression that is repeated in a message, in characters.
const QUOTED_MAX_CHARS: usize = 40;

impl<'t> Parser<'t> {
    /// Refuses, in a filter, a text that can never be what an operator needs.
    pub(super) fn check_cast(
        &self,
        operand: &Part,
        operator: &'static str,
        needed: Type,
    ) -> Result<(), ParseError> {
        let Expr::Literal(value @ Value::String(_)) = &operand.expr else { return Ok(()) };
        let can_be_cast = match needed {
            Type::String => true,
            Type::Integer => value.to_integer().is_some(),
            Type::Boolean => value.to_boolean().is_some(),
        };
        if can_be_cast || !self.is_filter {
            return Ok(());
        }
        let error = ParseError::new(Problem::NeverCast { operator, needed }, operand.start);
        Err(match operator {
            "<" | "<=" | ">" | ">=" => error.hint("texts and times have no order in CESQL"),
            "+" => error.hint("CONCAT(a, b) joins texts"),
            _ => error,
        })
    }

    /// Refuses, in a filter, a quoted name that is compared with texts alone: other dialects of SQL
    /// mean the attribute by it.
    pub(super) fn check_name<'e>(
        &self,
        left: &Part,
        right: impl IntoIterator<Item = &'e Expr>,
    ) -> Result<(), ParseError> {
        let Expr::Literal(Value::String(name)) = &left.expr else { return Ok(()) };
        let is_other_text = |expr: &Expr| match expr {
            Expr::Literal(Value::String(text)) => text != name,
            _ => false,
        };
        let is_name = name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if !self.is_filter || !is_name || !right.into_iter().all(is_other_text) {
            return Ok(());
        }
        let error = ParseError::new(Problem::TextsCompared, left.start);
        Err(error.hint(format!("the attribute is written {name}, without quotes")))
    }

    /// What stands where an expression could have ended.
    pub(super) fn leftover(&self, token: Token<'t>) -> ParseError {
        let error = wrong("an operator or the end", token);
        let before = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        match token.kind {
            Kind::Text
                if before.is_some_and(|it| it.kind == Kind::Text && it.end() == token.start) =>
            {
                error.hint("a quote within a text is written with a `\\` before it")
            }
            Kind::Symbol(Symbol::Close) => error.hint("there is no `(` that it closes"),
            Kind::Name if token.text.eq_ignore_ascii_case("is") => {
                error.hint("write EXISTS attribute, or NOT EXISTS attribute")
            }
            Kind::Name if token.text.eq_ignore_ascii_case("between") => {
                error.hint("write a >= x AND a <= y")
            }
            _ => error,
        }
    }
}

/// No function answers to this call; `named` has the name, but not with so many arguments.
pub(super) fn no_function(name: Token<'_>, named: Option<Function>, arity: usize) -> ParseError {
    let error = ParseError::new(
        Problem::NoFunction { name: name.text.to_ascii_uppercase().into(), arity },
        name.start,
    );
    match (named, Function::near(name.text)) {
        (Some(function), _) => error.hint(match function.arity() {
            (least, usize::MAX) => format!("{function} takes {least} or more"),
            (least, most) if least == most => format!("{function} takes {least}"),
            (least, most) => format!("{function} takes {least} to {most}"),
        }),
        (None, Some(near)) => error.hint(format!("did you mean {near}?")),
        (None, None) => error,
    }
}

/// `expected` ought to stand where `token` is.
pub(super) fn wrong(expected: &'static str, token: Token<'_>) -> ParseError {
    let found = match token.kind {
        Kind::End => "the end".to_owned(),
        _ => {
            let shown: String = token.text.chars().take(QUOTED_MAX_CHARS).collect();
            let more = if shown.len() < token.text.len() { "..." } else { "" };
            format!("`{shown}{more}`")
        }
    };
    ParseError::new(unexpected(expected, &found), token.start)
}
