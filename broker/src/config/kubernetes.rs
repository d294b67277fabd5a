//! How a cluster is told of what runs here: the `kubernetes` section of the file.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::file::Span;

/// The Lease by which several processes agree on who reports, when nobody says.
pub(super) const LEASE: &str = "catchment";

/// How long a deleted object waits for what it has on a server, when nobody says.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(600);

/// How a cluster is told of what runs here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesSettings {
    /// What addresses of brokers begin with, without a slash at its end. Default: the Service
    /// `catchment-ingress` of this process's namespace.
    pub ingress_url: Option<String>,
    /// Name of the Lease in this process's namespace. Default `catchment`.
    pub lease: String,
    /// Whether channels and Subscriptions are followed too. Default true. To be false where Knative's own
    /// controllers of them run: nothing in a channel says whose it is.
    pub messaging: bool,
    /// How long a deleted object waits for what it has on a server that cannot be reached. Default 10 min.
    pub cleanup_timeout: Duration,
    /// Whether sources are followed too. Default true. To be false where Knative's own controllers of
    /// them run: each would make the same events.
    pub sources: bool,
}

impl Default for KubernetesSettings {
    fn default() -> Self {
        Self {
            ingress_url: None,
            lease: LEASE.to_owned(),
            messaging: true,
            sources: true,
            cleanup_timeout: CLEANUP_TIMEOUT,
        }
    }
}

impl KubernetesSettings {
    /// Adds everything that cannot be used to `problems`.
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        if self.ingress_url.as_deref().is_some_and(|url| !is_base(url)) {
            problems.push(
                "kubernetes.ingressUrl: must be an http or https URL without slash, query or fragment at its end"
                    .to_owned(),
            );
        }
        if self.lease.is_empty() {
            problems.push("kubernetes.lease: must not be empty".to_owned());
        }
    }
}

/// Whether a text can stand before a path.
pub(super) fn is_base(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && !text.ends_with('/')
    })
}

/// The section as written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Kubernetes {
    pub(super) ingress_url: Option<String>,
    pub(super) lease: Option<String>,
    pub(super) messaging: Option<bool>,
    pub(super) cleanup_timeout: Option<Span>,
    pub(super) sources: Option<bool>,
}
