//! Room for many tasks: the kernel's limits are looked at before, and raised for as long as it takes.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail, ensure};

use crate::agent::read;

const PID_MAX: &str = "/proc/sys/kernel/pid_max";
const THREADS_MAX: &str = "/proc/sys/kernel/threads-max";
const MEMINFO: &str = "/proc/meminfo";
/// Tasks that others may start meanwhile.
const SPARE: u64 = 4096;
/// What a task takes, with its stacks and page tables, KiB.
const TASK_KIB: u64 = 128;

/// Room for tasks while this lives.
#[derive(Debug)]
pub(super) struct Room {
    /// What the limit was before it was raised.
    before: Option<String>,
}

impl Room {
    /// Makes room for so many tasks, or says what stands in the way.
    pub(super) fn make(tasks: u64) -> Result<Self> {
        let wanted = tasks + running()? + SPARE;
        let threads_max = number(THREADS_MAX)?;
        ensure!(wanted <= threads_max, "{tasks} tasks do not fit: kernel.threads-max is {threads_max}");
        let available = available_kib(&read(Path::new(MEMINFO))?)?;
        let needed = tasks * TASK_KIB;
        ensure!(needed < available / 2, "{tasks} tasks may take {needed} KiB; {available} KiB are free");
        let before = read(Path::new(PID_MAX))?;
        if before.trim().parse::<u64>()? >= wanted {
            return Ok(Self { before: None });
        }
        let limit = wanted.next_power_of_two();
        if let Err(error) = fs::write(PID_MAX, limit.to_string()) {
            bail!(
                "{tasks} tasks do not fit: kernel.pid_max is {} and cannot be raised ({error})",
                before.trim()
            );
        }
        Ok(Self { before: Some(before) })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            drop(fs::write(PID_MAX, before));
        }
    }
}

fn number(path: &str) -> Result<u64> {
    read(Path::new(path))?.trim().parse().with_context(|| format!("{path} is no number"))
}

/// Tasks that there are.
fn running() -> Result<u64> {
    let loadavg = read(Path::new("/proc/loadavg"))?;
    let tasks = loadavg.split(' ').nth(3).and_then(|tasks| tasks.split_once('/')?.1.parse().ok());
    tasks.context("/proc/loadavg tells no number of tasks")
}

fn available_kib(meminfo: &str) -> Result<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.context("/proc/meminfo tells no MemAvailable")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_enough_for_little_and_not_for_everything() {
        assert!(Room::make(10).unwrap().before.is_none());
        let error = Room::make(100_000_000).unwrap_err().to_string();
        assert!(error.contains("kernel.threads-max"), "{error}");
        assert_eq!(available_kib("MemTotal: 9 kB\nMemAvailable:   24105 kB\n").unwrap(), 24105);
    }
}
