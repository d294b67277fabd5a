//! SinkBindings and ContainerSources: pods of others that are told where their events go.
//!
//! What containers are told stands in the pod templates of Deployments and their like. It is put there by server-side
//! apply, in the name of a field manager for each SinkBinding, so that the API server itself knows what is whose: what
//! others wrote is never overwritten, and what they change besides stays.
//!
//! # Reading order
//!
//! `wanted` (what bindings and sources ask for), `subjects` (the objects with pod templates, watched), `template` (where
//! containers are in them, and what is put there), `binder` (a look at all of it, by whoever leads), `work` (what one look does),
//! `ending` (what is taken out again), `release` (where others have a part in it by then), `deployment` (the pods of a ContainerSource), `requests` (of the API server),
//! `telling` and `standing` (how far each is, for its conditions).
//!
//! # Promises
//!
//! - A variable that somebody else has set is left as it is, and a condition says so.
//! - All that was put in is taken out when the SinkBinding, its subject or a label no longer wants it: the
//!   SinkBinding names the kinds of what it was put into, and a finalizer waits.
//! - A sink that is not found for now leaves what is there: pods are not started anew for it.
//! - Nothing is written while all is as it should be.
//!
//! # Limits
//!
//! | what | limit | at the limit |
//! | --- | --- | --- |
//! | kinds of subjects | 16 | a condition |
//! | requests at a time | 8 | the others wait |
//! | changes that wait to be taken in | 1,024 | the watches wait |
//! | times that what somebody else takes out is put in again at once | 3 in 10 min | growing waits, at most 5 min, and a condition |

mod binder;
mod deployment;
mod ending;
mod release;
mod requests;
mod standing;
mod subjects;
mod telling;
mod template;
mod wanted;
mod work;

pub(super) use binder::Binder;
pub(super) use standing::Bindings;

/// Waits for what a deleted SinkBinding has put into pod templates.
pub(super) const FINALIZER: &str = "catchment.dev/binding";

/// The annotation of a SinkBinding that names the kinds of what it was put into.
pub(super) const BOUND: &str = "catchment.dev/bound-kinds";
