//! The journal of systemd: one entry a record, with fields that `journalctl` can ask for.
//!
//! `journalctl PROCWATCH_KIND=alert PROCWATCH_USER=aimgr`, or `-o json` for all of it. A thread of its own writes, so that a
//! journal that is slow holds up nothing; records that find its queue full are dropped and counted.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    human::{Human, Style},
    listener::{Complaints, Listener, Told},
};
use crate::{
    record::{ActResult, Body, Health, HealthTopic, HoldResult, Process, Result as Moved, Severity},
    service::journal::{Entry, Priority, Socket},
    status::OutputStatus,
};

/// Records that wait for the journal.
const QUEUE: usize = 1024;

/// How long the journal is waited for with one record.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long the end waits for what is still in the queue.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// There is at most one complaint in this time.
const BETWEEN_COMPLAINTS: Duration = Duration::from_secs(30);

/// The journal as one who is told every record.
#[derive(Debug)]
pub struct Journal {
    queue: SyncSender<Arc<Told>>,
    /// Says nothing; it is closed when the thread has ended.
    ended: Receiver<()>,
    state: Arc<State>,
    dropped: u64,
}

/// What the thread tells.
#[derive(Debug, Default)]
struct State {
    taken: AtomicU64,
    failed: AtomicU64,
    error: Mutex<Option<String>>,
}

impl Journal {
    /// Opens it, whether the journal is there now or not.
    ///
    /// # Errors
    /// When there are no descriptors or threads left.
    pub fn open(complaints: Complaints) -> io::Result<Self> {
        Self::over(Socket::new(Some(PATIENCE))?, complaints)
    }

    fn over(socket: Socket, complaints: Complaints) -> io::Result<Self> {
        let (queue, records) = sync_channel(QUEUE);
        let (end, ended) = sync_channel(0);
        let state = Arc::<State>::default();
        let writer = Writer { socket, complaints, state: Arc::clone(&state), complained: None };
        thread::Builder::new().name("journal".to_owned()).spawn(move || {
            writer.write(&records);
            drop(end);
        })?;
        Ok(Self { queue, ended, state, dropped: 0 })
    }
}

impl Listener for Journal {
    fn name(&self) -> &'static str {
        "journal"
    }

    fn on(&mut self, told: &Arc<Told>) {
        if self.queue.try_send(Arc::clone(told)).is_err() {
            self.dropped += 1;
        }
    }

    fn status(&self) -> OutputStatus {
        OutputStatus {
            name: self.name().to_owned(),
            taken: self.state.taken.load(Ordering::Relaxed),
            dropped: self.dropped,
            failed: self.state.failed.load(Ordering::Relaxed),
            error: self.state.error().clone(),
        }
    }

    fn finish(self: Box<Self>) {
        drop(self.queue);
        if self.ended.recv_timeout(LAST_WORDS) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the journal is slow; the last records are missing there");
        }
    }
}

impl State {
    fn error(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the thread works with.
struct Writer {
    socket: Socket,
    complaints: Complaints,
    state: Arc<State>,
    complained: Option<Instant>,
}

impl Writer {
    fn write(mut self, records: &Receiver<Arc<Told>>) {
        let mut lines = Human::new(io::sink(), Style::default());
        while let Ok(told) = records.recv() {
            match self.socket.send(&entry(&told, &mut lines)) {
                Ok(()) => {
                    self.state.taken.fetch_add(1, Ordering::Relaxed);
                    *self.state.error() = None;
                }
                Err(error) => self.failed(&error),
            }
        }
    }

    fn failed(&mut self, error: &io::Error) {
        self.state.failed.fetch_add(1, Ordering::Relaxed);
        let is_new = self.state.error().replace(error.to_string()).is_none();
        if is_new && self.complained.is_none_or(|at| at.elapsed() >= BETWEEN_COMPLAINTS) {
            self.complained = Some(Instant::now());
            self.complaints.make(format!("the journal takes no records: {error}"));
        }
    }
}

/// The entry of a record.
fn entry(told: &Told, lines: &mut Human<io::Sink>) -> Entry {
    let body = &told.record.body;
    let mut entry = Entry::new(lines.message(&told.record), priority(body));
    entry.field("PROCWATCH_KIND", body.kind().name().as_bytes());
    if let Some(process) = body.process() {
        add_process(process, &mut entry);
    }
    add_particulars(body, &mut entry);
    entry.field("PROCWATCH_JSON", told.line.trim_ascii_end());
    entry
}

fn add_process(process: &Process, entry: &mut Entry) {
    entry.show("PROCWATCH_PID", process.pid);
    // A pid is used again; with this it names the process for ever.
    entry.show("PROCWATCH_START_NS", process.start_ns);
    entry.show("PROCWATCH_UID", process.uid);
    if let Some(user) = &process.user {
        entry.show("PROCWATCH_USER", user);
    }
    entry.show("PROCWATCH_COMM", process.comm);
    if let Some(cgroup) = &process.cgroup {
        entry.show("PROCWATCH_CGROUP", cgroup);
    }
}

/// Adds what is worth asking for of each kind; all the rest is in the JSON.
fn add_particulars(body: &Body, entry: &mut Entry) {
    let mut add = |name: &str, value: &str| entry.field(&format!("PROCWATCH_{name}"), value.as_bytes());
    match body {
        Body::Alert(alert) => {
            add("RULE", &alert.rule);
            add("SEVERITY", alert.severity.name());
            add("BOUND", alert.bound.name());
        }
        Body::Cleared(cleared) => {
            add("RULE", &cleared.rule);
            add("SEVERITY", cleared.severity.name());
            add("BOUND", cleared.bound.name());
        }
        Body::Decision(decision) => {
            add("RULE", &decision.rule);
            add("REASON", decision.reason.name());
        }
        Body::Diagnosis(diagnosed) => add("RULE", &diagnosed.rule),
        Body::Action(act) => {
            add("ACTION", act.action.name());
            add("RESULT", act.result.name());
            if let Some(rule) = &act.rule {
                add("RULE", rule);
            }
            if let Some(reason) = act.reason {
                add("REASON", reason.name());
            }
        }
        Body::Hold(hold) => add("RESULT", hold.result.name()),
        _ => {}
    }
}

/// How grave a record is. None is an emergency in the journal's sense: those are shown on every terminal.
const fn priority(body: &Body) -> Priority {
    match body {
        Body::Alert(alert) => match alert.severity {
            Severity::Notice => Priority::Notice,
            Severity::Warning => Priority::Warning,
            Severity::Critical => Priority::Critical,
            Severity::Emergency => Priority::Alert,
        },
        Body::Action(act) => match act.result {
            ActResult::Failed | ActResult::Unverified | ActResult::Unavailable => Priority::Warning,
            _ => Priority::Notice,
        },
        Body::Outcome(outcome) => match outcome.result {
            Moved::Failed | Moved::Unverified => Priority::Warning,
            Moved::Verified | Moved::Gone => Priority::Info,
        },
        Body::Hold(hold) => match hold.result {
            HoldResult::Deadline | HoldResult::NoAgent => Priority::Warning,
            HoldResult::Inside | HoldResult::LeftAlone => Priority::Info,
        },
        Body::Loss(_)
        | Body::Refused(_)
        | Body::Health(Health { topic: HealthTopic::Degraded | HealthTopic::Refused, .. }) => {
            Priority::Warning
        }
        Body::Diagnosis(_) | Body::Health(_) => Priority::Notice,
        _ => Priority::Info,
    }
}

#[cfg(test)]
mod tests;
