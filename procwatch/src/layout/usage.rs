//! How busy each CPU is.

use std::{collections::BTreeMap, fs, path::Path, thread, time::Duration};

use serde::Serialize;

use super::LayoutError;
use crate::{config::LayoutRule, cpus::CpuSet};

const STAT: &str = "/proc/stat";

/// What the CPUs did over a while.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Usage {
    /// How long was looked, s.
    pub seconds: u64,
    /// Each CPU that was on all the time.
    pub cpus: Vec<CpuUsage>,
    /// Each slice of the layout.
    pub slices: Vec<SliceUsage>,
}

/// One CPU.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CpuUsage {
    /// Its number.
    pub cpu: u32,
    /// How much of the time it was not idle, %.
    pub percent: f64,
}

/// The CPUs that a slice is to have, whoever uses them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SliceUsage {
    /// The slice as written.
    pub slice: String,
    /// Its CPUs.
    pub cpus: CpuSet,
    /// Mean over those of its CPUs that are on, %; absent when none is.
    pub mean_percent: Option<f64>,
}

/// What a CPU has done since boot, in clock ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ticks {
    busy: u64,
    all: u64,
}

/// Looks for so long.
///
/// # Errors
/// When the kernel's account cannot be read.
pub fn measure(rules: &[LayoutRule], seconds: u64) -> Result<Usage, LayoutError> {
    let account = || {
        let file = Path::new(STAT);
        fs::read_to_string(file).map(|text| parse(&text)).map_err(|error| LayoutError::at(file, error))
    };
    let before = account()?;
    thread::sleep(Duration::from_secs(seconds));
    Ok(between(rules, seconds, &before, &account()?))
}

/// `cpu3 user nice system idle iowait irq softirq steal guest guest_nice`. CPUs that are off are missing; time of guests
/// is part of `user` and `nice`.
fn parse(stat: &str) -> BTreeMap<u32, Ticks> {
    let cpu = |line: &str| {
        let mut words = line.strip_prefix("cpu")?.split_ascii_whitespace();
        let number = words.next()?.parse().ok()?;
        let ticks: Vec<u64> = words.take(8).map(|word| word.parse().unwrap_or(0)).collect();
        let all = ticks.iter().sum();
        let idle: u64 = ticks.iter().skip(3).take(2).sum();
        Some((number, Ticks { busy: all - idle, all }))
    };
    // The first line is that of all together, and has no number.
    stat.lines().filter(|line| !line.starts_with("cpu ")).filter_map(cpu).collect()
}

fn between(
    rules: &[LayoutRule],
    seconds: u64,
    before: &BTreeMap<u32, Ticks>,
    after: &BTreeMap<u32, Ticks>,
) -> Usage {
    let cpus: Vec<CpuUsage> = after
        .iter()
        .filter_map(|(cpu, after)| {
            let before = before.get(cpu)?;
            // The kernel's count of idle time may step back a little.
            let all = after.all.saturating_sub(before.all);
            let busy = after.busy.saturating_sub(before.busy).min(all);
            let percent = if all == 0 { 0.0 } else { 100.0 * busy as f64 / all as f64 };
            Some(CpuUsage { cpu: *cpu, percent })
        })
        .collect();
    let slice = |rule: &LayoutRule| {
        let own: Vec<f64> =
            cpus.iter().filter(|one| rule.cpus.contains(one.cpu)).map(|one| one.percent).collect();
        let mean = (!own.is_empty()).then(|| own.iter().sum::<f64>() / own.len() as f64);
        SliceUsage { slice: rule.slice.to_string(), cpus: rule.cpus.clone(), mean_percent: mean }
    };
    let slices = rules.iter().map(slice).collect();
    Usage { seconds, cpus, slices }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::judge::tests::rule;

    const BEFORE: &str = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 100 0 0 100 0 0 0 0 50 0\ncpu1 0 0 0 200 0 0 0 0 0 0\n\
        cpu2 1 1 1 1 1 1 1 1\nintr 1 2 3\n";
    // cpu2 went off, cpu3 came on.
    const AFTER: &str = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 130 10 10 140 10 0 0 0 99 0\ncpu1 0 0 0 300 0 0 0 0 0 0\n\
        cpu3 1 1 1 1 1 1 1 1\nctxt 5\n";

    #[test]
    fn a_slice_is_as_busy_as_its_cpus_in_the_mean() {
        let rules = [rule("a.slice", "0-1"), rule("b.slice", "1,3"), rule("c.slice", "2-3")];
        let usage = between(&rules, 2, &parse(BEFORE), &parse(AFTER));
        assert_eq!(usage.cpus, [CpuUsage { cpu: 0, percent: 50.0 }, CpuUsage { cpu: 1, percent: 0.0 }]);
        let means: Vec<_> = usage.slices.iter().map(|slice| slice.mean_percent).collect();
        assert_eq!(means, [Some(25.0), Some(0.0), None]);
    }

    #[test]
    fn odd_accounts_do_no_harm() {
        assert!(parse("").is_empty() && parse("cpu\ncpux 1\n").is_empty());
        assert_eq!(parse("cpu7\ncpu8 x y\n").values().copied().collect::<Vec<_>>(), [Ticks::default(); 2]);
        let back = between(&[], 1, &parse(AFTER), &parse(BEFORE));
        assert!(back.cpus.iter().all(|one| one.percent == 0.0));
    }

    #[test]
    fn this_machine_is_measured() {
        let usage = measure(&[rule("a.slice", "0-8191")], 0).unwrap();
        assert!(!usage.cpus.is_empty() && usage.slices[0].mean_percent.is_some());
    }
}
