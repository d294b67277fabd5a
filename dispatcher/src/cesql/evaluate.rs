//! From a tree and an event to a value. Spec: CESQL 1.0, 3.
//!
//! Every part gives a value with or without a fault. A fault makes the parts around it give the
//! zero value of their types, so they only need to know that there was one: `Err` holds the value
//! that is left when the faulty part is the whole expression.

use std::borrow::Cow;

use channel::{Attributes, Kind};

use super::fault::{Fault, Faults};
use super::tree::{Arithmetic, Comparison, Expr, Logic};
use super::{BUILT_BYTES_MAX, Evaluation, STEPS_MAX, Type, Value};

/// A value, or what stands in for it when there was a fault.
pub(super) type Outcome<'x> = Result<Value<'x>, Value<'x>>;

/// Evaluates all of it, so that every fault is found.
pub(super) fn complete<'x, E>(root: &'x Expr, event: &'x E) -> Evaluation<'x>
where
    E: Attributes + ?Sized,
{
    let mut evaluator = Evaluator::new(event, false);
    let value = evaluator.value(root).unwrap_or_else(|value| value);
    Evaluation { value, faults: evaluator.faults }
}

/// Evaluates until it is clear whether the value is `true` and without a fault.
pub(super) fn accepts<E: Attributes + ?Sized>(root: &Expr, event: &E) -> bool {
    matches!(Evaluator::new(event, true).value(root), Ok(Value::Boolean(true)))
}

/// What is left of the steps of an evaluation.
#[derive(Debug)]
pub(super) struct Steps {
    /// Counted in [`Steps::PARTS`] of a step.
    left: usize,
}

impl Steps {
    /// Looking at so many bytes is a step.
    const PARTS: usize = 64;

    /// What it costs to look at any text, however short.
    const LOOK: usize = 8;

    pub(super) fn new() -> Self {
        Self { left: usize::try_from(STEPS_MAX).unwrap_or(usize::MAX).saturating_mul(Self::PARTS) }
    }

    /// Takes so many steps. `None` when there are not so many left.
    pub(super) fn take(&mut self, steps: usize) -> Option<()> {
        self.spend(steps.saturating_mul(Self::PARTS))
    }

    /// Takes the part of a step that it costs to look at a text of so many bytes.
    pub(super) fn take_bytes(&mut self, bytes: usize) -> Option<()> {
        self.spend(bytes.saturating_add(Self::LOOK))
    }

    fn spend(&mut self, parts: usize) -> Option<()> {
        self.left = self.left.checked_sub(parts)?;
        Some(())
    }
}

/// One evaluation.
pub(super) struct Evaluator<'x, E: ?Sized> {
    event: &'x E,
    /// Whether the first fault is the last that matters.
    fails_fast: bool,
    steps: Steps,
    /// Bytes of text that functions may still make.
    room: usize,
    faults: Faults<'x>,
}

impl<'x, E: Attributes + ?Sized> Evaluator<'x, E> {
    fn new(event: &'x E, fails_fast: bool) -> Self {
        let faults = Faults::default();
        Self { event, fails_fast, steps: Steps::new(), room: BUILT_BYTES_MAX, faults }
    }

    /// The value of `expr`. As deep as the tree: at most [`DEPTH_MAX`](super::DEPTH_MAX).
    pub(super) fn value(&mut self, expr: &'x Expr) -> Outcome<'x> {
        if self.steps.take(1).is_none() {
            return self.fault(Fault::Steps, expr.zero());
        }
        match expr {
            Expr::Literal(value) => Ok(value.borrowed()),
            Expr::Attribute(name) => self.attribute(name),
            Expr::Exists(name) => Ok(Value::Boolean(self.event.attribute(name).is_some())),
            Expr::Not(operand) => truth(self.boolean(operand).map(|operand| !operand)),
            Expr::Negate(operand) => match self.integer(operand) {
                Some(operand) => self.number(operand.overflowing_neg()),
                None => Err(Type::Integer.zero()),
            },
            Expr::Like { text, pattern, is_negated } => {
                let like = match self.text(text) {
                    Some(text) => match pattern.matches(&text, &mut self.steps) {
                        Some(like) => Some(like != *is_negated),
                        None => self.note(Fault::Steps),
                    },
                    None => None,
                };
                truth(like)
            }
            Expr::In { item, set, is_negated } => {
                truth(self.is_in(item, set).map(|is_in| is_in != *is_negated))
            }
            Expr::Arithmetic { first, rest } => self.arithmetic(first, rest),
            Expr::Compare { operator, left, right } => truth(self.compare(*operator, left, right)),
            Expr::Logic { first, rest } => truth(self.logic(first, rest)),
            Expr::Call { function, arguments } => self.call(*function, arguments),
            Expr::Missing { name, arguments } => {
                let fault = Fault::MissingFunction { name, arity: arguments.len() };
                self.fault(fault, Type::Boolean.zero())
            }
        }
    }

    fn attribute(&mut self, name: &'x str) -> Outcome<'x> {
        match self.event.typed_attribute(name) {
            Some((text, kind)) => Ok(typed(text, kind)),
            None => self.fault(Fault::MissingAttribute(name), Type::Boolean.zero()),
        }
    }

    /// Whether the set has the value of `item`; elements are cast to its type. The first one that
    /// is equal ends the search.
    fn is_in(&mut self, item: &'x Expr, set: &'x [Expr]) -> Option<bool> {
        let item = self.value(item).ok();
        if item.is_none() && self.fails_fast {
            return None;
        }
        let mut has_fault = item.is_none();
        for element in set {
            let found = match (self.value(element).ok(), &item) {
                (Some(element), Some(item)) => self.equals(&element, item),
                _ => None,
            };
            match found {
                Some(true) if !has_fault => return Some(true),
                Some(_) => {}
                None if self.fails_fast => return None,
                None => has_fault = true,
            }
        }
        (!has_fault).then_some(false)
    }

    fn compare(&mut self, operator: Comparison, left: &'x Expr, right: &'x Expr) -> Option<bool> {
        if matches!(operator, Comparison::Equal | Comparison::NotEqual) {
            if let Expr::Literal(Value::String(right)) = right {
                // The usual filter, without a detour: the right operand makes it a comparison of texts.
                self.pay(1)?;
                let is_equal = *self.text(left)? == **right;
                return Some(is_equal == (operator == Comparison::Equal));
            }
            let (left, right) = self.both(left, right, |it, operand| it.value(operand).ok())?;
            let is_equal = self.equals(&left, &right)?;
            return Some(is_equal == (operator == Comparison::Equal));
        }
        let (left, right) = self.both(left, right, Self::integer)?;
        Some(match operator {
            Comparison::Less => left < right,
            Comparison::LessOrEqual => left <= right,
            Comparison::Greater => left > right,
            Comparison::GreaterOrEqual => left >= right,
            Comparison::Equal => left == right,
            Comparison::NotEqual => left != right,
        })
    }

    /// Both operands, or `None` when one has a fault.
    fn both<T>(
        &mut self,
        left: &'x Expr,
        right: &'x Expr,
        operand: impl Fn(&mut Self, &'x Expr) -> Option<T>,
    ) -> Option<(T, T)> {
        let left = operand(self, left);
        if left.is_none() && self.fails_fast {
            return None;
        }
        let right = operand(self, right);
        left.zip(right)
    }

    /// From left to right. A fault before the last operator leaves 0.
    fn arithmetic(&mut self, first: &'x Expr, rest: &'x [(Arithmetic, Expr)]) -> Outcome<'x> {
        let mut so_far = self.integer(first).ok_or(Type::Integer.zero()).map(Value::Integer);
        for (operator, operand) in rest {
            if so_far.is_err() && self.fails_fast {
                break;
            }
            so_far = match (so_far, self.integer(operand)) {
                (Ok(Value::Integer(left)), Some(right)) => self.calculate(*operator, left, right),
                _ => Err(Type::Integer.zero()),
            };
        }
        so_far
    }

    fn calculate(&mut self, operator: Arithmetic, left: i32, right: i32) -> Outcome<'x> {
        let divides = matches!(operator, Arithmetic::Divide | Arithmetic::Remainder);
        if divides && right == 0 {
            return self.fault(Fault::DivisionByZero, Type::Integer.zero());
        }
        self.number(match operator {
            Arithmetic::Multiply => left.overflowing_mul(right),
            Arithmetic::Divide => left.overflowing_div(right),
            Arithmetic::Remainder => (left.wrapping_rem(right), false),
            Arithmetic::Add => left.overflowing_add(right),
            Arithmetic::Subtract => left.overflowing_sub(right),
        })
    }

    /// Whether the first fault is the last that matters.
    pub(super) fn fails_fast(&self) -> bool {
        self.fails_fast
    }

    /// A number, and whether 32 bits were too few for it.
    pub(super) fn number(&mut self, (number, overflows): (i32, bool)) -> Outcome<'x> {
        let number = Value::Integer(number);
        if overflows { self.fault(Fault::Overflow, number) } else { Ok(number) }
    }

    /// `first AND (x OR (y XOR ...))`, without the recursion: an operand decides, or leaves the
    /// value to those after it, as it is or turned around.
    fn logic(&mut self, first: &'x Expr, rest: &'x [(Logic, Expr)]) -> Option<bool> {
        let mut is_turned = false;
        let mut operand = first;
        for (operator, next) in rest {
            match (operator, self.boolean(operand)?) {
                (Logic::And, false) => return Some(is_turned),
                (Logic::Or, true) => return Some(!is_turned),
                (Logic::And, true) | (Logic::Or, false) => {}
                (Logic::Xor, left) => is_turned ^= left,
            }
            operand = next;
        }
        Some(self.boolean(operand)? != is_turned)
    }

    /// The value of `expr` as text. That of an attribute is the text which the event has,
    /// whatever its type.
    pub(super) fn text(&mut self, expr: &'x Expr) -> Option<Cow<'x, str>> {
        if let Expr::Attribute(name) = expr {
            self.pay(1)?;
            let text = self.event.attribute(name).map(Cow::Borrowed);
            return text.or_else(|| self.note(Fault::MissingAttribute(name)));
        }
        self.value(expr).ok().map(Value::into_text)
    }

    /// The value of `expr` cast to a number.
    pub(super) fn integer(&mut self, expr: &'x Expr) -> Option<i32> {
        let number = self.value(expr).ok()?.to_integer();
        number.or_else(|| self.note(Fault::Cast { to: Type::Integer }))
    }

    /// The value of `expr` cast to a truth value.
    pub(super) fn boolean(&mut self, expr: &'x Expr) -> Option<bool> {
        let truth = self.value(expr).ok()?.to_boolean();
        truth.or_else(|| self.note(Fault::Cast { to: Type::Boolean }))
    }

    /// Whether `value`, cast to the type of `target`, is `target`.
    fn equals(&mut self, value: &Value<'_>, target: &Value<'_>) -> Option<bool> {
        let is_equal = value.equals_when_cast(target);
        is_equal.or_else(|| self.note(Fault::Cast { to: target.kind() }))
    }

    /// Makes room for text that a function makes, and pays for making it.
    pub(super) fn reserve(&mut self, bytes: usize) -> Option<()> {
        match self.room.checked_sub(bytes) {
            Some(room) => self.room = room,
            None => return self.note(Fault::Built),
        }
        self.look_at(bytes)
    }

    /// Pays for so many steps.
    fn pay(&mut self, steps: usize) -> Option<()> {
        self.steps.take(steps).or_else(|| self.note(Fault::Steps))
    }

    /// Pays for looking at a text of so many bytes.
    pub(super) fn look_at(&mut self, bytes: usize) -> Option<()> {
        self.steps.take_bytes(bytes).or_else(|| self.note(Fault::Steps))
    }

    /// Adds a fault, which leaves no value.
    pub(super) fn note<T>(&mut self, fault: Fault<'x>) -> Option<T> {
        self.faults.add(fault);
        None
    }

    /// Adds a fault, which leaves `value`.
    pub(super) fn fault(&mut self, fault: Fault<'x>, value: Value<'x>) -> Outcome<'x> {
        self.faults.add(fault);
        Err(value)
    }
}

/// A Boolean, or false for a fault.
fn truth<'x>(truth: Option<bool>) -> Outcome<'x> {
    truth.map(Value::Boolean).ok_or(Value::Boolean(false))
}

/// The value of an attribute. A number that is not written as numbers are cast to text stays text:
/// so a text that equals it is always the text that the event has, and can be looked up.
fn typed(text: &str, kind: Kind) -> Value<'_> {
    let typed = match kind {
        Kind::String => None,
        Kind::Integer => text.parse().ok().map(Value::Integer),
        Kind::Boolean => text.parse().ok().map(Value::Boolean),
    };
    let as_written = Value::String(Cow::Borrowed(text));
    typed.filter(|typed| typed.equals_when_cast(&as_written) == Some(true)).unwrap_or(as_written)
}
