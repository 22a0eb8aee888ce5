//! Frames of Python threads, whose they are, and what a thread is for.

use crate::diagnose::source::last_part;

/// Whose code a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The application's own.
    Own,
    /// An installed package's.
    Package,
    /// Python's standard library's.
    Standard,
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// The function, qualified from Python 3.11 on: `Class.method`.
    pub function: String,
    /// Its file, absolute where that could be found out.
    pub file: String,
    /// The line that runs; 0 when it is not known.
    pub line: u32,
    /// Whose code it is.
    pub origin: Origin,
}

/// One thread of Python's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Its thread id; `None` before Python 3.11.
    pub tid: Option<u32>,
    /// Its name in Python.
    pub name: Option<String>,
    /// Its frames, innermost first.
    pub frames: Vec<Frame>,
}

/// What a thread was made for, by its outermost frames.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It has run since the process began.
    Main,
    /// It runs this function of `Thread(target=…)`.
    Target(Start),
    /// It runs the method `run` of a class.
    Subclass(Start),
    /// It waits for a `Timer`, or runs its function.
    Timer,
    /// It works for a `ThreadPoolExecutor`.
    Executor,
    /// It works for a `multiprocessing.pool.ThreadPool`.
    Pool,
    /// It answers one request of a `ThreadingMixIn` server.
    Request,
    /// It runs this function of `_thread.start_new_thread`.
    StartNew(Start),
    /// It has no frame.
    Unknown,
}

/// The function that a thread began with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Start {
    /// The function.
    pub function: String,
    /// Its file.
    pub file: String,
    /// The line of it that runs; only a lambda is known by it.
    pub lambda_line: Option<u32>,
}

impl Start {
    fn of(frame: &Frame) -> Self {
        let is_lambda = last_part(&frame.function) == "<lambda>";
        Self {
            function: frame.function.clone(),
            file: frame.file.clone(),
            lambda_line: is_lambda.then_some(frame.line),
        }
    }
}

impl Frame {
    /// Whether it is `function` of a file that ends with `file`.
    pub fn is(&self, function: &str, file: &str) -> bool {
        last_part(&self.function) == function && self.file.ends_with(file)
    }

    fn makes_threads(&self) -> bool {
        const MAKERS: [(&str, &str); 10] = [
            ("start", "/threading.py"),
            ("submit", "concurrent/futures/thread.py"),
            ("_adjust_thread_count", "concurrent/futures/thread.py"),
            ("map", "concurrent/futures/_base.py"),
            ("to_thread", "asyncio/threads.py"),
            ("run_in_executor", "asyncio/base_events.py"),
            ("process_request", "socketserver.py"),
            ("_repopulate_pool", "multiprocessing/pool.py"),
            ("_repopulate_pool_static", "multiprocessing/pool.py"),
            ("start", "watchdog/observers/api.py"),
        ];
        MAKERS.iter().any(|(function, file)| self.is(function, file))
    }
}

impl Thread {
    /// What it was made for.
    pub fn role(&self) -> Role {
        let mut outer = self.frames.iter().rev().peekable();
        let mut is_bootstrapped = false;
        while outer.next_if(|frame| is_bootstrap(frame)).is_some() {
            is_bootstrapped = true;
        }
        let Some(first) = outer.next() else {
            return Role::Unknown;
        };
        if !is_bootstrapped {
            let is_main = last_part(&first.function) == "<module>" || first.origin == Origin::Standard;
            return if is_main { Role::Main } else { Role::StartNew(Start::of(first)) };
        }
        if !first.is("run", "/threading.py") {
            return Role::Subclass(Start::of(first));
        }
        if first.function.starts_with("Timer.") {
            return Role::Timer;
        }
        match outer.next() {
            Some(next) if next.is("_worker", "concurrent/futures/thread.py") => Role::Executor,
            Some(next) if next.file.ends_with("multiprocessing/pool.py") => Role::Pool,
            Some(next) if next.is("process_request_thread", "socketserver.py") => Role::Request,
            // Before 3.11 names are not qualified; a timer waits for its event.
            Some(next) if first.function == "run" && next.is("wait", "/threading.py") => Role::Timer,
            Some(next) => Role::Target(Start::of(next)),
            None => Role::Unknown,
        }
    }

    /// The frame that asked for a thread, when the thread is inside the making of one: the innermost of the
    /// application's own, or else of a package's, around the outermost frame that makes threads.
    pub fn creating_frame(&self) -> Option<&Frame> {
        let maker = self.frames.iter().rposition(Frame::makes_threads)?;
        // What a thread runs is around no making of threads by it.
        let around = &self.frames[maker + 1..];
        // Deeper makers are the same making: `submit` starts a thread by `start`.
        let own = around.iter().find(|frame| frame.origin == Origin::Own);
        own.or_else(|| around.iter().find(|frame| frame.origin == Origin::Package))
    }

    /// Its frames of the application's own, innermost first.
    pub fn own_frames(&self) -> impl Iterator<Item = &Frame> {
        self.frames.iter().filter(|frame| frame.origin == Origin::Own)
    }
}

fn is_bootstrap(frame: &Frame) -> bool {
    frame.is("_bootstrap", "/threading.py") || frame.is("_bootstrap_inner", "/threading.py")
}

/// Whose code a file is, by its path.
pub(super) fn origin(file: &str) -> Origin {
    if file.contains("/site-packages/") || file.contains("/dist-packages/") {
        return Origin::Package;
    }
    if file.starts_with('<') || file.contains("<frozen") || is_standard(file) {
        return Origin::Standard;
    }
    Origin::Own
}

/// `…/lib/python3.11/threading.py`, `…/lib/python3/…`, `…/python311.zip/…`.
fn is_standard(file: &str) -> bool {
    let mut parts = file.split('/').peekable();
    while let Some(part) = parts.next() {
        let is_library = part == "lib" || part == "lib64";
        if is_library && parts.peek().is_some_and(|next| is_versioned(next)) {
            return true;
        }
    }
    false
}

fn is_versioned(part: &str) -> bool {
    ["python", "pypy"]
        .iter()
        .filter_map(|name| part.strip_prefix(name))
        .any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{FUTURES, THREADING, thread},
        *,
    };

    fn started(inner: &[(&str, &str, u32)]) -> Thread {
        super::super::testing::started(7, inner)
    }

    #[test]
    fn files_tell_whose_they_are() {
        assert_eq!(origin("/srv/app/main.py"), Origin::Own);
        assert_eq!(origin("/usr/lib/python3.11/threading.py"), Origin::Standard);
        assert_eq!(origin("/opt/venv/lib/python3.11/site-packages/x/y.py"), Origin::Package);
        assert_eq!(origin("/usr/lib/python3/dist-packages/psutil/__init__.py"), Origin::Package);
        assert_eq!(origin("<frozen importlib._bootstrap>"), Origin::Standard);
        assert_eq!(origin("/home/a/lib/pythonic/x.py"), Origin::Own);
    }

    #[test]
    fn a_thread_tells_what_it_is_for() {
        let run = ("Thread.run", THREADING, 975);
        let work = Start { function: "work".into(), file: "/a.py".into(), lambda_line: None };
        assert_eq!(started(&[("work", "/a.py", 3), run]).role(), Role::Target(work.clone()));
        assert_eq!(started(&[("_worker", FUTURES, 81), run]).role(), Role::Executor);
        assert_eq!(
            started(&[("Condition.wait", THREADING, 1), ("Timer.run", THREADING, 1)]).role(),
            Role::Timer
        );
        let run_of_class = Start { function: "Worker.run".into(), ..work.clone() };
        assert_eq!(started(&[("Worker.run", "/a.py", 3)]).role(), Role::Subclass(run_of_class));
        assert_eq!(thread(1, &[("work", "/a.py", 3)]).role(), Role::StartNew(work));
        assert_eq!(thread(1, &[("f", "/a.py", 3), ("<module>", "/a.py", 9)]).role(), Role::Main);
        assert_eq!(thread(1, &[]).role(), Role::Unknown);
    }

    #[test]
    fn the_own_frame_around_a_creation_is_the_creator() {
        let creating = thread(
            1,
            &[
                ("Event.wait", THREADING, 629),
                ("Thread.start", THREADING, 969),
                ("ThreadPoolExecutor._adjust_thread_count", FUTURES, 200),
                ("ThreadPoolExecutor.submit", FUTURES, 176),
                ("fetch", "/usr/lib/python3/dist-packages/lib/fetch.py", 8),
                ("handle", "/srv/app.py", 12),
                ("<module>", "/srv/app.py", 30),
            ],
        );
        assert_eq!(creating.creating_frame().map(|it| it.line), Some(12));
        let waiting = thread(1, &[("Event.wait", THREADING, 629), ("handle", "/srv/app.py", 12)]);
        assert_eq!(waiting.creating_frame(), None);
    }

    #[test]
    fn a_thread_that_was_started_is_not_creating() {
        assert_eq!(started(&[("work", "/a.py", 3), ("Thread.run", THREADING, 975)]).creating_frame(), None);
    }
}
