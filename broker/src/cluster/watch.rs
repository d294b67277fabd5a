//! One kind of object, listed and then watched: a stream of changes that goes on through failures.

use std::{collections::BTreeSet, time::Duration};

use channel::Name;
use futures_util::StreamExt as _;
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, WatchParams},
    core::{ApiResource, DynamicObject},
    runtime::{
        WatchStreamExt as _,
        utils::Backoff,
        watcher::{self, Event},
    },
};
use tokio::{
    sync::mpsc,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

use super::{
    error::{in_words, is_not_found},
    loose::Loose,
};

/// Seconds after which a watch is begun anew: one that broke without a word is noticed by then.
const WATCH_SECONDS: u32 = 60;

/// The wait after the first failure; it doubles with each further one, with chance in it.
const RETRY_FIRST: Duration = Duration::from_millis(250);

/// The longest wait after a failure.
const RETRY_MAX: Duration = Duration::from_secs(15);

/// How soon a server that failed is asked whether it answers; up to eight times that later on.
const ASK_FIRST: Duration = Duration::from_secs(2);

/// How long it may take to answer.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// What became of the objects of one kind.
#[derive(Debug)]
pub(super) enum Change {
    /// One is new, or another; with what of it cannot be read.
    Put(Name, Box<DynamicObject>, Option<String>),
    /// One is gone.
    Gone(Name),
    /// All there are have been told of: these. Others are gone.
    Listed(BTreeSet<Name>),
    /// The cluster does not have the kind, or not the object that is asked for.
    Absent,
    /// They cannot be told for now, for this reason.
    Failed(String),
    /// They can be told again, and nothing has changed.
    Recovered,
}

/// A change, and the watch that it comes from.
#[derive(Debug)]
pub(super) struct News<S> {
    pub(super) from: S,
    pub(super) change: Change,
}

/// What to watch.
pub(super) struct Watched {
    pub(super) api: Api<Loose>,
    pub(super) kind: ApiResource,
    /// How it is called in messages, such as `triggers.eventing.knative.dev`.
    pub(super) called: String,
    /// The only object that counts, by its name.
    pub(super) only: Option<String>,
}

/// Tells `changes` what becomes of the objects until `stop` fires.
pub(super) async fn follow<S: Clone>(
    watched: Watched,
    from: S,
    changes: mpsc::Sender<News<S>>,
    stop: CancellationToken,
) {
    let teller = Teller { from, changes, stop };
    let mut told = None;
    loop {
        let ended = round(&watched, &mut told, &teller).await;
        if let Ended::Stopped = ended {
            return;
        }
        // All are listed anew: nobody knows what was missed.
        if told.take().is_some() && !teller.tell(Change::Recovered).await {
            return;
        }
    }
}

/// Whom a watch tells.
struct Teller<S> {
    from: S,
    changes: mpsc::Sender<News<S>>,
    stop: CancellationToken,
}

impl<S: Clone> Teller<S> {
    /// Returns whether anybody wants to know more.
    async fn tell(&self, change: Change) -> bool {
        let news = News { from: self.from.clone(), change };
        matches!(self.stop.run_until_cancelled(self.changes.send(news)).await, Some(Ok(())))
    }
}

/// How a round of watching ended.
enum Ended {
    /// Nobody wants to know any more.
    Stopped,
    /// The server answers again, after it did not.
    Recovered,
}

/// Lists and watches until the server fails and then answers again.
async fn round<S: Clone>(
    watched: &Watched,
    told: &mut Option<String>,
    teller: &Teller<S>,
) -> Ended {
    let mut config = watcher::Config::default().timeout(WATCH_SECONDS);
    if let Some(name) = &watched.only {
        config = config.fields(&format!("metadata.name={name}"));
    }
    let stream = watcher::watcher(watched.api.clone(), config).backoff(Waits::default());
    let mut stream = std::pin::pin!(stream.take_until(teller.stop.clone().cancelled_owned()));
    let mut listing = BTreeSet::new();
    let mut asks = Asks::default();
    loop {
        // That it goes on after a failure a watch tells only with the next change.
        let event = tokio::select! {
            biased;
            event = stream.next() => event,
            () = asks.answered(&watched.api), if told.is_some() => return Ended::Recovered,
        };
        let change = match event {
            None => return Ended::Stopped,
            Some(Ok(Event::Init)) => {
                listing.clear();
                continue;
            }
            Some(Ok(Event::InitApply(object))) => {
                let (name, change) = put(watched, object);
                listing.insert(name);
                change
            }
            Some(Ok(Event::InitDone)) => Change::Listed(std::mem::take(&mut listing)),
            Some(Ok(Event::Apply(object))) => put(watched, object).1,
            Some(Ok(Event::Delete(object))) => Change::Gone(name_of(&object)),
            // Its history is forgotten: it is listed anew at once, and nothing is lost.
            Some(Err(watcher::Error::WatchError(status))) if status.code == 410 => continue,
            Some(Err(error)) => failed(&watched.called, &error),
        };
        let why = match &change {
            Change::Failed(why) => Some(why.clone()),
            Change::Absent => Some(String::new()),
            _ => None,
        };
        // A failure is told once, not again while it stays the same.
        let is_told = why.is_some() && *told == why;
        let is_over = told.is_some() && why.is_none();
        *told = why;
        if is_over && !teller.tell(Change::Recovered).await {
            return Ended::Stopped;
        }
        if !is_told && !teller.tell(change).await {
            return Ended::Stopped;
        }
    }
}

fn put(watched: &Watched, object: Loose) -> (Name, Change) {
    let name = name_of(&object);
    let (object, unreadable) = object.read(&watched.kind);
    (name.clone(), Change::Put(name, Box::new(object), unreadable))
}

/// Questions whether a server that failed answers again, less and less often.
#[derive(Debug, Default)]
struct Asks {
    asked: u32,
}

impl Asks {
    /// Waits until the objects can be listed and watched. Cancel safe.
    async fn answered(&mut self, api: &Api<Loose>) {
        let (one, watch) = (ListParams::default().limit(1), WatchParams::default().timeout(1));
        loop {
            time::sleep(ASK_FIRST.saturating_mul(1 << self.asked.min(3))).await;
            self.asked = self.asked.saturating_add(1);
            let asked = async {
                let listed = api.list(&one).await?;
                let version = listed.metadata.resource_version.unwrap_or_default();
                api.watch(&watch, &version).await.map(drop)
            };
            if time::timeout(ASK_TIMEOUT, asked).await.is_ok_and(|answer| answer.is_ok()) {
                return;
            }
        }
    }
}

fn name_of(object: &Loose) -> Name {
    Name::new(object.namespace().unwrap_or_default(), object.name_any())
}

fn failed(called: &str, error: &watcher::Error) -> Change {
    let (doing, error) = match error {
        watcher::Error::InitialListFailed(error) if is_not_found(error) => return Change::Absent,
        watcher::Error::InitialListFailed(error) => ("list", error),
        watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
            ("watch", error)
        }
        watcher::Error::WatchError(status) => {
            return Change::Failed(format!("cannot watch {called}: {}", status.message));
        }
        watcher::Error::NoResourceVersion => {
            return Change::Failed(format!("cannot watch {called}: it has no resource versions"));
        }
    };
    Change::Failed(in_words(&format!("cannot {doing} {called}"), error))
}

/// The waits after failures in a row.
#[derive(Debug, Default)]
pub(super) struct Waits {
    failures: u32,
    last: Option<Instant>,
}

impl Waits {
    /// The wait after so many failures. `draw`, uniform in `[0, 1)`, shortens it by up to a half, so
    /// that replicas do not come back together.
    fn after(failures: u32, draw: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        RETRY_FIRST.saturating_mul(1 << doublings).min(RETRY_MAX).mul_f64(1.0 - 0.5 * draw)
    }
}

impl Iterator for Waits {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let now = Instant::now();
        if self.last.is_some_and(|last| now - last > RETRY_MAX * 2) {
            self.failures = 0;
        }
        self.last = Some(now);
        self.failures = self.failures.saturating_add(1);
        Some(Self::after(self.failures, fastrand::f64()))
    }
}

impl Backoff for Waits {
    /// What comes between two failures need not be a success: a list that fails has begun before.
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use kube::{Client, Config, core::GroupVersionKind};
    use serde_json::json;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
        task::JoinSet,
    };

    use super::*;

    /// Answers one request. A watch goes on as long as its connection is kept.
    async fn answer(listener: &TcpListener, status: &str, body: &serde_json::Value) -> TcpStream {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(connection.read_u8().await.unwrap());
        }
        let is_watch = String::from_utf8_lossy(&head).contains("watch=true");
        let length = format!("content-length: {}\r\n", body.to_string().len() + 1);
        let length = if is_watch && status == "200 OK" { "" } else { &length };
        let text = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{length}connection: close\r\n\r\n{body}\n"
        );
        connection.write_all(text.as_bytes()).await.unwrap();
        connection
    }

    #[tokio::test]
    async fn a_watch_that_goes_on_by_itself_says_so_before_anything_else() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let meta = |version: &str| json!({"name": "a", "resourceVersion": version});
            let list = json!({"apiVersion": "v1", "kind": "ThingList",
                "metadata": {"resourceVersion": "1"}, "items": [{"metadata": meta("1")}]});
            let refused = json!({"kind": "Status", "apiVersion": "v1", "metadata": {},
                "status": "Failure", "message": "no", "reason": "Forbidden", "code": 403});
            let event = json!({"type": "MODIFIED", "object": {
                "apiVersion": "v1", "kind": "Thing", "metadata": meta("2")}});
            let mut kept = Vec::new();
            for (status, body) in
                [("200 OK", &list), ("403 Forbidden", &refused), ("200 OK", &event)]
            {
                kept.push(answer(&listener, status, body).await);
            }
            // Until the test ends.
            std::future::pending::<()>().await;
            drop(kept);
        });
        let client = Client::try_from(Config::new(url.parse().unwrap())).unwrap();
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Thing"));
        let api = Api::all_with(client, &kind);
        let (sender, mut changes) = mpsc::channel(8);
        let stop = CancellationToken::new();
        let watched = Watched { api, kind, called: "things".to_owned(), only: None };
        tasks.spawn(follow(watched, (), sender, stop.clone()));
        let mut told = Vec::new();
        while told.iter().filter(|it| *it == "put a").count() < 2 {
            told.push(match changes.recv().await.unwrap().change {
                Change::Put(name, ..) => format!("put {}", name.name),
                Change::Listed(names) => format!("listed {}", names.len()),
                Change::Failed(why) => why,
                other => format!("{other:?}").to_lowercase(),
            });
        }
        assert_eq!(told, ["put a", "listed 1", "cannot watch things: no", "recovered", "put a"]);
        stop.cancel();
        tasks.shutdown().await;
    }

    #[test]
    fn waits_grow_to_a_bound_and_chance_only_shortens_them() {
        let waits: Vec<u128> = (1..9).map(|n| Waits::after(n, 0.0).as_millis()).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 15000, 15000]);
        assert_eq!(Waits::after(u32::MAX, 0.5), RETRY_MAX.mul_f64(0.75));
    }
}
