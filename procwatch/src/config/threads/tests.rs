use procwatch_common::policy::MAX_THREAD_RULES;

use super::*;
use crate::config::{Containment, Layer, NormalRange, Problem, Step, SystemAccounts, load};
use std::{fs, path::Path};

fn parse(text: &str) -> Result<Vec<ThreadRule>, Vec<String>> {
    let shown = |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect();
    Layer::parse(Path::new("t.toml"), text, &SystemAccounts).map(|layer| layer.threads).map_err(shown)
}

/// A rule with these keys for a name, from line 3 on.
fn rule(keys: &str) -> ThreadRule {
    parse(&format!("[[threads]]\ncomm = 'x'\n{keys}\n")).unwrap().remove(0)
}

/// What is wrong with a rule of these keys, from line 2 on, without the file and the table's name.
fn problems(keys: &str) -> Vec<String> {
    let problems = parse(&format!("[[threads]]\n{keys}\n")).expect_err(keys);
    let cut = |line: &String| line.replace("t.toml:", "").replace(": threads[1]", ": ");
    problems.iter().map(cut).collect()
}

#[track_caller]
fn assert_problem(keys: &str, problem: &str) {
    assert_eq!(problems(keys), [problem], "{keys}");
}

#[test]
fn what_a_rule_does_not_say_is_built_in() {
    let built_in = ThreadRule::built_in();
    let rule = rule("");
    assert_eq!(rule.matches.comms, ["x".into()]);
    assert_eq!((&*rule.described, rule.location.unwrap().line), ("threads[1] comm=x", Some(1)));
    let written = ThreadRule {
        matches: built_in.matches.clone(),
        described: "default".to_owned(),
        location: None,
        ..self::rule("")
    };
    assert_eq!(written, built_in);
    assert_eq!(built_in.levels, [80, 100, 500, 1000]);
    assert_eq!(built_in.burst, Some(Burst { threads: 50, within: Duration::from_secs(1) }));
    assert_eq!(built_in.leak, Some(Leak { marks: 4, over: Duration::from_hours(1) }));
}

#[test]
fn what_a_rule_says_holds() {
    let rule = rule(
        "normal = '20-60'\nlevels = [90]\nburst = { threads = 20 }\nleak = { over = '2d', marks = 3 }\n\
         cap = 400\nstop-at = 300\non-missing = 'refuse'",
    );
    assert_eq!(rule.normal, Some(NormalRange { low: 20, high: 60 }));
    assert_eq!((rule.levels, rule.cap, rule.stop_at), (vec![90], Some(400), Some(300)));
    assert_eq!(rule.burst, Some(Burst { threads: 20, within: Duration::from_secs(1) }));
    assert_eq!(rule.leak, Some(Leak { marks: 3, over: Duration::from_hours(48) }));
    assert_eq!(rule.on_missing, OnMissing::Refuse);
    let off = self::rule("levels = false\nburst = false\nleak = false\nprotect = true");
    assert_eq!((off.levels, off.burst, off.leak, off.protect), (vec![], None, None, true));
    let ignored = self::rule("ignore = true");
    assert_eq!((ignored.ignore, ignored.levels, ignored.burst, ignored.leak), (true, vec![], None, None));
    assert!(!self::rule("ignore = false").ignore);
}

#[test]
fn a_ladder_is_what_is_written_in_its_order() {
    let actions = rule(
        "[threads.actions]\nnotice = ['alert']\nwarning = ['alert', 'diagnose', { do = 'throttle', cpu = '150%' }]\n\
         critical = [{ do = 'cap', threads = 400, after = '30s' }, 'cap', 'freeze', { do = 'thaw', after = '1m' }]\n\
         emergency = ['terminate', { do = 'kill', after = '10s' }]\nburst = ['restart']\nleak = ['diagnose']",
    )
    .actions;
    let step = |action, seconds| Step { action, after: Duration::from_secs(seconds) };
    let cap = |threads| Containment::Cap { threads };
    assert_eq!(actions.notice, []);
    assert_eq!(
        actions.warning,
        [step(Containment::Diagnose, 0), step(Containment::Throttle { percent: 150 }, 0)]
    );
    assert_eq!(
        actions.critical,
        [
            step(cap(Some(400)), 30),
            step(cap(None), 0),
            step(Containment::Freeze, 0),
            step(Containment::Thaw, 60)
        ]
    );
    assert_eq!(actions.emergency, [step(Containment::Terminate, 0), step(Containment::Kill, 10)]);
    assert_eq!(
        (actions.burst, actions.leak),
        (vec![step(Containment::Restart, 0)], vec![step(Containment::Diagnose, 0)])
    );
}

#[test]
fn a_rule_is_told_in_words() {
    let described = |keys: &str| parse(&format!("[[threads]]\n{keys}\n")).unwrap().remove(0).described;
    assert_eq!(described("levels = [80]"), "threads[1]");
    assert_eq!(described("user = 'root'"), "threads[1] user=root");
    assert_eq!(
        described("uid = [1, 2, 3, 4]\ncomm = \"\\u001b\"\nargv = 'a b'"),
        "threads[1] uid=1|2|3|… comm=\\x1b argv=\"a b\""
    );
}

#[test]
fn bad_match_keys() {
    for (keys, problem) in [
        ("user = 'root'\nuid = 0", "3: : has user and uid; give one of them"),
        ("user = 'no-such-user'", "2: .user: unknown user \"no-such-user\"; create it or give uid = N"),
        (
            "user = ['root', 'no-such-user']",
            "2: .user[2]: unknown user \"no-such-user\"; create it or give uid = N",
        ),
        ("uid = -1", "2: .uid: -1 is out of range; right is 0 to 4294967294"),
        ("uid = []", "2: .uid: has 0 entries; 1 to 64 are possible, e.g. [1003]"),
        ("comm = ''", "2: .comm: \"\" is no name of a process; right is e.g. \"python3\""),
        (
            "comm = 'python*'",
            "2: .comm: \"python*\" is a pattern, and names are exact; list the names, or give exe = \"*/…\"",
        ),
        (
            "comm = ['a', 'gnome-terminal-server']",
            "2: .comm[2]: \"gnome-terminal-server\" has 21 bytes, and the kernel keeps 15 of a name; right is \"gnome-terminal-\"",
        ),
        ("comm = 3", "2: .comm: is a whole number; right is a text, e.g. \"python3\""),
        (
            "exe = 'python3'",
            "2: .exe: \"python3\" never fits, because whole paths are looked at; right is e.g. \"/usr/bin/python3*\" or \"*/python3\"",
        ),
        (
            "cgroup = 'user.slice'",
            "2: .cgroup: \"user.slice\" never fits, because whole paths are looked at; right is e.g. \"/user.slice/*\" or \"*/user.slice\"",
        ),
        (
            "unit = '/user.slice'",
            "2: .unit: \"/user.slice\" never fits, because a unit is one part of the path of a cgroup; right is e.g. \"backup-*.service\", or cgroup = \"/user.slice\"",
        ),
        ("argv = ''", "2: .argv: is empty; right is e.g. \"*watch.py*\""),
        (
            "argv = ['a***b']",
            "2: .argv[1]: \"a***b\" is no pattern: wildcards are either regular `*` or recursive `**`; right is e.g. \"*watch.py*\"",
        ),
        (
            "com = 'x'",
            "2: .com: unknown key; did you mean \"comm\"? (known: user, uid, comm, exe, argv, cgroup, unit, ignore, normal, levels, burst, leak, cap, stop-at, on-missing, protect, actions)",
        ),
        ("ignore = 'yes'\ncomm = 'x'", "2: .ignore: is a text; right is true or false"),
    ] {
        assert_problem(keys, problem);
    }
}

#[test]
fn bad_counts() {
    for (keys, problem) in [
        ("normal = '60-20'", "2: .normal: the range 60-20 runs backwards; right is \"20-60\""),
        ("normal = '20'", "2: .normal: \"20\" is no range of thread counts; right is e.g. \"20-60\""),
        ("normal = '+1-5'", "2: .normal: \"+1-5\" is no range of thread counts; right is e.g. \"20-60\""),
        ("normal = 20", "2: .normal: is a whole number; right is a text, e.g. \"20-60\""),
        (
            "normal = '20-80'",
            "2: .normal: 80 threads are normal, and 80 raise an alert; give levels above 80",
        ),
        ("levels = true", "2: .levels: is true or false; right is a list, e.g. [80, 100, 500, 1000]"),
        (
            "burst = true",
            "2: .burst: is true or false; right is a table, e.g. { threads = 50, within = \"1s\" }, or false",
        ),
        ("burst = { threads = 1 }", "2: .burst.threads: 1 is out of range; right is 2 to 250"),
        ("burst = { threads = 251 }", "2: .burst.threads: 251 is out of range; right is 2 to 250"),
        (
            "burst = { within = '9ms' }",
            "2: .burst.within: \"9ms\" is no time from 10ms to 1h; right is e.g. \"1s\"",
        ),
        ("burst = { in = '1s' }", "2: .burst.in: unknown key (known: threads, within)"),
        ("leak = { marks = 21 }", "2: .leak.marks: 21 is out of range; right is 2 to 20"),
        ("leak = { over = '31d' }", "2: .leak.over: \"31d\" is no time from 1s to 30d; right is e.g. \"1h\""),
        ("comm = 'x'\ncap = 31", "3: .cap: 31 is out of range; right is 32 to 4194304"),
        ("comm = 'x'\nstop-at = 31", "3: .stop-at: 31 is out of range; right is 32 to 4194304"),
        (
            "comm = 'x'\ncap = 50\nstop-at = 51",
            "4: .stop-at: 51 is never reached, because cap refuses more than 50; lower it, or raise cap",
        ),
        (
            "comm = 'x'\ncap = 50\non-missing = 'ignore'",
            "4: .on-missing: unknown way \"ignore\" (known: fallback, refuse)",
        ),
        (
            "comm = 'x'\non-missing = 'refuse'",
            "3: .on-missing: says what to do instead of cap, and this rule has no cap; give one, or take it away",
        ),
    ] {
        assert_problem(keys, problem);
    }
}

#[test]
fn bad_ladders() {
    let words = "diagnose, throttle, freeze, thaw, cap, terminate, restart, kill, alert";
    for (ladder, problem) in [
        ("notice = 'diagnose'", ".notice: is a text; right is a list, e.g. [\"diagnose\", { do = \"throttle\", cpu = \"50%\", after = \"30s\" }]".to_owned()),
        ("warnings = ['diagnose']", ".warnings: unknown key; did you mean \"warning\"? (known: notice, warning, critical, emergency, burst, leak)".to_owned()),
        ("notice = ['kil']", format!(".notice[1]: unknown action \"kil\"; did you mean \"kill\"? (known: {words})")),
        ("notice = ['diagnose', 3]", ".notice[2]: is a whole number; right is a word or a table, e.g. [\"diagnose\", { do = \"throttle\", cpu = \"50%\", after = \"30s\" }]".to_owned()),
        ("notice = ['throttle']", ".notice[1]: throttle needs to be told how much; right is e.g. { do = \"throttle\", cpu = \"50%\" }".to_owned()),
        ("notice = [{ do = 'throttle' }]", ".notice[1].cpu: missing; right is e.g. cpu = \"50%\", of one CPU".to_owned()),
        ("notice = [{ do = 'throttle', cpu = '50' }]", ".notice[1].cpu: \"50\" is no share of CPU time from 1% to 10000%; right is e.g. \"50%\", half of one CPU".to_owned()),
        ("notice = [{ do = 'throttle', cpu = '0%' }]", ".notice[1].cpu: \"0%\" is no share of CPU time from 1% to 10000%; right is e.g. \"50%\", half of one CPU".to_owned()),
        ("notice = [{ do = 'kill', cpu = '5%' }]", ".notice[1].cpu: is nothing that \"kill\" has; it belongs to throttle".to_owned()),
        ("notice = [{ do = 'kill', threads = 50 }]", ".notice[1].threads: is nothing that \"kill\" has; it belongs to cap".to_owned()),
        ("notice = [{ do = 'cap', threads = 5 }]", ".notice[1].threads: 5 is out of range; right is 32 to 4194304".to_owned()),
        ("notice = [{ do = 'alert', after = '1s' }]", ".notice[1].after: is nothing that \"alert\" has; it belongs to an action; the alert itself comes at once".to_owned()),
        ("notice = [{ do = 'kill', after = '25h' }]", ".notice[1].after: \"25h\" is no time from 1ms to 1d; right is e.g. \"30s\"".to_owned()),
        ("notice = [{ after = '2h' }]", ".notice[1].do: missing; right is e.g. do = \"diagnose\"".to_owned()),
        ("notice = [{ do = 'kill', afer = '2h' }]", ".notice[1].afer: unknown key; did you mean \"after\"? (known: do, cpu, threads, after)".to_owned()),
    ] {
        assert_problem(&format!("comm = 'x'\n[threads.actions]\n{ladder}"), &format!("4: .actions{problem}"));
    }
    assert_problem(
        "comm = 'x'\nactions = 3",
        "3: .actions: is a whole number; right is a table, e.g. { warning = [\"diagnose\"] }",
    );
}

#[test]
fn a_ladder_without_its_alert_never_happens() {
    for (keys, problem) in [
        (
            "levels = [80]\nactions = { warning = ['diagnose'] }",
            ".actions.warning: never happens, because warning is the second level, and levels has 1; give that alert, or take the ladder away",
        ),
        (
            "levels = false\nactions = { notice = ['alert'] }",
            ".actions.notice: never happens, because levels is false; give that alert, or take the ladder away",
        ),
        (
            "burst = false\nactions = { burst = ['diagnose'] }",
            ".actions.burst: never happens, because burst is false; give that alert, or take the ladder away",
        ),
        (
            "leak = false\nactions = { leak = ['diagnose'] }",
            ".actions.leak: never happens, because leak is false; give that alert, or take the ladder away",
        ),
    ] {
        assert_problem(keys, &format!("3: {problem}"));
    }
}

#[test]
fn who_is_ignored_has_nothing_else() {
    assert_eq!(
        problems("comm = 'x'\nignore = true\nlevels = [80]\nburst = false\nprotect = true\nactions = {}"),
        ["levels", "burst", "protect", "actions"]
            .into_iter()
            .zip(4..)
            .map(|(key, line)| format!(
                "{line}: .{key}: goes against ignore = true, which watches nothing; take {key} or ignore away"
            ))
            .collect::<Vec<_>>()
    );
}

#[test]
fn who_is_protected_is_only_diagnosed() {
    assert_eq!(
        problems(
            "comm = 'x'\nprotect = true\ncap = 40\nactions = { notice = ['diagnose', 'freeze', 'thaw'] }"
        ),
        [
            "4: .cap: cap goes against protect = true, which lets only diagnose be; take one of them away",
            "5: .actions.notice: freeze goes against protect = true, which lets only diagnose be; take one of them away",
            "5: .actions.notice: thaw goes against protect = true, which lets only diagnose be; take one of them away",
        ]
    );
    assert!(rule("protect = true\nactions = { notice = ['diagnose'] }").protect);
}

#[test]
fn a_catch_all_stops_nobody() {
    let why = "could hit every process, because this rule has no match key; name whom it may hit, e.g. comm = \"python3\"";
    for (keys, done) in [
        ("cap = 400", "cap: cap"),
        ("stop-at = 400", "stop-at: stop-at"),
        ("actions = { notice = ['diagnose', 'freeze'] }", "actions.notice: freeze"),
        ("actions = { burst = ['cap'] }", "actions.burst: cap"),
        ("actions = { leak = ['terminate'] }", "actions.leak: terminate"),
        ("actions = { leak = ['restart'] }", "actions.leak: restart"),
        ("actions = { emergency = ['kill'] }", "actions.emergency: kill"),
    ] {
        assert_problem(keys, &format!("2: .{done} {why}"));
    }
    let throttled =
        parse("[[threads]]\nactions = { notice = ['diagnose', { do = 'throttle', cpu = '9%' }] }\n");
    assert_eq!(throttled.unwrap()[0].actions.notice.len(), 2);
}

#[test]
fn a_rule_that_could_hit_who_is_protected_is_told() {
    for (keys, victim) in [
        ("comm = 'sshd'", "sshd"),
        ("comm = ['x', 'systemd-udevd']", "systemd-udevd"),
        ("exe = '*'", "systemd (/usr/lib/systemd/systemd)"),
        ("exe = '/usr/sbin/*'", "sshd (/usr/sbin/sshd)"),
        ("exe = '/usr/bin/gnome-*'\nuid = 1000", "gnome-shell (/usr/bin/gnome-shell)"),
        ("argv = '*sshd*'", "sshd (/usr/sbin/sshd)"),
        ("uid = 0", "systemd (/usr/lib/systemd/systemd)"),
        ("unit = 'ssh*.service'", "sshd (/usr/sbin/sshd)"),
        ("cgroup = '/system.slice/*'", "systemd-journal (/usr/lib/systemd/systemd-journald)"),
        ("cgroup = '/user.slice/*'", "systemd (/usr/lib/systemd/systemd)"),
    ] {
        for (action, done) in
            [("stop-at = 400", "stop-at: stop-at"), ("actions = { burst = ['kill'] }", "actions.burst: kill")]
        {
            let line = 3 + keys.lines().count() - 1;
            assert_problem(
                &format!("{keys}\n{action}"),
                &format!(
                    "{line}: .{done} could hit {victim}, which is protected; name whom it may hit more closely, e.g. by comm"
                ),
            );
        }
    }
    for keys in [
        "comm = 'python3'",
        "exe = '/usr/bin/python3*'",
        "uid = 1003",
        "uid = 1003\ncgroup = '/user.slice/*'",
        "uid = 0\ncomm = 'x'",
        "unit = 'watch-*.service'",
        "argv = '*watch.py*'",
        "cgroup = '/test/*'",
    ] {
        assert!(parse(&format!("[[threads]]\n{keys}\nactions = {{ burst = ['kill'] }}\n")).is_ok(), "{keys}");
    }
    assert!(parse("[[threads]]\ncomm = 'sshd'\nactions = { burst = ['diagnose'] }\n").is_ok());
}

/// What several files say together: the rules in words, or what is wrong.
fn of_files(files: &[&str]) -> Result<Vec<String>, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("procwatch.d")).unwrap();
    for (text, number) in files.iter().zip(1..) {
        fs::write(folder.path().join(format!("procwatch.d/{number}.toml")), text).unwrap();
    }
    let prefix = format!("{}/procwatch.d/", folder.path().display());
    crate::config::load_from(folder.path(), &SystemAccounts)
        .map(|config| {
            config.threads.into_iter().map(|rule| format!("{} {:?}", rule.described, rule.levels)).collect()
        })
        .map_err(|error| {
            error.problems.iter().map(|problem| problem.to_string().replace(&prefix, "")).collect()
        })
}

#[test]
fn later_rules_come_after_earlier_ones_and_before_the_catch_all() {
    let (first, second) = (
        "[[threads]]\ncomm='a'\nlevels=[40]\n[[threads]]\nlevels=[50]\n",
        "[[threads]]\ncomm='b'\nlevels=[60]\n",
    );
    assert_eq!(
        of_files(&[first, second]).unwrap(),
        ["threads[1] comm=a [40]", "threads[1] comm=b [60]", "threads[2] [50]"]
    );
    assert_eq!(
        of_files(&[first, second, "[[threads]]\nlevels=[70]\n"]).unwrap(),
        ["threads[1] comm=a [40]", "threads[1] comm=b [60]", "threads[1] [70]"]
    );
    assert_eq!(of_files(&[second]).unwrap(), ["threads[1] comm=b [60]", "default [80, 100, 500, 1000]"]);
    assert_eq!(of_files(&[]).unwrap(), ["default [80, 100, 500, 1000]"]);
}

#[test]
fn there_is_an_end_to_rules() {
    let many = |count: usize| "[[threads]]\ncomm='a'\n".repeat(count);
    assert_eq!(of_files(&[&many(1000), &many(23)]).unwrap().len(), MAX_THREAD_RULES);
    assert_eq!(
        of_files(&[&many(1000), &many(30)]).unwrap_err(),
        [
            "2.toml:47: threads[24]: is one rule too many: 1023 with match keys are possible in all files; merge some by lists, e.g. comm = [\"a\", \"b\"]"
        ]
    );
}

#[test]
fn whom_any_file_protects_no_rule_hits() {
    let rule = "[[threads]]\ncomm=['x', 'postgres']\nactions={ burst=['diagnose', 'freeze'] }\n";
    let protect = "protect = ['postgres', '/opt/*']\n";
    let told = |file| {
        format!(
            "{file}: threads[1].actions.burst: freeze would hit postgres, which is in protect; take it out of one of the two"
        )
    };
    assert_eq!(of_files(&[protect, rule]).unwrap_err(), [told("2.toml:1")]);
    assert_eq!(of_files(&[rule, protect]).unwrap_err(), [told("1.toml:1")]);
    assert!(of_files(&[rule, "protect = ['mysqld']\n"]).is_ok());
    for exe in ["/opt/backup", "/opt/b*"] {
        let rule = format!("[[threads]]\nexe='{exe}'\ncap = 40\n");
        assert_eq!(
            of_files(&[protect, &rule]).unwrap_err(),
            [format!(
                "2.toml:1: threads[1].cap: cap would hit {exe}, which is in protect; take it out of one of the two"
            )]
        );
    }
    let other = "[[threads]]\nexe='/usr/*/x'\ncap = 40\n";
    assert!(of_files(&[protect, other]).is_ok());
}

#[test]
fn protect_is_a_list_of_names_and_paths() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.toml");
    fs::write(&file, "protect = ['postgres', '/opt/backup/*']\n").unwrap();
    let protect = load(Some(&file)).unwrap().protect;
    assert_eq!((&protect.comms[..], protect.exes[0].as_str()), (&["postgres".into()][..], "/opt/backup/*"));
    let mut program = crate::inspect::program_by_pid(std::process::id() as i32).unwrap();
    assert!(!protect.fits(&program));
    program.exe = Some("/opt/backup/run".into());
    assert!(protect.fits(&program));
    program = super::super::Program { exe: None, comm: crate::samples::comm("postgres"), ..program };
    assert!(protect.fits(&program));
    for (text, problem) in [
        (
            "protect = 'x'",
            "t.toml:1: protect: is a text; right is a list, e.g. [\"postgres\", \"/opt/backup/*\"]",
        ),
        (
            "protect = ['opt/x']",
            "t.toml:1: protect[1]: \"opt/x\" never fits, because whole paths are looked at; right is e.g. \"/opt/backup/*\" or \"*/opt/x\"",
        ),
        (
            "protect = ['x', '']",
            "t.toml:1: protect[2]: \"\" is no name of a process; right is e.g. \"python3\"",
        ),
    ] {
        assert_eq!(parse(text).unwrap_err(), [problem]);
    }
}
