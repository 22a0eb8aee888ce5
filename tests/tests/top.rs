//! `procwatch top` on a terminal: what is on the screen, what keys do, and how the terminal is left.
//!
//! The agent is one that says what the test wants. `PROCWATCH_BLESS=1` takes the snapshots anew.

use std::{
    env, fs, os::unix::process::ExitStatusExt as _, path::Path, process::Command, thread, time::Duration,
};

use nix::sys::signal::Signal;
use procwatch_tests::{
    Agent, FakeAgent, Pool, Terminal, binary,
    contained::{assert_nothing_is_left, cgroup_of, is_frozen},
    needs, start, until,
};
use serde_json::{Value, json};

/// Something done to a program on a terminal, and what it is called.
type Way = (&'static str, fn(&mut Terminal));

/// The agent at a second of a minute.
fn status(second: u32, processes: &Value) -> Value {
    let rows = processes.as_array().unwrap();
    let threads: u64 = rows.iter().map(|row| row["threads"].as_u64().unwrap()).sum();
    json!({
        "version": "0.1.0", "pid": 900, "time": format!("2026-11-22T15:04:{second:02}Z"),
        "since": "2026-11-22T14:00:00Z", "armed_ms": 40, "mode": "enforce", "health": "ok", "reasons": [],
        "config": { "files": [], "loaded": "2026-11-22T14:00:00Z", "refused": null },
        "thread_rules": [],
        "place_rules": [{ "rule": "user=aimgr", "slice": "user-1003.slice", "present": true, "cpus": "4-19" }],
        "unavailable": [],
        "rings": [{ "ring": "urgent", "size_bytes": 65536, "waiting_bytes": 0, "sent": 3, "lost": 0 }],
        "programs": [], "kernel": { "argv_unread": 0, "names_unread": 0, "state_full": 0 },
        "pinned": null, "resident_bytes": 9_000_000, "cpu_ns": second, "processes": rows.len(),
        "threads": threads, "told": [], "placement": null, "outputs": [], "clients": 2, "recent": [],
    })
}

fn row(pid: u32, user: &str, comm: &str, cgroup: &str, threads: u32) -> Value {
    json!({
        "pid": pid, "start_ns": 1000, "ppid": 1, "uid": 1003, "user": user, "comm": comm, "cgroup": cgroup,
        "threads": threads, "creations": null, "rule": "default", "alert": null,
    })
}

/// A small machine; so many threads are a leak's.
fn processes(leaked: u32) -> Value {
    let mut leak = row(4_190_002, "aimgr", "python3", "/user.slice/user-1003.slice/session-9.scope", leaked);
    if leaked > 64 {
        leak["creations"] = json!(leaked);
    }
    if leaked >= 500 {
        leak["alert"] = "critical".into();
    }
    json!([
        row(4_190_001, "root", "systemd", "/init.scope", 1),
        leak,
        row(4_190_003, "desk", "\\x1b[2Jevil", "/user.slice/user-1000.slice/session-1.scope", 7),
        row(4_190_004, "desk", "日本語", "/user.slice/user-1000.slice/session-1.scope", 5),
    ])
}

fn alert(threads: u32) -> Value {
    json!({
        "time": "2026-11-22T15:04:04Z", "boot_ns": threads, "kind": "alert", "pid": 4_190_002, "tid": 4_190_999,
        "ppid": 1, "uid": 1003, "euid": 1003, "user": "aimgr", "comm": "python3", "threads": threads,
        "start_ns": 1000, "cgroup_id": 7, "cgroup": "/user.slice/user-1003.slice/session-9.scope",
        "severity": "critical", "bound": "level", "level": threads, "rule": "default", "growth": null,
        "stopped": null, "creator_tid": 4_190_002, "exe": "/usr/bin/python3.11",
        "argv": ["python3", "leak.py\\x1b[2J"], "argv_cut_bytes": 0, "age_ns": 5_000_000_000_u64,
        "latency_ns": 90_000, "at_start": false,
    })
}

/// The agent of the small machine.
fn agent() -> FakeAgent {
    let processes = processes(30);
    FakeAgent::new(status(1, &processes), processes)
}

fn grow(agent: &FakeAgent, second: u32, leaked: u32) {
    let processes = processes(leaked);
    agent.answer(status(second, &processes), processes);
}

fn command(agent: &FakeAgent, options: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(["top", "--every", "100ms", "--socket"]).arg(agent.socket()).args(options);
    command.env("TZ", "UTC").env("TERM", "xterm-256color");
    command
}

fn top(agent: &FakeAgent, columns: u16, rows: u16) -> Terminal {
    Terminal::start(&command(agent, &[]), columns, rows)
}

/// Waits until the screen is as it was when the snapshot was taken.
fn assert_snapshot(name: &str, terminal: &Terminal) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(format!("top-{name}.txt"));
    if env::var_os("PROCWATCH_BLESS").is_some() {
        // Long enough for all that is under way; whoever takes a snapshot looks at it.
        thread::sleep(Duration::from_secs(1));
        fs::write(&file, terminal.text()).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap();
    terminal.wait_until(&format!("the snapshot\n{expected}"), |text| text == expected);
}

/// Parameters of all orders about looks (SGR) that were written.
fn looks(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let orders = text.split("\x1b[").skip(1);
    let ends = |order: &str| order.find(|c: char| !c.is_ascii_digit() && c != ';');
    orders
        .filter_map(|order| {
            let end = ends(order).filter(|end| order[*end..].starts_with('m'))?;
            Some(order[..end].to_owned())
        })
        .collect()
}

fn is_colour(look: &str) -> bool {
    look.split(';').filter_map(|part| part.parse().ok()).any(|part| matches!(part, 30..=59 | 90..=107))
}

#[test]
fn an_explosion_is_seen_at_every_size() {
    let agent = agent();
    let terminal = top(&agent, 80, 24);
    terminal.wait_for("4 processes");
    agent.wait_for_pictures(2);
    for (second, leaked) in [(2, 130), (3, 530)] {
        grow(&agent, second, leaked);
        let threads = format!("{} threads", leaked + 13);
        terminal.wait_until(&threads, |text| text.contains(&threads) && text.contains("created 0/s"));
    }
    agent.tell(&alert(500));
    assert_snapshot("80x24", &terminal);
    for (columns, rows) in [(120, 40), (40, 12), (20, 5), (1, 1), (80, 24)] {
        terminal.resize(columns, rows);
        assert_snapshot(&format!("{columns}x{rows}"), &terminal);
    }
    assert_eq!(
        agent.requests(),
        [json!({
            "ask": "events", "kinds": [], "uids": [], "comms": [], "pids": [], "children": false, "cgroup": null,
            "lineage": false,
        })]
    );
}

#[test]
fn keys_sort_filter_and_open() {
    let agent = agent();
    let mut terminal = top(&agent, 80, 24);
    terminal.wait_for("THREADS▼");
    terminal.press("P");
    let by_pid = terminal.wait_for("PID▲");
    let place = |text: &str, pid: &str| text.find(pid).unwrap_or_else(|| panic!("{pid} in {text}"));
    assert!(place(&by_pid, "4190001") < place(&by_pid, "4190002"));
    terminal.press("r");
    let turned = terminal.wait_for("PID▼");
    assert!(place(&turned, "4190001") > place(&turned, "4190002"));
    terminal.press("/PYTHON aim");
    terminal.wait_until("the whole filter", |text| {
        text.contains("/PYTHON aim") && text.contains("1 of 4 processes") && !text.contains("4190003")
    });
    terminal.press("\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7fx1b\r");
    let hostile = terminal.wait_for("/x1b ");
    assert!(hostile.contains("\\x1b[2Jevil"), "{hostile}");
    terminal.press("\x1b");
    terminal.wait_for("4190001");
    terminal.press("T\x1b[B\r");
    let open = terminal.wait_for("WHO CREATES ITS THREADS");
    assert!(open.contains("4190002 python3") && open.contains("user-1003.slice  CPUs 4-19"), "{open}");
    terminal.press("?");
    terminal.wait_for("KEYS");
    terminal.press("\x1b");
    terminal.wait_for("WHO CREATES ITS THREADS");
    terminal.press("q");
    terminal.wait_for("THREADS▼");
    terminal.press("\t");
    terminal.wait_for("nothing was told yet");
    terminal.press("4");
    terminal.wait_for("rule: user=aimgr");
    terminal.press("q");
    assert_eq!(terminal.wait().code(), Some(0));
}

#[test]
fn the_cursor_stays_on_its_process() {
    let agent = agent();
    let mut terminal = top(&agent, 80, 24);
    terminal.wait_for("4190003");
    terminal.press("\x1b[B\x1b[B");
    grow(&agent, 2, 6);
    terminal.wait_until("desk's is first", |text| text.find("4190003") < text.find("4190002"));
    terminal.press("\r");
    terminal
        .wait_until("it is open", |text| text.contains("4190003 \\x1b[2Jevil") && text.contains("(1003)"));
}

#[test]
fn equal_answers_write_nothing() {
    let agent = agent();
    let terminal = top(&agent, 80, 24);
    terminal.wait_for("4190003");
    agent.wait_for_pictures(3);
    let before = terminal.bytes().len();
    agent.wait_for_pictures(8);
    assert_eq!(terminal.bytes().len(), before, "nothing has changed");
    // The agent's own CPU time is not shown.
    grow(&agent, 9, 30);
    agent.wait_for_pictures(3);
    assert_eq!(terminal.bytes().len(), before, "nothing that is shown has changed");
    grow(&agent, 10, 31);
    terminal.wait_for("+1");
    let change = terminal.bytes().len() - before;
    assert!((1..600).contains(&change), "{change} bytes for a change of a few cells");
}

#[test]
fn without_colour_there_is_none() {
    let agent = agent();
    let all_over = |terminal: &mut Terminal| {
        terminal.wait_for("4190003");
        grow(&agent, 2, 530);
        terminal.wait_for("+500");
        agent.tell(&alert(500));
        terminal.wait_for("CRITICAL");
        terminal.press("\x1b[Bf");
        terminal.wait_until("a question, or that root is needed", |text| {
            text.contains("y/n freeze") || text.contains("must run as root")
        });
        terminal.press("n/zz");
        terminal.wait_for("nobody fits");
        // With another key at once it would be Alt and that key.
        terminal.press("\x1b");
        terminal.wait_for("4190003");
        terminal.press("?");
        terminal.wait_for("KEYS");
        terminal.press("\x03");
        terminal.wait();
        looks(&terminal.bytes())
    };
    let mut coloured = top(&agent, 80, 24);
    assert!(all_over(&mut coloured).iter().any(|look| is_colour(look)));
    agent.set(status(1, &processes(30)), processes(30));
    let mut plain = Terminal::start(&command(&agent, &["--no-colour"]), 80, 24);
    let seen = all_over(&mut plain);
    assert!(!seen.is_empty() && !seen.iter().any(|look| is_colour(look)), "{seen:?}");
    agent.set(status(1, &processes(30)), processes(30));
    let mut asked = command(&agent, &[]);
    asked.env("NO_COLOR", "1");
    let seen = all_over(&mut Terminal::start(&asked, 80, 24));
    assert!(!seen.is_empty() && !seen.iter().any(|look| is_colour(look)), "{seen:?}");
}

#[test]
fn the_terminal_is_left_as_it_was() {
    let agent = agent();
    let ways: [Way; 6] = [
        ("q", |terminal| terminal.press("q")),
        ("Ctrl-C", |terminal| terminal.press("\x03")),
        ("SIGTERM", |terminal| terminal.signal(Signal::SIGTERM)),
        ("SIGINT", |terminal| terminal.signal(Signal::SIGINT)),
        ("SIGHUP", |terminal| terminal.signal(Signal::SIGHUP)),
        ("SIGQUIT", |terminal| terminal.signal(Signal::SIGQUIT)),
    ];
    for (name, end) in ways {
        let mut terminal = top(&agent, 80, 24);
        terminal.wait_for("4190003");
        assert_eq!(terminal.is_taken(), (true, true), "{name}");
        assert!(terminal.has_other_mode(), "{name}");
        end(&mut terminal);
        let status = terminal.wait();
        assert_eq!((status.code(), status.signal()), (Some(0), None), "{name}");
        terminal.assert_given_back();
        assert_eq!(terminal.text().trim(), "", "{name}: nothing is left on the screen");
    }
}

#[test]
fn who_suspends_has_the_terminal_and_who_comes_back_the_screen() {
    let agent = agent();
    let ways: [Way; 2] = [
        ("Ctrl-Z", |terminal| terminal.press("\x1a")),
        ("SIGTSTP", |terminal| terminal.signal(Signal::SIGTSTP)),
    ];
    let mut terminal = top(&agent, 80, 24);
    for (name, suspend) in ways {
        terminal.wait_for("4190003");
        suspend(&mut terminal);
        let stat = format!("/proc/{}/stat", terminal.pid());
        until(name, || fs::read_to_string(&stat).unwrap().contains(") T ").then_some(()));
        terminal.assert_given_back();
        terminal.signal(Signal::SIGCONT);
        until("it is taken again", || (terminal.is_taken() == (true, true)).then_some(()));
        assert!(terminal.has_other_mode());
    }
    terminal.wait_for("4190003");
    // One that was stopped without a word, and whose terminal was written to.
    terminal.signal(Signal::SIGSTOP);
    terminal.signal(Signal::SIGCONT);
    terminal.press("q");
    assert_eq!(terminal.wait().code(), Some(0));
    terminal.assert_given_back();
}

#[test]
fn an_agent_that_goes_is_told_and_found_again() {
    let agent = agent();
    let mut terminal = top(&agent, 80, 24);
    terminal.wait_for("4190003");
    agent.go();
    let gone = terminal.wait_for("NO AGENT");
    assert!(gone.contains("4190003"), "what was known last is still there:\n{gone}");
    // It is used while it waits.
    terminal.press("P");
    terminal.wait_for("PID▲");
    agent.come_back();
    terminal.wait_for("procwatch ok enforce");
    agent.tell(&alert(500));
    terminal.wait_for("CRITICAL");
    grow(&agent, 5, 44);
    terminal.wait_for("+14");
}

#[test]
fn without_agent_or_terminal_it_does_not_begin() {
    let agent = agent();
    let folder = tempfile::tempdir().unwrap();
    let nobody = folder.path().join("nobody");
    let mut command = Command::new(binary());
    command.arg("top").arg("--socket").arg(&nobody);
    let mut terminal = Terminal::start(&command, 80, 24);
    assert_eq!(terminal.wait().code(), Some(2));
    let text = terminal.wait_for("no agent runs on this machine").replace('\n', "");
    assert!(text.contains("No such file") && text.contains("procwatch run"), "{text}");
    assert!(!terminal.bytes().contains(&b'\x1b'), "the terminal was not touched");
    terminal.assert_given_back();

    let output = self::command(&agent, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(output.stdout, b"");
    assert!(String::from_utf8(output.stderr).unwrap().contains("top needs a terminal"));

    agent.hello(json!({ "answer": "hello", "protocol": 7, "version": "9.0.0", "pid": 1 }));
    let mut terminal = top(&agent, 80, 24);
    assert_eq!(terminal.wait().code(), Some(2));
    terminal.wait_for("speaks version 7");

    for (every, error) in [("99ms", "must be 100ms or more"), ("1", "a number with its unit")] {
        let output = self::command(&agent, &["--every", every]).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("--every"), "{every} {error}: {stderr}");
    }
}

/// A picture with a real process in it.
fn with_real(pid: u32) -> Value {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_comm = stat.rsplit_once(") ").unwrap().1;
    let ticks: u64 = after_comm.split(' ').nth(19).unwrap().parse().unwrap();
    let hertz = procfs::ticks_per_second();
    let mut real = row(pid, "root", "sleep", &cgroup_of(pid), 900);
    real["start_ns"] = json!((ticks * 1_000_000_000).div_ceil(hertz));
    let mut rows = processes(30);
    rows.as_array_mut().unwrap().push(real);
    rows
}

#[test]
fn a_process_is_frozen_and_thawed_after_yes_alone() {
    needs!(Root);
    let sandbox = procwatch_tests::Sandbox::new(&["home"]);
    let sleeper = procwatch_tests::Started::new(&mut sandbox.command("home", &["sleep", "600"]));
    until("it sleeps", || {
        fs::read_to_string(format!("/proc/{}/comm", sleeper.pid()))
            .unwrap()
            .starts_with("sleep")
            .then_some(())
    });
    let pid = sleeper.pid();
    let rows = with_real(pid);
    let agent = FakeAgent::new(status(1, &rows), rows);
    let mut terminal = top(&agent, 100, 24);
    terminal.wait_for(&pid.to_string());
    terminal.press("\x1b[Bf");
    terminal.wait_for(&format!("y/n freeze {pid} sleep of root, 900 threads?"));
    terminal.press("xf\rn");
    terminal.wait_for(&format!("{pid}: left as it is"));
    assert!(!is_frozen(&cgroup_of(pid)));
    terminal.press("fy");
    terminal.wait_for("freeze: verified, frozen after");
    assert!(is_frozen(&cgroup_of(pid)));
    terminal.press("ty");
    terminal.wait_for("thaw: verified, thawed after");
    assert!(!is_frozen(&cgroup_of(pid)));
    terminal.press("ty");
    terminal.wait_for("procwatch has not frozen it");
    // One that is not there any more.
    terminal.press("/4190001\r\x1b[Hfy");
    terminal.wait_for("process 4190001 has ended");
    assert_nothing_is_left();
}

#[test]
fn an_open_process_is_diagnosed_beside_the_screen() {
    needs!(Root);
    let sleeper = start("sleep", &["600"]);
    let rows = with_real(sleeper.pid());
    let agent = FakeAgent::new(status(1, &rows), rows);
    let mut terminal = top(&agent, 100, 30);
    terminal.wait_for(&sleeper.pid().to_string());
    terminal.press("\x1b[B\r");
    let text = terminal.wait_for("no cause found for the 1 threads of sleep");
    assert!(text.contains("sleep ×1") || text.contains("threads "), "{text}");
    terminal.press("q/4190002\r\x1b[H\r");
    terminal.wait_for("process 4190002 has ended");
}

/// The line of a process.
fn line_of(text: &str, pid: u32) -> Option<&str> {
    let pid = pid.to_string();
    text.lines().find(|line| line.split_whitespace().next() == Some(&pid))
}

#[test]
fn the_real_agent_shows_an_explosion() {
    needs!(Root, Bpf);
    let agent = Agent::run(&[] as &[&str]);
    let mut command = Command::new(binary());
    command.args(["top", "--every", "100ms"]).env("TZ", "UTC").env("TERM", "xterm-256color");
    // Growth is from what it had when it was seen first.
    let mut pool = Pool::pthreads();
    pool.threads(5);
    let mut terminal = Terminal::start(&command, 120, 40);
    let (pid, shown) = (pool.pid(), pool.pid().to_string());
    terminal.wait_for("THREADS▼");
    terminal.press(&format!("/{shown}\r"));
    terminal.wait_until("the pool", |text| {
        line_of(text, pid).is_some_and(|line| line.starts_with(&format!("{pid:>7} root           5 ")))
    });
    pool.threads(150);
    let warned = terminal.wait_until("the pool with a warning", |text| {
        line_of(text, pid).is_some_and(|line| line.contains("    150 ") && line.contains(" warning "))
    });
    assert!(line_of(&warned, pid).unwrap().contains("+145"), "in a minute: {warned}");
    pool.threads(600);
    let text = terminal.wait_for("CRITICAL 500 threads (level 500)");
    assert!(text.contains("ALERTS AND ACTIONS") && text.contains(&format!("{shown} pthreads")), "{text}");
    terminal.wait_until("a critical one", |text| {
        line_of(text, pid).is_some_and(|line| line.contains("    600 ") && line.contains(" critical "))
    });
    // Who creates them is told by the kernel programs of the running agent.
    terminal.press("\x1b[B\r");
    let text = terminal.wait_for("creates the 600 threads of pthreads");
    assert!(text.contains("569 created"), "from the floor of 32 on: {text}");
    pool.end();
    terminal.wait_for("has ended; as it was last");
    terminal.press("q");
    terminal.wait_for("THREADS▼");
    agent.finish();
    terminal.wait_for("NO AGENT");
    let agent = Agent::run(&[] as &[&str]);
    terminal.wait_until("the next agent", |text| !text.contains("NO AGENT") && text.contains("procwatch "));
    terminal.press("\x03");
    assert_eq!(terminal.wait().code(), Some(0));
    terminal.assert_given_back();
    agent.finish();
}
