//! Who sent a request: signatures, tokens and passwords, compared in constant time.

mod mac;
mod standard;
#[cfg(test)]
mod tests;
mod token;

use std::{borrow::Cow, fmt, time::Duration};

use http::StatusCode;
use jiff::Timestamp;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

pub use self::{
    mac::{Algorithm, Encoding, HmacScheme, Layout, Signed},
    standard::{KeyError, StandardKey, StandardScheme},
    token::{BasicScheme, TokenScheme},
};
use super::{Refused, Request};

/// Shortest secret: less can be guessed.
pub const SECRET_BYTES_MIN: usize = 16;

/// Most secrets of a source: two are needed while one is changed for another.
pub const SECRETS_MAX: usize = 8;

/// Bytes that are never shown, and wiped when nobody needs them any more.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// A secret of those bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether the secret is `other`; takes as long for every text of one length.
    pub fn is(&self, other: &[u8]) -> bool {
        self.0.ct_eq(other).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// How a sender proves who it is.
#[derive(Clone, Debug)]
pub enum Verifier {
    /// It signs with a shared key.
    Hmac(HmacScheme),
    /// It signs as Standard Webhooks asks.
    Standard(StandardScheme),
    /// It sends a token.
    Token(TokenScheme),
    /// It sends a user name and a password.
    Basic(BasicScheme),
    /// Not at all.
    None,
}

/// What a signature covers beside the body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// The id of the delivery.
    pub id: Option<String>,
    /// When it was signed.
    pub timestamp: Option<Timestamp>,
}

impl Verifier {
    /// Checks a request that came at `now`.
    ///
    /// # Errors
    ///
    /// A 401 that names the header field at fault.
    pub fn verify(&self, request: &Request<'_>, now: Timestamp) -> Result<Verified, Refused> {
        match self {
            Self::Hmac(scheme) => scheme.verify(request, now),
            Self::Standard(scheme) => scheme.verify(request, now),
            Self::Token(scheme) => scheme.verify(request).map(|()| Verified::default()),
            Self::Basic(scheme) => scheme.verify(request).map(|()| Verified::default()),
            Self::None => Ok(Verified::default()),
        }
    }
}

/// A 401 for what is wrong in a header field.
fn unauthorized(
    header: impl Into<Cow<'static, str>>,
    rule: impl Into<Cow<'static, str>>,
) -> Refused {
    Refused::new(StatusCode::UNAUTHORIZED, header, rule)
}

/// A header field that must be there once.
fn required<'a>(request: &Request<'a>, name: &str) -> Result<&'a str, Refused> {
    request.required(name).map_err(|rule| unauthorized(name.to_owned(), rule))
}

/// Reads a time stamp, in seconds since 1970.
fn seconds(name: &str, text: &str) -> Result<Timestamp, Refused> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let time = text.parse().ok().filter(|_| is_number).map(Timestamp::from_second);
    let rule = "must be a time in seconds since 1970";
    time.and_then(Result::ok).ok_or_else(|| unauthorized(name.to_owned(), rule))
}

/// Checks that a signed time is not further than `tolerance` from now.
fn check_age(
    name: &str,
    time: Timestamp,
    now: Timestamp,
    tolerance: Duration,
) -> Result<(), Refused> {
    let apart = now.duration_since(time).unsigned_abs();
    if apart <= tolerance {
        return Ok(());
    }
    let (apart, side) = (apart.as_secs(), if time < now { "in the past" } else { "in the future" });
    let rule = format!(
        "is {apart} s {side}, and {} s are tolerated; is it an old delivery, or a wrong clock?",
        tolerance.as_secs()
    );
    Err(unauthorized(name.to_owned(), rule))
}
