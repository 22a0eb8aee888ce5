use super::*;
use crate::{
    config::{Layer, SystemAccounts},
    samples,
};
use glob::Pattern;
use proptest::prelude::*;
use std::path::Path;

/// Rules of a file with this text, which names users by uid.
fn rules(text: &str) -> Vec<ThreadRule> {
    let mut rules = vec![ThreadRule::built_in()];
    let layer = Layer::parse(Path::new("t.toml"), text, &SystemAccounts).unwrap();
    assert_eq!(super::super::add(&mut rules, layer.threads), None);
    rules
}

fn watcher() -> Program {
    Program {
        uid: 1003,
        comm: samples::comm("python3"),
        exe: Some("/usr/bin/python3.11".into()),
        argv: Some(vec!["python3".into(), "/opt/x/watch.py".into(), "-v".into()]),
        cgroup: CgroupPath::parse("/user.slice/user-1003.slice/w.service/leaf").ok(),
    }
}

/// Why a rule with these keys does not fit [`watcher`].
fn said(keys: &str) -> Option<String> {
    why_not(&rules(&format!("[[threads]]\n{keys}\n"))[0], &watcher()).map(|it| it.to_string())
}

#[test]
fn every_key_must_fit_and_of_a_list_one() {
    for keys in [
        "uid = 1003",
        "uid = [1, 1003]",
        "comm = 'python3'",
        "comm = ['bash', 'python3']",
        "exe = '/usr/bin/python3*'",
        "exe = ['/bin/*', '*/python3.11']",
        "argv = 'python3 */watch.py*'",
        "argv = '* -v'",
        "cgroup = '/user.slice/*'",
        "unit = 'w.service'",
        "unit = 'user-*.slice'",
        "uid = 1003\ncomm = 'python3'\nexe = '*'\nargv = '*'\ncgroup = '*'\nunit = 'leaf'",
    ] {
        assert_eq!(said(keys), None, "{keys}");
    }
    for (keys, why) in [
        ("uid = [1, 2]", "uid is 1003"),
        ("comm = 'python'", "comm is python3"),
        ("exe = '/usr/bin/python3'", "exe is /usr/bin/python3.11"),
        ("argv = 'watch.py'", "argv is python3 /opt/x/watch.py -v"),
        ("cgroup = '/user.slice'", "cgroup is /user.slice/user-1003.slice/w.service/leaf"),
        ("unit = '*.scope'", "no such unit in /user.slice/user-1003.slice/w.service/leaf"),
        ("uid = 1003\ncomm = 'bash'\nexe = '/x'", "comm is python3"),
    ] {
        assert_eq!(said(keys).as_deref(), Some(why), "{keys}");
    }
}

#[test]
fn what_is_not_known_fits_nothing_that_asks_for_it() {
    let unknown = Program { exe: None, argv: None, cgroup: None, ..watcher() };
    for (keys, why) in [
        ("exe = '*'", "exe is not known"),
        ("argv = '*'", "argv is not known"),
        ("cgroup = '*'", "cgroup is not known"),
        ("unit = '*'", "cgroup is not known"),
    ] {
        let rules = rules(&format!("[[threads]]\n{keys}\n"));
        assert_eq!(why_not(&rules[0], &unknown).map(|it| it.to_string()).as_deref(), Some(why));
        assert_eq!(choose(&rules, &unknown), 1);
    }
}

#[test]
fn what_a_process_calls_itself_is_escaped_and_cut() {
    let hostile = Program {
        comm: samples::comm("\u{1b}[2J"),
        argv: Some(vec![Text::new(*b"a\nb\xff"), "x".repeat(500).as_str().into()]),
        ..watcher()
    };
    let rules = rules("[[threads]]\ncomm = 'a'\n[[threads]]\nargv = 'a'\n");
    let said = |index: usize| why_not(&rules[index], &hostile).unwrap().to_string();
    assert_eq!(said(0), "comm is \\x1b[2J");
    assert!(said(1).starts_with("argv is a\\nb\\xff xxx") && said(1).ends_with("xx…"), "{}", said(1));
    assert_eq!(said(1).chars().count(), "argv is ".len() + MOST_SHOWN + 1);
}

#[test]
fn the_first_that_fits_holds() {
    let rules = rules("[[threads]]\ncomm = 'bash'\n[[threads]]\nuid = 1003\n[[threads]]\ncomm = 'python3'\n");
    assert_eq!(choose(&rules, &watcher()), 1);
    assert_eq!(choose(&rules, &Program { uid: 1, ..watcher() }), 2);
    assert_eq!(choose(&rules, &Program { uid: 1, comm: samples::comm("sh"), ..watcher() }), 3);
}

#[test]
fn the_kernel_tests_users_or_else_names() {
    let needs = |keys: &str| rules(&format!("[[threads]]\n{keys}\n"))[0].needs();
    assert_eq!(needs("uid = [3, 4]\ncomm = 'a'"), Prefilter::Uids(vec![3, 4]));
    let name = *b"fifteen-bytes-x\0";
    assert_eq!(needs("comm = ['fifteen-bytes-x', 'b']\nexe = '/x'"), {
        let mut other = [0; COMM_LEN];
        other[0] = b'b';
        Prefilter::Comms(vec![name, other])
    });
    assert_eq!(needs("exe = '/x'"), Prefilter::Any);
    assert_eq!(needs("levels = [40]"), Prefilter::Nothing);
    assert_eq!(ThreadRule::built_in().needs(), Prefilter::Nothing);
}

fn patterns() -> impl Strategy<Value = Vec<Pattern>> {
    let pattern = prop_oneof![Just("*"), Just("/a*"), Just("a"), Just("?b")];
    proptest::collection::vec(pattern.prop_map(|text| Pattern::new(text).unwrap()), 0..2)
}

fn matching() -> impl Strategy<Value = Match> {
    let names = proptest::collection::vec("[ab]{1,2}".prop_map(|name| Text::from(&*name)), 0..2);
    let uids = proptest::collection::vec(0..3u32, 0..2);
    (uids, names, patterns(), patterns(), patterns(), patterns()).prop_map(
        |(uids, comms, exes, argvs, cgroups, units)| Match { uids, comms, exes, argvs, cgroups, units },
    )
}

fn program() -> impl Strategy<Value = Program> {
    let text = || proptest::option::of("/?[ab]{0,2}".prop_map(|text| Text::from(&*text)));
    let cgroup = proptest::option::of("(/[ab]{1,2}){1,2}".prop_map(|path| CgroupPath::parse(&path).unwrap()));
    (0..3u32, "[ab]{1,2}", text(), text(), cgroup).prop_map(|(uid, comm, exe, argv, cgroup)| Program {
        uid,
        comm: Comm::of_name(comm.as_bytes()),
        exe,
        argv: argv.map(|argv| vec![argv]),
        cgroup,
    })
}

/// Fitting, word by word as it is documented.
fn fits_naively(matches: &Match, program: &Program) -> bool {
    let lossy = |text: &Text| String::from_utf8_lossy(text.as_bytes()).into_owned();
    let any = |patterns: &[Pattern], text: Option<String>| {
        patterns.is_empty() || text.is_some_and(|text| patterns.iter().any(|it| it.matches(&text)))
    };
    let path = program.cgroup.as_ref().map(ToString::to_string);
    let comm = String::from_utf8_lossy(program.comm.as_bytes()).into_owned();
    let parts: Vec<String> =
        path.iter().flat_map(|path| path.split('/').skip(1).map(str::to_owned)).collect();
    (matches.uids.is_empty() || matches.uids.contains(&program.uid))
        && (matches.comms.is_empty() || matches.comms.iter().any(|it| lossy(it) == comm))
        && any(&matches.exes, program.exe.as_ref().map(lossy))
        && any(
            &matches.argvs,
            program.argv.as_ref().map(|argv| argv.iter().map(lossy).collect::<Vec<_>>().join(" ")),
        )
        && any(&matches.cgroups, path)
        && (matches.units.is_empty() || parts.iter().any(|part| any(&matches.units, Some(part.clone()))))
}

proptest! {
    #[test]
    fn a_rule_without_keys_fits_everything(program in program()) {
        prop_assert_eq!(why_not(&ThreadRule::built_in(), &program), None);
        prop_assert_eq!(choose(&[ThreadRule::built_in()], &program), 0);
    }

    #[test]
    fn choosing_is_naive(matches in proptest::collection::vec(matching(), 0..5), program in program()) {
        let mut rules: Vec<ThreadRule> =
            matches.into_iter().map(|matches| ThreadRule { matches, ..ThreadRule::built_in() }).collect();
        rules.push(ThreadRule::built_in());
        let naive = rules.iter().position(|rule| fits_naively(&rule.matches, &program));
        prop_assert_eq!(Some(choose(&rules, &program)), naive);
    }

    #[test]
    fn what_fits_passes_the_prefilter(matches in matching(), program in program()) {
        let rule = ThreadRule { matches, ..ThreadRule::built_in() };
        if why_not(&rule, &program).is_none() {
            let passes = match rule.needs() {
                Prefilter::Uids(uids) => uids.contains(&program.uid),
                Prefilter::Comms(names) => names.iter().any(|name| Comm::new(*name) == program.comm),
                Prefilter::Any => true,
                Prefilter::Nothing => rule.is_catch_all(),
            };
            prop_assert!(passes);
        }
    }
}
