//! A few looks at the threads of a running Python, without stopping it.

use std::{
    path::{Component, Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use py_spy::{
    Config, PythonSpy, StackTrace,
    config::{LineNo, LockingStrategy},
};

use super::frames::{Frame, Thread, origin};

/// How long is looked, after the first look.
const LOOK_FOR: Duration = Duration::from_millis(100);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(7);
/// Tries for the first look: what is read of a process that runs may not fit together.
const TRIES: u32 = 20;

/// What was seen.
#[derive(Debug, Default)]
pub struct Looks {
    /// The threads of each look, in the order of time.
    pub looks: Vec<Vec<Thread>>,
    /// Which Python it is.
    pub version: Option<String>,
    /// Looks that came to nothing.
    pub failed: u32,
    /// Why the last of those did.
    pub error: Option<String>,
}

/// Looks at a process, for at most `limit`. The process is not stopped: its memory is read as it runs.
pub fn look(pid: u32, limit: Duration) -> Looks {
    let (sender, receiver) = mpsc::channel();
    let deadline = Instant::now() + limit;
    // The memory that is read is the process' own, and may be made to lead a reader astray: a reader that panics, or
    // does not come back, is left behind.
    let reader = thread::Builder::new().name("python-look".to_owned()).spawn(move || {
        let mut looks = Looks::default();
        look_into(pid, deadline, &mut looks);
        let _ = sender.send(looks);
    });
    let failed = |error: String| Looks { failed: 1, error: Some(error), ..Looks::default() };
    match reader {
        Err(error) => failed(error.to_string()),
        Ok(_) => match receiver.recv_timeout(limit + PAUSE) {
            Ok(looks) => looks,
            Err(mpsc::RecvTimeoutError::Timeout) => failed(format!("no end after {} ms", limit.as_millis())),
            Err(mpsc::RecvTimeoutError::Disconnected) => failed("its memory makes no sense".to_owned()),
        },
    }
}

fn look_into(pid: u32, deadline: Instant, looks: &mut Looks) {
    let config = Config {
        blocking: LockingStrategy::NonBlocking,
        lineno: LineNo::LastInstruction,
        full_filenames: true,
        ..Config::default()
    };
    let mut spy = None;
    let paths = Paths::of(pid);
    let mut end = deadline;
    for turn in 0.. {
        let give_up = looks.looks.is_empty() && turn >= TRIES;
        if give_up || Instant::now() >= end {
            break;
        }
        if turn > 0 {
            thread::sleep(PAUSE);
        }
        match look_once(&mut spy, pid.cast_signed(), &config) {
            Ok(traces) => {
                if looks.looks.is_empty() {
                    end = deadline.min(Instant::now() + LOOK_FOR);
                }
                looks.looks.push(traces.iter().map(|trace| paths.thread(trace)).collect());
            }
            Err(error) => {
                looks.failed += 1;
                looks.error = Some(error);
            }
        }
    }
    looks.version = spy.map(|spy| spy.version.to_string());
}

fn look_once(
    spy: &mut Option<PythonSpy>,
    pid: py_spy::Pid,
    config: &Config,
) -> Result<Vec<StackTrace>, String> {
    let told = |error| format!("{error:#}");
    if spy.is_none() {
        *spy = Some(PythonSpy::new(pid, config).map_err(told)?);
    }
    let spy = spy.as_mut().ok_or_else(String::new)?;
    spy.get_stack_traces().map_err(told)
}

/// Makes paths absolute: Python tells them as they were given to it.
struct Paths {
    cwd: PathBuf,
}

impl Paths {
    fn of(pid: u32) -> Self {
        Self { cwd: std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default() }
    }

    fn thread(&self, trace: &StackTrace) -> Thread {
        let frame = |frame: &py_spy::Frame| {
            let file = self.absolute(&frame.filename);
            Frame {
                function: frame.name.clone(),
                origin: origin(&file),
                file,
                line: u32::try_from(frame.line).unwrap_or(0),
            }
        };
        Thread {
            tid: trace.os_thread_id.and_then(|id| u32::try_from(id).ok()),
            name: trace.thread_name.clone(),
            frames: trace.frames.iter().map(frame).collect(),
        }
    }

    fn absolute(&self, file: &str) -> String {
        if file.starts_with('<') || file.starts_with('/') || !self.cwd.is_absolute() {
            return file.to_owned();
        }
        let mut path = self.cwd.clone();
        for part in Path::new(file).components() {
            match part {
                Component::ParentDir => {
                    path.pop();
                }
                Component::CurDir => {}
                other => path.push(other),
            }
        }
        path.to_str().map_or_else(|| file.to_owned(), str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_absolute() {
        let paths = Paths { cwd: PathBuf::from("/srv/app") };
        assert_eq!(paths.absolute("a/./b.py"), "/srv/app/a/b.py");
        assert_eq!(paths.absolute("../b.py"), "/srv/b.py");
        assert_eq!(paths.absolute("/x.py"), "/x.py");
        assert_eq!(paths.absolute("<string>"), "<string>");
    }

    #[test]
    fn what_is_no_python_is_told() {
        let looks = look(1, Duration::from_secs(1));
        assert!(looks.looks.is_empty() && looks.error.is_some(), "{looks:?}");
    }
}
