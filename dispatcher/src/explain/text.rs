//! An explanation as lines for people.

use std::fmt;

use super::{CheckKind, Dialect, Explanation, Part, Shown, Step, Tested};

impl fmt::Display for Explanation {
    /// A line each for every element, test and part: `[+]` holds, `[-]` does not, `[!]` is an error,
    /// `[=]` is a value, `[ ]` was not looked at.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        step(&self.tree, 0, f)
    }
}

fn line(depth: usize, mark: char, text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "{:indent$}[{mark}] {text}", "", indent = depth.saturating_mul(4))
}

fn hint(depth: usize, hint: Option<&String>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match hint {
        Some(hint) => {
            writeln!(f, "{:indent$}    ({hint})", "", indent = depth.saturating_mul(4))
        }
        None => Ok(()),
    }
}

fn mark(result: bool) -> char {
    if result { '+' } else { '-' }
}

fn step(of: &Step, depth: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Step { path, dialect, result, children, tests, expression } = of;
    let inner = depth.saturating_add(1);
    if let Some(expression) = expression {
        return part(&format!("{path}: "), expression, depth, f);
    }
    match (&**tests, &**children) {
        ([], []) => return line(depth, mark(*result), "no filter: every event", f),
        // Nothing is said by a list of one that its element does not say.
        ([], [only]) if *dialect != Dialect::Not => return step(only, depth, f),
        ([only], _) => {
            line(depth, mark(only.result), &format!("{path}: {}", found(only)), f)?;
            return hint(depth, only.hint.as_ref(), f);
        }
        _ => {}
    }
    let rule = match dialect {
        Dialect::Any => "one must hold",
        Dialect::Not => "must not hold",
        _ => "all must hold",
    };
    line(depth, mark(*result), &format!("{path}: {rule}"), f)?;
    for test in tests {
        line(inner, mark(test.result), &found(test), f)?;
        hint(inner, test.hint.as_ref(), f)?;
    }
    children.iter().try_for_each(|child| step(child, inner, f))
}

/// What was found, and what was wanted unless that is the same.
fn found(test: &Tested) -> String {
    let Tested { attribute, check, expected, actual, result, .. } = test;
    let actual = match actual {
        Some(actual) => format!("{attribute} is {actual:?}"),
        None => format!("{attribute} is absent"),
    };
    let expected = expected.as_deref().unwrap_or_default();
    match (check, result) {
        (CheckKind::Exact | CheckKind::Present, true) => actual,
        (CheckKind::Prefix, true) => format!("{actual}, which begins with {expected:?}"),
        (CheckKind::Suffix, true) => format!("{actual}, which ends with {expected:?}"),
        (CheckKind::Present, false) => format!("{actual}, must be there and not empty"),
        (CheckKind::Exact, false) => format!("{actual}, must be {expected:?}"),
        (CheckKind::Prefix, false) => format!("{actual}, must begin with {expected:?}"),
        (CheckKind::Suffix, false) => format!("{actual}, must end with {expected:?}"),
    }
}

fn part(path: &str, of: &Part, depth: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mark = match &of.value {
        None => ' ',
        Some(_) if !of.errors.is_empty() => '!',
        Some(Shown::Boolean(truth)) => mark(*truth),
        Some(_) => '=',
    };
    line(depth, mark, &format!("{path}{}", outcome(of)), f)?;
    let attributes = of.parts.iter().filter(|part| part.is_attribute);
    let hints = std::iter::once(of).chain(attributes).filter_map(|part| part.hint.as_ref());
    for said in hints {
        hint(depth, Some(said), f)?;
    }
    // Attributes stand beside what is made of them.
    let inner = of.parts.iter().filter(|part| of.evaluated && !part.is_attribute);
    inner.into_iter().try_for_each(|inner| part("", inner, depth.saturating_add(1), f))
}

/// A part and what it comes to, with the attributes right below it.
fn outcome(of: &Part) -> String {
    let Part { expression, value, errors, .. } = of;
    let Some(value) = value else { return format!("{expression}: not looked at") };
    if !errors.is_empty() {
        return format!("{expression}: {}", errors.join("; "));
    }
    let read = of.parts.iter().filter(|part| part.is_attribute);
    let mut read: Vec<String> = read
        .filter_map(|part| Some(format!("{} is {}", part.expression, shown(part.value.as_ref()?))))
        .collect();
    read.dedup();
    let value = shown(value);
    match &*read {
        [] => format!("{expression} is {value}"),
        read => format!("{expression} is {value}: {}", read.join(", ")),
    }
}

fn shown(value: &Shown) -> String {
    match value {
        Shown::Text(text) => format!("{text:?}"),
        Shown::Integer(number) => number.to_string(),
        Shown::Boolean(truth) => truth.to_string(),
    }
}

/// The first thing in a step that does not hold, in one line.
pub(super) fn first_miss(of: &Step) -> String {
    let Step { path, dialect, children, tests, expression, .. } = of;
    if let Some(expression) = expression {
        return with_hint(format!("{path}: {}", outcome(missing(expression))), missing(expression));
    }
    if let Some(test) = tests.iter().find(|test| !test.result) {
        let said = format!("{path}: {}", found(test));
        return match &test.hint {
            Some(hint) => format!("{said} ({hint})"),
            None => said,
        };
    }
    match (dialect, children.iter().find(|child| !child.result)) {
        (Dialect::Not, _) => format!("{path}: holds, and must not"),
        (Dialect::Any, Some(_)) if children.len() > 1 => {
            format!("{path}: none of {} holds", children.len())
        }
        (_, Some(child)) => first_miss(child),
        (_, None) => format!("{path}: does not hold"),
    }
}

fn with_hint(said: String, of: &Part) -> String {
    let attributes = of.parts.iter().filter(|part| part.is_attribute);
    match std::iter::once(of).chain(attributes).find_map(|part| part.hint.as_ref()) {
        Some(hint) => format!("{said} ({hint})"),
        None => said,
    }
}

/// The part that an expression fails by: the first faulty one, or the first false one of those that
/// must all be true.
fn missing(of: &Part) -> &Part {
    let is_to_blame = |part: &&Part| {
        let is_false = of.is_conjunction && part.value == Some(Shown::Boolean(false));
        if of.errors.is_empty() { is_false } else { !part.errors.is_empty() }
    };
    match of.parts.iter().filter(|part| !part.is_attribute).find(is_to_blame) {
        Some(part) => missing(part),
        None => of,
    }
}
