//! The webhook at GitHub: made, kept as it should be, and removed with its source.
//!
//! It is known again by its id, which is noted, or by the URL that it calls. So a restart, a note that
//! is lost or a hook that somebody deleted by hand never leaves two, and none only until the next look.

mod api;
#[cfg(test)]
mod tests;

use std::time::Duration;

use channel::{Name, Work};
use serde_json::{Value, json};
use tokio::{select, time};
use tracing::{info, warn};
use url::Url;

use self::api::Api;
use super::{GitHubPlan, Target, path};
use crate::{Context, Failure, Secret, Source, notes::key_of};

/// What the keys of its notes begin with.
const NOTES: &str = "github";

/// How often it is looked whether the hook is still as it should be.
const LOOK_EVERY: Duration = Duration::from_secs(60 * 60);

/// How long removing it may hold up the end.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(4);

/// The webhook of one GitHubSource, as it should be.
#[derive(Clone, Debug)]
pub struct Hook {
    name: Name,
    api_url: Url,
    token: Secret,
    secret: Secret,
    target: Target,
    events: Vec<String>,
    /// Where GitHub calls.
    url: String,
}

/// What was noted of the hook.
#[derive(Debug, PartialEq, Eq)]
struct Noted {
    id: u64,
    /// Where its collection is.
    hooks: Url,
}

impl Hook {
    /// The hook of the source `name`, which is called below `public_url`; `None` when it is made by
    /// hand, for want of a token.
    pub fn new(name: &Name, plan: &GitHubPlan, public_url: &Url) -> Option<Self> {
        let token = plan.access_token.clone()?;
        let base = public_url.as_str().trim_end_matches('/');
        let base = match (plan.secure, base.split_once("://")) {
            (Some(true), Some((_, rest))) => format!("https://{rest}"),
            _ => base.to_owned(),
        };
        Some(Self {
            name: name.clone(),
            api_url: plan.api_url.clone(),
            token,
            secret: plan.secret_token.clone(),
            target: plan.target.clone(),
            // That somebody is there is asked whatever is wanted.
            events: plan.event_types.iter().filter(|event| *event != "ping").cloned().collect(),
            url: format!("{base}{}", path(name)),
        })
    }

    /// Where hooks of the target are.
    fn hooks(&self) -> Result<Url, Failure> {
        let Target { owner, repository } = &self.target;
        let relative = match repository {
            Some(repository) => format!("repos/{owner}/{repository}/hooks"),
            None => format!("orgs/{owner}/hooks"),
        };
        let failed = |error| Failure { reason: format!("spec.githubAPIURL: {error}") };
        self.api_url.join(&relative).map_err(failed)
    }

    fn body(&self) -> Value {
        let secret = String::from_utf8_lossy(self.secret.expose());
        json!({
            "name": "web",
            "active": true,
            "events": self.events,
            "config": { "url": self.url, "content_type": "json", "insecure_ssl": "0", "secret": secret },
        })
    }

    /// Sees to it that the hook is there, as it should be, once.
    async fn keep(&self, context: &Context, api: &Api) -> Result<(), Failure> {
        let hooks = self.hooks()?;
        let noted = noted(context, &self.name);
        if let Some(old) = noted.as_ref().filter(|noted| noted.hooks != hooks) {
            // Of a repository that is no longer listened to. Its token may be another.
            if let Err(failure) = api.remove(&old.hooks, old.id).await {
                warn!(source = %context.id, %failure, "the webhook at {} may be left", old.hooks);
            }
        }
        let known = match noted.filter(|noted| noted.hooks == hooks) {
            Some(noted) => Some(noted.id),
            None => api.find(&hooks, &self.url).await?,
        };
        let changed = match known {
            Some(id) => api.change(&hooks, id, &self.body()).await?.then_some(id),
            None => None,
        };
        let id = match changed {
            Some(id) => id,
            None => {
                let id = api.make(&hooks, &self.body()).await?;
                info!(source = %context.id, id, "webhook made at GitHub");
                id
            }
        };
        context.report.set_webhook_id(Some(id));
        let note = format!("{id} {hooks}");
        if let Err(error) = context.notes.put(&key_of(NOTES, &self.name), note).await {
            warn!(source = %context.id, %error, "the webhook's id could not be noted");
        }
        Ok(())
    }

    /// Removes the hook, because its source is gone.
    async fn remove(&self, context: &Context, api: &Api) {
        let Some(noted) = noted(context, &self.name) else { return };
        match time::timeout(REMOVE_TIMEOUT, api.remove(&noted.hooks, noted.id)).await {
            Ok(Ok(())) => {
                info!(source = %context.id, id = noted.id, "webhook removed at GitHub");
                context.report.set_webhook_id(None);
                // What is left of the note would be found by a source of the same name, and replaced.
                drop(context.notes.remove(&key_of(NOTES, &self.name)).await);
            }
            Ok(Err(failure)) => warn!(source = %context.id, %failure, "the webhook is left"),
            Err(_elapsed) => warn!(source = %context.id, "GitHub is silent: the webhook is left"),
        }
    }
}

impl Source for Hook {
    fn run(&self, context: Context) -> Work<Result<(), Failure>> {
        let hook = self.clone();
        Box::pin(async move {
            let api = Api::new(hook.token.clone())?;
            select! {
                biased;
                () = context.stop.cancelled() => return Ok(()),
                () = context.until_leads(true) => {}
            }
            context.report.set_webhook_id(noted(&context, &hook.name).map(|noted| noted.id));
            loop {
                select! {
                    biased;
                    () = context.stop.cancelled() => break,
                    kept = hook.keep(&context, &api) => kept?,
                }
                select! {
                    biased;
                    () = context.stop.cancelled() => break,
                    () = time::sleep(LOOK_EVERY) => {}
                }
            }
            if context.is_removed() {
                hook.remove(&context, &api).await;
            }
            Ok(())
        })
    }
}

fn noted(context: &Context, name: &Name) -> Option<Noted> {
    let note = context.notes.get(&key_of(NOTES, name))?;
    let mut parts = std::str::from_utf8(&note).ok()?.split(' ');
    Some(Noted { id: parts.next()?.parse().ok()?, hooks: parts.next()?.parse().ok()? })
}
