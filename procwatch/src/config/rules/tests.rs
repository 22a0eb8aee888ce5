use super::*;
use crate::config::Owner;
use proptest::prelude::*;

struct Known;

impl Accounts for Known {
    fn uid(&self, user: &str) -> Result<Option<u32>, String> {
        match user {
            "aimgr" => Ok(Some(1003)),
            "root" | "toor" => Ok(Some(0)),
            "slow" => Err("the directory server is away".to_owned()),
            _ => Ok(None),
        }
    }

    fn gid(&self, group: &str) -> Result<Option<u32>, String> {
        Ok((group == "ai").then_some(2000))
    }
}

fn parse(text: &str) -> Result<Layer, Vec<String>> {
    let shown = |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect();
    Layer::parse(Path::new("t.toml"), text, &Known).map_err(shown)
}

/// A place rule with this line in it, on line 4.
fn place(line: &str) -> String {
    format!("[[place]]\nuser = \"aimgr\"\nslice = \"user-1003.slice\"\n{line}\n")
}

/// The only problem of a text.
fn problem(text: &str) -> String {
    let problems = parse(text).expect_err(text);
    assert_eq!(problems.len(), 1, "{text}: {problems:#?}");
    problems.into_iter().next().unwrap()
}

#[test]
fn the_shipped_example_is_good_and_observes() {
    let text = include_str!("../../../examples/aimgr.toml");
    let layer = parse(text).unwrap();
    assert_eq!(layer.mode, Some(Mode::Observe));
    let rules: Vec<&str> = layer.threads.iter().map(|rule| &*rule.described).collect();
    assert_eq!(
        rules,
        [
            "threads[1] exe=*/bin/cargo|*/bin/rustc|*/libexec/gcc/*",
            "threads[2] argv=\"*python* *watch*.py*\"|\"*python* *responder*.py*\"",
            "threads[3]",
        ]
    );
    let built_in = ThreadRule::built_in();
    let last = layer.threads.last().unwrap();
    assert_eq!((&last.levels, last.burst, last.leak), (&built_in.levels, built_in.burst, built_in.leak));
    let [rule] = &layer.place[..] else { panic!("{:?}", layer.place) };
    assert_eq!((rule.owner, &*rule.described), (Owner::Uid(1003), "place[1] user=aimgr"));
    assert_eq!(rule.slice.path().to_string(), "/user.slice/user-1003.slice");
    let cpus = layer.layout.iter().map(|rule| format!("{} {}", rule.slice, rule.cpus)).collect::<Vec<_>>();
    assert_eq!(cpus, ["system.slice 0-1", "user-1000.slice 2-3", "user-1003.slice 4-19"]);
}

#[test]
fn what_the_shipped_example_keeps_for_later_is_good_too() {
    let text = include_str!("../../../examples/aimgr.toml");
    let is_kept = |line: &&str| {
        line.starts_with("# [")
            || line.strip_prefix("# ").is_some_and(|line| {
                line.split_once(" = ").is_some_and(|(key, _)| !key.contains([' ', '.', ',']))
            })
    };
    let lines = text.lines().map(|line| if is_kept(&line) { &line[2..] } else { line });
    let layer = parse(&lines.collect::<Vec<_>>().join("\n")).unwrap();
    let capped = &layer.threads[2];
    assert_eq!(
        (&*capped.described, capped.cap, capped.stop_at),
        ("threads[3] user=aimgr exe=/usr/bin/python3*", Some(400), Some(300))
    );
    let laddered = &layer.threads[3];
    assert_eq!(
        (&*laddered.described, laddered.actions.critical.len()),
        ("threads[4] unit=healthd.service", 3)
    );
    assert_eq!((layer.threads.len(), layer.favordynmods), (5, Some(true)));
    let outlets: Vec<&str> = layer.outlets.iter().map(|rule| rule.outlet.kind.name()).collect();
    assert_eq!(outlets, ["webhook", "webhook", "mail", "command", "wall"]);
    assert_eq!(layer.metrics.unwrap().over(None).unwrap().listen.to_string(), "127.0.0.1:9464");
}

#[test]
fn what_is_not_said_is_not_set() {
    assert_eq!(parse("# nothing\n").unwrap(), Layer::default());
    assert_eq!(parse("").unwrap(), Layer::default());
}

#[test]
fn a_rule_by_uid_and_path() {
    let text = "\n[[place]]\nuid = 0x3EB\nslice = \"/test/target\"\nfrom = [\"/test\", \"user.slice\"]\n";
    let rule = parse(text).unwrap().place.remove(0);
    assert_eq!((rule.owner, &*rule.described), (Owner::Uid(1003), "place[1] uid=1003"));
    assert_eq!(rule.location.to_string(), "t.toml:2");
    assert_eq!(
        rule.from.iter().map(|from| from.path().to_string()).collect::<Vec<_>>(),
        ["/test", "/user.slice"]
    );
}

#[test]
fn numbers_may_have_underscores() {
    assert_eq!(
        parse("[[threads]]\nlevels = [1_000, 4_194_304]\n").unwrap().threads[0].levels,
        [1000, 4_194_304]
    );
}

#[test]
fn bad_modes_and_levels() {
    for (text, message) in [
        (
            "moed = \"observe\"",
            "t.toml:1: moed: unknown key; did you mean \"mode\"? (known: mode, backend, favordynmods, threads, protect, place, layout, socket, metrics, outlet, log, history, kernel)",
        ),
        (
            "colour = 1",
            "t.toml:1: colour: unknown key (known: mode, backend, favordynmods, threads, protect, place, layout, socket, metrics, outlet, log, history, kernel)",
        ),
        (
            "\nmode = \"enforced\"",
            "t.toml:2: mode: unknown mode \"enforced\"; did you mean \"enforce\"? (known: observe, enforce)",
        ),
        ("mode = \"\\u001b[2J\"", "t.toml:1: mode: unknown mode \"\\x1b[2J\" (known: observe, enforce)"),
        ("mode = true", "t.toml:1: mode: is true or false; right is a text, e.g. \"observe\""),
        (
            "[threads]\nlevels = [80]",
            "t.toml:1: threads: is a table; right is a list of tables, each begun by [[threads]]",
        ),
        ("threads = []", "t.toml:1: threads: is empty; leave it out for the levels [80, 100, 500, 1000]"),
        ("threads = [80]", "t.toml:1: threads[1]: is a whole number; right is a table, begun by [[threads]]"),
        ("[[threads]]", "t.toml:1: threads[1]: says nothing; right is e.g. levels = [80, 100, 500, 1000]"),
        (
            "[[threads]]\nlevels = [80]\n[[threads]]\nlevels = [90]",
            "t.toml:3: threads[2]: can never be chosen, because threads[1] before it has no match key and fits every process; move threads[1] to the end, or say whom it means, e.g. comm = \"python3\"",
        ),
        (
            "[[threads]]\nlevels = 80",
            "t.toml:2: threads[1].levels: is a whole number; right is a list, e.g. [80, 100, 500, 1000]",
        ),
        (
            "[[threads]]\nlevels = []",
            "t.toml:2: threads[1].levels: has 0 entries; 1 to 4 are possible, e.g. [80, 100, 500, 1000]",
        ),
        (
            "[[threads]]\nlevels = [40,50,60,70,80]",
            "t.toml:2: threads[1].levels: has 5 entries; 1 to 4 are possible, e.g. [80, 100, 500, 1000]",
        ),
        (
            "[[threads]]\nlevels = [80, 31]",
            "t.toml:2: threads[1].levels[2]: 31 is out of range; right is 32 to 4194304",
        ),
        (
            "[[threads]]\nlevels = [4194305]",
            "t.toml:2: threads[1].levels[1]: 4194305 is out of range; right is 32 to 4194304",
        ),
        (
            "[[threads]]\nlevels = [-80]",
            "t.toml:2: threads[1].levels[1]: -80 is out of range; right is 32 to 4194304",
        ),
        (
            "[[threads]]\nlevels = [80.5]",
            "t.toml:2: threads[1].levels[1]: is a number with a fraction; right is a whole number from 32 to 4194304",
        ),
        (
            "[[threads]]\nlevels = [80, 100, 100]",
            "t.toml:2: threads[1].levels: 100 after 100 does not rise; each level must be above the one before it",
        ),
        (
            "[[threads]]\nlevels = [100, 80]",
            "t.toml:2: threads[1].levels: 80 after 100 does not rise; each level must be above the one before it",
        ),
    ] {
        assert_eq!(problem(text), message);
    }
}

#[test]
fn bad_places() {
    for (line, message) in [
        (
            "slcie = 1",
            "t.toml:4: place[1].slcie: unknown key; did you mean \"slice\"? (known: user, uid, group, gid, slice, from, hold, ignore)",
        ),
        ("uid = 1003", "t.toml:4: place[1]: has user and uid; give one of them"),
        ("from = []", "t.toml:4: place[1].from: has 0 entries; 1 to 4 are possible, e.g. [\"user.slice\"]"),
        (
            "from = \"user.slice\"",
            "t.toml:4: place[1].from: is a text; right is a list, e.g. [\"user.slice\"]",
        ),
        (
            "from = [\"user.slice\", 3]",
            "t.toml:4: place[1].from[2]: is a whole number; right is a text, e.g. \"user-1003.slice\"",
        ),
        (
            "from = [\n\"user.slice\",\n\"a--b.slice\"]",
            "t.toml:6: place[1].from[2]: \"a--b.slice\" is no slice name: a part before, between or after its dashes is empty; right is e.g. \"user-1003.slice\"",
        ),
        (
            "from = [\"user-1003.slice\"]",
            "t.toml:4: place[1].from[1]: from user-1003.slice is in slice user-1003.slice, so nothing would ever be moved; take from outside of it, e.g. the slice above",
        ),
        (
            "from = [\"user.slice\", \"/system.slice/x.service\"]",
            "t.toml:4: place[1].from[2]: /system.slice/x.service is left alone, as services and containers are, so nothing would ever be moved; right is e.g. \"user.slice\"",
        ),
        (
            "from = [\"machine.slice\"]",
            "t.toml:4: place[1].from[1]: machine.slice is left alone, as services and containers are, so nothing would ever be moved; right is e.g. \"user.slice\"",
        ),
        (
            "from = [\"/user.slice/user-1003.slice/x\"]",
            "t.toml:4: place[1].from[1]: from /user.slice/user-1003.slice/x is in slice user-1003.slice, so nothing would ever be moved; take from outside of it, e.g. the slice above",
        ),
    ] {
        assert_eq!(problem(&place(line)), message);
    }
}

#[test]
fn bad_users_and_slices() {
    for (text, message) in [
        ("uid = 5", "t.toml:1: place[1].slice: missing; right is e.g. slice = \"user-1003.slice\""),
        (
            "slice = \"a.slice\"",
            "t.toml:1: place[1]: has none of user, uid, group and gid; give one of them, e.g. user = \"aimgr\"",
        ),
        (
            "uid = 5\nslice = \"a\"",
            "t.toml:3: place[1].slice: \"a\" is neither a slice nor a path; a slice ends in \".slice\", a path begins with \"/\"",
        ),
        (
            "uid = 5\nslice = \"/../etc\"",
            "t.toml:3: place[1].slice: \"/../etc\" is no path of a cgroup: it must not contain \".\" or \"..\"; right is e.g. \"/test/target\"",
        ),
        (
            "uid = 5\nslice = \"user.slice\"",
            "t.toml:3: place[1].slice: from user.slice is in slice user.slice, so nothing would ever be moved; take from outside of it, e.g. the slice above",
        ),
        (
            "uid = 0\nslice = \"a.slice\"",
            "t.toml:2: place[1].uid: is root; root is never placed, name a service user",
        ),
        (
            "user = \"toor\"\nslice = \"a.slice\"",
            "t.toml:2: place[1].user: is root; root is never placed, name a service user",
        ),
        (
            "uid = 4294967295\nslice = \"a.slice\"",
            "t.toml:2: place[1].uid: 4294967295 is out of range; right is 0 to 4294967294",
        ),
        (
            "uid = \"5\"\nslice = \"a.slice\"",
            "t.toml:2: place[1].uid: is a text; right is a whole number from 0 to 4294967294",
        ),
        (
            "user = 5\nslice = \"a.slice\"",
            "t.toml:2: place[1].user: is a whole number; right is a text, e.g. \"aimgr\"",
        ),
        (
            "user = \"x\"\nslice = \"a.slice\"",
            "t.toml:2: place[1].user: unknown user \"x\"; create it or give uid = N",
        ),
        (
            "user = \"1003\"\nslice = \"a.slice\"",
            "t.toml:2: place[1].user: unknown user \"1003\"; a number is given as uid = 1003",
        ),
        (
            "user = \"root\\u0000\"\nslice = \"a.slice\"",
            "t.toml:2: place[1].user: unknown user \"root\\x00\"; create it or give uid = N",
        ),
        (
            "user = \"slow\"\nslice = \"a.slice\"",
            "t.toml:2: place[1].user: user \"slow\" cannot be looked up (the directory server is away); give uid = N",
        ),
    ] {
        assert_eq!(problem(&format!("[[place]]\n{text}\n")), message);
    }
    assert_eq!(
        problem("[place]\nuid = 5\n"),
        "t.toml:1: place: is a table; right is a list of tables, each begun by [[place]]"
    );
}

#[test]
fn every_problem_of_a_file_is_reported_in_the_order_of_lines() {
    let text =
        "modus = 1\nmode = 2\n[[threads]]\nlevels = [1, 90, 80]\n[[place]]\nuid = 0\nslice = \"x\"\nx = 1\n";
    let lines: Vec<String> = parse(text)
        .unwrap_err()
        .iter()
        .map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(" "))
        .collect();
    let expected = [
        "1 modus",
        "2 mode",
        "4 threads[1].levels[1]",
        "4 threads[1].levels",
        "6 place[1].uid",
        "7 place[1].slice",
        "8 place[1].x",
    ];
    assert_eq!(lines, expected.map(|line| format!("t.toml:{line}")));
}

#[test]
fn what_is_not_toml_has_its_line() {
    for (text, message) in [
        (
            "mode = observe",
            "t.toml:1: not TOML: string values must be quoted, expected literal string, at \"observe\"",
        ),
        ("a = 1\nmode = \"x", "t.toml:2: not TOML: invalid basic string, expected `\"`"),
        ("mode = \"observe\"\nmode = 1", "t.toml:2: not TOML: duplicate key, at \"mode\""),
        ("[[place]", "t.toml:1: not TOML: unclosed array table, expected `]`"),
        ("a = [[[[[[[[[[[[[[[[[[[[[[[[[[[[", "t.toml:1: not TOML: unclosed array, expected `]`"),
    ] {
        assert_eq!(problem(text), message);
    }
}

#[test]
fn hostile_keys_are_escaped_and_cut() {
    let text = format!("\"\\u001b[31m\" = 1\n{} = 1\n", "k".repeat(500));
    let problems = parse(&text).unwrap_err();
    assert!(problems[0].starts_with("t.toml:1: \\x1b[31m: unknown key"), "{problems:?}");
    assert!(problems[1].len() < 320, "{problems:?}");
}

#[test]
fn deep_nesting_does_not_exhaust_the_stack() {
    let problems = parse(&format!("a = {}", "[".repeat(100_000))).unwrap_err();
    assert!(problems.iter().all(|line| line.len() < 200), "{}", problems.len());
}

proptest! {
    #[test]
    fn any_text_does_not_panic_and_no_message_has_control_characters(text in any::<String>()) {
        if let Err(problems) = parse(&text) {
            prop_assert!(!problems.is_empty());
            prop_assert!(problems.iter().all(|line| !line.contains(char::is_control)));
        }
    }

    #[test]
    fn any_likely_text_does_not_panic(
        lines in proptest::collection::vec(
            prop_oneof![
                "(mode|levels|user|uid|slice|from|comm|exe|burst|cap|protect|actions|x) = (\"[ -~]{0,9}\"|-?[0-9]{1,12}|\\[[0-9, \"a-z./]{0,9}\\]|true)",
                "\\[?\\[(threads|place|a)\\]\\]?",
                "[ -~]{0,12}",
            ],
            0..12,
        )
    ) {
        let _ = parse(&lines.join("\n"));
    }
}
