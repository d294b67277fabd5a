//! Follows the files: tells of every change within a second.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tokio::{
    sync::mpsc,
    task,
    time::{self, MissedTickBehavior},
};
use tracing::info;

use super::{
    document,
    files::{self, SETTLED_AFTER, Scan, Seen, Version},
    state::{Snapshot, State},
};

/// How often folders are looked at whether or not the system told of a change: it does not for
/// network file systems, for links that lead elsewhere, or when its watches are used up. Only
/// the metadata of files is read for it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why manifests cannot be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A path that was asked for is not there or not readable.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Manifest files and folders, as they are and as they change.
///
/// A path that disappears later keeps what it last said, and a problem tells of it, until it is
/// back: a folder is often replaced by removing it first. A file removed from a folder takes its
/// resources with it.
pub struct Manifests {
    paths: Vec<PathBuf>,
    state: State,
    watches: Watches,
    look: time::Interval,
    /// Whether something may have changed since the last scan.
    is_stale: bool,
}

impl fmt::Debug for Manifests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manifests").field("paths", &self.paths).finish_non_exhaustive()
    }
}

/// Checks that every path is there and may be read.
///
/// # Errors
///
/// [`Error::Unreadable`] for the first one that may not.
pub(crate) fn ensure_readable(paths: &[PathBuf]) -> Result<(), Error> {
    for path in paths {
        let is_readable = match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => fs::read_dir(path).map(drop),
            Ok(metadata) if metadata.is_file() => fs::File::open(path).map(drop),
            Ok(_) => Err(io::Error::other("not a file or folder")),
            Err(error) => Err(error),
        };
        is_readable.map_err(|source| Error::Unreadable { path: path.clone(), source })?;
    }
    Ok(())
}

/// Reads files and folders once; what is wrong with them is in the snapshot.
///
/// Blocks on the file system.
///
/// # Errors
///
/// A path that is not there or not readable.
pub fn load(paths: &[PathBuf]) -> Result<Snapshot, Error> {
    ensure_readable(paths)?;
    let mut state = State::default();
    state.apply(files::scan(paths, None), Timestamp::now());
    Ok(state.snapshot().clone())
}

/// What `text` says, as if it were a file called `name`: for manifests that the program brings itself.
pub fn read(name: &str, text: &str) -> Snapshot {
    let path = PathBuf::from(name);
    let content = document::read(&Arc::new(path.clone()), text);
    let files = BTreeMap::from([(path, Seen::New(Version::default(), content))]);
    let mut state = State::default();
    state.apply(Scan { files, ..Scan::default() }, Timestamp::now());
    state.snapshot().clone()
}

impl Manifests {
    /// Reads files and folders and begins to follow them. Blocks on the file system; to be
    /// called within a tokio runtime.
    ///
    /// A file with errors is no error here: [`current`](Self::current) tells of it.
    ///
    /// # Errors
    ///
    /// A path that is not there or not readable.
    pub fn open(paths: &[PathBuf]) -> Result<Self, Error> {
        ensure_readable(paths)?;
        let mut look = time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut manifests = Self {
            paths: paths.to_vec(),
            state: State::default(),
            watches: Watches::new(paths),
            look,
            is_stale: true,
        };
        let scan = files::scan(paths, None);
        manifests.watches.follow(&scan.folders);
        manifests.state.apply(scan, Timestamp::now());
        Ok(manifests)
    }

    /// What the files say, as of the last change that was told.
    pub fn current(&self) -> Snapshot {
        self.state.snapshot().clone()
    }

    /// Waits until the files say something else, and tells what.
    ///
    /// A change is told 0.1 to 1 second after the file was last written. Changes in quick
    /// succession may be told as one.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a change that was noticed is told by the next call.
    pub async fn next_change(&mut self) -> Snapshot {
        loop {
            if !self.is_stale {
                tokio::select! {
                    () = self.watches.changed() => {}
                    _ = self.look.tick() => {}
                }
                self.is_stale = true;
            }
            let scan = self.scan().await;
            let is_settling = scan.is_settling;
            // What happened in a folder before it was watched is seen by looking again.
            self.is_stale = self.watches.follow(&scan.folders);
            let has_changed = self.state.apply(scan, Timestamp::now());
            if is_settling || self.state.is_unsure() {
                self.is_stale = true;
            }
            if has_changed {
                return self.current();
            }
            if self.is_stale {
                time::sleep(SETTLED_AFTER).await;
            }
        }
    }

    /// Does without the system's notifications, as where it has none.
    #[cfg(test)]
    pub(super) fn without_notifications(mut self) -> Self {
        self.watches.watcher = None;
        self
    }

    async fn scan(&self) -> Scan {
        let (paths, known) = (self.paths.clone(), self.state.versions());
        loop {
            let (paths, known) = (paths.clone(), known.clone());
            match task::spawn_blocking(move || files::scan(&paths, Some(&known))).await {
                Ok(scan) => return scan,
                // A panic in there is a bug of ours: the last state holds, and we look again.
                Err(_) => time::sleep(LOOK_EVERY).await,
            }
        }
    }
}

/// The folders that the system tells about.
struct Watches {
    /// `None` where the system has none: then looking every second is all there is.
    watcher: Option<RecommendedWatcher>,
    changes: mpsc::Receiver<()>,
    /// Folders outside the paths that hold them: a path may be replaced as a whole.
    parents: BTreeMap<PathBuf, u64>,
    watched: BTreeMap<PathBuf, u64>,
}

impl Watches {
    fn new(paths: &[PathBuf]) -> Self {
        let roots: Vec<PathBuf> = paths
            .iter()
            .map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()))
            .collect();
        let parents = roots.iter().filter_map(|root| root.parent()).map(|it| (it.to_owned(), 0));
        let parents = parents.collect();
        // One change that waits to be seen stands for all of them.
        let (changed, changes) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.as_ref().map_or(true, |event| concerns(event, &roots)) {
                let _already_waiting = changed.try_send(());
            }
        });
        let watcher = watcher
            .inspect_err(|error| info!(%error, "no file notifications: looking every second"))
            .ok();
        Self { watcher, changes, parents, watched: BTreeMap::new() }
    }

    /// Waits for a change. Cancel safe.
    async fn changed(&mut self) {
        if self.watcher.is_none() || self.changes.recv().await.is_none() {
            std::future::pending().await
        }
    }

    /// Watches these folders and no others. Returns whether a folder is newly watched.
    fn follow(&mut self, folders: &BTreeMap<PathBuf, u64>) -> bool {
        let Some(watcher) = &mut self.watcher else { return false };
        let mut wanted = self.parents.clone();
        wanted.extend(folders.iter().map(|(folder, inode)| (absolute(folder), *inode)));
        let stale: Vec<PathBuf> = self
            .watched
            .iter()
            .filter(|(folder, inode)| wanted.get(*folder) != Some(*inode))
            .map(|(folder, _)| folder.clone())
            .collect();
        for folder in stale {
            self.watched.remove(&folder);
            // It fails for a folder that is gone, whose watch went with it.
            let _gone = watcher.unwatch(&folder);
        }
        let mut is_any_new = false;
        for (folder, inode) in wanted {
            if !self.watched.contains_key(&folder)
                && watcher.watch(&folder, RecursiveMode::NonRecursive).is_ok()
            {
                self.watched.insert(folder, inode);
                is_any_new = true;
            }
        }
        is_any_new
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Whether an event is about one of the paths, and about more than their being read.
fn concerns(event: &Event, roots: &[PathBuf]) -> bool {
    let is_read = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) => true,
        _ => false,
    };
    let is_about =
        |path: &PathBuf| roots.iter().any(|root| path.starts_with(root) || root.starts_with(path));
    !is_read && (event.paths.is_empty() || event.paths.iter().any(is_about))
}
