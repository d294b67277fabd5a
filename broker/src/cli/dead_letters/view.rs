//! Dead letters as people see them: a table of many, a page of one.

use std::fmt::{self, Write as _};

use serde::Deserialize;

use super::{
    super::output::{Failure, paint, table},
    api::{Attempt, Item, Page},
};
use crate::display::{self, Style, escape};

/// Characters of a free text that fit in a table.
const CELL_CHARS_MAX: usize = 48;

/// What a list says of an event.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Brief {
    id: String,
    #[serde(rename = "type")]
    ty: String,
}

/// A table of the page, and how to get the next one.
pub(super) fn list(page: &Page) -> Result<String, Failure> {
    if page.items.is_empty() {
        return Ok("no dead letters\n".to_owned());
    }
    let rows = page.items.iter().map(|letter| letter.read().map(|item| row(&item)));
    let rows: Vec<Vec<String>> = rows.collect::<Result<_, _>>()?;
    let head = ["ID", "TRIGGER", "REASON", "ATTEMPTS", "LAST", "FAILED AT", "TYPE", "EVENT"];
    let mut text = table(&head, &rows);
    if let Some(next) = &page.next {
        let (shown, total, next) = (rows.len(), page.total, escape(next, false));
        text.push_str(&format!("{shown} of {total}; the next ones: --after {next}\n"));
    }
    Ok(text)
}

fn row(item: &Item) -> Vec<String> {
    let brief: Brief = serde_json::from_str(item.event.get()).unwrap_or_default();
    vec![
        item.id.clone(),
        item.trigger.as_ref().or(item.subscription.as_ref()).cloned().unwrap_or_default(),
        item.reason.clone(),
        item.attempts.to_string(),
        short(&outcome(item.last_status, item.last_error.as_deref())),
        item.failed_at.clone(),
        short(&brief.ty),
        short(&brief.id),
    ]
}

/// The status, or the error, or both.
fn outcome(status: Option<u16>, error: Option<&str>) -> String {
    match (status, error) {
        (Some(status), Some(error)) => format!("{status} {error}"),
        (Some(status), None) => status.to_string(),
        (None, Some(error)) => error.to_owned(),
        (None, None) => "-".to_owned(),
    }
}

fn short(text: &str) -> String {
    if text.chars().count() <= CELL_CHARS_MAX {
        return text.to_owned();
    }
    text.chars().take(CELL_CHARS_MAX - 3).chain("...".chars()).collect()
}

/// A page with everything that is known of one dead letter.
pub(super) fn letter(item: &Item, style: Style) -> Result<String, Failure> {
    let mut text = String::new();
    // Writing to a string cannot fail.
    facts(&mut text, item).unwrap_or_default();
    attempts(&mut text, &item.attempt_log).unwrap_or_default();
    let event = display::render_json(item.event.get().as_bytes(), style)
        .map_err(|error| Failure::caused("the event of this dead letter cannot be read", &error))?;
    text.push_str(&event);
    Ok(text)
}

fn facts(out: &mut String, item: &Item) -> fmt::Result {
    let bold = paint::HEAD;
    writeln!(out, "{bold}Dead letter {}{bold:#}", escape(&item.id, false))?;
    let mut fact = |name: &str, text: &str| writeln!(out, "  {name}: {}", escape(text, false));
    let names = [
        ("trigger", &item.trigger),
        ("broker", &item.broker),
        ("subscription", &item.subscription),
        ("channel", &item.channel),
    ];
    for (name, value) in names {
        if let Some(value) = value {
            fact(name, value)?;
        }
    }
    if let Some(destination) = &item.destination {
        fact("destination", destination)?;
    }
    fact("reason", &item.reason)?;
    fact("failed at", &item.failed_at)?;
    fact("attempts", &item.attempts.to_string())?;
    fact("last outcome", &outcome(item.last_status, item.last_error.as_deref()))?;
    if let Some(sink) = &item.sink {
        let tried = if sink.attempts == 1 { "attempt" } else { "attempts" };
        let line = format!("{} {} ({} {tried})", sink.url, sink.status, sink.attempts);
        fact("dead letter sink", &line)?;
    }
    Ok(())
}

fn attempts(out: &mut String, attempts: &[Attempt]) -> fmt::Result {
    if attempts.is_empty() {
        return Ok(());
    }
    let bold = paint::HEAD;
    writeln!(out, "{bold}Attempts,{bold:#}")?;
    for (number, attempt) in (1..).zip(attempts) {
        let Attempt { at, duration_ms, .. } = attempt;
        let outcome = outcome(attempt.status, attempt.error.as_deref());
        let line = format!("{number}: {at}, {duration_ms} ms: {outcome}");
        writeln!(out, "  {}", escape(&line, false))?;
        let answer = attempt.answer.as_deref().unwrap_or_default();
        for line in answer.lines() {
            writeln!(out, "     | {}", escape(line, true))?;
        }
        if attempt.answer_truncated {
            writeln!(out, "     | ... (the rest was not kept)")?;
        }
    }
    Ok(())
}

/// A count in words.
pub(super) fn letters(count: u64) -> String {
    if count == 1 { "1 dead letter".to_owned() } else { format!("{count} dead letters") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LETTER: &str = r#"{"id":"1","broker":"default/default","trigger":"default/orders",
        "destination":"http://127.0.0.1:9","reason":"exhausted","failedAt":"2026-01-31T12:00:00Z",
        "attempts":2,"lastStatus":503,"lastError":null,"sink":null,
        "event":{"specversion":"1.0","id":"e1","source":"/s","type":"t"},
        "attemptLog":[
          {"at":"2026-01-31T11:59:00Z","durationMs":3,"status":null,"error":"connection refused","answer":null,"answerTruncated":false},
          {"at":"2026-01-31T12:00:00Z","durationMs":5,"status":503,"error":null,"answer":"busy\n\u001b[2J","answerTruncated":true}]}"#;

    #[test]
    fn one_dead_letter_is_told_whole() {
        let text = letter(&serde_json::from_str(LETTER).unwrap(), Style::Plain).unwrap();
        assert_eq!(
            anstream::adapter::strip_str(&text).to_string(),
            "\
Dead letter 1
  trigger: default/orders
  broker: default/default
  destination: http://127.0.0.1:9
  reason: exhausted
  failed at: 2026-01-31T12:00:00Z
  attempts: 2
  last outcome: 503
Attempts,
  1: 2026-01-31T11:59:00Z, 3 ms: connection refused
  2: 2026-01-31T12:00:00Z, 5 ms: 503
     | busy
     | \\u001b[2J
     | ... (the rest was not kept)
☁️  cloudevents.Event
Context Attributes,
  specversion: 1.0
  type: t
  source: /s
  id: e1
"
        );
    }

    #[test]
    fn a_list_tells_how_to_go_on() {
        let page = format!(r#"{{"items":[{LETTER}],"total":7,"next":"1"}}"#);
        let text = list(&serde_json::from_str(&page).unwrap()).unwrap();
        assert_eq!(
            anstream::adapter::strip_str(&text).to_string(),
            "\
ID  TRIGGER         REASON     ATTEMPTS  LAST  FAILED AT             TYPE  EVENT
1   default/orders  exhausted  2         503   2026-01-31T12:00:00Z  t     e1
1 of 7; the next ones: --after 1
"
        );
        let none = list(&serde_json::from_str(r#"{"items":[],"total":0,"next":null}"#).unwrap());
        assert_eq!(none.unwrap(), "no dead letters\n");
    }

    #[test]
    fn a_long_text_does_not_break_the_table() {
        assert_eq!(short(&"x".repeat(100)).chars().count(), CELL_CHARS_MAX);
    }
}
