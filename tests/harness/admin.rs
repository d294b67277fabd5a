//! The admin API from outside: typed for what the oracle counts with, JSON for the rest.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::http::{Headers, Response};
use crate::producer::Producer;
use crate::wait::eventually;

/// A client of the admin listener.
#[derive(Clone, Copy, Debug)]
pub struct Admin {
    address: SocketAddr,
}

/// What a trigger counted: `matched` is always the sum of the others.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    /// Events that its filter let pass.
    pub matched: u64,
    /// Ended by a 2xx.
    pub delivered: u64,
    /// Dead letters held now.
    pub dead: u64,
    /// Dead letters removed by retention.
    pub expired: u64,
    /// Dead letters removed by an operator.
    pub purged: u64,
    /// Not in flight now, to be tried.
    pub waiting: u64,
    /// Being tried now.
    pub in_flight: u64,
}

/// A trigger as the API shows it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TriggerStatus {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its broker, as `namespace/name`.
    pub broker: String,
    /// Whether it takes part.
    pub ready: bool,
    /// Why it does not take part, or stands still.
    pub reason: Option<String>,
    /// `closed`, `open` or `halfOpen`.
    pub breaker: String,
    /// What it counted.
    pub counters: Counters,
}

/// A dead letter as the list shows it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Its id.
    pub id: String,
    /// Its broker, as `namespace/name`.
    pub broker: String,
    /// The trigger that failed, as `namespace/name`.
    pub trigger: String,
    /// Where it should have gone.
    pub destination: String,
    /// Why it is here.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u64,
    /// The last status, if there was a response.
    pub last_status: Option<u16>,
    /// When, in RFC 3339.
    pub failed_at: String,
    /// `id`, `source`, `type` and some more of the event.
    pub event: Value,
    /// What became of the copy for the dead letter sink.
    pub sink: Option<Value>,
}

#[derive(Deserialize)]
struct List<T> {
    items: Vec<T>,
    #[serde(default)]
    next: Option<String>,
}

impl Admin {
    /// For an admin listener.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// GETs a path.
    pub async fn get(&self, path: &str) -> Response {
        let mut client = Producer::new(self.address, "");
        let answer = client.request("GET", path, Headers::default(), None).await;
        answer.unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// POSTs JSON to a path.
    pub async fn post(&self, path: &str, body: &Value) -> Response {
        let mut client = Producer::new(self.address, "");
        let headers = Headers(vec![("content-type".into(), b"application/json".to_vec())]);
        let answer = client.request("POST", path, headers, Some(body.to_string().into())).await;
        answer.unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> T {
        let response = self.get(path).await;
        assert_eq!(response.status, 200, "GET {path}: {}", response.text());
        serde_json::from_slice(&response.body)
            .unwrap_or_else(|error| panic!("GET {path}: {error}: {}", response.text()))
    }

    /// All triggers.
    pub async fn triggers(&self) -> Vec<TriggerStatus> {
        self.read::<List<TriggerStatus>>("/api/v1/triggers").await.items
    }

    /// One trigger, as `namespace/name`.
    pub async fn trigger(&self, name: &str) -> TriggerStatus {
        self.read(&format!("/api/v1/triggers/{name}")).await
    }

    /// One broker as JSON, as `namespace/name`.
    pub async fn broker(&self, name: &str) -> Value {
        self.read(&format!("/api/v1/brokers/{name}")).await
    }

    /// All dead letters, page by page.
    pub async fn dead_letters(&self) -> Vec<DeadLetter> {
        let mut all = Vec::new();
        let mut after = String::new();
        loop {
            let page: List<DeadLetter> =
                self.read(&format!("/api/v1/dead-letters?limit=100{after}")).await;
            all.extend(page.items);
            match page.next {
                Some(id) => after = format!("&after={id}"),
                None => return all,
            }
        }
    }

    /// Waits until there are so many dead letters, and gives them.
    pub async fn dead_letters_reach(&self, count: usize, deadline: Duration) -> Vec<DeadLetter> {
        let ask = || async {
            let letters = self.dead_letters().await;
            if letters.len() >= count {
                Ok(letters)
            } else {
                Err(format!("{} dead letters", letters.len()))
            }
        };
        eventually(deadline, ask).await
    }

    /// One dead letter, whole, as JSON.
    pub async fn dead_letter(&self, id: &str) -> Value {
        self.read(&format!("/api/v1/dead-letters/{id}")).await
    }

    /// Sends all dead letters back to the triggers that failed; how many.
    pub async fn redrive_all(&self) -> u64 {
        let response = self.post("/api/v1/dead-letters/redrive", &json!({"all": true})).await;
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()["redriven"].as_u64().expect("redriven")
    }

    /// The manifests that were refused.
    pub async fn problems(&self) -> Vec<Value> {
        self.read::<List<Value>>("/api/v1/problems").await.items
    }

    /// The metrics page.
    pub async fn metrics(&self) -> String {
        let response = self.get("/metrics").await;
        assert_eq!(response.status, 200);
        response.text()
    }

    /// Waits until a trigger's status is as asked, and gives it.
    pub async fn until_trigger(
        &self,
        name: &str,
        deadline: Duration,
        is_so: impl Fn(&TriggerStatus) -> bool,
    ) -> TriggerStatus {
        let ask = || async {
            let status = self.trigger(name).await;
            if is_so(&status) { Ok(status) } else { Err(status) }
        };
        eventually(deadline, ask).await
    }
}
