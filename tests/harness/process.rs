//! What the kernel says of a process.

use std::fs;

/// How many descriptors a process has open.
///
/// # Panics
/// If there is no such process.
#[must_use]
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("the process lives").count()
}

/// How many sockets a process has open; the daemon has a connection's twice while it waits for room
/// to write to it.
///
/// # Panics
/// If there is no such process.
#[must_use]
pub fn sockets(pid: u32) -> usize {
    let listed = fs::read_dir(format!("/proc/{pid}/fd")).expect("the process lives");
    // One that has been closed since it was listed is none.
    let targets = listed.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

/// How many threads a process has.
///
/// # Panics
/// If there is no such process.
#[must_use]
pub fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives").count()
}

/// The memory that a process holds resident, in bytes.
///
/// # Panics
/// If there is no such process.
#[must_use]
pub fn resident_bytes(pid: u32) -> u64 {
    status_bytes(pid, "VmRSS:")
}

/// The most memory that a process has held resident so far, in bytes.
///
/// # Panics
/// If there is no such process.
#[must_use]
pub fn resident_peak_bytes(pid: u32) -> u64 {
    status_bytes(pid, "VmHWM:")
}

fn status_bytes(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find(|line| line.starts_with(field)).expect("the field is there");
    let kibibytes = line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
    kibibytes.expect("a number") * 1024
}
