//! Filters that are valid, but will hardly do what their authors want: those that no event can pass,
//! and expressions that readers read in different ways.
//!
//! A filter is turned into what it claims about attributes; it can never match when two claims that
//! must both hold exclude each other, or one asks for a value that the attribute cannot have. Not
//! every such filter is found, but one that is named is one: a test holds random events against it.

mod claim;
mod domain;
mod fact;
#[cfg(test)]
mod tests;

use std::rc::Rc;

use claim::Claim;
use fact::Facts;

use super::Node;

/// Longest reading of an expression that is repeated, in characters.
const READING_CHARS_MAX: usize = 200;

/// Something to ask the author of a filter about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// Where, such as `spec.filters[0].exact.type`.
    pub field: String,
    /// What it is about.
    pub concern: Concern,
    /// The same in words.
    pub message: String,
}

/// What a doubt is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Concern {
    /// No event can pass the filter.
    Never,
    /// No event can pass this element of an `any`.
    NeverHere,
    /// `AND`, `OR` and `XOR` meet without parentheses.
    MixedLogic,
}

/// Why something cannot hold, and where that shows.
#[derive(Clone, Debug)]
struct Impossible {
    path: Rc<str>,
    reason: String,
}

/// Everything that is doubtful about a filter.
pub(super) fn doubts(root: &Node) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    match impossible(root, "spec") {
        Some(Impossible { path, reason }) => doubts.push(Doubt {
            field: path.to_string(),
            concern: Concern::Never,
            message: format!("can never match: {reason}"),
        }),
        None => alternatives(root, "spec", &mut doubts),
    }
    mixed(root, "spec", &mut doubts);
    doubts
}

fn impossible(node: &Node, path: &str) -> Option<Impossible> {
    search(&[&claim::of(node, true, path)], &mut Facts::default())
}

/// Why `claims` and `facts` cannot all hold. `facts` is as it was afterwards.
fn search(claims: &[&Claim], facts: &mut Facts) -> Option<Impossible> {
    let known = facts.len();
    let mut rest: Vec<&Claim> = claims.to_vec();
    let mut choices = Vec::new();
    let mut found = None;
    while let (Some(claim), None) = (rest.pop(), &found) {
        match claim {
            Claim::Unknown => {}
            Claim::Never(impossible) => found = Some(impossible.clone()),
            Claim::Fact(fact) => found = facts.add(fact),
            // Backwards, so that the first one is looked at first.
            Claim::All(claims) => rest.extend(claims.iter().rev()),
            Claim::Any(claims) => choices.push(claims),
        }
    }
    let mut choices = choices.iter();
    while let (None, Some(claims)) = (&found, choices.next()) {
        let mut reasons = Vec::new();
        for claim in claims.iter() {
            match search(&[claim], facts) {
                Some(impossible) => reasons.push(impossible),
                None => break,
            }
        }
        if reasons.len() == claims.len() {
            found = reasons.into_iter().next();
        }
    }
    facts.truncate(known);
    found
}

/// Elements of an `any` that can never hold, beside others that can.
fn alternatives(node: &Node, path: &str, doubts: &mut Vec<Doubt>) {
    let (Node::All(nodes) | Node::Any(nodes)) = node else { return };
    for (path, child) in children(node, nodes, path) {
        let impossible = matches!(node, Node::Any(_)).then(|| impossible(child, &path)).flatten();
        match impossible {
            Some(Impossible { path, reason }) => doubts.push(Doubt {
                field: path.to_string(),
                concern: Concern::NeverHere,
                message: format!("this element of any can never hold: {reason}"),
            }),
            None => alternatives(child, &path, doubts),
        }
    }
}

/// Expressions that readers read in different ways.
fn mixed(node: &Node, path: &str, doubts: &mut Vec<Doubt>) {
    match node {
        Node::All(nodes) | Node::Any(nodes) => {
            children(node, nodes, path).for_each(|(path, child)| mixed(child, &path, doubts));
        }
        Node::Not(child) => mixed(child, &format!("{path}.not"), doubts),
        Node::Tests(_) => {}
        Node::Sql(sql) => {
            let Some(reading) = sql.expression().mixed_reading() else { return };
            let reading = match reading.chars().count() {
                0..=READING_CHARS_MAX => format!(", which is read as {reading}"),
                _ => ", which is read from right to left".to_owned(),
            };
            doubts.push(Doubt {
                field: format!("{path}.{}", sql.dialect()),
                concern: Concern::MixedLogic,
                message: format!(
                    "AND, OR and XOR meet without parentheses{reading}; write the parentheses that \
                     you mean"
                ),
            });
        }
    }
}

/// The elements of a list with their paths, as a manifest has them.
fn children<'n>(
    node: &Node,
    nodes: &'n [Node],
    path: &str,
) -> impl Iterator<Item = (String, &'n Node)> {
    let list = match node {
        _ if path == "spec" => "filters",
        Node::Any(_) => "any",
        _ => "all",
    };
    let path = format!("{path}.{list}");
    nodes.iter().enumerate().map(move |(place, node)| (format!("{path}[{place}]"), node))
}
