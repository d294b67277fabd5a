//! The text of a file → its documents, within fixed bounds.

use std::io::Cursor;

use serde::de::DeserializeOwned;
use serde_saphyr::{
    DuplicateKeyPolicy, Error, MessageFormatter, Options, UserMessageFormatter,
    budget::BudgetBreach,
};

use super::{finding::Finding, node::Node, problem::Position, typed};

/// Values in one document: a trigger has some twenty.
const NODES_MAX: usize = 250_000;
/// Values inside one another: the deepest of Knative's schemas has 12, filters nest further.
const DEPTH_MAX: usize = 48;
/// Values that aliases may copy into a file.
const ALIASED_MAX: usize = 20_000;

/// A document that cannot be read at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// Where reading stopped.
    pub(crate) at: Position,
    /// Why, as a phrase.
    pub(crate) message: String,
}

/// Hands the documents of a file to `each` until that returns false; empty ones are skipped.
///
/// A document with a duplicate key does not hide the ones after it; what is not YAML does.
/// Memory and time are bounded whatever the text says (reliability: R-P-2).
pub(crate) fn parse(text: &str, mut each: impl FnMut(Result<Node, Unreadable>) -> bool) {
    let mut reader = Cursor::new(text.as_bytes());
    for document in serde_saphyr::read_with_options::<_, Node>(&mut reader, options()) {
        if !each(document.map_err(|error| explain(&error))) {
            return;
        }
    }
}

/// Reads a file of one document that is no manifest, such as the program's configuration; `None`
/// when it is empty.
///
/// # Errors
///
/// Everything that is wrong with it: line, column, field and rule of each, a line of text each.
pub(crate) fn read_one<T: DeserializeOwned>(text: &str) -> Result<Option<T>, Vec<String>> {
    let mut documents = Vec::new();
    parse(text, |document| {
        documents.push(document);
        documents.len() < 2
    });
    let mut documents = documents.into_iter();
    let Some(node) = documents.next() else { return Ok(None) };
    let node = node.map_err(|Unreadable { at, message }| vec![line(at, &message)])?;
    if documents.next().is_some() {
        return Err(vec!["a second document is in the file; there must be one".to_owned()]);
    }
    let (value, wrong) = typed::read(&node, "", node.at);
    if wrong.is_empty() { Ok(value) } else { Err(wrong.iter().map(found).collect()) }
}

fn found(finding: &Finding) -> String {
    let Finding { field, at, message, suggestion, .. } = finding;
    let field = if field.is_empty() { String::new() } else { format!("{field}: ") };
    let meant = suggestion.as_ref().map_or(String::new(), |it| format!(" (did you mean {it}?)"));
    line(*at, &format!("{field}{message}{meant}"))
}

fn line(at: Position, message: &str) -> String {
    format!("{}:{}: {message}", at.line, at.column)
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: NODES_MAX,
            max_depth: DEPTH_MAX,
            max_recorded_anchor_events: ALIASED_MAX,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: ALIASED_MAX,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        with_snippet: false,
        emit_comments: false,
    }
}

fn explain(error: &Error) -> Unreadable {
    let at = error.location().map_or(Position::START, Position::from);
    Unreadable { at, message: describe(error) }
}

fn describe(error: &Error) -> String {
    match error {
        Error::AliasError { error, .. } | Error::WithSnippet { error, .. } => describe(error),
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("key {key} is given twice in one mapping")
        }
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => too_deep(),
        Error::Budget {
            breach: BudgetBreach::Nodes { .. } | BudgetBreach::Events { .. }, ..
        } => {
            format!("more than {NODES_MAX} values in one document")
        }
        Error::Budget {
            breach:
                BudgetBreach::Aliases { .. }
                | BudgetBreach::AliasAnchorRatio { .. }
                | BudgetBreach::RecordedAnchorEvents { .. }
                | BudgetBreach::RecordedAnchorBytes { .. },
            ..
        }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            format!("aliases would copy more than {ALIASED_MAX} values into the file")
        }
        other => {
            let message = UserMessageFormatter.format_message(other);
            if message == "recursion limit exceeded" {
                return too_deep();
            }
            let hint = if message.contains("quoted scalar") {
                "; is a quote left open above?"
            } else {
                ""
            };
            format!("not valid YAML: {message}{hint}")
        }
    }
}

fn too_deep() -> String {
    format!("nested more than {DEPTH_MAX} levels deep")
}
