//! Sources as the user wrote them -> sources that run, and endpoints that are called.
//!
//! [`sources`] knows what each of them does; here is where their events go, where their
//! secrets are, and what they remember.
//!
//! # Where they remember
//!
//! In the ledger of a channel of the process's default kind, which is opened with the first source, as
//! that of a broker that no user can have. Replicas share it where they share the channel's backend.

mod book;
mod dead_records;
mod gate_sink;
mod http_sink;
mod plan;
mod secrets;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use ::sources::{
    Endpoint, House, Phase, Report, SourceId, Supervisor,
    kafka::{DeadLetters, DeadRecords},
    ping::Alarm,
    status::EventAttributes,
};
use arc_swap::ArcSwap;
use channel::{Destination, Found, Hub, Name, Reference, Sink};
use tokio::{runtime::Handle, task::JoinSet};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    channels::Opener,
    cluster::{ObjectWatches, watch_attributes},
    config::Settings,
    control::{Control, NotReady},
    ingress::Gates,
    manifest::{Resource, Snapshot, SourceKind, SourceSpec},
};

use book::Book;
use dead_records::HubRecords;
use gate_sink::GateSink;
use http_sink::Outbox;
use plan::Plan;

/// The reason when a sink is known and cannot be sent to, such as for its certificates.
pub(crate) const SINK_INVALID: &str = "SinkInvalid";

/// The reason while what sources remember is being read.
const NOTES_OPENING: &str = "NotesOpening";

/// How long sources may take to stop.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// The sources that are called, by `namespace/name`; swapped whole when one comes or goes.
pub type Endpoints = HashMap<String, Door>;

/// What stands at the address of a source that is called.
#[derive(Clone, Debug)]
pub enum Door {
    /// Requests are taken.
    Open(Arc<Endpoint>),
    /// The source is there and not ready.
    Shut(NotReady),
}

/// A source as it is.
#[derive(Clone, Debug)]
pub struct SourceState {
    /// Why it does not work, if it does not.
    pub not_ready: Option<NotReady>,
    /// What it counted; none when it never worked.
    pub report: Option<Arc<Report>>,
    /// Where its events go, when that is known.
    pub sink: Option<String>,
    /// What its events say of themselves.
    pub attributes: Vec<EventAttributes>,
}

impl SourceState {
    /// Whether it works, and waits for nothing.
    pub fn is_ready(&self) -> bool {
        self.not_ready.is_none() && self.waits_for().is_none() && self.trouble().is_none()
    }

    /// What keeps it from doing all that it should, if anything does.
    pub fn trouble(&self) -> Option<String> {
        self.failure().or_else(|| self.report.as_ref()?.trouble())
    }

    /// Why it cannot do all that it should for now, if so: what it waits for comes by itself.
    pub fn waits_for(&self) -> Option<NotReady> {
        match self.report.as_ref()?.phase() {
            Phase::Waiting { reason, message } => Some(NotReady { reason, message }),
            _ => None,
        }
    }

    /// The id of the webhook that was made for it.
    pub fn webhook_id(&self) -> Option<u64> {
        self.report.as_ref()?.webhook_id()
    }

    /// Why it is being started again, if it is.
    pub fn failure(&self) -> Option<String> {
        match self.report.as_ref()?.phase() {
            Phase::Failed { reason, .. } => Some(reason),
            Phase::Starting | Phase::Running | Phase::Waiting { .. } | Phase::Stopped => None,
        }
    }
}

/// What finds where references lead: a hub of this process, or an address.
pub(crate) trait Guide {
    /// The hub of this process that is meant.
    fn hub(&self, reference: &Reference) -> Option<Hub>;

    /// Where a reference leads.
    fn find(&self, reference: &Reference) -> Result<Found, String>;
}

/// Runs what the user wants of sources.
#[derive(Debug)]
pub(crate) struct Sources {
    control: Arc<Control>,
    gates: Arc<ArcSwap<Gates>>,
    endpoints: Arc<ArcSwap<Endpoints>>,
    workers: usize,
    /// Where the way in is reached from outside.
    public_url: Option<Url>,
    alarm: Alarm,
    book: Book,
    outbox: Outbox,
    /// What makes sources of the changes of a cluster.
    watches: Option<ObjectWatches>,
    supervisor: Option<Supervisor>,
    known: BTreeMap<SourceId, Known>,
    /// Why sources do not work, as it was last logged.
    told: BTreeMap<SourceId, String>,
    /// The alarm.
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

/// A source that works, and what it was made from.
#[derive(Debug)]
struct Known {
    made_from: Origin,
    report: Arc<Report>,
    door: Option<Arc<Endpoint>>,
    attributes: Vec<EventAttributes>,
}

/// Equal as long as a source would do the same.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    resource: u64,
    secrets: u64,
    sink: String,
    /// The URL of its dead letter sink.
    dead_letter_sink: Option<String>,
}

impl Sources {
    /// Of no source yet. Channels for what they remember are opened by `opener`.
    pub(crate) fn new(
        settings: &Arc<Settings>,
        opener: Arc<dyn Opener>,
        control: Arc<Control>,
        gates: Arc<ArcSwap<Gates>>,
        endpoints: Arc<ArcSwap<Endpoints>>,
    ) -> Self {
        Self {
            book: Book::new(settings, opener, Arc::clone(&control)),
            outbox: Outbox::new(settings.client.clone()),
            workers: settings.workers,
            public_url: settings.public_url.as_deref().and_then(|url| url.parse().ok()),
            control,
            gates,
            endpoints,
            alarm: Alarm::new(),
            watches: None,
            supervisor: None,
            known: BTreeMap::new(),
            told: BTreeMap::new(),
            tasks: JoinSet::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Lets sources of a cluster's changes watch it by `watches`.
    pub(crate) fn watch_by(&mut self, watches: ObjectWatches) {
        self.watches = Some(watches);
    }

    /// Makes what works what `snapshot` says.
    pub(crate) fn follow(
        &mut self,
        snapshot: &Snapshot,
        guide: &impl Guide,
    ) -> BTreeMap<SourceId, SourceState> {
        let wanted = &snapshot.resources.sources;
        let id =
            |kind: SourceKind, name: &Name| SourceId { kind: kind.as_str(), name: name.clone() };
        let is_wanted = |it: &SourceId| wanted.keys().any(|(kind, name)| id(*kind, name) == *it);
        let gone: Vec<_> = self.known.keys().filter(|it| !is_wanted(it)).cloned().collect();
        for id in gone {
            self.known.remove(&id);
            if let Some(supervisor) = &mut self.supervisor {
                supervisor.remove(&id);
            }
            tracing::info!(source = %id, "source is gone");
        }
        if !wanted.is_empty() {
            self.book.open();
        }
        let mut states = BTreeMap::new();
        for ((kind, name), resource) in wanted {
            let id = id(*kind, name);
            let wanted = Wanted { id: &id, resource, snapshot };
            states.insert(id.clone(), self.one(&wanted, guide));
        }
        self.told.retain(|id, _| states.contains_key(id));
        self.swap_endpoints(&states);
        states
    }

    /// Makes one source work, unless it does. One that cannot any more goes on as it was.
    fn one(&mut self, wanted: &Wanted<'_>, guide: &impl Guide) -> SourceState {
        // The loader lets no source through that names no sink.
        let written = wanted.resource.spec.sink().cloned().unwrap_or_default();
        let way = self.way(wanted, guide, "spec.sink", &written);
        let sink_url = way.as_ref().ok().map(|way| way.url.clone());
        let dead_letters = wanted.resource.spec.dead_letter_sink();
        let dead_letters = dead_letters
            .map(|written| self.way(wanted, guide, "spec.delivery.deadLetterSink", written))
            .transpose();
        let not_ready = way.and_then(|way| self.work(wanted, way, dead_letters?)).err();
        self.log(wanted.id, not_ready.as_ref());
        let known = self.known.get(wanted.id);
        SourceState {
            not_ready,
            report: known.map(|known| Arc::clone(&known.report)),
            sink: sink_url.or_else(|| known.map(|known| known.made_from.sink.clone())),
            attributes: known.map(|known| known.attributes.clone()).unwrap_or_default(),
        }
    }

    /// Says once why a source does not work.
    fn log(&mut self, id: &SourceId, not_ready: Option<&NotReady>) {
        // What is only being opened comes by itself.
        let Some(why) = not_ready.filter(|why| why.reason != NOTES_OPENING) else {
            self.told.remove(id);
            return;
        };
        if self.told.insert(id.clone(), why.message.clone()).as_ref() != Some(&why.message) {
            tracing::warn!(source = %id, reason = why.reason, why = %why.message, "a source does not work");
        }
    }

    fn work(
        &mut self,
        wanted: &Wanted<'_>,
        way: Way,
        dead_letters: Option<Way>,
    ) -> Result<(), NotReady> {
        let Wanted { id, resource, snapshot } = *wanted;
        let secrets = secrets::hash(&id.name, &resource.spec, &snapshot.resources);
        let Way { sink, url, hub } = way;
        let made_from = Origin {
            resource: resource.hash,
            secrets,
            sink: url,
            dead_letter_sink: dead_letters.as_ref().map(|way| way.url.clone()),
        };
        let known = self.known.get(id);
        if known.is_some_and(|known| known.made_from == made_from) {
            return Ok(());
        }
        let Some(notes) = self.book.notes()? else {
            let message = "what sources remember is being read".to_owned();
            return Err(NotReady { reason: NOTES_OPENING, message });
        };
        let plan = Plan::of(wanted)?;
        let report = known.map(|known| Arc::clone(&known.report)).unwrap_or_default();
        let mut attributes = plan.attributes(&id.name);
        let (report, door) = match plan {
            Plan::Ping(plan) => {
                let source = ::sources::PingSource::new(id.name.clone(), plan, self.alarm.clone());
                let report = self.supervisor(&notes).start(id.clone(), Arc::new(source), sink);
                (report, None)
            }
            Plan::ApiServer(plan, filter) => {
                let watches = self.watches.as_ref().ok_or_else(no_cluster)?;
                attributes = watch_attributes(&plan, watches);
                let source = watches.source(&id.name, *plan, filter);
                let report = self.supervisor(&notes).start(id.clone(), Arc::new(source), sink);
                (report, None)
            }
            Plan::Kafka(plan) => {
                let store = hub.map(|hub| -> Arc<dyn DeadRecords> {
                    let control = Arc::clone(&self.control);
                    Arc::new(HubRecords::new(id, hub, &made_from.sink, control))
                });
                let dead_letters = DeadLetters {
                    sink: dead_letters.map(|way| way.sink),
                    store,
                    destination: made_from.sink.clone(),
                };
                let source = ::sources::KafkaSource::new(id.name.clone(), *plan, dead_letters);
                let report = self.supervisor(&notes).start(id.clone(), Arc::new(source), sink);
                (report, None)
            }
            // Whoever leads in the cluster tells its pods, and notes in the report what keeps it from that.
            Plan::Bound => (report, None),
            Plan::GitHub(_) | Plan::Webhook(_) => {
                let report = match plan.hook(&id.name, self.public_url.as_ref()) {
                    Some(hook) => {
                        // It makes no event: those come in by the endpoint.
                        let sink = Arc::clone(&sink);
                        self.supervisor(&notes).start(id.clone(), Arc::new(hook), sink)
                    }
                    None => {
                        if let Some(supervisor) = &mut self.supervisor {
                            supervisor.remove(id);
                        }
                        report
                    }
                };
                let door = plan.endpoint(id, notes, sink, Arc::clone(&report));
                (report, door.map(Arc::new))
            }
        };
        tracing::info!(source = %id, sink = %made_from.sink, "source works");
        self.known.insert(id.clone(), Known { made_from, report, door, attributes });
        Ok(())
    }

    /// The way to a sink that is written at `field`.
    fn way(
        &self,
        wanted: &Wanted<'_>,
        guide: &impl Guide,
        field: &str,
        written: &Destination,
    ) -> Result<Way, NotReady> {
        let namespace = &wanted.id.name.namespace;
        let target = written.resolve_by(field, namespace, |it| guide.find(it));
        let target = target
            .map_err(|invalid| NotReady { reason: "NotFound", message: invalid.to_string() })?;
        let url = target.url.to_string();
        let hub = written.reference.as_ref().filter(|_| written.uri.is_none());
        let hub = hub.and_then(|reference| {
            let own = reference.namespace.clone().filter(|own| !own.is_empty());
            let namespace = Some(own.unwrap_or_else(|| namespace.clone()));
            guide.hub(&Reference { namespace, ..reference.clone() })
        });
        if let Some(hub) = hub {
            let sink = Arc::new(GateSink::new(hub.clone(), Arc::clone(&self.gates)));
            return Ok(Way { sink, url, hub: Some(hub) });
        }
        let sink = self.outbox.sink(&target).map_err(|error| NotReady {
            reason: SINK_INVALID,
            message: format!("{field}: {error}"),
        })?;
        Ok(Way { sink: Arc::new(sink), url, hub: None })
    }

    /// Whoever runs sources; with it, the alarm.
    fn supervisor(&mut self, notes: &::sources::Notes) -> &mut Supervisor {
        self.supervisor.get_or_insert_with(|| {
            let (alarm, stop) = (self.alarm.clone(), self.stop.clone());
            self.tasks.spawn(async move { alarm.run(stop).await });
            Supervisor::new(House {
                runtime: Handle::current(),
                workers: self.workers,
                leads: self.control.leads.subscribe(),
                notes: notes.clone(),
            })
        })
    }

    fn swap_endpoints(&self, states: &BTreeMap<SourceId, SourceState>) {
        let called = states.iter().filter(|(id, _)| {
            SourceKind::ALL.iter().any(|kind| kind.is_called() && kind.as_str() == id.kind)
        });
        let doors = called.filter_map(|(id, state)| {
            let door = match (self.known.get(id), &state.not_ready) {
                (Some(Known { door: Some(door), .. }), _) => Door::Open(Arc::clone(door)),
                (_, Some(why)) => Door::Shut(why.clone()),
                _ => return None,
            };
            Some((id.name.to_string(), door))
        });
        self.endpoints.store(Arc::new(doors.collect()));
    }

    /// Stops what makes events by itself. Requests are refused by the way in.
    pub(crate) async fn stop(&mut self) {
        if let Some(supervisor) = self.supervisor.take() {
            let left = supervisor.end(STOP_GRACE).await;
            if left > 0 {
                tracing::warn!(left, "sources did not stop in time");
            }
        }
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }

    /// Lets go of everything, by `deadline`.
    pub(crate) async fn end(mut self, deadline: std::time::Instant) {
        self.stop().await;
        self.outbox.end().await;
        self.book.end(deadline).await;
    }
}

/// Why a source of a cluster's changes does not work without one.
fn no_cluster() -> NotReady {
    let message = "there is no cluster to watch: serve --kubernetes follows one".to_owned();
    NotReady { reason: "NoCluster", message }
}

/// Where events go.
#[derive(Debug)]
struct Way {
    sink: Arc<dyn Sink>,
    url: String,
    /// The hub of this process that it leads to.
    hub: Option<Hub>,
}

/// A source in the making.
#[derive(Clone, Copy, Debug)]
struct Wanted<'a> {
    id: &'a SourceId,
    resource: &'a Resource<SourceSpec>,
    /// What else is wanted, and what is wrong.
    snapshot: &'a Snapshot,
}
