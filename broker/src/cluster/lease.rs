//! Who of several processes writes to the cluster: the one that holds the Lease.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use tokio::{
    sync::watch,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

use super::{
    Troubles,
    error::{in_words, is_not_found},
};

/// How long a holder may be silent before another takes over.
const HELD_FOR: Duration = Duration::from_secs(15);

/// After so long without a renewal that went through, the holder counts itself out: before others do.
const LOST_AFTER: Duration = Duration::from_secs(10);

/// How often the holder renews.
const RENEW_EVERY: Duration = Duration::from_secs(4);

/// How often the others look, and how soon a renewal that failed is tried again.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// One of those that may hold the Lease.
pub(super) struct Candidate {
    leases: Api<Lease>,
    namespace: String,
    name: String,
    /// What tells it from all others.
    identity: String,
    /// Who held it when last looked at, and since when nothing has changed about that.
    last: Option<(LeaseSpec, Instant)>,
    renewed: Option<Instant>,
}

impl Candidate {
    pub(super) fn new(client: Client, namespace: &str, name: &str) -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self {
            leases: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            identity: format!("{host}_{:016x}", fastrand::u64(..)),
            last: None,
            renewed: None,
        }
    }

    /// Says in `leads` whether this process may write, until `stop` fires; then gives the Lease up.
    pub(super) async fn run(
        mut self,
        leads: watch::Sender<bool>,
        troubles: Arc<Troubles>,
        stop: CancellationToken,
    ) {
        let about = format!("lease {}/{}", self.namespace, self.name);
        let mut told = None;
        loop {
            let asked = time::timeout(REQUEST_TIMEOUT, self.ask());
            let held = match stop.run_until_cancelled(asked).await {
                None => break,
                Some(Ok(Ok(held))) => Ok(held),
                Some(Ok(Err(error))) => Err(in_words(&format!("cannot hold {about}"), &error)),
                Some(Err(_)) => {
                    Err(format!("cannot hold {about}: no answer in {REQUEST_TIMEOUT:?}"))
                }
            };
            let now = Instant::now();
            match &held {
                Ok(is_held) => {
                    told = None;
                    troubles.remove(&about);
                    self.renewed = is_held.then_some(now);
                }
                Err(why) if told.as_ref() != Some(why) => {
                    tracing::warn!(%why, "conditions may not be reported");
                    troubles.add(&about, why);
                    told = Some(why.clone());
                }
                Err(_) => {}
            }
            let is_leader = self.renewed.is_some_and(|renewed| now - renewed < LOST_AFTER);
            let is_news =
                leads.send_if_modified(|leads| std::mem::replace(leads, is_leader) != is_leader);
            if is_news {
                let identity = &self.identity;
                tracing::info!(%identity, is_leader, "who reports to the cluster has changed");
            }
            let wait = if held == Ok(true) { RENEW_EVERY } else { LOOK_EVERY };
            if stop.run_until_cancelled(time::sleep(wait)).await.is_none() {
                break;
            }
        }
        leads.send_replace(false);
        if self.renewed.is_some() && time::timeout(REQUEST_TIMEOUT, self.give_up()).await.is_err() {
            tracing::warn!("the lease was not given up: others wait until it has run out");
        }
    }

    /// Takes or renews the Lease if it may be had. Returns whether it is held now.
    async fn ask(&mut self) -> Result<bool, kube::Error> {
        let now = MicroTime(Timestamp::now());
        let mine = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(HELD_FOR.as_secs()).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(0),
            ..LeaseSpec::default()
        };
        let mut lease = match self.leases.get(&self.name).await {
            Ok(lease) => lease,
            Err(error) if is_not_found(&error) => {
                let metadata =
                    ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
                let lease = Lease { metadata, spec: Some(mine) };
                let created = self.leases.create(&PostParams::default(), &lease).await;
                return created.map(|_| true).or_else(lost);
            }
            Err(error) => return Err(error),
        };
        let theirs = lease.spec.clone().unwrap_or_default();
        let holder = theirs.holder_identity.as_deref().unwrap_or_default();
        let is_mine = holder == self.identity;
        if !is_mine && !holder.is_empty() && !self.has_run_out(&theirs) {
            return Ok(false);
        }
        let transitions = theirs.lease_transitions.unwrap_or_default();
        lease.spec = Some(LeaseSpec {
            acquire_time: if is_mine { theirs.acquire_time } else { mine.acquire_time.clone() },
            lease_transitions: Some(transitions.saturating_add(i32::from(!is_mine))),
            ..mine
        });
        // Its resource version keeps two from taking it at once.
        let replaced = self.leases.replace(&self.name, &PostParams::default(), &lease).await;
        replaced.map(|_| true).or_else(lost)
    }

    /// Whether the holder has been silent for too long, by our own clock: theirs may be wrong.
    fn has_run_out(&mut self, theirs: &LeaseSpec) -> bool {
        let now = Instant::now();
        let since = match &self.last {
            Some((last, since)) if last == theirs => *since,
            _ => now,
        };
        self.last = Some((theirs.clone(), since));
        let seconds = theirs.lease_duration_seconds.and_then(|it| u64::try_from(it).ok());
        now - since >= Duration::from_secs(seconds.unwrap_or(HELD_FOR.as_secs()))
    }

    /// Lets the next one have it at once.
    async fn give_up(&self) {
        let Ok(mut lease) = self.leases.get(&self.name).await else { return };
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
        if holder != Some(&self.identity) {
            return;
        }
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        if let Err(error) = self.leases.replace(&self.name, &PostParams::default(), &lease).await {
            tracing::warn!(why = %in_words("cannot update the lease", &error), "the lease was not given up");
        }
    }
}

/// Another was faster.
fn lost(error: kube::Error) -> Result<bool, kube::Error> {
    match error {
        kube::Error::Api(status) if status.code == 409 => Ok(false),
        error => Err(error),
    }
}
