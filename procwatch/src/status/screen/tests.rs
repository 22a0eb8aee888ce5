use super::*;
use crate::{
    samples,
    status::{ConfigStatus, KernelCounts, Pinned},
    text::Text,
};

fn status() -> Status {
    let time: Timestamp = "2026-11-22T15:04:05Z".parse().unwrap();
    let since: Timestamp = "2026-11-22T13:04:05Z".parse().unwrap();
    Status {
        version: "0.1.0".to_owned(),
        pid: 77,
        time,
        since,
        armed_ms: 312,
        mode: Mode::Enforce,
        health: Health::Degraded,
        reasons: vec!["not on this kernel: x".to_owned(), "log: no space".to_owned()],
        config: ConfigStatus { files: vec![Text::from("/etc/p.toml")], loaded: since, refused: None },
        thread_rules: vec![
            ThreadRuleStatus {
                rule: "threads[1] comm=a".to_owned(),
                levels: vec![40],
                cap: Some(90),
                processes: Some(1),
            },
            ThreadRuleStatus {
                rule: "default".to_owned(),
                levels: vec![80, 100],
                cap: None,
                processes: None,
            },
        ],
        place_rules: vec![PlaceRuleStatus {
            rule: "place[1] user=aimgr".to_owned(),
            slice: "user-1003.slice".to_owned(),
            present: false,
            cpus: None,
        }],
        unavailable: vec!["x".to_owned()],
        rings: vec![RingStatus {
            ring: Ring::Urgent,
            size_bytes: 1 << 20,
            waiting_bytes: 1 << 18,
            sent: 120,
            lost: 0,
        }],
        programs: Vec::new(),
        kernel: KernelCounts { argv_unread: 1, names_unread: 2, state_full: 3 },
        pinned: None,
        resident_bytes: 9_437_184,
        cpu_ns: 7_200_000_000,
        processes: 200,
        threads: 700,
        told: vec![Count { of: "alert".to_owned(), count: 3 }],
        placement: None,
        outputs: vec![OutputStatus { name: "log".to_owned(), taken: 5, ..OutputStatus::default() }],
        clients: 2,
        recent: samples::all().into_iter().filter(|record| record.body.kind().name() == "loss").collect(),
    }
}

#[test]
fn what_matters_stands_first_and_names_stand_once() {
    let shown = screen(&status()).unwrap();
    let expected = "\
health     degraded
           not on this kernel: x
           log: no space
agent      procwatch 0.1.0, pid 77, mode enforce, armed 2h00m ago in 312 ms
config     /etc/p.toml, read 2h00m ago
pinned     nothing: what is in the kernel ends with the agent
threads    threads[1] comm=a: levels 40, cap 90, 1 process
           default: levels 80 100
placement  place[1] user=aimgr: user-1003.slice, which is not there now
not here   x
machine    200 processes, 700 threads
told       3 alert
rings      urgent: 120 sent (1.0 a minute), 0 lost, 25 % of 1.0 MiB waits
kernel     1 argv unread, 2 names unread, 3 times a state map was full
cost       9.0 MiB resident, 7.20s of CPU (0.10 %)
outputs    log: 5 taken, 0 dropped, 0 failures
clients    2
last       ";
    assert!(shown.starts_with(expected), "{shown}");
    assert!(shown.lines().last().unwrap().contains("loss"), "{shown}");
}

#[test]
fn what_is_pinned_is_told() {
    let since = status().since;
    let pinned = Pinned { folder: "/sys/fs/bpf/procwatch".to_owned(), since, adopted: true };
    let shown = screen(&Status { pinned: Some(pinned), recent: Vec::new(), ..status() }).unwrap();
    assert!(shown.contains("pinned     in /sys/fs/bpf/procwatch for 2h00m, adopted\n"), "{shown}");
    assert!(shown.ends_with("clients    2\n"), "{shown}");
}

#[test]
fn a_hostile_agent_does_not_reach_the_terminal() {
    let hostile = "\u{1b}[2J".to_owned();
    let shown = screen(&Status {
        version: hostile.clone(),
        reasons: vec![hostile.clone()],
        unavailable: vec![hostile],
        ..status()
    });
    assert!(!shown.unwrap().contains('\u{1b}'));
}
