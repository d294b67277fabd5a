//! Decoded event -> one with hops and arrival time, charged for its memory, on its way into the channel.

use std::{sync::Arc, time::SystemTime};

use channel::{
    Batch, Channel, Charge, Draft, Event, HOPS_HEADER, Hub, HubKind, Publish, Refusal, Sink, Stored,
};

use http::HeaderMap;

use super::arrival;

/// How often an event may pass a broker (Knative's default for `knativebrokerttl`).
pub const HOPS_MAX: u8 = 255;

/// Knative's attribute for the passes that are left.
const HOPS: &str = "knativebrokerttl";

/// Knative's attribute for the time of arrival, written anew at each pass.
const ARRIVAL: &str = "knativearrivaltime";

/// A hub's gate: every event enters here, whether it came over HTTP, from a source or as a reply.
#[derive(Debug)]
pub struct Admission {
    hub: Hub,
    channel: Arc<dyn Channel>,
}

impl Admission {
    /// The gate of `hub` in front of `channel`.
    pub fn new(hub: Hub, channel: Arc<dyn Channel>) -> Self {
        Self { hub, channel }
    }

    /// The hub.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Where its events are stored.
    pub fn channel(&self) -> &Arc<dyn Channel> {
        &self.channel
    }

    /// The event as the hub stores it: one pass less, a broker's with a new arrival time, its memory
    /// charged.
    /// `charge` is what was taken for it before it was read.
    ///
    /// # Errors
    ///
    /// [`Refusal::Loop`] when no pass is left, [`Refusal::Invalid`] when an attribute is missing,
    /// [`Refusal::NotStored`] when there is no memory for it.
    pub fn admit(&self, mut draft: Draft, charge: Option<Charge>) -> Result<Event, Refusal> {
        enter(&mut draft, self.hub.kind)?;
        let cost = draft.cost();
        let kept = charge.and_then(|mut charge| charge.resize(cost).then_some(charge));
        let charge = match kept {
            Some(charge) => charge,
            None => self.channel.reserve(cost)?,
        };
        draft.set_charge(charge);
        Ok(draft.finish()?)
    }

    /// Stores admitted events, all or none.
    pub fn publish(&self, worker: usize, events: Batch) -> Publish {
        self.channel.publish(worker, events)
    }
}

impl Sink for Admission {
    fn put(&self, worker: usize, event: Draft) -> Stored {
        match self.admit(event, None) {
            Ok(event) => Stored::publishing(self.publish(worker, Batch::from_iter([event]))),
            Err(refusal) => Stored::refused(refusal),
        }
    }
}

/// The event as the triggers of a broker would see it, had it been admitted now. Nothing is stored.
///
/// # Errors
///
/// [`Refusal::Loop`] and [`Refusal::Invalid`], as [`Admission::admit`].
pub fn rehearse(mut draft: Draft) -> Result<Event, Refusal> {
    enter(&mut draft, HubKind::Broker)?;
    Ok(draft.finish()?)
}

/// What a pass through a hub changes. As in Knative a channel leaves all attributes as they are.
fn enter(draft: &mut Draft, kind: HubKind) -> Result<(), Refusal> {
    let written = match kind {
        HubKind::Broker => draft.remove(HOPS),
        HubKind::Channel => None,
    };
    let hops = hops_left(draft.hops(), written.as_deref());
    let hops = hops.ok_or(Refusal::Loop { max: HOPS_MAX })?;
    draft.set_hops(Some(hops));
    draft.carry_hops();
    if kind == HubKind::Broker {
        draft.set(ARRIVAL, &arrival::text(SystemTime::now()));
    }
    Ok(())
}

/// The passes that another hub says are left.
pub(super) fn hops_told(headers: &HeaderMap) -> Option<u8> {
    headers.get(HOPS_HEADER)?.to_str().ok()?.parse().ok()
}

/// The passes that are left after this one, or `None` when this one was one too many.
///
/// `known` is what a broker noted, for a reply or an event of another broker; `written` is the attribute that a sender
/// may have set. As in Knative an attribute that is no integer counts as absent; more than the
/// maximum is cut to it, which Knative does not do.
fn hops_left(known: Option<u8>, written: Option<&str>) -> Option<u8> {
    let before = match (known, written.map(str::parse::<i64>)) {
        (Some(known), _) => i64::from(known),
        (None, Some(Ok(written))) => written.min(i64::from(HOPS_MAX) + 1),
        (None, Some(Err(_)) | None) => return Some(HOPS_MAX),
    };
    u8::try_from(before - 1).ok().filter(|&left| left > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pass_takes_one_hop() {
        for (known, written, left) in [
            (None, None, Some(255)),
            (None, Some("abc"), Some(255)),
            (None, Some("3.5"), Some(255)),
            (None, Some("2"), Some(1)),
            (None, Some("1"), None),
            (None, Some("0"), None),
            (None, Some("-5"), None),
            (None, Some("1000"), Some(255)),
            (Some(255), None, Some(254)),
            (Some(255), Some("255"), Some(254)),
            (Some(1), Some("200"), None),
        ] {
            assert_eq!(hops_left(known, written), left, "{known:?} {written:?}");
        }
    }

    #[test]
    fn a_producer_s_own_hop_count_is_named_when_none_is_left() {
        let told = Refusal::Loop { max: HOPS_MAX }.to_string();
        assert!(told.contains(HOPS), "{told}");
    }
}
