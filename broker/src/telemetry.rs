//! What the program says about itself on stderr: log lines, error chains, panics.

use std::{
    error::Error,
    fmt,
    io::{self, IsTerminal as _},
    panic::{self, PanicHookInfo},
};

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, filter::ParseError, fmt::MakeWriter, util::SubscriberInitExt as _,
};

/// The filter when nobody gives one.
pub const FILTER_DEFAULT: &str = "info";

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error("log filter {filter:?} must look like info or warn,broker=debug")]
    Filter {
        /// The filter as given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// The process has another log already.
    #[error("the log is set up already")]
    SetTwice,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// For people, with colours or without.
    Text { is_colored: bool },
    /// One JSON object a line.
    Json,
}

/// Sends log lines that pass `filter` to stderr from here on, panics among them: as text when
/// stderr is a terminal, as JSON otherwise.
///
/// `filter` is what `--log` or `CATCHMENT_LOG` say, such as `info` or `warn,broker=debug`.
///
/// # Errors
///
/// [`TelemetryError`]; then nothing has changed.
pub fn init(filter: &str, is_colored: bool) -> Result<(), TelemetryError> {
    let look = if io::stderr().is_terminal() { Look::Text { is_colored } } else { Look::Json };
    let subscriber = subscriber(filter, look, io::stderr)?;
    subscriber.try_init().map_err(|_| TelemetryError::SetTwice)?;
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn subscriber<W>(
    filter: &str,
    look: Look,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // What they say is said again by whoever asked, in fewer words and once.
    let quiet = format!("kube_client=off,kube_runtime=off,{filter}");
    let filter = EnvFilter::builder()
        .parse(quiet)
        .map_err(|source| TelemetryError::Filter { filter: filter.to_owned(), source })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    Ok(match look {
        Look::Text { is_colored } => Box::new(builder.with_ansi(is_colored).finish()),
        Look::Json => Box::new(builder.json().flatten_event(true).with_span_list(false).finish()),
    })
}

/// An error and everything that caused it, on one line: `cannot listen: address in use`.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut error = self.0;
        while let Some(source) = error.source() {
            write!(f, ": {source}")?;
            error = source;
        }
        Ok(())
    }
}

/// A panic is a bug of ours: it is said once, where all else is said.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    let location = panic.location().map(ToString::to_string);
    let thread = std::thread::current();
    tracing::error!(
        thread = thread.name(),
        location,
        panic = message,
        "a bug: a task of this program panicked"
    );
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written while `say` runs.
    fn said(filter: &str, look: Look, say: impl FnOnce()) -> String {
        let paper = Paper::default();
        let writer = paper.clone();
        let subscriber = subscriber(filter, look, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, say);
        let bytes = paper.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_json_line_has_its_fields_at_the_top() {
        let line = said("info", Look::Json, || {
            tracing::info!(broker = "default/default", "broker is open");
            tracing::debug!("not this");
        });
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(json["message"], "broker is open");
        assert_eq!(json["broker"], "default/default");
        assert_eq!(json["level"], "INFO");
        assert!(json["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn text_has_colours_only_when_they_are_wanted() {
        let say = || tracing::warn!(count = 1, "look here");
        let plain = said("info", Look::Text { is_colored: false }, say);
        assert!(plain.contains("WARN") && plain.contains("look here count=1"), "{plain}");
        assert!(!plain.contains('\u{1b}'));
        assert!(said("info", Look::Text { is_colored: true }, say).contains('\u{1b}'));
    }

    #[test]
    fn a_bad_filter_is_named() {
        let Err(error) = subscriber("broker=loud", Look::Json, io::sink) else { panic!("taken") };
        let text = Chain(&error).to_string();
        assert!(text.starts_with("log filter \"broker=loud\" must look like"), "{text}");
    }

    #[test]
    fn a_chain_names_every_cause() {
        let Err(filter) = subscriber("a=b=c", Look::Json, io::sink) else { panic!("taken") };
        let text = Chain(&filter).to_string();
        let cause = filter.source().unwrap().to_string();
        assert!(text.starts_with("log filter") && text.ends_with(&format!(": {cause}")), "{text}");
    }
}
