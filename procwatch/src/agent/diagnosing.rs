//! Diagnoses beside the agent's loop. Each is made by a process of its own: memory and files of foreign processes are
//! never read where the kernel programs are held.

use std::{
    collections::VecDeque,
    future::pending,
    io,
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
    runtime::Handle,
    task::{JoinSet, spawn_blocking},
    time::timeout,
};

use crate::{
    event::BootTime,
    inspect,
    record::{Diagnosed, DiagnosisResult, Occasion, Process},
    text::escape,
};

/// Diagnoses at a time.
const AT_A_TIME: usize = 2;
/// Diagnoses that may wait.
const MAX_WAITING: usize = 64;
/// How long one may take.
const LIMIT: Duration = Duration::from_secs(10);
/// Bytes of an answer.
const MAX_ANSWER: u64 = 4 << 20;

/// An order for a diagnosis.
#[derive(Debug)]
pub struct Wanted {
    /// The process, as it was at the alert.
    pub process: Process,
    /// The rule that asks for it.
    pub rule: String,
    /// The alert that asks for it.
    pub occasion: Occasion,
}

/// Diagnoses under way and waiting.
#[derive(Debug, Default)]
pub struct Diagnoses {
    running: JoinSet<Diagnosed>,
    waiting: VecDeque<Wanted>,
}

impl Diagnoses {
    /// Has a process looked at. Returns the record at once when too many wait. Must be called within a tokio runtime.
    pub fn order(&mut self, wanted: Wanted) -> Option<Diagnosed> {
        if self.waiting.len() >= MAX_WAITING {
            let why = format!("{MAX_WAITING} diagnoses wait already");
            return Some(wanted.answered(Err(why), Instant::now()));
        }
        self.waiting.push_back(wanted);
        self.start();
        None
    }

    /// Waits until one is done; for ever when none is under way. Cancel safe.
    pub async fn done(&mut self) -> Diagnosed {
        loop {
            match self.running.join_next().await {
                Some(Ok(diagnosed)) => {
                    self.start();
                    return diagnosed;
                }
                Some(Err(error)) => {
                    tracing::error!("a diagnosis ended before its time: {error}");
                    self.start();
                }
                None => pending().await,
            }
        }
    }

    fn start(&mut self) {
        while self.running.len() < AT_A_TIME {
            let Some(wanted) = self.waiting.pop_front() else { return };
            self.running.spawn(async move {
                let begun = Instant::now();
                let answer = timeout(LIMIT, ask(wanted.process.pid)).await;
                let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {LIMIT:?}")));
                wanted.answered(answer, begun)
            });
        }
    }
}

impl Wanted {
    fn answered(self, answer: Result<Value, String>, begun: Instant) -> Diagnosed {
        let same = |report: &Value| {
            let start = report["process"]["start_ns"].as_u64().map(BootTime);
            start.map(inspect::start_ticks) == Some(inspect::start_ticks(BootTime(self.process.start_ns)))
        };
        let answer = answer.and_then(|report| {
            if same(&report) { Ok(report) } else { Err("another process bears its pid now".to_owned()) }
        });
        let (result, headline, diagnosis) = match answer {
            Ok(report) if report["cause"].is_null() => {
                (DiagnosisResult::NoCause, "no cause found".to_owned(), Some(report))
            }
            Ok(report) => (DiagnosisResult::Cause, headline(&report["cause"]), Some(report)),
            Err(why) => (DiagnosisResult::Failed, why, None),
        };
        Diagnosed {
            process: self.process,
            rule: self.rule,
            occasion: self.occasion,
            result,
            headline,
            diagnosis,
            took_ns: u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

/// `/opt/app/watch.py:12 in scan: Thread(target=scan).start() (counted, 98 %)`. What it is made of is escaped already.
fn headline(cause: &Value) -> String {
    let text = |field: &str| cause[field].as_str();
    let place = match (text("file"), cause["line"].as_u64(), text("module")) {
        (Some(file), Some(line), _) => format!("{file}:{line}"),
        (Some(file), None, _) => file.to_owned(),
        (None, _, Some(module)) => module.to_owned(),
        (None, _, None) => String::new(),
    };
    let function = text("function").map(|function| format!(" in {function}")).unwrap_or_default();
    let code = text("code").map(|code| format!(": {}", code.trim())).unwrap_or_default();
    let share = cause["share"].as_f64().map(|share| format!(", {:.0} %", share * 100.0)).unwrap_or_default();
    let how = text("how").unwrap_or("found");
    format!("{}{code} ({how}{share})", format!("{place}{function}").trim_start())
}

/// Asks another process of this program.
async fn ask(pid: u32) -> Result<Value, String> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| format!("{what}: {error}")
    };
    let mut child = start(pid).await.map_err(failed("a diagnosis could not be started"))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (out, err) = tokio::join!(read(out), read(err));
    let status = child.wait().await.map_err(failed("its end could not be waited for"))?;
    // 0: a cause; 1: none.
    if !matches!(status.code(), Some(0 | 1)) {
        let said = escape(&err);
        let last = said.lines().last().unwrap_or_default().trim_start_matches("procwatch: ");
        return Err(if last.is_empty() { format!("it ended with {status}") } else { last.to_owned() });
    }
    // An answer may be long.
    let read = spawn_blocking(move || serde_json::from_slice(&out)).await;
    read.map_err(|error| error.to_string())?.map_err(|error| format!("its answer is no JSON: {error}"))
}

/// Starts it on a thread of its own: who starts a process stands still until that runs its program, and alerts must not.
async fn start(pid: u32) -> io::Result<Child> {
    let runtime = Handle::current();
    let started = spawn_blocking(move || {
        let _runtime = runtime.enter();
        Command::new("/proc/self/exe")
            .args(["diagnose", "--json", &pid.to_string()])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
    });
    started.await.map_err(io::Error::other)?
}

/// As much as it may say; the pipe is closed then.
async fn read(pipe: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        // What was read before an error is what there is; JSON that is cut is no JSON.
        let _ = pipe.take(MAX_ANSWER).read_to_end(&mut bytes).await;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::samples;

    fn wanted() -> Wanted {
        Wanted { process: samples::process(), rule: "default".to_owned(), occasion: Occasion::Leak }
    }

    #[test]
    fn the_headline_has_place_code_and_how() {
        let cause = json!({
            "how": "counted", "file": "/opt/watch.py", "line": 12, "code": "  Thread(target=scan).start()",
            "function": "scan", "share": 0.984, "module": null,
        });
        assert_eq!(headline(&cause), "/opt/watch.py:12 in scan: Thread(target=scan).start() (counted, 98 %)");
        let native =
            json!({ "how": "counted", "function": "spawn_worker", "module": "/usr/bin/x", "share": 1.0 });
        assert_eq!(headline(&native), "/usr/bin/x in spawn_worker (counted, 100 %)");
        assert_eq!(headline(&json!({ "how": "inferred", "function": "f" })), "in f (inferred)");
    }

    #[test]
    fn an_answer_about_another_process_is_none() {
        let begun = Instant::now();
        let report = |start: u64| json!({ "process": { "start_ns": start }, "cause": null });
        let answered = wanted().answered(Ok(report(1_000)), begun);
        assert_eq!((answered.result, &*answered.headline), (DiagnosisResult::NoCause, "no cause found"));
        let other = wanted().answered(Ok(report(1 << 40)), begun);
        assert_eq!((other.result, other.diagnosis), (DiagnosisResult::Failed, None));
        assert_eq!(other.headline, "another process bears its pid now");
    }
}
