//! A hundred explosions of each kind while every CPU is fought for: one alert each, none twice, none for a server.

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use procwatch_tests::{Agent, Pool, needs, number, text};
use serde_json::Value;

const EACH: usize = 100;
/// Pools that explode at the same time.
const AT_ONCE: usize = 20;
/// Shortest time between two heights of a leak.
const GAP: Duration = Duration::from_millis(500);

const RULES: &str = "
[[threads]]
comm = \"rawclone\"
levels = [200]
burst = { threads = 50, within = \"1s\" }
leak = { marks = 3, over = \"1s\" }
[[threads]]
levels = false
burst = { threads = 50, within = \"1s\" }
leak = { marks = 3, over = \"1s\" }
";

/// Keeps one CPU busy until it is dropped.
struct Busy(Child);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Keeps every CPU busy, twice.
fn saturation() -> Vec<Busy> {
    let cpus = thread::available_parallelism().unwrap().get();
    (0..2 * cpus).map(|_| Busy(Command::new("yes").stdout(Stdio::null()).spawn().unwrap())).collect()
}

/// The same order to all, and the answers of all.
fn all(pools: &mut [Pool], threads: u32) {
    for pool in pools.iter_mut() {
        pool.order(threads);
    }
    for pool in pools {
        assert_eq!(pool.answer(), threads);
    }
}

/// Grows by heights that are far apart, and then at once.
fn explode(pools: &mut [Pool]) {
    for threads in [40, 50, 63] {
        let begun = Instant::now();
        all(pools, threads);
        thread::sleep(GAP.saturating_sub(begun.elapsed()) + Duration::from_millis(10));
    }
    all(pools, 260);
}

fn alerts<'a>(records: &'a [Value], pids: &[u32], bound: &str) -> Vec<&'a Value> {
    let is_one = |record: &&Value| {
        record["kind"] == "alert"
            && record["bound"] == bound
            && record["pid"].as_u64().is_some_and(|pid| pids.contains(&(pid as u32)))
    };
    records.iter().filter(is_one).collect()
}

fn show_latency(bound: &str, alerts: &[&Value]) {
    let mut latencies: Vec<u64> = alerts.iter().map(|alert| number(&alert["latency_ns"]) / 1000).collect();
    latencies.sort_unstable();
    let (p50, p99) = (latencies[latencies.len() / 2], latencies[latencies.len() * 99 / 100 - 1]);
    println!("{bound}: {} alerts, latency p50 {p50} µs, p99 {p99} µs", alerts.len());
}

#[test]
fn a_hundred_of_each_kind_have_one_alert_each() {
    needs!(Root, Bpf);
    let config = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    fs::write(config.path(), RULES).unwrap();
    let agent = Agent::run(&["--config".as_ref(), config.path().as_os_str()]);
    let _saturation = saturation();
    let mut server = Pool::pthreads();
    let mut pids = Vec::new();
    server.threads(45);
    for _ in 0..EACH / AT_ONCE {
        let mut pools: Vec<Pool> = (0..AT_ONCE).map(|_| Pool::raw_clone()).collect();
        // Requests, before and after the others grow.
        for _ in 0..10 {
            server.threads(75);
            server.threads(45);
        }
        explode(&mut pools);
        pids.extend(pools.iter().map(Pool::pid));
        for bound in ["level", "burst", "leak"] {
            agent.wait_for_many(pids.len(), bound, |record| {
                record["kind"] == "alert"
                    && record["bound"] == bound
                    && record["pid"].as_u64().is_some_and(|pid| pids.contains(&(pid as u32)))
            });
        }
    }
    let records = agent.finish().records;
    for bound in ["level", "burst", "leak"] {
        let told = alerts(&records, &pids, bound);
        show_latency(bound, &told);
        let mut of: Vec<u64> = told.iter().map(|alert| number(&alert["pid"])).collect();
        of.sort_unstable();
        of.dedup();
        assert_eq!((told.len(), of.len()), (EACH, EACH), "{bound}");
    }
    let of_server = alerts(&records, &[server.pid()], "burst");
    assert!(of_server.is_empty() && alerts(&records, &[server.pid()], "leak").is_empty(), "{of_server:?}");
    assert!(!records.iter().any(|record| record["kind"] == "loss"));
    let stopped = records.iter().rfind(|record| record["topic"] == "stopped").unwrap();
    assert!(text(&stopped["message"]).contains(" 0 lost; "), "{stopped}");
}
