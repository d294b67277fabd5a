//! One kind of object in one namespace, or in all: listed once, then watched, and told of.

use std::{collections::BTreeSet, convert::Infallible, time::Duration};

use channel::Name;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use kube::{
    Api, Client,
    api::{ListParams, VersionMatch, WatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind, WatchEvent},
    discovery::{Scope, oneshot},
};
use sources::{
    Backoff, Context, Put,
    apiserver::{Change, Known, Object, ResourcePlan, Seen, Taken, Verb},
};
use tokio::{
    select,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

use super::{
    ApiServerSource, Trouble,
    telling::{Noted, Telling},
};
use crate::cluster::error::is_not_found;

/// Objects in one answer to a list.
const PAGE: u32 = 500;

/// Objects of one watch.
const OBJECTS_MAX: usize = 100_000;

/// Seconds after which a watch is begun anew.
const WATCH_SECONDS: u32 = 60;

/// A watch that says nothing for so long, not even that it ends, is broken.
const SILENCE_MAX: Duration = Duration::from_secs(75);

/// How long a list, or the beginning of a watch, may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The pause between two watches.
const PAUSE: Duration = Duration::from_millis(100);

/// How far it is, is noted at most so often. After a crash, changes of that long are told again.
const NOTED_EVERY: Duration = Duration::from_secs(1);

/// Between attempts after failures.
const RETRY: Backoff = Backoff { first: Duration::from_millis(500), max: Duration::from_secs(15) };

/// Why a watch does not go on.
enum End {
    /// The source must stop.
    Stopped,
    /// What changed since the version that it had is not known any more.
    Expired,
    Trouble(Trouble),
}

/// A watch and what it has told.
pub(super) struct ObjectWatch<'a> {
    source: &'a ApiServerSource,
    context: &'a Context,
    client: &'a Client,
    resource: &'a ResourcePlan,
    namespace: Option<String>,
    /// Under which key it notes how far it is.
    key: String,
    /// How it is called in what is said of it.
    about: String,
    seen: Seen,
    /// Whether `seen` was complete once.
    is_listed: bool,
    /// Up to which resource version everything was told.
    version: Option<String>,
    is_unnoted: bool,
    noted_at: Instant,
    failures: u32,
}

impl<'a> ObjectWatch<'a> {
    pub(super) fn new(
        source: &'a ApiServerSource,
        context: &'a Context,
        client: &'a Client,
        resource: &'a ResourcePlan,
        namespace: Option<String>,
        key: String,
    ) -> Self {
        let place = namespace.as_deref().map(|it| format!(" in namespace {it}"));
        let selector = resource.selector.as_deref().map(|it| format!(" with labels {it}"));
        let about = format!(
            "{} {}{}{}",
            resource.api_version,
            resource.kind,
            selector.unwrap_or_default(),
            place.unwrap_or_default()
        );
        Self {
            source,
            context,
            client,
            resource,
            namespace,
            key,
            about,
            seen: Seen::default(),
            is_listed: false,
            version: None,
            is_unnoted: false,
            noted_at: Instant::now(),
            failures: 0,
        }
    }

    /// Tells of changes until `stop` fires; or `leave`, when its namespace is not wanted any more.
    /// One that is late finds its namespace at work: all there is in it is new.
    pub(super) async fn run(
        mut self,
        is_late: bool,
        stop: CancellationToken,
        leave: CancellationToken,
    ) {
        self.say(None);
        loop {
            let end = select! {
                biased;
                () = stop.cancelled() => End::Stopped,
                () = leave.cancelled() => return self.leave(&stop).await,
                Err(end) = self.follow(is_late) => end,
            };
            let wait = match end {
                End::Stopped => return self.note().await,
                End::Expired => PAUSE,
                End::Trouble(trouble) => {
                    self.failures = self.failures.saturating_add(1);
                    if self.failures == 1 {
                        let (source, why) = (&self.context.id, &trouble.why);
                        tracing::warn!(%source, %why, "objects are not watched for now");
                    }
                    self.say(Some(Err(trouble)));
                    RETRY.wait(self.failures, fastrand::f64())
                }
            };
            select! {
                biased;
                () = stop.cancelled() => {}
                () = leave.cancelled() => {}
                () = time::sleep(wait) => {}
            }
        }
    }

    fn say(&self, state: Option<Result<(), Trouble>>) {
        self.source
            .say(self.context, |standing| drop(standing.watches.insert(self.about.clone(), state)));
    }

    /// Tells what went with its namespace, and forgets the rest.
    async fn leave(mut self, stop: &CancellationToken) {
        let about = self.about.clone();
        if self.is_listed {
            let last = async {
                let (kind, api) = self.open().await?;
                self.list(&kind, &api, None, &Telling::Changes).await
            };
            let told = time::timeout(REQUEST_TIMEOUT, last);
            if let Some(Ok(Err(End::Trouble(Trouble { why, .. })))) =
                stop.run_until_cancelled(told).await
            {
                let source = &self.context.id;
                tracing::warn!(%source, %why, "the last changes of a namespace are not told");
            }
        }
        if !stop.is_cancelled() {
            self.source.forget(self.context, &self.key).await;
        }
        self.source.say(self.context, |standing| drop(standing.watches.remove(&about)));
    }

    async fn follow(&mut self, is_late: bool) -> Result<Infallible, End> {
        let (kind, api) = self.open().await?;
        loop {
            if self.version.is_none() {
                self.begin(&kind, &api, is_late).await?;
            }
            self.watch(&kind, &api).await?;
            time::sleep(PAUSE).await;
        }
    }

    /// How the API server knows the kind, and whoever asks for its objects.
    async fn open(&self) -> Result<(ApiResource, Api<DynamicObject>), End> {
        let ResourcePlan { api_version, kind, .. } = self.resource;
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let wanted = GroupVersionKind::gvk(group, version, kind);
        let doing = format!("cannot look up {api_version} {kind}");
        let found = oneshot::pinned_kind(&self.source.watches.client, &wanted);
        let (resource, capabilities) =
            within(&doing, found).await.map_err(|error| match error {
                Ok(error) if is_not_found(&error) || matches!(error, kube::Error::Discovery(_)) => {
                    let why = format!("the cluster does not have {api_version} {kind}");
                    End::Trouble(Trouble { reason: "KindNotFound", why })
                }
                Ok(error) => End::Trouble(Trouble::of(&doing, &error)),
                Err(trouble) => End::Trouble(trouble),
            })?;
        let api = match (&self.namespace, capabilities.scope) {
            (Some(namespace), Scope::Namespaced) => {
                Api::namespaced_with(self.client.clone(), namespace, &resource)
            }
            (Some(_), Scope::Cluster) if self.source.plan.is_labelled() => {
                let why = format!(
                    "{api_version} {kind} is in no namespace: spec.namespaceSelector must be empty or absent"
                );
                return Err(End::Trouble(Trouble { reason: "NotNamespaced", why }));
            }
            _ => Api::all_with(self.client.clone(), &resource),
        };
        Ok((resource, api))
    }

    /// Finds out where to go on from.
    async fn begin(
        &mut self,
        kind: &ApiResource,
        api: &Api<DynamicObject>,
        is_late: bool,
    ) -> Result<(), End> {
        let noted = self.context.notes.get(&self.key).and_then(|it| Noted::read(&it));
        match noted {
            _ if self.is_listed => self.list(kind, api, None, &Telling::Changes).await?,
            None if is_late => self.list(kind, api, None, &Telling::Changes).await?,
            None => self.list(kind, api, None, &Telling::Nothing).await?,
            Some(noted) => {
                match self.list(kind, api, Some(&noted.version), &Telling::Nothing).await {
                    Err(End::Expired) => {
                        let (source, about) = (&self.context.id, &self.about);
                        tracing::warn!(%source, %about, since = %noted.time, "the cluster has forgotten where the source was: what was deleted since is not told");
                        self.list(kind, api, None, &Telling::Since(noted)).await?;
                    }
                    listed => listed?,
                }
            }
        }
        self.is_listed = true;
        self.note().await;
        Ok(())
    }

    /// Lists the objects, as of `exact` if given, and tells what is to be told of them.
    async fn list(
        &mut self,
        kind: &ApiResource,
        api: &Api<DynamicObject>,
        exact: Option<&str>,
        telling: &Telling,
    ) -> Result<(), End> {
        let doing = format!("cannot list {}", self.called(kind));
        let mut params = ListParams {
            label_selector: self.resource.selector.clone(),
            limit: Some(PAGE),
            resource_version: exact.map(str::to_owned),
            version_match: exact.map(|_| VersionMatch::Exact),
            ..ListParams::default()
        };
        let mut present = BTreeSet::new();
        let version = loop {
            let page = within(&doing, api.list(&params)).await.map_err(|it| ended(&doing, it))?;
            for object in page.items {
                let Some(object) = self.object(object) else { continue };
                present.insert(object.name.clone());
                self.take(kind, &object, telling).await?;
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => {
                    params.continue_token = Some(token);
                    (params.resource_version, params.version_match) = (None, None);
                }
                None => break page.metadata.resource_version.unwrap_or_default(),
            }
        };
        for (name, known) in self.seen.missing(|name| present.contains(name)) {
            self.tell_gone(kind, &name, &known).await?;
            self.seen.forget(&name);
        }
        self.version = Some(version);
        Ok(())
    }

    /// Watches on from the version that everything was told up to, until the server ends the watch.
    async fn watch(&mut self, kind: &ApiResource, api: &Api<DynamicObject>) -> Result<(), End> {
        let doing = format!("cannot watch {}", self.called(kind));
        let params = WatchParams {
            label_selector: self.resource.selector.clone(),
            timeout: Some(WATCH_SECONDS),
            bookmarks: true,
            ..WatchParams::default()
        };
        let version = self.version.clone().unwrap_or_default();
        let begun = within(&doing, api.watch(&params, &version)).await;
        let stream = match begun.map_err(|it| ended(&doing, it)) {
            Ok(stream) => stream,
            Err(End::Expired) => return self.expire(),
            Err(end) => return Err(end),
        };
        let mut stream = std::pin::pin!(stream);
        self.say(Some(Ok(())));
        loop {
            let next = select! {
                biased;
                () = time::sleep_until(self.noted_at + NOTED_EVERY), if self.is_unnoted => {
                    self.note().await;
                    continue;
                }
                next = time::timeout(SILENCE_MAX, stream.next()) => next,
            };
            // One that is silent for too long, and one that has run out, are begun anew.
            let Ok(Some(event)) = next else {
                self.failures = 0;
                return Ok(());
            };
            let event = event.map_err(|error| End::Trouble(Trouble::of(&doing, &error)))?;
            self.failures = 0;
            let version = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    let Some(object) = self.object(object) else { continue };
                    self.take(kind, &object, &Telling::Changes).await?;
                    object.version
                }
                WatchEvent::Deleted(object) => {
                    let Some(object) = self.object(object) else { continue };
                    self.lose(kind, &object).await?;
                    object.version
                }
                WatchEvent::Bookmark(bookmark) => bookmark.metadata.resource_version,
                WatchEvent::Error(status) if status.code == 410 => return self.expire(),
                WatchEvent::Error(status) => {
                    return Err(End::Trouble(Trouble::of_status(&doing, &status)));
                }
            };
            self.version = Some(version);
            self.is_unnoted = true;
        }
    }

    /// The changes since the version that it had are gone: all is listed again and compared.
    fn expire(&mut self) -> Result<(), End> {
        self.version = None;
        Ok(())
    }

    fn object(&self, object: DynamicObject) -> Option<Object> {
        let ResourcePlan { api_version, kind, .. } = self.resource;
        Object::new(serde_json::to_value(object).ok()?, api_version, kind)
    }

    fn called(&self, kind: &ApiResource) -> String {
        let dot = if kind.group.is_empty() { "" } else { "." };
        let place = self.namespace.as_deref().map(|it| format!(" in namespace {it}"));
        format!("{}{dot}{}{}", kind.plural, kind.group, place.unwrap_or_default())
    }

    /// Takes in an object that is there.
    async fn take(
        &mut self,
        kind: &ApiResource,
        object: &Object,
        telling: &Telling,
    ) -> Result<(), End> {
        let taken = self.seen.compare(object);
        if taken == Taken::Same {
            return Ok(());
        }
        if taken == Taken::Added && self.seen.len() >= OBJECTS_MAX {
            let why = format!("there are more than {OBJECTS_MAX} of {}", self.about);
            return Err(End::Trouble(Trouble { reason: "TooManyObjects", why }));
        }
        let verb = telling.of(&taken, object);
        if let (Taken::Replaced(known), Some(_)) = (&taken, verb) {
            self.tell_gone(kind, &object.name, known).await?;
            self.seen.forget(&object.name);
        }
        let is_wanted = self.source.plan.wants(object);
        if let (Some(verb), true) = (verb, is_wanted) {
            self.tell(kind, verb, object).await?;
        }
        self.seen.note(object, is_wanted);
        Ok(())
    }

    /// Takes in that an object is gone.
    async fn lose(&mut self, kind: &ApiResource, object: &Object) -> Result<(), End> {
        // What is not known was told before.
        let known = self.seen.get(&object.name).filter(|known| *known.uid == *object.uid);
        if known.is_some_and(|known| known.is_wanted) {
            self.tell(kind, Verb::Delete, object).await?;
        }
        if known.is_some() {
            self.seen.forget(&object.name);
        }
        Ok(())
    }

    async fn tell_gone(&self, kind: &ApiResource, name: &Name, known: &Known) -> Result<(), End> {
        if !known.is_wanted {
            return Ok(());
        }
        let ResourcePlan { api_version, kind: called, .. } = self.resource;
        self.tell(kind, Verb::Delete, &Object::gone(name, known, api_version, called)).await
    }

    async fn tell(&self, kind: &ApiResource, verb: Verb, object: &Object) -> Result<(), End> {
        let ApiServerSource { name, plan, filter, watches } = self.source;
        let change = Change {
            source: name,
            server: &watches.server(),
            verb,
            object,
            api_version: &self.resource.api_version,
            kind: &self.resource.kind,
            plural: &kind.plural,
        };
        let now = Timestamp::now();
        let event = match plan.event(&change, now) {
            Ok(event) => event,
            Err(invalid) => {
                tracing::warn!(source = %self.context.id, %invalid, "a change makes no valid event");
                self.context.report.refused(&invalid);
                return Ok(());
            }
        };
        if !filter.accepts(&event) {
            return Ok(());
        }
        match self.context.put(&event, now).await {
            Put::Stored | Put::Refused(_) => Ok(()),
            Put::Stopped => Err(End::Stopped),
        }
    }

    /// Notes how far it has told.
    async fn note(&mut self) {
        (self.is_unnoted, self.noted_at) = (false, Instant::now());
        let Some(version) = self.version.clone().filter(|_| self.is_listed) else { return };
        let noted = Noted { version, time: Timestamp::now() };
        if let Err(error) = self.context.notes.put(&self.key, noted.text()).await {
            let source = &self.context.id;
            tracing::warn!(%source, %error, "how far the source is could not be noted");
            self.is_unnoted = true;
        }
    }
}

/// What came of a request that may take so long: its error, or that there was no answer.
async fn within<T>(
    doing: &str,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Result<kube::Error, Trouble>> {
    match time::timeout(REQUEST_TIMEOUT, request).await {
        Ok(answer) => answer.map_err(Ok),
        Err(_) => {
            let why = format!("{doing}: no answer in {REQUEST_TIMEOUT:?}");
            Err(Err(Trouble { reason: "WatchFailed", why }))
        }
    }
}

/// Why a list or a watch does not go on.
fn ended(doing: &str, error: Result<kube::Error, Trouble>) -> End {
    let error = match error {
        Ok(error) => error,
        Err(trouble) => return End::Trouble(trouble),
    };
    // A store that was restored from an older state does not know the version yet.
    let is_ahead = |message: &str| {
        ["Too large resource version", "future revision"].iter().any(|it| message.contains(it))
    };
    match &error {
        kube::Error::Api(status) if status.code == 410 || is_ahead(&status.message) => End::Expired,
        error => End::Trouble(Trouble::of(doing, error)),
    }
}
