//! A sink at a URL: events of sources are sent to it over HTTP.
//!
//! One thread sends for all of them; it starts with the first event.

use std::{
    io,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use channel::{Draft, Event, PublishError, Refusal, Sink, Stored, Target};
use dispatcher::http::{Answer, Client, ClientSettings, Endpoint, EndpointError, SendError};
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinSet, LocalSet},
    time::{self, Instant},
};

/// Events that may wait for the thread; sources themselves have no more under way.
const QUEUE_LEN: usize = ::sources::PUTS_MAX;

/// How long one attempt may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The longest `Retry-After` that is obeyed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// How often unused connections are closed.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);

/// Sends to all URLs.
#[derive(Debug)]
pub(super) struct Outbox {
    settings: ClientSettings,
    line: Arc<Mutex<Option<Line>>>,
}

/// The thread that sends.
#[derive(Debug)]
struct Line {
    jobs: mpsc::Sender<Job>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
struct Job {
    endpoint: Arc<Endpoint>,
    event: Event,
    answer: oneshot::Sender<Result<(), Refusal>>,
}

impl Outbox {
    pub(super) fn new(settings: ClientSettings) -> Self {
        Self { settings, line: Arc::default() }
    }

    /// The sink at `target`.
    ///
    /// # Errors
    ///
    /// When nothing can be sent there.
    pub(super) fn sink(&self, target: &Target) -> Result<HttpSink, EndpointError> {
        let endpoint = Arc::new(Endpoint::new(&target.url, target.ca_certs.as_deref())?);
        let (settings, line) = (self.settings.clone(), Arc::clone(&self.line));
        Ok(HttpSink { endpoint, settings, line })
    }

    /// Ends the thread.
    pub(super) async fn end(self) {
        let line = self.line.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Line { jobs, thread }) = line else { return };
        drop(jobs);
        if !matches!(tokio::task::spawn_blocking(|| thread.join()).await, Ok(Ok(()))) {
            tracing::error!("the thread that sends events of sources ended with a panic");
        }
    }
}

/// A URL that takes events.
#[derive(Debug)]
pub(super) struct HttpSink {
    endpoint: Arc<Endpoint>,
    settings: ClientSettings,
    line: Arc<Mutex<Option<Line>>>,
}

impl HttpSink {
    fn jobs(&self) -> io::Result<mpsc::Sender<Job>> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = &*line {
            return Ok(line.jobs.clone());
        }
        let started = Line::start(self.settings.clone())?;
        let jobs = started.jobs.clone();
        *line = Some(started);
        Ok(jobs)
    }
}

impl Sink for HttpSink {
    fn put(&self, _worker: usize, event: Draft) -> Stored {
        let event = match event.finish() {
            Ok(event) => event,
            Err(invalid) => return Stored::refused(invalid.into()),
        };
        let jobs = match self.jobs() {
            Ok(jobs) => jobs,
            Err(error) => return Stored::refused(down(&error)),
        };
        let (answer, answered) = oneshot::channel();
        let job = Job { endpoint: Arc::clone(&self.endpoint), event, answer };
        Stored::waiting(async move {
            let ended = |_| down(&"the process stops");
            jobs.send(job).await.map_err(|_| down(&"the process stops"))?;
            answered.await.map_err(ended)?
        })
    }
}

fn down(reason: &impl ToString) -> Refusal {
    PublishError::Down { reason: reason.to_string() }.into()
}

impl Line {
    fn start(settings: ClientSettings) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel(QUEUE_LEN);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("sources-http".to_owned());
        let thread = thread.spawn(move || {
            LocalSet::new().block_on(&runtime, send_all(Rc::new(Client::new(settings)), queue));
        })?;
        Ok(Self { jobs, thread })
    }
}

/// Sends until nobody is left who wants something sent.
async fn send_all(client: Rc<Client>, mut queue: mpsc::Receiver<Job>) {
    let mut sending = JoinSet::new();
    let mut expire = time::interval(EXPIRE_EVERY);
    loop {
        tokio::select! {
            biased;
            Some(_) = sending.join_next() => {}
            job = queue.recv(), if sending.len() < QUEUE_LEN => {
                let Some(Job { endpoint, event, answer }) = job else { return };
                let client = Rc::clone(&client);
                sending.spawn_local(async move {
                    let sent = send(&client, &endpoint, &event).await;
                    // Whoever asked may have been stopped.
                    answer.send(judge(sent)).unwrap_or_default();
                });
            }
            _ = expire.tick() => client.expire(Instant::now()),
        }
    }
}

async fn send(client: &Client, endpoint: &Endpoint, event: &Event) -> Result<Answer, SendError> {
    let body = event.data().map_or(&[][..], |data| &data.bytes);
    let head = [event.http_head(), b"\r\n"];
    client.send(endpoint, &head, body, Instant::now() + TIMEOUT, 0).await
}

/// What an answer means for the event, by Knative's rules of delivery.
fn judge(sent: Result<Answer, SendError>) -> Result<(), Refusal> {
    let answer = sent.map_err(|error| down(&error))?;
    let status = answer.status;
    match status {
        200..=299 => Ok(()),
        429 | 503 => {
            let asked = answer.header("retry-after").and_then(|it| std::str::from_utf8(it).ok());
            let asked = asked.and_then(|it| it.trim().parse().ok()).map(Duration::from_secs);
            let retry_after = asked.unwrap_or_default().min(RETRY_AFTER_MAX);
            Err(PublishError::Full { bound: "the sink's own", retry_after }.into())
        }
        404 | 408 | 409 | 500..=599 => Err(down(&format!("the sink answered {status}"))),
        _ => Err(Refusal::Rejected { reason: format!("the sink answered {status}") }),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn what_may_work_later_is_tried_again() {
        let judged = |status| judge(Ok(Answer::new(status, Bytes::new(), Bytes::new(), false)));
        assert_eq!(judged(202), Ok(()));
        for status in [404, 408, 409, 429, 500, 503] {
            assert!(matches!(judged(status), Err(Refusal::NotStored(_))), "{status}");
        }
        for status in [301, 400, 401, 413, 415] {
            assert!(matches!(judged(status), Err(Refusal::Rejected { .. })), "{status}");
        }
    }
}
