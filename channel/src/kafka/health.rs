//! What the clients say about the connection -> whether the cluster can be reached.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use serde::Deserialize;

use super::error::is_refusal;

/// The connection as the log's consumer sees it: it is always connected when it can be, while a producer
/// with nothing to say is not.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Why no broker can be reached.
    down: Option<String>,
    /// The last thing that went wrong with one broker.
    last: Option<String>,
    /// The cluster does not let us in.
    refused: Option<String>,
    /// The producer has ended for ever, and another is on its way.
    fatal: Option<String>,
    /// The topic is gone.
    missing: Option<String>,
    /// Connected, and nothing is answered.
    silent: Option<String>,
    /// Answers counted so far, and for how many counts they have been as many.
    answers: (u64, u32),
}

/// Counts without an answer until the cluster is taken to be silent: they come every 2 s, and what a
/// consumer asks is answered at least every 3 s.
const SILENT_COUNTS: u32 = 4;

impl Health {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of what a client reports. Returns whether all brokers have just become unreachable.
    pub(super) fn error(&self, error: &KafkaError, reason: &str) -> bool {
        let mut state = self.lock();
        match error.rdkafka_error_code() {
            Some(Code::AllBrokersDown) => {
                let why = state.last.clone().unwrap_or_else(|| reason.to_owned());
                state.down.replace(why).is_none()
            }
            Some(code) if is_refusal(code) => {
                state.refused = Some(one_line(reason));
                state.last = Some(one_line(reason));
                false
            }
            Some(Code::BrokerTransportFailure | Code::Resolve | Code::SSL) => {
                state.last = Some(one_line(reason));
                false
            }
            _ => false,
        }
    }

    /// A broker has answered. Returns whether none did before.
    pub(super) fn up(&self) -> bool {
        let mut state = self.lock();
        state.refused = None;
        state.last = None;
        state.down.take().is_some()
    }

    /// Takes note of what the client counts: whether a broker is connected, and answers. Returns whether
    /// none did before.
    pub(super) fn counted(&self, statistics: &Statistics) -> bool {
        if !statistics.brokers.values().any(|broker| broker.state == "UP") {
            return false;
        }
        let answers = statistics.brokers.values().map(|broker| broker.rx).sum();
        let mut state = self.lock();
        let (before, counts) = state.answers;
        state.answers = if answers == before { (before, counts + 1) } else { (answers, 0) };
        if state.answers.1 >= SILENT_COUNTS {
            state.silent = Some("connected, but no question is answered".into());
            return false;
        }
        let was_silent = state.answers.1 == 0 && state.silent.take().is_some();
        drop(state);
        self.up() || was_silent
    }

    pub(super) fn set_fatal(&self, fatal: Option<String>) {
        self.lock().fatal = fatal;
    }

    pub(super) fn set_missing(&self, missing: Option<String>) {
        self.lock().missing = missing;
    }

    /// Why the cluster cannot be reached now.
    pub(super) fn check(&self) -> Result<(), String> {
        let state = self.lock();
        let State { fatal, down, missing, silent, .. } = &*state;
        match fatal.as_ref().or(down.as_ref()).or(missing.as_ref()).or(silent.as_ref()) {
            Some(reason) => Err(reason.clone()),
            None => Ok(()),
        }
    }

    /// Why the cluster does not let us in.
    pub(super) fn refused(&self) -> Option<String> {
        self.lock().refused.clone()
    }

    /// The last thing that went wrong.
    pub(super) fn last(&self) -> Option<String> {
        self.lock().last.clone()
    }
}

/// What is read of librdkafka's statistics.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Statistics {
    brokers: HashMap<String, Broker>,
    topics: HashMap<String, Topic>,
}

#[derive(Deserialize)]
struct Broker {
    state: String,
    /// Answers received.
    #[serde(default)]
    rx: u64,
}

#[derive(Deserialize)]
struct Topic {
    partitions: HashMap<String, Counted>,
}

#[derive(Deserialize)]
struct Counted {
    partition: i32,
    hi_offset: i64,
}

impl Statistics {
    /// What was counted, or nothing where it is not understood.
    pub(super) fn read(json: &[u8]) -> Self {
        serde_json::from_slice(json).unwrap_or_default()
    }

    /// How long the log of each partition of a topic is; those of which it is not known left out.
    pub(super) fn ends(&self, topic: &str) -> impl Iterator<Item = (i32, i64)> {
        let partitions = self.topics.get(topic).into_iter().flat_map(|topic| &topic.partitions);
        let ends = partitions.map(|(_, counted)| (counted.partition, counted.hi_offset));
        ends.filter(|(partition, end)| *partition >= 0 && *end >= 0)
    }
}

/// Reasons of librdkafka end in remarks about how often and when.
fn one_line(reason: &str) -> String {
    let reason = reason.split(" (after ").next().unwrap_or_default();
    reason.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_connection() {
        let health = Health::default();
        let lost = KafkaError::Global(Code::BrokerTransportFailure);
        assert!(!health.error(&lost, "k:9092: Connection refused (after 1ms in state CONNECT)"));
        assert_eq!(health.check(), Ok(()), "another broker may be there");
        let all = KafkaError::Global(Code::AllBrokersDown);
        assert!(health.error(&all, "1/1 brokers are down"));
        assert!(!health.error(&all, "1/1 brokers are down"), "it is told once");
        assert_eq!(health.check(), Err("k:9092: Connection refused".into()));
        let counted = |json: &[u8]| health.counted(&Statistics::read(json));
        assert!(!counted(br#"{"brokers":{"a":{"state":"CONNECT"}}}"#));
        assert!(!counted(b"no json"));
        assert!(health.check().is_err());
        assert!(counted(br#"{"brokers":{"a":{"state":"INIT"},"b":{"state":"UP"}}}"#));
        assert_eq!(health.check(), Ok(()));
    }

    #[test]
    fn a_cluster_that_stands_still_is_noticed_and_so_is_its_return() {
        let health = Health::default();
        let counted = |answers: u64| {
            let json = format!(r#"{{"brokers":{{"a":{{"state":"UP","rx":{answers}}}}}}}"#);
            health.counted(&Statistics::read(json.as_bytes()));
            health.check().is_ok()
        };
        assert!(counted(1) && counted(1) && counted(2));
        assert!(counted(2) && counted(2) && counted(2) && !counted(2) && !counted(2));
        assert!(counted(3) && counted(3));
    }

    #[test]
    fn the_length_of_logs_is_read() {
        let json = br#"{"brokers":{},"topics":{"t":{"partitions":{
            "0":{"partition":0,"hi_offset":7},"-1":{"partition":-1,"hi_offset":9},
            "1":{"partition":1,"hi_offset":-1001}}}}}"#;
        let found = Statistics::read(json);
        assert_eq!(found.ends("t").collect::<Vec<_>>(), [(0, 7)]);
        assert_eq!(found.ends("other").count(), 0);
    }

    #[test]
    fn a_refusal_is_remembered_until_we_are_let_in() {
        let health = Health::default();
        let error = KafkaError::Global(Code::Authentication);
        health.error(&error, "k:9092: SASL authentication error: no (after 3ms in state AUTH_REQ)");
        assert_eq!(health.refused().as_deref(), Some("k:9092: SASL authentication error: no"));
        health.up();
        assert_eq!(health.refused(), None);
    }
}
