//! The command line: what every command takes, and which function runs it.

mod client;
mod crds;
mod dead_letters;
mod display;
mod explain;
mod input;
mod output;
mod send;

use std::{
    ffi::OsString, net::SocketAddr, num::NonZeroUsize, path::PathBuf, process::ExitCode,
    time::Duration,
};

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use tokio::runtime;

pub use crds::CrdsArgs;
pub use dead_letters::DeadLettersArgs;
pub use display::DisplayArgs;
pub use explain::ExplainArgs;
pub use output::{Color, Console, Failure, Format, in_words};
pub use send::{Mode, SendArgs};

const EXAMPLES: &str = "\
Examples:
  catchment serve                        a broker at /default/default, its events shown here
  catchment serve deploy/examples        brokers and triggers from a folder, followed as it changes
  catchment send --data '{\"msg\":\"Hello\"}'
  catchment explain deploy/examples/quickstart --event event.json
  catchment dead-letters list --trigger default/orders

Every command explains itself with --help.
Exit codes: 0 fine, 1 the thing asked for failed, 2 wrong usage.";

/// The whole program as clap sees it.
#[derive(Debug, Parser)]
#[command(
    name = "catchment",
    version,
    about = "A CloudEvents broker that speaks Knative Eventing's API"
)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Program {
    /// How results are written to stdout
    #[arg(long, global = true, value_enum, default_value_t, env = "CATCHMENT_OUTPUT")]
    output: Format,
    /// When to use colours; auto means on a terminal, unless NO_COLOR is set
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        env = "CATCHMENT_COLOR",
        value_name = "WHEN"
    )]
    color: Color,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run brokers and triggers from manifests
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(ServeArgs),
    /// Say everything that is wrong with manifests
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Send one event, or a file of them
    #[command(after_help = send::EXAMPLES)]
    Send(Box<SendArgs>),
    /// Be a subscriber that prints the events it gets
    #[command(after_help = display::EXAMPLES)]
    Display(DisplayArgs),
    /// Say which triggers want an event, and why the others do not
    #[command(after_help = explain::EXAMPLES)]
    Explain(ExplainArgs),
    /// List, show, redrive or purge events that could not be delivered
    #[command(after_help = dead_letters::EXAMPLES)]
    DeadLetters(DeadLettersArgs),
    /// Print the custom resource definitions that a cluster needs
    #[command(after_help = crds::EXAMPLES)]
    Crds(CrdsArgs),
    /// Print the completion script of a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell to complete in
        shell: clap_complete::Shell,
    },
}

const SERVE_EXAMPLES: &str = "\
Examples:
  catchment serve
  catchment serve deploy/examples/quickstart --listen 0.0.0.0:8080
  CATCHMENT_WORKERS=4 catchment serve manifests/ --config catchment.yaml
  catchment serve --kubernetes --config catchment.yaml

CATCHMENT_KAFKA_BOOTSTRAP_SERVERS and CATCHMENT_NATS_URL go over kafka.bootstrapServers and nats.url
of the configuration file.

One line on stdout says when it is ready; logs go to stderr. SIGTERM drains and ends.";

/// What `catchment serve` is told.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// Manifest files or folders, watched for changes; without one, the broker default/default
    /// runs and its events are shown in the terminal
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Follow a Kubernetes cluster in place of manifests: the one of the kubeconfig, or the one
    /// that this pod runs in
    #[arg(long, env = "CATCHMENT_KUBERNETES", conflicts_with = "paths")]
    pub kubernetes: bool,
    /// Where events are accepted [default: 127.0.0.1:8080]
    #[arg(long, env = "CATCHMENT_LISTEN", value_name = "IP:PORT", value_parser = parse_address)]
    pub listen: Option<SocketAddr>,
    /// Where health, metrics and the admin API are served [default: 127.0.0.1:8081]
    #[arg(long, env = "CATCHMENT_ADMIN", value_name = "IP:PORT", value_parser = parse_address)]
    pub admin: Option<SocketAddr>,
    /// Folder of everything that must survive a restart [default: ./catchment-data]
    #[arg(long, env = "CATCHMENT_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Worker threads that carry events [default: one per core]
    #[arg(long, env = "CATCHMENT_WORKERS", value_name = "N")]
    pub workers: Option<NonZeroUsize>,
    /// Which log lines are written to stderr, such as `debug` or `warn,broker=debug`
    #[arg(long, env = "CATCHMENT_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
    /// YAML file with limits and defaults
    #[arg(long, env = "CATCHMENT_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

const CHECK_EXAMPLES: &str = "\
Examples:
  catchment check deploy/examples
  catchment check broker.yaml triggers/ --output json";

/// What `catchment check` is told.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// Manifest files or folders
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
}

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  catchment completions bash > ~/.local/share/bash-completion/completions/catchment
  catchment completions zsh > ~/.zfunc/_catchment
  catchment completions fish > ~/.config/fish/completions/catchment.fish";

/// Runs the program with the arguments of a process, its own name first.
///
/// Returns 0 when what was asked for is done, 1 when it failed, 2 for wrong usage. Everything
/// there is to say has then been written to stdout and stderr.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let program = match Program::try_parse_from(args) {
        Ok(program) => program,
        Err(usage) => {
            // Help that nobody reads is no failure.
            usage.print().unwrap_or_default();
            return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2));
        }
    };
    let console = Console::new(program.output, program.color);
    match run(program.command, &console) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            console.error(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(command: Command, console: &Console) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => crate::serve::run(args, console),
        Command::Check(args) => crate::check::run(args, console),
        Command::Send(args) => on_one_thread(send::run(*args, console)),
        Command::Display(args) => on_one_thread(display::run(args, console)),
        Command::Explain(args) => on_one_thread(explain::run(args, console)),
        Command::DeadLetters(args) => on_one_thread(dead_letters::run(args, console)),
        Command::Crds(args) => crds::run(&args, console),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Program::command(), "catchment", &mut script);
            console.print(&String::from_utf8_lossy(&script))
        }
    }
}

/// Runs a client command on a runtime of its own.
///
/// A thread that still waits for stdin is left behind: the process is about to end.
fn on_one_thread(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::caused("cannot start", &error))?;
    let result = runtime.block_on(command);
    runtime.shutdown_background();
    result
}

/// An address to listen at; `localhost` stands for `127.0.0.1`.
fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let ip = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    ip.as_deref()
        .unwrap_or(text)
        .parse()
        .map_err(|_| "an IP address and a port are needed, such as 127.0.0.1:8080".to_owned())
}

/// A time span above zero such as `10s`, `500ms` or `PT10S`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration = text
        .parse()
        .map_err(|_| "a time span is needed, such as 10s, 500ms or PT10S".to_owned())?;
    match Duration::try_from(span) {
        Ok(span) if !span.is_zero() => Ok(span),
        _ => Err("must be longer than zero".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Program::command().debug_assert();
    }

    #[test]
    fn serve_leaves_to_the_configuration_what_nobody_says() {
        let program = Program::try_parse_from(["catchment", "serve"]).unwrap();
        let Command::Serve(args) = program.command else { panic!("not serve") };
        assert!(args.listen.is_none() && args.admin.is_none() && args.data.is_none());
        assert!(args.paths.is_empty() && args.workers.is_none() && args.config.is_none());
    }

    #[test]
    fn addresses_and_spans_are_read() {
        assert_eq!(parse_address("localhost:80").unwrap().to_string(), "127.0.0.1:80");
        assert!(parse_address("[::1]:80").is_ok());
        assert!(parse_address("8080").is_err());
        assert_eq!(parse_duration("1500ms").unwrap(), Duration::from_millis(1500));
        assert_eq!(parse_duration("PT2S").unwrap(), Duration::from_secs(2));
        assert!(parse_duration("-1s").is_err() && parse_duration("0s").is_err());
        assert!(parse_duration("soon").is_err());
    }
}
