//! How a broker's stream and consumer are made, with a default for everything.

use std::time::Duration;

/// Where a stream is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// On the servers' disks.
    File,
    /// In the servers' memory: gone when they are.
    Memory,
}

/// A broker's stream and consumer. Whoever fills it in has checked it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatsPlan {
    /// The stream's name, in place of one made of the broker's.
    pub stream_name: Option<String>,
    /// Further subjects that the stream keeps.
    pub additional_subjects: Vec<String>,
    /// Most messages of the stream.
    pub messages_max: Option<u64>,
    /// Most bytes of the stream.
    pub bytes_max: Option<u64>,
    /// Most bytes of a message.
    pub message_bytes_max: Option<u64>,
    /// Where it is kept.
    pub storage: Storage,
    /// Servers that keep it.
    pub replicas: usize,
    /// How long ids are remembered, so that what is sent twice is stored once.
    pub duplicate_window: Duration,
    /// Which servers may keep it.
    pub placement: Option<Placement>,
    /// How long settled events are kept.
    pub retention: Retention,
    /// How long a message is lent without a sign of life.
    pub ack_wait: Duration,
    /// Most messages that are lent.
    pub unacked_max: u64,
}

/// Which servers may keep a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// The cluster that keeps the stream.
    pub cluster: Option<String>,
    /// Tags that its servers have.
    pub tags: Vec<String>,
}

/// How long settled events are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// No longer than this,
    pub age: Duration,
    /// and no more bytes than this.
    pub bytes: u64,
}

/// Most bytes of a stream when the plan says nothing: the server sets them aside.
const BYTES_MAX: u64 = 2 << 30;
const RETENTION: Retention = Retention { age: Duration::from_secs(24 * 3600), bytes: 1 << 30 };
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
const ACK_WAIT: Duration = Duration::from_secs(30);
const UNACKED_MAX: u64 = 10_000;

impl Default for NatsPlan {
    /// A stream of 2 GiB in files, one replica, a window of 2 minutes for duplicates; settled events
    /// are kept for 24 hours and within 1 GiB; 30 s without a sign of life until a message is lent
    /// again, 10,000 of them out at once.
    fn default() -> Self {
        Self {
            stream_name: None,
            additional_subjects: Vec::new(),
            messages_max: None,
            bytes_max: Some(BYTES_MAX),
            message_bytes_max: None,
            storage: Storage::File,
            replicas: 1,
            duplicate_window: DUPLICATE_WINDOW,
            placement: None,
            retention: RETENTION,
            ack_wait: ACK_WAIT,
            unacked_max: UNACKED_MAX,
        }
    }
}
