//! GitHub's REST API, as far as webhooks need it.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use tokio::time;
use url::Url;

use crate::{Failure, Secret};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Most of an answer that is read.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Hooks of one page, and pages that are looked through: GitHub allows 20 of a kind and target.
const PAGE_LEN: usize = 100;
const PAGES_MAX: usize = 10;

/// The API of one server, with one token.
pub(super) struct Api {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    token: Secret,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}

impl Api {
    pub(super) fn new(token: Secret) -> Result<Self, Failure> {
        let provider = rustls::crypto::ring::default_provider();
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(provider)
            .map_err(|error| failure(format!("the system's certificates cannot be read: {error}")))?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector), token })
    }

    /// The id of the hook that calls `url`.
    pub(super) async fn find(&self, hooks: &Url, url: &str) -> Result<Option<u64>, Failure> {
        for page in 1..=PAGES_MAX {
            let mut at = hooks.clone();
            at.set_query(Some(&format!("per_page={PAGE_LEN}&page={page}")));
            let (status, answer) = self.ask(Method::GET, &at, None).await?;
            if status != StatusCode::OK {
                return Err(refused("list webhooks", status));
            }
            let list = answer.as_array().map(Vec::as_slice).unwrap_or_default();
            let calls =
                |hook: &&Value| hook.pointer("/config/url").and_then(Value::as_str) == Some(url);
            if let Some(id) = list.iter().find(calls).and_then(id_of) {
                return Ok(Some(id));
            }
            if list.len() < PAGE_LEN {
                break;
            }
        }
        Ok(None)
    }

    /// Makes a hook. Returns its id.
    pub(super) async fn make(&self, hooks: &Url, hook: &Value) -> Result<u64, Failure> {
        let (status, answer) = self.ask(Method::POST, hooks, Some(hook)).await?;
        if status != StatusCode::CREATED {
            return Err(refused("make the webhook", status));
        }
        id_of(&answer).ok_or_else(|| failure("GitHub made a webhook and did not say its id"))
    }

    /// Makes a hook what it should be. Returns whether there is one.
    pub(super) async fn change(&self, hooks: &Url, id: u64, hook: &Value) -> Result<bool, Failure> {
        match self.ask(Method::PATCH, &one(hooks, id), Some(hook)).await?.0 {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            status => Err(refused("change the webhook", status)),
        }
    }

    /// Removes a hook; one that is not there is no error.
    pub(super) async fn remove(&self, hooks: &Url, id: u64) -> Result<(), Failure> {
        match self.ask(Method::DELETE, &one(hooks, id), None).await?.0 {
            StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => Ok(()),
            status => Err(refused("remove the webhook", status)),
        }
    }

    async fn ask(
        &self,
        method: Method,
        url: &Url,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), Failure> {
        let host = url.host_str().unwrap_or_default();
        let asked = time::timeout(TIMEOUT, self.exchange(method, url, body)).await;
        asked.unwrap_or_else(|_elapsed| Err(failure(format!("{host} did not answer in time"))))
    }

    async fn exchange(
        &self,
        method: Method,
        url: &Url,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), Failure> {
        let host = url.host_str().unwrap_or_default();
        let token = [b"Bearer ", self.token.expose()].concat();
        let mut token = HeaderValue::from_bytes(token.trim_ascii_end())
            .map_err(|_| failure("spec.accessToken: must not contain line breaks"))?;
        token.set_sensitive(true);
        let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(url.as_str())
            .header(header::AUTHORIZATION, token)
            .header(header::ACCEPT, "application/vnd.github+json")
            .header(header::USER_AGENT, "catchment")
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-github-api-version", "2022-11-28")
            .body(Full::new(bytes))
            .map_err(|error| failure(format!("{host}: {error}")))?;
        let unreachable =
            |error: &dyn fmt::Display| failure(format!("cannot reach {host}: {error}"));
        let answer = self.client.request(request).await.map_err(|error| unreachable(&error))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| unreachable(&error))?.to_bytes();
        // What is no JSON is looked at by its status alone.
        Ok((head.status, serde_json::from_slice(&body).unwrap_or_default()))
    }
}

fn one(hooks: &Url, id: u64) -> Url {
    let mut one = hooks.clone();
    one.set_path(&format!("{}/{id}", hooks.path()));
    one
}

fn id_of(hook: &Value) -> Option<u64> {
    hook.get("id")?.as_u64()
}

fn failure(reason: impl Into<String>) -> Failure {
    Failure { reason: reason.into() }
}

/// What a status means here; what a server wrote beside it is not passed on.
fn refused(doing: &str, status: StatusCode) -> Failure {
    let why = match status {
        StatusCode::UNAUTHORIZED => "spec.accessToken is not taken",
        StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS => {
            "spec.accessToken may not manage webhooks (admin:repo_hook, admin:org_hook), or asked too often"
        }
        StatusCode::NOT_FOUND => {
            "spec.ownerAndRepository does not exist, or spec.accessToken may not see it"
        }
        StatusCode::UNPROCESSABLE_ENTITY => {
            "GitHub does not take it: an event that it does not know in spec.eventTypes, or a public URL that it cannot reach"
        }
        _ => "GitHub refused",
    };
    failure(format!("cannot {doing}: {status}: {why}"))
}
