//! The answer to every publish of one worker that one sync stored.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use crate::{Position, PublishError, Published};

/// One answer for many publishes of one worker.
///
/// # Why one wake
///
/// Waking a task of another thread costs a system call. So the disk's thread wakes one of the
/// waiting publishes; whichever is polled or dropped first after the answer wakes the others, on
/// the worker's own thread. [`Ack::wake_rest`] is for the case that none is, for a while.
#[derive(Debug, Default)]
pub(super) struct Ack(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The position of the batch's first event.
    answer: Option<Result<u64, PublishError>>,
    wakers: Vec<Option<Waker>>,
}

impl Ack {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A publish whose last event is the batch's `last`th, counted from 0.
    pub(super) fn publish(self: &Arc<Self>, last: u64) -> Acked {
        let mut state = self.lock();
        state.wakers.push(None);
        Acked { place: state.wakers.len() - 1, ack: Arc::clone(self), last }
    }

    /// Answers all; returns whether some are still to be woken.
    pub(super) fn answer(&self, answer: Result<u64, PublishError>) -> bool {
        let mut state = self.lock();
        state.answer = Some(answer);
        let mut waiting = state.wakers.iter_mut().filter_map(Option::take);
        let first = waiting.next();
        drop(waiting);
        let has_rest = state.wakers.iter().any(Option::is_some);
        drop(state);
        if let Some(first) = first {
            first.wake();
        }
        has_rest
    }

    /// Wakes those that nobody has woken yet.
    pub(super) fn wake_rest(&self) {
        let wakers = std::mem::take(&mut self.lock().wakers);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

/// One publish that waits for its answer.
#[derive(Debug)]
pub(super) struct Acked {
    ack: Arc<Ack>,
    place: usize,
    last: u64,
}

impl Future for Acked {
    type Output = Published;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Published> {
        let mut state = self.ack.lock();
        let Some(answer) = state.answer.clone() else {
            if let Some(waker) = state.wakers.get_mut(self.place) {
                match waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    None => *waker = Some(cx.waker().clone()),
                }
            }
            return Poll::Pending;
        };
        let rest = std::mem::take(&mut state.wakers);
        drop(state);
        rest.into_iter().flatten().for_each(Waker::wake);
        Poll::Ready(answer.map(|first| Position(first + self.last)))
    }
}

impl Drop for Acked {
    fn drop(&mut self) {
        let mut state = self.ack.lock();
        if let Some(waker) = state.wakers.get_mut(self.place) {
            *waker = None;
        }
        if state.answer.is_some() {
            let rest = std::mem::take(&mut state.wakers);
            drop(state);
            rest.into_iter().flatten().for_each(Waker::wake);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn one_is_woken_and_wakes_the_others_even_when_it_is_dropped() {
        for is_dropped in [false, true] {
            let ack = Arc::new(Ack::default());
            let counts: Vec<_> = (0..3).map(|_| Arc::new(Count::default())).collect();
            let mut publishes: Vec<_> = (0..4).map(|last| ack.publish(last)).collect();
            // The fourth is never polled.
            for (publish, count) in publishes.iter_mut().zip(&counts) {
                let waker = Arc::clone(count).into();
                let polled = Pin::new(publish).poll(&mut Context::from_waker(&waker));
                assert!(polled.is_pending());
            }
            let woken = || counts.iter().map(|one| one.0.load(Ordering::Relaxed)).sum::<usize>();
            assert!(ack.answer(Ok(10)));
            assert_eq!(woken(), 1);
            if is_dropped {
                drop(publishes.remove(0));
                assert_eq!(woken(), 3);
            }
            for mut publish in publishes.into_iter().rev() {
                let last = publish.last;
                let polled = Pin::new(&mut publish).poll(&mut Context::from_waker(Waker::noop()));
                assert_eq!(polled, Poll::Ready(Ok(Position(10 + last))));
            }
            assert_eq!(woken(), 3);
        }
    }
}
