//! Where resources come from: a folder, a cluster, or the program itself.

use std::{net::SocketAddr, sync::Arc};

use crate::{
    channels::Opener,
    cli::{Failure, ServeArgs},
    cluster::{Cluster, ObjectWatches, Reporter},
    config::Settings,
    control::Control,
    manifest::{self, Manifests, Snapshot},
};

/// What tells of resources and their changes.
#[derive(Debug)]
pub(super) enum Feed {
    /// Nobody: one broker whose events are shown in the terminal.
    BuiltIn,
    Manifests(Box<Manifests>),
    Cluster(Box<Cluster>),
}

impl Feed {
    /// The one that the command line asks for.
    pub(super) async fn open(args: &ServeArgs, settings: &Settings) -> Result<Self, Failure> {
        if args.kubernetes {
            let cluster = Cluster::open(&settings.kubernetes)
                .await
                .map_err(|error| Failure::caused("cannot follow a cluster", &error))?;
            return Ok(Self::Cluster(Box::new(cluster)));
        }
        if args.paths.is_empty() {
            return Ok(Self::BuiltIn);
        }
        let manifests =
            Manifests::open(&args.paths).map_err(|error| Failure::Failed(error.to_string()))?;
        Ok(Self::Manifests(Box::new(manifests)))
    }

    /// The first full set of resources, when it is known; why it is not yet is told in `control`. The
    /// admin side is at `admin`.
    pub(super) async fn first(&mut self, control: &Control, admin: SocketAddr) -> Snapshot {
        match self {
            Self::BuiltIn => built_in(admin),
            Self::Manifests(manifests) => manifests.current(),
            Self::Cluster(cluster) => {
                cluster.tell_troubles(Arc::clone(&control.troubles));
                cluster.next_change().await
            }
        }
    }

    /// The next change. Cancel safe.
    pub(super) async fn next_change(&mut self) -> Snapshot {
        match self {
            Self::BuiltIn => std::future::pending().await,
            Self::Manifests(manifests) => manifests.next_change().await,
            Self::Cluster(cluster) => cluster.next_change().await,
        }
    }

    /// What makes sources of the changes of a cluster, if there is one.
    pub(super) fn watches(&self) -> Option<ObjectWatches> {
        match self {
            Self::BuiltIn | Self::Manifests(_) => None,
            Self::Cluster(cluster) => Some(cluster.watches()),
        }
    }

    /// Whoever tells the cluster how its objects are, if there is one.
    pub(super) fn reporter(
        &self,
        control: &Arc<Control>,
        opener: Arc<dyn Opener>,
        settings: &Settings,
    ) -> Option<Reporter> {
        match self {
            Self::BuiltIn | Self::Manifests(_) => None,
            Self::Cluster(cluster) => {
                Some(Reporter::new(cluster, Arc::clone(control), opener, &settings.kubernetes))
            }
        }
    }
}

/// One broker whose events are shown in the terminal.
fn built_in(admin: SocketAddr) -> Snapshot {
    let text = format!(
        "apiVersion: eventing.knative.dev/v1\n\
         kind: Broker\n\
         metadata: {{name: default}}\n\
         ---\n\
         apiVersion: eventing.knative.dev/v1\n\
         kind: Trigger\n\
         metadata: {{name: display}}\n\
         spec:\n  broker: default\n  subscriber: {{uri: \"http://{admin}/display\"}}\n"
    );
    manifest::read("built-in", &text)
}
