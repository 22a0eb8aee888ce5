//! What is contained by hand, and what is left of it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    agent::{Refusal, refusal},
    sandbox::mount,
    text,
};

/// Where procwatch notes what it contains.
pub const STATE: &str = "/run/procwatch/contained.json";

/// Calls procwatch for JSON lines; returns its exit code and the records.
pub fn call(words: &[&str]) -> (Option<i32>, Vec<Value>) {
    let Refusal { code, stdout, stderr } = refusal(&[words, &["--json"]].concat());
    assert_eq!(stderr, "", "{words:?}: {stdout}");
    (code, stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// `procwatch contain PID ACTION`, and its one record.
pub fn contain(pid: u32, action: &[&str]) -> (Option<i32>, Value) {
    let pid = pid.to_string();
    let (code, mut records) = call(&[&["contain", pid.as_str()], action].concat());
    assert_eq!(records.len(), 1, "{records:?}");
    (code, records.remove(0))
}

/// The same for an action that must succeed.
pub fn done(pid: u32, action: &[&str]) -> Value {
    let (code, record) = contain(pid, action);
    assert_eq!((code, text(&record["result"])), (Some(0), "verified"), "{record}");
    assert_eq!((text(&record["kind"]), text(&record["occasion"])), ("action", "hand"));
    record
}

/// `procwatch undo PID`: exit code, and action and result of each thing taken back, and all details.
pub fn undo(pid: u32) -> (Option<i32>, Vec<(String, String)>, String) {
    let (code, records) = call(&["undo", &pid.to_string()]);
    let details: Vec<&str> = records.iter().map(|record| text(&record["detail"])).collect();
    let details = details.join("; ");
    let of = |record: &Value| (text(&record["action"]).to_owned(), text(&record["result"]).to_owned());
    assert!(records.iter().all(|record| record["undo"] == true), "{records:?}");
    (code, records.iter().map(of).collect(), details)
}

/// An action that was taken back.
pub fn verified(action: &str) -> (String, String) {
    (action.to_owned(), "verified".to_owned())
}

/// The cgroup of a process, and whether it is stopped.
pub fn state(pid: u32) -> (String, bool) {
    (cgroup_of(pid), stat(pid).starts_with('T'))
}

/// The cgroup of a process.
pub fn cgroup_of(pid: u32) -> String {
    let all = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    all.lines().find_map(|line| line.strip_prefix("0::")).unwrap().to_owned()
}

fn stat(pid: u32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().to_owned()
}

/// The folder of a cgroup.
pub fn folder(cgroup: &str) -> PathBuf {
    mount().join(cgroup.trim_start_matches('/'))
}

/// Whether the kernel says that a cgroup is frozen.
pub fn is_frozen(cgroup: &str) -> bool {
    // The root cannot be frozen, and has no such file.
    fs::read_to_string(folder(cgroup).join("cgroup.events")).is_ok_and(|events| events.contains("frozen 1"))
}

/// All cells that there are.
pub fn cells() -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![mount()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let name = entry.file_name().into_string().unwrap();
                if name.starts_with("procwatch-cell-") {
                    found.push(name);
                }
                open.push(entry.path());
            }
        }
    }
    found
}

/// No cell and no note.
pub fn assert_nothing_is_left() {
    assert_eq!((cells(), Path::new(STATE).exists()), (vec![], false));
}

/// Makes what was done by hand look as if an agent had done it, which then died.
pub fn as_of_an_agent() {
    let notes = fs::read_to_string(STATE).unwrap();
    fs::write(STATE, notes.replace("\"by_hand\": true", "\"by_hand\": false")).unwrap();
}

/// `procwatch recover`: exit code, action and result of each thing that was found, and all records.
pub fn recover(words: &[&str]) -> (Option<i32>, Vec<(String, String)>, Vec<Value>) {
    let (code, records) = call(&[&["recover"], words].concat());
    let acts = records.iter().filter(|record| record["kind"] == "action");
    let of = |record: &Value| (text(&record["action"]).to_owned(), text(&record["result"]).to_owned());
    let acts = acts.map(of).collect();
    (code, acts, records)
}

/// The controllers that the hierarchy has.
pub fn root_controllers() -> String {
    fs::read_to_string(mount().join("cgroup.controllers")).unwrap()
}
