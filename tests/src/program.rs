//! Programs under test: compiled when their source is newer, started with both ends in our hand.

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    time::SystemTime,
};

use tempfile::TempDir;

use crate::until;

/// Where the sources are.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/programs");

/// The program of `programs/NAME.c`.
pub fn compiled(name: &str) -> PathBuf {
    compile(name, &["-pthread"])
}

/// The same, linked statically.
pub fn compiled_static(name: &str) -> PathBuf {
    compile(name, &["-static"])
}

/// A Python program of `programs`.
pub fn script(name: &str) -> PathBuf {
    Path::new(SOURCES).join(name)
}

fn compile(name: &str, options: &[&str]) -> PathBuf {
    let folder = env::current_exe().unwrap().with_file_name("programs");
    fs::create_dir_all(&folder).unwrap();
    let (source, program) = (Path::new(SOURCES).join(format!("{name}.c")), folder.join(name));
    let sources = [source.clone(), Path::new(SOURCES).join("pool.h"), Path::new(SOURCES).join("count.h")];
    if sources.iter().all(|source| is_newer(&program, source)) {
        return program;
    }
    let status = Command::new("cc")
        .args(["-O2", "-Wall", "-Wextra", "-Werror"])
        .args(options)
        .arg("-o")
        .args([&program, &source])
        .status()
        .expect("there is a C compiler");
    assert!(status.success(), "cc {name}.c: {status}");
    program
}

pub(crate) fn is_newer(program: &Path, source: &Path) -> bool {
    let time = |path: &Path| -> Option<SystemTime> { fs::metadata(path).ok()?.modified().ok() };
    time(program).is_some_and(|program| Some(program) > time(source))
}

/// A copy of a program in a folder that every user may enter. It lasts as long as the folder is held.
pub fn for_everyone(program: &Path) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = folder.path().join(program.file_name().unwrap());
    fs::copy(program, &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    (folder, copy)
}

/// A running program that listens on stdin and answers on stdout. It is killed when dropped.
#[derive(Debug)]
pub struct Started {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

/// Starts a program.
pub fn start<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, args: &[S]) -> Started {
    Started::new(Command::new(program).args(args))
}

impl Started {
    /// Starts `command` with its stdin and stdout in our hand.
    pub fn new(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { stdin: child.stdin.take(), stdout: BufReader::new(child.stdout.take().unwrap()), child }
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a line.
    pub fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Waits for a line. At the end of its output an empty one comes.
    pub fn hear(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// All the lines up to the end of its output.
    pub fn hear_all(&mut self) -> Vec<String> {
        self.stdout.by_ref().lines().map(Result::unwrap).collect()
    }

    /// Whether it still runs.
    pub fn lives(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Kills it and waits for its end.
    pub fn kill(&mut self) -> ExitStatus {
        self.child.kill().unwrap();
        self.child.wait().unwrap()
    }

    /// Closes its stdin and waits for its end.
    pub fn end(&mut self) -> ExitStatus {
        drop(self.stdin.take());
        until("the program's end", || self.child.try_wait().unwrap())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // What has ended cannot be killed, and that is well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
