//! The program's part of a cluster, against a real API server.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and what did not run is said on stdout"
)]

mod accepted;
mod bound;
mod changed;
mod channels;
mod cleaned;
mod columns;
mod contained;
mod definitions;
mod followed;
mod install;
mod joined;
mod killed;
mod kn;
mod narrow;
mod odd;
mod refused;
mod reported;
mod scale;
mod secrets;
mod sources;
mod unbound;
mod watched;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use harness::say_not_run;
use harness::servers::kubernetes::Kubernetes;
use tokio::sync::OnceCell;

/// The shared cluster with our definitions in it; `None`, and said so, when there can be none.
async fn cluster(what: &str) -> Option<Arc<Kubernetes>> {
    let cluster = match Kubernetes::shared().await {
        Ok(cluster) => cluster,
        Err(why) => {
            say_not_run(what, &why);
            return None;
        }
    };
    static DEFINED: OnceCell<()> = OnceCell::const_new();
    DEFINED.get_or_init(|| async { define(&cluster) }).await;
    Some(cluster)
}

fn define(cluster: &Kubernetes) {
    let folder = root().join("deploy/crds").display().to_string();
    let said = cluster.kubectl(&["apply", "--server-side", "-f", &folder], "");
    assert!(said.is_success, "{}", said.stderr);
    let established = ["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"];
    let said = cluster.kubectl(&established, "");
    assert!(said.is_success, "{}", said.stderr);
}

/// The checkout.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}
