//! HMAC signatures, in the forms that senders give them.

use std::time::Duration;

use base64::Engine as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Sha256, Sha384, Sha512};

use super::{Secret, Verified, check_age, required, seconds, unauthorized};
use crate::webhook::{Refused, Request};

/// Signatures of one request that are looked at.
const SIGNATURES_MAX: usize = 16;

/// The hash of a signature. SHA-1 is not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// How the bytes of a signature are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Two digits for a byte.
    #[default]
    Hex,
    /// Base64 with padding.
    Base64,
}

/// Where in its header field a signature stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// The whole value, after a prefix.
    Whole {
        /// What stands in front, such as `sha256=`.
        prefix: String,
    },
    /// One of `name=value` pairs with commas between, beside its time: `t=1,v1=ab,v1=cd`.
    Pairs {
        /// The name of the time.
        timestamp: &'static str,
        /// The name of signatures.
        signature: &'static str,
    },
}

/// A piece of what is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signed {
    /// Text that is always the same.
    Text(String),
    /// The time, as it was written.
    Timestamp,
    /// The id, as it was written.
    Id,
    /// The body.
    Body,
}

/// How a sender signs.
#[derive(Clone, Debug)]
pub struct HmacScheme {
    /// The hash.
    pub algorithm: Algorithm,
    /// The header field of the signature, in lower case.
    pub header: String,
    /// How it is written.
    pub encoding: Encoding,
    /// Where in the field it stands.
    pub layout: Layout,
    /// What is signed.
    pub signed: Vec<Signed>,
    /// The header field of the time.
    pub timestamp_header: Option<String>,
    /// The header field of the id.
    pub id_header: Option<String>,
    /// The field of an older signature, which is named when only that one is there.
    pub weak_header: Option<&'static str>,
    /// How far the time may be from now.
    pub tolerance: Duration,
    /// The keys; one of them is enough.
    pub keys: Vec<Secret>,
}

/// What was found in a request.
#[derive(Debug, Default)]
struct Found<'a> {
    signatures: Vec<&'a str>,
    timestamp: Option<&'a str>,
    id: Option<&'a str>,
}

impl HmacScheme {
    /// Reads `{timestamp}.{body}`: what is signed.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as a phrase.
    pub fn parse_signed(text: &str) -> Result<Vec<Signed>, String> {
        let (mut signed, mut rest) = (Vec::new(), text);
        while let Some((before, from)) = rest.split_once('{') {
            if !before.is_empty() {
                signed.push(Signed::Text(before.to_owned()));
            }
            let (name, after) = from.split_once('}').ok_or("has a { without a }")?;
            signed.push(match name {
                "timestamp" => Signed::Timestamp,
                "id" => Signed::Id,
                "body" => Signed::Body,
                _ => return Err(format!("{{{name}}} is not known; known are id, timestamp, body")),
            });
            rest = after;
        }
        if !rest.is_empty() {
            signed.push(Signed::Text(rest.to_owned()));
        }
        if !signed.contains(&Signed::Body) {
            return Err("must contain {body}: what is not signed can be changed".to_owned());
        }
        Ok(signed)
    }

    pub(super) fn verify(
        &self,
        request: &Request<'_>,
        now: Timestamp,
    ) -> Result<Verified, Refused> {
        let found = self.find(request)?;
        let tags: Vec<Vec<u8>> =
            found.signatures.iter().filter_map(|text| self.decode(text)).collect();
        if tags.is_empty() {
            return Err(unauthorized(self.header.clone(), self.form()));
        }
        let is_signed = |tag: &Vec<u8>| {
            self.keys.iter().any(|key| self.matches(key, tag, &found, request.body))
        };
        if !tags.iter().any(is_signed) {
            let rule = "does not fit the body; is the secret the one that the sender has?";
            return Err(unauthorized(self.header.clone(), rule));
        }
        let header = self.timestamp_header.as_deref().unwrap_or(&self.header);
        let timestamp = found.timestamp.map(|text| seconds(header, text)).transpose()?;
        if let Some(time) = timestamp {
            check_age(header, time, now, self.tolerance)?;
        }
        Ok(Verified { id: found.id.map(str::to_owned), timestamp })
    }

    fn find<'a>(&self, request: &Request<'a>) -> Result<Found<'a>, Refused> {
        let weak = self.weak_header.filter(|weak| request.headers.contains_key(*weak));
        if let (Some(weak), false) = (weak, request.headers.contains_key(&self.header)) {
            let rule = format!("is missing, and {weak} alone (SHA-1) is not enough");
            return Err(unauthorized(self.header.clone(), rule));
        }
        let value = required(request, &self.header)?;
        let mut found = Found::default();
        match &self.layout {
            Layout::Whole { prefix } => {
                found.signatures.extend(value.strip_prefix(prefix.as_str()))
            }
            Layout::Pairs { timestamp, signature } => {
                let pairs = value.split(',').filter_map(|pair| pair.trim().split_once('='));
                for (name, value) in pairs {
                    if name == *timestamp {
                        found.timestamp = Some(value);
                    } else if name == *signature && found.signatures.len() < SIGNATURES_MAX {
                        found.signatures.push(value);
                    }
                }
                if found.timestamp.is_none() {
                    return Err(unauthorized(self.header.clone(), "has no time"));
                }
            }
        }
        if let Some(header) = &self.timestamp_header {
            found.timestamp = Some(required(request, header)?);
        }
        if let Some(header) = &self.id_header {
            found.id = Some(required(request, header)?);
        }
        Ok(found)
    }

    /// The bytes of a signature that is whole.
    fn decode(&self, text: &str) -> Option<Vec<u8>> {
        let bytes = match self.encoding {
            Encoding::Hex => hex(text)?,
            Encoding::Base64 => base64::engine::general_purpose::STANDARD.decode(text).ok()?,
        };
        (bytes.len() == self.algorithm.bytes()).then_some(bytes)
    }

    /// How a signature must look.
    fn form(&self) -> String {
        let bytes = self.algorithm.bytes();
        let digits = match self.encoding {
            Encoding::Hex => format!("{} hexadecimal digits", bytes * 2),
            Encoding::Base64 => format!("base64 of {bytes} bytes"),
        };
        match &self.layout {
            Layout::Whole { prefix } => format!("must be {prefix:?} and {digits}"),
            Layout::Pairs { signature, .. } => format!("must have {signature}= and {digits}"),
        }
    }

    fn matches(&self, key: &Secret, tag: &[u8], found: &Found<'_>, body: &[u8]) -> bool {
        let mut pieces: Vec<&[u8]> = Vec::with_capacity(self.signed.len());
        for piece in &self.signed {
            pieces.push(match piece {
                Signed::Text(text) => text.as_bytes(),
                Signed::Timestamp => found.timestamp.unwrap_or_default().as_bytes(),
                Signed::Id => found.id.unwrap_or_default().as_bytes(),
                Signed::Body => body,
            });
        }
        mac_matches(self.algorithm, key.expose(), &pieces, tag)
    }
}

impl Algorithm {
    /// Bytes of a signature.
    pub fn bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// Whether `tag` is the HMAC of the pieces, one after the other; constant time.
pub(super) fn mac_matches(algorithm: Algorithm, key: &[u8], pieces: &[&[u8]], tag: &[u8]) -> bool {
    macro_rules! matches {
        ($hash:ty) => {{
            let Ok(mut mac) = Hmac::<$hash>::new_from_slice(key) else { return false };
            for piece in pieces {
                mac.update(piece);
            }
            mac.verify_slice(tag).is_ok()
        }};
    }
    match algorithm {
        Algorithm::Sha256 => matches!(Sha256),
        Algorithm::Sha384 => matches!(Sha384),
        Algorithm::Sha512 => matches!(Sha512),
    }
}

/// Bytes written in hexadecimal, in either case.
fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |&[high, low]: &[u8; 2]| Some(digit(high)? << 4 | digit(low)?);
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}
