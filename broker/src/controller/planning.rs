//! What a trigger's resource comes to, with that of its broker: where its events go, and a plan.
//!
//! Nothing here runs anything: what a manifest would do is asked here too.

use std::{net::SocketAddr, sync::Arc};

use channel::{Destination, Found, Invalid, Name, Reference, Target};
use dispatcher::{
    DeliveryChoice, DeliveryPlan, Filter, TriggerOptions, TriggerPlan, TriggerSpec, http::Endpoint,
};

use crate::{
    control::{NotReady, SinkFrom},
    manifest::Resource,
    spec::BrokerSpec,
};

/// A trigger in the making.
#[derive(Clone, Debug)]
pub(crate) struct Wanted<'a> {
    /// Its name.
    pub(crate) name: &'a Name,
    /// What the user wrote.
    pub(crate) resource: &'a Resource<TriggerSpec>,
    /// Its broker.
    pub(crate) broker: Name,
}

/// Where a trigger's events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Targets {
    subscriber: Target,
    sink: Option<Target>,
}

impl Wanted<'_> {
    /// Why it cannot run without its broker.
    pub(crate) fn homeless(&self) -> NotReady {
        let message = format!("Broker {:?} does not exist", self.broker.to_string());
        NotReady { reason: "BrokerDoesNotExist", message }
    }

    /// The dead letter sink that holds for it, and who names it.
    pub(crate) fn sink<'a>(
        &'a self,
        broker: Option<&'a BrokerSpec>,
    ) -> Option<(&'a Destination, SinkFrom)> {
        let of_trigger = self.resource.spec.delivery.as_ref();
        let of_broker = broker.and_then(|broker| broker.delivery.as_ref());
        let named = |delivery: Option<&'a dispatcher::DeliverySpec>, from| {
            Some((delivery?.dead_letter_sink.as_ref()?, from))
        };
        named(of_trigger, SinkFrom::Trigger).or_else(|| named(of_broker, SinkFrom::Broker))
    }

    /// Where its events go. `find` knows the addresses of objects.
    ///
    /// # Errors
    ///
    /// `SubscriberUnresolved` and `DeadLetterSinkUnresolved`.
    pub(crate) fn targets(
        &self,
        broker: &Resource<BrokerSpec>,
        find: impl Fn(&Reference) -> Result<Found, String>,
    ) -> Result<Targets, NotReady> {
        let resolve = |destination: &Destination, path: &str, owner: &Name| {
            destination.resolve_by(path, &owner.namespace, &find)
        };
        if self.is_circle() {
            let broker = self.broker.to_string();
            let message = format!(
                "spec.subscriber.ref: leads back to Broker {broker:?}, whose events it wants"
            );
            return Err(NotReady { reason: "SubscriberUnresolved", message });
        }
        let subscriber = resolve(&self.resource.spec.subscriber, "spec.subscriber", self.name)
            .map_err(|invalid| not_ready("SubscriberUnresolved", &invalid))?;
        let sink = self
            .sink(Some(&broker.spec))
            .map(|(sink, from)| {
                let owner = match from {
                    SinkFrom::Trigger => self.name,
                    SinkFrom::Broker => &self.broker,
                };
                resolve(sink, "spec.delivery.deadLetterSink", owner)
            })
            .transpose()
            .map_err(|invalid| not_ready("DeadLetterSinkUnresolved", &invalid))?;
        Ok(Targets { subscriber, sink })
    }

    /// Whether its subscriber is the very broker that it takes events from.
    pub(crate) fn is_circle(&self) -> bool {
        let reference = self.resource.spec.subscriber.reference.as_ref();
        reference.is_some_and(|reference| {
            let namespace = reference.namespace.as_deref().filter(|it| !it.is_empty());
            reference.kind.as_deref() == Some("Broker")
                && reference.name.as_deref() == Some(self.broker.name.as_str())
                && namespace.unwrap_or(&self.name.namespace) == self.broker.namespace.as_str()
        })
    }

    /// The plan: all that it needs to run.
    ///
    /// # Errors
    ///
    /// `Invalid` for what the loader of manifests refuses, and those of addresses that cannot be used.
    pub(crate) fn plan(
        &self,
        broker: &Resource<BrokerSpec>,
        targets: &Targets,
    ) -> Result<TriggerPlan, NotReady> {
        let spec = &self.resource.spec;
        let filter = Filter::compile(spec.filter.as_ref(), &spec.filters)
            .map_err(|problems| refused(&problems))?;
        let mut problems = Vec::new();
        let choose = |spec: Option<&dispatcher::DeliverySpec>, problems: &mut Vec<Invalid>| {
            spec.map_or_else(DeliveryChoice::default, |spec| {
                DeliveryChoice::new(spec, "spec.delivery", problems)
            })
        };
        let of_broker = choose(broker.spec.delivery.as_ref(), &mut problems);
        let of_trigger = choose(spec.delivery.as_ref(), &mut problems);
        let options = TriggerOptions::read(&self.resource.annotations, &mut problems);
        if !problems.is_empty() {
            return Err(refused(&problems));
        }
        let endpoint = |target: &Target, reason| {
            Endpoint::new(&target.url, target.ca_certs.as_deref())
                .map(Arc::new)
                .map_err(|error| NotReady { reason, message: error.to_string() })
        };
        let sink = targets.sink.as_ref();
        Ok(TriggerPlan {
            name: self.name.clone(),
            filter,
            subscriber: endpoint(&targets.subscriber, "SubscriberUnresolved")?,
            dead_letter_sink: sink
                .map(|sink| endpoint(sink, "DeadLetterSinkUnresolved"))
                .transpose()?,
            delivery: DeliveryPlan::new(&of_broker, &of_trigger),
            request_headers: TriggerPlan::request_headers(&self.name.namespace),
            ordered: options.ordered,
            in_flight_max: options.in_flight_max,
            paused: options.paused,
        })
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

/// Where a broker takes events when the way in is reached at `address`.
pub(crate) fn address_of(address: SocketAddr, broker: &Name) -> Option<Target> {
    let url = format!("http://{}/{broker}", reachable(address)).parse().ok()?;
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
