//! Thread explosions: each level raises one alert when it is crossed, and is cleared once.

use procwatch_tests::{Agent, Pool, Sandbox, needs, number, of_kind, text, texts};
use serde_json::Value;

/// `(kind, level)` of what was told of a process' levels, in its order.
fn crossings(records: &[Value], pid: u32) -> Vec<(&str, u64)> {
    records
        .iter()
        .filter(|record| record["pid"] == pid && record["bound"] == "level")
        .map(|record| (text(&record["kind"]), number(&record["level"])))
        .collect()
}

fn of_process<'a>(records: &'a [Value], kind: &str, pid: u32) -> Vec<&'a Value> {
    let of_kind = of_kind(records, kind).into_iter();
    of_kind.filter(|record| record["pid"] == pid && record["bound"] == "level").collect()
}

fn is_cleared(record: &Value, pid: u32, level: u32) -> bool {
    record["kind"] == "cleared"
        && record["pid"] == pid
        && record["bound"] == "level"
        && record["level"] == level
}

fn assert_alert(alert: &Value, pool: &Pool, level: u64, severity: &str) {
    assert_eq!(alert["kind"], "alert", "{alert}");
    assert_eq!((number(&alert["level"]), text(&alert["severity"])), (level, severity), "{alert}");
    assert_eq!((text(&alert["rule"]), &alert["growth"]), ("default", &Value::Null), "{alert}");
    assert_eq!(alert["creator_tid"], pool.pid(), "its first thread makes the others: {alert}");
    assert_eq!(alert["threads"], level, "the very thread that crossed: {alert}");
    assert_eq!(alert["pid"], pool.pid(), "{alert}");
    assert_eq!(alert["ppid"], std::process::id(), "{alert}");
    assert_eq!((number(&alert["uid"]), number(&alert["euid"])), (0, 0), "{alert}");
    assert_eq!(texts(&alert["argv"]), pool.argv, "{alert}");
    assert_eq!(alert["argv_cut_bytes"], 0, "{alert}");
    assert_eq!(text(&alert["exe"]), pool.exe.to_str().unwrap(), "{alert}");
    assert_eq!(alert["at_start"], false, "{alert}");
    assert!(number(&alert["latency_ns"]) > 0 && number(&alert["age_ns"]) > 0, "{alert}");
}

/// One process grows to 300 threads, shrinks to one, grows again and ends at its height.
fn explode(start: fn() -> Pool) {
    let sandbox = Sandbox::new(&["cell"]);
    let agent = run();
    let mut pool = start();
    let pid = pool.pid();
    sandbox.admit("cell", pid);
    pool.threads(300);
    pool.threads(1);
    agent.wait_for("80 is cleared", |record| is_cleared(record, pid, 80));
    pool.threads(300);
    // What it is can be looked up as long as it lives.
    agent.wait_for_many(2, "100 is told again", |it| {
        it["kind"] == "alert" && it["pid"] == pid && it["level"] == 100
    });
    pool.end();
    agent.wait_for_many(2, "80 is cleared again", |record| is_cleared(record, pid, 80));
    agent.wait_for_many(2, "100 is cleared again", |record| is_cleared(record, pid, 100));
    let records = agent.finish().records;

    let rise = [("alert", 80), ("alert", 100)];
    let fall = [("cleared", 100), ("cleared", 80)];
    let told = crossings(&records, pid);
    assert_eq!(told.len(), 8, "{told:?}");
    assert_eq!(
        (&told[..2], &told[2..4], &told[4..6], &told[6..]),
        (&rise[..], &fall[..], &rise[..], &fall[..])
    );
    for alerts in of_process(&records, "alert", pid).chunks(2) {
        assert_alert(alerts[0], &pool, 80, "notice");
        assert_alert(alerts[1], &pool, 100, "warning");
        assert_eq!(alerts[0]["cgroup"], sandbox.path("cell"));
    }
    let cleared = of_process(&records, "cleared", pid);
    let ended: Vec<&Value> = cleared.iter().map(|record| &record["ended"]).collect();
    assert_eq!(ended, [false, false, true, true], "{cleared:#?}");
    // Below four fifths, and at once: as many threads may end in the same moment as there are CPUs.
    let cpus = std::thread::available_parallelism().unwrap().get() as u64;
    for (record, bound) in cleared.iter().zip([80, 64]) {
        let left = number(&record["threads"]);
        assert!((bound - cpus..bound).contains(&left), "{record}");
    }
}

fn run() -> Agent {
    Agent::run(&[] as &[&str])
}

#[test]
fn of_pthreads() {
    needs!(Root, Bpf);
    explode(Pool::pthreads);
}

#[test]
fn of_bare_clone_in_a_static_program() {
    needs!(Root, Bpf);
    explode(Pool::raw_clone);
}

#[test]
fn of_python() {
    needs!(Root, Bpf);
    explode(Pool::python);
}

#[test]
fn watch_tells_the_same_alerts() {
    needs!(Root, Bpf);
    let agent = Agent::watch(&["--kind", "alert"]);
    let mut pool = Pool::pthreads();
    let pid = pool.pid();
    pool.threads(300);
    agent.wait_for("alert 100", |record| record["pid"] == pid && record["level"] == 100);
    pool.threads(1);
    agent.wait_for("80 is cleared", |record| is_cleared(record, pid, 80));
    let ended = agent.finish();
    let told = crossings(&ended.records, pid);
    assert_eq!(told, [("alert", 80), ("alert", 100), ("cleared", 100), ("cleared", 80)]);
    let alerts = of_process(&ended.records, "alert", pid);
    assert_alert(alerts[0], &pool, 80, "notice");
    assert_alert(alerts[1], &pool, 100, "warning");
    assert_eq!(ended.summary()["lost"], 0);
}

#[test]
fn a_count_that_swings_around_a_level_is_told_of_once() {
    needs!(Root, Bpf);
    let agent = run();
    let mut pool = Pool::pthreads();
    let pid = pool.pid();
    for _ in 0..20 {
        pool.threads(90);
        pool.threads(70);
    }
    pool.threads(63);
    agent.wait_for("80 is cleared", |record| is_cleared(record, pid, 80));
    // And once more after that.
    pool.threads(80);
    agent.wait_for_many(2, "alert 80", |record| {
        record["kind"] == "alert" && record["pid"] == pid && record["bound"] == "level"
    });
    let records = agent.finish().records;
    assert_eq!(crossings(&records, pid), [("alert", 80), ("cleared", 80), ("alert", 80)]);
}

#[test]
fn forty_at_once_have_their_own_alerts_each() {
    needs!(Root, Bpf);
    let agent = run();
    let mut pools: Vec<Pool> = (0..40).map(|_| Pool::raw_clone()).collect();
    for pool in &mut pools {
        pool.order(100);
    }
    for pool in &mut pools {
        assert_eq!(pool.answer(), 100);
    }
    for pool in &mut pools {
        pool.order(1);
    }
    for pool in &mut pools {
        assert_eq!(pool.answer(), 1);
    }
    let pids: Vec<u32> = pools.iter().map(Pool::pid).collect();
    agent.wait_for_many(40, "80 is cleared", |record| pids.iter().any(|&pid| is_cleared(record, pid, 80)));
    let records = agent.finish().records;
    let life = [("alert", 80), ("alert", 100), ("cleared", 100), ("cleared", 80)];
    for pid in pids {
        assert_eq!(crossings(&records, pid), life, "process {pid}");
    }
}

#[test]
fn one_above_a_level_before_the_start_is_told_of_once() {
    needs!(Root, Bpf);
    let mut pool = Pool::raw_clone();
    let pid = pool.pid();
    pool.threads(520);
    let agent = run();
    let alert = agent.wait_for("its alert", |record| record["kind"] == "alert" && record["pid"] == pid);
    assert_eq!((number(&alert["level"]), text(&alert["severity"])), (500, "critical"));
    assert_eq!((number(&alert["threads"]), &alert["at_start"]), (520, &Value::Bool(true)));
    assert_eq!(alert["latency_ns"], Value::Null);
    // It is known as above all three: growing raises nothing new before 1000, and shrinking clears each.
    pool.threads(600);
    pool.threads(1);
    agent.wait_for("80 is cleared", |record| is_cleared(record, pid, 80));
    let records = agent.finish().records;
    let told = crossings(&records, pid);
    assert_eq!(told, [("alert", 500), ("cleared", 500), ("cleared", 100), ("cleared", 80)]);
}
