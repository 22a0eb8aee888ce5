//! The time of day is set while the agent runs, ahead and back, as it is on machines whose clock is set after the boot. What is told
//! bears the time that people read on the wall, and nothing is lost.

use std::fs;

use nix::{
    sys::time::TimeSpec,
    time::{ClockId, clock_gettime, clock_settime},
};
use procwatch_tests::{Agent, Pool, needs, number, refusal, text};
use serde_json::Value;

const DAY: i64 = 24 * 60 * 60;

/// Sets the wall's clock, and has it right again at the end.
struct Wall {
    /// The wall's clock minus the kernel's.
    right: TimeSpec,
}

impl Wall {
    fn read() -> Self {
        Self { right: now(ClockId::CLOCK_REALTIME) - now(ClockId::CLOCK_BOOTTIME) }
    }

    /// Makes it wrong by so many seconds.
    fn set(&self, wrong_by: i64) {
        let time = now(ClockId::CLOCK_BOOTTIME) + self.right + TimeSpec::new(wrong_by, 0);
        clock_settime(ClockId::CLOCK_REALTIME, time).unwrap();
    }
}

impl Drop for Wall {
    fn drop(&mut self) {
        self.set(0);
    }
}

fn now(clock: ClockId) -> TimeSpec {
    clock_gettime(clock).unwrap()
}

/// The time of day of a record, in whole seconds since 1970.
fn seconds(record: &Value) -> i64 {
    let told =
        std::process::Command::new("date").args(["+%s", "--date", text(&record["time"])]).output().unwrap();
    String::from_utf8(told.stdout).unwrap().trim().parse().unwrap()
}

#[test]
fn a_clock_that_is_set_costs_nothing_and_is_followed() {
    needs!(Vm);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let lines = format!(
        "[log]\npath = '{}'\nmax-age = '30d'\n[history]\npath = '{}'\n\
         [[threads]]\nlevels = [80]\nburst = false\nleak = false\n",
        path("log.jsonl"),
        path("history.db")
    );
    fs::write(path("procwatch.toml"), lines).unwrap();
    let agent = Agent::run(&["--config", &path("procwatch.toml")]);
    let wall = Wall::read();
    let mut pids = Vec::new();
    // Two days ahead all that was told before is older than the history keeps; two days back nothing is as late.
    for wrong_by in [0, 2 * DAY, -2 * DAY, 0] {
        wall.set(wrong_by);
        let before = now(ClockId::CLOCK_REALTIME).tv_sec();
        let mut pool = Pool::raw_clone();
        pool.threads(90);
        let alert = agent.wait_for_event("alert", pool.pid());
        let after = now(ClockId::CLOCK_REALTIME).tv_sec();
        assert!((before..=after).contains(&seconds(&alert)), "{before} to {after}: {alert}");
        pool.end();
        agent.wait_for_event("cleared", pool.pid());
        pids.push(u64::from(pool.pid()));
    }
    let status = refusal(&["status", "--json"]);
    assert_eq!(status.code, Some(0), "{status:?}");
    let told = agent.finish().records;
    assert!(told.iter().all(|record| record["topic"] != "degraded"));

    let told = refusal(&["history", "--json", "--kind", "alert", "--db", &path("history.db")]);
    assert_eq!((told.code, &*told.stderr), (Some(0), ""));
    let kept = |text: &str| -> Vec<u64> {
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        records.filter(|record| record["kind"] == "alert").map(|record| number(&record["pid"])).collect()
    };
    assert_eq!(kept(&told.stdout), pids, "in the order in which it was");
    assert_eq!(kept(&fs::read_to_string(path("log.jsonl")).unwrap()), pids);
}
