//! The addresses behind a host's name, asked for off the worker's thread.
//!
//! # Why a memory of seconds
//!
//! Kept connections make look-ups rare, but a subscriber that closes after every answer, or a burst
//! of new connections, would cost one each, in a thread of its own. So addresses are kept for
//! [`ClientSettings::name_ttl`](super::ClientSettings::name_ttl), which is how late a moved name is
//! noticed at most, and forgotten at once when none of them takes a connection. Whoever asks while
//! a look-up is under way shares its result; a failure is shared by those and nobody after them.

use std::{io, net::SocketAddr, rc::Rc, time::Duration};

use tokio::{sync::Mutex, time::Instant};

use super::{
    endpoint::{Host, Origin},
    error::SendError,
};

/// Most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;

/// What is known of the addresses of one host.
#[derive(Debug, Default)]
pub(super) struct Addresses(Mutex<Option<Known>>);

#[derive(Debug)]
struct Known {
    at: Instant,
    addresses: Result<Rc<[SocketAddr]>, Box<str>>,
}

impl Addresses {
    /// Returns at least one address, in the order to try them. May be dropped half way.
    pub(super) async fn get(
        &self,
        origin: &Origin,
        ttl: Duration,
    ) -> Result<Rc<[SocketAddr]>, SendError> {
        let name = match &origin.host {
            Host::Address(address) => return Ok([SocketAddr::new(*address, origin.port)].into()),
            Host::Name(name) => name,
        };
        let asked = Instant::now();
        let mut known = self.0.lock().await;
        let fresh = known.take().filter(|known| match known.addresses {
            Ok(_) => asked.saturating_duration_since(known.at) < ttl,
            Err(_) => known.at >= asked,
        });
        let now = match fresh {
            Some(fresh) => fresh,
            None => Known {
                addresses: look_up(name, origin.port).await.map_err(|e| e.to_string().into()),
                at: Instant::now(),
            },
        };
        let result = now.addresses.clone();
        *known = Some(now);
        result.map_err(|reason| SendError::Dns { host: (&**name).into(), reason })
    }

    /// Makes the next connection ask again.
    pub(super) fn forget(&self) {
        if let Ok(mut known) = self.0.try_lock() {
            *known = None;
        }
    }
}

async fn look_up(name: &str, port: u16) -> io::Result<Rc<[SocketAddr]>> {
    let found: Vec<_> = tokio::net::lookup_host((name, port)).await?.take(ADDRESSES_MAX).collect();
    if found.is_empty() {
        return Err(io::Error::other("the name has no address"));
    }
    Ok(alternate(&found).into())
}

/// Orders addresses as RFC 8305 section 4 wants: the resolver's order, families in turn, so that
/// a family without a route costs one stagger and not one for each address.
fn alternate(found: &[SocketAddr]) -> Vec<SocketAddr> {
    let starts_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let mut first = found.iter().filter(|address| address.is_ipv6() == starts_v6);
    let mut second = found.iter().filter(|address| address.is_ipv6() != starts_v6);
    let mut ordered = Vec::with_capacity(found.len());
    while ordered.len() < found.len() {
        ordered.extend(first.next());
        ordered.extend(second.next());
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_in_the_resolver_s_order() {
        for (found, expected) in [
            (vec!["[::1]:1", "[::2]:1", "1.1.1.1:1"], vec!["[::1]:1", "1.1.1.1:1", "[::2]:1"]),
            (vec!["1.1.1.1:1", "[::1]:1", "[::2]:1"], vec!["1.1.1.1:1", "[::1]:1", "[::2]:1"]),
            (vec!["1.1.1.1:1", "2.2.2.2:1"], vec!["1.1.1.1:1", "2.2.2.2:1"]),
            (vec![], vec![]),
        ] {
            let parse = |texts: Vec<&str>| -> Vec<SocketAddr> {
                texts.into_iter().map(|text| text.parse().unwrap()).collect()
            };
            assert_eq!(alternate(&parse(found)), parse(expected));
        }
    }
}
