//! From what the user wrote to the tree, or to everything that is wrong with it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use channel::Invalid;

use super::attribute::{self, AttributeName};
use super::{Check, Node, Sql, Test};
use crate::cesql::Expression;
use crate::spec::{FilterSpec, TriggerFilter};

/// How deep `all`, `any` and `not` may be nested; an element of `filters` is at depth 1.
pub const DEPTH_MAX: usize = 64;

/// How many elements and attribute entries the filters of one trigger may have together.
pub const ELEMENTS_MAX: usize = 1024;

/// Longest part of a refused name or expression that is repeated in a message, in characters.
const QUOTED_MAX_CHARS: usize = 64;

/// Compiles both fields of a trigger; see [`super::Filter::compile`].
pub(super) fn compile(
    filter: Option<&TriggerFilter>,
    filters: &[FilterSpec],
) -> Result<Node, Vec<Invalid>> {
    let mut compiler = Compiler { path: "spec".into(), elements: 0, problems: Vec::new() };
    let legacy = filter.map(|filter| {
        compiler.at(format_args!(".filter.attributes"), |compiler| {
            compiler.tests(&filter.attributes, |value| match value {
                "" => Some(Check::Present),
                value => Some(Check::Exact(value.into())),
            })
        })
    });
    let elements = compiler.list("filters", filters, 1);
    if !compiler.problems.is_empty() {
        return Err(compiler.problems);
    }
    Ok(match legacy {
        Some(tests) if filters.is_empty() => Node::Tests(tests),
        _ => Node::All(elements),
    })
}

/// Walks the written tree and remembers where it is and what was wrong.
struct Compiler {
    /// Where the walk is, as `spec.filters[1].all[0]`.
    path: String,
    /// Elements and attribute entries seen.
    elements: usize,
    problems: Vec<Invalid>,
}

impl Compiler {
    /// Compiles the elements of the list called `name`.
    fn list(&mut self, name: &str, elements: &[FilterSpec], depth: usize) -> Box<[Node]> {
        let mut nodes = Vec::with_capacity(elements.len().min(ELEMENTS_MAX));
        for (index, element) in elements.iter().enumerate() {
            nodes.extend(
                self.at(format_args!(".{name}[{index}]"), |compiler| {
                    compiler.element(element, depth)
                }),
            );
        }
        nodes.into()
    }

    /// Compiles one element. `None` when it is refused; all its dialects are checked all the same.
    fn element(&mut self, spec: &FilterSpec, depth: usize) -> Option<Node> {
        if !self.has_room() {
            return None;
        }
        if depth > DEPTH_MAX {
            self.refuse(format!("filters may be nested {DEPTH_MAX} levels deep, not deeper"));
            return None;
        }
        let found = [
            spec.all.as_deref().map(|elements| self.children("all", elements, depth, Node::All)),
            spec.any.as_deref().map(|elements| self.children("any", elements, depth, Node::Any)),
            spec.not.as_deref().map(|element| self.not(element, depth)),
            spec.exact.as_ref().map(|map| self.entries("exact", map, Check::Exact)),
            spec.prefix.as_ref().map(|map| self.entries("prefix", map, Check::Prefix)),
            spec.suffix.as_ref().map(|map| self.entries("suffix", map, Check::Suffix)),
            written(&spec.cesql).map(|expression| self.sql("cesql", expression)),
            written(&spec.sql).map(|expression| self.sql("sql", expression)),
        ];
        let mut dialects = found.into_iter().flatten();
        let Some(node) = dialects.next() else {
            self.refuse(
                "no dialect found, set one of all, any, not, exact, prefix, suffix, cesql, sql",
            );
            return None;
        };
        if dialects.next().is_some() {
            self.refuse("multiple dialects found, filters can have only one dialect set");
            return None;
        }
        node
    }

    fn children(
        &mut self,
        dialect: &str,
        elements: &[FilterSpec],
        depth: usize,
        join: fn(Box<[Node]>) -> Node,
    ) -> Option<Node> {
        if elements.is_empty() {
            self.refuse_at(dialect, "must have at least one filter");
            return None;
        }
        Some(join(self.list(dialect, elements, depth.saturating_add(1))))
    }

    fn not(&mut self, element: &FilterSpec, depth: usize) -> Option<Node> {
        let child = self.at(format_args!(".not"), |compiler| {
            compiler.element(element, depth.saturating_add(1))
        });
        child.map(|child| Node::Not(Box::new(child)))
    }

    fn entries(
        &mut self,
        dialect: &str,
        map: &BTreeMap<String, String>,
        check: fn(Box<str>) -> Check,
    ) -> Option<Node> {
        if map.is_empty() {
            self.refuse_at(dialect, "must name at least one attribute");
            return None;
        }
        let tests = self.at(format_args!(".{dialect}"), |compiler| {
            compiler.tests(map, |value| (!value.is_empty()).then(|| check(value.into())))
        });
        Some(Node::Tests(tests))
    }

    fn sql(&mut self, dialect: &'static str, expression: &str) -> Option<Node> {
        match Expression::parse_filter(expression) {
            Ok(expression) => Some(Node::Sql(Box::new(Sql::new(dialect, expression)))),
            Err(error) => {
                let expression = quoted(expression);
                self.refuse_at(dialect, format!("invalid value: {expression}: {error}"));
                None
            }
        }
    }

    /// Compiles the entries of the map that the path leads to. `check` gives `None` for a value
    /// that must not be empty and is.
    fn tests(
        &mut self,
        map: &BTreeMap<String, String>,
        check: impl Fn(&str) -> Option<Check>,
    ) -> Box<[Test]> {
        let mut tests = Vec::new();
        for (name, value) in map {
            if !self.has_room() {
                break;
            }
            if !attribute::is_valid(name) {
                let name = quoted(name);
                self.refuse(format!(
                    "invalid key name {name}: Attribute name must start with a letter \
                     and can only contain lowercase alphanumeric"
                ));
            }
            match check(value) {
                Some(check) => tests.push(Test { attribute: AttributeName::new(name), check }),
                None => self.refuse(format!("the value of {} must not be empty", quoted(name))),
            }
        }
        tests.into()
    }

    /// Counts one more element, and complains about the first one too many.
    fn has_room(&mut self) -> bool {
        self.elements = self.elements.saturating_add(1);
        if self.elements == ELEMENTS_MAX.saturating_add(1) {
            self.problems.push(Invalid::new(
                "spec.filters",
                format!("a trigger may have {ELEMENTS_MAX} filters and attributes in them"),
            ));
        }
        self.elements <= ELEMENTS_MAX
    }

    /// Runs `visit` with `segment` at the end of the path.
    fn at<T>(&mut self, segment: fmt::Arguments<'_>, visit: impl FnOnce(&mut Self) -> T) -> T {
        let len = self.path.len();
        // Writing to a string cannot fail.
        self.path.write_fmt(segment).ok();
        let seen = visit(self);
        self.path.truncate(len);
        seen
    }

    fn refuse(&mut self, rule: impl Into<Cow<'static, str>>) {
        self.problems.push(Invalid::new(self.path.clone(), rule));
    }

    fn refuse_at(&mut self, field: &str, rule: impl Into<Cow<'static, str>>) {
        self.at(format_args!(".{field}"), |compiler| compiler.refuse(rule));
    }
}

/// An expression, unless it is empty: that counts as not set, as in Knative.
fn written(expression: &Option<String>) -> Option<&str> {
    expression.as_deref().filter(|expression| !expression.is_empty())
}

/// A name or an expression as a message may repeat it: escaped, in quotes, not endless.
fn quoted(name: &str) -> String {
    let shown: String = name.chars().take(QUOTED_MAX_CHARS).collect();
    let more = if shown.len() < name.len() { "..." } else { "" };
    format!("{shown:?}{more}")
}
