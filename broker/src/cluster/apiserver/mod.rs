//! ApiServerSources at work: watches, with the rights of their service accounts, and what they tell.
//!
//! A source is one task, whatever it watches. It notes the resource version that it has told of, so
//! that a restart lists the objects as they were then, and goes on from there. Only the process that
//! leads runs it.
//!
//! # Limits
//!
//! | what | limit | at the limit |
//! | --- | --- | --- |
//! | objects in one answer to a list | 500 | the next page is asked for |
//! | objects of one watch | 100,000 | the watch fails, and says so |
//! | namespaces that a selector finds | 256 | further ones are not watched, and the source says so |
//! | changes told again after a crash | those of a second | – |

mod namespaces;
mod standing;
mod telling;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use channel::{Name, Work};
use dispatcher::Filter;
use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use kube::{Client, Config};
use sources::{
    Context, Failure, Source,
    apiserver::{self, ApiServerPlan, Namespaces, note_key, notes_of, notes_of_resource},
};
use tokio::select;
use tokio_util::sync::CancellationToken;

pub(super) use self::standing::{FORBIDDEN, Standing, Standings, Trouble};
use self::{
    namespaces::{Members, members},
    watch::ObjectWatch,
};
use super::shared::Shared;

/// Namespaces that one source may watch.
const NAMESPACES_MAX: usize = 256;

/// What the trouble with namespaces is filed under.
const NAMESPACES: &str = "namespaces";

/// Makes sources of the changes of a cluster's objects.
#[derive(Clone)]
pub(crate) struct ObjectWatches {
    pub(super) config: Config,
    pub(super) client: Client,
    pub(super) shared: Arc<Shared>,
}

impl fmt::Debug for ObjectWatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectWatches").field("server", &self.server()).finish_non_exhaustive()
    }
}

impl ObjectWatches {
    /// The address of the API server, which is where events say that they are from.
    pub(crate) fn server(&self) -> String {
        self.config.cluster_url.to_string().trim_end_matches('/').to_owned()
    }

    /// The source `name`.
    pub(crate) fn source(
        &self,
        name: &Name,
        plan: ApiServerPlan,
        filter: Filter,
    ) -> ApiServerSource {
        ApiServerSource { name: name.clone(), plan: Arc::new(plan), filter, watches: self.clone() }
    }
}

/// An ApiServerSource at work.
#[derive(Clone, Debug)]
pub(crate) struct ApiServerSource {
    name: Name,
    plan: Arc<ApiServerPlan>,
    filter: Filter,
    watches: ObjectWatches,
}

impl Source for ApiServerSource {
    fn run(&self, context: Context) -> Work<Result<(), Failure>> {
        let this = self.clone();
        Box::pin(async move {
            loop {
                select! {
                    biased;
                    () = context.stop.cancelled() => break,
                    () = context.until_leads(true) => {}
                }
                let led = this.lead(&context).await;
                this.standings().end(&this.name);
                context.report.set_trouble(None);
                if led? {
                    break;
                }
            }
            if context.is_removed() {
                for (key, _) in context.notes.under(&notes_of(&this.name)) {
                    this.forget(&context, &key).await;
                }
            }
            Ok(())
        })
    }
}

/// The watches of one namespace, or of all.
struct Place {
    leave: CancellationToken,
}

impl ApiServerSource {
    fn standings(&self) -> &Standings {
        &self.watches.shared.standings
    }

    /// Changes how the source is said to be.
    fn say(&self, context: &Context, change: impl FnOnce(&mut Standing)) {
        if self.standings().change(&self.name, change) {
            let standing = self.standings().get(&self.name);
            context.report.set_trouble(standing.and_then(|standing| standing.trouble()));
            self.watches.shared.seen.change();
        }
    }

    /// A client with the rights of the source's account and no others.
    fn client(&self) -> Result<Client, Failure> {
        let mut config = self.watches.config.clone();
        let account = &self.plan.service_account;
        let user = format!("system:serviceaccount:{}:{account}", self.name.namespace);
        // The API server knows the groups of a service account.
        config.auth_info.impersonate = Some(user);
        config.auth_info.impersonate_groups = None;
        Client::try_from(config).map_err(|error| Failure {
            reason: format!("cannot act as service account {account}: {error}"),
        })
    }

    async fn forget(&self, context: &Context, key: &str) {
        if let Err(error) = context.notes.remove(key).await {
            tracing::warn!(source = %context.id, %error, "how far a source was is noted still");
        }
    }

    /// Watches for as long as this process leads. Returns whether to stop.
    async fn lead(&self, context: &Context) -> Result<bool, Failure> {
        let client = self.client()?;
        let stop = CancellationToken::new();
        let resources = self.plan.resources.iter();
        let prefixes: Vec<String> = resources
            .map(|resource| notes_of_resource(&self.name, resource, &self.plan.namespaces))
            .collect();
        for (key, _) in context.notes.under(&notes_of(&self.name)) {
            if !prefixes.iter().any(|prefix| key.starts_with(prefix)) {
                self.forget(context, &key).await;
            }
        }
        self.say(context, |standing| *standing = Standing::default());
        let mut work: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
        let mut places: BTreeMap<String, Place> = BTreeMap::new();
        let mut members = members(&self.watches.client, &self.plan.namespaces);
        let fixed = match &self.plan.namespaces {
            Namespaces::Own => Some(self.name.namespace.clone()),
            Namespaces::All => Some(String::new()),
            Namespaces::Labelled(_) => None,
        };
        let mut is_begun = false;
        let mut wanted: Option<BTreeSet<String>> = fixed.map(|place| BTreeSet::from([place]));
        let ends = loop {
            if let Some(wanted) = wanted.take() {
                places.retain(|name, place| {
                    let stays = wanted.contains(name);
                    if !stays {
                        place.leave.cancel();
                    }
                    stays
                });
                let new: Vec<&String> =
                    wanted.iter().filter(|it| !places.contains_key(*it)).collect();
                for name in new.into_iter().take(NAMESPACES_MAX.saturating_sub(places.len())) {
                    let leave = CancellationToken::new();
                    let namespace = Some(name.clone()).filter(|name| !name.is_empty());
                    for (resource, prefix) in self.plan.resources.iter().zip(&prefixes) {
                        // One that came while nobody looked has no note, while others have.
                        let is_late = is_begun || !context.notes.under(prefix).is_empty();
                        let is_late = is_late && self.plan.is_labelled();
                        let key = note_key(prefix, namespace.as_deref());
                        let namespace = namespace.clone();
                        let watch =
                            ObjectWatch::new(self, context, &client, resource, namespace, key);
                        work.push(Box::pin(watch.run(is_late, stop.clone(), leave.clone())));
                    }
                    places.insert(name.clone(), Place { leave });
                }
                is_begun = true;
                self.say(context, |standing| {
                    standing.namespaces = places.keys().cloned().collect();
                    let is_full = wanted.len() > places.len();
                    let why = format!("more than {NAMESPACES_MAX} namespaces have the labels of spec.namespaceSelector");
                    let full = Trouble { reason: "TooManyNamespaces", why };
                    let said = if is_full { Err(full) } else { Ok(()) };
                    standing.watches.insert(NAMESPACES.to_owned(), Some(said));
                });
            }
            select! {
                biased;
                () = context.stop.cancelled() => break true,
                () = context.until_leads(false) => break false,
                Some(()) = work.next(), if !work.is_empty() => {}
                told = members.next() => match told {
                    Members::Are(names) => wanted = Some(names),
                    Members::Unknown(trouble) => self.say(context, |standing| {
                        standing.watches.insert(NAMESPACES.to_owned(), Some(Err(trouble)));
                    }),
                },
            }
        };
        stop.cancel();
        while work.next().await.is_some() {}
        Ok(ends)
    }
}

/// What the events of `plan` say of themselves.
pub(crate) fn attributes(
    plan: &ApiServerPlan,
    watches: &ObjectWatches,
) -> Vec<sources::status::EventAttributes> {
    apiserver::ce_attributes(plan, &watches.server())
}
