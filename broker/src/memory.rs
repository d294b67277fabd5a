//! Memory beside that of events: stacks, and how the allocator takes it.

use std::{os::unix::process::CommandExt, process::Command};

use rustix::process::{Resource, getrlimit};

/// The stack of a thread that is not on an event's path. Resource limits count it whole.
pub(crate) const CONTROL_STACK_BYTES: usize = 1 << 20;

/// How mimalloc takes memory where a resource limit counts what is mapped: as much as is used, not
/// 128 MiB ahead. It reads these once, before there is a `main`.
const SPARING: [(&str, &str); 2] =
    [("MIMALLOC_ARENA_EAGER_COMMIT", "0"), ("MIMALLOC_PAGE_COMMIT_ON_DEMAND", "1")];

/// Starts the program anew, as the same process, with an allocator that goes by its resource limits.
/// Does nothing where there are none, where it has been done, and where somebody has set it otherwise.
pub fn go_by_limits() {
    let is_limited =
        [Resource::As, Resource::Data].iter().any(|&one| getrlimit(one).current.is_some());
    let is_set = SPARING.iter().any(|(name, _)| std::env::var_os(name).is_some());
    if !is_limited || is_set {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut args = std::env::args_os();
    let mut again = Command::new(program);
    if let Some(name) = args.next() {
        again.arg0(name);
    }
    // It returns only when it failed: then the program goes on as it is.
    drop(again.args(args).envs(SPARING).exec());
}
