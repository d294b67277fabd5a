//! The tree of a parsed expression.
//!
//! Operators of one level in a row are one node with a list, not a node each: a chain of a
//! thousand `OR` is as deep as one of two.

use super::{Function, Pattern, Type, Value};

/// A part of an expression. Parentheses leave no trace but the shape of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// A text, number or truth value as written.
    Literal(Value<'static>),
    /// The value of the attribute of this name, in lower case.
    Attribute(Box<str>),
    /// `EXISTS attribute`.
    Exists(Box<str>),
    /// `NOT x`.
    Not(Box<Self>),
    /// `-x`.
    Negate(Box<Self>),
    /// `text LIKE pattern`, `text NOT LIKE pattern`.
    Like {
        /// What must be alike.
        text: Box<Self>,
        /// What it must be like.
        pattern: Pattern,
        /// Whether `NOT` stands before `LIKE`.
        is_negated: bool,
    },
    /// `item IN (set)`, `item NOT IN (set)`.
    In {
        /// What must be in the set. Its type is what the elements are cast to.
        item: Box<Self>,
        /// At least one.
        set: Box<[Self]>,
        /// Whether `NOT` stands before `IN`.
        is_negated: bool,
    },
    /// `first * x / y`, or `first + x - y`: from left to right, all operators of one level.
    Arithmetic {
        /// The operand before the first operator.
        first: Box<Self>,
        /// At least one operator, each with the operand after it.
        rest: Box<[(Arithmetic, Self)]>,
    },
    /// `left = right` and the other comparisons.
    Compare {
        /// Which.
        operator: Comparison,
        /// Cast to the type of `right` by `=` and `!=`.
        left: Box<Self>,
        /// What `left` is compared with.
        right: Box<Self>,
    },
    /// `first AND x OR y`: what stands right of an operator is its right operand, all of it.
    Logic {
        /// The operand before the first operator.
        first: Box<Self>,
        /// At least one operator, each with the operand after it.
        rest: Box<[(Logic, Self)]>,
    },
    /// `FUNCTION(arguments)`, with as many arguments as the function takes.
    Call {
        /// Which.
        function: Function,
        /// What it gets.
        arguments: Box<[Self]>,
    },
    /// A call that no function answers to.
    Missing {
        /// The name it was called by, in upper case.
        name: Box<str>,
        /// What it would get.
        arguments: Box<[Self]>,
    },
}

impl Expr {
    /// The type of the value, or `None` when that is the event's to say.
    pub fn result_type(&self) -> Option<Type> {
        match self {
            Self::Literal(value) => Some(value.kind()),
            Self::Attribute(_) => None,
            Self::Negate(_) | Self::Arithmetic { .. } => Some(Type::Integer),
            Self::Call { function, .. } => Some(function.result_type()),
            Self::Exists(_)
            | Self::Not(_)
            | Self::Like { .. }
            | Self::In { .. }
            | Self::Compare { .. }
            | Self::Logic { .. }
            | Self::Missing { .. } => Some(Type::Boolean),
        }
    }

    /// The value in place of one that an error leaves undefined. Spec: CESQL 1.0, 3.2, where a
    /// type that is not known is Boolean.
    pub(super) fn zero(&self) -> Value<'static> {
        self.result_type().unwrap_or(Type::Boolean).zero()
    }

    /// Whether `AND`, `OR` and `XOR` meet somewhere without parentheses between them.
    pub(super) fn mixes_logic(&self) -> bool {
        let mixes_here = match self {
            Self::Logic { rest, .. } => {
                rest.iter().zip(rest.iter().skip(1)).any(|((left, _), (right, _))| left != right)
            }
            _ => false,
        };
        mixes_here || self.children().any(Self::mixes_logic)
    }

    /// The parts right below this one, from left to right.
    pub fn children(&self) -> impl Iterator<Item = &Self> {
        let (one, two): (Option<&Self>, Option<&Self>) = match self {
            Self::Not(x) | Self::Negate(x) => (Some(x), None),
            Self::Like { text, .. } => (Some(text), None),
            Self::In { item, .. } => (Some(item), None),
            Self::Arithmetic { first, .. } | Self::Logic { first, .. } => (Some(first), None),
            Self::Compare { left, right, .. } => (Some(left), Some(right)),
            _ => (None, None),
        };
        let listed: &[Self] = match self {
            Self::In { set, .. } => set,
            Self::Call { arguments, .. } | Self::Missing { arguments, .. } => arguments,
            _ => &[],
        };
        let sums: &[(Arithmetic, Self)] =
            if let Self::Arithmetic { rest, .. } = self { rest } else { &[] };
        let logic: &[(Logic, Self)] = if let Self::Logic { rest, .. } = self { rest } else { &[] };
        one.into_iter()
            .chain(two)
            .chain(listed)
            .chain(sums.iter().map(|(_, x)| x))
            .chain(logic.iter().map(|(_, x)| x))
    }
}

/// An operator from numbers to a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// `*`
    Multiply,
    /// `/`, towards zero.
    Divide,
    /// `%`, with the sign of what is divided.
    Remainder,
    /// `+`
    Add,
    /// `-`
    Subtract,
}

/// An operator from two values to a truth value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`, also written `<>`.
    NotEqual,
    /// `<`, on numbers alone, as the three below.
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// An operator from two truth values to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logic {
    /// `AND`: does not look at its right operand when the left one is false.
    And,
    /// `OR`: does not look at its right operand when the left one is true.
    Or,
    /// `XOR`
    Xor,
}
