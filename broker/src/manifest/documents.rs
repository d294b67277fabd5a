//! The text of a file → its documents, within fixed bounds.

use std::io::Cursor;

use serde_saphyr::{
    DuplicateKeyPolicy, Error, MessageFormatter, Options, UserMessageFormatter,
    budget::BudgetBreach,
};

use super::{node::Node, problem::Position};

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
