//! An admin side over resources that a test puts together, without workers.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, header},
};
use bytes::Bytes;
use channel::{
    Budget, Channel, Data, Draft, Hub, HubKind, Memory, MemoryLimits, Name, SpecVersion,
};
use dispatcher::{
    AttemptLog, DeadLetter, DeadLetterLimits, DeadLetters, DeliveryPlan, Fanout, Filter, Overflows,
    Pauses, Quota, Reason, Replies, Routes, SinkState, SinkStatus, Trigger, TriggerKey,
    TriggerPlan, TriggerSpec, http::Endpoint,
};
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;

use super::{Admin, Process, routes};
use crate::{
    cli::{Color, Console, Format},
    control::{Control, HubState, Inventory, NotReady, SinkFrom, TriggerState},
    ingress::{Admission, Connections},
    manifest::{self, Position, Problem, Resource, Standing},
};

/// When all dead letters failed: 2026-01-31T12:00:00Z plus their number in minutes.
const NOON: u64 = 1_769_860_800;

/// The admin side of a test.
pub(super) struct Bench {
    pub(super) control: Arc<Control>,
    service: TowerToHyperService<Router>,
}

/// An answer, read whole.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    body: Bytes,
}

impl Reply {
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", self.text()))
    }

    pub(super) fn media(&self) -> &str {
        self.headers.get(header::CONTENT_TYPE).map_or("", |value| value.to_str().unwrap())
    }
}

impl Bench {
    /// A loaded process with these brokers: `default/default` with the trigger `default/orders`
    /// at work and `default/broken` not, `default/second` without triggers, and `other/down`,
    /// which is not ready. One manifest problem.
    pub(super) fn new() -> Self {
        let budget = Budget::new(1 << 20);
        let (control, _looks) = Control::new(
            Vec::new(),
            Arc::clone(&budget),
            Connections::new(10, 5),
            Arc::new(AtomicBool::new(false)),
        );
        control.inventory.store(Arc::new(inventory(&budget)));
        control.set_ready();
        Self::of(control)
    }

    /// An admin side of `control`.
    pub(super) fn of(control: Arc<Control>) -> Self {
        let process = Process {
            events_url: "http://127.0.0.1:8080".to_owned(),
            console: Console::new(Format::Text, Color::Never),
            started_at: SystemTime::UNIX_EPOCH + Duration::from_secs(NOON),
        };
        let router = routes::router(Admin::new(Arc::clone(&control), process));
        Self { control, service: TowerToHyperService::new(router) }
    }

    pub(super) async fn get(&self, target: &str) -> Reply {
        self.call(Method::GET, target, &[], "").await
    }

    pub(super) async fn post(&self, target: &str, body: &Value) -> Reply {
        let json = [("content-type", "application/json")];
        self.call(Method::POST, target, &json, &body.to_string()).await
    }

    pub(super) async fn call(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let (head, body) = self.service.call(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Reply { status: head.status.as_u16(), headers: head.headers, body }
    }

    /// Adds a channel at work with a subscription at work.
    pub(super) fn subscribe(&self, channel: &str, subscription: &str) {
        let hub = Hub::channel(name(channel));
        let running = trigger(subscription);
        let storage = Memory::new(1, MemoryLimits::default(), Budget::new(1 << 20));
        let state = hub_on(storage, hub.clone(), &Budget::new(1 << 20), vec![Arc::clone(&running)]);
        let taker = TriggerState {
            name: name(subscription),
            hub: hub.clone(),
            written: None,
            running: Ok(running),
            unresolved: None,
            paused: None,
            sink_from: None,
        };
        let mut inventory = (*self.control.inventory.load_full()).clone();
        inventory.channels.insert(name(channel), Ok(state));
        inventory.kinds.insert(hub, "InMemoryChannel");
        inventory.subscriptions.insert(name(subscription), taker);
        self.control.inventory.store(Arc::new(inventory));
    }

    /// Puts a dead letter into a broker's store; returns its number.
    pub(super) fn bury(&self, broker: &str, trigger: &str, reason: Reason) -> u64 {
        let inventory = self.control.inventory.load();
        let state = inventory.brokers[&name(broker)].as_ref().unwrap();
        let store = &state.fanout.dead_letters;
        let minutes = u64::try_from(store.held().0).unwrap();
        let letter = DeadLetter {
            id: 0,
            hub: Hub::broker(name(broker)),
            trigger: name(trigger),
            key: TriggerKey(1),
            destination: "http://127.0.0.1:9/".to_owned(),
            reason,
            detail: Some("it waited 86400 s".to_owned()),
            failed_at: SystemTime::UNIX_EPOCH + Duration::from_secs(NOON + 60 * minutes),
            attempts: AttemptLog::default(),
            event: event(),
            sink: (broker == "default/default").then(|| SinkState {
                url: "http://127.0.0.1:10/".to_owned(),
                status: SinkStatus::Pending,
                attempts: 0,
            }),
        };
        store.put(Box::new(letter)).unwrap().letter.id
    }
}

/// The name `namespace/name`.
pub(super) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn event() -> channel::Event {
    let mut draft = Draft::new(SpecVersion::V10);
    for (name, value) in [("id", "e1"), ("source", "/s"), ("type", "t"), ("subject", "x")] {
        draft.push_wire(name, value.as_bytes()).unwrap();
    }
    draft.content_type(b"application/json").unwrap();
    draft.set_data(Some(Data::opaque(Bytes::from_static(br#"{"a": 1}"#))));
    draft.finish().unwrap()
}

/// A broker at work with `triggers`.
pub(super) fn broker(broker: &str, budget: &Arc<Budget>, triggers: Vec<Arc<Trigger>>) -> HubState {
    on(Memory::new(1, MemoryLimits::default(), Arc::clone(budget)), broker, budget, triggers)
}

/// A broker at work on this channel.
pub(super) fn on(
    channel: Arc<dyn Channel>,
    broker: &str,
    budget: &Arc<Budget>,
    triggers: Vec<Arc<Trigger>>,
) -> HubState {
    hub_on(channel, Hub::broker(name(broker)), budget, triggers)
}

fn hub_on(
    channel: Arc<dyn Channel>,
    hub: Hub,
    budget: &Arc<Budget>,
    triggers: Vec<Arc<Trigger>>,
) -> HubState {
    let fanout = Fanout {
        hub: hub.clone(),
        routes: ArcSwap::from_pointee(Routes::new(triggers)),
        dead_letters: Arc::new(DeadLetters::new(
            DeadLetterLimits::default(),
            None,
            Arc::clone(budget),
        )),
        replies: Arc::new(Admission::new(hub, Arc::clone(&channel))),
        budget: Arc::clone(budget),
        quota: Quota { events: 10, bytes: 10_000 },
        outlives: false,
        overflows: Overflows::default(),
    };
    let pauses = Arc::new(Pauses::new(None));
    HubState { fanout: Arc::new(fanout), channel, pauses }
}

/// A trigger that wants every event.
pub(super) fn trigger(trigger: &str) -> Arc<Trigger> {
    let url = |text: &str| Arc::new(Endpoint::new(&text.parse().unwrap(), None).unwrap());
    let plan = TriggerPlan {
        name: name(trigger),
        filter: Filter::compile(None, &[]).unwrap(),
        subscriber: url("http://127.0.0.1:9/take?x=1"),
        replies: Replies::Hub,
        dead_letter_sink: Some(url("http://127.0.0.1:10/")),
        delivery: DeliveryPlan::default(),
        ordered: true,
        paused: false,
        in_flight_max: 32.try_into().unwrap(),
        request_headers: TriggerPlan::request_headers("default"),
    };
    let channel = Memory::new(1, MemoryLimits::default(), Budget::new(1 << 20));
    let overflow = channel.overflow(&plan.name, true);
    Arc::new(Trigger { key: TriggerKey(1), plan: Arc::new(plan), usage: Arc::default(), overflow })
}

fn inventory(budget: &Arc<Budget>) -> Inventory {
    let orders = trigger("default/orders");
    let not_ready = |reason, message: &str| NotReady { reason, message: message.to_owned() };
    let brokers = [
        ("default/default", Ok(broker("default/default", budget, vec![Arc::clone(&orders)]))),
        ("default/second", Ok(broker("default/second", budget, Vec::new()))),
        ("other/down", Err(not_ready("ChannelUnknown", "there is no channel \u{1b}[2J"))),
    ];
    let triggers = [
        ("default/broken", Err(not_ready("SubscriberUnresolved", "spec.subscriber: is required"))),
        ("default/orders", Ok(orders)),
    ];
    let problem = Problem {
        field: "spec.brokr".to_owned(),
        suggestion: Some("broker".to_owned()),
        ..Problem::at(
            &Arc::new(PathBuf::from("a.yaml")),
            Position { line: 3, column: 5 },
            "is no field of a Trigger",
        )
    };
    Inventory {
        sources: BTreeMap::new(),
        leaving: Vec::new(),
        brokers: brokers.into_iter().map(|(broker, state)| (name(broker), state)).collect(),
        kinds: [
            ("default/default", "InMemoryChannel"),
            ("default/second", "InMemoryChannel"),
            ("other/down", "KafkaChannel"),
        ]
        .into_iter()
        .map(|(broker, kind)| (Hub::broker(name(broker)), kind))
        .collect(),
        triggers: triggers
            .into_iter()
            .map(|(trigger, running)| {
                let hub = Hub::broker(name("default/default"));
                let name = name(trigger);
                let sink_from = Some(SinkFrom::Hub(HubKind::Broker));
                let state = TriggerState {
                    name: name.clone(),
                    hub,
                    written: Some(written(&name)),
                    running,
                    unresolved: None,
                    paused: None,
                    sink_from,
                };
                (name, state)
            })
            .collect(),
        resources: Arc::default(),
        generations: BTreeMap::new(),
        channels: BTreeMap::new(),
        subscriptions: BTreeMap::new(),
        problems: vec![Standing { problem, since: "2026-01-31T12:00:00Z".parse().unwrap() }],
    }
}

/// A trigger that wants events of type `a`.
fn written(name: &Name) -> Arc<Resource<TriggerSpec>> {
    let Name { namespace, name: called } = name;
    let text = format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Trigger\n\
         metadata: {{namespace: {namespace}, name: {called}}}\n\
         spec: {{broker: b, subscriber: {{uri: 'http://x'}}, filter: {{attributes: {{type: a}}}}}}\n"
    );
    let snapshot = manifest::read("fixture", &text);
    Arc::clone(&snapshot.resources.triggers[name])
}
