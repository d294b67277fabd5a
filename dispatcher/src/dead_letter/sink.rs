//! Dead letter -> the dead letter sink, for as long as it takes.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use channel::{Event, Invalid};

use super::{DeadLetter, SinkState, SinkStatus};
use crate::{
    Fanout, TriggerPlan, delivery,
    http::Endpoint,
    outcome::{self, Outcome},
    worker::Worker,
};

/// Deliveries to one dead letter sink at a time, in one worker.
const IN_FLIGHT_MAX: usize = 4;

/// Longest wait between two attempts, so that a sink that is back is found soon.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Bytes of an answer that go into `knativeerrordata`: its Base64 text stays within 1,024 characters.
const ERROR_DATA_BYTES_MAX: usize = 768;

/// The status that stands for a failure without an answer, as in Knative.
const NO_ANSWER_CODE: u16 = 500;

/// The dead letters that one worker has to send to one sink. Their number is bounded by the dead
/// letters that are kept: one that is purged or sent again is skipped.
#[derive(Default)]
pub(crate) struct SinkSender {
    queue: RefCell<VecDeque<Pending>>,
    running: Cell<usize>,
}

struct Pending {
    fanout: Arc<Fanout>,
    plan: Arc<TriggerPlan>,
    letter: Arc<DeadLetter>,
    attempts: u32,
}

impl SinkSender {
    /// Takes on a dead letter, and sees to it that somebody sends it.
    pub(crate) fn take_on(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        fanout: &Arc<Fanout>,
        plan: &Arc<TriggerPlan>,
        letter: Arc<DeadLetter>,
    ) {
        self.queue.borrow_mut().push_back(Pending {
            fanout: Arc::clone(fanout),
            plan: Arc::clone(plan),
            letter,
            attempts: 0,
        });
        if self.running.get() < IN_FLIGHT_MAX {
            self.running.set(self.running.get() + 1);
            let (sender, running) = (Rc::clone(self), Rc::clone(worker));
            worker.tasks.spawn_local(async move { sender.run(&running).await });
        }
    }

    async fn run(&self, worker: &Rc<Worker>) {
        // Counted down on every way out, a panic included.
        let _running = Running(&self.running);
        loop {
            let Some(mut pending) = self.queue.borrow_mut().pop_front() else { return };
            if let Some(wait) = pending.send(worker).await {
                tokio::time::sleep(wait).await;
                // Behind the others: a letter that the sink never takes must not hold them up.
                self.queue.borrow_mut().push_back(pending);
            }
        }
    }
}

struct Running<'a>(&'a Cell<usize>);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Pending {
    /// Tries once. Returns how long to wait before the next attempt, unless the sink took or
    /// refused the letter, or it is no longer kept.
    async fn send(&mut self, worker: &Worker) -> Option<Duration> {
        let sink = self.plan.dead_letter_sink.as_ref()?;
        let store = &self.fanout.dead_letters;
        store.get(self.letter.id)?;
        let event = addressed(&self.letter).ok()?;
        self.attempts += 1;
        let outcome = self.attempt(worker, sink, &event).await;
        let status = match outcome {
            Outcome::Done | Outcome::MayReply => SinkStatus::Delivered,
            Outcome::Refused => SinkStatus::Refused,
            Outcome::Again { .. } => SinkStatus::Pending,
        };
        let state = SinkState { url: sink.url().to_owned(), status, attempts: self.attempts };
        store.set_sink_state(self.letter.id, state).await;
        let Outcome::Again { retry_after } = outcome else { return None };
        let plan = &self.plan.delivery;
        let draw = fastrand::f64();
        let wait = plan.backoff.wait(self.attempts, draw, retry_after, plan.retry_after_max);
        Some(wait.min(WAIT_MAX))
    }

    async fn attempt(&self, worker: &Worker, sink: &Arc<Endpoint>, event: &Event) -> Outcome {
        let body = event.data().map_or(&[][..], |data| &data.bytes);
        let namespace = format!("kn-namespace: {}\r\n", self.letter.trigger.namespace);
        let head = [namespace.as_bytes(), event.http_head(), b"\r\n"];
        let timeout = self.plan.delivery.timeout;
        let started = Instant::now();
        let sent = delivery::post(&worker.client, sink, &head, body, timeout).await;
        let outcome = outcome::outcome(&sent, SystemTime::now());
        if let Outcome::Again { .. } | Outcome::Refused = outcome {
            let attempt = delivery::describe(&sent, started.elapsed());
            tracing::debug!(
                sink = sink.url(),
                dead_letter = self.letter.id,
                status = attempt.status,
                error = attempt.error,
                "the dead letter sink did not take a dead letter"
            );
        }
        outcome
    }
}

/// The event with Knative's attributes that say why it is here.
fn addressed(letter: &DeadLetter) -> Result<Event, Invalid> {
    let last = letter.attempts.last();
    let code = last.and_then(|attempt| attempt.status).unwrap_or(NO_ANSWER_CODE);
    let words = letter.detail.as_deref().or(last.and_then(|attempt| attempt.error.as_deref()));
    let data = match last {
        Some(attempt) if attempt.status.is_some() => &attempt.answer[..],
        _ => words.unwrap_or_default().as_bytes(),
    };
    let data = data.get(..ERROR_DATA_BYTES_MAX.min(data.len())).unwrap_or_default();
    let mut draft = letter.event.edit();
    draft.set("knativeerrordest", &letter.destination);
    draft.set("knativeerrorcode", &code.to_string());
    draft.set("knativeerrordata", &BASE64_STANDARD.encode(data));
    draft.finish()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use channel::{Attributes, Budget, Draft, Hub, Name, SpecVersion};

    use super::*;
    use crate::{
        TriggerKey,
        attempt::{Attempt, AttemptLog},
        dead_letter::Reason,
    };

    fn letter(status: Option<u16>, error: Option<&str>, answer: Bytes) -> DeadLetter {
        let mut draft = Draft::new(SpecVersion::V10);
        for (name, value) in [("id", "1"), ("source", "/s"), ("type", "t")] {
            draft.push_wire(name, value.as_bytes()).unwrap();
        }
        let mut attempts = AttemptLog::default();
        let error = error.map(str::to_owned);
        let (at, took) = (SystemTime::UNIX_EPOCH, Duration::ZERO);
        let attempt = Attempt { at, took, status, error, answer, answer_truncated: false };
        attempts.push(attempt, &Budget::new(1 << 20));
        DeadLetter {
            id: 1,
            hub: Hub::broker(Name::new("n", "b")),
            trigger: Name::new("n", "t"),
            key: TriggerKey(1),
            destination: "http://x/y?z=1".to_owned(),
            reason: Reason::Exhausted,
            detail: None,
            failed_at: SystemTime::UNIX_EPOCH,
            attempts,
            event: draft.finish().unwrap(),
            sink: None,
        }
    }

    #[test]
    fn a_long_answer_is_cut_to_what_the_attribute_holds() {
        let event = addressed(&letter(Some(503), None, Bytes::from(vec![b'x'; 1024]))).unwrap();
        assert_eq!(event.attribute("knativeerrordest"), Some("http://x/y?z=1"));
        assert_eq!(event.attribute("knativeerrorcode"), Some("503"));
        assert_eq!(event.attribute("knativeerrordata").unwrap().len(), 1024);
    }

    #[test]
    fn a_failure_without_an_answer_says_what_happened() {
        let event = addressed(&letter(None, Some("refused"), Bytes::new())).unwrap();
        assert_eq!(event.attribute("knativeerrorcode"), Some("500"));
        assert_eq!(event.attribute("knativeerrordata"), Some("cmVmdXNlZA=="));
    }

    #[test]
    fn an_empty_answer_is_an_empty_text() {
        let event = addressed(&letter(Some(400), None, Bytes::new())).unwrap();
        assert_eq!(event.attribute("knativeerrordata"), Some(""));
    }
}
