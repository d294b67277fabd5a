//! The load: N keep-alive connections, each sending its next event when the last one was answered.
//!
//! A closed loop. Requests are written from a template, of which only the `ce-id` and the number in
//! the `ce-type` change.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, Write},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime,
    task::JoinSet,
    time,
};

use crate::Failure;

/// What to send, where and how.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The server.
    #[arg(long)]
    pub(crate) target: SocketAddr,
    /// The broker's path.
    #[arg(long)]
    pub(crate) path: String,
    /// Connections, each with one request at a time.
    #[arg(long)]
    pub(crate) connections: u32,
    /// Bytes of data an event.
    #[arg(long)]
    pub(crate) body: usize,
    /// Event types to go through, one after the other.
    #[arg(long)]
    pub(crate) types: u64,
    /// Threads that share the connections.
    #[arg(long)]
    pub(crate) threads: usize,
}

impl Args {
    /// These arguments as another process is given them.
    pub(crate) fn to_flags(&self) -> Vec<String> {
        let flags = [
            ("--target", self.target.to_string()),
            ("--path", self.path.clone()),
            ("--connections", self.connections.to_string()),
            ("--body", self.body.to_string()),
            ("--types", self.types.to_string()),
            ("--threads", self.threads.to_string()),
        ];
        flags.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }
}

/// One line on stdin: what to do next.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Order {
    /// Send for so many seconds.
    Seconds(u64),
    /// Send so many events.
    Events(u64),
}

/// One line on stdout for each order: how it went.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Answers {
    /// Requests that were answered, by status.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Requests that were not answered, by what went wrong; the connection sends no more.
    pub(crate) failures: BTreeMap<String, u64>,
}

impl Answers {
    /// Events that were taken.
    pub(crate) fn accepted(&self) -> u64 {
        self.statuses.range(200..300).map(|(_, count)| count).sum()
    }

    /// What went wrong, if anything did.
    pub(crate) fn trouble(&self) -> Option<String> {
        let refused = self.statuses.iter().filter(|(status, _)| !(200..300).contains(*status));
        let refused = refused.map(|(status, count)| format!("{count} answered {status}"));
        let failed = self.failures.iter().map(|(why, count)| format!("{count} failed: {why}"));
        let all: Vec<String> = refused.chain(failed).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }

    fn add(&mut self, other: Self) {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        for (why, count) in other.failures {
            *self.failures.entry(why).or_default() += count;
        }
    }
}

/// Does one order after the other until stdin ends.
pub(crate) fn run(args: &Args) -> Result<bool, Failure> {
    let mut first = 0;
    for line in io::stdin().lock().lines() {
        let order: Order = serde_json::from_str(&line?)?;
        let course = Arc::new(Course::new(args.clone(), order, first));
        let answers = course.run()?;
        first = course.next.load(Ordering::Relaxed);
        writeln!(io::stdout(), "{}", serde_json::to_string(&answers)?)?;
    }
    Ok(true)
}

/// One order in progress.
struct Course {
    args: Args,
    /// The number of the next event.
    next: AtomicU64,
    end: u64,
    until: Option<Instant>,
}

impl Course {
    fn new(args: Args, order: Order, first: u64) -> Self {
        let next = AtomicU64::new(first);
        match order {
            Order::Seconds(seconds) => {
                let until = Instant::now() + Duration::from_secs(seconds);
                Self { args, next, end: u64::MAX, until: Some(until) }
            }
            Order::Events(events) => Self { args, next, end: first + events, until: None },
        }
    }

    fn run(self: &Arc<Self>) -> Result<Answers, Failure> {
        let mut threads = Vec::new();
        for share in 0..self.args.threads {
            let course = Arc::clone(self);
            threads.push(thread::spawn(move || course.run_share(share)));
        }
        let mut all = Answers::default();
        for thread in threads {
            all.add(thread.join().map_err(|_| "a thread of the load panicked")??);
        }
        Ok(all)
    }

    /// What thread number `share` does: its part of the connections, on a runtime of its own.
    fn run_share(self: &Arc<Self>, share: usize) -> io::Result<Answers> {
        let threads = self.args.threads;
        let connections = (self.args.connections as usize + threads - 1 - share) / threads;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut drives = JoinSet::new();
            for _ in 0..connections {
                let course = Arc::clone(self);
                drives.spawn(async move { course.drive().await });
            }
            let mut all = Answers::default();
            while let Some(answers) = drives.join_next().await {
                all.add(answers?);
            }
            Ok(all)
        })
    }

    /// The number of the event to send now, or `None` when it is over.
    fn take(&self) -> Option<u64> {
        if self.until.is_some_and(|until| until <= Instant::now()) {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < self.end).then_some(number)
    }

    /// Keeps one connection busy until the order is done.
    async fn drive(&self) -> Answers {
        let mut answers = Answers::default();
        let mut count = async || -> Result<(), String> {
            let connected = TcpStream::connect(self.args.target).await;
            let mut stream = connected.map_err(|error| format!("connecting: {error}"))?;
            stream.set_nodelay(true).map_err(|error| error.to_string())?;
            let mut request = Template::new(&self.args);
            let mut buffer = BytesMut::with_capacity(READ);
            while let Some(number) = self.take() {
                let bytes = request.event(number, self.args.types);
                let exchange = exchange(&mut stream, bytes, &mut buffer);
                let status = time::timeout(ANSWER_MAX, exchange)
                    .await
                    .map_err(|_| format!("no answer in {ANSWER_MAX:?}"))??;
                *answers.statuses.entry(status).or_default() += 1;
            }
            Ok(())
        };
        if let Err(why) = count().await {
            answers.failures.insert(why, 1);
        }
        answers
    }
}

/// A request in which the numbers are written over.
struct Template {
    bytes: Vec<u8>,
    /// Where the number in `ce-id` starts.
    id: usize,
    /// Where the number in `ce-type` starts.
    ty: usize,
}

const ID_DIGITS: usize = 16;
const TYPE_DIGITS: usize = 6;

impl Template {
    fn new(args: &Args) -> Self {
        let mut head = format!("POST {} HTTP/1.1\r\nhost: {}\r\n", args.path, args.target);
        head.push_str("ce-id: ");
        let id = head.len();
        head.push_str(&"0".repeat(ID_DIGITS));
        head.push_str("\r\nce-type: ");
        head.push_str(&support::ty(0));
        let ty = head.len() - TYPE_DIGITS;
        head.push_str("\r\n");
        for (name, value) in support::HEADERS {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let body = support::body(args.body);
        head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&body);
        Self { bytes, id, ty }
    }

    /// The request of event `number`.
    fn event(&mut self, number: u64, types: u64) -> &[u8] {
        if types > 1 {
            self.write(self.ty, TYPE_DIGITS, number % types);
        }
        self.write(self.id, ID_DIGITS, number);
        &self.bytes
    }

    fn write(&mut self, start: usize, digits: usize, mut number: u64) {
        let places = self.bytes.iter_mut().skip(start).take(digits);
        for place in places.rev() {
            *place = b'0' + u8::try_from(number % 10).unwrap_or_default();
            number /= 10;
        }
    }
}

const READ: usize = 4096;
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Sends one request and reads its answer; returns the status.
async fn exchange(
    stream: &mut TcpStream,
    request: &[u8],
    buffer: &mut BytesMut,
) -> Result<u16, String> {
    stream.write_all(request).await.map_err(|error| format!("sending: {error}"))?;
    loop {
        buffer.reserve(READ);
        match stream.read_buf(buffer).await {
            Ok(0) => return Err("the server closed the connection".to_owned()),
            Ok(_) => {}
            Err(error) => return Err(format!("reading: {error}")),
        }
        if let Some((status, len)) = response(buffer)? {
            buffer.advance(len);
            return Ok(status);
        }
    }
}

const HEADERS_MAX: usize = 32;

/// Status and length of the answer in `bytes`, or `None` when it is not all there yet.
fn response(bytes: &[u8]) -> Result<Option<(u16, usize)>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(format!("an answer that is no HTTP: {error}")),
    };
    let status = response.code.unwrap_or_default();
    let length = response.headers.iter().find(|h| h.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|h| std::str::from_utf8(h.value).ok()?.parse::<usize>().ok());
    match length {
        Some(body) => {
            Ok((head.saturating_add(body) <= bytes.len()).then_some((status, head + body)))
        }
        None if status == 204 => Ok(Some((status, head))),
        None => Err(format!("a {status} without a content-length")),
    }
}
