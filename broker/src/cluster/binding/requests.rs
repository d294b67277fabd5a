//! What is asked of the API server: objects as they are, and what is applied to them.

use channel::Name;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::{ApiResource, DynamicObject},
};
use serde_json::{Value, json};
use tokio::time::{self, Duration};

use super::{release, standing::UNAVAILABLE, template::MANAGER_PREFIX};
use crate::cluster::{
    apiserver::{FORBIDDEN, Trouble},
    error::in_words,
    kinds::{Followed, full_name},
    loose::Loose,
    report::MANAGER,
    seen::Seen,
};
use crate::manifest::{Kind, SourceKind};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest refusal that is told as it came.
const REFUSAL_LENGTH_MAX: usize = 512;

/// Causes of a longer one that are told.
const CAUSES_MAX: usize = 4;

/// Why something was not done.
#[derive(Clone, Debug)]
pub(super) enum Failed {
    /// The object is gone, or another of its name is there: the watch tells of that.
    Gone,
    /// For this reason.
    Because(Trouble),
}

/// In whose name something is applied.
#[derive(Clone, Copy, Debug)]
pub(super) enum Manager<'a> {
    /// Of a SinkBinding, by its part of the name.
    Binding(&'a str),
    /// Of the program, whose own the object is: what others changed is set right.
    Program,
}

impl Manager<'_> {
    fn name(self) -> String {
        match self {
            Self::Binding(part) => format!("{MANAGER_PREFIX}{part}"),
            Self::Program => MANAGER.to_owned(),
        }
    }
}

/// The API server.
#[derive(Clone)]
pub(super) struct Requests {
    client: Client,
}

impl Requests {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    fn api(&self, resource: &ApiResource, namespace: &str) -> Api<Loose> {
        Api::namespaced_with(self.client.clone(), namespace, resource)
    }

    /// An object as it is.
    pub(super) async fn get(
        &self,
        resource: &ApiResource,
        name: &Name,
    ) -> Result<DynamicObject, Failed> {
        let doing = format!("cannot get {} {name}", full_name(resource));
        let api = self.api(resource, &name.namespace);
        answered(&doing, resource, api.get(&name.name)).await
    }

    /// Applies `fields`, and takes away what was applied before in the same name and is not in them.
    pub(super) async fn apply(
        &self,
        resource: &ApiResource,
        name: &Name,
        metadata: Value,
        fields: Value,
        manager: Manager<'_>,
    ) -> Result<DynamicObject, Failed> {
        let params = match manager {
            Manager::Binding(_) => PatchParams::apply(&manager.name()),
            Manager::Program => PatchParams::apply(&manager.name()).force(),
        };
        let mut body = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": metadata,
        });
        if let (Some(body), Value::Object(fields)) = (body.as_object_mut(), fields) {
            body.extend(fields);
        }
        let doing = format!("cannot patch {} {name}", full_name(resource));
        let api = self.api(resource, &name.namespace);
        let patch = Patch::Apply(&body);
        answered(&doing, resource, api.patch(&name.name, &params, &patch)).await
    }

    /// Takes away all that was applied in a name, but what others have changed since.
    pub(super) async fn release(
        &self,
        resource: &ApiResource,
        name: &Name,
        metadata: Value,
        manager: Manager<'_>,
    ) -> Result<DynamicObject, Failed> {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &name.namespace, resource);
        let object = time::timeout(TIMEOUT, api.get(&name.name)).await;
        let shared = match &object {
            Ok(Ok(object)) => release::without(&resource.kind, object, &manager.name()),
            // Whatever it is, what follows meets it too.
            _ => None,
        };
        let Some(shared) = shared else {
            return self.apply(resource, name, metadata, json!({}), manager).await;
        };
        let doing = format!("cannot patch {} {name}", full_name(resource));
        let api = self.api(resource, &name.namespace);
        let params =
            PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(&shared);
        answered(&doing, resource, api.patch(&name.name, &params, &patch)).await
    }

    /// Sets the finalizers and an annotation of a SinkBinding, if it is still as it was seen; an
    /// annotation without a value is taken off. `None` when it is not.
    pub(super) async fn mark(
        &self,
        name: &Name,
        seen: &Seen,
        finalizers: &[String],
        bound_kinds: Option<&str>,
    ) -> Result<Option<Seen>, Trouble> {
        let kind = Kind::Source(SourceKind::SinkBinding);
        let Some(followed) = Followed::of(kind) else { return Ok(None) };
        let resource = followed.resource();
        let body = json!({ "metadata": {
            "uid": seen.uid,
            "resourceVersion": seen.version.to_string(),
            "finalizers": finalizers,
            "annotations": { super::BOUND: bound_kinds },
        }});
        let doing = format!("cannot patch {} {name}", followed.full_name());
        let api = self.api(&resource, &name.namespace);
        let params =
            PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(&body);
        match answered(&doing, &resource, api.patch(&name.name, &params, &patch)).await {
            Ok(object) => Ok(Some(Seen::of(kind, &object))),
            Err(Failed::Gone) => Ok(None),
            // Somebody else has written meanwhile: it is looked at again.
            Err(Failed::Because(Trouble { reason: CONFLICT, .. })) => Ok(None),
            Err(Failed::Because(trouble)) => Err(trouble),
        }
    }
}

/// The reason when others have set what is to be set.
const CONFLICT: &str = "SubjectConflict";

async fn answered(
    doing: &str,
    resource: &ApiResource,
    request: impl Future<Output = Result<Loose, kube::Error>>,
) -> Result<DynamicObject, Failed> {
    let trouble = |reason, why| Err(Failed::Because(Trouble { reason, why }));
    match time::timeout(TIMEOUT, request).await {
        Ok(Ok(object)) => match object.read(resource) {
            (object, None) => Ok(object),
            (_, Some(why)) => trouble("SubjectUnreadable", format!("{doing}: {why}")),
        },
        Ok(Err(error)) => {
            let code = match &error {
                kube::Error::Api(status) => status.code,
                _ => 0,
            };
            match code {
                404 => Err(Failed::Gone),
                409 => trouble(CONFLICT, in_words(doing, &error)),
                401 | 403 => trouble(FORBIDDEN, in_words(doing, &error)),
                400 | 422 => trouble("SubjectRefused", refusal(doing, &error)),
                _ => trouble(UNAVAILABLE, in_words(doing, &error)),
            }
        }
        Err(_) => trouble(UNAVAILABLE, format!("{doing}: no answer in {TIMEOUT:?}")),
    }
}

/// Why an object is refused. An API server may repeat whole pod templates, with what others keep in
/// them: then only the fields are named, and what is wrong with each.
fn refusal(doing: &str, error: &kube::Error) -> String {
    let whole = in_words(doing, error);
    let kube::Error::Api(status) = error else { return whole };
    let causes = status.details.as_ref().map_or(&[][..], |details| &details.causes);
    if whole.len() <= REFUSAL_LENGTH_MAX || causes.is_empty() {
        return whole;
    }
    let what = |text: &str| {
        let last = text.rsplit(": ").next().unwrap_or_default();
        last.chars().take(REFUSAL_LENGTH_MAX / 4).collect::<String>()
    };
    let wrong: Vec<String> = causes
        .iter()
        .take(CAUSES_MAX)
        .map(|cause| format!("{}: {}", cause.field, what(&cause.message)))
        .collect();
    format!("{doing}: {}", wrong.join("; "))
}
