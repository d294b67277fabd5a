//! What the functions do. Spec: CESQL 1.0, 3.5.

use std::borrow::Cow;

use channel::Attributes;

use super::evaluate::{Evaluator, Outcome};
use super::fault::Fault;
use super::tree::Expr;
use super::{Function, Value};

impl<'x, E: Attributes + ?Sized> Evaluator<'x, E> {
    /// Calls `function`. An argument with a fault leaves the zero value of its result.
    pub(super) fn call(&mut self, function: Function, arguments: &'x [Expr]) -> Outcome<'x> {
        let result = match (function, arguments) {
            (Function::Length, [x]) => {
                self.text(x).and_then(|x| self.length(&x)).map(Value::Integer)
            }
            (Function::Concat, parts) => self.join("", parts),
            (Function::ConcatWs, [delimiter, parts @ ..]) => match self.text(delimiter) {
                Some(delimiter) => self.join(&delimiter, parts),
                None => {
                    // For the faults that are in them.
                    if !self.fails_fast() {
                        parts.iter().for_each(|part| drop(self.value(part)));
                    }
                    None
                }
            },
            (Function::Lower, [x]) => self.cased(x, str::to_lowercase, char::is_lowercase),
            (Function::Upper, [x]) => self.cased(x, str::to_uppercase, char::is_uppercase),
            (Function::Trim, [x]) => self.trim(x),
            (Function::Left | Function::Right, [x, len]) => return self.end_of(function, x, len),
            (Function::Substring, [x, position]) => self.substring(x, position, None),
            (Function::Substring, [x, position, len]) => self.substring(x, position, Some(len)),
            (Function::Abs, [x]) => match self.integer(x) {
                Some(i32::MIN) => return self.fault(Fault::Overflow, Value::Integer(i32::MAX)),
                x => x.map(|x| Value::Integer(x.wrapping_abs())),
            },
            (Function::Int, [x]) => self.integer(x).map(Value::Integer),
            (Function::Bool, [x]) => self.boolean(x).map(Value::Boolean),
            (Function::String, [x]) => self.text(x).map(Value::String),
            (Function::IsInt, [x]) => {
                self.value(x).ok().map(|x| Value::Boolean(x.to_integer().is_some()))
            }
            (Function::IsBool, [x]) => {
                self.value(x).ok().map(|x| Value::Boolean(x.to_boolean().is_some()))
            }
            // The parser has counted the arguments.
            _ => {
                self.note(Fault::MissingFunction { name: function.name(), arity: arguments.len() })
            }
        };
        result.ok_or(function.result_type().zero())
    }

    fn length(&mut self, text: &str) -> Option<i32> {
        self.look_at(text.len())?;
        i32::try_from(text.chars().count()).ok().or_else(|| self.note(Fault::Overflow))
    }

    /// All parts in a row, `delimiter` between them.
    fn join(&mut self, delimiter: &str, parts: &'x [Expr]) -> Option<Value<'x>> {
        let mut joined = Some(String::new());
        for (place, part) in parts.iter().enumerate() {
            let part = self.text(part);
            let before = if place == 0 { "" } else { delimiter };
            joined = match (joined, part) {
                (Some(mut joined), Some(part)) => {
                    let bytes = before.len().saturating_add(part.len());
                    self.reserve(bytes).map(|()| {
                        joined.push_str(before);
                        joined.push_str(&part);
                        joined
                    })
                }
                _ => None,
            };
            if joined.is_none() && self.fails_fast() {
                return None;
            }
        }
        joined.map(|joined| Value::String(joined.into()))
    }

    /// The text in another case. Borrowed when it is ASCII and has no letter of the other case.
    fn cased(
        &mut self,
        x: &'x Expr,
        convert: fn(&str) -> String,
        is_cased: fn(char) -> bool,
    ) -> Option<Value<'x>> {
        let text = self.text(x)?;
        self.look_at(text.len())?;
        let is_same = |char: char| char.is_ascii() && (!char.is_alphabetic() || is_cased(char));
        if text.chars().all(is_same) {
            return Some(Value::String(text));
        }
        // One character becomes three at most, of up to four bytes each.
        self.reserve(text.len())?;
        let converted = convert(&text);
        self.reserve(converted.len().saturating_sub(text.len()))?;
        Some(Value::String(converted.into()))
    }

    fn trim(&mut self, x: &'x Expr) -> Option<Value<'x>> {
        let text = self.text(x)?;
        self.look_at(text.len())?;
        Some(Value::String(cut(text, str::trim)))
    }

    /// `LEFT` and `RIGHT`: so many characters from one end, or all of them with a fault.
    fn end_of(&mut self, function: Function, x: &'x Expr, len: &'x Expr) -> Outcome<'x> {
        let zero = || function.result_type().zero();
        let text = self.text(x);
        if text.is_none() && self.fails_fast() {
            return Err(zero());
        }
        let (Some(text), Some(len)) = (text, self.integer(len)) else { return Err(zero()) };
        let Ok(len) = usize::try_from(len) else {
            return self.fault(Fault::Function(function), Value::String(text));
        };
        if self.look_at(text.len()).is_none() {
            return Err(zero());
        }
        Ok(Value::String(cut(text, |text| match function {
            Function::Right => last_chars(text, len),
            _ => first_chars(text, len),
        })))
    }

    /// Positions count characters from 1, or from -1 at the end.
    fn substring(
        &mut self,
        x: &'x Expr,
        position: &'x Expr,
        len: Option<&'x Expr>,
    ) -> Option<Value<'x>> {
        let text = self.text(x);
        if text.is_none() && self.fails_fast() {
            return None;
        }
        let position = self.integer(position);
        if position.is_none() && self.fails_fast() {
            return None;
        }
        let len = match len {
            Some(len) => self.integer(len),
            None => Some(i32::MAX),
        };
        let (text, position, len) = (text?, position?, len?);
        let length = self.length(&text)?;
        let is_outside = position > length || position < length.wrapping_neg();
        let (false, Ok(len)) = (is_outside, usize::try_from(len)) else {
            return self.note(Fault::Function(Function::Substring));
        };
        let distance = usize::try_from(position.unsigned_abs()).unwrap_or(usize::MAX);
        Some(Value::String(cut(text, |text| match position {
            0 => "",
            1.. => first_chars(without_first(text, distance.saturating_sub(1)), len),
            _ => first_chars(last_chars(text, distance), len),
        })))
    }
}

/// A part of a text, borrowed when the text is.
fn cut<'x>(text: Cow<'x, str>, part: impl FnOnce(&str) -> &str) -> Cow<'x, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(part(text)),
        Cow::Owned(text) => {
            let part = part(&text);
            if part.len() == text.len() { Cow::Owned(text) } else { Cow::Owned(part.to_owned()) }
        }
    }
}

/// The first `count` characters, or all of them.
fn first_chars(text: &str, count: usize) -> &str {
    let end = text.char_indices().nth(count).map_or(text.len(), |(end, _)| end);
    text.get(..end).unwrap_or(text)
}

/// What follows the first `count` characters.
fn without_first(text: &str, count: usize) -> &str {
    let start = text.char_indices().nth(count).map_or(text.len(), |(start, _)| start);
    text.get(start..).unwrap_or_default()
}

/// The last `count` characters, or all of them.
fn last_chars(text: &str, count: usize) -> &str {
    let Some(before) = count.checked_sub(1) else { return "" };
    let start = text.char_indices().rev().nth(before).map_or(0, |(start, _)| start);
    text.get(start..).unwrap_or(text)
}
