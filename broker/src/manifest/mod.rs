//! Manifests: the YAML a user writes, read into checked resources and followed as it changes.
//!
//! A *document* is a value in a file; a document is a *resource* of some kind; a *problem* is
//! something wrong with one, by file, line, column and field. A file with an error in it is not
//! used: what it said when it was last good stays.
//!
//! # Reading order
//!
//! `problem`, `node` and `documents` (text to values with places), `typed` (values to specs),
//! `kind`, `metadata`, `body` and `document` (a file to its resources), `links`, `template` and `defaults`
//! (resources to those that fit together); `files` finds and reads, `state` remembers, `watch`
//! follows.
//!
//! # Limits
//!
//! | what | limit | at the limit |
//! | --- | --- | --- |
//! | file | 4 MiB | the file is refused |
//! | values in a document | 250,000 | the file is refused |
//! | values inside one another | 48 | the file is refused |
//! | values copied by aliases | 20,000 | the file is refused |
//! | problems told of a file | 100 | the rest of the file is not read |
//! | files below a path, folders inside one another | 10,000, 32 | told; what is beyond is as it was |

mod body;
mod channel;
mod defaults;
mod document;
mod documents;
mod files;
mod finding;
mod kind;
mod links;
mod metadata;
mod mismatch;
mod node;
mod objects;
mod problem;
mod resource;
mod source;
mod state;
mod subscription;
mod template;
#[cfg(test)]
mod tests;
mod trigger;
mod typed;
mod watch;

pub use channel::ChannelDefinition;
pub(crate) use channel::names_channel;
pub(crate) use defaults::places as default_channel_maps;
pub(crate) use documents::read_one;
pub use kind::Kind;
pub(crate) use metadata::is_subdomain;
pub(crate) use objects::{Objects, file_of};
pub(crate) use problem::nearest;
pub use problem::{Position, Problem, Severity};
pub use resource::{ConfigMap, Origin, Resource, Resources, Secret};
pub use source::{ApiServerSourceSpec, SourceKind, SourceSpec};
pub use state::{Snapshot, Standing};
pub(crate) use subscription::channel_of;
pub(crate) use trigger::broker_of;
pub use watch::{Error, Manifests, load, read};
