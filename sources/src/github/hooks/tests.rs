//! The hook against a server that keeps hooks as GitHub does.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinSet};

use super::*;
use crate::{
    GitHubSourceSpec, House, SecretSpec, SourceId, Supervisor,
    testing::{house, sink},
};

/// What the server holds and was asked.
#[derive(Debug, Default)]
struct Kept {
    hooks: BTreeMap<u64, Value>,
    asked: Vec<String>,
    last_id: u64,
    /// Answers everything so.
    refuses: Option<u16>,
}

struct GitHub {
    address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
    _tasks: JoinSet<()>,
}

impl GitHub {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, kept) = (listener.local_addr().unwrap(), Arc::<Mutex<Kept>>::default());
        let (mut tasks, served) = (JoinSet::new(), Arc::clone(&kept));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let kept = Arc::clone(&served);
                let service = service_fn(move |request| answer(Arc::clone(&kept), request));
                let serving = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                connections.spawn(async move { drop(serving.await) });
            }
        });
        Self { address, kept, _tasks: tasks }
    }

    fn plan(&self, change: impl Fn(&mut GitHubSourceSpec)) -> GitHubPlan {
        let secret =
            |name: &str| SecretSpec { env: Some(name.to_owned()), ..SecretSpec::default() };
        let mut spec = GitHubSourceSpec {
            owner_and_repository: "octo/hello".to_owned(),
            event_types: vec!["push".to_owned(), "ping".to_owned()],
            access_token: Some(secret("TOKEN")),
            secret_token: Some(secret("SECRET")),
            github_api_url: Some(format!("http://{}/api/v3", self.address)),
            sink: Some(channel::Destination::from_uri("http://a")),
            ..GitHubSourceSpec::default()
        };
        change(&mut spec);
        let resolve = |spec: &SecretSpec| {
            let name = spec.env.as_deref().unwrap_or_default();
            Ok(Some(Secret::new(format!("{name}-0123456789abcdef"))))
        };
        let mut problems = Vec::new();
        let plan = GitHubPlan::new(&spec, &resolve, &mut problems);
        plan.unwrap_or_else(|| panic!("{problems:?}"))
    }

    fn hook(&self, change: impl Fn(&mut GitHubSourceSpec)) -> Arc<Hook> {
        let public_url = Url::parse("http://events.example/").unwrap();
        Arc::new(Hook::new(&id().name, &self.plan(change), &public_url).unwrap())
    }

    fn hooks(&self) -> Vec<Value> {
        self.kept.lock().unwrap().hooks.values().cloned().collect()
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.kept.lock().unwrap().asked)
    }
}

async fn answer(
    kept: Arc<Mutex<Kept>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut kept = kept.lock().unwrap();
    kept.asked.push(format!("{} {}", head.method, head.uri.path()));
    let token = head.headers["authorization"].to_str().unwrap();
    let id = head.uri.path().rsplit('/').next().unwrap().parse::<u64>().ok();
    let (status, answer) = match (kept.refuses, head.method.as_str(), id) {
        (Some(status), ..) => (status, Value::Null),
        _ if token != "Bearer TOKEN-0123456789abcdef" => (401, Value::Null),
        (_, "GET", None) => (200, kept.hooks.values().cloned().collect()),
        (_, "POST", None) => {
            kept.last_id += 1;
            let id = kept.last_id;
            let mut hook: Value = serde_json::from_slice(&body).unwrap();
            hook["id"] = id.into();
            kept.hooks.insert(id, hook.clone());
            (201, hook)
        }
        (_, "PATCH", Some(id)) if kept.hooks.contains_key(&id) => {
            let mut hook: Value = serde_json::from_slice(&body).unwrap();
            hook["id"] = id.into();
            kept.hooks.insert(id, hook.clone());
            (200, hook)
        }
        (_, "DELETE", Some(id)) if kept.hooks.remove(&id).is_some() => (204, Value::Null),
        _ => (404, Value::Null),
    };
    let mut response = Response::new(Full::from(answer.to_string()));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
    Ok(response)
}

fn id() -> SourceId {
    SourceId { kind: super::super::KIND, name: Name::new("default", "hello") }
}

async fn until(what: impl Fn() -> bool) {
    time::timeout(Duration::from_secs(20), async {
        while !what() {
            time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("in twenty seconds");
}

/// Runs the hook until it is made or changed, then ends the process.
async fn run(github: &GitHub, house: &House, hook: Arc<Hook>, last: &str) {
    let mut supervisor = Supervisor::new(house.clone());
    supervisor.start(id(), hook, sink());
    let is_done = || {
        let kept = github.kept.lock().unwrap();
        kept.asked.iter().any(|asked| asked.starts_with(last))
            && !house.notes.under(NOTES).is_empty()
    };
    until(is_done).await;
    assert_eq!(supervisor.end(Duration::from_secs(5)).await, 0);
}

#[tokio::test]
async fn a_hook_is_made_once_and_changed_with_its_source() {
    let (github, house) = (GitHub::start().await, house());
    run(&github, &house, github.hook(|_| {}), "POST").await;
    let [hook] = &github.hooks()[..] else { panic!("one hook") };
    assert_eq!(hook["config"]["url"], "http://events.example/sources/default/hello");
    assert_eq!(hook["config"]["secret"], "SECRET-0123456789abcdef");
    assert_eq!((&hook["events"], &hook["active"]), (&json!(["push"]), &json!(true)));
    github.asked();
    let more = github.hook(|spec| spec.event_types.push("issues".to_owned()));
    run(&github, &house, more, "PATCH").await;
    assert_eq!(github.asked(), ["PATCH /api/v3/repos/octo/hello/hooks/1"]);
    assert_eq!(github.hooks()[0]["events"], json!(["issues", "push"]));
}

#[tokio::test]
async fn a_hook_that_was_deleted_by_hand_is_made_again_and_a_lost_note_makes_no_second() {
    let (github, house) = (GitHub::start().await, house());
    run(&github, &house, github.hook(|_| {}), "POST").await;
    github.kept.lock().unwrap().hooks.clear();
    github.asked();
    run(&github, &house, github.hook(|_| {}), "POST").await;
    assert_eq!(github.hooks().len(), 1);
    github.asked();
    let forgetful = crate::testing::house();
    run(&github, &forgetful, github.hook(|_| {}), "PATCH").await;
    assert_eq!(github.hooks().len(), 1, "found by its URL");
}

#[tokio::test]
async fn a_hook_is_removed_with_its_source_and_moves_with_its_target() {
    let (github, house) = (GitHub::start().await, house());
    run(&github, &house, github.hook(|_| {}), "POST").await;
    assert_eq!(github.hooks().len(), 1, "it outlives the process");
    github.asked();
    let moved = github.hook(|spec| spec.owner_and_repository = "octo".to_owned());
    let mut supervisor = Supervisor::new(house.clone());
    let report = supervisor.start(id(), moved, sink());
    let asked = || github.kept.lock().unwrap().asked.clone();
    until(|| asked().iter().any(|asked| asked == "POST /api/v3/orgs/octo/hooks")).await;
    assert_eq!(asked()[0], "DELETE /api/v3/repos/octo/hello/hooks/1");
    until(|| house.notes.under(NOTES).iter().any(|(_, note)| note.ends_with(b"/orgs/octo/hooks")))
        .await;
    assert_eq!(report.webhook_id(), Some(2));
    supervisor.remove(&id());
    assert_eq!(supervisor.end(Duration::from_secs(5)).await, 0);
    assert!(github.hooks().is_empty());
    assert_eq!(report.webhook_id(), None);
    assert!(house.notes.under(NOTES).is_empty());
}

#[tokio::test]
async fn a_refusal_is_said_in_words_without_the_token() {
    let (github, house) = (GitHub::start().await, house());
    for (status, told) in [
        (401, "spec.accessToken is not taken"),
        (403, "may not manage webhooks"),
        (404, "spec.ownerAndRepository does not exist"),
        (422, "spec.eventTypes"),
        (500, "GitHub refused"),
    ] {
        github.kept.lock().unwrap().refuses = Some(status);
        let mut supervisor = Supervisor::new(house.clone());
        let report = supervisor.start(id(), github.hook(|_| {}), sink());
        until(|| matches!(report.phase(), crate::Phase::Failed { .. })).await;
        let crate::Phase::Failed { reason, .. } = report.phase() else { panic!("failed") };
        assert!(reason.contains(told) && !reason.contains("TOKEN"), "{reason}");
        assert_eq!(supervisor.end(Duration::from_secs(5)).await, 0);
    }
}

#[tokio::test]
async fn without_a_token_the_hook_is_made_by_hand() {
    let github = GitHub::start().await;
    let plan = github.plan(|spec| spec.access_token = None);
    let public_url = Url::parse("http://events.example/base/").unwrap();
    assert!(Hook::new(&id().name, &plan, &public_url).is_none());
    let secure = github.plan(|spec| spec.secure = Some(true));
    let hook = Hook::new(&id().name, &secure, &public_url).unwrap();
    assert_eq!(hook.url, "https://events.example/base/sources/default/hello");
}
