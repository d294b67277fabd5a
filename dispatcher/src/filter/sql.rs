//! An expression of CloudEvents SQL as an element of a filter.

use channel::Attributes;

use super::Node;
use super::needs::needs;
use crate::cesql::Expression;

/// An expression, with what an event needs before it is worth evaluating.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sql {
    dialect: &'static str,
    expression: Expression,
    needs: Node,
}

impl Sql {
    pub(super) fn new(dialect: &'static str, expression: Expression) -> Self {
        let needs = needs(expression.root());
        Self { dialect, expression, needs }
    }

    /// The name that it is written under: `cesql` or `sql`.
    pub fn dialect(&self) -> &'static str {
        self.dialect
    }

    /// Whether the expression comes to `true` for `event`, and nothing goes wrong.
    ///
    /// Spec: CESQL 1.0, 1.2.
    pub fn accepts(&self, event: &(impl Attributes + ?Sized)) -> bool {
        self.expression.accepts(event)
    }

    /// The expression.
    pub fn expression(&self) -> &Expression {
        &self.expression
    }

    /// A filter that accepts every event that the expression accepts, and others: made of `all`,
    /// `any` and tests alone, so that it can be looked up.
    pub fn needs(&self) -> &Node {
        &self.needs
    }
}
