//! What `catchment explain` is told.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use url::Url;

use super::super::{
    dead_letters::{parse_admin, parse_name},
    parse_duration,
};

pub(in crate::cli) const EXAMPLES: &str = "\
Examples:
  catchment explain deploy/examples/quickstart --event event.json
  echo '{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"greeting\"}' |
    catchment explain manifests/ --event - --trigger default/greetings
  catchment explain --event event.json --broker shop/orders --output json

The event is a file in the CloudEvents JSON format. With paths nothing is sent anywhere and no server
is asked; without, the running server explains what it would do. The exit code is 0 whether or not a
trigger wants the event, and 1 when something in the manifests or the event is wrong.";

/// What `catchment explain` is told.
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// Manifest files or folders; without one, the running server is asked
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// File with the event in the CloudEvents JSON format; - is stdin
    #[arg(long, value_name = "FILE")]
    pub event: PathBuf,
    /// Only the triggers of this broker [default: all in the manifests; default/default, or the only
    /// one, of a server]
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = parse_name)]
    pub broker: Option<String>,
    /// Only this trigger
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = parse_name)]
    pub trigger: Option<String>,
    /// The admin address of the running server, asked when there is no PATH
    #[arg(long, env = "CATCHMENT_ADMIN", default_value = "127.0.0.1:8081")]
    #[arg(value_name = "HOST:PORT", value_parser = parse_admin)]
    pub admin: Url,
    /// Longest time for the server's answer
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = parse_duration)]
    pub timeout: Duration,
}
