//! What an outlet is told when a person tries it.

use std::io;

use super::Message;
use crate::{
    clock::Clock,
    record::{Alert, Body, Bound, Command, Process, Record, Severity},
    sink::listener::Told,
    text::{Comm, Text},
    users::UserNames,
};

/// An alert of this severity about the caller's own process, which says that it is a trial.
///
/// # Errors
/// When the clocks cannot be read.
pub fn sample(severity: Severity) -> io::Result<Message> {
    let clock = Clock::new().map_err(io::Error::from)?;
    let now = clock.now();
    let uid = nix::unistd::getuid().as_raw();
    let process = Process {
        pid: std::process::id(),
        tid: std::process::id(),
        ppid: std::os::unix::process::parent_id(),
        uid,
        euid: nix::unistd::geteuid().as_raw(),
        user: UserNames::new().name(uid).cloned(),
        comm: Comm::of_name(b"procwatch"),
        threads: 100,
        start_ns: now.0,
        cgroup_id: 0,
        cgroup: None,
        lineage: None,
    };
    let argv = ["procwatch", "outlet", "test"].map(Text::from).to_vec();
    let alert = Alert {
        process,
        severity,
        bound: Bound::Level,
        level: 100,
        rule: "this is a trial, nothing has happened".to_owned(),
        growth: None,
        stopped: None,
        creator_tid: None,
        exe: None,
        command: Command { argv: Some(argv), argv_cut_bytes: 0 },
        age_ns: 0,
        latency_ns: None,
        at_start: false,
    };
    let record = Record { time: clock.timestamp(now), boot_ns: now.0, body: Body::Alert(alert) };
    Told::new(record).map(Message::One)
}
