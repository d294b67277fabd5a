//! HTTP/1.1 on a socket, read strictly and written as told: bytes -> messages.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

const HEAD_BYTES_MAX: usize = 256 * 1024;
const CONNECT: Duration = Duration::from_secs(5);

/// Header fields in the order of the wire: the name as sent, the value without the blanks around it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Headers(pub Vec<(String, Vec<u8>)>);

impl Headers {
    /// The first value under a name, letter case ignored.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_slice())
    }

    /// As [`Headers::get`], as text; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// Every value under a name, letter case ignored.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.0
            .iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_slice())
    }
}

/// The head of a message: its first line and its fields.
#[derive(Clone, Debug)]
pub struct Head {
    /// `POST /default/default HTTP/1.1` or `HTTP/1.1 202 Accepted`.
    pub line: String,
    /// The fields after it.
    pub headers: Headers,
    /// All of it as it came, with the empty line.
    pub raw: Bytes,
}

/// A request, whole.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The request target as sent.
    pub target: String,
    /// The head.
    pub head: Head,
    /// The body after its transfer coding was taken away.
    pub body: Bytes,
}

/// A response, whole.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The head.
    pub head: Head,
    /// The body after its transfer coding was taken away.
    pub body: Bytes,
}

impl Response {
    /// A header as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.head.headers.text(name)
    }

    /// The body as JSON; `Null` when it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as text; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One connection with what was read ahead on it.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    ahead: BytesMut,
}

impl Wire {
    /// Connects within five seconds.
    pub async fn connect(to: SocketAddr) -> io::Result<Self> {
        let stream =
            timeout(CONNECT, TcpStream::connect(to)).await.map_err(|_| late("connect"))??;
        Ok(Self::new(stream))
    }

    /// Connects from another address of this machine, as another client would.
    pub async fn connect_from(from: IpAddr, to: SocketAddr) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        let stream = timeout(CONNECT, socket.connect(to)).await.map_err(|_| late("connect"))??;
        Ok(Self::new(stream))
    }

    /// Takes over a connection.
    #[must_use]
    pub fn new(stream: TcpStream) -> Self {
        // Small writes must leave at once: some tests are about their timing.
        stream.set_nodelay(true).ok();
        Self { stream, ahead: BytesMut::new() }
    }

    /// Writes bytes as they are.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Says that nothing more will be written.
    pub async fn finish_writing(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Whether the other side has closed, waiting for that at most so long.
    pub async fn is_closed_within(&mut self, wait: Duration) -> bool {
        let closed = async {
            loop {
                match self.stream.read_buf(&mut self.ahead).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
            }
        };
        timeout(wait, closed).await.is_ok()
    }

    /// Everything that comes until the other side closes or the wait is over.
    pub async fn read_to_close(&mut self, wait: Duration) -> Bytes {
        self.is_closed_within(wait).await;
        self.ahead.split().freeze()
    }

    /// The next request; `None` when the connection ended between two requests.
    pub async fn read_request(&mut self) -> io::Result<Option<Request>> {
        let Some(head) = self.read_head().await? else { return Ok(None) };
        let parts: Vec<&str> = head.line.split(' ').collect();
        let &[method, target, "HTTP/1.1"] = parts.as_slice() else {
            return Err(bad(&format!("request line {:?}", head.line)));
        };
        let (method, target) = (method.to_owned(), target.to_owned());
        let body = match framing(&head.headers)? {
            Framing::Length(length) => self.read_exact(length).await?,
            Framing::Chunked => self.read_chunks().await?,
            Framing::None => Bytes::new(),
        };
        Ok(Some(Request { method, target, head, body }))
    }

    /// The next response that is not an interim one; `None` when the connection ended before it.
    pub async fn read_response(&mut self) -> io::Result<Option<Response>> {
        loop {
            let Some(head) = self.read_head().await? else { return Ok(None) };
            let status = head.line.split(' ').nth(1).and_then(|code| code.parse().ok());
            let status: u16 = status.ok_or_else(|| bad(&format!("status line {:?}", head.line)))?;
            if status < 200 {
                continue;
            }
            let body = match framing(&head.headers)? {
                _ if status == 204 || status == 304 => Bytes::new(),
                Framing::Length(length) => self.read_exact(length).await?,
                Framing::Chunked => self.read_chunks().await?,
                Framing::None => self.read_rest().await?,
            };
            return Ok(Some(Response { status, head, body }));
        }
    }

    async fn read_head(&mut self) -> io::Result<Option<Head>> {
        let end = loop {
            if let Some(at) = find(&self.ahead, b"\r\n\r\n") {
                break at + 4;
            }
            if self.ahead.len() > HEAD_BYTES_MAX {
                return Err(bad("head without end"));
            }
            if self.stream.read_buf(&mut self.ahead).await? == 0 {
                return if self.ahead.is_empty() { Ok(None) } else { Err(cut("head")) };
            }
        };
        parse_head(self.ahead.split_to(end).freeze()).map(Some)
    }

    async fn read_exact(&mut self, length: usize) -> io::Result<Bytes> {
        while self.ahead.len() < length {
            if self.stream.read_buf(&mut self.ahead).await? == 0 {
                return Err(cut("body"));
            }
        }
        Ok(self.ahead.split_to(length).freeze())
    }

    async fn read_rest(&mut self) -> io::Result<Bytes> {
        while self.stream.read_buf(&mut self.ahead).await? > 0 {}
        Ok(self.ahead.split().freeze())
    }

    async fn read_chunks(&mut self) -> io::Result<Bytes> {
        let mut body = BytesMut::new();
        loop {
            let line = self.read_line().await?;
            let size = line.split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(size, 16)
                .map_err(|_| bad(&format!("chunk size {line:?}")))?;
            if size == 0 {
                while !self.read_line().await?.is_empty() {}
                return Ok(body.freeze());
            }
            body.extend_from_slice(&self.read_exact(size).await?);
            if !self.read_line().await?.is_empty() {
                return Err(bad("chunk longer than its size"));
            }
        }
    }

    async fn read_line(&mut self) -> io::Result<String> {
        let end = loop {
            if let Some(at) = find(&self.ahead, b"\r\n") {
                break at;
            }
            if self.stream.read_buf(&mut self.ahead).await? == 0 {
                return Err(cut("chunk"));
            }
        };
        let line = self.ahead.split_to(end);
        self.ahead.advance(2);
        Ok(String::from_utf8_lossy(&line).into_owned())
    }
}

enum Framing {
    Length(usize),
    Chunked,
    None,
}

fn framing(headers: &Headers) -> io::Result<Framing> {
    let lengths: Vec<&[u8]> = headers.all("content-length").collect();
    let codings: Vec<&[u8]> = headers.all("transfer-encoding").collect();
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Ok(Framing::None),
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
        ([length], []) if length.iter().all(u8::is_ascii_digit) => {
            let length = std::str::from_utf8(length).ok().and_then(|text| text.parse().ok());
            length.map(Framing::Length).ok_or_else(|| bad("content-length"))
        }
        _ => Err(bad("content-length and transfer-encoding do not say one length")),
    }
}

fn parse_head(raw: Bytes) -> io::Result<Head> {
    let text = &raw[..raw.len() - 4];
    let mut lines = split_lines(text)?.into_iter();
    let line = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let mut headers = Headers::default();
    for field in lines {
        let colon = field
            .iter()
            .position(|byte| *byte == b':')
            .ok_or_else(|| bad("field without colon"))?;
        let name = &field[..colon];
        if name.is_empty()
            || !name
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.!#$%&'*+^`|~".contains(byte))
        {
            return Err(bad(&format!("field name {:?}", String::from_utf8_lossy(name))));
        }
        let value = field[colon + 1..].trim_ascii().to_vec();
        if value.iter().any(|byte| (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f) {
            return Err(bad(&format!("control character in {}", String::from_utf8_lossy(name))));
        }
        headers.0.push((String::from_utf8_lossy(name).into_owned(), value));
    }
    Ok(Head { line, headers, raw })
}

fn split_lines(text: &[u8]) -> io::Result<Vec<&[u8]>> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = find(rest, b"\r\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    lines.push(rest);
    if lines.iter().any(|line| line.contains(&b'\n') || line.contains(&b'\r')) {
        return Err(bad("bare carriage return or line feed in the head"));
    }
    Ok(lines)
}

/// Where the needle starts.
#[must_use]
pub fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|window| window == needle)
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

fn cut(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("connection ended within the {what}"))
}

/// The error of a wait that was over.
#[must_use]
pub fn late(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no {what} in time"))
}
