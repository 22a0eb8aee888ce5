//! What an agent takes that has nothing to do.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::unistd::{SysconfVar, sysconf};

use super::{
    Bench,
    report::{Figure, Section},
};
use crate::{
    agent::{Agent, read},
    exec, interrupt, load,
};

/// The most that an idle agent may wake up.
const TARGET_PER_SECOND: f64 = 1.0;
/// The most that it may hold.
const TARGET_MB: f64 = 12.0;
/// The most that it may take to be armed, ms.
const TARGET_ARMED_MS: f64 = 200.0;

/// How long after its start the agent has looked around and given back what it needed only for that.
pub(super) const SETTLED: Duration = Duration::from_secs(3);

/// Why it takes longer.
const WHY_ARMED: &str = "the kernel's verifier takes about half of it (see there for how much it has to look at), the types of \
    the kernel, which are read and searched once, most of the rest";
/// Why it holds more.
const WHY_MB: &str = "the agent's own memory is the anonymous part, below. 4 MB are the two rings, each page of which is mapped \
    twice and counted twice; the rest are pages of its program file and of the C library, which the kernel keeps as long as it \
    has room. What the start alone needs of them is given back";

/// Takes the figures.
pub(super) fn measure(bench: &Bench) -> Result<Section> {
    let (mut told, mut clock) = (Vec::new(), Vec::new());
    for _ in 0..bench.pick(2, 6) {
        let (agent, armed) = start(bench)?;
        told.push(armed.told_ms);
        clock.push(armed.clock_ms);
        agent.stop(|_| {})?;
    }
    let (mut agent, armed) = start(bench)?;
    told.push(armed.told_ms);
    clock.push(armed.clock_ms);
    let mut figures = vec![
        Figure::median("start to armed, by its own record", "ms", &told)
            .at_most(TARGET_ARMED_MS)
            .when_missed(WHY_ARMED),
        Figure::median("start to armed, by the clock", "ms", &clock),
    ];
    figures.extend(watch(&agent, Duration::from_secs(bench.pick(5, 60)))?);
    figures.push(after_work(&mut agent)?);
    agent.stop(|_| {})?;
    Ok(Section {
        title: "Idle",
        commands: vec![
            "procwatch run --json".to_owned(),
            format!("{} explode 300", load::NAME),
            "cat /proc/PID/status /proc/PID/stat /proc/PID/task/*/status".to_owned(),
        ],
        figures,
    })
}

/// How long it took to stand.
pub(super) struct Armed {
    pub(super) told_ms: f64,
    clock_ms: f64,
}

/// Starts an agent and waits until it is armed.
pub(super) fn start(bench: &Bench) -> Result<(Agent, Armed)> {
    let mut command = bench.procwatch(&["run", "--json"])?;
    let begun = Instant::now();
    let mut agent = Agent::start(&mut command)?;
    let mut told_ms = None;
    agent.until(Duration::from_secs(20), |line| {
        told_ms = armed_ms(line);
        told_ms.is_some()
    })?;
    let armed = Armed {
        told_ms: told_ms.context("the agent was not armed within 20 s")?,
        clock_ms: begun.elapsed().as_secs_f64() * 1e3,
    };
    Ok((agent, armed))
}

/// The time in the record that tells that the agent is armed.
fn armed_ms(line: &str) -> Option<f64> {
    let (_, rest) = line.split_once("armed in ")?;
    rest.split_once(" ms")?.0.parse().ok()
}

/// Lets it be for a while.
fn watch(agent: &Agent, time: Duration) -> Result<Vec<Figure>> {
    thread::sleep(SETTLED);
    let proc = agent.proc();
    let (switches, cpu, begun) = (switches(&proc)?, cpu_seconds(&proc)?, Instant::now());
    while begun.elapsed() < time {
        interrupt::check()?;
        thread::sleep(Duration::from_millis(200));
    }
    let seconds = begun.elapsed().as_secs_f64();
    let woken = self::switches(&proc)?.saturating_sub(switches) as f64;
    let cpu = cpu_seconds(&proc)? - cpu;
    let status = read(&proc.join("status"))?;
    let mb = |name| field(&status, name).map(|kb| kb as f64 / 1024.0);
    Ok(vec![
        Figure::one("context switches of all its threads", "/s", woken / seconds)
            .at_most(TARGET_PER_SECOND)
            .note(format!("{woken} in {seconds:.0} s")),
        Figure::one("CPU time", "ms/s", cpu / seconds * 1e3).note("counted in ticks of 10 ms"),
        Figure::one("resident", "MB", mb("VmRSS")?).at_most(TARGET_MB).when_missed(WHY_MB),
        Figure::one("resident, anonymous", "MB", mb("RssAnon")?),
        Figure::one("resident at its peak, while loading", "MB", mb("VmHWM")?),
        Figure::one("threads", "", field(&status, "Threads")? as f64),
    ])
}

/// What it holds when it has told of an explosion and of what caused it.
fn after_work(agent: &mut Agent) -> Result<Figure> {
    exec::read(&mut load::command(&["explode", "300"])?)?;
    let told = agent.until(Duration::from_secs(20), |line| line.contains(r#""kind":"diagnosis""#))?;
    ensure!(told, "the agent told no cause within 20 s");
    let kb = field(&read(&agent.proc().join("status"))?, "VmRSS")?;
    let note = "the code that it needed for that, which the kernel takes back when it wants the room";
    Ok(Figure::one("resident, after an alert and its diagnosis", "MB", kb as f64 / 1024.0).note(note))
}

/// Context switches so far, voluntary and not, of all threads of a process.
fn switches(proc: &Path) -> Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(proc.join("task"))? {
        // A thread may end between the two.
        let Ok(status) = fs::read_to_string(task?.path().join("status")) else {
            continue;
        };
        sum += field(&status, "voluntary_ctxt_switches")? + field(&status, "nonvoluntary_ctxt_switches")?;
    }
    Ok(sum)
}

/// CPU time so far, of all threads of a process.
pub(crate) fn cpu_seconds(proc: &Path) -> Result<f64> {
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("the kernel's clock has no rate")?;
    Ok(ticks(&read(&proc.join("stat"))?)? as f64 / per_second as f64)
}

/// User and system time in /proc/PID/stat. The name of the process may contain anything but a last bracket.
fn ticks(stat: &str) -> Result<u64> {
    let (_, rest) = stat.rsplit_once(") ").context("stat is not as expected")?;
    let mut fields = rest.split(' ').skip(11);
    let mut next = || fields.next().and_then(|field| field.parse::<u64>().ok());
    match (next(), next()) {
        (Some(user), Some(system)) => Ok(user + system),
        _ => bail!("stat has no times"),
    }
}

/// A number of /proc/PID/status.
pub(crate) fn field(status: &str, name: &str) -> Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.with_context(|| format!("status has no {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_in_proc() {
        let status = "Name:\tx\nVmRSS:\t    7488 kB\nvoluntary_ctxt_switches:\t4\n";
        assert_eq!(field(status, "VmRSS").unwrap(), 7488);
        assert_eq!(field(status, "voluntary_ctxt_switches").unwrap(), 4);
        assert!(field(status, "Vm").is_err());
        let stat = "12 (a) b) S 1 12 12 0 -1 4194560 100 0 0 0 31 11 0 0 20 0 1 0 5 6 7";
        assert_eq!(ticks(stat).unwrap(), 42);
    }

    #[test]
    fn time_to_armed_is_found_in_its_record() {
        let line = r#"{"kind":"health","topic":"armed","message":"armed in 206 ms: thread levels 80"}"#;
        assert_eq!(armed_ms(line), Some(206.0));
        assert_eq!(armed_ms("x"), None);
    }
}
