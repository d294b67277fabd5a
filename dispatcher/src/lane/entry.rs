//! One event on its way to one trigger, and the lease it came with.

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
    time::Instant,
};

use channel::{Event, Lease};

use crate::{
    attempt::AttemptLog,
    breaker::{self, Breaker},
    dead_letter::Reason,
};

/// A lease that several lanes share: settled when the last of them has brought its event to an end.
pub(crate) struct SharedLease {
    lease: Cell<Option<Lease>>,
    open: Cell<usize>,
}

impl SharedLease {
    /// Shares `lease` between as many tickets as [`SharedLease::ticket`] is called.
    pub(crate) fn new(lease: Lease) -> Rc<Self> {
        Rc::new(Self { lease: Cell::new(Some(lease)), open: Cell::new(0) })
    }

    /// One lane's part in the lease.
    pub(crate) fn ticket(self: &Rc<Self>) -> Ticket {
        self.open.set(self.open.get() + 1);
        Ticket(Rc::clone(self))
    }
}

impl fmt::Debug for SharedLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedLease").field("open", &self.open).finish_non_exhaustive()
    }
}

/// One lane's part in a lease. Dropped without [`Ticket::done`], the event is lent again.
#[derive(Debug)]
pub(crate) struct Ticket(Rc<SharedLease>);

impl Ticket {
    /// Says that the event reached its end in this lane.
    pub(crate) fn done(self) {
        let open = self.0.open.get() - 1;
        self.0.open.set(open);
        if open == 0
            && let Some(lease) = self.0.lease.take()
        {
            lease.settle();
        }
    }
}

/// An event that a lane has to bring to an end.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) event: Event,
    /// `None` for a dead letter that is sent again: it came from no channel.
    pub(crate) ticket: Option<Ticket>,
    /// When the lane took it on; its age counts from here.
    pub(crate) born: Instant,
    /// Attempts that count, since it was taken on.
    pub(crate) attempts: u32,
    /// Whether later events of its key wait for its end.
    pub(crate) holds_key: bool,
    /// Whether the retry budget has put off the next attempt already.
    pub(crate) postponed: bool,
    /// What failed so far, kept only when something did.
    pub(crate) log: Option<Box<AttemptLog>>,
    /// The breaker's leave for the attempt under way.
    pub(crate) pass: Option<(Rc<RefCell<Breaker>>, breaker::Ticket)>,
}

impl Entry {
    pub(crate) fn new(event: Event, ticket: Option<Ticket>, born: Instant) -> Self {
        Self {
            event,
            ticket,
            born,
            attempts: 0,
            holds_key: false,
            postponed: false,
            log: None,
            pass: None,
        }
    }

    /// Gives the breaker's leave back unused.
    pub(crate) fn withdraw(&mut self) {
        if let Some((breaker, pass)) = self.pass.take() {
            breaker.borrow_mut().withdraw(pass);
        }
    }

    /// Says that the event reached its end.
    pub(crate) fn done(self) {
        if let Some(ticket) = self.ticket {
            ticket.done();
        }
    }
}

/// An entry that is out of attempts, on its way to the dead letters.
#[derive(Debug)]
pub(crate) struct Doomed {
    pub(crate) entry: Entry,
    pub(crate) reason: Reason,
    pub(crate) detail: Option<String>,
}
