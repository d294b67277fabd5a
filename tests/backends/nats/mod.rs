//! The contract, kept by the channel on NATS JetStream, and what only a real server shows.

mod clients;
mod doors;
mod erase;
mod faults;
mod replicas;

use std::collections::HashMap;
use std::future::poll_fn;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use channel::{
    Batch, Budget, Channel, Data, Draft, Event, Hub, Lease, Name, Nats, NatsPlan, NatsSettings,
    Reader, SpecVersion,
    contract::{self, Backend, Wanted},
};
use harness::say_not_run;
use harness::servers::nats::{self, Nats as Server, Options};
use serde_json::Value;
use tokio::runtime::{Builder, Handle};

/// A server that may be there.
async fn server(test: &str, options: &Options) -> Option<Server> {
    match nats::build() {
        Ok(()) => Some(Server::start(options).await),
        Err(why) => {
            say_not_run(test, &why);
            None
        }
    }
}

fn settings(server: &Server) -> NatsSettings {
    NatsSettings { url: server.url(), ..NatsSettings::default() }
}

/// A stream that keeps `subject` too.
fn beside(subject: &str) -> NatsPlan {
    NatsPlan { additional_subjects: vec![subject.into()], ..NatsPlan::default() }
}

/// A stream of that name.
fn named(stream: &str) -> NatsPlan {
    NatsPlan { stream_name: Some(stream.into()), ..NatsPlan::default() }
}

/// A consumer that waits as long for a sign of life.
fn ack_wait(seconds: u64) -> NatsPlan {
    NatsPlan { ack_wait: Duration::from_secs(seconds), ..NatsPlan::default() }
}

async fn open(server: &Server, plan: &NatsPlan, hub: impl Into<Hub>) -> Arc<Nats> {
    let budget = Budget::new(64 << 20);
    Nats::open(&settings(server), plan, hub, 2, budget, &Handle::current()).await.unwrap()
}

fn fresh_name() -> Name {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    Name::new("tests", format!("broker-{}", NEXT.fetch_add(1, Ordering::Relaxed)))
}

fn event(id: &str) -> Event {
    event_of(id, "hello")
}

fn event_of(id: &str, data: &str) -> Event {
    let mut draft = Draft::new(SpecVersion::V10);
    for (name, value) in [("id", id), ("source", "/tests"), ("type", "t"), ("subject", "a%20b")] {
        draft.push_wire(name, value.as_bytes()).unwrap();
    }
    draft.content_type(b"text/plain").unwrap();
    draft.set_data(Some(Data::opaque(Bytes::from(data.to_owned()))));
    draft.finish().unwrap()
}

async fn publish(channel: &Nats, event: Event) -> channel::Published {
    channel.publish(0, Batch::from_iter([event])).await
}

/// The next event, if one comes within `patience`.
async fn next(reader: &mut dyn Reader, patience: Duration) -> Option<Lease> {
    let next = poll_fn(|cx| reader.poll_lend(cx));
    tokio::time::timeout(patience, next).await.ok().flatten()
}

async fn end(channel: Arc<Nats>) {
    channel.close();
    channel.end(Instant::now() + Duration::from_secs(10)).await;
}

/// What another client says.
async fn other(server: &Server, command: &str, rest: &[&str]) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/servers/nats_client.py");
    let mut python = Command::new(nats::python());
    python.arg(script).arg(server.url()).arg(command).args(rest);
    let done = tokio::task::spawn_blocking(move || python.output().unwrap()).await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

async fn other_publishes(server: &Server, subject: &str, headers: Value, payload: &str) {
    let payload = STANDARD.encode(payload);
    other(server, "publish", &[subject, &headers.to_string(), &payload]).await;
}

/// Channels of one server, each of a broker of its own.
struct OnNats {
    server: Server,
    names: Mutex<HashMap<*const (), Name>>,
    control: Handle,
}

impl OnNats {
    async fn open(&self, name: Name, wanted: Wanted) -> Arc<dyn Channel> {
        let (settings, budget) = (settings(&self.server), Budget::new(64 << 20));
        let plan = NatsPlan { bytes_max: Some(64 << 20), ..NatsPlan::default() };
        let opened =
            Nats::open(&settings, &plan, &name, wanted.workers, budget, &self.control).await;
        let channel: Arc<dyn Channel> = opened.unwrap();
        self.names.lock().unwrap().insert(Arc::as_ptr(&channel).cast(), name);
        channel
    }
}

impl Backend for OnNats {
    async fn fresh(&self, wanted: Wanted) -> Arc<dyn Channel> {
        self.open(fresh_name(), wanted).await
    }

    async fn again(&self, before: Arc<dyn Channel>, wanted: Wanted) -> Arc<dyn Channel> {
        let name = self.names.lock().unwrap()[&Arc::as_ptr(&before).cast()].clone();
        drop(before);
        self.open(name, wanted).await
    }

    fn is_bounded(&self) -> bool {
        false
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(1500)
    }
}

/// As in the program: workers on runtimes of one thread, everything else on another runtime.
#[test]
fn nats_keeps_the_contract() {
    let control = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let worker = Builder::new_current_thread().enable_all().build().unwrap();
    worker.block_on(async {
        let test = "nats_keeps_the_contract";
        let Some(server) = server(test, &Options::default()).await else { return };
        let control = control.handle().clone();
        contract::check(&OnNats { server, names: Mutex::default(), control }).await;
    });
}
