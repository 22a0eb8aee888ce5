//! A program that is given a text, for a bounded time.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nix::unistd::{User, geteuid};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal},
};

use super::{message::Undelivered, obstacles};
use crate::text::{escape, escape_cut, until_zero};

/// So much of what it complains about is kept, bytes.
const MAX_COMPLAINT: u64 = 4096;

/// So much of that is told, characters.
const SHOWN: usize = 200;

/// Where programs look for others.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is run.
pub(super) struct Job<'a> {
    pub(super) program: &'a Path,
    pub(super) arguments: &'a [String],
    /// Whose rights it has, and no others.
    pub(super) run_as: &'a str,
    /// All of its environment, besides PATH, HOME, USER and LANG.
    pub(super) environment: &'a [(&'static str, String)],
    /// What it reads from its standard input.
    pub(super) input: &'a [u8],
    /// After so long it is killed.
    pub(super) limit: Duration,
}

/// Runs it. It must end with code 0.
pub(super) fn run(job: &Job<'_>) -> Result<(), Undelivered> {
    try_run(job).map_err(Undelivered::later)
}

fn try_run(job: &Job<'_>) -> Result<(), String> {
    let shown = escape(job.program.as_os_str().as_encoded_bytes());
    let user = find_user(job.run_as)?;
    obstacles::of_program(job.program, user.uid.as_raw())?;
    let prepared = input(job.input).and_then(|input| Ok((input, complaints()?)));
    let (input, mut complaints) = prepared.map_err(|error| format!("no memory for {shown}: {error}"))?;
    let mut command = Command::new(job.program);
    command
        .args(job.arguments)
        .env_clear()
        .env("PATH", SEARCH_PATH)
        .env("HOME", &user.dir)
        .env("USER", &user.name)
        .env("LANG", "C.UTF-8")
        .envs(job.environment.iter().map(|(key, value)| (key, value)))
        .current_dir("/")
        .process_group(0)
        .stdin(input)
        .stdout(Stdio::null())
        .stderr(complaints.try_clone().map_err(|error| format!("no descriptor for {shown}: {error}"))?);
    if user.uid != geteuid() {
        // The supplementary groups go with root's uid.
        command.gid(user.gid.as_raw()).uid(user.uid.as_raw());
    }
    let child = command
        .spawn()
        .map_err(|error| format!("{shown} cannot be started as {}: {error}", escape(user.name.as_bytes())))?;
    match wait(child, job.limit).map_err(|error| format!("{shown} cannot be waited for: {error}"))? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(format!("{shown}: {status}{}", last_line(&mut complaints))),
        None => Err(format!(
            "{shown} took longer than {} and was killed{}",
            crate::duration::exact(job.limit),
            last_line(&mut complaints)
        )),
    }
}

fn find_user(name: &str) -> Result<User, String> {
    let shown = escape(name.as_bytes());
    let user = User::from_name(name).map_err(|error| format!("user {shown} cannot be looked up: {error}"))?;
    let user = user.ok_or_else(|| format!("there is no user {shown} to run it"))?;
    if geteuid().is_root() || user.uid == geteuid() {
        Ok(user)
    } else {
        Err(format!("only root can run it as {shown}"))
    }
}

/// A file in memory with that in it: the program need not read it, nor all of it.
fn input(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("procwatch", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    file.write_all(bytes)?;
    file.rewind()?;
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK)?;
    Ok(file)
}

/// A file in memory that takes so much and no more.
fn complaints() -> io::Result<File> {
    let file = File::from(memfd_create("procwatch", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    ftruncate(&file, MAX_COMPLAINT)?;
    fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK)?;
    Ok(file)
}

/// Its end; `None` when it was killed, with its process group, because it took too long.
fn wait(mut child: Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    // It was not waited for yet: its pid, which is its group's number as well, is nobody else's.
    let pid = Pid::from_raw(child.id().cast_signed()).ok_or_else(|| io::Error::other("no process id"))?;
    let ended = pidfd_open(pid, PidfdFlags::empty()).map_err(io::Error::from).and_then(|pidfd| {
        let is_ended = is_ended_within(&pidfd, limit)?;
        if !is_ended {
            pidfd_send_signal(&pidfd, Signal::KILL)?;
        }
        Ok(is_ended)
    });
    if !matches!(ended, Ok(true)) {
        // Those that it started. There may be none left, and no other way to say so.
        let _ = kill_process_group(pid, Signal::KILL);
        child.kill()?;
    }
    let status = child.wait()?;
    ended.map(|is_ended| is_ended.then_some(status))
}

fn is_ended_within(pidfd: &std::os::fd::OwnedFd, limit: Duration) -> io::Result<bool> {
    let begun = Instant::now();
    loop {
        let left = limit.saturating_sub(begun.elapsed());
        let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => {}
            ready => return Ok(ready? > 0),
        }
    }
}

/// `: ` and the last line that it wrote; nothing when it wrote none.
fn last_line(complaints: &mut File) -> String {
    let mut said = Vec::new();
    if complaints.rewind().and_then(|()| complaints.take(MAX_COMPLAINT).read_to_end(&mut said)).is_err() {
        return String::new();
    }
    let mut lines = until_zero(&said).split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.next_back().map(|line| format!(": {}", escape_cut(line, SHOWN))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt as _};

    /// Runs a script of the shell as ourselves.
    fn script(text: &str, input: &str, limit: Duration) -> Result<(), String> {
        let me = User::from_uid(geteuid()).unwrap().unwrap().name;
        let job = Job {
            program: Path::new("/bin/sh"),
            arguments: &["-c".to_owned(), text.to_owned()],
            run_as: &me,
            environment: &[("PROCWATCH_KIND", "alert".to_owned())],
            input: input.as_bytes(),
            limit,
        };
        run(&job).map_err(|undelivered| undelivered.why)
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn it_gets_its_input_and_a_small_environment() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let large = "x".repeat(1 << 20);
        script(&format!("cat > {0}; env | sort | cut -d= -f1 > {0}.env", path.display()), &large, LONG)
            .unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), large);
        let names = fs::read_to_string(folder.path().join("out.env")).unwrap();
        let names: Vec<&str> =
            names.lines().filter(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name)).collect();
        assert_eq!(names, ["HOME", "LANG", "PATH", "PROCWATCH_KIND", "USER"]);
    }

    #[test]
    fn who_reads_nothing_and_says_much_is_no_trouble() {
        script("true", &"x".repeat(1 << 20), LONG).unwrap();
        let error = script("yes no >&2; exit 3", "", LONG).unwrap_err();
        assert!(error.starts_with("/bin/sh: exit status: 3"), "{error}");
        let error = script("printf 'first\\nlast \\033[2J\\n' >&2; exit 1", "", LONG).unwrap_err();
        assert_eq!(error, "/bin/sh: exit status: 1: last \\x1b[2J");
    }

    #[test]
    fn who_takes_too_long_is_killed_with_his_children() {
        let folder = tempfile::tempdir().unwrap();
        let pids = folder.path().join("pids");
        let text = format!("sleep 600 & echo $! > {0}; sleep 600", pids.display());
        let begun = Instant::now();
        let error = script(&text, "", Duration::from_millis(500)).unwrap_err();
        assert_eq!(error, "/bin/sh took longer than 500ms and was killed");
        assert!(begun.elapsed() < LONG);
        let child: i32 = fs::read_to_string(&pids).unwrap().trim().parse().unwrap();
        let state = || fs::read_to_string(format!("/proc/{child}/stat")).ok();
        // An orphan that is dead may wait for someone to reap it.
        while state().is_some_and(|stat| !stat.contains(") Z")) {
            assert!(begun.elapsed() < LONG);
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn what_cannot_be_run_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("x");
        fs::write(&program, "#!/no/such/interpreter\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let me = User::from_uid(geteuid()).unwrap().unwrap().name;
        let error = |program: &Path, run_as: &str| {
            let job = Job { program, arguments: &[], run_as, environment: &[], input: b"", limit: LONG };
            run(&job).unwrap_err().why
        };
        let started = error(&program, &me);
        assert!(started.contains("cannot be started as") && started.contains("No such file"), "{started}");
        assert_eq!(error(&program, "no-such-user"), "there is no user no-such-user to run it");
        assert_eq!(error(Path::new("/no/such"), &me), "/no/such: there is no such file; install it");
    }
}
