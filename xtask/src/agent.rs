//! A procwatch that a task has started: its lines as they come, and its end.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{exec, interrupt};

/// How long it may take to stand or to end.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a wait looks whether it was interrupted.
const TICK: Duration = Duration::from_millis(20);

/// The running program. Ended when this is dropped.
pub(crate) struct Agent {
    child: Child,
    shown: String,
    lines: Receiver<String>,
}

impl Agent {
    /// Starts it and reads its lines.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let shown = exec::show(command);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {shown}"))?;
        let output = child.stdout.take().context("the agent's pipe is gone")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.for_each(|line| drop(sender.send(line)));
        });
        Ok(Self { child, shown, lines })
    }

    /// Starts it with its output thrown away; returns when its programs are attached.
    pub(crate) fn start_unheard(command: &mut Command) -> Result<Self> {
        Self::start_into(command, Stdio::null())
    }

    /// Starts it with its output going there; returns when its programs are attached.
    pub(crate) fn start_into(command: &mut Command, output: Stdio) -> Result<Self> {
        Self::start_attached(command.stdout(output))
    }

    /// Starts it and leaves its output to the caller; returns when its programs are attached.
    pub(crate) fn start_piped(command: &mut Command) -> Result<(Self, ChildStdout)> {
        let mut agent = Self::start_attached(command.stdout(Stdio::piped()))?;
        let output = agent.child.stdout.take().context("the agent's pipe is gone")?;
        Ok((agent, output))
    }

    fn start_attached(command: &mut Command) -> Result<Self> {
        let shown = exec::show(command);
        let child = command.stdin(Stdio::null()).spawn().with_context(|| format!("cannot start {shown}"))?;
        let (_, lines) = mpsc::channel();
        let mut agent = Self { child, shown, lines };
        agent.wait_for_programs()?;
        Ok(agent)
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its folder in /proc.
    pub(crate) fn proc(&self) -> PathBuf {
        Path::new("/proc").join(self.pid().to_string())
    }

    /// The next line, if one comes before `end`.
    pub(crate) fn line_before(&mut self, end: Instant) -> Result<Option<String>> {
        loop {
            interrupt::check()?;
            match self.lines.recv_timeout(TICK) {
                Ok(line) => return Ok(Some(line)),
                Err(RecvTimeoutError::Timeout) if Instant::now() < end => {}
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => bail!("{} has ended", self.shown),
            }
        }
    }

    /// Passes lines to `look` until it says that this was the last one wanted. False when time is up before.
    pub(crate) fn until(&mut self, time: Duration, mut look: impl FnMut(&str) -> bool) -> Result<bool> {
        let end = Instant::now() + time;
        while let Some(line) = self.line_before(end)? {
            if look(&line) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Waits until its programs are attached, for one whose lines nobody reads.
    fn wait_for_programs(&mut self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            interrupt::check()?;
            if let Some(status) = self.child.try_wait()? {
                bail!("{} has ended ({status})", self.shown);
            }
            let attached = crate::bench::account::attached(&self.proc()).unwrap_or_default();
            if attached >= 4 {
                // What is left to be done after the last program is not visible from outside.
                thread::sleep(Duration::from_millis(500));
                return Ok(());
            }
            thread::sleep(TICK);
        }
        bail!("{} has no programs in the kernel after {PATIENCE:?}", self.shown)
    }

    /// Tells it to end, passes what it still says to `look`, and expects it to end well.
    pub(crate) fn stop(mut self, mut look: impl FnMut(&str)) -> Result<()> {
        let status = self.end()?;
        self.lines.iter().for_each(|line| look(&line));
        ensure!(status.success(), "{} failed ({status})", self.shown);
        Ok(())
    }

    fn end(&mut self) -> Result<ExitStatus> {
        // It may have ended by itself; its pid is its own until it is waited for.
        if self.child.try_wait()?.is_none() {
            kill(Pid::from_raw(self.pid() as i32), Signal::SIGTERM)?;
        }
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(TICK);
        }
        self.child.kill()?;
        bail!("{} had to be killed: it did not end within {PATIENCE:?}", self.shown)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.end());
    }
}

/// Processes that end with this, however it ends.
pub(crate) struct Ending(pub(crate) Child);

impl Drop for Ending {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A file of /proc or cgroupfs, with its name in the error.
pub(crate) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
