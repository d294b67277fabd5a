//! What an event would meet, as lines for people.

use std::fmt;

use super::{Explained, ExplainedTrigger};

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event, total, matched, omitted, triggers } = self;
        let counted = if *total == 1 { "trigger" } else { "triggers" };
        let (id, ty, source) = (&event.id, &event.ty, &event.source);
        write!(f, "event {id} (type {ty}, source {source}) is wanted by ")?;
        writeln!(f, "{matched} of {total} {counted}")?;
        for trigger in triggers {
            write!(f, "\n{trigger}")?;
        }
        if *omitted > 0 {
            writeln!(f, "\n{omitted} more triggers are not shown: ask for one by its name")?;
        }
        Ok(())
    }
}

impl fmt::Display for ExplainedTrigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, name, broker, matches, .. } = self;
        let wants = if *matches { "wants it" } else { "does not want it" };
        writeln!(f, "{namespace}/{name} of broker {broker} {wants}")?;
        for line in self.lines.lines() {
            writeln!(f, "  {line}")?;
        }
        if let Some(miss) = self.first_miss.as_ref().filter(|_| self.lines.lines().count() > 2) {
            writeln!(f, "  first miss: {miss}")?;
        }
        if !self.ready {
            let (reason, message) = (self.reason.unwrap_or_default(), self.message.as_deref());
            let message = message.unwrap_or_default();
            writeln!(f, "  not ready, so every event passes it by: {reason}: {message}")?;
        }
        if let Some(by) = self.paused {
            let by = if by == "manifest" { "its manifest" } else { "an operator" };
            writeln!(f, "  paused by {by}: what it wants waits")?;
        }
        if *matches { self.fate(f) } else { Ok(()) }
    }
}

impl ExplainedTrigger {
    /// What becomes of an event that is wanted.
    fn fate(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(subscriber) = &self.subscriber else { return Ok(()) };
        writeln!(f, "  goes to {subscriber}")?;
        if let Some(delivery) = &self.delivery {
            writeln!(f, "  delivery: {delivery}")?;
        }
        match (&self.dead_letter_sink, self.dead_letter_sink_from) {
            (Some(sink), Some(from)) => {
                writeln!(f, "  given up: a dead letter, and to {sink}, which its {from} names")?;
            }
            _ => writeln!(f, "  given up: a dead letter; there is no deadLetterSink")?,
        }
        writeln!(f, "  a reply goes to broker {}", self.replies_to)
    }
}
