//! What demo and bench let procwatch watch: this program itself under another name, harmless, and gone as soon as the
//! one that started it closes its standard input or ends.

use std::{
    env,
    ffi::OsStr,
    io::{self, Read as _, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use nix::{
    sys::{
        prctl,
        signal::Signal,
        wait::{WaitStatus, waitpid},
    },
    unistd::{ForkResult, Gid, Uid, fork, pause, setgroups, setresgid, setresuid},
};

/// The name that tells a process of this program that it is a load. Short enough for a task's name.
pub(crate) const NAME: &str = "procwatch-demo";

/// Threads of a process above the floor of procwatch, and below the first level.
const CROWD: usize = 60;

/// Room for a thread that does nothing.
const STACK_BYTES: usize = 64 << 10;

/// A load, as its command line says it.
#[derive(Parser)]
#[command(name = NAME, disable_help_subcommand = true)]
struct Load {
    #[command(subcommand)]
    work: Work,
}

/// What a load does.
#[derive(Subcommand)]
enum Work {
    /// Creates this many threads, which sleep
    Explode {
        threads: usize,
        /// Wait for a byte before
        #[arg(long)]
        told: bool,
    },
    /// Makes this many processes, each with this many more threads, and says when all of them sleep
    Hold { processes: usize, threads: usize },
    /// Becomes this user, like su, and makes this many children at once, which sleep
    Stray { uid: u32, children: usize },
    /// Waits for a byte, becomes this user and runs a program, as `su` does
    Become { uid: u32, program: PathBuf, arguments: Vec<String> },
    /// Does one thing this many times and prints the ns that it took
    Time {
        operation: Operation,
        count: u32,
        /// Threads that sleep meanwhile in a process that is crowded
        #[arg(long, default_value_t = CROWD)]
        crowd: usize,
        /// Say when all is ready, wait for a byte before, and for the end afterwards
        #[arg(long)]
        told: bool,
    },
    /// Creates threads for this long, one after the other, and prints how many
    Storm {
        seconds: u64,
        /// Threads a second, evenly; as many as possible when nothing is said
        #[arg(long)]
        rate: Option<u32>,
    },
    /// Keeps one CPU busy
    Spin,
}

/// What the agent could make slower for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Operation {
    /// Create a thread and join it.
    Thread,
    /// The same in a process that has so many others that its growth is watched.
    Crowded,
    /// Fork and wait for the child.
    Fork,
    /// Run /bin/true and wait for it.
    Exec,
}

impl Operation {
    /// As the command line and the tables name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Thread => "thread",
            Self::Crowded => "crowded",
            Self::Fork => "fork",
            Self::Exec => "exec",
        }
    }
}

/// A load that is to be started: it waits for, or ends with, its standard input.
pub(crate) fn command(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(env::current_exe().context("cannot find this program")?);
    command.arg0(NAME).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    Ok(command)
}

/// Does the work when this process was started as a load.
pub(crate) fn requested() -> Option<Result<()>> {
    let name = env::args_os().next()?;
    (Path::new(&name).file_name() == Some(OsStr::new(NAME))).then(|| work(&Load::parse().work))
}

fn work(work: &Work) -> Result<()> {
    // The kernel would name the process after the file.
    prctl::set_name(c"procwatch-demo")?;
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    match *work {
        Work::Explode { threads, told } => {
            if told {
                io::stdin().read_exact(&mut [0])?;
            }
            sleepers(threads)?;
            wait_for_end()
        }
        Work::Hold { processes, threads } => hold(processes, threads),
        Work::Stray { uid, children } => stray(uid, children),
        Work::Become { uid, ref program, ref arguments } => {
            take_on(uid)?;
            Err(Command::new(program).args(arguments).exec().into())
        }
        Work::Time { operation, count, crowd, told } => {
            if operation == Operation::Crowded {
                sleepers(crowd)?;
            }
            repeat(operation, count / 10)?;
            if told {
                say("ready")?;
                io::stdin().read_exact(&mut [0])?;
            }
            let begun = Instant::now();
            repeat(operation, count)?;
            say(begun.elapsed().as_nanos())?;
            if told { wait_for_end() } else { Ok(()) }
        }
        Work::Storm { seconds, rate } => say(storm(Duration::from_secs(seconds), rate)?),
        Work::Spin => {
            thread::spawn(|| {
                loop {
                    std::hint::spin_loop();
                }
            });
            wait_for_end()
        }
    }
}

/// Threads that do nothing until the process ends.
fn sleepers(count: usize) -> Result<()> {
    (0..count).try_for_each(|_| sleeper())
}

/// A thread that does nothing until the process ends.
fn sleeper() -> Result<()> {
    let builder = thread::Builder::new().stack_size(STACK_BYTES);
    builder
        .spawn(|| {
            loop {
                thread::park();
            }
        })
        .context("the machine has no room for another thread")?;
    Ok(())
}

fn wait_for_end() -> Result<()> {
    io::stdin().lock().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn say(figure: impl std::fmt::Display) -> Result<()> {
    writeln!(io::stdout(), "{figure}").context("nobody reads the figure")
}

/// Processes, and in each of them threads, that do nothing until this one ends.
fn hold(processes: usize, threads: usize) -> Result<()> {
    let (mut ready, mut is_ready) = io::pipe()?;
    for _ in 0..processes {
        // SAFETY: this process has one thread, so the child may do anything.
        if let ForkResult::Child = unsafe { fork() }? {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            sleepers(threads)?;
            is_ready.write_all(&[0])?;
            loop {
                pause();
            }
        }
    }
    drop(is_ready);
    ready.read_exact(&mut vec![0; processes])?;
    say(processes * (threads + 1))?;
    wait_for_end()
}

/// Waits for a byte, so that the caller can put this process where it belongs, then becomes this user.
fn take_on(uid: u32) -> Result<()> {
    io::stdin().read_exact(&mut [0])?;
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
    setgroups(&[])?;
    setresgid(group, group, group)?;
    setresuid(user, user, user)?;
    // A change of credentials takes it away.
    Ok(prctl::set_pdeathsig(Signal::SIGKILL)?)
}

fn stray(uid: u32, children: usize) -> Result<()> {
    take_on(uid)?;
    for _ in 0..children {
        // SAFETY: this process has one thread, so the child may do anything.
        if let ForkResult::Child = unsafe { fork() }? {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            loop {
                pause();
            }
        }
    }
    say(children)?;
    wait_for_end()
}

fn repeat(operation: Operation, count: u32) -> Result<()> {
    for _ in 0..count {
        match operation {
            Operation::Thread | Operation::Crowded => drop(thread::spawn(|| {}).join()),
            Operation::Fork => fork_and_wait()?,
            Operation::Exec => {
                let mut child = Command::new("/bin/true");
                ensure!(child.stdin(Stdio::null()).status()?.success(), "/bin/true failed");
            }
        }
    }
    Ok(())
}

fn fork_and_wait() -> Result<()> {
    // SAFETY: this process has one thread, so the child may do anything.
    match unsafe { fork() }? {
        ForkResult::Child => {
            // SAFETY: ends the process; nothing of this one's is left to be run by it.
            unsafe { nix::libc::_exit(0) }
        }
        ForkResult::Parent { child } => {
            let status = waitpid(child, None)?;
            ensure!(matches!(status, WaitStatus::Exited(_, 0)), "a child ended with {status:?}");
            Ok(())
        }
    }
}

fn storm(time: Duration, rate: Option<u32>) -> Result<u64> {
    let begun = Instant::now();
    let gap = rate.map(|rate| Duration::from_secs(1) / rate.max(1));
    let mut threads = 0;
    while begun.elapsed() < time {
        if let Some(gap) = gap {
            wait_until(begun + gap * threads as u32);
        }
        let builder = thread::Builder::new().stack_size(STACK_BYTES);
        drop(builder.spawn(|| {})?.join());
        threads += 1;
    }
    Ok(threads)
}

/// Sleeps, but no shorter than a sleep can be: a rate that is behind its time catches up.
fn wait_until(time: Instant) {
    const SHORTEST: Duration = Duration::from_micros(200);
    let left = time.saturating_duration_since(Instant::now());
    if left > SHORTEST {
        thread::sleep(left);
    }
}
