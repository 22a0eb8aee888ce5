//! `procwatch run`: the agent.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Args;
use tokio::time::sleep;

use crate::{
    agent::{
        AgentError,
        feed::Feed,
        guard::Guard,
        inbox::Inbox,
        orders::{Orders, describe, hasten_moves},
        outputs::{Outputs, Wanted},
        placing::{Placer, backend, wants_hold},
        priority::Priority,
        report::Reporter,
        require_root,
        shutdown::Shutdown,
        workers,
    },
    cgroup::{FavorError, Mount},
    config::Pin,
    kernel::{Kernel, Setup},
    lock::{AGENT_LOCK, AgentLock},
    memory,
    record::{HealthTopic, Mode},
    rulebook::RuleBook,
    service::{Watchdog, notify},
    sink::Format,
};

/// The stream ring where there is no socket, bytes: nobody can listen, so it is as small as it can be.
const UNUSED_STREAM_BYTES: u32 = 4096;

/// Arguments of `procwatch run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Configuration; without it /etc/procwatch/procwatch.toml and procwatch.d, or the built-in defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Record decisions only, or carry them out; overrides the configuration
    #[arg(long, value_name = "MODE")]
    mode: Option<ModeArg>,

    /// How soon the agent runs when the kernel wakes it
    #[arg(long, value_name = "PRIORITY", default_value = "realtime")]
    priority: Priority,

    /// Write JSON lines (see `procwatch schema`)
    #[arg(long)]
    json: bool,
}

/// [`Mode`] on the command line.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ModeArg {
    /// Nothing is touched
    Observe,
    /// Decisions are carried out
    Enforce,
}

impl From<ModeArg> for Mode {
    fn from(mode: ModeArg) -> Self {
        match mode {
            ModeArg::Observe => Self::Observe,
            ModeArg::Enforce => Self::Enforce,
        }
    }
}

/// How long after the start the outputs have opened their files and written what was told of it: the code for that is
/// needed no more.
const SETTLED: Duration = Duration::from_secs(2);

/// Runs the agent until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start; nothing is changed then. Or when the kernel side or the output fails.
pub async fn run(args: &RunArgs) -> Result<(), AgentError> {
    let begun = Instant::now();
    memory::share_one_heap();
    let orders = Orders { file: args.config.clone(), mode: args.mode.map(Into::into) };
    let config = orders.read()?;
    require_root("run")?;
    let mount = Mount::find()?;
    let _lock = AgentLock::take(AGENT_LOCK.as_ref())?;
    let mut shutdown = Shutdown::new().map_err(AgentError::io("signal handlers"))?;
    let (mut inbox, asker, complaints) = Inbox::new().map_err(AgentError::io("signal handlers"))?;
    let mut outputs = Outputs::new(asker, complaints);
    let wanted = Wanted::all(&config);
    let format = if wanted.iter().any(Wanted::replaces_stdout) {
        Format::Silent
    } else {
        Format::of(args.json, false)
    };
    outputs.set(&wanted)?;
    let mut report = Reporter::new(format, &mount)?;
    let audience = outputs.audience();
    report.add_outputs(outputs);
    let stream_bytes = config.socket.as_ref().map_or(UNUSED_STREAM_BYTES, |socket| socket.ring_kib << 10);
    let mut kernel = Kernel::load(Setup {
        stream_bytes,
        hold: wants_hold(&config),
        cap: RuleBook::new(&config).with_caps().next().is_some(),
        pin: config.pin != Pin::Never,
    })?;
    let mut unavailable = kernel.unavailable().to_vec();
    let notes = kernel.notes().to_vec();

    // Last of all that can fail, because it may start units.
    let placer = Placer::new(&config, &mount, |rule| backend(&config, rule, &mount))?;
    unavailable.extend(placer.absent());
    unavailable.extend(audience.note());
    let moves = hasten_moves(&config, &mount);
    let described = describe(&config);
    let feed = Feed::new(&mut kernel, audience, stream_bytes)?;
    let mut guard = Guard::arm(kernel, (orders, config), mount, placer, (report, feed))?;
    let told = Start { begun, described, notes, unavailable, moves };
    if let Err(error) = work(&mut guard, args.priority, told, &mut shutdown, &mut inbox).await {
        notify::stopping();
        guard.give_up().await;
        return Err(error);
    }
    notify::stopping();
    guard.stop().await
}

/// What is told of the start.
struct Start {
    begun: Instant,
    described: String,
    notes: Vec<String>,
    unavailable: Vec<String>,
    moves: Result<String, FavorError>,
}

/// Tells of the start, and works until the order to end.
async fn work(
    guard: &mut Guard,
    priority: Priority,
    start: Start,
    shutdown: &mut Shutdown,
    inbox: &mut Inbox,
) -> Result<(), AgentError> {
    let Start { begun, described, notes, unavailable, moves } = start;
    for note in notes {
        guard.report().health(HealthTopic::Degraded, note)?;
    }
    for what in unavailable {
        guard.report().health(HealthTopic::Unavailable, what)?;
    }
    let priority = priority.apply();
    workers::hire().await;
    guard.begin()?;
    if let Err(error) = &moves {
        guard.report().health(HealthTopic::Degraded, error.to_string())?;
    }
    let armed = format!(
        "armed in {} ms: {}{}{}; priority {}",
        begun.elapsed().as_millis(),
        described,
        moves.unwrap_or_default(),
        guard.heritage().unwrap_or_default(),
        priority.name()
    );
    guard.armed(begun.elapsed());
    guard.report().health(HealthTopic::Armed, &*armed)?;
    notify::ready(&armed);
    tokio::spawn(async {
        sleep(SETTLED).await;
        memory::give_back_code();
    });
    let mut watchdog = Watchdog::from_env();
    guard.run(shutdown, inbox, &mut watchdog).await
}
