//! Why a channel over Kafka cannot be opened.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// A channel that cannot be opened now. Nothing runs; opening may be tried again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The settings cannot be: somebody must change them.
    #[error("kafka settings: {0}")]
    Settings(String),
    /// No node of the cluster answers.
    #[error("kafka at {servers} cannot be reached: {reason}")]
    Unreachable {
        /// Who was asked.
        servers: String,
        /// What came of it.
        reason: String,
    },
    /// The cluster does not believe that we are who we say, or does not let us.
    #[error("kafka at {servers} refuses us: {reason}")]
    Refused {
        /// Who was asked.
        servers: String,
        /// What it said.
        reason: String,
    },
    /// A topic is there and is not as the plan says, or cannot be made.
    #[error("kafka topic {topic}: {reason}")]
    Topic {
        /// Its name.
        topic: String,
        /// What is different, or why it cannot be made.
        reason: String,
    },
    /// Something of a broker that is gone cannot be deleted.
    #[error("kafka at {servers}: {what} cannot be deleted: {reason}")]
    NotErased {
        /// Who was asked.
        servers: String,
        /// The topic or the group.
        what: String,
        /// What the cluster said.
        reason: String,
    },
    /// Something else went wrong.
    #[error("kafka: {doing}: {reason}")]
    Failed {
        /// What was tried.
        doing: &'static str,
        /// What came of it.
        reason: String,
    },
}

/// What an error of the client library says, without its own frame around it.
pub(super) fn words(error: &KafkaError) -> String {
    match error.rdkafka_error_code() {
        Some(code) => code.to_string(),
        None => error.to_string(),
    }
}

/// Whether an error says that we may not do something.
pub(super) fn is_refusal(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
    )
}
