//! CPU time of a process, to the nanosecond where the kernel keeps it so.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use super::idle;

/// CPU time so far of the threads of the process in `proc` that live, ns.
pub(super) fn spent_ns(proc: &Path) -> Result<f64> {
    let folder = proc.join("task");
    let tasks = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    // A thread may end between the two.
    let texts = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("schedstat")).ok());
    let times: Vec<u64> = texts.filter_map(|text| on_cpu_ns(&text)).collect();
    if times.is_empty() {
        // A kernel without CONFIG_SCHED_INFO counts in ticks.
        return Ok(idle::cpu_seconds(proc)? * 1e9);
    }
    Ok(times.iter().sum::<u64>() as f64)
}

/// The first number of a schedstat.
fn on_cpu_ns(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_on_the_cpu_is_the_first_number() {
        assert_eq!(on_cpu_ns("122979041 180614834 50\n"), Some(122_979_041));
        assert_eq!(on_cpu_ns(""), None);
        assert!(spent_ns(Path::new("/proc/self")).unwrap() > 0.0);
    }
}
