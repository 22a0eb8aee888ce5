//! What people would use instead of procwatch. Each comes from a package; one that cannot run is named with the reason.

use std::{
    fs,
    io::{Read as _, Seek as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::account;
use crate::{caller, exec, interrupt, load, tools, workspace::Workspace};

/// How long one may take to stand, or to end.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often a wait looks.
const TICK: Duration = Duration::from_millis(20);
/// What is left to be done after its last program, or by one that has none, is not visible from outside.
const SETTLE: Duration = Duration::from_millis(700);

/// The psutil that the polling is done with.
const PSUTIL: &str = "psutil==7.2.2";
/// The polling.
const POLL: &str = include_str!("poll.py");

/// The fields of procwatch's stream, as far as bpftrace reaches them.
const BPFTRACE: &str = r#"
tracepoint:task:task_newtask {
  $t = (struct task_struct *)curtask;
  printf("%llu %s %d %d %d %d %d %s %d %llu %llu\n", nsecs, args->clone_flags & 0x10000 ? "thread" : "fork",
    pid, args->pid, $t->real_parent->tgid, uid, $t->real_cred->euid.val, args->comm, $t->signal->nr_threads,
    $t->group_leader->start_boottime, cgroup);
}
tracepoint:sched:sched_process_exec {
  $t = (struct task_struct *)curtask;
  printf("%llu exec %d %d %d %d %s %s %s %llu %llu\n", nsecs, pid, $t->real_parent->tgid, uid,
    $t->real_cred->euid.val, comm, str(args->filename), str(uptr($t->mm->arg_start)),
    $t->group_leader->start_boottime, cgroup);
}
tracepoint:sched:sched_process_exit {
  $t = (struct task_struct *)curtask;
  printf("%llu exit %d %d %d %d %d %s %d %d %llu %llu\n", nsecs, pid, tid, $t->real_parent->tgid, uid,
    $t->real_cred->euid.val, comm, $t->exit_code, $t->signal->live.counter,
    $t->group_leader->start_boottime, cgroup);
}
"#;

/// The kernel's account has its own price: what it charges for these is paid for looking at the clock.
const NOTHING: &str = "tracepoint:task:task_newtask { } tracepoint:sched:sched_process_exec { } tracepoint:sched:sched_process_exit { }";

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// What it is called in the tables.
    pub(super) name: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    /// What the command is shown as, where its arguments are too long for that.
    shown: &'static str,
    /// Where it comes from.
    from: Source,
    /// BPF programs that it has when it stands.
    pub(super) programs: usize,
}

/// Where a peer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// A package of the distribution.
    Package(&'static str),
    /// [`PSUTIL`], next to the figures.
    Psutil,
}

/// All of them.
pub(super) const PEERS: [Peer; 7] = [
    Peer {
        name: "forkstat",
        program: "forkstat",
        arguments: &["-e", "fork,exec,exit,clone,comm,uid"],
        shown: "forkstat -e fork,exec,exit,clone,comm,uid > /dev/null",
        from: Source::Package("forkstat"),
        programs: 0,
    },
    Peer {
        name: "bpftrace",
        program: "bpftrace",
        arguments: &["-e", BPFTRACE],
        shown: "bpftrace -e '…' > /dev/null   # the same fields at task_newtask, sched_process_exec and _exit",
        from: Source::Package("bpftrace"),
        programs: 3,
    },
    Peer {
        name: "execsnoop",
        program: "execsnoop",
        arguments: &[],
        shown: "execsnoop > /dev/null   # libbpf-tools; execs only",
        from: Source::Package("libbpf-tools"),
        programs: 2,
    },
    Peer {
        name: "threadsnoop",
        program: "threadsnoop-bpfcc",
        arguments: &[],
        shown: "threadsnoop-bpfcc > /dev/null   # bpfcc-tools; pthread_create of one library only",
        from: Source::Package("bpfcc-tools"),
        programs: 1,
    },
    psutil("psutil, 1 s", &["1", load::NAME, "80"]),
    psutil("psutil, 0.1 s", &["0.1", load::NAME, "80"]),
    Peer {
        name: "programs that do nothing",
        program: "bpftrace",
        arguments: &["-e", NOTHING],
        shown: "bpftrace -e 'tracepoint:task:task_newtask { } …'   # what the kernel's account charges for nothing",
        from: Source::Package("bpftrace"),
        programs: 3,
    },
];

const fn psutil(name: &'static str, arguments: &'static [&'static str]) -> Peer {
    Peer {
        name,
        program: "python3",
        arguments,
        shown: "python3 poll.py INTERVAL > /dev/null   # psutil: all processes, again and again",
        from: Source::Psutil,
        programs: 0,
    }
}

/// The one that polls once a second.
pub(super) const POLLER: Peer = PEERS[4];

impl Peer {
    /// Finds it, or installs it when that is allowed.
    pub(super) fn prepare(&self, install: bool) -> Result<()> {
        match self.from {
            Source::Package(package) if install => {
                tools::package(self.program, package, "the benchmark compares with it")
            }
            Source::Package(package) if !tools::is_on_path(self.program) => {
                bail!("not installed (package {package}; the full benchmark installs it)")
            }
            Source::Package(_) => Ok(()),
            Source::Psutil => prepare_psutil(install),
        }
    }

    /// The command as a person would type it.
    pub(super) const fn shown(&self) -> &'static str {
        self.shown
    }

    fn command(&self) -> Result<Command> {
        let mut command = Command::new(self.program);
        if self.from == Source::Psutil {
            command.args(["-c", POLL]).env("PYTHONPATH", python_folder()?);
        }
        command.args(self.arguments).stdin(Stdio::null());
        Ok(command)
    }

    /// Starts it, with its output thrown away, and waits until it stands.
    pub(super) fn start(&self) -> Result<Running> {
        self.start_with(Stdio::null())
    }

    /// Starts it and leaves its output to the caller.
    pub(super) fn start_piped(&self) -> Result<(Running, ChildStdout)> {
        let mut running = self.start_with(Stdio::piped())?;
        let output = running.child.stdout.take().context("the peer's pipe is gone")?;
        Ok((running, output))
    }

    fn start_with(&self, output: Stdio) -> Result<Running> {
        let mut complaints = tempfile::tempfile().context("cannot make a file for complaints")?;
        let mut command = self.command()?;
        // A group of its own: Ctrl-C is for this program, which then ends it.
        command.stdout(output).stderr(complaints.try_clone()?).process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {}", self.program))?;
        let mut running = Running { child };
        let end = Instant::now() + PATIENCE;
        loop {
            interrupt::check()?;
            if let Some(status) = running.child.try_wait()? {
                let mut text = String::new();
                complaints.rewind()?;
                complaints.read_to_string(&mut text)?;
                bail!("it ended at once ({status}): {}", reason(&text));
            }
            if account::programs(&running.proc()).is_ok_and(|loaded| loaded.len() >= self.programs) {
                thread::sleep(SETTLE);
                if running.child.try_wait()?.is_none() {
                    return Ok(running);
                }
            } else if Instant::now() > end {
                bail!("it has not all of its programs in the kernel after {PATIENCE:?}");
            } else {
                thread::sleep(TICK);
            }
        }
    }
}

/// The line that says why, of what a peer wrote before it ended.
fn reason(text: &str) -> String {
    const TELLING: [&str; 5] = ["headers", "/lib/modules", "ERROR", "rror:", "Exception"];
    let telling = TELLING.iter().find_map(|word| text.lines().find(|line| line.contains(word)));
    let line = telling.unwrap_or_else(|| exec::gist(text)).trim();
    // Other programs' text goes into a table.
    line.chars().filter(|char| !char.is_control() && *char != '|').take(160).collect()
}

fn python_folder() -> Result<PathBuf> {
    Ok(Workspace::locate()?.target.join("bench").join("python"))
}

/// psutil where python3 finds it by itself, or in a folder next to the figures.
fn prepare_psutil(install: bool) -> Result<()> {
    let folder = python_folder()?;
    let is_there = |folder: &Path| {
        exec::succeeds(Command::new("python3").args(["-c", "import psutil"]).env("PYTHONPATH", folder))
    };
    if is_there(&folder) {
        return Ok(());
    }
    if !install {
        bail!("not installed (psutil from PyPI; the full benchmark installs it)");
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    caller::hand_over(&folder)?;
    let mut pip = caller::command("python3")?;
    exec::read(pip.args(["-m", "pip", "install", "--quiet", "--target"]).arg(&folder).arg(PSUTIL))?;
    if !is_there(&folder) {
        bail!("python3 does not find psutil though pip has installed it");
    }
    Ok(())
}

/// One that runs. Ended when this is dropped.
pub(super) struct Running {
    child: Child,
}

impl Running {
    /// Its folder in /proc.
    pub(super) fn proc(&self) -> PathBuf {
        Path::new("/proc").join(self.child.id().to_string())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; its pid is its own until it is waited for.
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        // Asked first: some undo what they changed in the kernel.
        let _ = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT);
        let end = Instant::now() + Duration::from_secs(3);
        while Instant::now() < end {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(TICK);
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Where tracepoints are looked up by peers; mounted while this lives, where it was not before.
pub(super) struct Tracefs {
    mounted: bool,
}

impl Tracefs {
    const PATH: &str = "/sys/kernel/tracing";

    /// Mounts it if need be. A machine that refuses lets the peers say so.
    pub(super) fn open() -> Self {
        let is_there = Path::new(Self::PATH).join("events").exists();
        let mount = || exec::succeeds(Command::new("mount").args(["-t", "tracefs", "tracefs", Self::PATH]));
        Self { mounted: !is_there && mount() }
    }
}

impl Drop for Tracefs {
    fn drop(&mut self) {
        if self.mounted {
            exec::succeeds(Command::new("umount").arg(Self::PATH));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_says_why_is_found() {
        let bcc =
            "modprobe: FATAL: x\nUnable to find kernel headers. Try rebuilding\nTraceback\nException: Failed";
        assert_eq!(reason(bcc), "Unable to find kernel headers. Try rebuilding");
        assert_eq!(reason("one\nlast | line\n"), "last  line");
        assert_eq!(reason(""), "");
    }

    #[test]
    fn the_poller_polls_once_a_second() {
        assert_eq!((POLLER.name, POLLER.arguments[0]), ("psutil, 1 s", "1"));
    }
}
