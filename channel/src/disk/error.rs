//! Why a data folder or a channel in it could not be opened.

use std::{io, path::PathBuf};

use crate::{Hub, Name};

/// Why a data folder, or a channel in it, was not opened. Nothing in it was changed or dropped:
/// the process should say so and end (exit code 5), never start with less than there was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process uses the folder.
    #[error("another process uses the data folder {}", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The folder was written by another version.
    #[error("the data folder {} is of version {found:?}, and this program reads {expected:?}", path.display())]
    Version {
        /// The folder.
        path: PathBuf,
        /// What its `VERSION` file says.
        found: String,
        /// What it would have to say.
        expected: &'static str,
    },
    /// The channel is open already, or did not end in time when it was closed.
    #[error("the channel of {hub} is open already")]
    InUse {
        /// Whose channel.
        hub: Hub,
    },
    /// A namespace or name that cannot be a folder's.
    #[error("{name} cannot be the name of a folder")]
    UnsafeName {
        /// The name.
        name: Name,
    },
    /// A check failed: bytes that were acknowledged are not what was written.
    #[error("{file} is damaged: {problem}")]
    Damaged {
        /// The file, within the channel's folder.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The file system refused.
    #[error("cannot {action}")]
    Io {
        /// What was being done.
        action: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The database of what waits could not be opened.
    #[error("cannot open the database of what waits")]
    Database(#[source] Box<redb::Error>),
}

impl OpenError {
    pub(super) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }

    pub(super) fn damaged(file: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Damaged { file: file.into(), problem: problem.into() }
    }
}
