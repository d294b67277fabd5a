//! What a filter, or an expression, says about attributes when it holds.

use std::rc::Rc;

use super::Impossible;
use super::fact::{Fact, What};
use crate::cesql::{Comparison, Expr, Logic, Value};
use crate::filter::needs::casts;
use crate::filter::{AttributeName, Check, Node};

/// How deep an expression is looked into.
const DEPTH_MAX: usize = 32;

/// Something that must be so. It may say less than the filter does, never more.
#[derive(Debug)]
pub(super) enum Claim {
    /// Nothing is known.
    Unknown,
    /// It cannot be.
    Never(Impossible),
    /// Of one attribute.
    Fact(Fact),
    /// All of these.
    All(Vec<Self>),
    /// One of these.
    Any(Vec<Self>),
}

/// What `node`, written at `path`, says when it holds, or when it does not.
pub(super) fn of(node: &Node, holds: bool, path: &str) -> Claim {
    let join =
        |all: bool, claims| if all == holds { Claim::All(claims) } else { Claim::Any(claims) };
    match node {
        Node::All(nodes) | Node::Any(nodes) => {
            let claims = super::children(node, nodes, path);
            let claims = claims.map(|(path, child)| of(child, holds, &path)).collect();
            join(matches!(node, Node::All(_)), claims)
        }
        Node::Not(child) => of(child, !holds, &format!("{path}.not")),
        Node::Tests(tests) => {
            let claims = tests.iter().map(|test| {
                let dialect = match test.check {
                    _ if path == "spec" => "filter.attributes",
                    Check::Prefix(_) => "prefix",
                    Check::Suffix(_) => "suffix",
                    Check::Exact(_) | Check::Present => "exact",
                };
                let path: Rc<str> = format!("{path}.{dialect}.{}", test.attribute).into();
                let check = folded(&test.attribute, &test.check);
                let what = if holds { What::Is(check) } else { What::IsNot(check) };
                Claim::Fact(Fact { attribute: test.attribute.clone(), what, path })
            });
            join(true, claims.collect())
        }
        // An expression that does not accept may be false, or have met an error.
        Node::Sql(_) if !holds => Claim::Unknown,
        Node::Sql(sql) => {
            let path: Rc<str> = format!("{path}.{}", sql.dialect()).into();
            Reader { path }.when(sql.expression().root(), true, DEPTH_MAX)
        }
    }
}

/// A check whose text can be compared by its bytes.
fn folded(attribute: &AttributeName, check: &Check) -> Check {
    let fold = |text: &str| match attribute {
        AttributeName::DataMediaType => text.to_ascii_lowercase().into(),
        _ => text.into(),
    };
    match check {
        Check::Present => Check::Present,
        Check::Exact(text) => Check::Exact(fold(text)),
        Check::Prefix(text) => Check::Prefix(fold(text)),
        Check::Suffix(text) => Check::Suffix(fold(text)),
    }
}

/// Reads an expression; see the page of `needs`, which reads it for the index.
struct Reader {
    path: Rc<str>,
}

impl Reader {
    /// What holds when `expr`, cast to Boolean, is `truth` without a fault. At most `room` deep.
    fn when(&self, expr: &Expr, truth: bool, room: usize) -> Claim {
        let Some(less_room) = room.checked_sub(1) else { return Claim::Unknown };
        match expr {
            Expr::Literal(value) if value.to_boolean() == Some(truth) => Claim::Unknown,
            Expr::Literal(_) => self.never(format!("{expr} is never {truth}")),
            Expr::Attribute(name) => self.fact(name, What::There),
            Expr::Exists(name) if truth => self.fact(name, What::There),
            Expr::Exists(name) => self.fact(name, What::Absent),
            Expr::Not(operand) => self.when(operand, !truth, less_room),
            Expr::Logic { first, rest } => self.chain(first, rest, truth, less_room),
            Expr::Compare { operator, left, right } => self.compare(*operator, left, right, truth),
            Expr::In { item, set, is_negated } => match &**item {
                Expr::Attribute(name) => self.set(name, set, *is_negated != truth),
                _ => Claim::Unknown,
            },
            Expr::Like { text, pattern, is_negated } => {
                let Expr::Attribute(name) = &**text else { return Claim::Unknown };
                let is_wanted = *is_negated != truth;
                match (pattern.exact(), is_wanted) {
                    (Some(text), true) => self.fact(name, What::Is(Check::Exact(text.into()))),
                    (Some(text), false) => self.is_not(name, [text]),
                    (None, false) => self.fact(name, What::There),
                    (None, true) => Claim::All(vec![
                        self.fact(name, What::There),
                        self.fact(name, What::Is(Check::Prefix(pattern.prefix().into()))),
                        self.fact(name, What::Is(Check::Suffix(pattern.suffix().into()))),
                    ]),
                }
            }
            _ => Claim::Unknown,
        }
    }

    /// What holds when `first AND (x OR ...)` is `truth`.
    fn chain(&self, first: &Expr, rest: &[(Logic, Expr)], truth: bool, room: usize) -> Claim {
        let Some(((operator, next), after)) = rest.split_first() else {
            return self.when(first, truth, room);
        };
        let Some(less_room) = room.checked_sub(1).filter(|_| *operator != Logic::Xor) else {
            return Claim::Unknown;
        };
        let mut parts = vec![self.when(first, truth, less_room)];
        let (mut last, mut rest) = (next, after);
        while let Some(((_, next), after)) =
            rest.split_first().filter(|((it, _), _)| it == operator)
        {
            parts.push(self.when(last, truth, less_room));
            (last, rest) = (next, after);
        }
        parts.push(self.chain(last, rest, truth, less_room));
        let needs_all = (*operator == Logic::And) == truth;
        if needs_all { Claim::All(parts) } else { Claim::Any(parts) }
    }

    fn compare(&self, operator: Comparison, left: &Expr, right: &Expr, truth: bool) -> Claim {
        let is_wanted = match operator {
            Comparison::Equal => truth,
            Comparison::NotEqual => !truth,
            _ => return Claim::All(vec![self.number(left), self.number(right)]),
        };
        match (left, right) {
            (Expr::Attribute(name), Expr::Literal(Value::String(text))) if is_wanted => {
                self.fact(name, What::Is(Check::Exact((&**text).into())))
            }
            (Expr::Attribute(name), Expr::Literal(Value::String(text))) => {
                self.is_not(name, [text])
            }
            (Expr::Literal(Value::String(text)), Expr::Attribute(name)) if is_wanted => {
                self.one_of(name, casts(text))
            }
            // The right operand decides the type: the attribute must be cast to it.
            (Expr::Attribute(_), Expr::Literal(_)) => self.number(left),
            _ => Claim::Unknown,
        }
    }

    /// What holds when the attribute is in a set of texts, or is not.
    fn set(&self, name: &str, set: &[Expr], is_in: bool) -> Claim {
        let texts = set.iter().map(|element| match element {
            Expr::Literal(Value::String(text)) => Some(&**text),
            _ => None,
        });
        match texts.collect::<Option<Vec<&str>>>() {
            None => Claim::Unknown,
            Some(texts) if is_in => self.one_of(name, texts.into_iter().flat_map(casts)),
            Some(texts) => self.is_not(name, texts),
        }
    }

    fn one_of(&self, name: &str, texts: impl IntoIterator<Item = String>) -> Claim {
        let exact = |text: String| self.fact(name, What::Is(Check::Exact(text.into())));
        Claim::Any(texts.into_iter().map(exact).collect())
    }

    /// An attribute that is there, and is none of these texts.
    fn is_not<T: AsRef<str>>(&self, name: &str, texts: impl IntoIterator<Item = T>) -> Claim {
        let texts = texts.into_iter();
        let differs =
            texts.map(|text| self.fact(name, What::IsNot(Check::Exact(text.as_ref().into()))));
        Claim::All(std::iter::once(self.fact(name, What::There)).chain(differs).collect())
    }

    /// An operand that is no text.
    fn number(&self, operand: &Expr) -> Claim {
        match operand {
            Expr::Attribute(name) => self.fact(name, What::NoText),
            _ => Claim::Unknown,
        }
    }

    fn fact(&self, name: &str, what: What) -> Claim {
        let attribute = AttributeName::Plain(name.into());
        Claim::Fact(Fact { attribute, what, path: Rc::clone(&self.path) })
    }

    fn never(&self, reason: String) -> Claim {
        Claim::Never(Impossible { path: Rc::clone(&self.path), reason })
    }
}
