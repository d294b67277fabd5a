//! Where the secrets of sources are: in Secrets, files and the environment.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use ::sources::{Secret, SecretSpec};
use channel::Name;

use super::Wanted;
use crate::{
    config,
    manifest::{Resources, SourceSpec},
};

/// The secret that is meant.
pub(super) fn resolve(wanted: &Wanted<'_>, spec: &SecretSpec) -> Result<Option<Secret>, String> {
    if let Some(reference) = &spec.secret_key_ref {
        let name = Name::new(wanted.id.name.namespace.as_str(), reference.name.as_str());
        let Some(secret) = wanted.resources.secrets.get(&name) else {
            return Err(format!("Secret {name} is not there"));
        };
        let value = secret.spec.data.get(&reference.key);
        let value = value.ok_or_else(|| format!("Secret {name} has no key {}", reference.key))?;
        return Ok(Some(Secret::new(value.as_slice())));
    }
    if wanted.in_cluster {
        return Err(
            "must be a secretKeyRef: files and the environment are the program's".to_owned()
        );
    }
    let found = config::read_secret(spec.file.as_deref(), spec.env.as_deref())?;
    Ok(Some(Secret::new(found.expose().as_bytes())))
}

/// What the secrets of a source come to: equal while none of them has changed.
pub(super) fn hash(name: &Name, spec: &SourceSpec, resources: &Resources) -> u64 {
    let mut hasher = DefaultHasher::new();
    for secret in spec.secret_refs() {
        let name = Name::new(name.namespace.as_str(), secret.name.as_str());
        resources.secrets.get(&name).map(|secret| secret.hash).hash(&mut hasher);
    }
    hasher.finish()
}
