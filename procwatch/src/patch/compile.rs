//! Whether a source compiles, by the word of the interpreter that runs it.
//!
//! The interpreter is the process' own, so it may be anything. It gets the process' user and group, no environment, no
//! site, no folder of its own to import from, no descriptor but the source and a place for its answer, and little time.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{AtFlags, MemfdFlags, memfd_create, statat},
    process::{Pid, PidfdFlags, Resource, Rlimit, pidfd_open, setrlimit},
    thread::set_no_new_privs,
};

use super::{NoPatch, PatchError, access::Process};
use crate::text::Text;

/// How long the interpreter may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most bytes of an answer.
const MAX_ANSWER: u64 = 1 << 14;
/// Most memory of the interpreter, bytes.
const MAX_MEMORY: u64 = 1 << 30;
/// What it is told to do: what `py_compile` does, but for the file that it would write.
const PROGRAM: &str = "import sys\n\
    compile(sys.stdin.buffer.read(), 'source', 'exec', 0, True)\n\
    print('compiled')\n";
const GOOD: &[u8] = b"compiled\n";

/// Asks the interpreter of `process` whether `source` compiles.
pub(super) fn check(process: &Process, source: &[u8]) -> Result<(), PatchError> {
    let python = interpreter(process)?;
    let unasked =
        |what: &'static str| move |error: io::Error| PatchError::NoAnswer(format!("{what}: {error}"));
    let mut answer = memory().map_err(unasked("a place for its answer"))?;
    let mut command = Command::new(&python);
    command
        .args(["-I", "-S", "-B", "-c", PROGRAM])
        .env_clear()
        .current_dir("/")
        .stdin(filled(source).map_err(unasked("a place for the source"))?)
        .stdout(answer.try_clone().map_err(unasked("a place for its answer"))?)
        .stderr(answer.try_clone().map_err(unasked("a place for its answer"))?);
    if process.is_anothers() {
        // Root's other groups are dropped as well.
        command.uid(process.uid).gid(process.gid);
    }
    // SAFETY: between fork and exec only system calls are made, without allocating and without a lock.
    unsafe {
        command.pre_exec(confine);
    }
    let child = command.spawn().map_err(unasked("starting it"))?;
    let status = wait(child).map_err(unasked("waiting for it"))?;
    let mut said = Vec::new();
    answer.rewind().map_err(unasked("its answer"))?;
    answer.take(MAX_ANSWER).read_to_end(&mut said).map_err(unasked("its answer"))?;
    match status {
        None => Err(PatchError::NoAnswer("it took longer than 5 s".to_owned())),
        Some(status) if status.success() && said.ends_with(GOOD) => Ok(()),
        Some(_) => Err(PatchError::DoesNotCompile(last_line(&said))),
    }
}

/// The path of the process' interpreter, which must be the very file that the process runs.
fn interpreter(process: &Process) -> Result<PathBuf, PatchError> {
    let gone = |_| PatchError::Refused(NoPatch::Gone);
    let link = rustix::fs::readlinkat(&process.folder, "exe", Vec::new()).map_err(gone)?;
    let running = statat(&process.folder, "exe", AtFlags::empty()).map_err(gone)?;
    let path = PathBuf::from(OsStr::from_bytes(link.as_bytes()));
    let name = path.file_name().map(OsStr::as_encoded_bytes).unwrap_or_default();
    if !name.starts_with(b"python") && !name.starts_with(b"pypy") {
        return Err(PatchError::NotPython("its name says so"));
    }
    let here = std::fs::symlink_metadata(&path);
    let here =
        here.map_err(|_| PatchError::NotPython("its file was removed, or is in another mount namespace"))?;
    if (here.dev(), here.ino()) != (running.st_dev, running.st_ino) {
        return Err(PatchError::NotPython("its file was replaced, or is in another mount namespace"));
    }
    if !process.is_anothers() && !is_safe_for_us(&path) {
        return Err(PatchError::NotPython("others may write it"));
    }
    Ok(path)
}

/// With our own rights only a file is run that nobody else may write.
fn is_safe_for_us(path: &Path) -> bool {
    let me = nix::unistd::geteuid().as_raw();
    std::fs::metadata(path).is_ok_and(|it| [0, me].contains(&it.uid()) && it.mode() & 0o022 == 0)
}

fn confine() -> io::Result<()> {
    let limit = |most| Rlimit { current: Some(most), maximum: Some(most) };
    setrlimit(Resource::Cpu, limit(PATIENCE.as_secs()))?;
    setrlimit(Resource::As, limit(MAX_MEMORY))?;
    setrlimit(Resource::Fsize, limit(MAX_ANSWER))?;
    setrlimit(Resource::Core, limit(0))?;
    set_no_new_privs(true)?;
    Ok(())
}

/// Its end, or `None` when it was killed because it took too long.
fn wait(mut child: Child) -> io::Result<Option<ExitStatus>> {
    let ended = Pid::from_raw(child.id().cast_signed())
        .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        .and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::empty())?))
        .and_then(|pidfd| {
            let patience = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
            Ok(poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&patience))? == 1)
        });
    match ended {
        Ok(true) => child.wait().map(Some),
        other => {
            child.kill()?;
            child.wait()?;
            other.map(|_| None)
        }
    }
}

/// A file without a name.
fn memory() -> io::Result<File> {
    Ok(File::from(memfd_create("procwatch", MemfdFlags::CLOEXEC)?))
}

fn filled(bytes: &[u8]) -> io::Result<File> {
    let mut file = memory()?;
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// The last line that says something.
fn last_line(said: &[u8]) -> Text {
    let mut lines = said.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    Text::new(lines.next_back().unwrap_or(b"it did not say why"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{patch::scene::Python, samples};

    #[test]
    fn the_interpreter_itself_says_what_compiles() {
        let python = Python::sleeping("x = 1\n");
        let process = Process::find(python.key()).unwrap();
        check(&process, b"def f():\n    return 1\n").unwrap();
        check(&process, "# Gr\u{fc}\u{df}e\nx = 'ü'\n".as_bytes()).unwrap();
        let error = check(&process, b"def f():\n    return 1 +\n").unwrap_err();
        assert!(
            matches!(&error, PatchError::DoesNotCompile(why) if why.as_bytes().starts_with(b"SyntaxError")),
            "{error}"
        );
        // What is compiled is not run.
        check(&process, b"import os\nos.abort()\n").unwrap();
    }

    #[test]
    fn what_is_no_python_is_not_asked() {
        let me = Process::find(samples::me().key()).unwrap();
        assert!(matches!(check(&me, b"x\n"), Err(PatchError::NotPython(_))));
    }

    #[test]
    fn who_takes_too_long_is_ended() {
        let begun = std::time::Instant::now();
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        assert!(wait(child).unwrap().is_none());
        assert!(begun.elapsed() >= PATIENCE && begun.elapsed() < PATIENCE * 4);
    }
}
