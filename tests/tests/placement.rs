//! Strays are found, explained and, where that is ordered, moved; all else is left alone.

use procwatch_tests::{
    Ended, SCENE_UID as UID, Scene, Started, compiled, for_everyone, kinds, leaf_of, needs, of_kind, text,
    until,
};
use serde_json::{Value, json};

/// A shell that makes 20 children at once, says so, and waits with them.
const BROOD: &str = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 60 & all=\"$all $!\"; done; \
                     echo born; read line; kill $all || exit 9; wait; exit 0";

fn brood(scene: &Scene) -> Started {
    let mut shell = scene.start("from/session", &["/bin/sh", "-c", BROOD]);
    assert_eq!(shell.hear(), "born");
    shell
}

fn is_outcome(record: &Value, pid: u32) -> bool {
    record["kind"] == "outcome" && record["pid"] == pid
}

fn about(ended: &Ended, kind: &str, pid: u32) -> Vec<Value> {
    let found = of_kind(&ended.records, kind).into_iter().filter(|it| it["pid"] == pid);
    found.cloned().collect()
}

#[test]
fn a_shell_and_twenty_children_all_end_up_inside() {
    needs!(Root, Bpf);
    let scene = Scene::new("enforce", UID);
    let agent = scene.agent();
    let mut shell = brood(&scene);
    let inside = scene.wait_for_inhabitants(shell.pid(), 21);
    let leaf = leaf_of(shell.pid());
    assert!(inside.contains(&shell.pid()));
    assert_eq!(scene.sandbox.inhabitants("from/session"), [] as [u32; 0]);
    agent.wait_for("its outcome", |record| is_outcome(record, shell.pid()));
    shell.say("end");
    assert!(shell.end().success(), "none was killed: all its children were there to be ended");
    let ended = agent.finish();

    let outcomes = of_kind(&ended.records, "outcome");
    for outcome in &outcomes {
        let result = text(&outcome["result"]);
        assert!(["verified", "gone"].contains(&result), "{outcome}");
        assert_eq!(outcome["to"], scene.sandbox.path(&leaf), "one session, one leaf");
        assert_eq!(outcome["session"], leaf.rsplit('/').next().unwrap());
        assert!(outcome["error"].is_null(), "{outcome}");
    }
    let shells = about(&ended, "outcome", shell.pid());
    assert_eq!(shells.len(), 1, "{shells:#?}");
    assert_eq!((&shells[0]["result"], &shells[0]["still_outside"]), (&json!("verified"), &json!(0)));
    assert_eq!(shells[0]["from"], scene.sandbox.path("from/session"));
    assert!(shells[0]["outside_ns"].as_u64().unwrap() > 0);
    let decision = &about(&ended, "decision", shell.pid())[0];
    assert_eq!((&decision["verdict"], &decision["reason"]), (&json!("move"), &json!("outside-slice")));
    assert_eq!((&decision["mode"], &decision["uid"]), (&json!("enforce"), &json!(UID)));
    assert_eq!(decision["target"], scene.sandbox.path("target"));
    assert_eq!(text(&decision["rule"]), format!("place[1] uid={UID}"));
}

#[test]
fn observing_moves_nothing_and_says_what_would_be_done() {
    needs!(Root, Bpf);
    let scene = Scene::new("observe", UID);
    let agent = scene.agent();
    let mut shell = brood(&scene);
    let children = scene.sandbox.inhabitants("from/session");
    assert_eq!(children.len(), 21);
    for pid in children {
        let decision = agent.wait_for("a decision", |it| it["kind"] == "decision" && it["pid"] == pid);
        assert_eq!((&decision["verdict"], &decision["mode"]), (&json!("move"), &json!("observe")));
    }
    assert_eq!(scene.sandbox.inhabitants("from/session").len(), 21, "nobody was moved");
    assert!(!scene.sandbox.folder("target/procwatch").exists(), "nothing was made");
    shell.say("end");
    shell.end();
    let ended = agent.finish();
    assert_eq!(of_kind(&ended.records, "outcome"), [] as [&Value; 0]);
}

#[test]
fn su_is_followed() {
    needs!(Root, Bpf, Nobody);
    let scene = Scene::new("enforce", 65_534);
    let agent = scene.agent();
    let argv = [
        "su",
        "-s",
        "/bin/sh",
        "nobody",
        "-c",
        "sleep 60 & all=$!; sleep 60 & echo $$; read line; kill $all $! && exit 5",
    ];
    let mut su = Started::new(&mut scene.sandbox.command("from/session", &argv));
    let shell: u32 = su.hear().parse().unwrap();
    assert!(scene.wait_for_inhabitants(shell, 3).contains(&shell));
    assert_eq!(scene.sandbox.inhabitants("from/session"), [su.pid()], "su itself is root, and stays");
    su.say("end");
    assert_eq!(su.end().code(), Some(5));
    let ended = agent.finish();
    assert_eq!(about(&ended, "outcome", shell)[0]["result"], "verified");
    assert_eq!(about(&ended, "decision", su.pid()), [] as [Value; 0]);
}

#[test]
fn who_is_not_in_from_is_left_alone() {
    needs!(Root, Bpf);
    let scene = Scene::new("enforce", UID);
    let agent = scene.agent();
    let mut elsewhere = scene.start("elsewhere", &["/bin/sh", "-c", "/bin/true; echo done; read line"]);
    assert_eq!(elsewhere.hear(), "done");
    // A stray after it: once that one is dealt with, the first would have been too.
    let mut stray = scene.start("from", &["cat"]);
    agent.wait_for("the stray's outcome", |record| is_outcome(record, stray.pid()));
    assert_eq!(scene.sandbox.inhabitants("elsewhere"), [elsewhere.pid()]);
    elsewhere.end();
    stray.end();
    let ended = agent.finish();
    assert_eq!(about(&ended, "decision", elsewhere.pid()), [] as [Value; 0]);
    assert_eq!(about(&ended, "decision", stray.pid()).len(), 1);
}

#[test]
fn who_is_someone_else_for_a_moment_is_left_alone() {
    needs!(Root, Bpf);
    let scene = Scene::new("enforce", UID);
    let (_folder, borrower) = for_everyone(&compiled("borrower"));
    let agent = scene.agent();
    let uid = UID.to_string();
    let mut borrower = Started::new(&mut scene.sandbox.command("from", &[borrower.to_str().unwrap(), &uid]));
    assert_eq!(borrower.hear(), "done");
    let mut stray = scene.start("from/session", &["cat"]);
    agent.wait_for("the stray's outcome", |record| is_outcome(record, stray.pid()));
    assert_eq!(scene.sandbox.inhabitants("from"), [borrower.pid()]);
    borrower.end();
    stray.end();
    let ended = agent.finish();
    assert_eq!(kinds(&ended.records)["decision"], 1, "the stray's alone");
}

#[test]
fn strays_from_before_the_start_are_moved_too() {
    needs!(Root, Bpf);
    let scene = Scene::new("enforce", UID);
    let mut shell = brood(&scene);
    let agent = scene.agent();
    scene.wait_for_inhabitants(shell.pid(), 21);
    let outcome = agent.wait_for("its outcome", |record| is_outcome(record, shell.pid()));
    assert_eq!(outcome["result"], "verified");
    shell.say("end");
    assert!(shell.end().success());
    let ended = agent.finish();
    assert_eq!(about(&ended, "decision", shell.pid())[0]["seen_at"], "picture");
    let outcomes = of_kind(&ended.records, "outcome");
    assert_eq!(outcomes.len(), 21, "each once");
}

#[test]
fn strays_from_before_the_start_are_only_told_of_when_observing() {
    needs!(Root, Bpf);
    let scene = Scene::new("observe", UID);
    let mut shell = brood(&scene);
    let agent = scene.agent();
    agent.wait_for_many(21, "decisions", |record| record["kind"] == "decision");
    assert_eq!(scene.sandbox.inhabitants("from/session").len(), 21);
    shell.say("end");
    shell.end();
    let ended = agent.finish();
    assert_eq!(about(&ended, "decision", shell.pid()).len(), 1);
    assert_eq!(of_kind(&ended.records, "outcome"), [] as [&Value; 0]);
}

#[test]
fn a_target_that_vanished_is_said_and_harms_nobody() {
    needs!(Root, Bpf);
    let scene = Scene::new("enforce", UID);
    let agent = scene.agent();
    scene.sandbox.remove("target");
    let mut stray = scene.start("from/session", &["cat"]);
    let outcome = agent.wait_for("its outcome", |record| is_outcome(record, stray.pid()));
    assert_eq!(outcome["result"], "failed");
    let error = text(&outcome["error"]);
    assert!(error.contains("the slice is gone"), "{error}");
    stray.say("alive");
    assert_eq!(stray.hear(), "alive");
    assert_eq!(scene.sandbox.inhabitants("from/session"), [stray.pid()]);
    stray.end();
    agent.finish();
}

#[test]
fn the_leaf_goes_with_the_agent_unless_somebody_lives_there() {
    needs!(Root, Bpf);
    let scene = Scene::new("enforce", UID);
    let agent = scene.agent();
    let mut stray = scene.start("from/session", &["cat"]);
    agent.wait_for("its outcome", |record| is_outcome(record, stray.pid()));
    agent.finish();
    let leaf = leaf_of(stray.pid());
    assert_eq!(scene.sandbox.inhabitants(&leaf), [stray.pid()], "it stays where it is");
    stray.end();

    let agent = scene.agent();
    let mut stray = scene.start("from/session", &["cat"]);
    agent.wait_for("its outcome", |record| is_outcome(record, stray.pid()));
    let leaf = leaf_of(stray.pid());
    stray.end();
    until("an empty leaf", || scene.sandbox.inhabitants(&leaf).is_empty().then_some(()));
    agent.finish();
    assert!(!scene.sandbox.folder(&leaf).exists());
    assert!(
        scene.sandbox.folder("target/procwatch").exists(),
        "not empty: the first agent's leaf is not ours"
    );
}

#[test]
fn a_source_that_comes_later_and_again_is_taken_from() {
    needs!(Root, Bpf);
    let scene = Scene::new("enforce", UID);
    scene.sandbox.remove("from");
    let agent = scene.agent();
    let absent = agent.wait_for("what is not there", |record| {
        record["topic"] == "unavailable" && text(&record["message"]).contains("/from is not there yet")
    });
    assert!(text(&absent["message"]).contains("place[1] uid="), "{absent}");
    for _ in 0..2 {
        scene.sandbox.make("from");
        let mut stray = scene.start("from", &["cat"]);
        let outcome = agent.wait_for("its outcome", |record| is_outcome(record, stray.pid()));
        assert_eq!(outcome["result"], "verified", "{outcome}");
        stray.end();
        scene.sandbox.remove("from");
    }
    agent.finish();
}
