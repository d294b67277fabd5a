//! The head of an answer: where it ends, what it says, and how the body's end is told (RFC 9112, 6.3).

use std::mem::MaybeUninit;

use httparse::{Header, ParserConfig, Response, Status};

use super::error::SendError;

/// Longest head of an answer, in bytes.
pub(super) const HEAD_MAX: usize = 64 * 1024;
/// Most headers in one head.
const HEADERS_MAX: usize = 128;

/// What the head says about the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes of the head, the empty line included.
    pub(super) len: usize,
    /// Bytes of the status line, its end included.
    pub(super) status_line_len: usize,
    /// From 100 to 599.
    pub(super) status: u16,
    /// How the body ends.
    pub(super) framing: Framing,
    /// Whether the peer keeps the connection open after this answer.
    pub(super) keep_alive: bool,
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes; zero when there is no body.
    Length(u64),
    /// Chunks, the last one empty.
    Chunked,
    /// All until the peer closes.
    Close,
}

/// Finds a head that may still be arriving, without parsing the same bytes again for every byte
/// that comes: it looks when the empty line is there, and each time the text has doubled, so that
/// garbage is refused early and a head that drips costs no more than one that does not.
#[derive(Debug, Default)]
pub(super) struct HeadFinder {
    scanned: usize,
    next_parse: usize,
}

impl HeadFinder {
    /// Returns the head when `input`, which only grew since the last call, starts with a whole one.
    pub(super) fn find(&mut self, input: &[u8]) -> Result<Option<Head>, SendError> {
        let fresh = input.get(self.scanned.saturating_sub(3)..).unwrap_or_default();
        self.scanned = input.len();
        if input.len() < self.next_parse && !holds_empty_line(fresh) {
            return Ok(None);
        }
        self.next_parse = input.len().saturating_mul(2).min(HEAD_MAX);
        match parse(input)? {
            Some(head) if head.len <= HEAD_MAX => Ok(Some(head)),
            None if input.len() < HEAD_MAX => Ok(None),
            Some(_) | None => Err(SendError::HeadTooLarge),
        }
    }
}

/// Whether a line in `text` is followed by an empty one.
fn holds_empty_line(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        rest = rest.get(end + 1..).unwrap_or_default();
        if rest.starts_with(b"\n") || rest.starts_with(b"\r\n") {
            return true;
        }
    }
    false
}

/// Parses the head at the start of `input`; `None` when its end is not there.
fn parse(input: &[u8]) -> Result<Option<Head>, SendError> {
    // httparse skips empty lines before the status line, without end.
    if matches!(input.first(), Some(b'\r' | b'\n')) {
        return Err(SendError::Malformed("empty line where the status line should be"));
    }
    let mut headers = [const { MaybeUninit::<Header<'_>>::uninit() }; HEADERS_MAX];
    let mut response = Response::new(&mut []);
    let len = match ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        input,
        &mut headers,
    ) {
        Ok(Status::Complete(len)) => len,
        Ok(Status::Partial) => return Ok(None),
        Err(error) => return Err(refusal(error)),
    };
    let status = response.code.unwrap_or_default();
    if !(100..600).contains(&status) {
        return Err(SendError::Malformed("status code outside 100 to 599"));
    }
    if status == 101 {
        return Err(SendError::Malformed("protocol switched without being asked to"));
    }
    let is_http_10 = response.version == Some(0);
    let lines = Lines::read(response.headers)?;
    let has_body = !(status < 200 || status == 204 || status == 304);
    let framing = lines.framing(has_body, is_http_10)?;
    // A body announced where none may be is not waited for, and makes whatever follows suspect.
    let is_clear = has_body || (!lines.is_chunked && lines.length.unwrap_or(0) == 0);
    Ok(Some(Head {
        len,
        status_line_len: input.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1),
        status,
        framing,
        keep_alive: is_clear && !lines.close && (!is_http_10 || lines.keep_alive),
    }))
}

fn refusal(error: httparse::Error) -> SendError {
    match error {
        httparse::Error::TooManyHeaders => SendError::HeadTooLarge,
        httparse::Error::Version => SendError::Malformed("not an HTTP/1.0 or HTTP/1.1 answer"),
        httparse::Error::Status => SendError::Malformed("status line without a status code"),
        httparse::Error::HeaderName => SendError::Malformed("invalid header name"),
        httparse::Error::HeaderValue => SendError::Malformed("invalid header value"),
        httparse::Error::NewLine | httparse::Error::Token => {
            SendError::Malformed("control characters in the head")
        }
    }
}

/// The headers that say where an answer ends.
#[derive(Debug, Default)]
struct Lines {
    length: Option<u64>,
    is_chunked: bool,
    close: bool,
    keep_alive: bool,
}

impl Lines {
    fn read(headers: &[Header<'_>]) -> Result<Self, SendError> {
        let mut lines = Self::default();
        for header in headers {
            if header.name.eq_ignore_ascii_case("content-length") {
                if lines.length.is_some() {
                    return Err(SendError::Malformed("more than one content-length"));
                }
                lines.length = Some(length(header.value)?);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                if lines.is_chunked {
                    return Err(SendError::Malformed("more than one transfer-encoding"));
                }
                if !header.value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                    return Err(SendError::Malformed("transfer-encoding other than chunked"));
                }
                lines.is_chunked = true;
            } else if header.name.eq_ignore_ascii_case("connection") {
                for option in header.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    lines.close |= option.eq_ignore_ascii_case(b"close");
                    lines.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
        }
        Ok(lines)
    }

    fn framing(&self, has_body: bool, is_http_10: bool) -> Result<Framing, SendError> {
        match (self.is_chunked, self.length) {
            (true, Some(_)) => {
                Err(SendError::Malformed("both content-length and transfer-encoding"))
            }
            (true, None) if is_http_10 => {
                Err(SendError::Malformed("transfer-encoding in an HTTP/1.0 answer"))
            }
            _ if !has_body => Ok(Framing::Length(0)),
            (true, None) => Ok(Framing::Chunked),
            (false, Some(length)) => Ok(Framing::Length(length)),
            (false, None) => Ok(Framing::Close),
        }
    }
}

/// Digits only: no sign, no list, no white space inside.
fn length(value: &[u8]) -> Result<u64, SendError> {
    let text = value.trim_ascii();
    let digits = text.iter().all(u8::is_ascii_digit).then(|| str::from_utf8(text).ok()).flatten();
    digits
        .and_then(|digits| digits.parse().ok())
        .ok_or(SendError::Malformed("content-length is not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `text` a byte at a time; returns what came of it.
    fn drip(text: &[u8]) -> Result<Option<Head>, SendError> {
        let mut finder = HeadFinder::default();
        for end in 1..=text.len() {
            if let Some(head) = finder.find(&text[..end])? {
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    #[track_caller]
    fn check(text: &str, status: u16, framing: Framing, keep_alive: bool) {
        let whole = HeadFinder::default().find(text.as_bytes()).unwrap().unwrap();
        assert_eq!((whole.status, whole.framing, whole.keep_alive), (status, framing, keep_alive));
        assert_eq!(drip(text.as_bytes()).unwrap(), Some(whole), "the same, dripped");
        assert_eq!(whole.len, text.len());
    }

    #[test]
    fn the_end_of_a_body_is_told_as_rfc_9112_says() {
        use Framing::{Chunked, Close, Length};
        check("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n", 202, Length(0), true);
        check("HTTP/1.1 200 OK\r\nContent-Length: 12 \r\n\r\n", 200, Length(12), true);
        check("HTTP/1.1 200\r\nTransfer-Encoding: Chunked\r\n\r\n", 200, Chunked, true);
        check("HTTP/1.1 200 OK\r\n\r\n", 200, Close, true);
        check("HTTP/1.1 204 No Content\r\n\r\n", 204, Length(0), true);
        check("HTTP/1.1 204 No\r\ncontent-length: 5\r\n\r\n", 204, Length(0), false);
        check("HTTP/1.1 304 No\r\ntransfer-encoding: chunked\r\n\r\n", 304, Length(0), false);
        check("HTTP/1.1 100 Continue\r\n\r\n", 100, Length(0), true);
        check("HTTP/1.1 200 OK\r\nconnection: x, Close\r\n\r\n", 200, Close, false);
        check("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n", 200, Length(1), false);
        check(
            "HTTP/1.0 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive\r\n\r\n",
            200,
            Length(1),
            true,
        );
        check("HTTP/1.1 200 OK\n\n", 200, Close, true);
    }

    #[test]
    fn a_head_that_may_be_read_in_two_ways_is_refused() {
        for headers in [
            "content-length: 1\r\ncontent-length: 1",
            "content-length: 1\r\ncontent-length: 2",
            "content-length: 1, 1",
            "content-length: -1",
            "content-length: +1",
            "content-length: 0x10",
            "content-length:",
            "content-length: 99999999999999999999",
            "content-length: 3\r\ntransfer-encoding: chunked",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
            "transfer-encoding: gzip, chunked",
            "transfer-encoding: identity",
            "content-length : 1",
            "a: b\r\n folded",
            "no colon",
            "a: \u{0}",
        ] {
            let text = format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n");
            for result in [HeadFinder::default().find(text.as_bytes()), drip(text.as_bytes())] {
                assert!(matches!(result, Err(SendError::Malformed(_))), "{headers:?}: {result:?}");
            }
        }
    }

    #[test]
    fn what_is_not_http_1_is_refused_before_its_end() {
        for text in [
            "<html>hello",
            "SSH-2.0-OpenSSH_9.6\r\n",
            "HTTP/2.0 200 OK\r\n",
            "HTTP/0.9 200 OK\r\n",
            "HTTP/1.1 20x OK\r\n",
            "HTTP/1.1 099 Low\r\n\r\n",
            "HTTP/1.1 600 High\r\n\r\n",
            "HTTP/1.1 101 Switching\r\n\r\n",
            "\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "Hello, this is no answer",
        ] {
            let result = drip(text.as_bytes());
            assert!(matches!(result, Err(SendError::Malformed(_))), "{text:?}: {result:?}");
        }
    }

    #[test]
    fn a_head_without_end_is_refused_at_its_bound() {
        let long = format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(HEAD_MAX));
        assert_eq!(drip(long.as_bytes()), Err(SendError::HeadTooLarge));
        let ended = format!("{long}\r\n\r\n");
        assert_eq!(
            HeadFinder::default().find(ended.as_bytes()),
            Err(SendError::HeadTooLarge),
            "in one piece"
        );
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(HEADERS_MAX + 1));
        assert_eq!(drip(many.as_bytes()), Err(SendError::HeadTooLarge));
    }
}
