//! What the system allows this process: memory and open files.

use std::{fs, path::Path};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a resource limit counts though it is hardly touched: stacks of threads, and pages of the
/// allocator that are not full.
const UNTOUCHED_BYTES: u64 = 32 << 20;

/// The memory that the process may use, in bytes: the least of its control groups' limits and of
/// what its own resource limits leave. `None` when there is none.
pub(super) fn memory_limit() -> Option<u64> {
    let own = [Resource::As, Resource::Data].map(|resource| getrlimit(resource).current);
    let own = own.into_iter().flatten().map(of_resource_limit);
    cgroup_limits().into_iter().chain(own).min()
}

/// What a limit of address space leaves for what is in use: half of it at least.
fn of_resource_limit(bytes: u64) -> u64 {
    bytes.saturating_sub(UNTOUCHED_BYTES).max(bytes / 2)
}

/// The limits of the process's control group and of those around it.
fn cgroup_limits() -> Vec<u64> {
    let Ok(groups) = fs::read_to_string("/proc/self/cgroup") else { return Vec::new() };
    let mut limits = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        // Within a container the path may be one of the host, and the limit lie at the root.
        let full = format!("{root}{path}");
        for group in Path::new(&full).ancestors().take_while(|group| group.starts_with(root)) {
            let limit = fs::read_to_string(group.join(file)).ok();
            limits.extend(limit.and_then(|text| text.trim().parse::<u64>().ok()));
        }
    }
    limits
}

/// How many files the process may have open.
pub(super) fn files_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Raises the number of files that may be open to what the system lets the process raise it to.
pub fn allow_many_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::debug!(%error, "the number of open files stays as it is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_limit_leaves_room_for_what_is_not_touched() {
        for (limit, left) in
            [(128 << 20, 96 << 20), (16 << 20, 8 << 20), (1 << 40, (1 << 40) - (32 << 20))]
        {
            assert_eq!(of_resource_limit(limit), left, "{limit}");
        }
    }
}
