//! `kill -9` of ApiServerSources while objects change: nothing is lost, and little comes twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use harness::servers::kubernetes::Kubernetes;
use harness::{Backing, Program, Subscriber, eventually, pick, say_not_run};
use serde_json::{Value, json};

use crate::joined::{SOON, apply, own_cluster, setup, until};
use crate::watched::{AS_READER, account, source};

/// What happened to an object: `add` and `update` with its version, `delete` with its `uid`.
type Change = (&'static str, String);

/// Somebody who changes ConfigMaps, three at a time, and deletes one of them now and then.
struct Writer {
    cluster: Arc<Kubernetes>,
    changes: Arc<Mutex<BTreeSet<Change>>>,
    steps: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    work: tokio::task::JoinHandle<()>,
}

impl Writer {
    fn start(cluster: &Arc<Kubernetes>) -> Self {
        let changes: Arc<Mutex<BTreeSet<Change>>> = Arc::default();
        let (steps, is_over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let at_work = (cluster.clone(), changes.clone(), steps.clone(), is_over.clone());
        let work = tokio::task::spawn_blocking(move || {
            let (cluster, changes, steps, is_over) = at_work;
            while !is_over.load(Ordering::Relaxed) {
                let step = steps.load(Ordering::Relaxed);
                let made = write(&cluster, step);
                changes.lock().unwrap().extend(made);
                steps.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { cluster: cluster.clone(), changes, steps, is_over, work }
    }

    /// Waits until it has done so much more.
    async fn goes_on(&self, steps: usize) {
        let from = self.steps.load(Ordering::Relaxed);
        eventually(SOON, || async {
            let now = self.steps.load(Ordering::Relaxed);
            if now >= from + steps { Ok(()) } else { Err(now) }
        })
        .await;
    }

    /// All that it has done.
    async fn end(self) -> BTreeSet<Change> {
        self.is_over.store(true, Ordering::Relaxed);
        self.work.await.expect("it does not panic");
        drop(self.cluster);
        Arc::into_inner(self.changes).expect("it has ended").into_inner().unwrap()
    }
}

/// One step: one object is new, two are changed; every third step deletes one.
fn write(cluster: &Kubernetes, step: usize) -> Vec<Change> {
    let map = |name: usize| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: map-{name}}}\ndata: {{step: '{step}'}}\n---\n"
        )
    };
    // Those that are deleted are not among those that are changed later.
    let names = [step, step.saturating_sub(1), step.saturating_sub(2)];
    let names: BTreeSet<usize> = names.into_iter().collect();
    let objects: String = names.iter().map(|name| map(*name)).collect();
    let said = cluster.kubectl(&["apply", "-f", "-", "-o", "json"], &objects);
    assert!(said.is_success, "{}", said.stderr);
    let said: Value = serde_json::from_str(&said.stdout).unwrap();
    let one = vec![said.clone()];
    let items = said["items"].as_array().unwrap_or(&one);
    let mut changes = Vec::new();
    for item in items {
        let is_new = item["metadata"]["name"] == format!("map-{step}");
        let version = item["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
        changes.push((if is_new { "add" } else { "update" }, version));
    }
    if let Some(old) = step.checked_sub(4).filter(|old| old % 3 == 0) {
        let name = format!("map-{old}");
        let said =
            cluster.kubectl(&["get", "configmap", &name, "-o", "jsonpath={.metadata.uid}"], "");
        changes.push(("delete", said.stdout));
        let said = cluster.kubectl(&["delete", "configmap", &name], "");
        assert!(said.is_success, "{}", said.stderr);
    }
    changes
}

/// What was told, and of each event when it came, as positions.
fn told(subscriber: &Subscriber) -> BTreeMap<Change, Vec<usize>> {
    let mut told: BTreeMap<Change, Vec<usize>> = BTreeMap::new();
    for one in subscriber.received_at("/refs") {
        let event = one.event.expect("an event");
        if event.attribute("name") == Some("kube-root-ca.crt") {
            continue;
        }
        let data: Value = serde_json::from_slice(&event.data.clone().unwrap()).unwrap();
        let text = |field: &str| data[field].as_str().unwrap().to_owned();
        let change = match event.attribute("type").unwrap().rsplit('.').next() {
            Some("add") => ("add", text("resourceVersion")),
            Some("update") => ("update", text("resourceVersion")),
            _ => ("delete", text("uid")),
        };
        told.entry(change).or_default().push(one.order);
    }
    told
}

async fn until_all_told(subscriber: &Subscriber, changes: &BTreeSet<Change>) {
    eventually(SOON * 2, || async {
        let told = told(subscriber);
        let lost: Vec<_> = changes.iter().filter(|change| !told.contains_key(*change)).collect();
        if lost.is_empty() { Ok(()) } else { Err(format!("{} lost: {lost:?}", lost.len())) }
    })
    .await;
    let told = told(subscriber);
    let strays: Vec<_> = told.keys().filter(|change| !changes.contains(*change)).collect();
    assert!(strays.is_empty(), "never happened: {strays:?}");
}

async fn made(program: &Program) -> u64 {
    let sources = program.admin().get("/api/v1/sources/default/refs").await.json();
    sources["items"][0]["counts"]["made"].as_u64().unwrap_or_default()
}

/// Alone, with its notes on disk: killed again and again, it goes on from what it has noted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_while_the_program_is_killed_are_all_told() {
    let Some(cluster) = own_cluster("changes while the program is killed").await else { return };
    let (cluster, subscriber) = (Arc::new(cluster), Subscriber::start().await);
    apply(&cluster, &(account("default", "reader") + &source("refs", &subscriber, AS_READER)));
    let mut program = setup(&cluster).start().await;
    until(&cluster, "apiserversource refs", "Ready", "True").await;
    let writer = Writer::start(&cluster);
    let mut before = 0;
    for _ in 0..pick(3, 15) {
        // It leads once what held the Lease before it counts as gone.
        eventually(SOON, || async {
            let now = subscriber.count();
            if now > before + 3 { Ok(()) } else { Err(now) }
        })
        .await;
        program.kill().await;
        writer.goes_on(2).await;
        before = subscriber.count();
        program.start_again().await;
    }
    writer.goes_on(2).await;
    let changes = writer.end().await;
    until_all_told(&subscriber, &changes).await;
}

/// Two processes, notes on a server that they share: the one that leads is killed, and the other goes on.
async fn one_of_two_is_killed(what: &str, default: &str, backing: Result<Backing, String>) {
    let backing = match backing {
        Ok(backing) => backing,
        Err(why) => return say_not_run(what, &why),
    };
    let Some(cluster) = own_cluster(what).await else { return };
    let (cluster, subscriber) = (Arc::new(cluster), Subscriber::start().await);
    apply(&cluster, &(account("default", "reader") + &source("refs", &subscriber, AS_READER)));
    let own = format!("t{:x}", fastrand::u64(..));
    let shared = match &backing {
        Backing::Nats(nats) => json!({"nats": {"url": nats.url(), "streamPrefix": own}}),
        Backing::Kafka(kafka) => json!({"kafka": {
            "bootstrapServers": kafka.bootstrap(),
            "topicTemplate": format!("{own}-{{namespace}}.{{name}}"),
            "channelTopicTemplate": format!("{own}-channel-{{namespace}}.{{name}}"),
        }}),
        Backing::Memory | Backing::Disk => panic!("they share nothing"),
    };
    let start = async || {
        let default = json!({"channel": {"default": default}});
        setup(&cluster).config(shared.clone()).config(default).start().await
    };
    let (mut leads, mut follows) = (start().await, start().await);
    until(&cluster, "apiserversource refs", "Ready", "True").await;
    let writer = Writer::start(&cluster);
    let mut last_kill = 0;
    for _ in 0..pick(1, 6) {
        // Who tells, leads.
        eventually(SOON * 2, || async {
            let told = (made(&leads).await, made(&follows).await);
            if told.0 > 5 || told.1 > 5 { Ok(()) } else { Err(told) }
        })
        .await;
        if made(&leads).await == 0 {
            std::mem::swap(&mut leads, &mut follows);
        }
        assert_eq!(made(&follows).await, 0, "one tells");
        leads.kill().await;
        // What the dead one had sent has been read by then.
        writer.goes_on(1).await;
        last_kill = subscriber.count();
        eventually(SOON * 2, || async {
            let told = made(&follows).await;
            if told > 5 { Ok(()) } else { Err(told) }
        })
        .await;
        leads.start_again().await;
        std::mem::swap(&mut leads, &mut follows);
    }
    let changes = writer.end().await;
    until_all_told(&subscriber, &changes).await;
    let twice = told(&subscriber).into_values().filter(|orders| orders.len() > 1);
    let late = twice.filter(|orders| orders.first().is_some_and(|first| *first >= last_kill));
    assert_eq!(late.count(), 0, "only what was told just before a kill comes again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_goes_on_with_notes_on_nats() {
    let what = "a change of leader with notes on NATS";
    one_of_two_is_killed(what, "nats", Backing::nats().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_goes_on_with_notes_on_kafka() {
    let what = "a change of leader with notes on Kafka";
    one_of_two_is_killed(what, "kafka", Backing::kafka().await).await;
}
