//! A reader of events that become due: it sleeps until the first one is.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Sleep;

use crate::{Lease, Reader};

/// What there is to lend.
pub(crate) enum Look {
    /// An event that is due.
    Lend(Lease),
    /// None now, but one after so long; `None` while nothing waits at all.
    Wait(Option<Duration>),
    /// None any more.
    End,
}

/// Where a reader looks for events.
pub(crate) trait Due: Send {
    /// What there is now. When it says [`Look::Wait`], the task of `cx` is woken when more comes.
    fn look(&mut self, cx: &Context<'_>) -> Look;
}

/// Lends what is due.
pub(crate) struct DueReader<D> {
    due: D,
    /// Until the first event is due.
    sleep: Option<Pin<Box<Sleep>>>,
}

/// Longest sleep before another look, whatever is due when.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

impl<D: Due> DueReader<D> {
    pub(crate) fn new(due: D) -> Self {
        Self { due, sleep: None }
    }
}

impl<D: Due + Unpin> Reader for DueReader<D> {
    fn poll_lend(&mut self, cx: &mut Context<'_>) -> Poll<Option<Lease>> {
        loop {
            let wait = match self.due.look(cx) {
                Look::Lend(lease) => return Poll::Ready(Some(lease)),
                Look::End => return Poll::Ready(None),
                Look::Wait(None) => return Poll::Pending,
                Look::Wait(Some(wait)) => wait,
            };
            let mut sleep = Box::pin(tokio::time::sleep(wait.min(SLEEP_MAX)));
            let is_over = sleep.as_mut().poll(cx).is_ready();
            self.sleep = Some(sleep);
            if !is_over {
                return Poll::Pending;
            }
        }
    }
}
