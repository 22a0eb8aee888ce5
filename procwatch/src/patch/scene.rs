//! A Python process with a source of its own, for tests.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use procfs::process::Process;
use tempfile::TempDir;

use crate::event::{BootTime, ProcessKey};

/// It runs until it is dropped.
pub(super) struct Python {
    child: Child,
    folder: TempDir,
}

impl Python {
    /// Writes `source` into a folder of its own, and then starts an interpreter there that waits.
    pub(super) fn sleeping(source: &str) -> Self {
        Self::prepared(source, |_, _| {})
    }

    /// As [`Self::sleeping`]; `prepare` changes the file and the command before the start.
    pub(super) fn prepared(source: &str, prepare: impl FnOnce(&Path, &mut Command)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("leak.py");
        fs::write(&file, source).unwrap();
        let mut command = Command::new(real_python());
        command
            .args(["-c", "import sys; print('up', flush=True); sys.stdin.read()"])
            .current_dir(folder.path());
        prepare(&file, &mut command);
        // A process' start is known to a clock tick, and the file must be older by more than that.
        thread::sleep(Duration::from_millis(20));
        let mut child =
            command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "up\n");
        Self { child, folder }
    }

    /// Its pid and start, the latter as /proc tells it.
    pub(super) fn key(&self) -> ProcessKey {
        let pid = self.child.id();
        let ticks = Process::new(pid.cast_signed()).unwrap().stat().unwrap().starttime;
        ProcessKey { pid, start: BootTime(ticks * 1_000_000_000 / procfs::ticks_per_second()) }
    }

    /// Its folder.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its source.
    pub(super) fn file(&self) -> PathBuf {
        self.folder().join("leak.py")
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The interpreter itself: what `python3` on the path is may be a script that looks for one, or in a home.
pub(super) fn real_python() -> PathBuf {
    let system = Path::new("/usr/bin/python3");
    let python = if system.exists() { system } else { Path::new("python3") };
    let path =
        run(Command::new(python).args(["-c", "import os, sys; print(os.path.realpath(sys.executable))"]), "");
    path.trim_end().into()
}

/// What `command` prints, given `input`.
pub(super) fn run(command: &mut Command, input: &str) -> String {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
