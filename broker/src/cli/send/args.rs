//! What `catchment send` is told.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use channel::rules;
use clap::{Args, ValueEnum};
use http::Uri;

use super::super::parse_duration;

pub(in crate::cli) const EXAMPLES: &str = "\
Examples:
  catchment send --type greeting --data '{\"msg\":\"Hello\"}'
  catchment send http://127.0.0.1:8080/shop/orders --extension tenant=a --data-file order.json
  jq -c '.events[]' dump.json | catchment send --file - --concurrency 16 --rate 500
  catchment send --file events.ndjson --mode batched --batch-size 200 --output json

A file holds one event per line, in the CloudEvents JSON format. Nothing is tried twice. A line that
is no event is reported with its number and counts as refused; the others go on.";

/// What `catchment send` is told.
#[derive(Clone, Debug, Args)]
pub struct SendArgs {
    /// Where to post: a broker's address, or any sink of events
    #[arg(env = "CATCHMENT_URL", default_value = "http://127.0.0.1:8080/default/default")]
    #[arg(value_parser = parse_url)]
    pub url: Uri,
    /// How an event travels
    #[arg(long, value_enum, default_value_t)]
    pub mode: Mode,
    /// Longest time for one request, answer included
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = parse_duration)]
    pub timeout: Duration,

    /// Identifies the event together with its source [default: a random UUID]
    #[arg(long, help_heading = "One event", value_parser = parse_attribute)]
    pub id: Option<String>,
    /// What happened
    #[arg(long = "type", help_heading = "One event", default_value = "dev.catchment.event")]
    #[arg(value_name = "TYPE", value_parser = parse_attribute)]
    pub ty: String,
    /// Where it happened, a URI reference
    #[arg(long, help_heading = "One event", default_value = "urn:catchment:send")]
    #[arg(value_parser = parse_attribute)]
    pub source: String,
    /// What it happened to, within the source
    #[arg(long, help_heading = "One event", value_parser = parse_attribute)]
    pub subject: Option<String>,
    /// When it happened, RFC 3339 [default: now]
    #[arg(long, help_heading = "One event", value_parser = parse_time)]
    pub time: Option<String>,
    /// The payload
    #[arg(long, help_heading = "One event", value_name = "TEXT", conflicts_with = "data_file")]
    #[arg(allow_hyphen_values = true)]
    pub data: Option<String>,
    /// File with the payload; - or @- is stdin
    #[arg(long, help_heading = "One event", value_name = "FILE")]
    pub data_file: Option<PathBuf>,
    /// Media type of the payload [default: application/json if it parses as JSON, else text/plain,
    /// or application/octet-stream if it is not text]
    #[arg(long, help_heading = "One event", value_name = "TYPE", value_parser = parse_attribute)]
    pub content_type: Option<String>,
    /// A further attribute; may be repeated
    #[arg(long = "extension", help_heading = "One event", value_name = "NAME=VALUE")]
    #[arg(value_parser = parse_extension)]
    pub extensions: Vec<(String, String)>,

    /// File with one event per line; - is stdin
    #[arg(long, help_heading = "Many events", value_name = "FILE")]
    #[arg(conflicts_with_all = ["id", "ty", "source", "subject", "time", "data", "data_file", "content_type", "extensions"])]
    pub file: Option<PathBuf>,
    /// Requests under way at once; more than one gives up the file's order [default: 1]
    #[arg(long, help_heading = "Many events", value_name = "N", requires = "file")]
    #[arg(value_parser = parse_count)]
    pub concurrency: Option<NonZeroUsize>,
    /// Most events per second [default: no limit]
    #[arg(long, help_heading = "Many events", value_name = "R", requires = "file")]
    #[arg(value_parser = parse_rate)]
    pub rate: Option<f64>,
    /// Events per request with --mode batched [default: 100]
    #[arg(long, help_heading = "Many events", value_name = "N", requires = "file")]
    #[arg(value_parser = parse_count)]
    pub batch_size: Option<NonZeroUsize>,
}

/// The content modes of the HTTP binding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Attributes as headers, data as the body
    #[default]
    Binary,
    /// The whole event as JSON
    Structured,
    /// Several events as one JSON array
    Batched,
}

impl Mode {
    /// The word used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Structured => "structured",
            Self::Batched => "batched",
        }
    }
}

fn parse_url(text: &str) -> Result<Uri, String> {
    const WANTED: &str = "a URL is needed, such as http://127.0.0.1:8080/default/default";
    let uri: Uri = text.parse().map_err(|_| WANTED.to_owned())?;
    match uri.scheme_str() {
        Some("http") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(uri),
        Some("https") => Err("https is not supported here: use an http address".to_owned()),
        _ => Err(WANTED.to_owned()),
    }
}

/// Text that the specification allows in an attribute, and not empty.
fn parse_attribute(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("must not be empty".to_owned());
    }
    match text.chars().find(|c| c.is_control()) {
        Some(c) => Err(format!("must not contain the control character U+{:04X}", u32::from(c))),
        None => Ok(text.to_owned()),
    }
}

fn parse_time(text: &str) -> Result<String, String> {
    match text.parse::<jiff::Timestamp>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("a time with an offset is needed, such as 2026-01-31T12:00:00Z".to_owned()),
    }
}

fn parse_extension(text: &str) -> Result<(String, String), String> {
    const OWN_FLAG: [&str; 6] = ["id", "type", "source", "subject", "time", "datacontenttype"];
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is needed, such as tenant=a")?;
    rules::check_name(name).map_err(|invalid| invalid.to_string())?;
    if name == "specversion" {
        return Err("specversion is always 1.0".to_owned());
    }
    if OWN_FLAG.contains(&name) {
        return Err(format!("{name} has a flag of its own"));
    }
    Ok((name.to_owned(), parse_attribute(value)?))
}

fn parse_count(text: &str) -> Result<NonZeroUsize, String> {
    const MOST: usize = 10_000;
    match text.parse::<NonZeroUsize>() {
        Ok(count) if count.get() <= MOST => Ok(count),
        _ => Err(format!("a number from 1 to {MOST} is needed")),
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=10_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("a number of events per second is needed, from 0.001 to 10000000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http_urls_are_taken() {
        assert!(parse_url("http://[::1]:8080/a/b?c").is_ok());
        for url in ["https://x/", "localhost:8080/a", "/a/b", "http://", "ftp://x"] {
            assert!(parse_url(url).is_err(), "{url}");
        }
    }

    #[test]
    fn extensions_are_checked_by_name() {
        let (name, value) = parse_extension("tenant=a=b").unwrap();
        assert_eq!((name.as_str(), value.as_str()), ("tenant", "a=b"));
        for bad in ["tenant", "my-ext=a", "Ten=a", "=a", "data=a", "id=a", "specversion=1", "a="] {
            assert!(parse_extension(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_and_times_have_bounds() {
        assert!(
            parse_rate("0").is_err() && parse_rate("NaN").is_err() && parse_rate("inf").is_err()
        );
        assert!(parse_rate("0.5").is_ok());
        assert!(parse_count("0").is_err() && parse_count("10001").is_err());
        assert!(parse_time("2026-01-31T12:00:00+02:00").is_ok());
        assert!(parse_time("2026-01-31").is_err());
        assert!(parse_attribute("a\nb").is_err());
    }
}
