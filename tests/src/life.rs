//! What /proc tells of a process that is watched from outside.

use std::fs;

/// A line of `/proc/PID/status`, by its name without the colon.
pub fn status_of(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    line_of(&status, name)
}

/// Resident memory, KiB.
pub fn resident_kib(pid: u32) -> u64 {
    status_of(pid, "VmRSS").trim_end_matches(" kB").parse().unwrap()
}

/// How often its threads went to sleep: as often as they woke up. One that ends meanwhile does not count.
pub fn wake_ups(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let statuses = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("status")).ok());
    statuses.map(|status| line_of(&status, "voluntary_ctxt_switches").parse::<u64>().unwrap()).sum()
}

fn line_of(status: &str, name: &str) -> String {
    let mut lines = status.lines().filter_map(|line| line.split_once(':'));
    let line = lines.find(|(field, _)| *field == name);
    line.unwrap_or_else(|| panic!("no {name} in {status}")).1.trim().to_owned()
}
