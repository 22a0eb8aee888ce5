//! `procwatch watch`: the stream.

use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use crate::{
    agent::{AgentError, report::Reporter, require_root, shutdown::Shutdown, stream::Stream},
    cgroup::{Mount, ResolvedCgroup, SliceRef, resolve},
    filter::{Filter, FilterArgs},
    kernel::{Kernel, Setup},
    sink::Format,
};

/// Arguments of `procwatch watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    #[command(flatten)]
    filter: FilterArgs,

    /// Write JSON lines (see `procwatch schema`)
    #[arg(long)]
    json: bool,

    /// Show the ancestors of each process
    #[arg(long)]
    lineage: bool,

    /// Do not cut long command lines and paths
    #[arg(long)]
    wide: bool,

    /// End after N events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// End after this time, such as 500ms, 10s, 5m, 1h
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,

    /// Size of the ring between kernel and agent in KiB, a power of two: larger loses less under load
    #[arg(long, value_name = "N", default_value_t = 8192, value_parser = ring_size)]
    ring_kib: u32,
}

/// Shows events until told to end.
///
/// # Errors
/// When it cannot start, or when the kernel side or the output fails.
pub async fn run(args: &WatchArgs) -> Result<(), AgentError> {
    let filter = Filter::from_args(&args.filter).map_err(|error| AgentError::Usage(error.to_string()))?;
    require_root("watch")?;
    let mount = Mount::find()?;
    let cgroup = args.filter.cgroup.as_deref().map(|path| find_cgroup(&mount, path)).transpose()?;
    let mut shutdown = Shutdown::new().map_err(AgentError::io("signal handlers"))?;
    let report = Reporter::new(Format::of(args.json, args.wide), &mount)?;
    let ring_bytes = args.ring_kib << 10;
    let kernel = Kernel::load(Setup { stream_bytes: ring_bytes })?;

    let mut stream = Stream::new(kernel, filter, report, args.lineage, args.count)?;
    stream.open(ring_bytes, cgroup.as_ref())?;
    let end = args.duration.map(|duration| Instant::now() + duration);
    stream.follow(&mut shutdown, end).await?;
    stream.close().await
}

fn find_cgroup(mount: &Mount, path: &str) -> Result<ResolvedCgroup, AgentError> {
    let slice = SliceRef::parse(path).map_err(|error| AgentError::Usage(format!("--cgroup: {error}")))?;
    resolve(mount, &slice)
        .map_err(|source| AgentError::Slice { context: "--cgroup".to_owned(), source: source.into() })
}

/// A number with its unit.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("a number with its unit is needed: 500ms, 10s, 5m or 1h".to_owned()),
    };
    let number: u64 = number.parse().map_err(|error| format!("{number:?}: {error}"))?;
    match number.checked_mul(factor) {
        Some(ms) if (1..=u64::from(u32::MAX)).contains(&ms) => Ok(Duration::from_millis(ms)),
        _ => Err("must be from 1ms to 1193h".to_owned()),
    }
}

/// The kernel takes powers of two from a page upwards.
fn ring_size(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(kib) if (4..=1 << 20).contains(&kib) && u32::is_power_of_two(kib) => Ok(kib),
        _ => Err("must be a power of two from 4 to 1048576".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_bounds() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2h"), Ok(Duration::from_hours(2)));
        for bad in ["", "10", "s", "0s", "-1s", "1d", "99999999999h", "1.5s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rings_are_powers_of_two() {
        assert_eq!(ring_size("64"), Ok(64));
        for bad in ["", "0", "2", "65", "-4", "2097152", "x"] {
            assert!(ring_size(bad).is_err(), "{bad}");
        }
    }
}
