//! What a trigger's or a subscription's resource comes to, with that of its hub: where its events
//! go, and a plan.
//!
//! Nothing here runs anything: what a manifest would do is asked here too.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use channel::{Destination, Found, Hub, HubKind, Invalid, Name, Reference, Target};
use dispatcher::{
    DeliveryChoice, DeliveryPlan, DeliverySpec, Filter, Replies, SubscriptionSpec, TriggerOptions,
    TriggerPlan, TriggerSpec, http::Endpoint,
};

use crate::{
    control::{NotReady, SinkFrom},
    manifest::{ChannelDefinition, Resource, broker_of, channel_of, names_channel},
    spec::BrokerSpec,
};

/// A trigger, or a subscription, in the making.
#[derive(Clone, Debug)]
pub(crate) struct Wanted<'a> {
    /// Its name.
    pub(crate) name: &'a Name,
    /// Whose events it wants.
    pub(crate) hub: Hub,
    /// Hash of its resource.
    pub(crate) hash: u64,
    annotations: &'a BTreeMap<String, String>,
    asks: Asks<'a>,
}

/// What the user wrote.
#[derive(Clone, Copy, Debug)]
enum Asks<'a> {
    Trigger(&'a TriggerSpec),
    Subscription(&'a SubscriptionSpec),
}

/// What the resource of a hub says about those who want its events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OfHub<'a> {
    /// Hash of the resource.
    pub(crate) hash: u64,
    delivery: Option<&'a DeliverySpec>,
}

/// Where a trigger's events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Targets {
    subscriber: Target,
    replies: Option<Target>,
    sink: Option<Target>,
}

impl<'a> OfHub<'a> {
    /// A broker's.
    pub(crate) fn broker(resource: &'a Resource<BrokerSpec>) -> Self {
        Self { hash: resource.hash, delivery: resource.spec.delivery.as_ref() }
    }

    /// A channel's.
    pub(crate) fn channel(resource: &'a Resource<ChannelDefinition>) -> Self {
        Self { hash: resource.hash, delivery: resource.spec.delivery.as_ref() }
    }
}

impl<'a> Wanted<'a> {
    /// A trigger; `None` when it names no broker, which the loader lets through no more.
    pub(crate) fn trigger(name: &'a Name, resource: &'a Resource<TriggerSpec>) -> Option<Self> {
        let hub = Hub::broker(broker_of(name, &resource.spec)?);
        let asks = Asks::Trigger(&resource.spec);
        Some(Self { name, hub, hash: resource.hash, annotations: &resource.annotations, asks })
    }

    /// A subscription; `None` when it names no channel, which the loader lets through no more.
    pub(crate) fn subscription(
        name: &'a Name,
        resource: &'a Resource<SubscriptionSpec>,
    ) -> Option<Self> {
        let hub = Hub::channel(channel_of(name, &resource.spec)?);
        let asks = Asks::Subscription(&resource.spec);
        Some(Self { name, hub, hash: resource.hash, annotations: &resource.annotations, asks })
    }

    /// Why it cannot run without its hub.
    pub(crate) fn homeless(&self) -> NotReady {
        let name = self.hub.name.to_string();
        match self.asks {
            Asks::Trigger(_) => {
                let message = format!("Broker {name:?} does not exist");
                NotReady { reason: "BrokerDoesNotExist", message }
            }
            Asks::Subscription(spec) => {
                let kind = spec.channel.as_ref().and_then(|channel| channel.kind.as_deref());
                let kind = kind.unwrap_or_default();
                let message = format!("spec.channel: {kind} {name:?} does not exist");
                NotReady { reason: "ChannelReferenceFailed", message }
            }
        }
    }

    /// How it names its channel.
    pub(crate) fn channel(&self) -> Option<&'a Reference> {
        match self.asks {
            Asks::Trigger(_) => None,
            Asks::Subscription(spec) => spec.channel.as_ref(),
        }
    }

    fn delivery(&self) -> Option<&'a DeliverySpec> {
        match self.asks {
            Asks::Trigger(spec) => spec.delivery.as_ref(),
            Asks::Subscription(spec) => spec.delivery.as_ref(),
        }
    }

    /// The dead letter sink that holds for it, and who names it.
    pub(crate) fn sink(&self, hub: Option<OfHub<'a>>) -> Option<(&'a Destination, SinkFrom)> {
        let named = |delivery: Option<&'a DeliverySpec>, from| {
            Some((delivery?.dead_letter_sink.as_ref()?, from))
        };
        let of_hub = hub.and_then(|hub| hub.delivery);
        let own = named(self.delivery(), SinkFrom::Own);
        own.or_else(|| named(of_hub, SinkFrom::Hub(self.hub.kind)))
    }

    /// Where its events go. `find` knows the addresses of objects.
    ///
    /// # Errors
    ///
    /// One of [`Reasons`] for each of them.
    pub(crate) fn targets(
        &self,
        hub: OfHub<'a>,
        find: impl Fn(&Reference) -> Result<Found, String>,
    ) -> Result<Targets, NotReady> {
        let reasons = Reasons::of(self.hub.kind);
        if self.is_circle() {
            let message = format!(
                "spec.subscriber.ref: leads back to {} {:?}, whose events it wants",
                reasons.hub,
                self.hub.name.to_string()
            );
            return Err(NotReady { reason: reasons.subscriber, message });
        }
        let own = &self.name.namespace;
        let resolve = |destination: &Destination, path: &str, namespace: &str, reason| {
            let target = destination.resolve_by(path, namespace, &find);
            target.map_err(|invalid| not_ready(reason, &invalid))
        };
        let subscriber = |it| resolve(it, "spec.subscriber", own, reasons.subscriber);
        let (subscriber, replies) = match self.asks {
            Asks::Trigger(spec) => (subscriber(&spec.subscriber)?, None),
            Asks::Subscription(spec) => {
                let reply = |it| resolve(it, "spec.reply", own, reasons.reply);
                match (&spec.subscriber, spec.reply.as_ref().map(reply).transpose()?) {
                    (Some(it), replies) => (subscriber(it)?, replies),
                    // Events pass it unseen.
                    (None, Some(replies)) => (replies, None),
                    (None, None) => (subscriber(&Destination::default())?, None),
                }
            }
        };
        let sink = self.sink(Some(hub)).map(|(sink, from)| {
            let namespace = match from {
                SinkFrom::Own => own,
                SinkFrom::Hub(_) => &self.hub.name.namespace,
            };
            resolve(sink, "spec.delivery.deadLetterSink", namespace, reasons.sink)
        });
        Ok(Targets { subscriber, replies, sink: sink.transpose()? })
    }

    /// Whether its subscriber is the very hub that it takes events from.
    pub(crate) fn is_circle(&self) -> bool {
        let subscriber = match self.asks {
            Asks::Trigger(spec) => Some(&spec.subscriber),
            Asks::Subscription(spec) => spec.subscriber.as_ref(),
        };
        subscriber.and_then(|it| it.reference.as_ref()).is_some_and(|reference| {
            let namespace = reference.namespace.as_deref().filter(|it| !it.is_empty());
            let is_of_kind = match self.hub.kind {
                HubKind::Broker => reference.kind.as_deref() == Some("Broker"),
                HubKind::Channel => names_channel(reference),
            };
            is_of_kind
                && reference.name.as_deref() == Some(self.hub.name.name.as_str())
                && namespace.unwrap_or(&self.name.namespace) == self.hub.name.namespace.as_str()
        })
    }

    /// The plan: all that it needs to run.
    ///
    /// # Errors
    ///
    /// `Invalid` for what the loader of manifests refuses, and those of addresses that cannot be used.
    pub(crate) fn plan(&self, hub: OfHub<'a>, targets: &Targets) -> Result<TriggerPlan, NotReady> {
        let reasons = Reasons::of(self.hub.kind);
        let filter = match self.asks {
            Asks::Trigger(spec) => Filter::compile(spec.filter.as_ref(), &spec.filters),
            Asks::Subscription(_) => Filter::compile(None, &[]),
        };
        let filter = filter.map_err(|problems| refused(&problems))?;
        let mut problems = Vec::new();
        let choose = |spec: Option<&DeliverySpec>, problems: &mut Vec<Invalid>| {
            spec.map_or_else(DeliveryChoice::default, |spec| {
                DeliveryChoice::new(spec, "spec.delivery", problems)
            })
        };
        let (of_hub, own) = self.deliveries(hub);
        let of_hub = choose(of_hub, &mut problems);
        let own = choose(own, &mut problems);
        let options = TriggerOptions::read(self.annotations, &mut problems);
        if !problems.is_empty() {
            return Err(refused(&problems));
        }
        let endpoint = |target: &Target, reason| {
            Endpoint::new(&target.url, target.ca_certs.as_deref())
                .map(Arc::new)
                .map_err(|error| NotReady { reason, message: error.to_string() })
        };
        let replies = match (self.asks, &targets.replies) {
            (Asks::Trigger(_), _) => Replies::Hub,
            (Asks::Subscription(_), None) => Replies::Discarded,
            (Asks::Subscription(_), Some(target)) => Replies::To(endpoint(target, reasons.reply)?),
        };
        let sink = targets.sink.as_ref().map(|sink| endpoint(sink, reasons.sink));
        Ok(TriggerPlan {
            name: self.name.clone(),
            filter,
            subscriber: endpoint(&targets.subscriber, reasons.subscriber)?,
            replies,
            dead_letter_sink: sink.transpose()?,
            delivery: DeliveryPlan::new(&of_hub, &own),
            request_headers: TriggerPlan::request_headers(&self.name.namespace),
            ordered: options.ordered,
            in_flight_max: options.in_flight_max,
            paused: options.paused,
        })
    }

    /// The delivery of the hub that holds, and its own over it. As in Knative, a subscription with a
    /// delivery of its own takes nothing but the dead letter sink from its channel.
    fn deliveries(&self, hub: OfHub<'a>) -> (Option<&'a DeliverySpec>, Option<&'a DeliverySpec>) {
        let own = self.delivery();
        match self.asks {
            Asks::Subscription(_) if own.is_some() => (None, own),
            Asks::Subscription(_) | Asks::Trigger(_) => (hub.delivery, own),
        }
    }
}

/// Where a reference leads that is to `here`, or to something that this process does not run and
/// nobody knows of: of a Service the name is enough.
pub(crate) fn found(reference: &Reference, here: Option<Target>) -> Result<Found, String> {
    match here {
        Some(address) => Ok(Found::Address(address)),
        None if reference.is_service() => Ok(Found::Service),
        None => Err(format!("nothing with an address is known as {reference}")),
    }
}

/// Why something cannot run, in Knative's words for it where there are.
#[derive(Clone, Copy, Debug)]
struct Reasons {
    /// What the hub is called there.
    hub: &'static str,
    subscriber: &'static str,
    reply: &'static str,
    sink: &'static str,
}

impl Reasons {
    fn of(kind: HubKind) -> Self {
        match kind {
            HubKind::Broker => Self {
                hub: "Broker",
                subscriber: "SubscriberUnresolved",
                reply: "ReplyUnresolved",
                sink: "DeadLetterSinkUnresolved",
            },
            HubKind::Channel => Self {
                hub: "Channel",
                subscriber: "SubscriberResolveFailed",
                reply: "ReplyResolveFailed",
                sink: "DeadLetterSinkResolveFailed",
            },
        }
    }
}

/// Where a hub takes events when the way in is reached at `address`.
pub(crate) fn address_of(address: SocketAddr, hub: &Hub) -> Option<Target> {
    let url = format!("http://{}/{hub}", reachable(address)).parse().ok()?;
    Some(Target { url, ca_certs: None, audience: None })
}

fn refused(problems: &[Invalid]) -> NotReady {
    let message = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    NotReady { reason: "Invalid", message }
}

fn not_ready(reason: &'static str, invalid: &Invalid) -> NotReady {
    NotReady { reason, message: invalid.to_string() }
}

/// An address that a client on this machine can use: the unspecified one is only for listening.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => ([127, 0, 0, 1], v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            (std::net::Ipv6Addr::LOCALHOST, v6.port()).into()
        }
        address => address,
    }
}
