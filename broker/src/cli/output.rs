//! What a command says: results on stdout as text or JSON, one clear line on stderr when it fails.

use std::{
    error::Error,
    fmt::Write as _,
    io::{self, IsTerminal as _, Write},
};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use serde::Serialize;

use crate::display::{self, escape};

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// When colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal that wants them (`NO_COLOR`, `CLICOLOR` and `TERM` are respected).
    #[default]
    Auto,
    /// Also into files and pipes.
    Always,
    /// Not at all.
    Never,
}

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The arguments do not fit together. Exit code 2.
    #[error("{0}")]
    Usage(String),
    /// It was tried and failed. Exit code 1.
    #[error("{0}")]
    Failed(String),
    /// It failed, and the results already say how. Exit code 1.
    #[error("see above")]
    Reported,
    /// The process ended with events that had not reached their end. Exit code 3.
    #[error("{0}")]
    Lost(String),
    /// Storage failed while the process ran: another one has to find out what is stored. Exit code 4.
    #[error("{0}")]
    Broken(String),
    /// The data folder cannot be used: it is in use, of another version, or damaged. Exit code 5.
    #[error("{0}")]
    Data(String),
    /// Whoever read stdout has gone, as `head` does. No failure: exit code 0.
    #[error("nobody reads the output")]
    Unread,
}

impl Failure {
    /// A failure that says what was tried, then every cause, outermost first.
    pub fn caused(tried: impl Into<String>, cause: &dyn Error) -> Self {
        Self::Failed(in_words(tried, Some(cause)))
    }

    /// What the process ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Failed(_) | Self::Reported => 1,
            Self::Lost(_) => 3,
            Self::Broken(_) => 4,
            Self::Data(_) => 5,
            Self::Unread => 0,
        }
    }
}

/// What was tried, then every cause, outermost first, in one line.
pub fn in_words(tried: impl Into<String>, cause: Option<&dyn Error>) -> String {
    let mut line = tried.into();
    let mut next = cause;
    while let Some(cause) = next {
        // Writing to a string cannot fail.
        write!(line, ": {cause}").unwrap_or_default();
        next = cause.source();
    }
    line
}

/// Colours that mean the same in every command.
pub(super) mod paint {
    use super::{AnsiColor, Style};

    /// Table heads and titles.
    pub(crate) const HEAD: Style = Style::new().bold();
    /// What went well.
    pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
    /// What did not.
    pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
}

/// Where a command writes; decides about JSON and colours so that commands need not.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    format: Format,
    color: ColorChoice,
}

impl Console {
    /// A console over the process's stdout and stderr.
    pub fn new(format: Format, color: Color) -> Self {
        let color = match color {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::AlwaysAnsi,
            Color::Never => ColorChoice::Never,
        };
        Self { format, color }
    }

    /// Whether results are asked for as JSON.
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// The style in which events are shown here; [`Console::print`] takes colours out again
    /// where they are not wanted.
    pub fn style(&self) -> display::Style {
        match self.format {
            Format::Text => display::Style::Colored,
            Format::Json => display::Style::JsonLines,
        }
    }

    /// Whether log lines and progress on stderr are read by a person in colour.
    pub fn stderr_is_colored(&self) -> bool {
        let stderr = AutoStream::new(io::stderr(), self.color);
        stderr.current_choice() != ColorChoice::Never
    }

    /// Writes `text` to stdout as it is, whole, and flushes.
    ///
    /// # Errors
    ///
    /// [`Failure::Unread`] for a closed pipe, [`Failure::Failed`] for a full disk and the like.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = AutoStream::new(io::stdout().lock(), self.color);
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| match error
            .kind()
        {
            io::ErrorKind::BrokenPipe => Failure::Unread,
            _ => Failure::caused("cannot write to stdout", &error),
        })
    }

    /// Writes one JSON document to stdout, indented.
    ///
    /// # Errors
    ///
    /// As [`Console::print`].
    pub fn document(&self, document: &impl Serialize) -> Result<(), Failure> {
        let json = serde_json::to_string(document)
            .map_err(|error| Failure::caused("cannot write the result as JSON", &error))?;
        self.print(&format!("{}\n", display::indent_json(&json)))
    }

    /// Writes one line to stderr. That stderr is closed is nothing to stop for.
    pub fn note(&self, line: &str) {
        let mut stderr = AutoStream::new(io::stderr().lock(), self.color);
        writeln!(stderr, "{}", escape(line, false)).unwrap_or_default();
    }

    /// Says on stderr why the command failed, unless that has been said already.
    pub fn error(&self, failure: &Failure) {
        if matches!(failure, Failure::Reported | Failure::Unread) {
            return;
        }
        let mut stderr = AutoStream::new(io::stderr().lock(), self.color);
        let (bad, line) = (paint::BAD, failure.to_string());
        writeln!(stderr, "{bad}error:{bad:#} {}", escape(&line, false)).unwrap_or_default();
    }

    /// Whether a person sits at stdin and can be asked.
    pub fn is_asked(&self) -> bool {
        io::stdin().is_terminal()
    }

    /// Asks for a yes on stderr; anything else, the end of stdin included, is a no.
    ///
    /// # Errors
    ///
    /// [`Failure::Failed`] when stdin cannot be read.
    pub fn confirm(&self, question: &str) -> Result<bool, Failure> {
        let mut stderr = io::stderr().lock();
        write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush()).unwrap_or_default();
        let mut answer = String::new();
        io::stdin()
            .read_line(&mut answer)
            .map_err(|error| Failure::caused("cannot read stdin", &error))?;
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }
}

/// Lines of left-aligned columns, two spaces between them, under a bold head.
///
/// Cells are made safe for a terminal here.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let safe =
        |row: &Vec<String>| row.iter().map(|cell| escape(cell, false).into_owned()).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(safe).collect();
    let mut widths: Vec<usize> = head.iter().map(|name| name.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> =
            cells.zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let (bold, names) = (paint::HEAD, line(&mut head.iter().copied()));
    let mut text = format!("{bold}{names}{bold:#}\n");
    for row in &rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_without_spaces() {
        let rows = [vec!["1".into(), "é".into()], vec!["1000".into(), "a\u{1b}".into()]];
        let text = anstream::adapter::strip_str(&table(&["ID", "NAME"], &rows)).to_string();
        assert_eq!(text, "ID    NAME\n1     é\n1000  a\\u001b\n");
    }

    #[test]
    fn a_failure_names_every_cause_on_one_line() {
        let cause = io::Error::other(io::Error::other("disk is on fire"));
        let failure = Failure::caused("cannot write x", &cause);
        assert_eq!(failure.to_string(), "cannot write x: disk is on fire");
        assert_eq!(failure.exit_code(), 1);
        assert_eq!(Failure::Usage(String::new()).exit_code(), 2);
    }
}
