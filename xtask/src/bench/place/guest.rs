//! The part of the comparison that runs in the virtual machine, as root: sets a mover to work, lets the sessions run,
//! and counts.

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Parser, Subcommand};
use serde_json::Value;

use super::{
    measured::{Measured, Run},
    mover::{LEAF, Mover, SLICE},
    witness::{Told, Witness},
};
use crate::{
    agent::{Agent, Ending, read},
    exec,
};

/// The name that tells a process of this program that it is in a guest.
pub(crate) const NAME: &str = "procwatch-place-bench";

/// What the line with the figures begins with.
pub(super) const RESULT: &str = "place-bench: ";

/// The cgroup hierarchy of Debian 12.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Two ways into a session, which take turns. A program that makes 5 children, each of which lives for 20 ms, is run by
/// aimgr's shell; or in place of it, so that it begins with nothing before.
const WAYS: [&[&str]; 2] =
    [&["aimgr", "--command", "/job/burst 5 20"], &["aimgr", "--shell", "/job/burst", "5", "20"]];

/// Sessions at a time in the second half; in the first half they come one after the other.
const AT_ONCE: u32 = 4;

/// How long a program may take to stand.
const PATIENCE: Duration = Duration::from_mins(1);

/// Processes that are left where they are by a mover that is right: what they are, and how they are started. Each of
/// them makes a child five times a second.
const BYSTANDERS: [(&str, &[&str]); 4] = [
    ("a system service of aimgr", &["--uid=aimgr"]),
    ("a delegated service of aimgr", &["--uid=aimgr", "--slice=user-1000.slice", "--property=Delegate=yes"]),
    ("a service of root", &[]),
    ("a service of desk", &["--uid=desk", "--slice=user-1000.slice"]),
];

#[derive(Parser)]
#[command(name = NAME, disable_help_subcommand = true)]
struct Guest {
    #[command(subcommand)]
    work: Work,
}

#[derive(Subcommand)]
enum Work {
    /// Measures a mover
    Measure { mover: Mover, sessions: u32 },
    /// Runs sessions, so many at a time, in a session of desk
    Storm { sessions: u32, at_once: u32 },
}

/// Does the work when this process was started in a guest.
pub(crate) fn requested() -> Option<Result<()>> {
    let name = env::args_os().next()?;
    (Path::new(&name).file_name() == Some(OsStr::new(NAME))).then(|| match Guest::parse().work {
        Work::Measure { mover, sessions } => measure(mover, sessions),
        Work::Storm { sessions, at_once } => storm(sessions, at_once),
    })
}

/// Runs `su` from the caller's session, again and again.
fn storm(sessions: u32, at_once: u32) -> Result<()> {
    let mut running: Vec<Child> = Vec::new();
    for number in 0..sessions {
        let mut su = Command::new("su");
        su.args(WAYS[number as usize % WAYS.len()]).stdin(Stdio::null());
        running.push(su.spawn().context("cannot start su")?);
        if running.len() == at_once as usize || number + 1 == sessions {
            for mut child in running.drain(..) {
                ensure!(child.wait()?.success(), "a session failed");
            }
        }
    }
    Ok(())
}

/// Measures one mover and writes the figures as one line.
fn measure(mover: Mover, sessions: u32) -> Result<()> {
    exec::run(Command::new("mount").args(["-o", mover.mount_options(), CGROUPS]))?;
    keep_slice()?;
    let bystanders = BYSTANDERS.iter().map(bystander).collect::<Result<Vec<_>>>()?;
    let mut watch = procwatch(&["watch", "--json", "--kind", "fork,exit,uid,cgroup", "--ring-kib", "65536"])?;
    let witness_pid = watch.pid();
    let at_work = Working::start(mover)?;
    let cpu_before = (at_work.cpu_ms(witness_pid)?, cpu_ms(1)?);

    let (begun, begun_ns) = (Instant::now(), since_boot_ns()?);
    let mut told = Told::default();
    for (sessions, at_once) in [(sessions / 2, 1), (sessions - sessions / 2, AT_ONCE)] {
        in_desks_session(sessions, at_once, &mut told)?;
    }
    let took = begun.elapsed();
    let mover_cpu_ms = at_work.cpu_ms(witness_pid)? - cpu_before.0;
    let init_cpu_ms = cpu_ms(1)? - cpu_before.1;

    let mut witness = Witness::new(bystanders, begun_ns);
    // What it told before, and what it still has to say.
    while let Some(line) = watch.line_before(Instant::now())? {
        witness.note(&line);
    }
    watch.stop(|line| witness.note(line))?;
    let own = at_work.stop()?;
    let run = Run { told, seen: witness.seen, own, mover_cpu_ms, init_cpu_ms, took };
    writeln!(io::stdout(), "{RESULT}{}", serde_json::to_string(&Measured::new(mover, run))?)?;
    Ok(())
}

/// Keeps aimgr's slice an active unit.
fn keep_slice() -> Result<()> {
    let words = ["--quiet", "--unit=keeper", "--slice=user-1003.slice", "sleep", "infinity"];
    exec::run(Command::new("systemd-run").args(words))
}

/// Starts a bystander; returns its pid and what it is.
fn bystander(&(name, options): &(&str, &[&str])) -> Result<(u64, String)> {
    let unit = name.replace(' ', "-");
    let mut run = Command::new("systemd-run");
    run.args(["--quiet", "--unit", &unit]).args(options);
    exec::run(run.args(["sh", "-c", "while sleep 0.2; do /bin/true; done"]))?;
    let pid = exec::read(Command::new("systemctl").args(["show", "--property=MainPID", "--value", &unit]))?;
    Ok((pid.trim().parse()?, name.to_owned()))
}

/// Lets sessions run in a login session of desk and takes in what they tell.
fn in_desks_session(sessions: u32, at_once: u32, told: &mut Told) -> Result<()> {
    let mut run = Command::new("systemd-run");
    run.args(["--quiet", "--pipe", "--wait", "--uid=desk", "--property=PAMName=login"]);
    run.args([&format!("/job/{NAME}"), "storm", &sessions.to_string(), &at_once.to_string()]);
    let mut child = run.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().context("the pipe of the sessions is gone")?;
    for line in BufReader::new(output).lines() {
        told.note(&line?);
    }
    ensure!(child.wait()?.success(), "the sessions failed");
    Ok(())
}

/// `procwatch ARGUMENTS`, armed.
fn procwatch(arguments: &[&str]) -> Result<Agent> {
    let mut agent = Agent::start(Command::new("/job/procwatch").args(arguments))?;
    let armed = agent.until(PATIENCE, |line| line.contains(r#""topic":"armed""#))?;
    ensure!(armed, "procwatch {} was not armed within {PATIENCE:?}", arguments.join(" "));
    Ok(agent)
}

/// A mover at work.
enum Working {
    Nothing,
    Procwatch(Agent),
    Cgrulesengd(Ending),
}

impl Working {
    /// Starts it; returns when it stands.
    fn start(mover: Mover) -> Result<Self> {
        if let Some(config) = mover.procwatch() {
            fs::write("/job/place.toml", config)?;
            return Ok(Self::Procwatch(procwatch(&["run", "--json", "--config", "/job/place.toml"])?));
        }
        if mover == Mover::Nothing { Ok(Self::Nothing) } else { cgrulesengd().map(Self::Cgrulesengd) }
    }

    /// CPU time that it used so far, with that of its helpers, ms.
    fn cpu_ms(&self, witness: u32) -> Result<u64> {
        match self {
            Self::Nothing => Ok(0),
            Self::Cgrulesengd(child) => cpu_ms(child.0.id()),
            Self::Procwatch(_) => processes_of_procwatch(witness)?.into_iter().map(cpu_ms).sum(),
        }
    }

    /// Ends it; returns what it told.
    fn stop(self) -> Result<Vec<Value>> {
        let mut records = Vec::new();
        if let Self::Procwatch(mut agent) = self {
            let mut note = |line: &str| records.extend(serde_json::from_str::<Value>(line));
            while let Some(line) = agent.line_before(Instant::now())? {
                note(&line);
            }
            agent.stop(note)?;
        }
        Ok(records)
    }
}

/// Pids of processes that run procwatch's binary, without the witness.
fn processes_of_procwatch(witness: u32) -> Result<Vec<u32>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        // A process may end before it is looked at.
        let exe = fs::read_link(entry.path().join("exe"));
        if pid != witness && exe.is_ok_and(|exe| exe == Path::new("/job/procwatch")) {
            pids.push(pid);
        }
    }
    Ok(pids)
}

/// Starts cgrulesengd with a rule for aimgr; it wants its leaf made beforehand, and its controller there.
fn cgrulesengd() -> Result<Ending> {
    for parent in ["", "/user.slice", SLICE] {
        let file = format!("{CGROUPS}{parent}/cgroup.subtree_control");
        fs::write(&file, "+cpu +pids").with_context(|| format!("cannot write {file}"))?;
    }
    fs::create_dir(format!("{CGROUPS}{LEAF}")).context("cannot make cgrulesengd's leaf")?;
    fs::create_dir_all("/etc/cgconfig.d")?;
    fs::write("/etc/cgconfig.conf", "")?;
    fs::write("/etc/cgrules.conf", format!("aimgr\tcpu\t{}\n", LEAF.trim_start_matches('/')))?;
    let log = "/job/cgrulesengd.log";
    let mut child = Ending(Command::new("cgrulesengd").args(["--nodaemon", "-f", log]).spawn()?);
    // It says nothing of its own, so a process of aimgr tells whether it is there.
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if let Some(status) = child.0.try_wait()? {
            bail!("cgrulesengd has ended ({status}): {}", read(Path::new(log)).unwrap_or_default());
        }
        let trial = ["--reuid=aimgr", "--regid=aimgr", "--clear-groups", "/job/burst", "0", "0"];
        if exec::read(Command::new("setpriv").args(trial))?.trim_end().ends_with(LEAF) {
            return Ok(child);
        }
        thread::sleep(Duration::from_millis(200));
    }
    bail!("cgrulesengd moves nothing: {}", read(Path::new(log)).unwrap_or_default())
}

/// Time since boot, ns, as exact as the kernel tells it in text: 10 ms.
fn since_boot_ns() -> Result<u64> {
    let uptime = read(Path::new("/proc/uptime"))?;
    let seconds: f64 = uptime.split(' ').next().unwrap_or_default().parse()?;
    Ok((seconds * 1e9) as u64)
}

/// CPU time of a process, ms.
fn cpu_ms(pid: u32) -> Result<u64> {
    let stat = read(Path::new(&format!("/proc/{pid}/stat")))?;
    let ticks = cpu_ticks(&stat).with_context(|| format!("/proc/{pid}/stat cannot be read"))?;
    // The kernel's clock for user space has 100 ticks a second on every architecture.
    Ok(ticks * 10)
}

/// utime and stime in a `stat`; the name in it may contain anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "42 (a) 1 b) S 1 42 42 0 -1 4194560 100 200 0 0 17 4 50 60 20 0 1 0 100 1000 200 18";
        assert_eq!(cpu_ticks(stat), Some(21));
        assert_eq!(cpu_ticks("42 (a"), None);
    }
}
