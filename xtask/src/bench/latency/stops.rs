//! From the kernel's stamp of the crossing of `stop-at` until all threads of the process stand still, as its parent sees it.

use std::{
    collections::HashMap,
    fs,
    io::Write as _,
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::{
    libc,
    sys::wait::{WaitPidFlag, WaitStatus, waitpid},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};
use serde_json::Value;

use super::{armed, quantiles};
use crate::{
    agent::{Agent, Ending},
    bench::{Bench, report::Figure},
    interrupt, load,
};

/// Threads that it would like to have.
const THREADS: &str = "300";
/// The rule. It goes by the command line: the name is the process' own only after its exec.
const CONFIG: &str = "mode = \"enforce\"\n[[threads]]\nargv = \"procwatch-demo explode*\"\n\
    stop-at = 150\nlevels = false\nburst = false\nleak = false\n";
/// How long the agent has for choosing the rule of a process after its exec.
const CHOICE: Duration = Duration::from_millis(50);

/// What ran.
pub(super) fn commands() -> [String; 2] {
    [
        "procwatch run --json --config stop.toml   # stop-at = 150".to_owned(),
        format!(
            "{} explode {THREADS} --told   # its parent waits for the stop, at the agent's priority",
            load::NAME
        ),
    ]
}

/// Processes that are stopped, one after the other.
pub(super) fn figures(bench: &Bench, load: &str) -> Result<[Figure; 3]> {
    let folder = tempfile::tempdir().context("cannot make a folder for the configuration")?;
    let config = folder.path().join("stop.toml");
    fs::write(&config, CONFIG).context("cannot write the configuration")?;
    let mut agent = armed(bench.procwatch(&["run", "--json", "--config"])?.arg(&config))?;
    let count = bench.pick(10, 100);
    let mut stopped = HashMap::new();
    for _ in 0..count {
        interrupt::check()?;
        let (pid, time_ns) = stop_one()?;
        stopped.insert(pid, time_ns);
    }
    let mut latencies = Vec::new();
    collect(&mut agent, &stopped, &mut latencies)?;
    agent.stop(|_| {})?;
    let [p50, p99, max] = quantiles(&format!("stop, {load}"), &latencies);
    Ok([p50.note(format!("{} stops of {count}", latencies.len())), p99, max])
}

/// A process that is stopped, and when its parent saw it, `CLOCK_BOOTTIME` ns.
fn stop_one() -> Result<(u64, u64)> {
    let mut child = Ending(load::command(&["explode", THREADS, "--told"])?.stdout(Stdio::null()).spawn()?);
    thread::sleep(CHOICE);
    let seen = wait_for_stop(&mut child.0)?;
    Ok((u64::from(child.0.id()), seen))
}

fn wait_for_stop(child: &mut Child) -> Result<u64> {
    let _urgently = Realtime::begin()?;
    child.stdin.as_mut().context("the load's pipe is gone")?.write_all(&[0])?;
    match waitpid(Pid::from_raw(child.id() as i32), Some(WaitPidFlag::WUNTRACED))? {
        WaitStatus::Stopped(..) => {
            let now = clock_gettime(ClockId::CLOCK_BOOTTIME)?;
            Ok(now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
        }
        other => bail!("the process was not stopped: {other:?}"),
    }
}

/// Latencies of the stops that the agent tells of, ms.
fn collect(agent: &mut Agent, stopped: &HashMap<u64, u64>, latencies: &mut Vec<f64>) -> Result<()> {
    agent.until(Duration::from_secs(5), |line| {
        latencies.extend(latency_ms(line, stopped));
        latencies.len() == stopped.len()
    })?;
    Ok(())
}

/// The time from the stamp in a line to the sight, when it tells of a stop of one of ours.
fn latency_ms(line: &str, stopped: &HashMap<u64, u64>) -> Option<f64> {
    let record: Value = serde_json::from_str(line).ok()?;
    let is_stop = record["kind"] == "alert" && record["bound"] == "stop" && record["stopped"] == true;
    let seen = stopped.get(&record["pid"].as_u64().filter(|_| is_stop)?)?;
    Some(seen.checked_sub(record["boot_ns"].as_u64()?)? as f64 / 1e6)
}

/// The thread has the agent's own priority while this lives; what it starts has not.
struct Realtime;

impl Realtime {
    fn begin() -> Result<Self> {
        set_policy(libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, 1)?;
        Ok(Self)
    }
}

impl Drop for Realtime {
    fn drop(&mut self) {
        drop(set_policy(libc::SCHED_OTHER, 0));
    }
}

fn set_policy(policy: i32, priority: i32) -> Result<()> {
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: the call reads the parameters, which outlive it.
    let result = unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
    nix::errno::Errno::result(result).context("cannot set the priority")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_stops_of_ours_count() {
        let line = r#"{"boot_ns":1000000,"kind":"alert","pid":7,"bound":"stop","stopped":true}"#;
        let stopped = HashMap::from([(7, 1_500_000)]);
        assert_eq!(latency_ms(line, &stopped), Some(0.5));
        assert_eq!(latency_ms(&line.replace("true", "false"), &stopped), None);
        assert_eq!(latency_ms(&line.replace("\"stop\"", "\"burst\""), &stopped), None);
        assert_eq!(latency_ms(&line.replace("7,", "8,"), &stopped), None);
    }
}
