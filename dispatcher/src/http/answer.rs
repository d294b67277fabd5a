//! A subscriber's answer. Its headers are looked at only when somebody asks.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

/// What came back for one request; never an interim (1xx) answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code, from 200 to 599.
    pub status: u16,
    /// The body, at most as long as the caller asked for.
    pub body: Bytes,
    /// Whether the body went on beyond what was read.
    pub truncated: bool,
    head: Bytes,
}

impl Answer {
    /// Puts an answer together. `head` holds the header lines, each ended by a line feed; lines that
    /// are not headers are skipped by every reader.
    pub fn new(status: u16, head: Bytes, body: Bytes, truncated: bool) -> Self {
        Self { status, body, truncated, head }
    }

    /// The value of the first header called `name` (case does not matter), without white space around.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All headers in the order they came, names as they were written.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.head.split(|byte| *byte == b'\n').filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = line.split_at_checked(colon)?;
            Some((str::from_utf8(name).ok()?, value.get(1..)?.trim_ascii()))
        })
    }

    /// All headers as a map, for whoever decodes a reply event. Builds the map anew each time.
    pub fn header_map(&self) -> HeaderMap {
        self.headers()
            .filter_map(|(name, value)| {
                let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
                Some((name, HeaderValue::from_bytes(value).ok()?))
            })
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Answer {
        let head =
            Bytes::from_static(b"Retry-After:  7 \r\nce-id: a:b\r\nX:\r\nce-id: second\r\n\r\n");
        Answer::new(503, head, Bytes::new(), false)
    }

    #[test]
    fn a_header_is_found_by_any_case_and_trimmed() {
        assert_eq!(answer().header("retry-after"), Some(&b"7"[..]));
        assert_eq!(answer().header("CE-ID"), Some(&b"a:b"[..]));
        assert_eq!(answer().header("x"), Some(&b""[..]));
        assert_eq!(answer().header("etag"), None);
    }

    #[test]
    fn repeated_headers_are_all_in_the_map() {
        let map = answer().header_map();
        assert_eq!(map.len(), 4);
        assert_eq!(map.get_all("ce-id").iter().count(), 2);
    }
}
