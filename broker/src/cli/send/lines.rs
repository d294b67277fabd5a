//! Reads a file or stdin line by line on a thread of its own, never more than a few lines ahead.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _},
    path::Path,
};

use bytes::Bytes;
use tokio::{sync::mpsc, task::spawn_blocking};

/// Largest line that is taken; the rest of a longer one is skipped.
const LINE_BYTES_MAX: usize = 8 << 20;
/// Lines read ahead of the requests.
const AHEAD: usize = 32;

/// One line that is not blank.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Counted from 1, blank lines included.
    pub(super) number: u64,
    /// Bytes of the file up to and including this line.
    pub(super) end: u64,
    /// Without whitespace at either end; `None` when the line is over the limit.
    pub(super) text: Option<Bytes>,
}

/// What a line over the limit is refused with.
pub(super) fn too_long() -> String {
    format!("the line is longer than {LINE_BYTES_MAX} bytes")
}

/// A file being read, and how long it is when that is known.
pub(super) struct Lines {
    /// Ends at the end of the file; an error is the last item.
    pub(super) read: mpsc::Receiver<io::Result<Line>>,
    /// Bytes in a regular file.
    pub(super) size_bytes: Option<u64>,
}

/// Opens `file`, `-` being stdin, and starts to read.
///
/// The reading thread ends with the file, or with the next line once `Lines` is dropped.
///
/// # Errors
///
/// What the file system says when the file cannot be opened.
pub(super) fn open(file: &Path) -> io::Result<Lines> {
    let (read_tx, read) = mpsc::channel(AHEAD);
    if file == Path::new("-") {
        spawn_blocking(move || follow(io::stdin().lock(), LINE_BYTES_MAX, &read_tx));
        return Ok(Lines { read, size_bytes: None });
    }
    let opened = File::open(file)?;
    let size_bytes = opened.metadata().ok().filter(|is| is.is_file()).map(|is| is.len());
    spawn_blocking(move || follow(BufReader::new(opened), LINE_BYTES_MAX, &read_tx));
    Ok(Lines { read, size_bytes })
}

fn follow(mut from: impl BufRead, limit: usize, to: &mpsc::Sender<io::Result<Line>>) {
    let (mut number, mut end) = (0, 0);
    loop {
        let line = match read_line(&mut from, limit) {
            Ok(Some(line)) => line,
            Ok(None) => return,
            Err(error) => {
                // Without a receiver nobody wants to know.
                to.blocking_send(Err(error)).unwrap_or_default();
                return;
            }
        };
        number += 1;
        end += line.bytes;
        let text = line.text.map(|text| trim(&text, number));
        let is_blank = text.as_ref().is_some_and(Bytes::is_empty);
        if !is_blank && to.blocking_send(Ok(Line { number, end, text })).is_err() {
            return;
        }
    }
}

/// Takes whitespace off both ends, and a byte order mark off the file.
fn trim(text: &[u8], number: u64) -> Bytes {
    let text = match text.strip_prefix(b"\xef\xbb\xbf") {
        Some(rest) if number == 1 => rest,
        _ => text,
    };
    Bytes::copy_from_slice(text.trim_ascii())
}

struct RawLine {
    /// Bytes read, the line break included.
    bytes: u64,
    /// `None` when over the limit.
    text: Option<Vec<u8>>,
}

fn read_line(from: &mut impl BufRead, limit: usize) -> io::Result<Option<RawLine>> {
    let room = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut text = Vec::new();
    let mut bytes = u64_of(from.take(room).read_until(b'\n', &mut text)?);
    if bytes == 0 {
        return Ok(None);
    }
    if text.ends_with(b"\n") || text.len() <= limit {
        return Ok(Some(RawLine { bytes, text: Some(text) }));
    }
    loop {
        text.clear();
        bytes += u64_of(from.take(room).read_until(b'\n', &mut text)?);
        if text.is_empty() || text.ends_with(b"\n") {
            return Ok(Some(RawLine { bytes, text: None }));
        }
    }
}

fn u64_of(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(u64, u64, Option<String>)> {
        let (tx, mut rx) = mpsc::channel(16);
        follow(text.as_bytes(), 8, &tx);
        drop(tx);
        let mut lines = Vec::new();
        while let Some(line) = rx.blocking_recv() {
            let line = line.unwrap();
            let text = line.text.map(|text| String::from_utf8(text.to_vec()).unwrap());
            lines.push((line.number, line.end, text));
        }
        lines
    }

    #[test]
    fn blank_lines_count_but_are_not_sent() {
        let lines = read("\u{feff}a\r\n\n  b \n\nc");
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(lines, [(1, 6, text("a")), (3, 12, text("b")), (5, 14, text("c"))]);
    }

    #[test]
    fn a_line_over_the_limit_does_not_stop_the_others() {
        let long = "x".repeat(100);
        let lines = read(&format!("12345678\n{long}\nb\n{long}"));
        let texts: Vec<_> =
            lines.iter().map(|(number, _, text)| (*number, text.is_some())).collect();
        assert_eq!(texts, [(1, true), (2, false), (3, true), (4, false)]);
        assert_eq!(lines[3].1, 9 + 101 + 2 + 100);
    }
}
