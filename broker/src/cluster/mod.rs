//! The Kubernetes API as a second home of resources: followed like a folder of manifests.
//!
//! # Reading order
//!
//! `error`; `loose` (an object whose parts are read one by one), `watch` (one kind, listed and watched, as a stream of changes), `kinds` (which kinds are
//! ours), `seen` (what the cluster says of our objects beside what they want), `referred` (where
//! references lead), `wanted` (which objects are referred to), `subject` (what each watch is about), `secrets` (read one by one), `feed` (all of them
//! together, as snapshots), `troubles` (what of it fails for now); `lease` (who may write), `report` (what is written);
//! `finder` (where references lead, as it is told), `apiserver` (sources of what happens in the cluster), `binding` (pods of others that are told where their events go).
//!
//! # Promises
//!
//! - The first snapshot comes after the first full list of every kind that the cluster has.
//! - While the API server is away everything goes on as it was last known.
//! - A Secret is read by its name, and only while a source names it; none is listed or watched.
//! - An object that cannot be used is told of in its own conditions and touches no other.
//!
//! # Limits
//!
//! | what | limit | at the limit |
//! | --- | --- | --- |
//! | objects in one answer to a list | 500 | the next page is asked for |
//! | changes that wait to be taken in | 1,024 | the watches wait |
//! | kinds that references may name | 64 | references to further kinds lead nowhere, and say so |
//! | config maps that brokers may name | 256 | the same |
//! | Secrets that sources may name | 256 | sources that name further ones say so |
//! | Secrets read at a time | 4 | the others wait |
//! | writes at a time | 16 | the others wait |

mod apiserver;
mod binding;
mod error;
mod feed;
mod finder;
mod kinds;
mod lease;
mod loose;
mod referred;
mod report;
mod secrets;
mod seen;
mod shared;
mod subject;
mod troubles;
mod wanted;
mod watch;

pub(crate) use apiserver::{ObjectWatches, attributes as watch_attributes};
pub use error::Error;
pub use feed::Cluster;
pub use report::Reporter;
pub use troubles::Troubles;
