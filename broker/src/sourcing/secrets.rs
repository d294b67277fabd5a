//! Where the secrets of sources are: in Secrets, files and the environment.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use ::sources::{Secret, SecretSpec};
use channel::Name;

use super::Wanted;
use crate::{
    config,
    manifest::{Kind, Resources, Snapshot, SourceSpec, file_of},
};

/// The secret that is meant.
pub(super) fn resolve(wanted: &Wanted<'_>, spec: &SecretSpec) -> Result<Option<Secret>, String> {
    if let Some(reference) = &spec.secret_key_ref {
        let name = Name::new(wanted.id.name.namespace.as_str(), reference.name.as_str());
        let Some(secret) = wanted.snapshot.resources.secrets.get(&name) else {
            return Err(missing(&name, wanted.snapshot));
        };
        let value = secret.spec.data.get(&reference.key);
        let value = value.ok_or_else(|| format!("Secret {name} has no key {}", reference.key))?;
        return Ok(Some(value.clone()));
    }
    // Its author may be somebody else than whoever runs the program.
    let in_cluster = wanted.snapshot.addresses.is_some();
    if in_cluster {
        return Err(
            "must be a secretKeyRef: files and the environment are the program's".to_owned()
        );
    }
    let found = config::read_secret(spec.file.as_deref(), spec.env.as_deref())?;
    Ok(Some(Secret::new(found.expose().as_bytes())))
}

/// Why a Secret is not known.
fn missing(name: &Name, snapshot: &Snapshot) -> String {
    let file = file_of(Kind::Secret.as_str(), name);
    let mut problems = snapshot.problems.iter().map(|standing| &standing.problem);
    match problems.find(|problem| *problem.file == file && problem.is_error()) {
        Some(unread) => unread.message.clone(),
        None => format!("Secret {name} is not there"),
    }
}

/// What the secrets of a source come to: equal while none of them has changed.
pub(super) fn hash(name: &Name, spec: &SourceSpec, resources: &Resources) -> u64 {
    let mut hasher = DefaultHasher::new();
    for secret in spec.secret_refs() {
        let name = Name::new(name.namespace.as_str(), secret.name.as_str());
        let found = resources.secrets.get(&name);
        let value = found.and_then(|found| found.spec.data.get(&secret.key));
        value.map(Secret::expose).hash(&mut hasher);
    }
    hasher.finish()
}
