//! What the kernel counts: CPU time and memory of a process, busy time of the machine.

use std::{fs, io};

use serde::Serialize;

/// Seconds of CPU, user and system, that process `pid` used so far, all its threads together.
pub(crate) fn cpu(pid: u32) -> io::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The command, in parentheses, may hold anything; user and system time are fields 14 and 15,
    // the 12th and 13th after it.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: Vec<u64> =
        fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    match ticks.as_slice() {
        [user, system] => Ok(seconds(user + system)),
        _ => Err(unreadable("/proc/PID/stat")),
    }
}

/// Seconds of CPU that all processes used since boot: user, nice, system, interrupts.
pub(crate) fn busy() -> io::Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let fields: Vec<u64> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    match fields.as_slice() {
        [user, nice, system, _idle, _iowait, irq, softirq, ..] => {
            Ok(seconds(user + nice + system + irq + softirq))
        }
        _ => Err(unreadable("/proc/stat")),
    }
}

/// Memory of a process.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) resident_mib: f64,
    /// The most that was ever resident.
    pub(crate) peak_mib: f64,
}

/// Memory of process `pid`.
pub(crate) fn memory(pid: u32) -> io::Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let mib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim_start_matches(':').split_whitespace().next());
        let kib = kib.and_then(|kib| kib.parse::<u32>().ok());
        kib.map(|kib| f64::from(kib) / 1024.0).ok_or_else(|| unreadable("/proc/PID/status"))
    };
    Ok(Memory { resident_mib: mib("VmRSS")?, peak_mib: mib("VmHWM")? })
}

/// One line about this machine.
pub(crate) fn describe() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown CPU", |(_, model)| model);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} x {model}, Linux {}", crate::args::cores(), kernel.trim())
}

#[allow(clippy::cast_precision_loss, reason = "ticks of years fit in 52 bits")]
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

fn unreadable(file: &str) -> io::Error {
    io::Error::other(format!("{file} is not as this program knows it"))
}
