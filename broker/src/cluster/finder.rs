//! Where references lead, as a cluster is told: hubs of this process by the address of its way in.

use channel::{CLUSTER_DOMAIN, Found, Name, Reference, Target};

use super::referred::Referred;
use crate::{addresses::Addresses as _, control::Inventory, manifest::names_channel};

/// Finds where references lead.
#[derive(Clone, Copy)]
pub(super) struct Finder<'a> {
    pub(super) inventory: &'a Inventory,
    pub(super) referred: &'a Referred,
    /// What addresses of brokers begin with.
    pub(super) ingress_url: &'a str,
}

impl Finder<'_> {
    /// Where a reference leads.
    ///
    /// # Errors
    ///
    /// In words, why that is not known.
    pub(super) fn find(&self, reference: &Reference) -> Result<Found, String> {
        match self.own_url(reference).and_then(|url| url.parse().ok()) {
            Some(url) => Ok(Found::Address(Target { url, ca_certs: None, audience: None })),
            None => self.referred.find(reference),
        }
    }

    /// The address of a broker or channel that runs here.
    fn own_url(&self, reference: &Reference) -> Option<String> {
        let name = Name::new(reference.namespace.clone()?, reference.name.clone()?);
        let resources = &self.inventory.resources;
        if reference.kind.as_deref() == Some("Broker") && resources.brokers.contains_key(&name) {
            return Some(self.broker_url(&name));
        }
        let is_here = names_channel(reference) && resources.channels.contains_key(&name);
        is_here.then(|| channel_url(&name))
    }

    /// Where a broker takes events.
    pub(super) fn broker_url(&self, broker: &Name) -> String {
        format!("{}/{broker}", self.ingress_url)
    }
}

/// Where a channel takes events: by the name of its Service.
pub(super) fn channel_url(channel: &Name) -> String {
    format!("http://{}-kn-channel.{}.{CLUSTER_DOMAIN}", channel.name, channel.namespace)
}

/// A URL as Knative writes it: the path that only the syntax asks for is left out.
pub(super) fn written(target: &Target) -> String {
    let url = &target.url;
    let text = url.as_str();
    let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if is_bare { text.trim_end_matches('/').to_owned() } else { text.to_owned() }
}
