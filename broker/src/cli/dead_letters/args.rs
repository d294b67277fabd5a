//! What `catchment dead-letters` is told, and which dead letters that selects.

use std::{str::FromStr, time::Duration};

use clap::{Args, Subcommand, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use url::Url;

use super::super::{output::Failure, parse_duration};

pub(in crate::cli) const EXAMPLES: &str = "\
Examples:
  catchment dead-letters list --trigger default/orders --since 1h
  catchment dead-letters show 42
  catchment dead-letters redrive 42 43
  catchment dead-letters redrive --trigger default/orders --reason refused
  catchment dead-letters purge --all --yes";

/// What `catchment dead-letters` is told.
#[derive(Clone, Debug, Args)]
pub struct DeadLettersArgs {
    /// The admin address of the running server
    #[arg(long, global = true, env = "CATCHMENT_ADMIN", default_value = "127.0.0.1:8081")]
    #[arg(value_name = "HOST:PORT", value_parser = parse_admin)]
    pub(super) admin: Url,
    /// Longest time for one request, answer included
    #[arg(long, global = true, value_name = "SPAN", default_value = "30s")]
    #[arg(value_parser = parse_duration)]
    pub(super) timeout: Duration,
    #[command(subcommand)]
    pub(super) action: Action,
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Action {
    /// List dead letters, oldest first
    List(ListArgs),
    /// Show one dead letter with every attempt and the whole event
    Show {
        /// The dead letter's id
        #[arg(value_parser = parse_id)]
        id: String,
    },
    /// Send dead letters again, each to the trigger or subscription that failed
    Redrive(SelectArgs),
    /// Drop dead letters for good
    Purge(PurgeArgs),
}

#[derive(Clone, Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    pub(super) filter: FilterArgs,
    /// Most dead letters to list
    #[arg(long, value_name = "N", default_value = "100")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(super) limit: u64,
    /// List those after this one
    #[arg(long, value_name = "ID", value_parser = parse_id)]
    pub(super) after: Option<String>,
}

#[derive(Clone, Debug, Args)]
pub(super) struct PurgeArgs {
    #[command(flatten)]
    pub(super) select: SelectArgs,
    /// Do not ask; only a terminal is asked
    #[arg(long, short)]
    pub(super) yes: bool,
}

#[derive(Clone, Debug, Args)]
pub(super) struct SelectArgs {
    /// Dead letters by id
    #[arg(value_name = "ID", value_parser = parse_id)]
    #[arg(conflicts_with_all = ["all", "trigger", "broker", "subscription", "channel", "reason", "since", "until"])]
    ids: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// All dead letters of all triggers and subscriptions
    #[arg(long, conflicts_with_all = ["trigger", "broker", "subscription", "channel", "reason", "since", "until"])]
    all: bool,
}

#[derive(Clone, Debug, Args)]
pub(super) struct FilterArgs {
    /// Only those of this trigger
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = parse_name)]
    trigger: Option<String>,
    /// Only those of this broker
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = parse_name)]
    broker: Option<String>,
    /// Only those of this subscription
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = parse_name)]
    subscription: Option<String>,
    /// Only those of this channel
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = parse_name)]
    channel: Option<String>,
    /// Only those that died of this
    #[arg(long, value_enum)]
    reason: Option<Reason>,
    /// Only those that died at this time or later: RFC 3339, or a span ago such as 90m
    #[arg(long, value_name = "TIME")]
    since: Option<When>,
    /// Only those that died before this time: RFC 3339, or a span ago such as 90m
    #[arg(long, value_name = "TIME")]
    until: Option<When>,
}

/// Why an event became a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Reason {
    /// Its attempts were used up
    Exhausted,
    /// The subscriber refused it for good
    Refused,
    /// It was older than the age limit
    Aged,
    /// Its trigger was over its share of the channel
    Overflow,
    /// A reply had been through too many brokers
    Loop,
    /// The reply could not be stored
    Reply,
}

/// A moment, or a span before now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum When {
    At(Timestamp),
    Ago(SignedDuration),
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        match text.parse::<SignedDuration>() {
            Ok(span) if !span.is_negative() => Ok(Self::Ago(span)),
            _ => Err("a time such as 2026-01-31T12:00:00Z or a span such as 90m is needed".into()),
        }
    }
}

/// Filters as the admin API names them, in a fixed order.
pub(super) type Filter = Vec<(&'static str, String)>;

/// Which dead letters to act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Select {
    /// These and no others.
    Ids(Vec<String>),
    /// Those that pass; an empty filter stands for all.
    Filter(Filter),
}

impl FilterArgs {
    /// The filters that were given, spans counted back from `now`.
    pub(super) fn resolve(self, now: Timestamp) -> Result<Filter, Failure> {
        let moment = |when: When| match when {
            When::At(at) => Ok(at.to_string()),
            When::Ago(span) => now
                .checked_sub(span)
                .map(|at| at.to_string())
                .map_err(|_| Failure::Usage(format!("{span:#} ago is before all time"))),
        };
        let reason = self
            .reason
            .and_then(|reason| reason.to_possible_value().map(|value| value.get_name().to_owned()));
        let filters = [
            ("trigger", self.trigger),
            ("broker", self.broker),
            ("subscription", self.subscription),
            ("channel", self.channel),
            ("reason", reason),
            ("since", self.since.map(moment).transpose()?),
            ("until", self.until.map(moment).transpose()?),
        ];
        Ok(filters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }
}

impl SelectArgs {
    /// The selection; refused when nothing says what to select, so that `purge` alone cannot
    /// mean everything.
    pub(super) fn resolve(self, now: Timestamp) -> Result<Select, Failure> {
        if !self.ids.is_empty() {
            return Ok(Select::Ids(self.ids));
        }
        let filter = self.filter.resolve(now)?;
        if filter.is_empty() && !self.all {
            let missing = "say which dead letters: ids, a filter such as --trigger, or --all";
            return Err(Failure::Usage(missing.to_owned()));
        }
        Ok(Select::Filter(filter))
    }
}

pub(in crate::cli) fn parse_admin(text: &str) -> Result<Url, String> {
    let wanted = || "HOST:PORT is needed, such as 127.0.0.1:8081".to_owned();
    let address = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let url = Url::parse(&format!("http://{address}")).map_err(|_| wanted())?;
    let is_plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if is_plain && url.username().is_empty() { Ok(url) } else { Err(wanted()) }
}

pub(in crate::cli) fn parse_name(text: &str) -> Result<String, String> {
    match text.split_once('/') {
        Some((namespace, name))
            if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
        {
            Ok(text.to_owned())
        }
        _ => Err("NAMESPACE/NAME is needed, such as default/orders".to_owned()),
    }
}

/// Ids travel in paths: dots alone would change the path.
fn parse_id(text: &str) -> Result<String, String> {
    if text.is_empty() || text.chars().all(|c| c == '.') {
        return Err("an id as dead-letters list shows it is needed".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        select: SelectArgs,
    }

    fn select(flags: &[&str]) -> Result<Select, Failure> {
        let line = Line::try_parse_from([&["redrive"], flags].concat())
            .map_err(|error| Failure::Usage(error.to_string()))?;
        line.select.resolve("2026-01-31T12:00:00Z".parse().unwrap())
    }

    #[test]
    fn a_selection_is_ids_or_filters_or_all() {
        assert_eq!(select(&["1", "2"]).unwrap(), Select::Ids(vec!["1".into(), "2".into()]));
        assert_eq!(select(&["--all"]).unwrap(), Select::Filter(Vec::new()));
        let filters = ["--trigger", "a/b", "--reason", "aged", "--since", "90m"];
        assert_eq!(
            select(&filters).unwrap(),
            Select::Filter(vec![
                ("trigger", "a/b".into()),
                ("reason", "aged".into()),
                ("since", "2026-01-31T10:30:00Z".into()),
            ])
        );
    }

    #[test]
    fn a_selection_that_is_unclear_is_wrong_usage() {
        let cases: [&[&str]; 7] = [
            &[],
            &["1", "--all"],
            &["1", "--trigger", "a/b"],
            &["--all", "--reason", "aged"],
            &["--trigger", "a"],
            &["--since", "yesterday"],
            &["--reason", "bored"],
        ];
        for flags in cases {
            assert_eq!(select(flags).unwrap_err().exit_code(), 2, "{flags:?}");
        }
    }

    #[test]
    fn an_admin_address_may_be_written_as_a_url() {
        for text in ["127.0.0.1:8081", "http://127.0.0.1:8081", "http://127.0.0.1:8081/"] {
            assert_eq!(parse_admin(text).unwrap().as_str(), "http://127.0.0.1:8081/");
        }
        for text in ["", "https://a", "a/b", "a b", "user@a:1"] {
            assert!(parse_admin(text).is_err(), "{text}");
        }
    }
}
