//! What a subscriber answers: one value per answer, from a plain status to garbage.

use std::time::Duration;

use bytes::Bytes;

use crate::sample::Sample;

/// An answer to one request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A response, after a delay.
    Reply(Reply),
    /// Nothing, for as long as the other side keeps the connection.
    Hang,
    /// The connection is closed without a byte.
    Close,
    /// Bytes as they are, in pieces.
    Raw(Raw),
}

/// A well-formed response.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Fields beside `content-length`.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Bytes,
    /// How long the subscriber thinks.
    pub delay: Duration,
    /// Closes the connection so long after the response, without having announced it.
    pub closes_after: Option<Duration>,
}

/// Bytes that need not be HTTP.
#[derive(Clone, Debug)]
pub struct Raw {
    /// Sent at once.
    pub first: Bytes,
    /// Sent again and again after that, until the other side closes.
    pub again: Bytes,
    /// The pause before each repetition; without repetition, before the connection is closed.
    pub every: Duration,
}

impl Answer {
    /// A status with an empty body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Reply(Reply { status, ..Reply::default() })
    }

    /// A 200 that carries an event in binary mode.
    #[must_use]
    pub fn event(sample: &Sample) -> Self {
        let (headers, body) = sample.binary();
        Self::Reply(Reply { status: 200, headers: headers.0, body, ..Reply::default() })
    }

    /// Bytes, then the end of the connection.
    #[must_use]
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self::Raw(Raw { first: bytes.into(), again: Bytes::new(), every: Duration::ZERO })
    }

    /// Bytes, then a piece again and again for ever.
    #[must_use]
    pub fn endless(first: impl Into<Bytes>, again: impl Into<Bytes>, every: Duration) -> Self {
        Self::Raw(Raw { first: first.into(), again: again.into(), every })
    }

    /// Adds a header to a response.
    #[must_use]
    pub fn header(self, name: &str, value: &str) -> Self {
        self.change(|reply| reply.headers.push((name.to_owned(), value.into())))
    }

    /// Sets the body of a response.
    #[must_use]
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        self.change(|reply| reply.body = body.into())
    }

    /// Lets a response wait.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        self.change(|reply| reply.delay = delay)
    }

    /// Closes the connection so long after a response, without a word.
    #[must_use]
    pub fn closes_after(self, pause: Duration) -> Self {
        self.change(|reply| reply.closes_after = Some(pause))
    }

    /// Sets the status of a response.
    #[must_use]
    pub fn code(self, status: u16) -> Self {
        self.change(|reply| reply.status = status)
    }

    fn change(mut self, change: impl FnOnce(&mut Reply)) -> Self {
        if let Self::Reply(reply) = &mut self {
            change(reply);
        }
        self
    }
}

impl Reply {
    /// The response as bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("HTTP/1.1 {} Scripted\r\n", self.status).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend(name.bytes().chain(b": ".iter().copied()));
            bytes.extend(value.iter().chain(b"\r\n"));
        }
        if self.status != 204 {
            bytes.extend(format!("content-length: {}\r\n", self.body.len()).bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(&self.body);
        bytes
    }
}
