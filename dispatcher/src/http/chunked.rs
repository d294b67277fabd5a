//! The chunked transfer coding (RFC 9112, 7.1), decoded; extensions and trailers are skipped.

use bytes::{Buf, BytesMut};

use super::error::SendError;

/// Most bytes of chunk extensions and trailers in one body.
const OVERHEAD_MAX: usize = 16 * 1024;
/// Most hexadecimal digits of a chunk's size: what a `u64` holds.
const SIZE_DIGITS_MAX: u8 = 16;

/// Where a decoder stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All input is used up, and the body goes on.
    Partial,
    /// The body is whole; input that is left does not belong to it.
    Complete,
    /// The body is as long as it may be, and goes on.
    Full,
}

/// A decoder of one body, which may come in pieces of any size.
#[derive(Debug)]
pub(super) struct Decoder {
    state: State,
    overhead: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size { size: u64, digits: u8 },
    Extension { size: u64 },
    SizeLineFeed { size: u64 },
    Data { left: u64 },
    DataReturn,
    DataLineFeed,
    TrailerStart,
    Trailer,
    TrailerLineFeed,
    LastLineFeed,
    Done,
}

impl Decoder {
    /// A decoder before the first chunk.
    pub(super) fn new() -> Self {
        Self { state: State::Size { size: 0, digits: 0 }, overhead: 0 }
    }

    /// Moves what `input` holds of the body to the end of `body`, up to `body_max` bytes there.
    pub(super) fn decode(
        &mut self,
        input: &mut BytesMut,
        body: &mut BytesMut,
        body_max: usize,
    ) -> Result<Progress, SendError> {
        loop {
            if self.state == State::Done {
                return Ok(Progress::Complete);
            }
            if input.is_empty() {
                return Ok(Progress::Partial);
            }
            if let State::Data { left } = self.state {
                let room = body_max.saturating_sub(body.len());
                if room == 0 {
                    return Ok(Progress::Full);
                }
                let len = usize::try_from(left).unwrap_or(usize::MAX).min(room).min(input.len());
                body.extend_from_slice(input.get(..len).unwrap_or_default());
                input.advance(len);
                self.state = match left - len as u64 {
                    0 => State::DataReturn,
                    left => State::Data { left },
                };
            } else {
                let byte = input.get_u8();
                self.state = self.state.after(byte).map_err(SendError::Malformed)?;
                if matches!(self.state, State::Extension { .. } | State::Trailer) {
                    self.overhead += 1;
                }
                if self.overhead > OVERHEAD_MAX {
                    return Err(SendError::Malformed("chunk extensions and trailers over 16 KiB"));
                }
            }
        }
    }
}

impl State {
    /// The state after one byte that is not data.
    fn after(self, byte: u8) -> Result<Self, &'static str> {
        match (self, byte) {
            (Self::Size { digits: 0, .. }, b'\r' | b';' | b' ' | b'\t') => {
                Err("chunk without a size")
            }
            (Self::Size { size, .. } | Self::Extension { size }, b'\r') => {
                Ok(Self::SizeLineFeed { size })
            }
            (Self::Size { size, .. }, b';' | b' ' | b'\t') => Ok(Self::Extension { size }),
            (Self::Size { size, digits }, _) => match char::from(byte).to_digit(16) {
                Some(_) if digits == SIZE_DIGITS_MAX => Err("chunk size is too large"),
                Some(digit) => {
                    Ok(Self::Size { size: (size << 4) | u64::from(digit), digits: digits + 1 })
                }
                None => Err("chunk size is not a number"),
            },
            (Self::Extension { .. }, b'\n') => Err("chunk extension with a bare line feed"),
            (Self::Extension { .. }, _) => Ok(self),
            (Self::SizeLineFeed { size: 0 }, b'\n') => Ok(Self::TrailerStart),
            (Self::SizeLineFeed { size }, b'\n') => Ok(Self::Data { left: size }),
            (Self::DataReturn, b'\r') => Ok(Self::DataLineFeed),
            (Self::DataLineFeed, b'\n') => Ok(Self::Size { size: 0, digits: 0 }),
            (Self::TrailerStart, b'\r') => Ok(Self::LastLineFeed),
            (Self::Trailer, b'\r') => Ok(Self::TrailerLineFeed),
            (Self::TrailerStart | Self::Trailer, b'\n') => Err("trailer with a bare line feed"),
            (Self::TrailerStart | Self::Trailer, _) => Ok(Self::Trailer),
            (Self::TrailerLineFeed, b'\n') => Ok(Self::TrailerStart),
            (Self::LastLineFeed, b'\n') => Ok(Self::Done),
            (Self::SizeLineFeed { .. } | Self::TrailerLineFeed | Self::LastLineFeed, _) => {
                Err("carriage return without a line feed between chunks")
            }
            (Self::DataReturn | Self::DataLineFeed, _) => Err("chunk longer than its size"),
            (Self::Data { .. } | Self::Done, _) => Ok(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decodes `pieces` in turn; returns the last progress, the body and the unused input.
    fn decode<'a>(
        pieces: impl Iterator<Item = &'a [u8]>,
        body_max: usize,
    ) -> Result<(Progress, Vec<u8>, Vec<u8>), SendError> {
        let (mut decoder, mut input) = (Decoder::new(), BytesMut::new());
        let (mut body, mut progress) = (BytesMut::new(), Progress::Partial);
        for piece in pieces {
            input.extend_from_slice(piece);
            progress = decoder.decode(&mut input, &mut body, body_max)?;
        }
        Ok((progress, body.to_vec(), input.to_vec()))
    }

    #[track_caller]
    fn check(text: &str, body: &str, rest: &str) {
        let expected = (Progress::Complete, body.as_bytes().to_vec(), rest.as_bytes().to_vec());
        assert_eq!(decode([text.as_bytes()].into_iter(), 100), Ok(expected.clone()));
        assert_eq!(decode(text.as_bytes().chunks(1), 100), Ok(expected), "a byte at a time");
    }

    #[test]
    fn chunks_are_joined_and_extensions_and_trailers_are_skipped() {
        check("0\r\n\r\n", "", "");
        check("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world", "");
        check(
            "00a;x=\"y\";z\r\n0123456789\r\n0 ;q\r\nA: b\r\nC:\r\n\r\nmore",
            "0123456789",
            "more",
        );
        check("3 \r\n\r\n\n\r\n0\r\n\r\n", "\r\n\n", "");
    }

    #[test]
    fn what_is_not_chunks_is_refused() {
        for text in [
            "\r\n",
            ";x\r\n",
            "-1\r\n",
            "+1\r\na\r\n",
            "0x1\r\n",
            "g\r\n",
            "1\na\n",
            "1\rxa",
            "1\r\nab\r\n",
            "1\r\na\rb",
            "10000000000000000\r\n",
            "00000000000000001\r\na",
            "1;\n",
            "0\r\na\n",
            "0\r\n\rx",
            "0\r\na\rb",
            "<html>",
        ] {
            let result = decode(text.as_bytes().chunks(1), 100);
            assert!(matches!(result, Err(SendError::Malformed(_))), "{text:?}: {result:?}");
        }
    }

    #[test]
    fn extensions_and_trailers_have_a_bound() {
        let filler = "x".repeat(OVERHEAD_MAX + 1);
        for text in [format!("1;{filler}"), format!("0\r\n{filler}")] {
            let result = decode([text.as_bytes()].into_iter(), 100);
            assert!(matches!(result, Err(SendError::Malformed(_))), "{result:?}");
        }
        let many = "1;xxxxxxxxx\r\na\r\n".repeat(OVERHEAD_MAX / 10 + 1);
        let result = decode([many.as_bytes()].into_iter(), usize::MAX);
        assert!(matches!(result, Err(SendError::Malformed(_))), "spread over chunks: {result:?}");
    }

    #[test]
    fn a_body_stops_at_its_bound() {
        let text = b"ffffffffffffffff\r\nhello";
        let (progress, body, _) = decode([&text[..]].into_iter(), 3).unwrap();
        assert_eq!((progress, &body[..]), (Progress::Full, &b"hel"[..]));
        let exact = b"5\r\nhello\r\n0\r\n\r\n";
        let (progress, body, _) = decode([&exact[..]].into_iter(), 5).unwrap();
        assert_eq!((progress, &body[..]), (Progress::Complete, &b"hello"[..]));
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_a_verdict_and_within_the_bound(
            bytes in prop::collection::vec(prop::sample::select(b"0123af\r\n; x".to_vec()), 0..200),
            size in 1_usize..20,
        ) {
            let pieces = decode(bytes.chunks(size), 10);
            if let (Ok((_, body, _)), Ok((_, whole, _))) = (&pieces, &decode([&bytes[..]].into_iter(), 10)) {
                prop_assert!(body.len() <= 10);
                prop_assert_eq!(body, whole);
            }
        }

        #[test]
        fn what_was_chunked_comes_back(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..10), size in 1_usize..20) {
            let mut text = Vec::new();
            for chunk in &chunks {
                text.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                text.extend_from_slice(chunk);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(b"0\r\n\r\n");
            prop_assert_eq!(
                decode(text.chunks(size), usize::MAX),
                Ok((Progress::Complete, chunks.concat(), Vec::new()))
            );
        }
    }
}
