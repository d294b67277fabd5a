//! Paths → the manifest files below them, read when they have changed.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs::{self, File, Metadata},
    hash::{DefaultHasher, Hasher},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    document::{self, Content},
    problem::{Position, Problem},
};

/// The longest file that is read, in bytes (reliability: R-P-2).
const SIZE_MAX: u64 = 4 << 20;
/// Files read below one path.
const FILES_MAX: usize = 10_000;
/// Folders inside one another below one path.
const DEPTH_MAX: usize = 32;
/// A file must have stayed as it is for so long before it is read again: it is not read while
/// an editor or a copy is still writing it.
pub(super) const SETTLED_AFTER: Duration = Duration::from_millis(100);

/// A version of a file, by what its folder says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether the file was written so short a time before `now` that it may not be whole.
    fn is_settling(&self, now: SystemTime) -> bool {
        let (seconds, nanoseconds) = self.changed;
        let whole = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        let part = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or_default());
        let changed = SystemTime::UNIX_EPOCH + whole + part;
        now.duration_since(changed).is_ok_and(|age| age < SETTLED_AFTER)
    }
}

/// What is known of a file that was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Version {
    /// Its version; without one it is to be read again next time.
    pub(super) stamp: Option<Stamp>,
    /// Hash of its bytes: equal bytes say the same, so they are not read into resources again.
    pub(super) digest: u64,
}

/// A file that was found.
#[derive(Debug)]
pub(super) enum Seen {
    /// It is as it was, or still being written.
    Same,
    /// Its bytes are as they were.
    Confirmed(Version),
    /// It says this.
    New(Version, Content),
}

/// What was found below the paths.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The files.
    pub(super) files: BTreeMap<PathBuf, Seen>,
    /// Paths that could not be looked into: what is known below them still holds.
    pub(super) hidden: Vec<PathBuf>,
    /// Why they could not.
    pub(super) problems: Vec<Problem>,
    /// Every folder that was looked into, with its inode: a folder made again has another one.
    pub(super) folders: BTreeMap<PathBuf, u64>,
    /// Whether a file was left for later because it is being written.
    pub(super) is_settling: bool,
}

/// Looks below `paths`, in their order, folders in the order of their names, hidden entries and
/// everything but `.yaml`, `.yml` and `.json` left out. A file that is itself one of the `paths`
/// may have any name.
///
/// Files whose stamp is in `known` are not read again, and none is read while it is being written;
/// without `known`, for the first scan, every file is. Blocks on the file system.
pub(super) fn scan(paths: &[PathBuf], known: Option<&BTreeMap<PathBuf, Version>>) -> Scan {
    let mut walk =
        Walk { known, now: SystemTime::now(), scan: Scan::default(), visited: HashSet::new() };
    for path in paths {
        if let Err(error) = walk.visit_root(path) {
            walk.hide(path, &error);
        }
    }
    walk.scan
}

struct Walk<'a> {
    known: Option<&'a BTreeMap<PathBuf, Version>>,
    now: SystemTime,
    scan: Scan,
    /// Device and inode of files and folders seen: a link back up ends here, and a file given
    /// twice is one.
    visited: HashSet<(u64, u64)>,
}

impl Walk<'_> {
    fn visit_root(&mut self, path: &Path) -> io::Result<()> {
        let metadata = fs::metadata(path)?;
        if metadata.is_dir() {
            self.visit_folder(path, &metadata, 0)
        } else {
            self.visit_file(path, &metadata);
            Ok(())
        }
    }

    fn visit_folder(&mut self, folder: &Path, metadata: &Metadata, depth: usize) -> io::Result<()> {
        if !self.visited.insert((metadata.dev(), metadata.ino())) {
            return Ok(());
        }
        if depth == DEPTH_MAX {
            return Err(io::Error::other(format!("more than {DEPTH_MAX} folders deep")));
        }
        self.scan.folders.insert(folder.to_owned(), metadata.ino());
        let mut entries = BTreeSet::new();
        for entry in fs::read_dir(folder)? {
            entries.insert(entry?.file_name());
        }
        for entry in entries {
            let path = folder.join(&entry);
            // A ConfigMap mount keeps its versions in hidden folders, linked to from beside them.
            if entry.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            if let Err(error) = self.visit_entry(&path, depth) {
                self.hide(&path, &error);
            }
        }
        Ok(())
    }

    fn visit_entry(&mut self, path: &Path, depth: usize) -> io::Result<()> {
        let metadata = match fs::metadata(path) {
            // Gone since it was listed, or a link to nothing.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(_) if !is_manifest(path) => return Ok(()),
            metadata => metadata?,
        };
        if metadata.is_dir() {
            self.visit_folder(path, &metadata, depth + 1)
        } else if !is_manifest(path) {
            Ok(())
        } else if self.scan.files.len() >= FILES_MAX {
            Err(io::Error::other(format!("more than {FILES_MAX} files")))
        } else {
            self.visit_file(path, &metadata);
            Ok(())
        }
    }

    fn visit_file(&mut self, path: &Path, metadata: &Metadata) {
        if !self.visited.insert((metadata.dev(), metadata.ino())) {
            return;
        }
        let stamp = Stamp::of(metadata);
        let is_settling = stamp.is_settling(self.now);
        let known = self.known.and_then(|known| known.get(path));
        let is_same = known.is_some_and(|known| known.stamp == Some(stamp));
        self.scan.is_settling |= is_settling && !is_same;
        let seen = if is_same || (is_settling && self.known.is_some()) {
            Seen::Same
        } else {
            read(path, (!is_settling).then_some(stamp), known)
        };
        self.scan.files.insert(path.to_owned(), seen);
    }

    fn hide(&mut self, path: &Path, error: &io::Error) {
        let message = format!("cannot be read: {error}");
        self.scan.problems.push(Problem::file(&Arc::new(path.to_owned()), message));
        self.scan.hidden.push(path.to_owned());
    }
}

fn is_manifest(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|it| extension == *it))
}

/// Reads one file.
fn read(path: &Path, stamp: Option<Stamp>, known: Option<&Version>) -> Seen {
    let file = Arc::new(path.to_owned());
    match read_bytes(path) {
        Ok(bytes) => {
            let mut hasher = DefaultHasher::new();
            hasher.write(&bytes);
            let version = Version { stamp, digest: hasher.finish() };
            match known {
                Some(known) if known.digest == version.digest => Seen::Confirmed(version),
                _ => Seen::New(version, read_text(&file, &bytes)),
            }
        }
        Err(error) => {
            let content = Content::unreadable(&file, format!("cannot be read: {error}"));
            Seen::New(Version::default(), content)
        }
    }
}

fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a named pipe would wait for a writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(SIZE_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What the bytes of a file say.
pub(super) fn read_text(file: &Arc<PathBuf>, bytes: &[u8]) -> Content {
    if u64::try_from(bytes.len()).is_ok_and(|size| size > SIZE_MAX) {
        return Content::unreadable(file, format!("longer than {SIZE_MAX} bytes (4 MiB)"));
    }
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    match str::from_utf8(bytes) {
        Ok(text) => document::read(file, text),
        Err(error) => {
            let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let good = String::from_utf8_lossy(good);
            let (before, line) = good.rsplit_once('\n').unwrap_or(("", &good));
            let line_no = if good.contains('\n') { before.matches('\n').count() + 2 } else { 1 };
            let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            let position =
                Position { line: number(line_no), column: number(line.chars().count() + 1) };
            let offset = error.valid_up_to();
            let message =
                format!("not UTF-8: byte {offset} of the file is not text; save it as UTF-8");
            Content::cut(Problem::at(file, position, message))
        }
    }
}
