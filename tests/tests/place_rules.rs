//! Rules of placement do what they say: whom they speak of, whom they ignore, and what `place --explain` tells of both.

use std::fs;

use procwatch_tests::{
    Refusal, SCENE_UID as UID, Scene, Started, compiled, for_everyone, needs, of_kind, refusal, start, text,
};
use serde_json::Value;

/// What `procwatch place --explain` says of a process.
fn explained(scene: &Scene, pid: u32) -> Value {
    let config = scene.config.to_str().unwrap();
    let answer = refusal(&["place", "--explain", &pid.to_string(), "--config", config, "--json"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    serde_json::from_str(&answer.stdout).unwrap()
}

fn reason(scene: &Scene, pid: u32) -> String {
    text(&explained(scene, pid)["reason"]).to_owned()
}

/// A `cat` that runs by now.
fn cat(scene: &Scene, cgroup: &str) -> Started {
    let mut cat = scene.start(cgroup, &["cat"]);
    cat.say("here");
    assert_eq!(cat.hear(), "here");
    cat
}

#[test]
fn who_is_ignored_is_left_alone_until_it_runs_another_program() {
    needs!(Root, Bpf);
    let scene = Scene::with(
        "enforce",
        &format!("uid = {UID}\nignore = {{ comms = [\"sleep\"], exes = [\"/no/such/*\"] }}"),
    );
    let agent = scene.agent();
    let mut ignored = scene.start("from", &["sleep", "60"]);
    let decision =
        agent.wait_for("it is ignored", |it| it["pid"] == ignored.pid() && it["kind"] == "decision");
    assert_eq!(
        (text(&decision["verdict"]), text(&decision["reason"]), text(&decision["evidence"])),
        ("leave", "ignored", "comm sleep")
    );
    // `sh` is not ignored and is moved; the `sleep` that it becomes is then inside.
    let mut other = scene.start("from", &["/bin/sh", "-c", "read line; exec sleep 60"]);
    agent.wait_for("its outcome", |it| it["pid"] == other.pid() && it["kind"] == "outcome");
    other.say("go on");
    assert_eq!(scene.sandbox.inhabitants("from"), [ignored.pid()]);
    assert_eq!(reason(&scene, ignored.pid()), "ignored");
    assert_eq!(reason(&scene, other.pid()), "already-inside");
    ignored.kill();
    other.kill();
    let ended = agent.finish();
    let decisions = of_kind(&ended.records, "decision");
    assert_eq!(
        decisions.iter().filter(|it| it["pid"] == ignored.pid()).count(),
        1,
        "told once: {decisions:?}"
    );
}

#[test]
fn a_unit_that_is_ignored_is_asked_about_once() {
    needs!(Root, Bpf);
    let scene = Scene::with("enforce", &format!("uid = {UID}\nignore = {{ units = [\"sess*\"] }}"));
    let agent = scene.agent();
    let script = "read go; for i in 1 2 3 4 5; do /bin/true; done; echo done; read line";
    let mut shell = scene.start("from/session", &["/bin/sh", "-c", script]);
    agent.wait_for("the question", |it| it["pid"] == shell.pid() && it["kind"] == "decision");
    shell.say("go");
    assert_eq!(shell.hear(), "done");
    let mut other = scene.start("from", &["cat"]);
    agent.wait_for("another one is moved", |it| it["pid"] == other.pid() && it["kind"] == "outcome");
    assert_eq!(scene.sandbox.inhabitants("from/session"), [shell.pid()]);
    shell.end();
    other.end();
    let ended = agent.finish();
    let ignored: Vec<_> =
        of_kind(&ended.records, "decision").into_iter().filter(|it| it["reason"] == "ignored").collect();
    assert_eq!(ignored.len(), 1, "{ignored:?}");
    assert_eq!(text(&ignored[0]["evidence"]), "unit session");
    let account = of_kind(&ended.records, "placement")[0];
    assert!(
        account["left_alone"]["ignored"].as_u64().unwrap() >= 5,
        "the others are only counted: {account}"
    );
}

#[test]
fn what_one_rule_ignores_another_does_not() {
    needs!(Root, Bpf);
    const OTHER: u32 = UID + 1;
    let scene = Scene::with("enforce", &format!("uid = {UID}\nignore = {{ units = [\"sess*\"] }}"));
    let config = fs::read_to_string(&scene.config).unwrap();
    let (mode, rule) = config.split_once('\n').unwrap();
    let other = rule.lines().filter(|line| !line.starts_with("ignore")).collect::<Vec<_>>().join("\n");
    let other = other.replace(&format!("uid = {UID}"), &format!("uid = {OTHER}"));
    fs::write(&scene.config, format!("{mode}\n{rule}\n{other}\n")).unwrap();
    let agent = scene.agent();
    let mut ignored = scene.start("from/session", &["cat"]);
    agent.wait_for("it is ignored", |it| it["pid"] == ignored.pid() && it["kind"] == "decision");
    let mut moved = scene.start_as("from/session", OTHER, OTHER, &["cat"]);
    let outcome = agent.wait_for("its outcome", |it| it["pid"] == moved.pid() && it["kind"] == "outcome");
    assert_eq!(text(&outcome["result"]), "verified", "{outcome}");
    assert_eq!(scene.sandbox.inhabitants("from/session"), [ignored.pid()]);
    ignored.end();
    moved.end();
    agent.finish();
}

#[test]
fn a_rule_for_a_group_speaks_of_all_its_users_but_root() {
    needs!(Root, Bpf);
    let scene = Scene::with("enforce", &format!("gid = {UID}"));
    let agent = scene.agent();
    let mut root = scene.start_as("from", 0, UID, &["cat"]);
    let mut other_group = scene.start_as("from", 64_200, 64_200, &["cat"]);
    let mut first = scene.start_as("from", 64_201, UID, &["cat"]);
    let mut second = scene.start_as("from", 64_202, UID, &["cat"]);
    for stray in [&first, &second] {
        let outcome = agent.wait_for("its outcome", |it| it["pid"] == stray.pid() && it["kind"] == "outcome");
        assert_eq!(outcome["result"], "verified", "{outcome}");
    }
    let mut left = scene.sandbox.inhabitants("from");
    left.sort_unstable();
    let mut expected = [root.pid(), other_group.pid()];
    expected.sort_unstable();
    assert_eq!(left, expected);
    assert_eq!(reason(&scene, other_group.pid()), "other-user");
    for program in [&mut root, &mut other_group, &mut first, &mut second] {
        program.end();
    }
    agent.finish();
}

#[test]
fn each_reason_is_explained() {
    needs!(Root, Nobody);
    let scene = Scene::new("observe", UID);
    let mut stray = cat(&scene, "from");
    let explained = explained(&scene, stray.pid());
    assert_eq!((text(&explained["verdict"]), text(&explained["reason"])), ("move", "outside-slice"));
    assert_eq!(text(&explained["rule"]), format!("place[1] uid={UID}"));
    assert!(text(&explained["session"]).starts_with(&format!("su-{}-", stray.pid())), "{explained}");
    stray.end();

    let mut inside = cat(&scene, "target");
    assert_eq!(reason(&scene, inside.pid()), "already-inside");
    inside.end();
    let mut elsewhere = cat(&scene, "elsewhere");
    assert_eq!(reason(&scene, elsewhere.pid()), "not-in-from");
    elsewhere.end();
    assert_eq!(reason(&scene, 1), "protected");
    assert_eq!(reason(&scene, 2), "kernel-thread");
    let mut other = start("cat", &["-"]);
    assert_eq!(reason(&scene, other.pid()), "other-user");
    other.end();

    // It takes the uid on as effective only, and keeps it.
    let (_folder, borrower) = for_everyone(&compiled("borrower"));
    let mut borrower = start(borrower, &[UID.to_string()]);
    assert_eq!(borrower.hear(), "done");
    let explained = self::explained(&scene, borrower.pid());
    assert_eq!(text(&explained["reason"]), "for-a-moment", "{explained}");
    assert_eq!(text(&explained["evidence"]), format!("real uid 0, effective uid {UID}"));
    borrower.end();

    let nobody = Scene::new("observe", 65_534);
    let mut su = start("su", &["-s", "/bin/sh", "nobody", "-c", "echo $$; read line"]);
    su.hear();
    let explained = self::explained(&nobody, su.pid());
    assert_eq!(text(&explained["reason"]), "root-parent", "{explained}");
    su.say("end");
    su.end();
}

#[test]
fn a_process_that_is_not_there_cannot_be_explained() {
    let Refusal { code, stderr, .. } = refusal(&["place", "--explain", "4000000"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("there is no process 4000000"), "{stderr}");
    assert_eq!(refusal(&["place"]).code, Some(2));
    assert_eq!(refusal(&["place", "--explain", "0"]).code, Some(2));
}
