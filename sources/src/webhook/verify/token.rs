//! Tokens and passwords that are sent as they are.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Secret, required, unauthorized};
use crate::webhook::{Refused, Request};

/// A token in a header field.
#[derive(Clone, Debug)]
pub struct TokenScheme {
    /// The header field, in lower case.
    pub header: String,
    /// The scheme in front of the token, such as `Bearer`; compared without regard to case.
    pub scheme: Option<&'static str>,
    /// A parameter of the query that may hold it instead.
    pub query: Option<&'static str>,
    /// The tokens; one of them is enough.
    pub tokens: Vec<Secret>,
}

impl TokenScheme {
    /// A bearer token, in `Authorization` or `access_token` (HTTP webhooks for CloudEvents, 3.1, 3.2).
    pub fn bearer(tokens: Vec<Secret>) -> Self {
        let header = "authorization".to_owned();
        Self { header, scheme: Some("Bearer"), query: Some("access_token"), tokens }
    }

    pub(super) fn verify(&self, request: &Request<'_>) -> Result<(), Refused> {
        self.check(request).map_err(|refused| Refused {
            challenge: self.scheme.map(|_| "Bearer realm=\"catchment\""),
            ..refused
        })
    }

    fn check(&self, request: &Request<'_>) -> Result<(), Refused> {
        let in_query = self.query.and_then(|name| request.query(name));
        let token = match in_query {
            Some(token) if !request.headers.contains_key(&self.header) => token,
            _ => self.in_header(request)?.to_owned(),
        };
        // Every token is compared, so that the time does not tell which one is near.
        let fits = self.tokens.iter().fold(false, |fits, one| one.is(token.as_bytes()) | fits);
        if fits {
            return Ok(());
        }
        Err(unauthorized(self.header.clone(), "is not the token that is expected"))
    }

    fn in_header<'a>(&self, request: &Request<'a>) -> Result<&'a str, Refused> {
        let value = required(request, &self.header)?;
        let Some(scheme) = self.scheme else { return Ok(value) };
        let token = value.split_once(' ').filter(|(found, _)| found.eq_ignore_ascii_case(scheme));
        token.map(|(_, token)| token.trim()).ok_or_else(|| {
            unauthorized(self.header.clone(), format!("must be {scheme} and a token"))
        })
    }
}

/// A user name and a password (RFC 7617).
#[derive(Clone, Debug)]
pub struct BasicScheme {
    /// The user name.
    pub username: String,
    /// The passwords; one of them is enough.
    pub passwords: Vec<Secret>,
}

impl BasicScheme {
    pub(super) fn verify(&self, request: &Request<'_>) -> Result<(), Refused> {
        let refuse = |rule: &'static str| Refused {
            challenge: Some("Basic realm=\"catchment\", charset=\"UTF-8\""),
            ..unauthorized("authorization", rule)
        };
        let value = required(request, "authorization")
            .map_err(|refused| Refused { challenge: refuse("").challenge, ..refused })?;
        let credentials = value
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
            .and_then(|(_, encoded)| STANDARD.decode(encoded.trim()).ok())
            .ok_or_else(|| refuse("must be Basic and base64 of user name and password"))?;
        let colon = credentials.iter().position(|byte| *byte == b':');
        let (user, password) = credentials.split_at(colon.unwrap_or(credentials.len()));
        let password = password.get(1..).unwrap_or_default();
        let is_user = Secret::new(self.username.as_bytes()).is(user);
        let fits = self.passwords.iter().fold(false, |fits, one| one.is(password) | fits);
        if is_user & fits { Ok(()) } else { Err(refuse("is not a user that is expected")) }
    }
}
