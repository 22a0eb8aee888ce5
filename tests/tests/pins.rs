//! The kernel's part outlives the agent: what it sees meanwhile is told by the next one, once, and nothing stays when it is
//! told to go.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use procwatch_tests::{Agent, Ended, KernelObjects, Pool, Talk, binary, needs, number, refusal, text, until};
use serde_json::Value;

#[path = "pins/acts.rs"]
mod acts;

const FOLDER: &str = "/sys/fs/bpf/procwatch";

/// Nobody else is to have an agent, or anything pinned, meanwhile. Nothing is pinned at the beginning.
struct Alone {
    _turn: MutexGuard<'static, ()>,
    config: tempfile::NamedTempFile,
}

impl Alone {
    fn new(config: &str) -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = fs::remove_dir(Path::new(FOLDER).join("foreign"));
        assert_eq!(refusal(&["stop", "--detach"]).code, Some(0));
        let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        fs::write(file.path(), config).unwrap();
        Self { _turn: turn, config: file }
    }

    fn levels(levels: &str) -> Self {
        Self::new(&rule(levels))
    }

    fn change(&self, config: &str) {
        fs::write(self.config.path(), config).unwrap();
    }

    fn args(&self) -> [&OsStr; 2] {
        ["--config".as_ref(), self.config.path().as_os_str()]
    }

    fn run(&self) -> Agent {
        Agent::run(&self.args())
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = fs::remove_dir(Path::new(FOLDER).join("foreign"));
        refusal(&["stop", "--detach"]);
    }
}

fn rule(levels: &str) -> String {
    format!("[[threads]]\nlevels = {levels}\nburst = false\nleak = false\n")
}

/// What is in our folder.
fn states() -> Vec<PathBuf> {
    fs::read_dir(FOLDER).map_or_else(|_| Vec::new(), |it| it.map(|entry| entry.unwrap().path()).collect())
}

fn armed(records: &[Value]) -> &str {
    text(&records.iter().find(|record| record["topic"] == "armed").unwrap()["message"])
}

fn is_adopted(records: &[Value]) -> bool {
    armed(records).contains("took over what another agent has left")
}

/// `(kind, level)` of what was told of a process, in its order.
fn told(records: &[Value], pid: u32) -> Vec<(&str, u64)> {
    let of_process = records.iter().filter(|record| record["pid"] == pid && record["bound"] == "level");
    of_process.map(|record| (text(&record["kind"]), number(&record["level"]))).collect()
}

/// Urgent records that the kernel has sent, and those that found the ring full: the account at an orderly end.
fn account(ended: &Ended) -> (u64, u64) {
    let stopped = ended.records.iter().rfind(|record| record["topic"] == "stopped").unwrap();
    let words: Vec<&str> = text(&stopped["message"]).split([' ', ',']).collect();
    let before = |word: &str| {
        let place = words.iter().position(|it| *it == word).unwrap();
        words[..place].iter().rev().find_map(|it| it.parse().ok()).unwrap()
    };
    (before("urgent"), before("lost;"))
}

#[test]
fn what_happens_without_an_agent_is_told_by_the_next_one() {
    needs!(Root, Bpf);
    let alone = Alone::levels("[80]");
    let agent = alone.run();
    assert!(!is_adopted(&agent.records()));
    let (mut before, mut lasting) = (Pool::pthreads(), Pool::raw_clone());
    before.threads(90);
    agent.wait_for_event("alert", before.pid());
    // What was told and not yet given back when the agent dies would be told once more.
    Talk::greeted().given_back();
    let objects = KernelObjects::of_process(agent.pid());
    agent.kill();

    lasting.threads(90);
    before.threads(1);
    let mut short = Pool::raw_clone();
    short.threads(90);
    short.end();
    let next = alone.run();
    next.wait_for_many(2, "the end of the short one", |it| it["pid"] == short.pid());
    let started: Vec<Value> = next.records();
    assert!(is_adopted(&started), "{}", armed(&started));
    assert_eq!(KernelObjects::of_process(next.pid()).programs, objects.programs, "nothing was loaded anew");
    lasting.threads(1);
    next.wait_for("its end", |it| it["kind"] == "cleared" && it["pid"] == lasting.pid());
    let ended = next.finish();
    assert_eq!(told(&ended.records, lasting.pid()), [("alert", 80), ("cleared", 80)]);
    assert_eq!(told(&ended.records, short.pid()), [("alert", 80), ("cleared", 80)]);
    assert_eq!(told(&ended.records, before.pid()), [("cleared", 80)], "its alert was told before");
    assert!(ended.records.iter().all(|record| record["at_start"] != true), "all of it is from the ring");
    assert_eq!(account(&ended).1, 0);
    assert!(states().is_empty(), "an orderly end leaves nothing");
    until("nothing left in the kernel", || (objects.left() == 0).then_some(()));
}

/// A storm of processes of 90 threads each, until it is told to end. Their process ids are returned.
fn storm(goes_on: &AtomicBool) -> Vec<u32> {
    let mut pids = Vec::new();
    while goes_on.load(Ordering::Relaxed) {
        let mut pool = Pool::raw_clone();
        pool.threads(90);
        pool.end();
        pids.push(pool.pid());
    }
    pids
}

/// What tells one record of a bound from all others. The clock on the wall is each agent's own.
type Crossing = (String, u64, u64);

fn crossings(records: &[Value]) -> impl Iterator<Item = Crossing> {
    let of_level = records.iter().filter(|record| record["bound"] == "level");
    of_level.map(|it| (text(&it["kind"]).to_owned(), number(&it["pid"]), number(&it["boot_ns"])))
}

#[test]
fn an_agent_that_is_killed_a_hundred_times_loses_nothing() {
    needs!(Root, Bpf);
    const KILLS: usize = 100;
    let alone = Alone::levels("[80]");
    let goes_on = AtomicBool::new(true);
    let mut records = alone.run().kill().records;
    let pids: Vec<u32> = thread::scope(|scope| {
        let storms: Vec<_> = (0..2).map(|_| scope.spawn(|| storm(&goes_on))).collect();
        for round in 1..KILLS {
            let agent = alone.run();
            // Killed at once, or while it tells.
            if round % 4 != 0 {
                agent.wait_for_many(round % 7 + 1, "alerts", |record| record["kind"] == "alert");
            }
            let ended = agent.kill();
            assert!(is_adopted(&ended.records), "{}", armed(&ended.records));
            records.extend(ended.records);
        }
        goes_on.store(false, Ordering::Relaxed);
        storms.into_iter().flat_map(|storm| storm.join().unwrap()).collect()
    });
    let final_one = alone.run();
    let ended = final_one.finish();
    let (sent, lost) = account(&ended);
    records.extend(ended.records);

    let mut counts: BTreeMap<Crossing, u64> = BTreeMap::new();
    for crossing in crossings(&records) {
        *counts.entry(crossing).or_default() += 1;
    }
    // Written, and not yet given back to the kernel when the agent was killed.
    let retold: u64 = counts.values().map(|count| count - 1).sum();
    println!("{} processes, {sent} records, {lost} lost, {retold} told again by the next agent", pids.len());
    assert!(pids.len() > KILLS, "{} processes", pids.len());
    assert_eq!((sent, lost), (counts.len() as u64, 0), "each record that was sent was told");
    assert!(records.iter().all(|record| record["kind"] != "loss"));
    let of_kind = |kind: &str| -> BTreeSet<u32> {
        counts.keys().filter(|(of, ..)| of == kind).map(|(_, pid, _)| *pid as u32).collect()
    };
    for pid in &pids {
        assert!(of_kind("alert").contains(pid) && of_kind("cleared").contains(pid), "{pid} is missing");
    }
}

#[test]
fn a_full_ring_is_told_with_its_exact_loss() {
    needs!(Root, Bpf);
    let alone = Alone::levels("[33, 34, 35, 36]");
    alone.run().kill();
    let mut pool = Pool::raw_clone();
    // A record has 384 bytes, and the ring a mebibyte: 2,730 fill it.
    for _ in 0..450 {
        pool.threads(40);
        pool.threads(1);
    }
    pool.threads(40);
    let next = alone.run();
    let gap = next.wait_for("the loss", |record| record["kind"] == "loss");
    pool.threads(1);
    let ended = next.finish();
    let (sent, lost) = account(&ended);
    assert!(lost > 100, "{lost} of {sent}");
    assert_eq!(
        (text(&gap["ring"]), number(&gap["lost"]), number(&gap["lost_total"])),
        ("urgent", lost, lost)
    );
    // The last alerts were among the lost: the picture brought the highest of them.
    let (at_start, told): (Vec<_>, Vec<_>) =
        ended.records.iter().filter(|it| it["bound"] == "level").partition(|it| it["at_start"] == true);
    let found: Vec<_> = at_start.iter().map(|it| (number(&it["level"]), number(&it["threads"]))).collect();
    assert_eq!(found, [(36, 40)]);
    assert_eq!(told.len() as u64, sent, "all that was in the ring was told");
    // One that could not be told is never cleared: but for those that were told before the ring was full, the lost are alerts.
    let alerts = told.iter().filter(|it| it["kind"] == "alert").count() as u64;
    assert!((4 * 451..=4 * 451 + 4).contains(&(alerts + lost)), "{alerts} alerts told, {lost} records lost");
    // Each thread that ends tells for itself: two of them may overtake each other.
    let mut end: Vec<_> =
        told[told.len() - 4..].iter().map(|it| (text(&it["kind"]), number(&it["level"]))).collect();
    end.sort_unstable();
    assert_eq!(end, [("cleared", 33), ("cleared", 34), ("cleared", 35), ("cleared", 36)]);
}

#[test]
fn stop_leaves_it_and_stop_with_detach_leaves_nothing() {
    needs!(Root, Bpf);
    let alone = Alone::levels("[80]");
    let mut agent = alone.run();
    let objects = KernelObjects::of_process(agent.pid());
    let stopped = refusal(&["stop"]);
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    assert!(stopped.stdout.contains(&format!("the agent, pid {}, has ended", agent.pid())), "{stopped:?}");
    assert!(stopped.stdout.contains("its kernel part stays in /sys/fs/bpf/procwatch"), "{stopped:?}");
    let ended = agent.wait();
    assert!(ended.status.success(), "{ended:?}");
    let last = text(&ended.records.last().unwrap()["message"]);
    assert!(last.ends_with("what is pinned in /sys/fs/bpf/procwatch goes on without an agent"), "{last}");
    let mut pool = Pool::pthreads();
    pool.threads(90);
    let mut next = alone.run();
    next.wait_for_event("alert", pool.pid());
    // But for the constants, which its programs alone know.
    assert!(KernelObjects::of_process(next.pid()).maps.is_subset(&objects.maps));

    let stopped = refusal(&["stop", "--detach"]);
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    assert!(next.wait().status.success());
    assert_eq!(objects.left(), 0, "{stopped:?}");
    assert!(!Path::new(FOLDER).exists());
    // What an agent has left that was killed goes, too, and a second time there is nothing to do.
    let agent = alone.run();
    let objects = KernelObjects::of_process(agent.pid());
    agent.kill();
    assert!(objects.left() > 0);
    let stopped = refusal(&["stop", "--detach"]);
    assert!(stopped.stdout.contains("no agent runs\n"), "{stopped:?}");
    assert!(stopped.stdout.contains("nothing of procwatch is left in the kernel"), "{stopped:?}");
    assert_eq!(objects.left(), 0, "{stopped:?}");
    let stopped = refusal(&["stop", "--detach"]);
    assert!(stopped.stdout.contains("nothing of procwatch is pinned in the kernel"), "{stopped:?}");
    assert_eq!(stopped.code, Some(0));
}

#[test]
fn the_configuration_may_say_always_or_never() {
    needs!(Root, Bpf);
    let alone = Alone::new("[kernel]\npin = \"always\"\n");
    alone.run().finish_by(Signal::SIGTERM);
    assert_eq!(states().len(), 1);
    let agent = alone.run();
    assert!(is_adopted(&agent.records()));
    agent.finish();
    alone.change("[kernel]\npin = \"never\"\n");
    assert_eq!(refusal(&["stop", "--detach"]).code, Some(0));
    let agent = alone.run();
    assert!(states().is_empty());
    let objects = KernelObjects::of_process(agent.pid());
    agent.kill();
    until("nothing left in the kernel", || (objects.left() == 0).then_some(()));
}

#[test]
fn another_version_and_what_is_half_made_are_replaced() {
    needs!(Root, Bpf);
    let alone = Alone::levels("[80]");
    for name in ["state-0123456789abcdef", "half-0123456789abcdef"] {
        let agent = alone.run();
        let objects = KernelObjects::of_process(agent.pid());
        agent.kill();
        let mut pool = Pool::raw_clone();
        pool.threads(90);
        let [state] = &states()[..] else { panic!("{:?}", states()) };
        fs::rename(state, Path::new(FOLDER).join(name)).unwrap();

        let next = alone.run();
        let records = next.records();
        assert!(!is_adopted(&records), "{}", armed(&records));
        let note = records.iter().find(|record| record["topic"] == "degraded");
        if name.starts_with("state") {
            let note = text(&note.unwrap()["message"]);
            assert!(note.contains("another version") && note.contains("; 1 records"), "{note}");
        } else {
            assert_eq!(note, None);
        }
        // Those above a level are found by the picture.
        let alert = next.wait_for_event("alert", pool.pid());
        assert_eq!(alert["at_start"], true, "{alert}");
        assert_eq!(states().as_slice(), std::slice::from_ref(state));
        until("nothing left of the other", || (objects.left() == 0).then_some(()));
        next.finish();
    }
}

/// An agent that is not waited for.
fn starting(alone: &Alone) -> Child {
    let mut command = Command::new(binary());
    command.arg("run").args(alone.args()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

#[test]
fn an_agent_that_is_killed_while_it_starts_does_no_harm() {
    needs!(Root, Bpf);
    let alone = Alone::levels("[80]");
    let mut seen = BTreeSet::new();
    for round in 0..40 {
        let mut child = starting(&alone);
        // In the middle of what it makes there, or soon after it.
        until("the folder", || Path::new(FOLDER).exists().then_some(()));
        thread::sleep(Duration::from_micros(200 * round));
        kill(Pid::from_raw(child.id() as i32), Signal::SIGKILL).unwrap();
        child.wait().unwrap();
        seen.extend(states().iter().map(|path| path.file_name().unwrap().to_string_lossy()[..5].to_owned()));
        // What is half made is left for the next one; what is whole it would only take over.
        if states().iter().any(|path| path.to_string_lossy().contains("state-")) {
            assert_eq!(refusal(&["stop", "--detach"]).code, Some(0));
        }
    }
    println!("left by the killed: {seen:?}");
    assert!(seen.contains("half-"), "{seen:?}");
    let agent = alone.run();
    let mut pool = Pool::pthreads();
    pool.threads(90);
    agent.wait_for_event("alert", pool.pid());
    let objects = KernelObjects::of_process(agent.pid());
    agent.finish();
    until("nothing left in the kernel", || (objects.left() == 0).then_some(()));
    assert!(states().is_empty());
}

#[test]
fn what_is_not_ours_is_left_alone() {
    needs!(Root, Bpf);
    let alone = Alone::levels("[80]");
    let foreign = Path::new(FOLDER).join("foreign");
    fs::create_dir_all(&foreign).unwrap();
    let agent = alone.run();
    let unavailable = agent.wait_for("the refusal", |record| {
        record["topic"] == "unavailable" && text(&record["message"]).starts_with("keeping the kernel's part")
    });
    let message = text(&unavailable["message"]);
    assert!(message.contains("/sys/fs/bpf/procwatch/foreign: is not of procwatch"), "{message}");
    let objects = KernelObjects::of_process(agent.pid());
    let refused = refusal(&["stop", "--detach"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("procwatch leaves it alone"), "{refused:?}");
    // Nothing is half done: the agent goes on.
    agent.finish();
    until("an unpinned agent leaves nothing", || (objects.left() == 0).then_some(()));
    assert!(foreign.exists());
}

#[test]
fn other_rules_hold_from_the_next_agent_on() {
    needs!(Root, Bpf);
    let alone = Alone::levels("[60, 80]");
    let agent = alone.run();
    let (mut first, mut second) = (Pool::raw_clone(), Pool::raw_clone());
    first.threads(90);
    agent.wait_for_many(2, "its alerts", |it| it["kind"] == "alert" && it["pid"] == first.pid());
    // What was told and not yet given back when the agent dies would be told once more.
    Talk::greeted().given_back();
    agent.kill();
    second.threads(70);
    let comm = fs::read_to_string(format!("/proc/{}/comm", first.pid())).unwrap();
    alone.change(&format!(
        "[[threads]]\ncomm = \"{}\"\n{}{}",
        comm.trim(),
        &rule("[80, 100]")[12..],
        rule("[500]")
    ));
    let next = alone.run();
    assert!(is_adopted(&next.records()));
    first.threads(110);
    second.threads(85);
    next.wait_for("the second one", |it| {
        it["kind"] == "alert" && it["pid"] == second.pid() && it["level"] == 80
    });
    next.wait_for("the first one", |it| {
        it["kind"] == "alert" && it["pid"] == first.pid() && it["level"] == 100
    });
    let records = next.finish().records;
    assert_eq!(told(&records, first.pid()), [("alert", 100)], "80 was told of before");
    // What was seen under the old rules is told, by the name of the rule that it has now.
    assert_eq!(told(&records, second.pid()), [("alert", 60), ("alert", 80)]);
    let rules = records.iter().filter(|it| it["kind"] == "alert").map(|it| text(&it["rule"]));
    assert!(
        rules.clone().all(|rule| rule.starts_with("threads[1] comm=")),
        "{:?}",
        rules.collect::<Vec<_>>()
    );
}
