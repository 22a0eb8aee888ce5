//! What stands in the way of a layout is named, and where it cannot be set nothing is changed.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command},
};

use procwatch_tests::{
    Refusal, binary,
    guest::spoil_slice,
    layout::{
        AIMGR, CGROUPS, LAYOUT, Machine, STATE, SYSTEM_DROP_IN, effective, obstacle, read, slices, systemctl,
        undo,
    },
    needs, number, start, text, until,
};
use serde_json::Value;

#[test]
fn a_narrow_slice_above_is_named() {
    needs!(Vm);
    systemctl(&["set-property", "--runtime", "user.slice", "AllowedCPUs=0"]);
    let machine = Machine::with(LAYOUT);
    until("user.slice is narrow", || (effective("/user.slice") == "0").then_some(()));
    let (code, report) = machine.apply();
    assert_eq!(code, Some(1), "{report}");
    assert_eq!(
        slices(&report),
        [("system.slice", "0", true, vec![]), ("user-1003.slice", "0", false, vec!["parent-too-narrow"])]
    );
    let narrow = obstacle(&report, "parent-too-narrow");
    assert_eq!(text(&narrow["text"]), "/user.slice above it has 0 only, without 1; widen that one");
    assert_eq!((text(&narrow["effective"]), text(&narrow["missing"])), ("0", "1"));
    systemctl(&["revert", "user.slice"]);
}

/// A process in the slice itself.
struct Intruder(Child);

impl Intruder {
    fn begin() -> Self {
        let intruder = Self(Command::new("sleep").arg("600").spawn().unwrap());
        spoil_slice(intruder.0.id());
        intruder
    }
}

impl Drop for Intruder {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        until("the slice is empty", || fs::remove_dir(format!("{CGROUPS}{AIMGR}")).ok());
    }
}

#[test]
fn a_process_in_the_slice_itself_is_named() {
    needs!(Vm);
    let mut machine = Machine::with(LAYOUT);
    drop(machine.keeper.take());
    let intruder = Intruder::begin();
    let (code, report) = machine.check();
    let pid = intruder.0.id();
    drop(intruder);
    assert_eq!(code, Some(1), "{report}");
    let threaded = obstacle(&report, "threaded");
    assert_eq!(text(&threaded["cgroup"]), AIMGR);
    let inhabitants = threaded["inhabitants"].as_array().unwrap();
    assert_eq!(inhabitants.len(), 1, "{threaded}");
    assert_eq!((number(&inhabitants[0]["pid"]), text(&inhabitants[0]["comm"])), (u64::from(pid), "sleep"));
    let told = text(&threaded["text"]);
    assert!(
        told.contains("breaks its user's next login") && told.ends_with("move it into a leaf below"),
        "{told}"
    );
}

#[test]
fn a_cpu_that_is_off_is_named() {
    needs!(Vm);
    let machine = Machine::with(LAYOUT);
    let switch = |to: &str| fs::write("/sys/devices/system/cpu/cpu1/online", to).unwrap();
    switch("0");
    let (code, report) = machine.check();
    switch("1");
    assert_eq!(code, Some(1), "{report}");
    let off = obstacle(&report, "cpu-offline");
    assert_eq!(text(&off["cpus"]), "1");
    assert!(text(&off["text"]).starts_with("CPU 1 is offline"), "{off}");
}

#[test]
fn processes_outside_and_busy_cpus_are_shown() {
    needs!(Vm);
    let machine = Machine::with(LAYOUT);
    let mut outside = start("systemd-run", &["--quiet", "--pipe", "--wait", "--uid=aimgr", "cat"]);
    outside.say("here");
    assert_eq!(outside.hear(), "here");
    let told = machine.call(&["check", "--json", "--seconds", "1"]);
    let report: Value = serde_json::from_str(&told.stdout).unwrap();
    let [found] = &report["outside"].as_array().unwrap()[..] else { panic!("{report}") };
    assert_eq!((number(&found["uid"]), number(&found["count"])), (1003, 1), "{found}");
    let stray = &found["first"][0];
    assert_eq!(text(&stray["comm"]), "cat");
    assert!(text(&stray["cgroup"]).starts_with("/system.slice/run-"), "{stray}");
    let cpus: Vec<u64> =
        report["usage"]["cpus"].as_array().unwrap().iter().map(|one| number(&one["cpu"])).collect();
    assert_eq!((cpus, number(&report["usage"]["seconds"])), (vec![0, 1], 1));
    let percent = report["usage"]["slices"][0]["mean_percent"].as_f64().unwrap();
    assert!((0.0..=100.0).contains(&percent), "{percent}");
    assert!(outside.end().success());
    let people = machine.call(&["check", "--seconds", "0"]);
    assert!(people.stdout.starts_with("slice            wanted  has  state\n"), "{}", people.stdout);
    assert!(
        people.stdout.contains("\n0 processes of uid 1003 live outside of user-1003.slice\n"),
        "{}",
        people.stdout
    );
}

/// The same call where systemd seems not to run: what tells of it is hidden from this one process.
fn without_systemd(words: &[&str]) -> Refusal {
    let script = "mount -t tmpfs none /run/systemd && exec \"$@\"";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(binary())
        .args([&["layout"], words].concat())
        .output()
        .unwrap();
    Refusal {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn without_systemd_cgroupfs_is_written_and_restored() {
    needs!(Vm);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("procwatch.toml");
    let config = config.to_str().unwrap();
    fs::write(
        config,
        "[[layout]]\nslice = '/layout/inner'\ncpus = '1'\n[[layout]]\nslice = '/layout'\ncpus = '0-1'\n",
    )
    .unwrap();
    let refused = without_systemd(&["apply", "--yes", "--config", config]);
    assert_eq!((refused.code, &*refused.stdout), (Some(2), ""), "{refused:?}");
    assert!(refused.stderr.contains("/layout/inner does not exist; make it first"), "{refused:?}");

    let (outer, inner) = (format!("{CGROUPS}/layout"), format!("{CGROUPS}/layout/inner"));
    fs::create_dir_all(&inner).unwrap();
    let mut inhabitant = Command::new("sleep").arg("600").spawn().unwrap();
    fs::write(format!("{inner}/cgroup.procs"), inhabitant.id().to_string()).unwrap();
    let controllers = [read("", "cgroup.subtree_control"), read("/layout", "cgroup.subtree_control")];
    let applied = without_systemd(&["apply", "--yes", "--config", config]);
    assert_eq!(applied.code, Some(0), "{applied:?}");
    assert!(
        applied.stdout.ends_with("systemd is not pid 1 here: this lasts until the next boot\n"),
        "{applied:?}"
    );
    let written: Vec<&str> =
        applied.stdout.lines().filter_map(|line| line.strip_prefix("written: ")).collect();
    let files = [
        format!("{CGROUPS}/cgroup.subtree_control"),
        format!("{outer}/cgroup.subtree_control"),
        format!("{inner}/cpuset.cpus"),
        format!("{outer}/cpuset.cpus"),
    ];
    assert_eq!(written, files);
    assert_eq!((&*effective("/layout"), &*effective("/layout/inner")), ("0-1", "1"));
    let status = fs::read_to_string(format!("/proc/{}/status", inhabitant.id())).unwrap();
    assert!(status.contains("\nCpus_allowed_list:\t1\n"), "{status}");
    let checked = without_systemd(&["check", "--seconds", "0", "--json", "--config", config]);
    let report: Value = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!((checked.code, text(&report["setter"])), (Some(0), "cgroupfs"), "{report}");

    let undone = without_systemd(&["apply", "--undo", "--yes"]);
    assert_eq!(undone.code, Some(0), "{undone:?}");
    assert_eq!([read("", "cgroup.subtree_control"), read("/layout", "cgroup.subtree_control")], controllers);
    assert!(!Path::new(STATE).exists());
    let status = fs::read_to_string(format!("/proc/{}/status", inhabitant.id())).unwrap();
    assert!(status.contains("\nCpus_allowed_list:\t0-1\n"), "{status}");
    inhabitant.kill().unwrap();
    inhabitant.wait().unwrap();
    until("the cgroups are empty", || (fs::remove_dir(&inner).and_then(|()| fs::remove_dir(&outer))).ok());
}

#[test]
fn bad_input_changes_nothing() {
    needs!(Vm);
    let machine = Machine::with("[[layout]]\nslice = 'system.slice'\ncpus = '1-0'\n");
    let config = machine.config().display().to_string();
    for command in [&["check"][..], &["apply", "--yes"]] {
        let refused = machine.call(command);
        assert_eq!((refused.code, &*refused.stdout), (Some(2), ""), "{refused:?}");
        let told = format!("procwatch: {config}:3: layout[1].cpus: \"1-0\" is no list of CPUs");
        assert!(refused.stderr.starts_with(&told), "{refused:?}");
    }
    fs::write(machine.config(), "mode = 'observe'\n").unwrap();
    let refused = machine.call(&["check"]);
    assert!(
        refused.code == Some(2) && refused.stderr.contains("has no [[layout]]; right is e.g."),
        "{refused:?}"
    );

    fs::write(machine.config(), LAYOUT).unwrap();
    fs::create_dir_all("/var/lib/procwatch").unwrap();
    for (state, part) in [
        ("{\"version\": 1", "is damaged"),
        ("{\"version\":2,\"drop_ins\":{},\"cgroups\":{},\"controllers\":[]}", "has version 2"),
    ] {
        fs::write(STATE, state).unwrap();
        fs::set_permissions(STATE, fs::Permissions::from_mode(0o600)).unwrap();
        for refused in [machine.call(&["apply", "--yes"]), undo(&["--force"])] {
            assert_eq!(refused.code, Some(2), "{refused:?}");
            assert!(refused.stderr.contains(&format!("{STATE}: {part}")), "{refused:?}");
        }
    }
    fs::remove_file(STATE).unwrap();
    assert!(!Path::new(SYSTEM_DROP_IN).exists());
}
