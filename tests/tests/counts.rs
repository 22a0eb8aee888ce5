//! Nothing is missing that is not accounted for.

use procwatch_tests::{Agent, Ended, compiled, kinds, needs, number, of_kind, start};

/// Events told and lost, by the summary; what is on the lines must agree with it.
fn account(ended: &Ended) -> (u64, u64) {
    let summary = ended.summary();
    let (events, lost) = (number(&summary["events"]), number(&summary["lost"]));
    let kinds = kinds(&ended.records);
    let lines: usize =
        ["fork", "exit", "thread", "thread-exit"].iter().filter_map(|kind| kinds.get(kind)).sum();
    assert_eq!(lines as u64, events, "as many lines as the summary says: {kinds:?}");
    let told: u64 = of_kind(&ended.records, "loss").iter().map(|loss| number(&loss["lost"])).sum();
    assert!(told <= lost, "{told} told as lost, {lost} in the summary");
    (events, lost)
}

#[test]
fn twenty_thousand_short_processes() {
    needs!(Root, Bpf);
    const PROCESSES: u64 = 20_000;
    let mut forks = start(compiled("forks"), &[PROCESSES.to_string()]);
    let agent = Agent::watch(&["--kind", "fork,exit", "--comm", "forks"]);
    forks.say("go");
    assert_eq!(forks.hear(), PROCESSES.to_string());
    let ended = agent.finish();
    let (events, lost) = account(&ended);
    assert_eq!(events + lost, 2 * PROCESSES, "{}", ended.summary());
    if lost == 0 {
        let kinds = kinds(&ended.records);
        assert_eq!((kinds["fork"] as u64, kinds["exit"] as u64), (PROCESSES, PROCESSES));
    }
    println!("{}", ended.summary());
}

#[test]
fn threads_as_fast_as_they_come() {
    needs!(Root, Bpf);
    let mut spins = start(compiled("spins"), &["3000"]);
    let agent = Agent::watch(&["--kind", "thread,thread-exit", "--comm", "spins"]);
    spins.say("go");
    let threads: u64 = spins.hear().parse().unwrap();
    let ended = agent.finish();
    let (events, lost) = account(&ended);
    assert!(threads > 1000, "{threads}");
    assert_eq!(events + lost, 2 * threads, "{}", ended.summary());
    if lost == 0 {
        let kinds = kinds(&ended.records);
        assert_eq!((kinds["thread"] as u64, kinds["thread-exit"] as u64), (threads, threads));
    }
    println!("{}", ended.summary());
}

/// The ring is small and nobody reads the output while 50,000 events happen.
fn overflow(ring_kib: &str) {
    const PROCESSES: u64 = 25_000;
    let mut forks = start(compiled("forks"), &[PROCESSES.to_string()]);
    let agent = Agent::watch_unread(&["--kind", "fork,exit", "--comm", "forks", "--ring-kib", ring_kib]);
    forks.say("go");
    assert_eq!(forks.hear(), PROCESSES.to_string());
    agent.release();
    // What stood in the way is told while the agent still runs.
    agent.wait_for("a loss", |record| record["kind"] == "loss" || record["kind"] == "exit");
    let ended = agent.finish();
    let (events, lost) = account(&ended);
    assert!(lost > 0, "{}", ended.summary());
    assert_eq!(events + lost, 2 * PROCESSES, "{}", ended.summary());
    println!("{}", ended.summary());
}

#[test]
fn a_ring_of_4_kib_that_overflows() {
    needs!(Root, Bpf);
    overflow("4");
}

#[test]
fn a_ring_of_16_kib_that_overflows() {
    needs!(Root, Bpf);
    overflow("16");
}
