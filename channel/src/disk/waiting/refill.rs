//! Rows -> memory, as many as there is room for, in the order in which they are to be lent.

use std::{sync::Arc, time::Duration};

use crate::{
    Budget, Envelope, Event,
    disk::waiting::{
        database::Database,
        queue::Queue,
        row::{self, RowError},
    },
    key_worker,
};

/// Rows that one refill looks at before others have their turn.
const LOOKS_MAX: usize = 1024;
/// How long until the next look when there was no room in memory.
const ROOM_WAIT_MICROS: u64 = 50_000;

/// Why rows could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum RefillError {
    #[error("the database of what waits cannot be read")]
    Database(#[from] redb::Error),
    #[error("what waits as number {0} cannot be read")]
    Row(u64, #[source] RowError),
}

/// Reads rows for one trigger. `now` is in microseconds.
pub(super) fn refill(
    database: &Database,
    queue: &Arc<Queue>,
    budget: &Arc<Budget>,
    now: u64,
) -> Result<(), RefillError> {
    queue.answer_ask();
    if queue.lock().is_closed {
        return Ok(());
    }
    if queue.is_ordered {
        in_order(database, queue, budget, now)?;
    } else {
        by_due(database, queue, budget, now)?;
    }
    queue.wake();
    Ok(())
}

/// When a row is due for this process, whose clock may be behind its writer's.
fn due_here(database: &Database, due: u64, sequence: u64) -> u64 {
    let is_found = sequence < database.found_below;
    due.saturating_sub(if is_found { database.behind_micros } else { 0 })
}

fn found(database: &Database, envelope: Envelope, sequence: u64) -> Envelope {
    let behind = Duration::from_micros(database.behind_micros);
    if behind.is_zero() || sequence >= database.found_below {
        return envelope;
    }
    let earlier = |time: std::time::SystemTime| time.checked_sub(behind).unwrap_or(time);
    Envelope {
        first_at: earlier(envelope.first_at),
        put_at: earlier(envelope.put_at),
        due_at: earlier(envelope.due_at),
        ..envelope
    }
}

fn by_due(
    database: &Database,
    queue: &Arc<Queue>,
    budget: &Arc<Budget>,
    now: u64,
) -> Result<(), RefillError> {
    {
        let mut state = queue.lock();
        if !state.has_room() {
            state.ready().iter_mut().for_each(|ready| ready.has_more = true);
            return Ok(());
        }
    }
    let (mut trouble, mut later, mut is_short) = (None, None, false);
    let behind = database.behind_micros;
    let rest = database.by_due(&queue.trigger, now + behind, |due, sequence, row| {
        let due = due_here(database, due, sequence);
        // Locked for moments only: workers must not wait for the disk.
        let state = queue.lock();
        if state.is_held(sequence) {
            return Ok(true);
        }
        if due > now {
            later = Some(later.map_or(due, |later: u64| later.min(due)));
            return Ok(true);
        }
        if !state.has_room() {
            return Ok(false);
        }
        drop(state);
        let Some(row) = row()? else { return Ok(true) };
        match take(database, budget, sequence, row.value()) {
            Ok(Some(found)) => queue.keep(due, sequence, found, row.value().len()),
            Ok(None) => is_short = true,
            Err(error) => trouble = Some(RefillError::Row(sequence, error)),
        }
        Ok(trouble.is_none() && !is_short)
    })?;
    if let Some(trouble) = trouble {
        return Err(trouble);
    }
    let rest = rest.map(|due| due.saturating_sub(behind));
    let mut state = queue.lock();
    let has_room = state.has_room();
    // With no room here the readers will ask; otherwise time will.
    state.ready().iter_mut().for_each(|ready| ready.has_more = !has_room);
    state.next_due = match (is_short, has_room) {
        (true, _) => Some(now + ROOM_WAIT_MICROS),
        (false, true) => [later, rest].into_iter().flatten().min(),
        (false, false) => None,
    };
    Ok(())
}

/// The event of a row, charged; `None` when there is no room in memory.
fn take(
    database: &Database,
    budget: &Arc<Budget>,
    sequence: u64,
    row: &[u8],
) -> Result<Option<(Event, Envelope)>, RowError> {
    let (mut draft, envelope) = row::decode(row)?;
    let held = draft.cost() + row.len();
    match budget.try_charge(held) {
        Some(charge) => draft.set_charge(charge),
        // It could never fit, and was accepted.
        None if held > budget.limit() => {}
        None => return Ok(None),
    }
    Ok(Some((draft.finish()?, found(database, envelope, sequence))))
}

/// Each worker has a cursor of its own: one that does not read holds up no other.
fn in_order(
    database: &Database,
    queue: &Arc<Queue>,
    budget: &Arc<Budget>,
    now: u64,
) -> Result<(), RefillError> {
    let (first, mut stopped): (Option<u64>, Vec<bool>) = {
        let mut state = queue.lock();
        let ready = state.ready();
        let first = ready.iter().filter(|one| one.has_room()).map(|one| one.cursor).min();
        (first, ready.iter().map(|one| !one.has_room()).collect())
    };
    let Some(first) = first else { return Ok(()) };
    let (mut looks, mut trouble, mut is_short) = (0, None, false);
    let end = database.by_sequence(&queue.trigger, first, |sequence, row| {
        looks += 1;
        if looks > LOOKS_MAX || stopped.iter().all(|&stopped| stopped) {
            return false;
        }
        let (event, envelope) = match take(database, budget, sequence, row) {
            Ok(Some(found)) => found,
            Ok(None) => {
                is_short = true;
                return false;
            }
            Err(error) => {
                trouble = Some(RefillError::Row(sequence, error));
                return false;
            }
        };
        let owner = key_worker(&event, stopped.len());
        let mut state = queue.lock();
        let place = state.ready().get_mut(owner).zip(stopped.get_mut(owner));
        let Some((ready, stopped)) = place else { return true };
        if *stopped || sequence < ready.cursor {
            return true;
        }
        *stopped = !ready.has_room();
        if *stopped {
            ready.cursor = sequence;
            return true;
        }
        ready.cursor = sequence + 1;
        drop(state);
        queue.keep(0, sequence, (event, envelope), row.len());
        true
    })?;
    if let Some(trouble) = trouble {
        return Err(trouble);
    }
    let is_over = end >= database.next();
    let mut state = queue.lock();
    for (ready, stopped) in state.ready().iter_mut().zip(&stopped) {
        if !stopped {
            ready.cursor = ready.cursor.max(end);
        }
        ready.has_more = *stopped;
    }
    let all_stopped = stopped.iter().all(|&stopped| stopped);
    state.next_due = match (is_short, is_over || all_stopped) {
        (true, _) => Some(now + ROOM_WAIT_MICROS),
        (false, true) => None,
        // There is more to look at, after others had their turn.
        (false, false) => Some(now),
    };
    Ok(())
}
