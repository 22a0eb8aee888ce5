//! `procwatch watch`: the stream.

use std::{io::IsTerminal, time::Duration};

use clap::Args;
use procwatch_common::{
    policy::{CgroupCell, FILTER_CGROUP, FILTER_CHILDREN, FILTER_COMM, FILTER_PID, FILTER_UID},
    wire::Kind,
};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    agent::{
        AgentError,
        guard::arm_levels,
        output::Reader,
        report::Reporter,
        require_root,
        shutdown::Shutdown,
    },
    cgroup::{Mount, ResolvedCgroup, SliceRef, resolve},
    config::Config,
    detect::{Decision, Detector, levels::Levels},
    event::{Body, Event, Subject},
    filter::{Filter, FilterArgs},
    kernel::{Kernel, RingReader, Setup, object::StreamFilter, picture},
    record::{self, HealthTopic, Ring, Summary},
    sink::Format,
    table::ProcessTable,
};

/// Shortest time between two wake-ups by the stream. A record waits no longer than this before it is shown.
const WAKE: Duration = Duration::from_millis(20);

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

    /// End after this time, such as 500ms, 10s, 5m
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,

    /// Size of the ring between kernel and agent, MiB: a power of two
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = power_of_two)]
    ring_mib: u32,
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
    let report = Reporter::new(args.format(), &mount)?;
    let mut kernel = Kernel::load(Setup { stream_bytes: args.ring_mib << 20 })?;
    let (stream, urgent) = (kernel.stream()?, kernel.urgent()?);

    let mut watch = Watch {
        lineage: args.lineage.then(ProcessTable::new),
        kernel,
        stream,
        urgent,
        filter,
        levels: Levels::new(Config::default().levels),
        report,
        limit: args.count.unwrap_or(u64::MAX),
    };
    watch.open(args, cgroup)?;
    let begun = Instant::now();
    let deadline = args.duration.map(|duration| begun + duration);
    let reader = watch.follow(&mut shutdown, deadline).await?;
    if reader == Reader::There { watch.close(begun, &mut shutdown).await } else { Ok(()) }
}

impl WatchArgs {
    fn format(&self) -> Format {
        if self.json {
            return Format::Json;
        }
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Format::human(self.wide, colour)
    }
}

struct Watch {
    kernel: Kernel,
    stream: RingReader,
    urgent: RingReader,
    filter: Filter,
    levels: Levels,
    report: Reporter,
    /// Kept only for `--lineage`.
    lineage: Option<ProcessTable>,
    /// Events still to be shown.
    limit: u64,
}

impl Watch {
    /// Sets the filters, takes the first picture and opens the gate.
    fn open(&mut self, args: &WatchArgs, cgroup: Option<ResolvedCgroup>) -> Result<(), AgentError> {
        for what in self.kernel.unavailable().to_vec() {
            self.report.health(HealthTopic::Unavailable, what)?;
        }
        self.filter.set_cgroup(cgroup.as_ref().map(|cgroup| cgroup.path.clone()));
        // A lineage needs every fork, exec and exit: then only the agent's side filters.
        if self.lineage.is_none() {
            self.limit_in_kernel(cgroup.as_ref())?;
        }
        if args.filter.children {
            self.adopt_children()?;
        }
        if self.filter.wants_alerts() {
            arm_levels(&mut self.kernel, &Config::default().levels)?;
        }
        let kinds = self.filter.kinds_mask() | self.lineage.as_ref().map_or(0, |_| LIFE_CYCLE);
        let half_full = u64::from(args.ring_mib) << 19;
        self.kernel.steer(|control| {
            control.stream_wake_ns = WAKE.as_nanos() as u32;
            control.stream_wake_bytes = half_full;
            control.stream_kinds = kinds;
        })?;
        // The gate is open before the picture is taken: what happens meanwhile waits in the ring, and the table knows
        // a process that both tell of by its pid and start.
        if let Some(table) = &mut self.lineage {
            let subjects: Vec<Subject> = self.kernel.picture()?.iter().map(picture::subject).collect();
            table.add_picture(&subjects);
        }
        Ok(())
    }

    fn limit_in_kernel(&mut self, cgroup: Option<&ResolvedCgroup>) -> Result<(), AgentError> {
        let filter = &self.filter;
        let flag = |set: bool, flag| if set { flag } else { 0 };
        self.kernel.limit_stream(&StreamFilter {
            flags: flag(!filter.uids().is_empty(), FILTER_UID)
                | flag(!filter.comms().is_empty(), FILTER_COMM)
                | flag(!filter.pids().is_empty(), FILTER_PID)
                | flag(filter.children(), FILTER_CHILDREN)
                | flag(cgroup.is_some(), FILTER_CGROUP),
            uids: filter.uids().to_vec(),
            comms: filter.comms().to_vec(),
            pids: filter.pids().to_vec(),
        })?;
        if let Some(ResolvedCgroup { id, depth, .. }) = *cgroup.as_ref().unwrap_or(&&ResolvedCgroup::default()) {
            self.kernel.steer(|control| control.cgroup = CgroupCell { id, depth, pad: 0 })?;
        }
        Ok(())
    }
}
