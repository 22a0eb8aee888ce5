//! Threads written down by hand.

use super::frames::{Frame, Thread, origin};

/// Where the standard library's `threading` is.
pub(crate) const THREADING: &str = "/usr/lib/python3.11/threading.py";
/// Where its executors are.
pub(crate) const FUTURES: &str = "/usr/lib/python3.11/concurrent/futures/thread.py";

/// A thread from function, file and line of each frame, innermost first.
pub(crate) fn thread(tid: u32, frames: &[(&str, &str, u32)]) -> Thread {
    let frame = |(function, file, line): &(&str, &str, u32)| Frame {
        function: (*function).to_owned(),
        file: (*file).to_owned(),
        line: *line,
        origin: origin(file),
    };
    Thread { tid: Some(tid), name: None, frames: frames.iter().map(frame).collect() }
}

/// A thread that `threading` started, with these frames inside its bootstrap.
pub(crate) fn started(tid: u32, inner: &[(&str, &str, u32)]) -> Thread {
    let bootstrap = [("Thread._bootstrap_inner", THREADING, 1038), ("Thread._bootstrap", THREADING, 995)];
    thread(tid, &[inner, &bootstrap].concat())
}
