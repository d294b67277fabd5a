//! What this process knows of addresses: its own hubs, and what others say.

use std::net::SocketAddr;

use channel::{Found, Hub, Reference};

use super::{address_of, found};
use crate::{manifest::Snapshot, sourcing::Guide, spec::ChannelKind};

/// Where references lead.
pub(super) struct Here<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// The process's kind of channel.
    pub(super) default: ChannelKind,
    /// Where its way in is reached.
    pub(super) address: SocketAddr,
}

impl Guide for Here<'_> {
    fn hub(&self, reference: &Reference) -> Option<Hub> {
        self.snapshot.resources.find(reference, self.default)
    }

    fn find(&self, reference: &Reference) -> Result<Found, String> {
        let here = self.hub(reference).and_then(|hub| address_of(self.address, &hub));
        match &self.snapshot.addresses {
            Some(addresses) if here.is_none() => addresses.find(reference),
            _ => found(reference, here),
        }
    }
}
