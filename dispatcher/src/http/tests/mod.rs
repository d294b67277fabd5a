//! The client against peers that say, byte for byte, what a test wants them to say.

mod answers;
mod connections;
mod network;
mod tls;

use std::{future::Future, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};

use super::{Answer, Client, ClientSettings, Endpoint, SendError};

/// Longer than any test needs; a test that waits for it fails.
const PATIENCE: Duration = Duration::from_secs(20);
/// Short, for deadlines that are to pass.
const MOMENT: Duration = Duration::from_millis(40);
/// More of a body than the buffers of two sockets hold.
const LARGE: usize = 16 * 1024 * 1024;
const ANSWER_MAX: usize = 64;

/// A listener and a client that sends to it.
struct Stage {
    listener: TcpListener,
    client: Client,
    endpoint: Endpoint,
}

impl Stage {
    async fn new() -> Self {
        Self::with(ClientSettings::default()).await
    }

    async fn with(settings: ClientSettings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/events?a=b", listener.local_addr().unwrap());
        let endpoint = Endpoint::new(&url.parse().unwrap(), None).unwrap();
        Self { listener, client: Client::new(settings), endpoint }
    }

    async fn accept(&self) -> Peer<TcpStream> {
        let (stream, _) = timeout(PATIENCE, self.listener.accept()).await.unwrap().unwrap();
        stream.set_nodelay(true).unwrap();
        Peer { stream, received: Vec::new() }
    }

    /// Whether nobody has connected that was not accepted yet.
    async fn is_deserted(&self) -> bool {
        timeout(Duration::ZERO, self.listener.accept()).await.is_err()
    }

    fn send(&self, body: &[u8]) -> impl Future<Output = Result<Answer, SendError>> {
        self.send_within(body, PATIENCE)
    }

    async fn send_within(&self, body: &[u8], wait: Duration) -> Result<Answer, SendError> {
        let length = format!("content-length: {}\r\n\r\n", body.len());
        let head = [b"ce-id: 1\r\n", length.as_bytes()];
        self.client.send(&self.endpoint, &head, body, Instant::now() + wait, ANSWER_MAX).await
    }

    /// One request that is answered with `answer`, on a connection the peer keeps.
    async fn round(&self, peer: &mut Peer<TcpStream>, answer: &str) -> Result<Answer, SendError> {
        let (result, ()) = tokio::join!(self.send(b"hello"), async {
            peer.request().await;
            peer.say(answer).await;
        });
        result
    }

    /// A first, successful request, after which the client keeps the connection that is returned.
    async fn warm(&self) -> Peer<TcpStream> {
        let (result, peer) = tokio::join!(self.send(b"hello"), async {
            let mut peer = self.accept().await;
            peer.request().await;
            peer.say(ACCEPTED).await;
            peer
        });
        assert_eq!(result.unwrap().status, 202);
        peer
    }

    /// Waits until the client has noticed that it can use none of its connections any more.
    async fn until_nothing_is_kept(&self) {
        let noticed = async {
            while self.client.counters().idle > 0 {
                tokio::task::yield_now().await;
                self.client.expire(Instant::now());
            }
        };
        timeout(PATIENCE, noticed).await.unwrap();
    }
}

const ACCEPTED: &str = "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";

/// The far end of a connection.
struct Peer<S> {
    stream: S,
    received: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// Reads up to the end of a request's head; returns it.
    async fn request_head(&mut self) -> String {
        loop {
            if let Some(end) = self.received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let rest = self.received.split_off(end + 4);
                let head = std::mem::replace(&mut self.received, rest);
                return String::from_utf8(head).unwrap();
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.received)).await;
            assert_ne!(read.unwrap().unwrap(), 0, "closed in the middle of a request");
        }
    }

    /// Reads a whole request; returns its head and its body.
    async fn request(&mut self) -> (String, Vec<u8>) {
        let head = self.request_head().await;
        let (_, rest) = head.split_once("content-length: ").unwrap();
        let length = rest.lines().next().unwrap().parse().unwrap();
        let body = self.body(length).await;
        (head, body)
    }

    async fn body(&mut self, length: usize) -> Vec<u8> {
        while self.received.len() < length {
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.received)).await;
            assert_ne!(read.unwrap().unwrap(), 0, "closed in the middle of a body");
        }
        let rest = self.received.split_off(length);
        std::mem::replace(&mut self.received, rest)
    }

    async fn say(&mut self, text: impl AsRef<[u8]>) {
        self.stream.write_all(text.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Says `text` a byte at a time, as long as the client listens.
    async fn drip(&mut self, text: &str) {
        for byte in text.as_bytes() {
            if self.stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Says `text` over and over until the client closes.
    async fn say_for_ever(&mut self, text: &str) {
        let text = text.repeat(100);
        let babble = async { while self.stream.write_all(text.as_bytes()).await.is_ok() {} };
        timeout(PATIENCE, babble).await.expect("the client closes");
    }

    /// Waits until the client closes.
    async fn closed(mut self) {
        let drain = async {
            while self.stream.read(&mut [0; 64 * 1024]).await.is_ok_and(|length| length > 0) {}
        };
        timeout(PATIENCE, drain).await.expect("the client closes");
    }
}
