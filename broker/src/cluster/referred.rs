//! What references lead to: objects of any kind, their addresses and whether they are ready.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use channel::{Found, Name, Reference, Target, status::Condition};
use kube::core::DynamicObject;
use serde_json::Value;
use url::Url;

use crate::addresses::Addresses;

/// A kind as a reference names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct KindKey {
    pub(super) group: String,
    /// The one that the group prefers when absent.
    pub(super) version: Option<String>,
    pub(super) kind: String,
}

impl KindKey {
    /// The kind that a reference names; `None` when it names none.
    pub(super) fn of(reference: &Reference) -> Option<Self> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let kind = given(&reference.kind)?;
        let Some(api_version) = given(&reference.api_version) else {
            return Some(Self { group: given(&reference.group)?, version: None, kind });
        };
        Some(Self::versioned(&api_version, &kind))
    }

    /// The kind of objects with this `apiVersion` and `kind`.
    pub(super) fn versioned(api_version: &str, kind: &str) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let (version, kind) = (Some(version.to_owned()), kind.to_owned());
        Self { group: group.to_owned(), version, kind }
    }

    fn is_service(&self) -> bool {
        self.group.is_empty() && self.kind == "Service"
    }
}

impl fmt::Display for KindKey {
    /// `serving.knative.dev/v1 Service`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version.as_deref().unwrap_or("*");
        if self.group.is_empty() {
            write!(f, "{version} {}", self.kind)
        } else {
            write!(f, "{}/{version} {}", self.group, self.kind)
        }
    }
}

/// An object that a reference may lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Thing {
    /// `status.address`, then those of `status.addresses`, by name.
    addresses: Vec<(Option<String>, Result<Target, String>)>,
    ready: Option<Readiness>,
    /// Where a Service of another name leads.
    external_name: Option<String>,
}

/// What an object says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Readiness {
    /// `True`, `False` or `Unknown`.
    pub(super) status: String,
    pub(super) reason: String,
    pub(super) message: String,
    /// Whether it is about the object as it is now.
    pub(super) is_current: bool,
}

/// What is new about an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Put {
    /// Whether it says anything new.
    pub(super) is_news: bool,
    /// Whether it is found elsewhere.
    pub(super) is_moved: bool,
}

#[derive(Debug, Default)]
struct OfKind {
    standing: Standing,
    /// Whether all of them were known once.
    was_listed: bool,
    things: HashMap<Name, Thing>,
}

#[derive(Debug, Default)]
enum Standing {
    #[default]
    Asked,
    Listed,
    Absent,
    Failed(String),
}

/// All objects of the kinds that are referred to.
#[derive(Debug, Default)]
pub(super) struct Referred {
    kinds: RwLock<HashMap<KindKey, OfKind>>,
}

impl Referred {
    fn read(&self) -> RwLockReadGuard<'_, HashMap<KindKey, OfKind>> {
        self.kinds.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<KindKey, OfKind>> {
        self.kinds.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a kind is being looked up.
    pub(super) fn ask(&self, key: &KindKey) {
        self.write().entry(key.clone()).or_default();
    }

    /// Takes in an object. Returns what of it is new.
    pub(super) fn put(&self, key: &KindKey, name: &Name, object: &DynamicObject) -> Put {
        let thing = Thing::of(object);
        let mut kinds = self.write();
        let of_kind = kinds.entry(key.clone()).or_default();
        let known = of_kind.things.get(name);
        let put = Put {
            is_news: known != Some(&thing),
            is_moved: known.is_none_or(|known| known.addresses != thing.addresses),
        };
        if put.is_news {
            of_kind.things.insert(name.clone(), thing);
        }
        put
    }

    /// Whether what a reference leads to is not known yet, but soon will be.
    pub(super) fn is_asked(&self, reference: &Reference) -> bool {
        let kinds = self.read();
        let of_kind = KindKey::of(reference).and_then(|key| kinds.get(&key));
        of_kind.is_some_and(|of_kind| matches!(of_kind.standing, Standing::Asked))
    }

    /// Forgets an object that is gone. Returns whether it was known.
    pub(super) fn remove(&self, key: &KindKey, name: &Name) -> bool {
        let mut kinds = self.write();
        kinds.get_mut(key).is_some_and(|of_kind| of_kind.things.remove(name).is_some())
    }

    /// Notes that all objects of a kind are known: these.
    pub(super) fn set_listed(&self, key: &KindKey, names: &BTreeSet<Name>) -> bool {
        let mut kinds = self.write();
        let of_kind = kinds.entry(key.clone()).or_default();
        let before = of_kind.things.len();
        of_kind.things.retain(|name, _| names.contains(name));
        let is_first = !matches!(of_kind.standing, Standing::Listed);
        of_kind.standing = Standing::Listed;
        of_kind.was_listed = true;
        is_first || of_kind.things.len() != before
    }

    /// Notes that the cluster does not have a kind.
    pub(super) fn set_absent(&self, key: &KindKey) {
        let mut kinds = self.write();
        let of_kind = kinds.entry(key.clone()).or_default();
        of_kind.things.clear();
        of_kind.standing = Standing::Absent;
    }

    /// Notes why the objects of a kind cannot be looked up for now; those that are known stay known.
    pub(super) fn set_failed(&self, key: &KindKey, why: String) {
        self.write().entry(key.clone()).or_default().standing = Standing::Failed(why);
    }

    /// Notes that the objects of a kind are as they were last known. Returns whether that is news.
    pub(super) fn set_recovered(&self, key: &KindKey) -> bool {
        let mut kinds = self.write();
        let of_kind = kinds.entry(key.clone()).or_default();
        let has_failed = matches!(of_kind.standing, Standing::Failed(_));
        if has_failed && of_kind.was_listed {
            of_kind.standing = Standing::Listed;
        }
        has_failed
    }

    /// Forgets a kind that nobody refers to.
    pub(super) fn forget(&self, key: &KindKey) {
        self.write().remove(key);
    }

    /// What the object says of itself.
    ///
    /// # Errors
    ///
    /// In words, why it is not known.
    pub(super) fn readiness(&self, reference: &Reference) -> Result<Option<Readiness>, String> {
        self.look(reference, |_, thing| Ok(thing.ready.clone()))
    }

    /// Whether a Service is there and leads to `host`.
    ///
    /// # Errors
    ///
    /// In words, why it is not known to.
    pub(super) fn leads_to(&self, service: &Reference, host: &str) -> Result<(), String> {
        self.look(service, |_, thing| match thing.external_name.as_deref() {
            Some(name) if name == host => Ok(()),
            Some(name) => Err(format!("{service} leads to {name}, not to {host}")),
            None => Err(format!("{service} is somebody else's")),
        })
    }

    fn look<T>(
        &self,
        reference: &Reference,
        take: impl FnOnce(&KindKey, &Thing) -> Result<T, String>,
    ) -> Result<T, String> {
        let Some(key) = KindKey::of(reference) else {
            return Err(format!("{reference} names no kind"));
        };
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        let name = Name::new(part(&reference.namespace), part(&reference.name));
        let kinds = self.read();
        let Some(of_kind) = kinds.get(&key) else {
            return Err(format!("{key} is not followed: references name too many kinds"));
        };
        match (of_kind.things.get(&name), &of_kind.standing) {
            (Some(thing), _) => take(&key, thing),
            (None, Standing::Listed) => Err(format!("{} {name} does not exist", key.kind)),
            (None, Standing::Absent) => Err(format!("the cluster has no kind {key}")),
            (None, Standing::Failed(why)) => Err(why.clone()),
            (None, Standing::Asked) => Err(format!("{} {name} is being looked up", key.kind)),
        }
    }
}

impl Addresses for Referred {
    fn find(&self, reference: &Reference) -> Result<Found, String> {
        self.look(reference, |key, thing| {
            if key.is_service() {
                return Ok(Found::Service);
            }
            let wanted = reference.address.as_ref();
            let mut addresses = thing.addresses.iter();
            let address = addresses.find(|(name, _)| wanted.is_none() || name.as_ref() == wanted);
            match (address, wanted) {
                (Some((_, target)), _) => target.clone().map(Found::Address),
                (None, Some(wanted)) => Err(format!("{reference} has no address {wanted:?}")),
                (None, None) => Err(format!("{reference} has no status.address.url")),
            }
        })
    }
}

impl Thing {
    fn of(object: &DynamicObject) -> Self {
        let status = object.data.get("status");
        let get = |field: &str| status.and_then(|status| status.get(field));
        let all = get("addresses").and_then(Value::as_array);
        let addresses = get("address").into_iter().chain(all.into_iter().flatten());
        let conditions = get("conditions").cloned();
        let conditions: Vec<Condition> =
            conditions.and_then(|it| serde_json::from_value(it).ok()).unwrap_or_default();
        let observed = get("observedGeneration").and_then(Value::as_i64);
        let ready = conditions.into_iter().find(|condition| condition.kind == "Ready");
        Self {
            addresses: addresses.filter_map(address).collect(),
            external_name: object
                .data
                .pointer("/spec/externalName")
                .and_then(Value::as_str)
                .map(ToOwned::to_owned),
            ready: ready.map(|ready| Readiness {
                status: ready.status,
                reason: ready.reason.unwrap_or_default(),
                message: ready.message.unwrap_or_default(),
                is_current: observed.is_none() || observed == object.metadata.generation,
            }),
        }
    }
}

fn address(address: &Value) -> Option<(Option<String>, Result<Target, String>)> {
    let text = |field: &str| address.get(field).and_then(Value::as_str).map(ToOwned::to_owned);
    let url = text("url")?;
    let target = Url::parse(&url)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .map(|url| Target { url, ca_certs: text("CACerts"), audience: text("audience") })
        .ok_or_else(|| format!("status.address.url {url:?} is no http or https URL"));
    Some((text("name"), target))
}
