use clap::Parser;

use super::*;
use crate::{
    event::{Attach, BootTime, Creator, Exec, Exit, ExitStatus, LevelChange, Subject},
    samples::comm,
};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    filter: FilterArgs,
}

struct Paths;

impl CgroupPaths for Paths {
    fn path(&mut self, cgroup_id: u64) -> Option<Text> {
        match cgroup_id {
            1 => Some("/".into()),
            2 => Some("/user.slice".into()),
            3 => Some("/user.slice/user-1000.slice".into()),
            4 => Some("/user.slicer".into()),
            _ => None,
        }
    }
}

fn try_filter(args: &str) -> Result<Filter, FilterError> {
    let cli = Cli::try_parse_from(["procwatch"].into_iter().chain(args.split_whitespace())).unwrap();
    Filter::from_args(&cli.filter)
}

fn filter(args: &str) -> Filter {
    try_filter(args).unwrap()
}

fn event(pid: u32, parent: u32, body: Body) -> Event {
    let subject = Subject {
        pid,
        tid: pid,
        ppid: parent,
        uid: 1000,
        euid: 1003,
        threads: 1,
        start: BootTime(u64::from(pid)),
        cgroup_id: 3,
        comm: comm("bash"),
    };
    Event { time: BootTime(1), cpu: 0, seq: 0, subject, body }
}

fn fork(parent: u32, child: u32) -> Event {
    event(child, parent, Body::Fork(Creator { pid: parent, tid: parent, clone_flags: 0 }))
}

fn thread(pid: u32) -> Event {
    event(pid, 1, Body::Thread(Creator { pid, tid: pid, clone_flags: 0 }))
}

fn exec(pid: u32) -> Event {
    event(pid, 1, Body::Exec(Exec { file: "/bin/x".into(), argv: None, old_tid: pid }))
}

fn exit(pid: u32) -> Event {
    event(pid, 1, Body::Exit(Exit { status: ExitStatus::Code(0), lived_ns: 1, process_ends: true }))
}

fn attach(path: &str) -> Event {
    let attach = Attach { mover_pid: 1, mover_comm: comm("systemd"), path: path.into() };
    event(5, 1, Body::Cgroup(attach))
}

fn change() -> LevelChange {
    LevelChange { way: Way::Level(0), level: 80, rule: 0, growth: None, creator_tid: 5, argv: None }
}

fn crossed(pid: u32, parent: u32) -> Event {
    event(pid, parent, Body::LevelCrossed(change()))
}

fn cleared(pid: u32) -> Event {
    event(pid, 1, Body::LevelCleared(change()))
}

fn in_cgroup(cgroup_id: u64, mut event: Event) -> Event {
    event.subject.cgroup_id = cgroup_id;
    event
}

fn named(name: &str, mut event: Event) -> Event {
    event.subject.comm = comm(name);
    event
}

/// What a filter says to events in their order.
fn answers<const N: usize>(args: &str, events: [Event; N]) -> [bool; N] {
    let mut filter = filter(args);
    events.map(|event| filter.matches(&event, &mut Paths))
}

#[test]
fn criteria() {
    let stray = crate::samples::stray();
    for (args, event, expected) in [
        ("", exec(5), true),
        ("", crossed(5, 1), true),
        ("", event(5, 1, Body::Stray(stray)), false),
        ("--kind exec", exec(5), true),
        ("--kind fork,exit --kind exec", exec(5), true),
        ("--kind fork,exit", exec(5), false),
        ("--kind alert", crossed(5, 1), true),
        ("--kind alert", thread(5), false),
        ("--uid 1000", exec(5), true),
        ("--uid 7,1003", exec(5), true),
        ("--uid 7", exec(5), false),
        ("--user root", exec(5), false),
        ("--user root --uid 1000", exec(5), true),
        ("--comm bash", exec(5), true),
        ("--comm bas", exec(5), false),
        ("--comm sh,bash", exec(5), true),
        ("--comm systemd", attach("/x"), true),
        ("--comm bash", attach("/x"), true),
        ("--comm sh", attach("/x"), false),
        ("--pid 5", exec(5), true),
        ("--pid 5", exec(6), false),
        // What a process does to others is told with it.
        ("--pid 5", fork(5, 6), true),
        ("--pid 6", fork(5, 6), true),
        ("--pid 7", fork(5, 6), false),
        ("--pid 5 --uid 7", exec(5), false),
        // The kernel has decided about these.
        ("--cgroup system.slice", exec(5), true),
        ("--cgroup user.slice", crossed(5, 1), true),
        ("--cgroup /user.slice/", in_cgroup(2, crossed(5, 1)), true),
        ("--cgroup user.slice", in_cgroup(4, crossed(5, 1)), false),
        ("--cgroup user.slice", in_cgroup(1, crossed(5, 1)), false),
        ("--cgroup user.slice", in_cgroup(9, crossed(5, 1)), true),
        ("--cgroup /", in_cgroup(1, crossed(5, 1)), true),
        ("--cgroup user.slice", attach("/user.slice/x"), true),
        ("--cgroup user.slice", attach("/user.slicer"), false),
        ("--cgroup user.slice", attach("/"), false),
        ("--cgroup system.slice --pid 5 --children", exec(5), false),
        ("--cgroup user.slice --pid 5 --children", exec(5), true),
    ] {
        assert_eq!(answers(args, [event.clone()]), [expected], "{args}: {event:?}");
    }
}

#[test]
fn children_are_followed() {
    assert_eq!(
        answers("--pid 5 --children", [fork(5, 6), fork(6, 7), exec(7), exit(6), exec(6), exec(7), exec(8)]),
        [true, true, true, true, false, true, false]
    );
    assert_eq!(answers("--pid 5", [fork(5, 6), exec(6), exit(5), exec(5)]), [true, false, true, true]);
}

#[test]
fn children_are_followed_through_events_that_are_not_wanted() {
    assert_eq!(
        answers(
            "--pid 5 --children --kind exec --comm sh",
            [fork(5, 6), named("sh", exec(6)), exec(6), exit(6)]
        ),
        [false, true, false, false]
    );
}

#[test]
fn a_child_whose_fork_was_not_seen_is_told_by_its_parent() {
    assert_eq!(answers("--pid 5 --children", [crossed(6, 5), exec(6), crossed(7, 8)]), [true, true, false]);
}

#[test]
fn children_from_before_are_adopted() {
    let mut filter = filter("--pid 5 --children");
    filter.adopt(5, 6);
    filter.adopt(6, 7);
    filter.adopt(8, 9);
    let answers = [6, 7, 9].map(|pid| filter.matches(&exec(pid), &mut Paths));
    assert_eq!(answers, [true, true, false]);
}

#[test]
fn an_alert_ends_for_whom_it_began() {
    // The thread that ends has another name than the one that was created last.
    assert_eq!(
        answers("--comm bash", [crossed(5, 1), named("worker", cleared(5)), cleared(5), cleared(6)]),
        [true, true, false, false]
    );
}

#[test]
fn the_kernel_is_told() {
    let bits = |kinds: &[Kind]| kinds.iter().fold(0, |mask, kind| mask | kind.bit());
    let all = bits(&Kind::ALL) & !bits(&[Kind::Stray, Kind::Moved, Kind::Held, Kind::Program, Kind::Refused]);
    for (args, kinds, filters) in [
        ("", all, 0),
        ("--kind exec", bits(&[Kind::Exec]), 0),
        ("--kind alert", bits(&[Kind::LevelCrossed, Kind::LevelCleared]), 0),
        ("--uid 1 --comm sh", all, FILTER_UID | FILTER_COMM),
        ("--pid 1 --cgroup x --kind thread", bits(&[Kind::Thread]), FILTER_PID | FILTER_CGROUP),
        (
            "--pid 1 --children --uid 1 --kind exec",
            bits(&[Kind::Exec, Kind::Fork, Kind::Exit]),
            FILTER_PID | FILTER_CHILDREN,
        ),
    ] {
        let filter = filter(args);
        assert_eq!((filter.kinds_mask(), filter.kernel_filters()), (kinds, filters), "{args}");
    }
}

#[test]
fn maps_are_filled() {
    let filter = filter("--uid 3,1,3 --user root --comm sh,abcdefghijklmno --pid 9,8 --cgroup //a.slice//b/");
    assert_eq!(filter.uids().collect::<Vec<_>>(), [0, 1, 3]);
    assert_eq!(filter.pids().collect::<Vec<_>>(), [8, 9]);
    let mut comms: Vec<_> = filter.comms().collect();
    comms.sort_unstable();
    assert_eq!(comms, [*b"abcdefghijklmno\0", *b"sh\0\0\0\0\0\0\0\0\0\0\0\0\0\0"]);
    assert_eq!(filter.cgroup(), Some("/a.slice/b"));
    assert_eq!(Filter::from_args(&FilterArgs::default()).unwrap().cgroup(), None);
    assert_eq!(try_filter("--cgroup /").unwrap().cgroup(), Some("/"));
}

#[test]
fn what_cannot_be_is_refused() {
    for (args, message) in [
        (
            "--user no-such-user",
            "--user \"no-such-user\": no such user; `getent passwd` lists those there are, --uid takes a number",
        ),
        (
            "--comm abcdefghijklmnop",
            "--comm \"abcdefghijklmnop\" has 16 bytes: the kernel keeps 1 to 15 of a name (TASK_COMM_LEN); give those",
        ),
        (
            "--comm sh,",
            "--comm \"\" has 0 bytes: the kernel keeps 1 to 15 of a name (TASK_COMM_LEN); give those",
        ),
        (
            "--cgroup ../x",
            "--cgroup \"../x\" is no path below the cgroup root: give it as user.slice or \
             /user.slice/user-1000.slice",
        ),
    ] {
        assert_eq!(try_filter(args).unwrap_err().to_string(), message);
    }
    let too_many = WhoArgs { uid: (0..65).collect(), ..WhoArgs::default() };
    let error = Filter::new(BTreeSet::new(), &too_many).unwrap_err();
    assert_eq!(
        error.to_string(),
        "--uid and --user: 65 values are more than the 64 that the kernel programs can hold"
    );
    let nobody = WhoArgs { children: true, ..WhoArgs::default() };
    assert_eq!(Filter::new(BTreeSet::new(), &nobody).unwrap_err(), FilterError::ChildrenOfNobody);
    assert!(Cli::try_parse_from(["procwatch", "--children"]).is_err());
    assert!(Cli::try_parse_from(["procwatch", "--kind", "spoon"]).is_err());
}
