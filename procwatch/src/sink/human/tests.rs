use super::*;
use crate::{
    record::{Ancestor, Body, Command, Decision, Exec, Exit, Mode, Uid},
    samples::{self, comm, command, record},
};

fn users() -> UserNames {
    UserNames::with_look_up(|uid| match uid {
        1000 => Some("alice".into()),
        1003 => Some("aimgr".into()),
        _ => None,
    })
}

fn style() -> Style {
    Style { wide: false, colour: false, zone: TimeZone::UTC }
}

fn show_as(style: Style, records: &[Record]) -> String {
    let mut out = Vec::new();
    let mut sink = Human::with_users(&mut out, style, users());
    for record in records {
        sink.write(record).unwrap();
    }
    String::from_utf8(out).unwrap()
}

fn show(body: Body) -> String {
    show_as(style(), &[record(body)])
}

/// What stands behind the columns.
fn detail(body: Body) -> String {
    show(body).chars().skip(16 + 12 + 24 + 9 + 16).collect::<String>().trim_end().to_owned()
}

fn exec(command: Command) -> Body {
    Body::Exec(Exec { process: samples::process(), file: "/usr/bin/python3".into(), command })
}

fn exit(code: Option<u8>, signal: Option<u32>, dumped: bool) -> Exit {
    Exit { process: samples::process(), code, signal, core: dumped, lived_ns: 312_000, process_ends: false }
}

#[test]
fn one_line_a_record() {
    let mut out = Vec::new();
    let mut sink = Human::with_users(&mut out, style(), users());
    sink.begin().unwrap();
    for record in samples::all() {
        sink.write(&record).unwrap();
    }
    sink.flush().unwrap();
    let expected = "\
TIME            KIND            PID     TID    PPID USER     COMM            DETAIL
15:04:05.123456 fork           4242    4242     100 alice    python3
15:04:05.123456 thread         4242    4300     100 alice    python3         threads 81
15:04:05.123456 exec           4242    4242     100 alice    python3         python3 leak.py 'a b'
15:04:05.123456 exit           4242    4242     100 alice    python3         signal 9 KILL  lived 1.23s
15:04:05.123456 thread-exit    4242    4300     100 alice    python3         threads 80
15:04:05.123456 uid            4242    4242     100 aimgr    python3         1000(alice)→1003(aimgr)  seen at exec
15:04:05.123456 cgroup         4242    4242     100 alice    python3         \
/user.slice/user-1000.slice/session-2.scope  by systemd(1)
15:04:05.123456 alert          4242    4341     100 alice    python3         \
WARNING 100 threads (level 100) python3 leak.py 'a b' · /usr/bin/python3.11 · \
/user.slice/user-1000.slice/session-2.scope · age 2m10s · +85.0µs
15:04:05.123456 cleared        4242    4242     100 alice    python3         \
WARNING over: 79 threads (level 100)
15:04:05.123456 refused        4242    4242     100 alice    python3         \
12345 threads refused so far (cap 150)
15:04:05.123456 decision       4242    4242     100 aimgr    python3         \
would move (outside-slice) → /user.slice/user-1003.slice  rule place[1] user=aimgr
15:04:05.123456 outcome        4242    4242     100 aimgr    python3         \
moved, verified, outside 1.25ms, 0 still outside  \
/user.slice/user-1000.slice/session-2.scope → /user.slice/user-1003.slice/procwatch.service/su-4242-7
15:04:05.123456 hold           4242    4242     100 aimgr    python3         held 1.90ms, inside  /bin/bash
15:04:05.123456 placement   1 sessions, 1 moved; 1 strays seen, 0 born outside; \
outside p50 1.25ms p99 1.25ms max 1.25ms; 1 held, inside; held p50 1.90ms p99 1.90ms max 1.90ms; \
already-inside 7; refused 1: EBUSY
15:04:05.123456 action         4242    4242     100 alice    python3         \
throttle to 50% of a CPU: verified, cpu.max 50000 100000, 510→512 threads, took 41.0ms · \
critical of threads[1] comm=python3 · /user.slice/user-1000.slice/procwatch-cell-4242-7.scope
15:04:05.123456 action         4242    4242     100 alice    python3         \
kill: refused (session-leader), it leads session 4242 with a terminal · critical of threads[1] comm=python3
15:04:05.123456 action         4242    4242     100 alice    python3         \
undo throttle: verified, back in /user.slice/user-1000.slice/session-2.scope, 510→512 threads, took 41.0ms · hand · \
/user.slice/user-1000.slice/procwatch-cell-4242-7.scope
15:04:05.123456 diagnosis      4242    4242     100 alice    python3         \
/opt/leak.py:12 in scan: Thread(target=scan).start() (counted, 98 %)  after 210ms
15:04:05.123456 loss        stream ring, CPU 3: 120 events lost, 200 so far; enlarge it with --ring-bytes or filter
15:04:05.123456 health      armed: 9 programs attached
15:04:05.123456 summary     1234 events in 10.0s (123/s), 0 lost
";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn seconds_change() {
    let mut records = samples::all();
    records.truncate(2);
    records[1].time = "2026-11-22T15:04:06Z".parse().unwrap();
    let text = show_as(style(), &records);
    assert!(text.contains("\n15:04:06.000000 "), "{text}");
}

#[test]
fn extraordinary_values_grow_their_columns() {
    let process = Process {
        pid: 4_194_304,
        euid: 0,
        user: Some("a-very-long-name".into()),
        comm: comm("a\nb\x1bc"),
        ..samples::process()
    };
    let line = show(Body::Exec(Exec { process, file: "/bin/x".into(), command: Command::default() }));
    assert_eq!(
        line,
        "15:04:05.123456 exec        4194304    4242     100 a-very-long-name→0 a\\nb\\x1bc       /bin/x\n"
    );
}

#[test]
fn users_without_a_name_are_numbers() {
    let process = Process { uid: 7, euid: 0, user: None, ..samples::process() };
    let line = show(exec(Command::default()).with(process));
    assert!(line.contains("    100 7→0      python3 "), "{line}");
}

#[test]
fn a_fork_names_a_creator_that_is_not_the_parent() {
    let fork = |creator_pid| {
        detail(Body::Fork(crate::record::Fork { process: samples::process(), creator_pid, creator_tid: 1 }))
    };
    assert_eq!(fork(100), "");
    assert_eq!(fork(55), "by 55");
}

#[test]
fn command_lines_are_bounded_and_say_so() {
    let long = Command { argv: Some(vec!["x".repeat(500).as_str().into()]), argv_cut_bytes: 0 };
    assert_eq!(detail(exec(long.clone())), format!("{}…", "x".repeat(159)));
    let cut = Command { argv_cut_bytes: 70, ..long.clone() };
    assert_eq!(detail(exec(cut)), format!("{}…(+70 bytes)", "x".repeat(159)));
    let wide = show_as(Style { wide: true, ..style() }, &[record(exec(long))]);
    assert!(wide.ends_with(&format!(" {}\n", "x".repeat(500))));
    assert_eq!(detail(exec(Command { argv_cut_bytes: 9, ..command() })), "python3 leak.py 'a b'…(+9 bytes)");
}

#[test]
fn an_exec_without_arguments_shows_its_file() {
    assert_eq!(detail(exec(Command::default())), "/usr/bin/python3");
    assert_eq!(detail(exec(Command { argv: Some(Vec::new()), argv_cut_bytes: 0 })), "/usr/bin/python3");
}

#[test]
fn a_decision_that_is_carried_out_gives_its_reason() {
    let mut shown = Vec::new();
    for record in samples::all() {
        if let Body::Decision(decision) = record.body {
            shown.push(detail(Body::Decision(Decision { mode: Mode::Enforce, ..decision })));
        }
    }
    assert_eq!(shown, ["move (outside-slice) → /user.slice/user-1003.slice  rule place[1] user=aimgr"]);
}

#[test]
fn ends_are_told() {
    for (exit, shown) in [
        (exit(Some(0), None, false), "code 0  lived 312µs"),
        (exit(Some(3), None, false), "code 3  lived 312µs"),
        (exit(None, Some(11), true), "signal 11 SEGV core dumped  lived 312µs"),
        (exit(None, Some(40), false), "signal 40  lived 312µs"),
    ] {
        assert_eq!(detail(Body::Exit(exit)), shown);
    }
    assert_eq!(detail(Body::ThreadExit(exit(Some(2), None, false))), "threads 1  code 2");
    assert_eq!(detail(Body::ThreadExit(exit(None, Some(9), false))), "threads 1  signal 9 KILL");
}

#[test]
fn only_uids_that_changed_are_told() {
    let uid = |uid, euid, old_uid, old_euid| {
        let process = Process { uid, euid, ..samples::process() };
        let seen_at = crate::record::SeenAt::CredentialChange;
        let line = show(Body::Uid(Uid { process, old_uid, old_euid, seen_at }));
        line.split_once("python3 ").unwrap().1.trim().to_owned()
    };
    assert_eq!(uid(1000, 0, 1000, 1000), "effective 1000(alice)→0  seen at change");
    assert_eq!(
        uid(1003, 1003, 1000, 0),
        "real 1000(alice)→1003(aimgr)  effective 0→1003(aimgr)  seen at change"
    );
    assert_eq!(uid(0, 0, 1000, 1000), "1000(alice)→0  seen at change");
}

#[test]
fn lineage_stands_at_the_end_and_is_bounded() {
    let step = |pid, name| Ancestor { pid, uid: 0, comm: comm(name) };
    let with = |lineage| {
        let process = Process { lineage: Some(lineage), ..samples::process() };
        detail(exec(command()).with(process))
    };
    assert_eq!(with(vec![step(12, "bash"), step(11, "su")]), "python3 leak.py 'a b' ← bash(12) ← su(11)");
    let long = with(vec![step(1, "name"); 100]);
    assert!(long.ends_with('…') && long.chars().count() == 21 + DETAIL_COLUMNS, "{long}");
}

#[test]
fn only_severities_are_coloured() {
    let coloured = show_as(Style { colour: true, ..style() }, &samples::all());
    assert_eq!(coloured.matches("\x1b[33mWARNING\x1b[0m").count(), 2);
    assert_eq!(coloured.matches('\x1b').count(), 4);
}

#[test]
fn time_is_that_of_the_zone() {
    let zone = TimeZone::fixed(jiff::tz::offset(2));
    let line = show_as(Style { zone, ..style() }, &samples::all());
    assert!(line.starts_with("17:04:05.123456 "), "{line}");
}

trait With {
    fn with(self, process: Process) -> Self;
}

impl With for Body {
    /// The same exec of another process.
    fn with(self, process: Process) -> Self {
        match self {
            Self::Exec(exec) => Self::Exec(Exec { process, ..exec }),
            other => other,
        }
    }
}
