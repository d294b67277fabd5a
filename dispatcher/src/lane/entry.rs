//! One event on its way to one trigger, and the lease it came with.

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use channel::{Budget, Envelope, Event, Lease, Position, Waiting, clock};

use crate::{
    attempt::AttemptLog,
    breaker::{self, Breaker},
    dead_letter::Reason,
    history::History,
};

/// Most bytes of the attempts that travel with an event that waits: they share a record with it.
const HISTORY_BYTES_MAX: usize = 8 << 10;

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
    /// Says that the event reached its end in this lane, or is stored where it waits for it.
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

/// Which channel lent an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The broker's log, which cannot move on for good while the event is here.
    Log,
    /// The trigger's own overflow.
    Overflow(Position),
}

/// An event that a lane has to bring to an end.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) event: Event,
    pub(crate) ticket: Ticket,
    pub(crate) origin: Origin,
    /// When this lane took it on.
    pub(crate) born: Instant,
    /// How old it was then.
    pub(crate) age_before: Duration,
    /// It must not start before.
    pub(crate) not_before: Option<Instant>,
    /// Attempts that count.
    pub(crate) attempts: u32,
    /// The attempts that its storage knows of.
    pub(crate) attempts_stored: u32,
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
    /// An event that the log lent.
    pub(crate) fn new(event: Event, ticket: Ticket, born: Instant) -> Self {
        Self {
            event,
            ticket,
            origin: Origin::Log,
            born,
            age_before: Duration::ZERO,
            not_before: None,
            attempts: 0,
            attempts_stored: 0,
            holds_key: false,
            postponed: false,
            log: None,
            pass: None,
        }
    }

    /// An event that the overflow lent, with what it knows of it.
    pub(crate) fn borrowed(lease: Lease, born: Instant, budget: &Arc<Budget>) -> Self {
        let event = lease.event().clone();
        let origin = Origin::Overflow(lease.position());
        let now = clock::now();
        let envelope = lease.envelope().cloned().map(|envelope| envelope.found_at(now));
        let mut entry = Self::new(event, SharedLease::new(lease).ticket(), born);
        entry.origin = origin;
        if let Some(envelope) = envelope {
            entry.age_before = now.duration_since(envelope.first_at).unwrap_or_default();
            let wait = envelope.due_at.duration_since(now).unwrap_or_default();
            entry.not_before = (!wait.is_zero()).then(|| born + wait);
            entry.attempts = envelope.attempts;
            entry.attempts_stored = envelope.attempts;
            if !envelope.history.is_empty() {
                let log = History::decode(&envelope.history).restore(budget);
                entry.log = Some(Box::new(log));
            }
        }
        entry
    }

    /// How long its trigger has had it.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        self.age_before + now.saturating_duration_since(self.born)
    }

    pub(crate) fn is_of_log(&self) -> bool {
        self.origin == Origin::Log
    }

    /// What storage has to know of it: due at `due`, or at once.
    pub(crate) fn envelope(&self, now: Instant, due: Option<Instant>) -> Envelope {
        let put_at = clock::now();
        let wait = due.map_or(Duration::ZERO, |due| due.saturating_duration_since(now));
        let history = self.log.as_ref().map(|log| History::of(log).encode(HISTORY_BYTES_MAX));
        Envelope {
            attempts: self.attempts,
            first_at: put_at.checked_sub(self.age(now)).unwrap_or(SystemTime::UNIX_EPOCH),
            put_at,
            due_at: put_at + wait,
            history: history.unwrap_or_default().into(),
        }
    }

    /// The same with the event, on its way into the overflow.
    pub(crate) fn waiting(&self, now: Instant) -> Waiting {
        Waiting { event: self.event.clone(), envelope: self.envelope(now, self.not_before) }
    }

    /// Gives the breaker's leave back unused.
    pub(crate) fn withdraw(&mut self) {
        if let Some((breaker, pass)) = self.pass.take() {
            breaker.borrow_mut().withdraw(pass);
        }
    }

    /// Says that the event reached its end.
    pub(crate) fn done(self) {
        self.ticket.done();
    }
}

/// An entry that is out of attempts, on its way to the dead letters.
#[derive(Debug)]
pub(crate) struct Doomed {
    pub(crate) entry: Box<Entry>,
    pub(crate) reason: Reason,
    pub(crate) detail: Option<String>,
}
