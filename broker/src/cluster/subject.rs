//! What a watch is about, and how the API server is asked for it.

use std::{fmt, time::Duration};

use channel::Name;
use kube::{
    Api, Client,
    core::{ApiResource, GroupVersionKind},
    discovery::oneshot,
};
use tokio::{sync::mpsc, time};
use tokio_util::sync::CancellationToken;

use super::{
    error::{in_words, is_not_found},
    kinds::{Followed, full_name},
    referred::KindKey,
    watch::{Change, News, Watched, follow},
};
use crate::manifest::Kind;

/// How often it is asked again for a kind that the cluster does not have.
const ABSENT_EVERY: Duration = Duration::from_secs(5);

/// What a watch is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    Ours(Kind),
    Referred(KindKey),
    ConfigMap(Name),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ours(kind) => match Followed::of(*kind) {
                Some(followed) => f.write_str(&followed.full_name()),
                None => f.write_str(kind.as_str()),
            },
            Self::Referred(key) => key.fmt(f),
            Self::ConfigMap(name) => write!(f, "ConfigMap {name}"),
        }
    }
}

impl Subject {
    /// Whether nothing can be done without it.
    pub(super) fn is_needed(&self) -> bool {
        match self {
            Self::Ours(kind) => Followed::of(*kind).is_some_and(|followed| followed.is_needed),
            Self::Referred(_) | Self::ConfigMap(_) => false,
        }
    }

    pub(super) fn log(&self, change: &Change) {
        match (self, change) {
            (_, Change::Failed(why)) => {
                tracing::error!(about = %self, %why, "the cluster cannot be followed: what is known goes on");
            }
            (Self::Ours(kind), Change::Absent) if self.is_needed() => {
                let resource = Followed::of(*kind).map(Followed::full_name).unwrap_or_default();
                tracing::error!(
                    %resource,
                    "the cluster does not have this kind: apply what `catchment crds` prints"
                );
            }
            (Self::Referred(key), Change::Absent) => {
                tracing::warn!(kind = %key, "a reference names a kind that the cluster does not have");
            }
            _ => {}
        }
    }
}

impl KindKey {
    pub(super) fn ours(followed: &Followed) -> Self {
        let resource = followed.resource();
        Self { group: resource.group, version: Some(resource.version), kind: resource.kind }
    }
}

/// Finds out how the API server knows a kind, tells `found`, and follows its objects until `stop` fires.
pub(super) async fn look_up(
    client: Client,
    key: KindKey,
    changes: mpsc::Sender<News<Subject>>,
    stop: CancellationToken,
    found: impl FnOnce(&ApiResource),
) {
    let from = Subject::Referred(key.clone());
    let kind = stop.run_until_cancelled(discover(&client, &key, &from, &changes)).await;
    let Some(kind) = kind.flatten() else { return };
    found(&kind);
    let (api, called) = (Api::all_with(client, &kind), full_name(&kind));
    follow(Watched { api, kind, called, only: None }, from, changes, stop).await;
}

/// How the API server knows a kind; asks until it knows it. `None` once nobody listens.
async fn discover(
    client: &Client,
    key: &KindKey,
    from: &Subject,
    changes: &mpsc::Sender<News<Subject>>,
) -> Option<ApiResource> {
    let mut told = None;
    loop {
        let found = match &key.version {
            Some(version) => {
                let kind = GroupVersionKind::gvk(&key.group, version, &key.kind);
                oneshot::pinned_kind(client, &kind).await.map(|(kind, _)| Some(kind))
            }
            None => oneshot::group(client, &key.group)
                .await
                .map(|group| group.recommended_kind(&key.kind).map(|(kind, _)| kind)),
        };
        let change = match found {
            Ok(Some(kind)) => return Some(kind),
            Ok(None) => Change::Absent,
            Err(error) if is_not_found(&error) || matches!(error, kube::Error::Discovery(_)) => {
                Change::Absent
            }
            Err(error) => Change::Failed(in_words(&format!("cannot look up {key}"), &error)),
        };
        let now = match &change {
            Change::Failed(why) => why.clone(),
            _ => String::new(),
        };
        if told.as_ref() != Some(&now) {
            told = Some(now);
            changes.send(News { from: from.clone(), change }).await.ok()?;
        }
        time::sleep(ABSENT_EVERY).await;
    }
}
