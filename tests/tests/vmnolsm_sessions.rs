//! A kernel that can hold nothing, as it is where `bpf` is not among its security modules: what is seen outside is
//! moved and its children are looked for, and how long they were outside is told.

use procwatch_tests::{
    guest::{SHIPPED, enforcing, is_inside, program_for_all, session},
    has_bpf_lsm, needs, number, of_kind, refusal, text,
};
use serde_json::Value;

/// Sessions, and children of each.
const SESSIONS: usize = 10;
const CHILDREN: usize = 5;

#[test]
fn check_says_what_is_missing() {
    needs!(Vm);
    assert!(!has_bpf_lsm(), "this guest was booted without it");
    let check = refusal(&["check", "--json"]);
    let report: Value = serde_json::from_str(&check.stdout).unwrap();
    let features = report["features"].as_array().unwrap();
    let lsm = features.iter().find(|feature| feature["name"] == "bpf-lsm").unwrap();
    assert_eq!((text(&lsm["state"]), check.code), ("no", Some(1)), "{lsm}");
}

#[test]
fn all_sessions_end_inside_and_their_time_outside_is_told() {
    needs!(Vm);
    let (_surroundings, agent) = enforcing(SHIPPED);
    let command = format!("{} {CHILDREN} 1000", program_for_all("burst"));
    for _ in 0..SESSIONS {
        let mut shell = session("desk", &["su", "aimgr", "-c", &command]);
        let lines = shell.hear_all();
        shell.end();
        assert_eq!(lines.len(), CHILDREN + 1, "{lines:?}");
        for line in &lines {
            assert!(is_inside(line.split(' ').nth(2).unwrap()), "{lines:?}");
        }
    }
    let ended = agent.finish();
    assert!(of_kind(&ended.records, "hold").is_empty(), "nothing can be held");
    let outcomes = of_kind(&ended.records, "outcome");
    let firsts: Vec<_> =
        outcomes.iter().filter(|it| it["comm"] != "burst" || it["strays"].is_u64()).collect();
    assert!(firsts.len() >= SESSIONS, "each session has its outcome: {outcomes:?}");
    for outcome in outcomes {
        assert_eq!(text(&outcome["result"]), "verified", "{outcome}");
        assert!(number(&outcome["outside_ns"]) > 0, "{outcome}");
    }
    let account = of_kind(&ended.records, "placement")[0];
    assert_eq!(number(&account["sessions"]), SESSIONS as u64, "{account}");
}
