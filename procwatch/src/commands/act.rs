//! How actions by hand are told.

use std::io::{self, Write as _};

use crate::{
    agent::AgentError,
    clock::Clock,
    record::{Act, Body, Health, HealthTopic, Record},
    sink::human::{DETAIL_COLUMNS, action_line},
};

/// Short lines for people, or records as JSON lines.
pub(super) struct Output {
    clock: Clock,
    json: bool,
}

/// Refuses callers who may not do this.
///
/// # Errors
/// [`AgentError::Usage`].
pub(super) fn require_root(command: &'static str) -> Result<(), AgentError> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    Err(AgentError::Usage(format!("procwatch {command} must run as root; use: sudo procwatch {command} …")))
}

impl Output {
    /// # Errors
    /// When the kernel has no boot clock.
    pub(super) fn new(json: bool) -> Result<Self, AgentError> {
        Ok(Self { clock: Clock::new().map_err(AgentError::io("the boot clock"))?, json })
    }

    /// Something that was done, or was not.
    ///
    /// # Errors
    /// When standard output fails.
    pub(super) fn act(&mut self, act: Act) -> Result<(), AgentError> {
        if self.json {
            return self.record(Body::Action(act));
        }
        let line = action_line(&act, DETAIL_COLUMNS);
        write(format!("{} {}  {line}\n", act.process.pid, act.process.comm).as_bytes())
    }

    /// Something else that matters.
    ///
    /// # Errors
    /// When standard output fails.
    pub(super) fn note(&mut self, message: String) -> Result<(), AgentError> {
        if self.json {
            return self.record(Body::Health(Health { topic: HealthTopic::Degraded, message }));
        }
        write(format!("{message}\n").as_bytes())
    }

    /// That there is nothing to tell: for people.
    ///
    /// # Errors
    /// When standard output fails.
    pub(super) fn remark(&mut self, message: &str) -> Result<(), AgentError> {
        if self.json { Ok(()) } else { write(format!("{message}\n").as_bytes()) }
    }

    fn record(&self, body: Body) -> Result<(), AgentError> {
        let now = self.clock.now();
        let record = Record { time: self.clock.timestamp(now), boot_ns: now.0, body };
        let mut line = Vec::new();
        crate::sink::json::encode(&record, &mut line).map_err(AgentError::io("standard output"))?;
        write(&line)
    }
}

/// Writes to standard output.
///
/// # Errors
/// When it takes no more, and not because its reader has enough.
pub(super) fn write(line: &[u8]) -> Result<(), AgentError> {
    match io::stdout().lock().write_all(line) {
        // A reader that has enough, such as `head`, is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(AgentError::io("standard output")(error))
        }
        _ => Ok(()),
    }
}
