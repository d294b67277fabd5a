//! Signatures as Standard Webhooks 1.0 asks for them.

use std::{fmt, time::Duration};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use ring::signature::{ED25519, UnparsedPublicKey};

use super::{
    Secret, Verified, check_age,
    mac::{Algorithm, mac_matches},
    required, seconds, unauthorized,
};
use crate::webhook::{Refused, Request};

/// The names that the header fields begin with; the second is that of Svix, from before the standard.
const PREFIXES: [&str; 2] = ["webhook", "svix"];

/// Bytes of a shared key.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Bytes of a public key.
const PUBLIC_KEY_BYTES: usize = 32;

/// Signatures of one request that are looked at.
const SIGNATURES_MAX: usize = 16;

/// What a sender signs with.
#[derive(Clone)]
pub enum StandardKey {
    /// A shared key, for `v1`: `whsec_` and base64.
    Shared(Secret),
    /// A public key, for `v1a`: `whpk_` and base64.
    Public(Vec<u8>),
}

impl fmt::Debug for StandardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared(_) => "Shared(…)",
            Self::Public(_) => "Public(…)",
        })
    }
}

/// Why a secret is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It does not begin as keys do.
    #[error("must begin with whsec_ (a shared key) or whpk_ (a public key)")]
    Prefix,
    /// It is not base64.
    #[error("must be base64 after whsec_ or whpk_")]
    Encoding,
    /// It has the wrong length.
    #[error("must be of 24 to 64 bytes (whsec_) or of 32 bytes (whpk_)")]
    Length,
}

impl StandardKey {
    /// Reads a key as senders show it.
    ///
    /// # Errors
    ///
    /// When it is none; the key itself is not told.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let decode = |text: &str| STANDARD.decode(text).map_err(|_| KeyError::Encoding);
        if let Some(shared) = text.strip_prefix("whsec_") {
            let key = decode(shared)?;
            let fits = KEY_BYTES.contains(&key.len());
            return if fits { Ok(Self::Shared(Secret::new(key))) } else { Err(KeyError::Length) };
        }
        let key = decode(text.strip_prefix("whpk_").ok_or(KeyError::Prefix)?)?;
        if key.len() == PUBLIC_KEY_BYTES { Ok(Self::Public(key)) } else { Err(KeyError::Length) }
    }

    fn signed(&self, version: &str, tag: &[u8], pieces: &[&[u8]]) -> bool {
        match (self, version) {
            (Self::Shared(key), "v1") => mac_matches(Algorithm::Sha256, key.expose(), pieces, tag),
            (Self::Public(key), "v1a") => {
                UnparsedPublicKey::new(&ED25519, key).verify(&pieces.concat(), tag).is_ok()
            }
            _ => false,
        }
    }
}

/// How senders sign that follow the standard.
#[derive(Clone, Debug)]
pub struct StandardScheme {
    /// The keys; one of them is enough.
    pub keys: Vec<StandardKey>,
    /// How far the time may be from now.
    pub tolerance: Duration,
}

impl StandardScheme {
    pub(super) fn verify(
        &self,
        request: &Request<'_>,
        now: Timestamp,
    ) -> Result<Verified, Refused> {
        let is_there = |prefix: &&&str| request.headers.contains_key(format!("{prefix}-id"));
        let prefix = PREFIXES.iter().find(is_there).unwrap_or(&"webhook");
        let name = |end: &str| format!("{prefix}-{end}");
        let id = required(request, &name("id"))?;
        let written = required(request, &name("timestamp"))?;
        let signatures = required(request, &name("signature"))?;
        for (end, value) in [("id", id), ("timestamp", written)] {
            if value.is_empty() || value.contains('.') {
                return Err(unauthorized(name(end), "must not be empty or contain a dot"));
            }
        }
        let time = seconds(&name("timestamp"), written)?;
        let pieces: [&[u8]; 5] = [id.as_bytes(), b".", written.as_bytes(), b".", request.body];
        let mut is_one_whole = false;
        let is_signed = signatures.split(' ').take(SIGNATURES_MAX).any(|signature| {
            let Some((version, tag)) = signature.split_once(',') else { return false };
            let Ok(tag) = STANDARD.decode(tag) else { return false };
            is_one_whole = true;
            self.keys.iter().any(|key| key.signed(version, &tag, &pieces))
        });
        if !is_signed {
            let rule = if is_one_whole {
                "does not fit id, time and body; is the secret the one that the sender has?"
            } else {
                "must be a list of v1,BASE64 or v1a,BASE64 with spaces between"
            };
            return Err(unauthorized(name("signature"), rule));
        }
        check_age(&name("timestamp"), time, now, self.tolerance)?;
        Ok(Verified { id: Some(id.to_owned()), timestamp: Some(time) })
    }
}
