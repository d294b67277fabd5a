//! How many connections there may be, in all and of one client.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// Counts open connections over all workers.
#[derive(Debug)]
pub struct Connections {
    max: usize,
    per_address_max: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
    refused_in_all: u64,
    refused_of_address: u64,
}

/// How many connections there are, and were refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// Open now.
    pub open: usize,
    /// Refused because there were too many in all.
    pub refused_in_all: u64,
    /// Refused because there were too many of their address.
    pub refused_of_address: u64,
}

impl Connections {
    /// Allows `max` connections in all and `per_address_max` of one address.
    pub fn new(max: usize, per_address_max: usize) -> Arc<Self> {
        Arc::new(Self { max, per_address_max, open: Mutex::default() })
    }

    /// A place for a connection from `address`, or `None` when a bound is reached.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let same = open.by_address.get(&address).copied().unwrap_or_default();
        if open.total >= self.max {
            open.refused_in_all += 1;
            return None;
        }
        if same >= self.per_address_max {
            open.refused_of_address += 1;
            return None;
        }
        open.total += 1;
        open.by_address.insert(address, same + 1);
        Some(Place { connections: Arc::clone(self), address })
    }

    /// Connections open now, and those refused so far.
    pub fn counts(&self) -> ConnectionCounts {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        ConnectionCounts {
            open: open.total,
            refused_in_all: open.refused_in_all,
            refused_of_address: open.refused_of_address,
        }
    }
}

/// A connection's place; dropping it makes room.
#[derive(Debug)]
pub(super) struct Place {
    connections: Arc<Connections>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.total = open.total.saturating_sub(1);
        if let Some(same) = open.by_address.get_mut(&self.address) {
            *same -= 1;
            if *same == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_cannot_take_every_place() {
        let connections = Connections::new(3, 2);
        let (one, other) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        let held: Vec<_> = (0..2).map(|_| connections.admit(one).unwrap()).collect();
        assert!(connections.admit(one).is_none());
        let _third = connections.admit(other).unwrap();
        assert!(connections.admit(other).is_none(), "the total is reached");
        let counts = ConnectionCounts { open: 3, refused_in_all: 1, refused_of_address: 1 };
        assert_eq!(connections.counts(), counts);
        drop(held);
        assert!(connections.admit(one).is_some());
    }
}
