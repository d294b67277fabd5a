//! Settings of the process: flags and environment over the configuration file over the defaults.

mod channels;
mod file;
mod kafka;
mod kubernetes;
mod nats;
mod outside;
mod quantity;
mod secret;
mod system;
mod tls;

use std::{ffi::OsString, net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use channel::MemoryLimits;
use dispatcher::{DeadLetterLimits, http::ClientSettings};

pub(crate) use channels::disk_too_small;
pub use channels::{CHANNEL_DEFAULT, DiskSettings, OverflowSettings};
pub use file::ConfigError;
pub use kafka::{KafkaSettings, Properties, SaslMechanism, SaslSettings};
pub use kubernetes::KubernetesSettings;
pub use nats::NatsSettings;
pub use outside::{KAFKA_SERVERS_ENV, NATS_URL_ENV};
pub use quantity::Bytes;
pub use secret::{Secret, SecretSource};
pub use system::allow_many_files;
pub use tls::TlsSettings;

use crate::{cli::ServeArgs, ingress, spec::ChannelKind};

/// Where events are accepted when nobody says.
pub const LISTEN: &str = "127.0.0.1:8080";

/// Where the admin side is served when nobody says.
pub const ADMIN: &str = "127.0.0.1:8081";

/// File descriptors that are kept for other things than the connections of clients.
const OTHER_FILES: u64 = 64;

/// A secret that a manifest asks for, of a file or an environment variable.
///
/// # Errors
///
/// Why there is none, in words.
pub fn read_secret(file: Option<&str>, env: Option<&str>) -> Result<Secret, String> {
    let source = SecretSource { file: file.map(PathBuf::from), env: env.map(str::to_owned) };
    let found = source.read("", &|name| std::env::var_os(name))?;
    found.ok_or_else(|| "names neither a file nor an environment variable".to_owned())
}

/// Looks an environment variable up.
type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Everything that the process goes by, complete.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where events are accepted.
    pub listen: SocketAddr,
    /// Where health, metrics and the admin API are served.
    pub admin: SocketAddr,
    /// The folder for everything that must survive a restart.
    pub data: PathBuf,
    /// Worker threads.
    pub workers: usize,
    /// Where the way in is reached from outside, without a slash at its end: what GitHub is told to call.
    pub public_url: Option<String>,
    /// Bounds of the way in.
    pub ingress: ingress::Limits,
    /// Bounds of memory channels.
    pub memory: MemorySettings,
    /// The channel of brokers that ask for none. Default [`CHANNEL_DEFAULT`].
    pub channel_default: ChannelKind,
    /// Bounds of disk channels.
    pub disk: DiskSettings,
    /// How Kafka is reached.
    pub kafka: KafkaSettings,
    /// How NATS is reached.
    pub nats: NatsSettings,
    /// How a cluster is told of what runs here.
    pub kubernetes: KubernetesSettings,
    /// Bounds of what waits for one trigger, where that outlives the process.
    pub overflow: OverflowSettings,
    /// What holds for all deliveries.
    pub delivery: dispatcher::Settings,
    /// What holds for connections to subscribers; per worker.
    pub client: ClientSettings,
    /// Bounds of each broker's dead letters.
    pub dead_letters: DeadLetterLimits,
    /// How the process ends.
    pub drain: Drain,
}

/// Bounds of memory channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemorySettings {
    /// Bounds of each channel.
    pub limits: MemoryLimits,
    /// Bytes that the events of one broker may take, wherever they wait. Default 256 MiB or 40 % of
    /// the memory that the process may use, whichever is less.
    pub bytes_max: usize,
    /// Bytes that all events of the process may take. Default 512 MiB or half of the memory that
    /// the process may use, whichever is less.
    pub total_bytes_max: usize,
    /// Share of a channel that the waiting events of one trigger may take, in percent. Default 25.
    pub trigger_share_percent: u8,
}

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// How long events are still accepted after the process was asked to end, so that load balancers
    /// notice. Default: 5 s in a cluster, else none.
    pub lag: Duration,
    /// How long events in hand may take to reach their end. Default 25 s.
    pub timeout: Duration,
}

impl Settings {
    /// Where the server of channels of this kind is, if they have one and it is set.
    pub fn server_of(&self, kind: ChannelKind) -> Option<&str> {
        match kind {
            ChannelKind::Memory | ChannelKind::Disk => None,
            ChannelKind::Kafka => self.kafka.bootstrap_servers.as_deref(),
            ChannelKind::Nats => self.nats.url.as_deref(),
        }
    }

    /// Puts the settings together.
    ///
    /// # Errors
    ///
    /// When the configuration file cannot be read or says something that cannot be used, or a secret
    /// that it names cannot be had.
    pub fn new(args: &ServeArgs) -> Result<Self, ConfigError> {
        let file = match &args.config {
            Some(path) => file::read(path)?,
            None => file::File::default(),
        };
        let mut settings = Self::defaults();
        file.apply(&mut settings, args.config.as_deref())?;
        outside::apply(&mut settings, args.config.as_deref(), &|name| std::env::var_os(name))?;
        if let Some(listen) = args.listen {
            settings.listen = listen;
        }
        if let Some(admin) = args.admin {
            settings.admin = admin;
        }
        if let Some(data) = &args.data {
            settings.data.clone_from(data);
        }
        if let Some(workers) = args.workers {
            settings.workers = workers.get();
        }
        // A client of each worker: together they keep to the bound.
        let per_host = &mut settings.client.connections_per_host;
        *per_host = per_host.div_ceil(settings.workers.max(1));
        Ok(settings)
    }

    fn defaults() -> Self {
        let memory = system::memory_limit();
        let files = system::files_limit();
        let defaults = ingress::Limits::default();
        let connections = files.saturating_sub(OTHER_FILES) / 2;
        let connections_max = usize::try_from(connections).unwrap_or(usize::MAX);
        let ingress = ingress::Limits {
            connections_max: defaults.connections_max.min(connections_max.max(1)),
            ..defaults
        };
        let dead_letters = DeadLetterLimits::default();
        let bytes_max = part(memory, 40).min(256 << 20);
        Self {
            listen: ([127, 0, 0, 1], 8080).into(),
            admin: ([127, 0, 0, 1], 8081).into(),
            data: PathBuf::from("./catchment-data"),
            workers: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            public_url: None,
            ingress,
            memory: MemorySettings {
                limits: MemoryLimits::default(),
                bytes_max,
                total_bytes_max: part(memory, 50).min(512 << 20),
                trigger_share_percent: 25,
            },
            channel_default: CHANNEL_DEFAULT,
            disk: DiskSettings::default(),
            kafka: KafkaSettings::default(),
            nats: NatsSettings::default(),
            kubernetes: KubernetesSettings::default(),
            overflow: OverflowSettings::default(),
            delivery: dispatcher::Settings::default(),
            client: ClientSettings::default(),
            dead_letters: DeadLetterLimits {
                bytes_max: dead_letters.bytes_max.min(bytes_max / 2),
                ..dead_letters
            },
            drain: Drain { lag: drain_lag(), timeout: Duration::from_secs(25) },
        }
    }
}

/// In a cluster, endpoints are told of a pod's end some time after the pod.
fn drain_lag() -> Duration {
    let is_in_cluster = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    Duration::from_secs(if is_in_cluster { 5 } else { 0 })
}

/// So many percent of the memory, or all there can be when it has no limit.
fn part(memory: Option<u64>, percent: u64) -> usize {
    memory.map_or(usize::MAX, |bytes| usize::try_from(bytes / 100 * percent).unwrap_or(usize::MAX))
}
