//! The data folder: one process at a time, one version, a folder for each channel.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::fs::{FlockOperation, flock};

use crate::{Erased, Hub, HubKind, disk::OpenError, disk::storage::sync_folder};

const VERSION: &str = "catchment data 1";
/// Longest name of a Kubernetes resource.
const NAME_LEN_MAX: usize = 253;
/// Below it are folders on their way out.
const ERASED: &str = "erased";

/// The data folder of a process, locked for as long as this or a channel in it lives.
#[derive(Clone, Debug)]
pub struct Data(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    /// Channels that are open.
    open: Mutex<HashSet<Hub>>,
    _lock: File,
}

impl Data {
    /// Opens a data folder, made when it is not there, and locks it.
    ///
    /// # Errors
    ///
    /// When another process has it, when it is of another version, or when the file system refuses.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref().to_owned();
        let failed = |action: &str| OpenError::io(format!("{action} {}", path.display()));
        fs::create_dir_all(&path).map_err(failed("make the data folder"))?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        let lock = options.open(path.join("lock")).map_err(failed("lock the data folder"))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(OpenError::Locked { path }),
            Err(error) => return Err(failed("lock the data folder")(error.into())),
        }
        check_version(&path)?;
        Ok(Self(Arc::new(Shared { path, open: Mutex::default(), _lock: lock })))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Deletes the folder of a channel that is not open, with all that it holds. Blocks.
    ///
    /// # Errors
    ///
    /// When the channel is open, or the file system refuses. The folder is there whole, or gone for
    /// whoever opens the channel; then what is left of it goes when this is called again.
    pub fn erase(&self, hub: &Hub) -> Result<Erased, OpenError> {
        let (claim, name) = (self.take(hub)?, &hub.name);
        let gone = self.0.path.join(ERASED).join(hub.kind.plural()).join(&name.namespace);
        let path = claim.path();
        let going = gone.join(&name.name);
        let failed = |path: &Path| OpenError::io(format!("delete the folder {}", path.display()));
        let mut erased = Erased::default();
        // What a crash left is in the way of what comes.
        if remove_folder(&going).map_err(failed(&going))? {
            erased.removed.push(going.display().to_string());
        }
        fs::create_dir_all(&gone).map_err(failed(&path))?;
        match fs::rename(&path, &going) {
            Ok(()) => {
                for parent in [path.parent(), Some(&gone)].into_iter().flatten() {
                    sync_folder(parent).map_err(failed(&path))?;
                }
                remove_folder(&going).map_err(failed(&going))?;
                erased.removed.push(path.display().to_string());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&path)(error)),
        }
        Ok(erased)
    }

    /// Takes the folder of a channel, made when it is not there, until the claim is dropped.
    pub(super) fn claim(&self, hub: &Hub) -> Result<Claim, OpenError> {
        let (claim, name) = (self.take(hub)?, &hub.name);
        let mut path = self.0.path.clone();
        for part in [hub.kind.plural(), &name.namespace, &name.name] {
            let parent = path.clone();
            path.push(part);
            let made = match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                made => made.and_then(|()| sync_folder(&parent)),
            };
            made.map_err(OpenError::io(format!("make the folder {}", path.display())))?;
        }
        Ok(claim)
    }

    /// Keeps others from the folder of a channel until the claim is dropped.
    fn take(&self, hub: &Hub) -> Result<Claim, OpenError> {
        let name = &hub.name;
        if ![&name.namespace, &name.name].into_iter().all(|part| is_safe(part)) {
            return Err(OpenError::UnsafeName { name: name.clone() });
        }
        if !self.0.open().insert(hub.clone()) {
            return Err(OpenError::InUse { hub: hub.clone() });
        }
        Ok(Claim { data: self.clone(), hub: hub.clone() })
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, HashSet<Hub>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A channel's folder, taken by one channel of this process.
#[derive(Debug)]
pub(super) struct Claim {
    data: Data,
    hub: Hub,
}

impl Claim {
    pub(super) fn path(&self) -> PathBuf {
        let Hub { kind, name } = &self.hub;
        self.data.path().join(kind.plural()).join(&name.namespace).join(&name.name)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.data.0.open().remove(&self.hub);
    }
}

/// Deletes a folder. Returns whether it was there.
fn remove_folder(path: &Path) -> io::Result<bool> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn check_version(path: &Path) -> Result<(), OpenError> {
    let file = path.join("VERSION");
    let found = match fs::read(&file) {
        Ok(found) => String::from_utf8_lossy(&found).trim().to_owned(),
        // A folder that holds channels has a version: without one it is not ours to guess at.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !holds_any(path) => {
            return write_version(path, &file)
                .map_err(OpenError::io(format!("write {}", file.display())));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(OpenError::io(format!("read {}", file.display()))(error)),
    };
    if found == VERSION {
        return Ok(());
    }
    let found = found.chars().take(64).collect();
    Err(OpenError::Version { path: path.to_owned(), found, expected: VERSION })
}

/// Whether there are channels in the folder.
fn holds_any(path: &Path) -> bool {
    HubKind::ALL.iter().any(|kind| path.join(kind.plural()).exists())
}

/// By way of another name, so that there is never half a version.
fn write_version(path: &Path, file: &Path) -> io::Result<()> {
    let draft = path.join("VERSION.new");
    let mut written = File::create(&draft)?;
    writeln!(written, "{VERSION}")?;
    written.sync_all()?;
    fs::rename(&draft, file)?;
    sync_folder(path)
}

/// Whether a part of a name is safe as the name of a folder.
fn is_safe(part: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    (1..=NAME_LEN_MAX).contains(&part.len()) && part.chars().all(is_plain) && !part.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Name;

    #[test]
    fn a_folder_has_one_process_and_one_version() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let data = Data::open(&path).unwrap();
        let again = Data::open(&path).unwrap_err();
        assert!(matches!(again, OpenError::Locked { .. }), "{again}");
        drop(data);
        Data::open(&path).unwrap();
        for other in ["catchment data 2\n", "", "catchment"] {
            fs::write(path.join("VERSION"), other).unwrap();
            let error = Data::open(&path).unwrap_err();
            assert!(matches!(error, OpenError::Version { .. }), "{other:?}: {error}");
        }
        fs::create_dir(path.join("brokers")).unwrap();
        fs::remove_file(path.join("VERSION")).unwrap();
        let error = Data::open(&path).unwrap_err();
        assert!(matches!(error, OpenError::Version { .. }), "{error}");
    }

    #[test]
    fn a_folder_is_erased_whole_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let data = Data::open(folder.path()).unwrap();
        let [name, other] = ["a", "a.b"].map(|it| Hub::broker(Name::new("n", it)));
        let channel = Hub::channel(name.name.clone());
        for it in [&name, &other, &channel] {
            let claim = data.claim(it).unwrap();
            fs::write(claim.path().join("log-0"), "events").unwrap();
        }
        let claim = data.claim(&name).unwrap();
        assert!(matches!(data.erase(&name), Err(OpenError::InUse { .. })));
        let path = claim.path();
        drop(claim);
        // As a crash in the middle leaves it.
        let half = folder.path().join("erased/brokers/n/a");
        fs::create_dir_all(&half).unwrap();
        fs::write(half.join("log-0"), "old").unwrap();
        let paths = [&half, &path].map(|it| it.display().to_string());
        assert_eq!(data.erase(&name).unwrap(), Erased { removed: paths.into(), left: Vec::new() });
        assert!(!path.exists() && !half.exists());
        assert_eq!(data.erase(&name).unwrap(), Erased::default());
        assert_eq!(fs::read_dir(data.claim(&name).unwrap().path()).unwrap().count(), 0);
        for kept in [&other, &channel] {
            assert!(data.claim(kept).unwrap().path().join("log-0").exists());
        }
        let unsafe_name = data.erase(&Hub::broker(Name::new("..", "brokers")));
        assert!(matches!(unsafe_name, Err(OpenError::UnsafeName { .. })));
    }

    #[test]
    fn only_names_that_are_safe_become_folders() {
        let folder = tempfile::tempdir().unwrap();
        let data = Data::open(folder.path()).unwrap();
        let long = "a".repeat(NAME_LEN_MAX + 1);
        for (namespace, name) in [
            ("..", "a"),
            ("a", ".."),
            ("a", "."),
            ("a/b", "c"),
            ("", "a"),
            ("a", "b\0"),
            ("a", &*long),
        ] {
            let error = data.claim(&Hub::broker(Name::new(namespace, name))).unwrap_err();
            assert!(matches!(error, OpenError::UnsafeName { .. }), "{error}");
        }
        let name = Name::new("default", "a.b-c");
        let (broker, channel) = (Hub::broker(name.clone()), Hub::channel(name));
        let claim = data.claim(&broker).unwrap();
        assert!(claim.path().is_dir());
        assert!(matches!(data.claim(&broker), Err(OpenError::InUse { .. })));
        assert_ne!(data.claim(&channel).unwrap().path(), claim.path());
        drop(claim);
        data.claim(&broker).unwrap();
    }
}
