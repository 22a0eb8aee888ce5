//! The machine that procwatch was made for: 20 CPUs, the desktop on 0-1, its user's applications on 2-3, and aimgr's
//! test runs on 4-19.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _};

use procwatch_tests::{
    Started,
    guest::{AIMGR, SHIPPED, done, enforcing, processes_of, session},
    needs, text, until,
};

/// A Python program with worker processes and threads.
const TEST_RUN: &str = include_str!("../programs/testrun.py");

/// Worker processes of the test run, and threads of each.
const WORKERS: usize = 20;
const THREADS: usize = 3;

/// Which CPUs are whose.
const LAYOUT: [(&str, &str); 3] =
    [("system.slice", "0-1"), ("user-1000.slice", "2-3"), ("user-1003.slice", "4-19")];

/// Time that a CPU has to be busy before it counts as used, in ticks of 10 ms.
const USED: u64 = 20;

fn lay_out() {
    for (slice, cpus) in LAYOUT {
        done("systemctl", &["set-property", "--runtime", slice, &format!("AllowedCPUs={cpus}")]);
    }
}

/// The test run where aimgr can read it.
fn test_run() -> String {
    let path = "/tmp/testrun.py";
    fs::write(path, TEST_RUN).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    path.to_owned()
}

/// The list of CPUs that each thread of aimgr's may run on, with how many have it.
fn allowed() -> BTreeMap<String, usize> {
    let mut lists = BTreeMap::new();
    for pid in processes_of(AIMGR) {
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for task in tasks.map(Result::unwrap) {
            // One that ends meanwhile runs nowhere.
            let Ok(status) = fs::read_to_string(task.path().join("status")) else { continue };
            let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
            *lists.entry(list.unwrap().trim().to_owned()).or_default() += 1;
        }
    }
    lists
}

/// User time of each CPU, in ticks.
fn busy() -> Vec<u64> {
    let stat = fs::read_to_string("/proc/stat").unwrap();
    let cpus = stat.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "));
    cpus.map(|line| line.split(' ').nth(1).unwrap().parse().unwrap()).collect()
}

fn end(mut run: Started) {
    run.say("end");
    assert!(run.end().success());
    until("aimgr has no process left", || processes_of(AIMGR).is_empty().then_some(()));
}

#[test]
fn a_test_run_started_by_su_stays_on_its_cpus() {
    needs!(Vm);
    lay_out();
    let (_surroundings, agent) = enforcing(SHIPPED);
    let command = format!("exec python3 {} {WORKERS} {THREADS}", test_run());
    let mut run = session("desk", &["su", "aimgr", "-c", &command]);
    assert_eq!(run.hear(), "ready");
    let outcome = agent.wait_for("the run is moved", |record| record["kind"] == "outcome");
    assert_eq!(text(&outcome["result"]), "verified", "{outcome}");

    let threads = allowed();
    let all = WORKERS * THREADS + 1;
    assert_eq!(threads, BTreeMap::from([("4-19".to_owned(), all)]), "every thread of the run");

    let before = busy();
    let used = until("all of the run's CPUs are used", || {
        let used: Vec<u64> = busy().iter().zip(&before).map(|(now, before)| now - before).collect();
        used[4..].iter().all(|ticks| *ticks >= USED).then_some(used)
    });
    let least = used[4..].iter().min().unwrap();
    assert!(used[2] + used[3] < *least, "the desktop's CPUs stay free: {used:?}");
    println!("ticks used on each CPU: {used:?}");
    end(run);
    agent.finish();
}

#[test]
fn an_affinity_from_before_does_not_outlive_the_move() {
    needs!(Vm);
    lay_out();
    let (_surroundings, agent) = enforcing(SHIPPED);
    let command = format!("exec python3 {} 2 2", test_run());
    let mut run = session("desk", &["taskset", "--cpu-list", "3", "su", "aimgr", "-c", &command]);
    assert_eq!(run.hear(), "ready");
    agent.wait_for("the run is moved", |record| record["kind"] == "outcome");
    until("every thread may use all of the slice's CPUs", || {
        (allowed() == BTreeMap::from([("4-19".to_owned(), 5)])).then_some(())
    });
    end(run);
    agent.finish();
}
