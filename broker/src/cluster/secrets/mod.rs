//! The Secrets that sources name: each read by its name, again and again, and none listed or watched.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use channel::Name;
use k8s_openapi::api::core::v1::Secret as CoreSecret;
use kube::{Client, Resource as _, api::GetParams, core::Request};
use tokio::{
    sync::Semaphore,
    task::{AbortHandle, Id, JoinError, JoinSet},
    time,
};
use zeroize::Zeroizing;

use super::{
    Troubles,
    error::{in_words, is_not_found},
    shared::Shared,
};
use crate::manifest::{self, Kind, Objects, Secret};

/// Secrets that are followed.
const SECRETS_MAX: usize = 256;

/// How long a Secret that was read may be another before that is seen.
const READ_EVERY: Duration = Duration::from_secs(30);

/// The wait after the first time that one could not be read; it doubles with each further one.
const RETRY_FIRST: Duration = Duration::from_secs(2);

/// The longest such wait.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Requests at a time.
const AT_A_TIME: usize = 4;

/// How long a Secret may take to be read, with the wait for its turn.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// What sources name: keys of Secrets.
pub(super) type Wanted = BTreeMap<Name, BTreeSet<String>>;

/// What came of a look at a Secret; `None` when it is not there.
type Found = Result<Option<Secret>, String>;

/// A Secret, and what came of a look at it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) name: Name,
    found: Found,
}

/// All Secrets that are named.
pub(super) struct Secrets {
    client: Client,
    followed: BTreeMap<Name, Followed>,
    /// Those that are not asked for, and why.
    left_out: BTreeMap<Name, String>,
    looks: JoinSet<Answer>,
    turns: Arc<Semaphore>,
}

/// A Secret that is asked for.
#[derive(Debug)]
struct Followed {
    /// The keys whose values are kept.
    keys: BTreeSet<String>,
    /// The look that is to come.
    look: AbortHandle,
    has_answered: bool,
    /// How often in a row it was not there or could not be read.
    failures: u32,
    /// Why it cannot be read.
    why: Option<String>,
    /// The hash of the values that were read last; none while it is not there.
    kept: Option<u64>,
}

impl Secrets {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            followed: BTreeMap::new(),
            left_out: BTreeMap::new(),
            looks: JoinSet::new(),
            turns: Arc::new(Semaphore::new(AT_A_TIME)),
        }
    }

    /// Whether all of them were looked at.
    pub(super) fn is_known(&self) -> bool {
        self.followed.values().all(|followed| followed.has_answered)
    }

    /// Whether a Secret was not looked at yet.
    pub(super) fn is_awaited(&self, name: &Name) -> bool {
        self.followed.get(name).is_some_and(|followed| !followed.has_answered)
    }

    /// Asks for what is wanted, and forgets all else. Returns whether `objects` are others now.
    pub(super) fn follow(
        &mut self,
        wanted: Wanted,
        objects: &mut Objects,
        troubles: &Troubles,
        shared: &Shared,
    ) -> bool {
        let mut is_news = false;
        let gone: Vec<Name> =
            self.followed.keys().filter(|name| !wanted.contains_key(name)).cloned().collect();
        for name in gone {
            if let Some(followed) = self.followed.remove(&name) {
                followed.look.abort();
            }
            troubles.remove(&about(&name));
            is_news |= objects.remove(Kind::Secret.as_str(), &name);
            shared.set_unanswered(&(Kind::Secret, name), false);
        }
        let left_out = std::mem::take(&mut self.left_out);
        for name in left_out.keys().filter(|name| !wanted.contains_key(name)) {
            is_news |= objects.remove(Kind::Secret.as_str(), name);
        }
        for (name, keys) in wanted {
            match self.followed.get_mut(&name) {
                Some(followed) if keys.is_subset(&followed.keys) => {
                    followed.keys = keys;
                    continue;
                }
                Some(_) => {}
                None => {
                    if let Some(why) = self.refusal(&name) {
                        if left_out.get(&name) != Some(&why) {
                            objects.put_unread_secret(&name, &why);
                            is_news = true;
                        }
                        self.left_out.insert(name, why);
                        continue;
                    }
                }
            }
            shared.set_unanswered(&(Kind::Secret, name.clone()), true);
            let look = self.look(&name, &keys, Duration::ZERO);
            let known = self.followed.remove(&name);
            let kept = known.and_then(|known| {
                known.look.abort();
                known.kept
            });
            let followed =
                Followed { keys, look, has_answered: false, failures: 0, why: None, kept };
            self.followed.insert(name, followed);
        }
        is_news
    }

    /// Why a Secret that is not followed must not be asked for, if so.
    fn refusal(&self, name: &Name) -> Option<String> {
        if !manifest::is_subdomain(&name.name) {
            return Some(format!("{:?} cannot be the name of a Secret", name.name));
        }
        let is_full = self.followed.len() >= SECRETS_MAX;
        is_full.then(|| {
            format!("Secret {name} is not read: sources name more than {SECRETS_MAX} Secrets")
        })
    }

    /// Looks at a Secret after a while.
    fn look(&mut self, name: &Name, keys: &BTreeSet<String>, wait: Duration) -> AbortHandle {
        let (client, turns) = (self.client.clone(), Arc::clone(&self.turns));
        let (name, keys) = (name.clone(), keys.clone());
        self.looks.spawn(async move {
            time::sleep(wait).await;
            let found = read(&client, &name, &keys, &turns).await;
            Answer { name, found }
        })
    }

    /// Waits for what comes of a look; `None` when none is to come. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Answer> {
        loop {
            let looked = self.looks.join_next_with_id().await?;
            let id = looked.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
            // One that was ended may have come to its end before.
            let Some(name) = self.name_of(id) else { continue };
            let found = looked.map_or_else(
                // A panic in there is a bug of ours: it is tried again.
                |error| Err(format!("cannot get secrets {name}: {error}")),
                |(_, answer)| answer.found,
            );
            return Some(Answer { name, found });
        }
    }

    fn name_of(&self, look: Id) -> Option<Name> {
        let found = self.followed.iter().find(|(_, followed)| followed.look.id() == look);
        found.map(|(name, _)| name.clone())
    }

    /// Takes in what came of a look. Returns whether that is news: another value, or none any more.
    pub(super) fn take(
        &mut self,
        Answer { name, found }: Answer,
        objects: &mut Objects,
        troubles: &Troubles,
    ) -> bool {
        let Some(followed) = self.followed.get_mut(&name) else { return false };
        let is_first = !std::mem::replace(&mut followed.has_answered, true);
        let is_read = matches!(found, Ok(Some(_)));
        followed.failures = if is_read { 0 } else { followed.failures.saturating_add(1) };
        let why = found.as_ref().err().cloned();
        let is_told = followed.why == why;
        match &why {
            Some(why) => {
                // What was never read is told as what is wrong with it.
                if !is_told && followed.kept.is_some() {
                    tracing::warn!(%why, "a Secret cannot be read: what is known goes on");
                }
                troubles.add(&about(&name), why);
            }
            None => troubles.remove(&about(&name)),
        }
        followed.why = why;
        let is_news = match found {
            Ok(Some(secret)) => {
                let is_other = followed.kept.replace(secret.hash()) != Some(secret.hash());
                if is_other {
                    objects.put_secret(&name, secret);
                }
                is_other
            }
            Ok(None) => {
                followed.kept = None;
                objects.remove(Kind::Secret.as_str(), &name)
            }
            Err(why) => {
                let is_missed = followed.kept.is_none() && !is_told;
                if is_missed {
                    objects.put_unread_secret(&name, &why);
                }
                is_missed
            }
        };
        let (keys, wait) = (followed.keys.clone(), wait_after(followed.failures, fastrand::f64()));
        let look = self.look(&name, &keys, wait);
        if let Some(followed) = self.followed.get_mut(&name) {
            followed.look = look;
        }
        is_first | is_news
    }
}

/// What a Secret is called among the troubles.
fn about(name: &Name) -> String {
    format!("Secret {name}")
}

/// The wait after so many failures in a row. `draw`, uniform in `[0, 1)`, shortens it by up to a
/// fifth, so that not all are asked for together.
fn wait_after(failures: u32, draw: f64) -> Duration {
    let wait = match failures.checked_sub(1) {
        None => READ_EVERY,
        Some(doublings) => RETRY_FIRST.saturating_mul(1 << doublings.min(16)).min(RETRY_MAX),
    };
    wait.mul_f64(1.0 - 0.2 * draw)
}

/// Reads the values of some keys of a Secret.
async fn read(client: &Client, name: &Name, keys: &BTreeSet<String>, turns: &Semaphore) -> Found {
    let doing = format!("cannot get secrets {name}");
    let asked = time::timeout(READ_TIMEOUT, async {
        let _turn = turns.acquire().await;
        let url = CoreSecret::url_path(&(), Some(&name.namespace));
        let request = Request::new(url).get(&name.name, &GetParams::default());
        // As text: what cannot be read as an object the client would write into the log.
        client.request_text(request.map_err(kube::Error::BuildRequest)?).await
    });
    let text = match asked.await {
        Ok(Ok(text)) => Zeroizing::new(text),
        Ok(Err(error)) if is_not_found(&error) => return Ok(None),
        Ok(Err(error)) => return Err(in_words(&doing, &error)),
        Err(_) => return Err(format!("{doing}: no answer in {READ_TIMEOUT:?}")),
    };
    let secret: Result<CoreSecret, _> = serde_json::from_str(&text);
    // What is wrong with it may quote a value.
    let secret = secret.map_err(|_| format!("{doing}: the answer is no Secret"))?;
    let values = secret.data.unwrap_or_default().into_iter();
    let values = values.map(|(key, value)| (key, sources::Secret::new(value.0)));
    let data = values.filter(|(key, _)| keys.contains(key)).collect();
    Ok(Some(Secret { data }))
}
