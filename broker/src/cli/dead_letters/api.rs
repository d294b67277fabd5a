//! The dead letters of the admin API, as its client sees them.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, header::CONTENT_TYPE};
use http_body_util::Full;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};
use url::Url;

use super::{
    super::{
        client::{Client, Refusal},
        output::Failure,
    },
    args::{Filter, Select},
};

/// A dead letter holds a whole event; nothing larger than this is one.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Dead letters asked for at once.
const PAGE: u64 = 100;

/// A running server's admin listener.
pub(super) struct Admin {
    base: Url,
    client: Client,
}

/// A dead letter as the server wrote it.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Letter(Box<RawValue>);

/// Part of a list.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    /// Oldest first.
    pub(super) items: Vec<Letter>,
    /// How many there are with these filters.
    pub(super) total: u64,
    /// Where the next page starts.
    pub(super) next: Option<String>,
}

/// The members of a dead letter that people are shown.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Item {
    pub(super) id: String,
    pub(super) broker: Option<String>,
    pub(super) trigger: Option<String>,
    /// In place of the two for what a channel accepted.
    pub(super) channel: Option<String>,
    pub(super) subscription: Option<String>,
    pub(super) destination: Option<String>,
    pub(super) reason: String,
    pub(super) failed_at: String,
    pub(super) attempts: u64,
    pub(super) last_status: Option<u16>,
    pub(super) last_error: Option<String>,
    pub(super) event: Box<RawValue>,
    pub(super) sink: Option<Sink>,
    #[serde(default)]
    pub(super) attempt_log: Vec<Attempt>,
}

/// What became of the copy for the dead letter sink.
#[derive(Debug, Deserialize)]
pub(super) struct Sink {
    pub(super) url: String,
    pub(super) status: String,
    #[serde(default)]
    pub(super) attempts: u64,
}

/// One attempt to deliver.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attempt {
    pub(super) at: String,
    pub(super) duration_ms: f64,
    pub(super) status: Option<u16>,
    pub(super) error: Option<String>,
    pub(super) answer: Option<String>,
    #[serde(default)]
    pub(super) answer_truncated: bool,
}

/// What came of sending dead letters again.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Redriven {
    pub(super) redriven: u64,
    /// Those that have no trigger to go to.
    #[serde(default)]
    pub(super) without_trigger: u64,
}

#[derive(Deserialize)]
struct Purged {
    purged: u64,
}

impl Letter {
    /// Its JSON.
    pub(super) fn json(&self) -> &str {
        self.0.get()
    }

    /// Its members.
    pub(super) fn read(&self) -> Result<Item, Failure> {
        serde_json::from_str(self.json()).map_err(|error| strange(&error))
    }
}

impl Admin {
    /// The admin listener at `base`.
    pub(super) fn new(base: Url, timeout: Duration) -> Self {
        Self { base, client: Client::new(timeout, ANSWER_BYTES_MAX) }
    }

    /// Up to `limit` dead letters that pass `filter`, those after id `after` only.
    ///
    /// Asks for as many pages as that takes; what dies or is dropped meanwhile may be missed.
    pub(super) async fn list(
        &self,
        filter: &Filter,
        limit: u64,
        after: Option<String>,
    ) -> Result<Page, Failure> {
        let mut list = Page { items: Vec::new(), total: 0, next: after };
        loop {
            let wanted = limit - count(list.items.len());
            let mut url = self.url(&[]);
            url.query_pairs_mut()
                .extend_pairs(filter)
                .append_pair("limit", &wanted.min(PAGE).to_string());
            if let Some(after) = &list.next {
                url.query_pairs_mut().append_pair("after", after);
            }
            let mut page: Page = self.call(Method::GET, &url, None).await?;
            let is_last = page.next.is_none() || page.items.is_empty();
            list.total = page.total;
            list.next = page.next;
            list.items.append(&mut page.items);
            if is_last || count(list.items.len()) >= limit {
                return Ok(list);
            }
        }
    }

    /// One dead letter whole.
    pub(super) async fn show(&self, id: &str) -> Result<Letter, Failure> {
        self.call(Method::GET, &self.url(&[id]), None).await
    }

    /// Sends the selected again; returns how many.
    pub(super) async fn redrive(&self, select: &Select) -> Result<Redriven, Failure> {
        let url = self.url(&["redrive"]);
        self.call(Method::POST, &url, Some(select.body())).await
    }

    /// Drops the selected; returns how many.
    pub(super) async fn purge(&self, select: &Select) -> Result<u64, Failure> {
        let url = self.url(&["purge"]);
        let done: Purged = self.call(Method::POST, &url, Some(select.body())).await?;
        Ok(done.purged)
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        // An http URL always has path segments.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().extend(["api", "v1", "dead-letters"]).extend(path);
        }
        url
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        url: &Url,
        body: Option<Value>,
    ) -> Result<T, Failure> {
        let answer = self.client.call(request(method, url, body)?).await.map_err(|error| {
            Failure::caused(format!("the server at {} did not answer", self.host()), &error)
        })?;
        read(&answer)
    }

    fn host(&self) -> &str {
        self.base.as_str().trim_start_matches("http://").trim_end_matches('/')
    }
}

impl Select {
    fn body(&self) -> Value {
        match self {
            Self::Ids(ids) => serde_json::json!({ "ids": ids }),
            Self::Filter(filter) if filter.is_empty() => serde_json::json!({ "all": true }),
            Self::Filter(filter) => filter
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str())))
                .collect(),
        }
    }
}

fn request(
    method: Method,
    url: &Url,
    body: Option<Value>,
) -> Result<Request<Full<Bytes>>, Failure> {
    let mut request = Request::builder().method(method).uri(url.as_str());
    if body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    request
        .body(Full::from(body))
        .map_err(|error| Failure::caused(format!("cannot ask for {url}"), &error))
}

fn read<T: DeserializeOwned>(answer: &Response<Bytes>) -> Result<T, Failure> {
    if !answer.status().is_success() {
        return Err(Failure::Failed(format!("the server refused: {}", Refusal(answer))));
    }
    serde_json::from_slice(answer.body()).map_err(|error| strange(&error))
}

fn strange(error: &serde_json::Error) -> Failure {
    Failure::caused("the answer is not that of a catchment admin listener", error)
}

/// A length as the API counts.
pub(super) fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_cannot_leave_its_place_in_the_path() {
        let base = Url::parse("http://127.0.0.1:8081/").unwrap();
        let admin = Admin::new(base, Duration::from_secs(1));
        let url = admin.url(&["a/../b?c"]);
        assert_eq!(url.path(), "/api/v1/dead-letters/a%2F..%2Fb%3Fc");
    }

    #[test]
    fn a_selection_becomes_the_body_that_the_api_takes() {
        let cases = [
            (Select::Ids(vec!["1".into()]), r#"{"ids":["1"]}"#),
            (Select::Filter(Vec::new()), r#"{"all":true}"#),
            (
                Select::Filter(vec![("trigger", "a/b".into()), ("reason", "aged".into())]),
                r#"{"trigger":"a/b","reason":"aged"}"#,
            ),
        ];
        for (select, body) in cases {
            assert_eq!(select.body().to_string(), body);
        }
    }
}
