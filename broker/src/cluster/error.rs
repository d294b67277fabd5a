//! What can go wrong with a cluster, in words that name the verb and the resource.

/// Why the cluster cannot be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Neither a kubeconfig nor the account of a pod says where the API server is.
    #[error(
        "neither a kubeconfig (KUBECONFIG, ~/.kube/config) nor a pod's service account can be used: {0}"
    )]
    NotConfigured(String),
    /// What they say cannot be used.
    #[error("the configuration of the cluster cannot be used")]
    Unusable(#[source] kube::Error),
}

/// A failed request in one line, with what was to be done in front.
pub(super) fn in_words(doing: &str, error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{doing}: {}", status.message),
        other => {
            let mut text = format!("{doing}: {other}");
            let mut source = std::error::Error::source(other);
            while let Some(cause) = source {
                let cause_text = cause.to_string();
                if !text.contains(&cause_text) {
                    text.push_str(": ");
                    text.push_str(&cause_text);
                }
                source = cause.source();
            }
            text
        }
    }
}

/// Whether the server does not know the resource, or the object is not there.
pub(super) fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}
