//! What the process takes from the machine, as far as the operating system says it.

use std::{
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::{
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

/// What the process takes. `None` where the operating system does not say.
#[derive(Clone, Debug, Default)]
pub(super) struct ProcessUse {
    pub(super) started_at: Duration,
    pub(super) cpu: Duration,
    pub(super) resident_bytes: Option<u64>,
    pub(super) open_files: Option<usize>,
    pub(super) open_files_max: Option<u64>,
}

impl ProcessUse {
    /// What it takes now.
    pub(super) fn now(started_at: SystemTime) -> Self {
        Self {
            started_at: started_at.duration_since(UNIX_EPOCH).unwrap_or_default(),
            cpu: clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default(),
            resident_bytes: fs::read_to_string("/proc/self/status")
                .ok()
                .and_then(|status| resident_bytes(&status)),
            // The listing opens one itself.
            open_files: fs::read_dir("/proc/self/fd").ok().map(|files| files.count() - 1),
            open_files_max: getrlimit(Resource::Nofile).current,
        }
    }
}

/// Reads `VmRSS:  1234 kB` in the text of `/proc/self/status`.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_where_linux_writes_it() {
        assert_eq!(resident_bytes("VmPeak:\t 9 kB\nVmRSS:\t    1234 kB\n"), Some(1_263_616));
        assert_eq!(resident_bytes("VmPeak:\t 9 kB\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_knows_what_it_takes() {
        let now = ProcessUse::now(SystemTime::now());
        assert!(now.resident_bytes.unwrap() > 0 && now.open_files.unwrap() > 0);
        assert!(now.cpu > Duration::ZERO);
    }
}
