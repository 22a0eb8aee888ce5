//! `procwatch watch`: the stream.

use clap::Args;
use tokio::time::Instant;

use super::show::ShowArgs;
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

    #[command(flatten)]
    show: ShowArgs,

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
    let cgroup = args.filter.who.cgroup.as_deref().map(|path| find_cgroup(&mount, path)).transpose()?;
    let mut shutdown = Shutdown::new().map_err(AgentError::io("signal handlers"))?;
    let report = Reporter::new(Format::of(args.show.json, args.show.wide), &mount)?;
    let ring_bytes = args.ring_kib << 10;
    let kernel = Kernel::load(Setup { stream_bytes: ring_bytes, hold: false, cap: false, pin: false })?;

    let mut stream =
        Stream::new(kernel, ring_bytes, &mount, filter, report, args.show.lineage, args.show.count)?;
    stream.open(cgroup.as_ref())?;
    let end = args.show.duration.map(|duration| Instant::now() + duration);
    stream.follow(&mut shutdown, end).await?;
    stream.close().await
}

pub(super) fn find_cgroup(mount: &Mount, path: &str) -> Result<ResolvedCgroup, AgentError> {
    let slice = SliceRef::parse(path).map_err(|error| AgentError::Usage(format!("--cgroup: {error}")))?;
    resolve(mount, &slice)
        .map_err(|source| AgentError::Slice { context: "--cgroup".to_owned(), source: source.into() })
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
    fn rings_are_powers_of_two() {
        assert_eq!(ring_size("64"), Ok(64));
        for bad in ["", "0", "2", "65", "-4", "2097152", "x"] {
            assert!(ring_size(bad).is_err(), "{bad}");
        }
    }
}
