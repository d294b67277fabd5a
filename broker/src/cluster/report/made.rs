//! What channels need in a cluster: the object behind a Channel, and the Service of its name.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use channel::{Hub, Name};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};
use tokio::time::{self, Duration, Instant};

use super::{MANAGER, view::host_of};
use crate::{
    cluster::{
        error::{in_words, is_not_found},
        kinds::Followed,
        loose::Loose,
        seen::Seen,
        shared::Shared,
        wanted,
    },
    control::Inventory,
    manifest::Kind,
    spec::ChannelKind,
};

/// How long one write may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How soon what is not seen yet is made again.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// How soon what could not be made is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// Objects made before it is looked again.
const MADE_MAX: usize = 64;

/// Makes what channels need.
pub(super) struct Maker {
    client: Client,
    shared: Arc<Shared>,
    /// Where the Services of channels lead.
    ingress_host: String,
    /// When the need of each channel was last seen to.
    tried: HashMap<Name, Instant>,
    /// What could not be made for a channel, and why.
    pub(super) unmade: BTreeMap<Name, String>,
}

/// An object that is missing.
struct Missing {
    channel: Name,
    resource: ApiResource,
    body: Value,
}

impl Maker {
    pub(super) fn new(client: Client, shared: Arc<Shared>, ingress_url: &str) -> Self {
        let ingress_host = host_of(ingress_url);
        Self { client, shared, ingress_host, tried: HashMap::new(), unmade: BTreeMap::new() }
    }

    /// Whether something is to be tried again although nothing has changed.
    pub(super) fn is_waiting(&self) -> bool {
        !self.tried.is_empty()
    }

    /// Makes what is missing. Returns whether what is known of it has changed.
    ///
    /// Not cancel safe: what was made may be made again, which changes nothing.
    pub(super) async fn make(&mut self, inventory: &Inventory) -> bool {
        let missing = self.missing(inventory);
        let mut is_news = false;
        for Missing { channel, resource, body } in missing {
            self.tried.insert(channel.clone(), Instant::now());
            let name = body.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            let doing = format!("cannot make {} {}/{name}", resource.kind, channel.namespace);
            let api: Api<Loose> =
                Api::namespaced_with(self.client.clone(), &channel.namespace, &resource);
            // What somebody else made under that name is theirs: no force.
            let params = PatchParams::apply(MANAGER);
            let patch = Patch::Apply(&body);
            let patched = time::timeout(WRITE_TIMEOUT, api.patch(name, &params, &patch));
            let why = match patched.await {
                Ok(Ok(_)) => None,
                Ok(Err(error)) if is_not_found(&error) => {
                    Some(format!("{doing}: the cluster does not have {}", resource.plural))
                }
                Ok(Err(error)) => Some(in_words(&doing, &error)),
                Err(_) => Some(format!("{doing}: no answer in {WRITE_TIMEOUT:?}")),
            };
            let before = match why {
                Some(why) => {
                    let before = self.unmade.insert(channel, why.clone());
                    if before.as_ref() != Some(&why) {
                        tracing::warn!(%why, "what a channel needs could not be made");
                        is_news = true;
                    }
                    continue;
                }
                None => self.unmade.remove(&channel),
            };
            is_news |= before.is_some();
        }
        is_news
    }

    fn missing(&mut self, inventory: &Inventory) -> Vec<Missing> {
        let shared = Arc::clone(&self.shared);
        let seen = shared.seen.lock();
        let channels = &inventory.resources.channels;
        let now = Instant::now();
        let mut all = Vec::new();
        for (name, resource) in channels {
            let kind = resource.spec.kind;
            let Some(owner) = seen.get(&(kind, name.clone())).filter(|seen| !seen.is_ending) else {
                continue;
            };
            let kept = inventory.kinds.get(&Hub::channel(name.clone()));
            let kept = ChannelKind::ALL.into_iter().find(|it| Some(&it.as_str()) == kept);
            let behind = kept.filter(|_| kind == Kind::Channel).map(Kind::Backing);
            let behind = behind.filter(|behind| !seen.contains_key(&(*behind, name.clone())));
            let service = wanted::service(name);
            let has_service = shared.referred.leads_to(&service, &self.ingress_host).is_ok();
            if behind.is_none() && has_service {
                self.tried.remove(name);
                self.unmade.remove(name);
                continue;
            }
            let wait = if self.unmade.contains_key(name) { RETRY_AFTER } else { AGAIN_AFTER };
            let is_soon = self.tried.get(name).is_some_and(|tried| now - *tried < wait);
            if is_soon || shared.referred.is_asked(&service) || all.len() >= MADE_MAX {
                continue;
            }
            if let Some(followed) = behind.and_then(Followed::of) {
                let resource = followed.resource();
                let spec = seen.get(&(kind, name.clone())).and_then(|seen| seen.template.clone());
                let body = body(&resource, name, &name.name, kind, owner, spec);
                all.push(Missing { channel: name.clone(), resource, body });
            }
            if !has_service {
                let resource = ApiResource::from_gvk_with_plural(
                    &GroupVersionKind::gvk("", "v1", "Service"),
                    "services",
                );
                let spec = json!({ "type": "ExternalName", "externalName": self.ingress_host });
                let called = service.name.unwrap_or_default();
                let body = body(&resource, name, &called, kind, owner, Some(spec));
                all.push(Missing { channel: name.clone(), resource, body });
            }
        }
        self.tried.retain(|name, _| channels.contains_key(name));
        self.unmade.retain(|name, _| channels.contains_key(name));
        all
    }
}

/// An object that goes when its channel goes.
fn body(
    resource: &ApiResource,
    channel: &Name,
    called: &str,
    kind: Kind,
    owner: &Seen,
    spec: Option<Value>,
) -> Value {
    let owner_kind = Followed::of(kind).map(Followed::resource);
    let api_version = owner_kind.map(|kind| kind.api_version).unwrap_or_default();
    let mut body = json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {
            "name": called,
            "namespace": channel.namespace,
            "labels": { "messaging.knative.dev/role": "channel" },
            "ownerReferences": [{
                "apiVersion": api_version,
                "kind": kind.as_str(),
                "name": channel.name,
                "uid": owner.uid,
                "controller": true,
                "blockOwnerDeletion": true,
            }],
        },
    });
    if let (Some(fields), Some(spec)) = (body.as_object_mut(), spec) {
        fields.insert("spec".to_owned(), spec);
    }
    body
}
