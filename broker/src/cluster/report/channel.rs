//! The status of a Channel, and of the channel behind it or on its own.

use channel::{
    Hub, Name, Reference,
    status::{Observed, SubscriberStatus},
};

use super::{
    broker::{addressed, in_line, policies},
    conditions::{Conditions, ready},
    view::{SINK_RESOLVED, View, addressable},
};
use crate::{
    cluster::{finder::channel_url, kinds::Followed, wanted},
    control::NotReady,
    manifest::{Kind, Problem},
    spec::{BackingChannelStatus, ChannelKind, ChannelStatus},
};

const ADDRESSABLE: &str = "Addressable";
const BACKING: &str = "BackingChannelReady";
const SERVICE: &str = "ChannelServiceReady";

/// What says whether the storage of a channel of that kind is there, as its Knative namesake calls it.
fn storage(kind: ChannelKind) -> &'static [&'static str] {
    match kind {
        ChannelKind::Memory | ChannelKind::Disk => {
            &["DispatcherReady", "ServiceReady", "EndpointsReady"]
        }
        ChannelKind::Kafka => &["TopicReady"],
        ChannelKind::Nats => &["StreamReady"],
    }
}

/// What a cluster is told of a Channel; `None` while nothing is known of it.
pub(super) fn status(view: &View<'_>, name: &Name) -> Option<ChannelStatus> {
    let mut conditions = Conditions::default();
    let kind = view.inventory.kinds.get(&Hub::channel(name.clone()));
    let kind = ChannelKind::ALL.into_iter().find(|known| Some(&known.as_str()) == kind);
    let behind = kind.map(Kind::Backing).and_then(Followed::of).map(Followed::resource);
    let mirrored = kind.and_then(|kind| backing_status(view, kind, name));
    let mirrored = mirrored.as_ref().and_then(|it| ready(&it.observed.conditions));
    match (mirrored, view.unmade.get(name)) {
        (Some(ready), _) => conditions.mirrors(BACKING, ready),
        (None, Some(why)) => conditions.fails(BACKING, "BackingChannelFailed", why),
        (None, None) => conditions.is_unknown(BACKING, "BackingChannelUnknown", "it is being made"),
    }
    let backing = common(view, Kind::Channel, name, &[], &mut conditions)?;
    Some(ChannelStatus {
        backing,
        channel: behind.map(|behind| Reference {
            kind: Some(behind.kind),
            api_version: Some(behind.api_version),
            namespace: Some(name.namespace.clone()),
            name: Some(name.name.clone()),
            ..Reference::default()
        }),
    })
}

/// What a cluster is told of a channel that keeps events; `None` while nothing is known of it.
pub(super) fn backing_status(
    view: &View<'_>,
    kind: ChannelKind,
    name: &Name,
) -> Option<BackingChannelStatus> {
    let mut conditions = Conditions::default();
    common(view, Kind::Backing(kind), name, storage(kind), &mut conditions)
}

fn common(
    view: &View<'_>,
    kind: Kind,
    name: &Name,
    stored: &[&'static str],
    conditions: &mut Conditions,
) -> Option<BackingChannelStatus> {
    let key = (kind, name.clone());
    let seen = view.seen.get(&key)?;
    let resource = view.inventory.resources.channels.get(name);
    // Of several with one name, the others have a problem of their own.
    let resource = resource.filter(|it| it.spec.kind == kind || seen.is_backing);
    let refused = view.refused_generation(kind, name);
    if resource.is_none() && refused.is_none() {
        return None;
    }
    let state = view.inventory.channels.get(name);
    for condition in stored {
        match state {
            Some(Ok(state)) => match state.down() {
                None => conditions.holds(condition),
                Some(NotReady { reason, message }) => conditions.fails(condition, reason, &message),
            },
            Some(Err(NotReady { reason, message })) => conditions.fails(condition, reason, message),
            None => {
                conditions.is_unknown(condition, "ChannelNotReady", "it is not at work yet");
            }
        }
    }
    if resource.is_some() {
        conditions.holds(ADDRESSABLE);
    } else {
        conditions.fails(ADDRESSABLE, "NotAtWork", "nothing takes events there: it is not at work");
    }
    if let Kind::Backing(_) = kind {
        match view.referred.leads_to(&wanted::service(name), &view.ingress_host) {
            Ok(()) => conditions.holds(SERVICE),
            Err(_) => match view.unmade.get(name) {
                Some(why) => conditions.fails(SERVICE, "ChannelServiceFailed", why),
                None => conditions.is_unknown(SERVICE, "ChannelServiceUnknown", "it is being made"),
            },
        }
    }
    let delivery = resource.and_then(|resource| resource.spec.delivery.as_ref());
    let sink = delivery.and_then(|delivery| delivery.dead_letter_sink.as_ref());
    let dead_letter_sink = view.sink(sink, name, refused.is_some(), conditions);
    policies(conditions);
    for problem in view.errors(kind, name) {
        let condition = condition_of(problem, stored);
        conditions.fails(condition, "InvalidSpec", &in_line(problem));
    }
    let address = addressable(channel_url(name));
    let generation = match (kind, refused) {
        (_, Some(refused)) => Some(refused),
        // A Channel's own generation is at work; what stands behind it is as it was made.
        (Kind::Channel, None) => resource.map(|resource| resource.generation),
        (_, None) => Some(seen.generation),
    };
    Some(BackingChannelStatus {
        observed: Observed {
            observed_generation: generation,
            conditions: std::mem::take(conditions).finish(),
            ..Observed::default()
        },
        addressed: addressed(address, resource.is_some()),
        dead_letter_sink,
        subscribers: subscribers(view, name),
        ..BackingChannelStatus::default()
    })
}

/// How far each subscription of a channel was taken up.
fn subscribers(view: &View<'_>, channel: &Name) -> Vec<SubscriberStatus> {
    let of_channel = view.subscriptions.get(channel).into_iter().flatten();
    of_channel
        .filter_map(|(name, seen)| {
            let state = view.inventory.subscriptions.get(*name)?;
            let resource = view.inventory.resources.subscriptions.get(*name)?;
            let why = state.running.as_ref().err();
            Some(SubscriberStatus {
                uid: Some(seen.uid.clone()),
                observed_generation: Some(resource.generation),
                ready: Some(if why.is_none() { "True" } else { "False" }.to_owned()),
                message: why.map(|why| why.message.clone()),
                auth: None,
            })
        })
        .collect()
}

fn condition_of(problem: &Problem, stored: &[&'static str]) -> &'static str {
    if problem.field.starts_with("spec.delivery.deadLetterSink") {
        SINK_RESOLVED
    } else {
        stored.first().copied().unwrap_or(BACKING)
    }
}
