//! A file, or stdin, read whole.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use super::Failure;

/// Largest file that is read; brokers take far smaller events.
const BYTES_MAX: u64 = 64 << 20;

/// Reads `file`; `-` and `@-` are stdin. Blocks until its end.
///
/// # Errors
///
/// [`Failure::Failed`] when it cannot be read, or is larger than 64 MiB.
pub(super) fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let is_stdin = file == Path::new("-") || file == Path::new("@-");
    let name = name(file);
    let mut bytes = Vec::new();
    let read = if is_stdin {
        io::stdin().lock().take(BYTES_MAX + 1).read_to_end(&mut bytes)
    } else {
        File::open(file).and_then(|opened| opened.take(BYTES_MAX + 1).read_to_end(&mut bytes))
    };
    let size = read.map_err(|error| Failure::caused(format!("cannot read {name}"), &error))?;
    if u64::try_from(size).is_ok_and(|size| size > BYTES_MAX) {
        return Err(Failure::Failed(format!("{name} is larger than {BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// What a message calls `file`.
pub(super) fn name(file: &Path) -> String {
    let is_stdin = file == Path::new("-") || file == Path::new("@-");
    if is_stdin { "stdin".to_owned() } else { file.display().to_string() }
}
