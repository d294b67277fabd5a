//! A programmable subscriber: records every request whole, answers by script, can be taken down and brought back.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::answer::{Answer, Raw};
use crate::http::{Request, Wire};
use crate::sample::Key;
use crate::seen::Seen;
use crate::wait::{Background, eventually};

const BACKLOG: i32 = 1024;
const PORT: Duration = Duration::from_secs(5);

/// One request that arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// Position in the order of arrival, from 0.
    pub order: usize,
    /// Which connection brought it, counted from 0.
    pub connection: usize,
    /// When its last byte was read.
    pub at: Instant,
    /// The request.
    pub request: Request,
    /// The event in it, or why there is none.
    pub event: Result<Seen, String>,
    /// How many requests with this event came to this path before.
    pub earlier: usize,
    /// What became of it.
    pub ended: Ended,
}

impl Received {
    /// Which event it is; `None` when it is none.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        self.event.as_ref().ok().map(Seen::key)
    }

    /// Whether it was answered with a 2xx, written to the end.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self.ended, Ended::Answered { status: 200..=299, .. })
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ended {
    /// Not answered yet.
    Open,
    /// A well-formed response was written to the end.
    Answered {
        /// Its status.
        status: u16,
        /// When it began to be written.
        at: Instant,
    },
    /// The connection ended, or bytes were written that are no whole response.
    Broken {
        /// When.
        at: Instant,
    },
}

/// What a script sees of a request.
#[derive(Debug)]
pub struct Call<'a> {
    /// The request.
    pub request: &'a Request,
    /// The event in it, or why there is none.
    pub event: &'a Result<Seen, String>,
    /// How many requests with this event came to this path before: 0 at the first attempt.
    pub earlier: usize,
    /// Position in the order of arrival, from 0.
    pub order: usize,
}

type Script = Arc<dyn Fn(&Call<'_>) -> Answer + Send + Sync>;

/// A handle; clones share one listener, one script and one record.
#[derive(Clone, Debug)]
pub struct Subscriber {
    shared: Arc<Shared>,
}

struct Shared {
    address: SocketAddr,
    script: Mutex<Script>,
    record: Mutex<Record>,
    door: Mutex<Door>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Subscriber").field("address", &self.address).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Record {
    requests: Vec<Received>,
    attempts: HashMap<(String, Key), usize>,
    malformed: Vec<String>,
    connections: usize,
}

enum Door {
    Shut,
    Open { _listening: Background },
    // Bound but not listening: a connection is refused, and nobody else can take the port.
    Reserved { _port: Socket },
}

impl Subscriber {
    /// Listens on a free port of the loopback and answers 200.
    pub async fn start() -> Self {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let shared = Arc::new(Shared {
            address,
            script: Mutex::new(Arc::new(|_: &Call<'_>| Answer::status(200))),
            record: Mutex::default(),
            door: Mutex::new(Door::Shut),
        });
        let subscriber = Self { shared };
        subscriber.open(listener);
        subscriber
    }

    /// Answers by this script from now on.
    pub fn script(&self, script: impl Fn(&Call<'_>) -> Answer + Send + Sync + 'static) {
        *self.shared.script.lock().unwrap() = Arc::new(script);
    }

    /// Answers all with this from now on.
    pub fn always(&self, answer: Answer) {
        self.script(move |_| answer.clone());
    }

    /// Its URL, with a path that starts with `/`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.shared.address)
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Refuses connections and cuts those that are there; the port stays ours.
    pub async fn take_down(&self) {
        *self.shared.door.lock().unwrap() = Door::Shut;
        let address = self.shared.address;
        let reserved = eventually(PORT, || async move { bound(address) }).await;
        *self.shared.door.lock().unwrap() = Door::Reserved { _port: reserved };
    }

    /// Listens again on the same port.
    pub async fn bring_back(&self) {
        *self.shared.door.lock().unwrap() = Door::Shut;
        let address = self.shared.address;
        self.open(eventually(PORT, || async move { listen(address) }).await);
    }

    fn open(&self, listener: TcpListener) {
        let listening = Background::start(accept(listener, self.shared.clone()));
        *self.shared.door.lock().unwrap() = Door::Open { _listening: listening };
    }

    /// Every request so far, in the order of arrival.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.shared.record.lock().unwrap().requests.clone()
    }

    /// Every request so far to a path.
    #[must_use]
    pub fn received_at(&self, path: &str) -> Vec<Received> {
        let record = self.shared.record.lock().unwrap();
        record.requests.iter().filter(|one| one.request.target == path).cloned().collect()
    }

    /// How many requests came so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.record.lock().unwrap().requests.len()
    }

    /// How many connections came so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.record.lock().unwrap().connections
    }

    /// What came that was not HTTP, or not whole.
    #[must_use]
    pub fn malformed(&self) -> Vec<String> {
        self.shared.record.lock().unwrap().malformed.clone()
    }

    /// Waits until so many requests have come, and gives all.
    pub async fn receives(&self, at_least: usize, deadline: Duration) -> Vec<Received> {
        let ask = || async move {
            let received = self.received();
            if received.len() >= at_least {
                Ok(received)
            } else {
                Err(format!("{} requests", received.len()))
            }
        };
        eventually(deadline, ask).await
    }

    /// Waits for the first request and gives its event.
    pub async fn first_event(&self) -> Seen {
        let received = self.receives(1, Duration::from_secs(10)).await;
        received[0].event.clone().expect("a CloudEvent")
    }
}

fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bound(address)?;
    socket.set_nonblocking(true)?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let number = {
            let mut record = shared.record.lock().unwrap();
            record.connections += 1;
            record.connections - 1
        };
        connections.spawn(serve(stream, number, shared.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, connection: usize, shared: Arc<Shared>) {
    let mut wire = Wire::new(stream);
    loop {
        match wire.read_request().await {
            Ok(Some(request)) => {
                let (order, answer) = shared.enter(request, connection);
                // If this task is aborted while it answers, the record says so.
                let mut guard = Unanswered { shared: &shared, order, is_answered: false };
                let goes_on = give(&mut wire, answer, &mut guard).await;
                drop(guard);
                if !goes_on {
                    return;
                }
            }
            Ok(None) => return,
            Err(error) => {
                if error.kind() == io::ErrorKind::InvalidData {
                    shared.record.lock().unwrap().malformed.push(error.to_string());
                }
                return;
            }
        }
    }
}

/// Keeps the record of one request true, also when the task that answers it is aborted.
struct Unanswered<'a> {
    shared: &'a Shared,
    order: usize,
    is_answered: bool,
}

impl Unanswered<'_> {
    fn note(&self, ended: Ended) {
        self.shared.record.lock().unwrap().requests[self.order].ended = ended;
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.note(Ended::Broken { at: Instant::now() });
        }
    }
}

async fn give(wire: &mut Wire, answer: Answer, guard: &mut Unanswered<'_>) -> bool {
    match answer {
        Answer::Close => false,
        Answer::Hang => {
            wire.is_closed_within(Duration::from_secs(3600)).await;
            false
        }
        Answer::Raw(raw) => {
            spout(wire, &raw).await;
            false
        }
        Answer::Reply(reply) => {
            sleep(reply.delay).await;
            // Written down first: the program may have counted before this task runs again.
            guard.note(Ended::Answered { status: reply.status, at: Instant::now() });
            if wire.write(&reply.bytes()).await.is_err() {
                return false;
            }
            guard.is_answered = true;
            if let Some(pause) = reply.closes_after {
                sleep(pause).await;
            }
            reply.closes_after.is_none()
        }
    }
}

async fn spout(wire: &mut Wire, raw: &Raw) {
    if wire.write(&raw.first).await.is_err() {
        return;
    }
    while !raw.again.is_empty() {
        sleep(raw.every).await;
        if wire.write(&raw.again).await.is_err() {
            return;
        }
    }
    sleep(raw.every).await;
}

impl Shared {
    fn enter(&self, request: Request, connection: usize) -> (usize, Answer) {
        let event = Seen::read(&request.head.headers, &request.body);
        let mut record = self.record.lock().unwrap();
        let order = record.requests.len();
        let earlier = event.as_ref().ok().map_or(0, |seen| {
            let count = record.attempts.entry((request.target.clone(), seen.key())).or_default();
            *count += 1;
            *count - 1
        });
        let at = Instant::now();
        record.requests.push(Received {
            order,
            connection,
            at,
            request: request.clone(),
            event: event.clone(),
            earlier,
            ended: Ended::Open,
        });
        drop(record);
        let script = self.script.lock().unwrap().clone();
        let answer = script(&Call { request: &request, event: &event, earlier, order });
        (order, answer)
    }
}
