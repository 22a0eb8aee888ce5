use super::*;
use std::fs;

/// A configuration of this text, shown as `t.toml`.
fn config(text: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.toml");
    fs::write(&file, text).unwrap();
    let mut config = crate::config::load(Some(&file)).unwrap();
    for location in config.threads.iter_mut().filter_map(|rule| rule.location.as_mut()) {
        location.file = "t.toml".into();
    }
    config
}

fn said(config: &Config, asked: &str, user: Option<&str>) -> String {
    let mut out = Vec::new();
    Explanation::of(asked, user, config).unwrap().write(&mut out, false).unwrap();
    String::from_utf8(out).unwrap()
}

fn refused(asked: &str, user: Option<&str>) -> String {
    Explanation::of(asked, user, &Config::default()).err().unwrap().to_string()
}

const RULES: &str = "
mode = 'enforce'
protect = ['postgres']

[[threads]]
uid = 7
ignore = true

[[threads]]
comm = ['watch', 'agent']
normal = '20-60'
levels = [80, 100]
burst = { threads = 20, within = '500ms' }
leak = false
cap = 400
stop-at = 300

[threads.actions]
notice = ['alert', 'diagnose']
warning = [{ do = 'throttle', cpu = '50%' }, { do = 'cap', threads = 200, after = '30s' }, 'cap', 'kill']

[[threads]]
levels = false
burst = false
";

#[test]
fn the_rule_and_what_it_means_and_why_the_one_before_does_not_fit() {
    let config = config(RULES);
    assert_eq!(
        said(&config, "/no/such/watch  -v", Some("4000000001")),
        "\
watch of 4000000001: threads[2] comm=watch|agent (t.toml:9)
exe     /no/such/watch
argv    /no/such/watch -v
cgroup  not known
rules
  no   threads[1] uid=7 (t.toml:5): uid is 4000000001
  yes  threads[2] comm=watch|agent (t.toml:9)
  -    threads[3] (t.toml:22): not looked at
means
  levels     notice at 80, warning at 100 threads
  burst      20 more threads within 500ms
  leak       none
  normal     20-60 threads
  cap        the kernel refuses more than 400 threads; without BPF LSM pids.max of a cgroup of its own does
  stop-at    the kernel stops it (SIGSTOP) at 300 threads
  notice     diagnose
  warning    throttle to 50% of one CPU, after 30s cap at 200 threads, cap at its threads of then, kill
  mode       enforce
"
    );
}

#[test]
fn who_is_ignored_or_protected_is_told_so() {
    let config = config(RULES);
    let ignored = said(&config, "/no/such/x", Some("7"));
    assert!(ignored.ends_with("means\n  ignore     its threads are not watched\n"), "{ignored}");
    let why = |line: &str| {
        let explanation = Explanation::of(line, Some("0"), &config).unwrap();
        explanation.protection()
    };
    assert_eq!(why("/no/such/postgres -D x"), Some("the list protect names it"));
    assert_eq!(why("/usr/sbin/sshd -D"), Some("the machine needs it"));
    assert_eq!(why("/no/such/watch"), None);
}

#[test]
fn the_object_has_the_same() {
    let config = config(RULES);
    let object = Explanation::of("/no/such/watch -v", Some("0"), &config).unwrap().object();
    assert_eq!(object["rule"], "threads[2] comm=watch|agent");
    assert_eq!(
        (&object["pid"], &object["user"], &object["argv"][1]),
        (&Value::Null, &"root".into(), &"-v".into())
    );
    let verdicts: Vec<_> = object["rules"].as_array().unwrap().iter().map(|it| &it["verdict"]).collect();
    assert_eq!(verdicts, ["no", "yes", "not-looked-at"]);
    assert_eq!(object["rules"][0]["why"], "uid is 0");
    let means = &object["means"];
    assert_eq!(means["burst"], json!({ "threads": 20, "within_ms": 500 }));
    assert_eq!((&means["leak"], &means["cap"]), (&Value::Null, &400.into()));
    assert_eq!(
        means["actions"]["warning"][1],
        json!({ "do": "cap", "after_ms": 30_000, "percent": null, "threads": 200 })
    );
}

#[test]
fn a_pid_is_looked_at() {
    let config = Config::default();
    let pid = std::process::id();
    let me = Explanation::of(&pid.to_string(), None, &config).unwrap();
    assert_eq!((me.pid, me.program.uid), (Some(pid), crate::samples::me().uid));
    assert_eq!(me.program.exe, inspect::exe(crate::samples::me().key()));
}

#[test]
fn what_cannot_be_explained() {
    assert_eq!(refused("2147483647", None), "there is no process 2147483647");
    assert_eq!(refused("99999999999", None), "--explain 99999999999: no pid is so large");
    assert_eq!(refused("1", Some("root")), "--user belongs to a command line; process 1 has its own user");
    assert!(refused("  ", None).starts_with("--explain: is empty; give a pid, or"));
    assert!(refused("x", Some("no-such\u{1b}")).starts_with("--user no-such\\x1b: no such user"));
}
