//! The CPUs of slices on a machine with systemd and two CPUs: compared, set, kept and taken back.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Child, Command},
};

use procwatch_tests::{Refusal, Started, binary, needs, number, refusal, start, text, until};
use serde_json::Value;
use tempfile::TempDir;

const CGROUPS: &str = "/sys/fs/cgroup";
const AIMGR: &str = "/user.slice/user-1003.slice";
const STATE: &str = "/var/lib/procwatch/layout.json";
const SYSTEM_DROP_IN: &str = "/etc/systemd/system/system.slice.d/50-procwatch-layout.conf";
const AIMGR_DROP_IN: &str = "/etc/systemd/system/user-1003.slice.d/50-procwatch-layout.conf";
/// One CPU for the system, the other one for aimgr.
const LAYOUT: &str = "[[layout]]\nslice = 'system.slice'\ncpus = '0'\n\n\
    [[layout]]\nslice = 'user-1003.slice'\ncpus = '1'\n";

fn systemctl(args: &[&str]) {
    let status = Command::new("systemctl").args(args).status().unwrap();
    assert!(status.success(), "systemctl {args:?}: {status}");
}

fn show(unit: &str, property: &str) -> String {
    let output = Command::new("systemctl").args(["show", "--value", "-p", property, unit]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

fn read(cgroup: &str, file: &str) -> String {
    let file = format!("{CGROUPS}{cgroup}/{file}");
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}")).trim_end().to_owned()
}

fn effective(cgroup: &str) -> String {
    read(cgroup, "cpuset.cpus.effective")
}

/// A unit in aimgr's slice: the slice is active as long as it runs.
struct Keeper(Started);

impl Keeper {
    fn start() -> Self {
        let words = ["--quiet", "--pipe", "--wait", "--unit=keeper", "--slice=user-1003.slice", "cat"];
        let mut keeper = start("systemd-run", &words);
        keeper.say("here");
        assert_eq!(keeper.hear(), "here", "aimgr's slice is in use");
        Self(keeper)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.end();
        until("aimgr's slice is gone", || (!Path::new(&format!("{CGROUPS}{AIMGR}")).exists()).then_some(()));
    }
}

/// A configuration, and aimgr's slice in use. At the end all is taken back.
struct Machine {
    folder: TempDir,
    keeper: Option<Keeper>,
}

impl Machine {
    fn with(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("procwatch.toml"), config).unwrap();
        Self { folder, keeper: Some(Keeper::start()) }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("procwatch.toml")
    }

    fn call(&self, words: &[&str]) -> Refusal {
        let config = self.config();
        refusal(&[&["layout"], words, &["--config", config.to_str().unwrap()]].concat())
    }

    /// What `layout check` says, and its exit code.
    fn check(&self) -> (Option<i32>, Value) {
        let told = self.call(&["check", "--json", "--seconds", "0"]);
        let report = serde_json::from_str(&told.stdout).unwrap_or_else(|error| panic!("{error}: {told:?}"));
        (told.code, report)
    }

    fn apply(&self) -> (Option<i32>, Value) {
        let told = self.call(&["apply", "--json", "--yes"]);
        let report = serde_json::from_str(&told.stdout).unwrap_or_else(|error| panic!("{error}: {told:?}"));
        (told.code, report)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // A test that undid it itself leaves nothing to undo.
        let _ = undo(&["--force"]);
    }
}

fn undo(more: &[&str]) -> Refusal {
    refusal(&[&["layout", "apply", "--undo", "--yes"], more].concat())
}

/// Slice, what it has, whether that is as wanted, and the kinds of its obstacles.
fn slices(report: &Value) -> Vec<(&str, &str, bool, Vec<&str>)> {
    let slices = report["slices"].as_array().unwrap();
    slices
        .iter()
        .map(|slice| {
            let kinds = slice["obstacles"].as_array().unwrap().iter().map(|obstacle| text(&obstacle["kind"]));
            let as_wanted = slice["as_wanted"].as_bool().unwrap();
            (text(&slice["slice"]), text(&slice["effective"]), as_wanted, kinds.collect())
        })
        .collect()
}

/// The obstacle of this kind.
fn obstacle<'a>(report: &'a Value, kind: &str) -> &'a Value {
    let mut all =
        report["slices"].as_array().unwrap().iter().flat_map(|slice| slice["obstacles"].as_array().unwrap());
    all.find(|obstacle| obstacle["kind"] == kind).unwrap_or_else(|| panic!("no {kind} in {report}"))
}

#[test]
fn a_layout_is_set_kept_and_taken_back_exactly() {
    needs!(Vm);
    let machine = Machine::with(LAYOUT);
    let controllers = [read("", "cgroup.subtree_control"), read("/user.slice", "cgroup.subtree_control")];
    let (code, before) = machine.check();
    assert_eq!(code, Some(1), "{before}");
    for (slice, has, as_wanted, obstacles) in slices(&before) {
        assert_eq!((has, as_wanted), ("0-1", false), "{slice}");
        let mut ours = obstacles.iter().map(|kind| ["controller-off", "not-set"].contains(kind));
        assert!(!obstacles.is_empty() && ours.all(|is_ours| is_ours), "{slice}: {obstacles:?}");
    }
    assert_eq!(text(&before["setter"]), "systemd");

    // Nobody is there to agree: what would change is shown, and nothing is done.
    let refused = machine.call(&["apply"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("nobody is there to agree; --yes does it"), "{refused:?}");
    for line in [&*format!("+++ {AIMGR_DROP_IN}"), "--- /dev/null", "+[Slice]", "+AllowedCPUs=1"] {
        assert!(refused.stdout.lines().any(|shown| shown == line), "{line}: {}", refused.stdout);
    }
    assert!(!Path::new(SYSTEM_DROP_IN).exists() && !Path::new(STATE).exists());

    let (code, applied) = machine.apply();
    assert_eq!(code, Some(0), "{applied}");
    let wanted = [("system.slice", "0", true, vec![]), ("user-1003.slice", "1", true, vec![])];
    assert_eq!(slices(&applied), wanted);
    let changes: Vec<&str> = applied["changes"].as_array().unwrap().iter().map(text).collect();
    assert_eq!(changes, [SYSTEM_DROP_IN, AIMGR_DROP_IN]);
    assert_eq!((&*effective("/system.slice"), &*effective(AIMGR)), ("0", "1"), "the kernel's own account");
    let drop_in = fs::read_to_string(AIMGR_DROP_IN).unwrap();
    assert!(
        drop_in.starts_with("# ") && drop_in.ends_with("\n[Slice]\nAllowedCPUs=\nAllowedCPUs=1\n"),
        "{drop_in}"
    );
    assert_eq!(fs::metadata(STATE).unwrap().permissions().mode() & 0o7777, 0o600);

    // Again: nothing to do, and nothing is written.
    let written = fs::metadata(AIMGR_DROP_IN).unwrap().modified().unwrap();
    let (code, again) = machine.apply();
    assert_eq!((code, &again["changes"]), (Some(0), &Value::Array(Vec::new())), "{again}");
    assert_eq!(fs::metadata(AIMGR_DROP_IN).unwrap().modified().unwrap(), written);

    // What a boot does: systemd begins anew, reads the files and starts the slice.
    for verb in ["daemon-reload", "daemon-reexec"] {
        systemctl(&[verb]);
        assert_eq!(show("user-1003.slice", "AllowedCPUs"), "1", "after {verb}");
        until("the kernel has it again", || (machine.check().0 == Some(0)).then_some(()));
    }

    let undone = undo(&["--json"]);
    assert_eq!(undone.code, Some(0), "{undone:?}");
    let undone: Value = serde_json::from_str(&undone.stdout).unwrap();
    let restored: Vec<_> = undone["restored"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (text(&one["what"]), text(&one["before"]), text(&one["now"])))
        .collect();
    assert_eq!(restored, [("system.slice", "0-1", "0-1"), ("user-1003.slice", "0-1", "0-1")]);
    for gone in [SYSTEM_DROP_IN, AIMGR_DROP_IN, STATE] {
        assert!(!Path::new(gone).exists(), "{gone}");
    }
    assert!(!Path::new(AIMGR_DROP_IN).parent().unwrap().exists(), "its folder was ours");
    assert_eq!(show("user-1003.slice", "AllowedCPUs"), "");
    assert_eq!(machine.check().0, Some(1));
    let controllers_now = [read("", "cgroup.subtree_control"), read("/user.slice", "cgroup.subtree_control")];
    assert_eq!(controllers_now, controllers, "systemd has taken the controller away again");
    let nothing = undo(&[]);
    assert_eq!(nothing.code, Some(2));
    assert!(nothing.stderr.contains("nothing was applied, or it was undone already"), "{nothing:?}");
}

#[test]
fn a_person_at_a_terminal_is_asked() {
    needs!(Vm);
    let machine = Machine::with(LAYOUT);
    let command = format!("{} layout apply --config {}", binary().display(), machine.config().display());
    for (answer, code) in [("n", 2), ("", 2), ("y", 0)] {
        // `script` gives its child a terminal, and ends as that does.
        let mut asked = start("script", &["--quiet", "--return", "--command", &command, "/dev/null"]);
        asked.say(answer);
        let told = asked.hear_all().join("\n");
        assert_eq!(asked.end().code(), Some(code), "{answer}: {told}");
        assert!(told.contains("Do this? [y/N]"), "{told}");
        assert_eq!(Path::new(SYSTEM_DROP_IN).exists(), code == 0, "{answer}: {told}");
    }
    assert_eq!(effective(AIMGR), "1");
}

#[test]
fn a_slice_that_starts_later_gets_its_cpus_at_its_start() {
    needs!(Vm);
    let mut machine = Machine::with(LAYOUT);
    drop(machine.keeper.take());
    let (code, applied) = machine.apply();
    assert_eq!(code, Some(1), "{applied}");
    let missing = obstacle(&applied, "missing");
    assert_eq!(text(&missing["cgroup"]), AIMGR);
    assert!(text(&missing["text"]).contains("user-1003.slice is active while that user is logged in"));
    let keeper = Keeper::start();
    until("the new slice has its CPU", || (machine.check().0 == Some(0)).then_some(()));
    assert_eq!(effective(AIMGR), "1");
    drop(keeper);
}

#[test]
fn a_file_that_was_there_comes_back_and_one_that_was_edited_is_not_lost() {
    needs!(Vm);
    let folder = Path::new(AIMGR_DROP_IN).parent().unwrap();
    let own = "# mine\n[Slice]\nAllowedCPUs=0-1\nTasksMax=500\n";
    fs::create_dir_all(folder).unwrap();
    fs::write(AIMGR_DROP_IN, own).unwrap();
    fs::set_permissions(AIMGR_DROP_IN, fs::Permissions::from_mode(0o640)).unwrap();
    systemctl(&["daemon-reload"]);
    let machine = Machine::with(LAYOUT);
    let (code, applied) = machine.apply();
    assert_eq!((code, &*effective(AIMGR)), (Some(0), "1"), "{applied}");

    let edited = fs::read_to_string(AIMGR_DROP_IN).unwrap() + "TasksMax=7\n";
    fs::write(AIMGR_DROP_IN, &edited).unwrap();
    for refused in [undo(&[]), machine.call(&["apply", "--yes"])] {
        assert_eq!(refused.code, Some(2), "{refused:?}");
        let told = format!("{AIMGR_DROP_IN}: was changed since procwatch set it, so nothing was touched");
        assert!(refused.stderr.contains(&told) && refused.stderr.contains("--force"), "{refused:?}");
    }
    assert_eq!(fs::read_to_string(AIMGR_DROP_IN).unwrap(), edited);
    assert!(Path::new(SYSTEM_DROP_IN).exists(), "nothing of it was undone");

    let undone = undo(&["--force"]);
    assert_eq!(undone.code, Some(0), "{undone:?}");
    assert_eq!(fs::read_to_string(AIMGR_DROP_IN).unwrap(), own);
    assert_eq!(fs::metadata(AIMGR_DROP_IN).unwrap().permissions().mode() & 0o7777, 0o640);
    assert_eq!((&*effective(AIMGR), &*show("user-1003.slice", "AllowedCPUs")), ("0-1", "0-1"));
    fs::remove_dir_all(folder).unwrap();
    systemctl(&["daemon-reload"]);
}

#[test]
fn what_set_property_says_is_replaced_and_comes_back_and_what_comes_later_is_told() {
    needs!(Vm);
    let machine = Machine::with(LAYOUT);
    systemctl(&["set-property", "--runtime", "user-1003.slice", "AllowedCPUs=0"]);
    until("set-property is in force", || (effective(AIMGR) == "0").then_some(()));
    let (code, applied) = machine.apply();
    assert_eq!((code, &*effective(AIMGR)), (Some(0), "1"), "{applied}");
    // systemd adds lists up, in the order of the files' names.
    let later = Path::new(AIMGR_DROP_IN).with_file_name("90-later.conf");
    fs::write(&later, "[Slice]\nAllowedCPUs=0\n").unwrap();
    systemctl(&["daemon-reload"]);
    until("both are in force", || (effective(AIMGR) == "0-1").then_some(()));
    let (code, applied) = machine.apply();
    fs::remove_file(later).unwrap();
    assert_eq!((code, &applied["changes"]), (Some(1), &Value::Array(Vec::new())), "{applied}");
    let told = text(&obstacle(&applied, "not-set")["text"]);
    assert_eq!(told, "/user.slice/user-1003.slice/cpuset.cpus is 0-1");
    let undone = undo(&[]);
    assert_eq!((undone.code, &*effective(AIMGR)), (Some(0), "0"), "{undone:?}");
    systemctl(&["revert", "user-1003.slice"]);
}

#[test]
fn a_change_that_fails_takes_those_before_it_back() {
    needs!(Vm);
    let machine = Machine::with(LAYOUT);
    let folder = Path::new(AIMGR_DROP_IN).parent().unwrap();
    symlink("/no/such/folder", folder).unwrap();
    let failed = machine.call(&["apply", "--yes"]);
    fs::remove_file(folder).unwrap();
    assert_eq!(failed.code, Some(2), "{failed:?}");
    assert!(
        failed.stderr.contains(AIMGR_DROP_IN) && failed.stderr.contains("all is as it was before"),
        "{failed:?}"
    );
    assert!(!Path::new(SYSTEM_DROP_IN).parent().unwrap().exists() && !Path::new(STATE).exists());
    assert_eq!(machine.check().0, Some(1));
}

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

/// The habit of those who do not wait for systemd: a slice of one's own making, and a process written into it. With a
/// controller for what is below it, as a login wants it, the slice is threaded from then on.
struct Intruder(Child);

impl Intruder {
    fn begin() -> Self {
        let slice = format!("{CGROUPS}{AIMGR}");
        let intruder = Self(Command::new("sleep").arg("600").spawn().unwrap());
        fs::write(format!("{CGROUPS}/user.slice/cgroup.subtree_control"), "+pids").unwrap();
        fs::create_dir(&slice).unwrap();
        fs::write(format!("{slice}/cgroup.procs"), intruder.0.id().to_string()).unwrap();
        fs::write(format!("{slice}/cgroup.subtree_control"), "+pids").unwrap();
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
