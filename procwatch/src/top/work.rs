//! What the person had done, on threads of their own: the screen goes on meanwhile.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::{Command, Stdio},
    sync::Arc,
    thread::{self, JoinHandle},
};

use tracing::subscriber::{NoSubscriber, set_default};

use super::{
    mailbox::{Mailbox, Message},
    model::Findings,
};
use crate::{
    agent::AgentError,
    cgroup::Mount,
    config,
    event::ProcessKey,
    execute::contain::{Order, Warden, target::Target},
    record::{Deed, Mode, Occasion},
    sink::human::action_line,
    text::escape,
    users::UserNames,
};

/// Columns that a foreign text may take in what is told of an action.
const COLUMNS: usize = 80;
/// Lines of a diagnosis that are shown, and characters of each.
const MOST_LINES: usize = 300;
const LONGEST_LINE: usize = 1000;

/// Finds out who creates a process' threads. It is done by another process of this program, as the agent has it done: what is
/// read there is foreign.
pub fn diagnose(process: ProcessKey, mailbox: &Arc<Mailbox>) {
    let mailbox = Arc::clone(mailbox);
    thread::spawn(move || {
        let findings = answer(process).map_or_else(Findings::Failed, Findings::Lines);
        mailbox.post(Message::Found(process, findings));
    });
}

fn answer(process: ProcessKey) -> Result<Vec<String>, String> {
    let has_ended = || format!("process {} has ended", process.pid);
    // Held while it is looked at: so it was the one that is meant all the time.
    let held = Target::of_key(process).ok_or_else(has_ended)?;
    let output = Command::new("/proc/self/exe")
        .args(["diagnose", &process.pid.to_string()])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("a diagnosis could not be started: {error}"))?;
    if held.threads() == 0 {
        return Err(has_ended());
    }
    // 0: a cause; 1: none.
    if !matches!(output.status.code(), Some(0 | 1)) {
        let said = lines(&output.stderr).pop().unwrap_or_default();
        let said = said.trim_start_matches("procwatch: ");
        return Err(if said.is_empty() {
            format!("it ended with {}", output.status)
        } else {
            said.to_owned()
        });
    }
    Ok(lines(&output.stdout))
}

/// It is escaped already; what is not shall do no harm.
fn lines(said: &[u8]) -> Vec<String> {
    let shown = |line: &str| {
        let line: String = line.chars().take(LONGEST_LINE).collect();
        if line.contains(char::is_control) { escape(line.as_bytes()).into_owned() } else { line }
    };
    String::from_utf8_lossy(said).lines().take(MOST_LINES).map(shown).collect()
}

/// Freezes or thaws a process, as `procwatch contain` does, and tells what came of it. Who ends the program waits for it: a
/// process that is half frozen would be nobody's.
pub fn contain(process: ProcessKey, deed: Deed, mailbox: &Arc<Mailbox>) -> JoinHandle<()> {
    let mailbox = Arc::clone(mailbox);
    thread::spawn(move || {
        // What is logged on the way would be written across the screen.
        let _silent = set_default(NoSubscriber::default());
        let done = catch_unwind(AssertUnwindSafe(|| perform(process, deed)));
        let told = match done {
            Ok(Ok(line)) => line,
            Ok(Err(error)) => format!("{}: {error}", process.pid),
            Err(_) => format!("{}: {} failed; see `procwatch undo`", process.pid, deed.name()),
        };
        mailbox.post(Message::Done(told));
    })
}

fn perform(process: ProcessKey, deed: Deed) -> Result<String, AgentError> {
    let order = if deed == Deed::Thaw { Order::Thaw } else { Order::Freeze };
    let protect = config::load(None)?.protect;
    let mount = Mount::find()?;
    let Some(target) = Target::of_key(process) else {
        return Ok(format!("process {} has ended", process.pid));
    };
    // As it was before: it may have ended after it.
    let record = target.record(&mut UserNames::new(), &mount);
    let done = Warden::new(&mount, protect).perform(order, &target, true);
    let act = done.act(order, record, None, Occasion::Hand, Mode::Enforce);
    Ok(format!("{} {}  {}", act.process.pid, act.process.comm, action_line(&act, COLUMNS)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::BootTime;

    #[test]
    fn what_is_said_is_shown_without_harm() {
        assert_eq!(lines(b"one\n  two\x1b[2J\n\xff\n"), ["one", "  two\\x1b[2J", "\u{fffd}"]);
        assert_eq!(lines(&vec![b'x'; 1 << 20]), ["x".repeat(LONGEST_LINE)]);
        assert_eq!(lines(&vec![b'\n'; 1 << 10]).len(), MOST_LINES);
    }

    #[test]
    fn a_process_that_has_ended_is_told() {
        let nobody = ProcessKey { pid: 4_194_999, start: BootTime(1) };
        assert_eq!(answer(nobody), Err("process 4194999 has ended".to_owned()));
        let mailbox = Arc::new(Mailbox::default());
        contain(nobody, Deed::Freeze, &mailbox).join().unwrap();
        let told = mailbox.take().pop_front();
        assert!(matches!(&told, Some(Message::Done(line)) if line.contains("4194999")), "{told:?}");
    }
}
