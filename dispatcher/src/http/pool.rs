//! Kept connections of one worker, a stack for each host.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

use super::{client::ClientSettings, endpoint::Origin, resolve::Addresses, stream::Connection};

/// Hosts and their connections.
#[derive(Debug, Default)]
pub(super) struct Pool {
    hosts: RefCell<HashMap<Origin, Rc<HostPool>, foldhash::fast::RandomState>>,
    idle: Cell<usize>,
}

/// One host: who may connect, what is open and unused, what its name means.
#[derive(Debug)]
pub(super) struct HostPool {
    pub(super) addresses: Addresses,
    permits: Semaphore,
    /// Last used last: the top of the stack is the least likely to have been closed, and a
    /// burst's connections sink to the bottom and expire.
    idle: RefCell<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

impl Pool {
    /// The host of `origin`, known from now on.
    pub(super) fn host(&self, origin: &Origin, settings: &ClientSettings) -> Rc<HostPool> {
        let mut hosts = self.hosts.borrow_mut();
        if let Some(host) = hosts.get(origin) {
            return Rc::clone(host);
        }
        let host = Rc::new(HostPool {
            addresses: Addresses::default(),
            permits: Semaphore::new(settings.connections_per_host),
            idle: RefCell::default(),
        });
        hosts.insert(origin.clone(), Rc::clone(&host));
        host
    }

    /// Takes the connection used last that still can be used.
    pub(super) fn take(
        &self,
        host: &HostPool,
        settings: &ClientSettings,
        now: Instant,
    ) -> Option<Connection> {
        let mut stack = host.idle.borrow_mut();
        while let Some(mut idle) = stack.pop() {
            self.idle.set(self.idle.get().saturating_sub(1));
            if idle.is_usable(settings, now) {
                return Some(idle.connection);
            }
        }
        None
    }

    /// Keeps a connection whose last answer is complete; or closes it when there are too many, and
    /// returns `false`.
    pub(super) fn keep(
        &self,
        host: &HostPool,
        settings: &ClientSettings,
        connection: Connection,
        now: Instant,
    ) -> bool {
        if self.idle.get() >= settings.idle_max {
            return false;
        }
        self.idle.set(self.idle.get() + 1);
        host.idle.borrow_mut().push(Idle { connection, since: now });
        true
    }

    /// Closes what is too old or no longer usable, and forgets hosts that nobody uses.
    pub(super) fn expire(&self, settings: &ClientSettings, now: Instant) {
        let mut idle = 0;
        self.hosts.borrow_mut().retain(|_, host| {
            let mut stack = host.idle.borrow_mut();
            stack.retain_mut(|idle| idle.is_usable(settings, now));
            idle += stack.len();
            !stack.is_empty() || Rc::strong_count(host) > 1
        });
        self.idle.set(idle);
    }

    /// Connections kept now.
    pub(super) fn idle(&self) -> usize {
        self.idle.get()
    }
}

impl HostPool {
    /// Waits in turn for one of the host's connections, which dropping the permit gives to the next.
    pub(super) async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        // Fails only when closed, which nobody does.
        self.permits.acquire().await.ok()
    }

    /// Whether a permit would have to be waited for.
    pub(super) fn is_full(&self) -> bool {
        self.permits.available_permits() == 0
    }
}

impl Idle {
    fn is_usable(&mut self, settings: &ClientSettings, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < settings.idle_timeout
            && now.saturating_duration_since(self.connection.opened) < settings.age_max
            && self.connection.is_quiet()
    }
}
