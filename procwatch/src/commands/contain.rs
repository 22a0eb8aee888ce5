//! `procwatch contain`: one thing done to one process, by hand.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::act::Output;
use crate::{
    agent::AgentError,
    cgroup::Mount,
    config,
    execute::contain::{Order, Warden, target::Target},
    record::{ActResult, Mode, Occasion},
    users::UserNames,
};

/// Arguments of `procwatch contain`.
#[derive(Debug, Args)]
pub struct ContainArgs {
    /// The process
    #[arg(value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pid: u32,

    /// What is done to it
    #[command(subcommand)]
    action: ActionArg,

    /// Write one JSON line (see `procwatch schema`)
    #[arg(long, global = true)]
    json: bool,
}

/// [`Order`] on the command line.
#[derive(Clone, Copy, Debug, Subcommand)]
enum ActionArg {
    /// Limit its CPU time (cpu.max)
    Throttle {
        /// Percent of one CPU
        #[arg(value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=10_000))]
        percent: u32,
    },
    /// Freeze it (cgroup freezer)
    Freeze,
    /// Thaw it
    Thaw,
    /// Limit its threads (pids.max); without a number to as many as it has now
    Cap {
        /// Most threads
        #[arg(value_name = "THREADS", value_parser = clap::value_parser!(u32).range(1..))]
        threads: Option<u32>,
    },
    /// Stop it (SIGSTOP)
    Stop,
    /// Ask it to end (SIGTERM), and wait up to 10 s for that
    Terminate,
    /// Restart the service that it is the main process of
    Restart,
    /// End it (SIGKILL)
    Kill,
}

impl From<ActionArg> for Order {
    fn from(action: ActionArg) -> Self {
        match action {
            ActionArg::Throttle { percent } => Self::Throttle { percent },
            ActionArg::Freeze => Self::Freeze,
            ActionArg::Thaw => Self::Thaw,
            ActionArg::Cap { threads } => Self::Cap { threads },
            ActionArg::Stop => Self::Stop,
            ActionArg::Terminate => Self::Terminate,
            ActionArg::Restart => Self::Restart,
            ActionArg::Kill => Self::Kill,
        }
    }
}

/// Does it, and tells what came of it. The exit code: 0 for done and verified, 1 for anything else.
///
/// # Errors
/// When the caller is not root, the configuration that says whom nothing is done to is wrong, nobody bears the pid, or
/// standard output fails.
pub fn run(args: &ContainArgs) -> Result<ExitCode, AgentError> {
    super::act::require_root("contain")?;
    let protect = config::load(None)?.protect;
    let mount = Mount::find()?;
    let warden = Warden::new(&mount, protect);
    let Some(target) = Target::of_pid(args.pid) else {
        return Err(AgentError::Usage(format!("there is no process {}", args.pid)));
    };
    let order = Order::from(args.action);
    // As it was before: it may have ended after it.
    let process = target.record(&mut UserNames::new(), &mount);
    let done = warden.perform(order, &target, true);
    let act = done.act(order, process, None, Occasion::Hand, Mode::Enforce);
    let is_done = act.result == ActResult::Verified;
    let mut output = Output::new(args.json)?;
    output.act(act)?;
    Ok(ExitCode::from(u8::from(!is_done)))
}
