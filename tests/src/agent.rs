//! The agent under test: the real binary, started as people start it.

use std::{
    env,
    ffi::OsStr,
    fmt::Write as _,
    io::{BufRead as _, BufReader, Read as _},
    path::PathBuf,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{
    BACKSTOP, until,
    values::{kinds, text},
};

/// The binary that `cargo xtask test` has built.
pub fn binary() -> PathBuf {
    env::var_os("PROCWATCH_BIN").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release/procwatch")),
        PathBuf::from,
    )
}

fn command<S: AsRef<OsStr>>(args: &[S]) -> Command {
    let mut command = Command::new(binary());
    command.args(args).stdin(Stdio::null());
    command
}

/// What a call that ends by itself came to.
#[derive(Debug)]
pub struct Refusal {
    /// Exit code; `None` for a death by signal.
    pub code: Option<i32>,
    /// What was written to stdout.
    pub stdout: String,
    /// What was written to stderr.
    pub stderr: String,
}

/// Calls the agent with `args` and waits until it ends.
pub fn refusal<S: AsRef<OsStr>>(args: &[S]) -> Refusal {
    let output = command(args).output().expect("procwatch starts");
    Refusal {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The lines so far, and whether there will be more.
#[derive(Debug, Default)]
struct Lines {
    records: Vec<Value>,
    /// The reader does not go on before this is false.
    held: bool,
    /// The agent is killed, and may end within a line.
    killed: bool,
    complete: bool,
}

#[derive(Debug, Default)]
struct Shared {
    lines: Mutex<Lines>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap()
    }

    /// Takes lines in until the pipe is closed. Only an agent whose reader kept it waiting, or that is killed, may end within
    /// a line.
    fn read(&self, pipe: ChildStdout, was_held: bool) {
        let mut pipe = BufReader::new(pipe);
        let mut line = String::new();
        while pipe.read_line(&mut line).expect("stdout can be read") > 0 {
            if (was_held || self.lock().killed) && !line.ends_with('\n') {
                break;
            }
            let record = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
            line.clear();
            let mut lines = self.lock();
            lines.records.push(record);
            self.changed.notify_all();
            while lines.held {
                lines = self.changed.wait(lines).unwrap();
            }
        }
        self.lock().complete = true;
        self.changed.notify_all();
    }
}

/// A running agent that writes JSON lines. It is killed when dropped.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
    complaints: Option<JoinHandle<String>>,
}

/// An agent that has ended.
#[derive(Debug)]
pub struct Ended {
    /// All that it told.
    pub records: Vec<Value>,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to stderr.
    pub stderr: String,
    /// From the signal to its end.
    pub took: Duration,
}

impl Ended {
    /// The account at the end of a stream.
    pub fn summary(&self) -> &Value {
        let last = self.records.last().expect("there are records");
        assert_eq!(last["kind"], "summary", "{last}");
        last
    }
}

impl Agent {
    /// `procwatch watch --json ARGS`, armed.
    pub fn watch<S: AsRef<OsStr>>(args: &[S]) -> Self {
        let mut agent = Self::start(command(&["watch", "--json"]).args(args), false);
        agent.wait_until_armed();
        agent
    }

    /// The same, but after it has said that it is armed nobody reads what it writes before [`Self::release`].
    pub fn watch_unread<S: AsRef<OsStr>>(args: &[S]) -> Self {
        let mut agent = Self::start(command(&["watch", "--json"]).args(args), true);
        agent.wait_until_armed();
        agent
    }

    /// `procwatch events --json ARGS`, which the agent has taken on.
    pub fn events<S: AsRef<OsStr>>(args: &[S]) -> Self {
        let mut client = Self::start(command(&["events", "--json"]).args(args), false);
        client.wait_until_armed();
        client
    }

    /// `procwatch run --json ARGS`, armed. There may be one agent on a machine: another one is waited for.
    pub fn run<S: AsRef<OsStr>>(args: &[S]) -> Self {
        Self::run_with(args, false)
    }

    /// The same, unread like [`Self::watch_unread`].
    pub fn run_unread<S: AsRef<OsStr>>(args: &[S]) -> Self {
        Self::run_with(args, true)
    }

    fn run_with<S: AsRef<OsStr>>(args: &[S], held: bool) -> Self {
        until("no other agent on this machine", || {
            let mut agent = Self::start(command(&["run", "--json"]).args(args), held);
            if agent.is_armed() {
                return Some(agent);
            }
            let ended = agent.wait();
            assert!(ended.stderr.contains("another procwatch agent"), "{ended:?}");
            None
        })
    }

    fn start(command: &mut Command, held: bool) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("procwatch starts");
        let shared = Arc::new(Shared::default());
        shared.lock().held = held;
        let (stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let lines = Arc::clone(&shared);
        let reader = thread::spawn(move || {
            if held {
                lines.read_until_armed(stdout);
            } else {
                lines.read(stdout, false);
            }
        });
        let complaints = thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        Self { child, shared, reader: Some(reader), complaints: Some(complaints) }
    }

    fn wait_until_armed(&mut self) {
        let armed = self.is_armed();
        assert!(armed, "procwatch ended before it was armed: {:?}", self.wait());
    }

    /// Waits for the `armed` record. False when the agent has ended without one.
    fn is_armed(&self) -> bool {
        let begun = Instant::now();
        let mut lines = self.shared.lock();
        loop {
            if lines.records.iter().any(|record| record["topic"] == "armed") {
                return true;
            }
            if lines.complete {
                return false;
            }
            assert!(begun.elapsed() < BACKSTOP, "procwatch is never armed");
            lines = self.shared.changed.wait_timeout(lines, BACKSTOP).unwrap().0;
        }
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it told so far.
    pub fn records(&self) -> Vec<Value> {
        self.shared.lock().records.clone()
    }

    /// The first record that `wanted` holds for, as soon as there is one.
    pub fn wait_for(&self, what: &str, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        self.wait_until(what, |records| records.iter().find(|record| wanted(record)).cloned())
    }

    /// Waits until there are `count` records that `wanted` holds for, and returns those.
    pub fn wait_for_many(
        &self,
        count: usize,
        what: &str,
        mut wanted: impl FnMut(&Value) -> bool,
    ) -> Vec<Value> {
        self.wait_until(what, |records| {
            let found: Vec<Value> = records.iter().filter(|record| wanted(record)).cloned().collect();
            (found.len() >= count).then_some(found)
        })
    }

    fn wait_until<T>(&self, what: &str, mut look: impl FnMut(&[Value]) -> Option<T>) -> T {
        let begun = Instant::now();
        let mut lines = self.shared.lock();
        loop {
            if let Some(found) = look(&lines.records) {
                return found;
            }
            let left = BACKSTOP.checked_sub(begun.elapsed());
            let Some(left) = left.filter(|_| !lines.complete) else {
                let there = shown(&lines.records);
                // The reader goes on without a poisoned lock.
                drop(lines);
                panic!("in vain waited for: {what}; there was {there}");
            };
            lines = self.shared.changed.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// Waits until an event of `kind` about process `pid` was told.
    pub fn wait_for_event(&self, kind: &str, pid: u32) -> Value {
        self.wait_for(&format!("{kind} of {pid}"), |record| record["kind"] == kind && record["pid"] == pid)
    }

    /// Lets the reader go on.
    pub fn release(&self) {
        self.shared.lock().held = false;
        self.shared.changed.notify_all();
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        if signal == Signal::SIGKILL {
            // Its last line may be a part of one.
            self.shared.lock().killed = true;
        }
        kill(Pid::from_raw(self.pid() as i32), signal).expect("procwatch lives");
    }

    /// Orders it to end, as Ctrl-C does, and returns all that it told.
    pub fn finish(self) -> Ended {
        self.finish_by(Signal::SIGINT)
    }

    /// Orders it to end by this signal, and returns all that it told.
    pub fn finish_by(mut self, signal: Signal) -> Ended {
        self.signal(signal);
        let ended = self.wait();
        assert!(ended.status.success(), "{}: {}", ended.status, ended.stderr);
        ended
    }

    /// Kills it, and returns all that it told.
    pub fn kill(mut self) -> Ended {
        self.signal(Signal::SIGKILL);
        self.wait()
    }

    /// Waits for its end, without any order to end.
    pub fn wait(&mut self) -> Ended {
        let begun = Instant::now();
        let status = until("the agent's end", || self.child.try_wait().unwrap());
        let took = begun.elapsed();
        self.release();
        if let Some(reader) = self.reader.take() {
            reader.join().expect("all lines are JSON");
        }
        let stderr = self.complaints.take().map(|it| it.join().unwrap());
        Ended {
            records: std::mem::take(&mut self.shared.lock().records),
            status,
            stderr: stderr.unwrap_or_default(),
            took,
        }
    }
}

impl Shared {
    /// Takes lines in up to the one that says `armed`, and waits there.
    fn read_until_armed(&self, pipe: ChildStdout) {
        let mut pipe = pipe;
        let mut line = Vec::new();
        let mut byte = [0];
        // Byte by byte, so that nothing beyond is taken out of the pipe.
        while !String::from_utf8_lossy(&line).contains("\"armed\"") || byte != [b'\n'] {
            if byte == [b'\n'] {
                line.clear();
            }
            if pipe.read(&mut byte).unwrap() == 0 {
                break;
            }
            line.push(byte[0]);
        }
        let mut lines = self.lock();
        lines.records.extend(serde_json::from_slice::<Value>(&line));
        self.changed.notify_all();
        while lines.held {
            lines = self.changed.wait(lines).unwrap();
        }
        drop(lines);
        self.read(pipe, true);
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // What has ended cannot be killed, and that is well.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.release();
    }
}

/// Records for a failure's message: kinds at a glance, then the last ones in full.
fn shown(records: &[Value]) -> String {
    const LAST: usize = 30;
    let mut message = format!("{} records: {:?}", records.len(), kinds(records));
    for record in &records[records.len().saturating_sub(LAST)..] {
        let _ = write!(message, "\n{} {record}", text(&record["kind"]));
    }
    message
}
