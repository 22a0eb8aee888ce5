//! The CPUs of slices on a machine with systemd and two CPUs: set, kept and taken back.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use procwatch_tests::{
    binary,
    layout::{
        AIMGR, AIMGR_DROP_IN, Keeper, LAYOUT, Machine, STATE, SYSTEM_DROP_IN, effective, obstacle, read,
        show, slices, systemctl, undo,
    },
    needs, start, text, until,
};
use serde_json::Value;

#[test]
fn a_layout_is_set_kept_and_taken_back_exactly() {
    needs!(Vm);
    let machine = Machine::with(LAYOUT);
    let cpusets = || ["", "/user.slice"].map(|path| read(path, "cgroup.subtree_control").contains("cpuset"));
    assert_eq!(cpusets(), [false; 2]);
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
    assert_eq!(cpusets(), [false; 2], "systemd has taken the controller away again");
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
fn a_slice_that_came_after_the_apply_is_free_when_its_rule_goes() {
    needs!(Vm);
    let others = LAYOUT.replace("user-1003.slice", "user-1000.slice");
    let mut machine = Machine::with(&format!("{others}[[layout]]\nslice = 'user-1003.slice'\ncpus = '1'\n"));
    drop(machine.keeper.take());
    // As long as this one has CPUs of its own, the controller stays on for both.
    let mut other = start(
        "systemd-run",
        &["--quiet", "--pipe", "--wait", "--unit=other", "--slice=user-1000.slice", "cat"],
    );
    other.say("here");
    assert_eq!(other.hear(), "here");
    machine.apply();
    let keeper = Keeper::start();
    until("the new slice has its CPU", || (machine.check().0 == Some(0)).then_some(()));
    assert_eq!(effective(AIMGR), "1");
    fs::write(machine.config(), others).unwrap();
    let (code, applied) = machine.apply();
    assert_eq!((code, &*effective(AIMGR)), (Some(0), "0-1"), "{applied}");
    drop(keeper);
    other.end();
}

#[test]
fn what_somebody_says_later_stays_after_the_undo() {
    needs!(Vm);
    let machine = Machine::with(LAYOUT);
    let (code, applied) = machine.apply();
    assert_eq!(code, Some(0), "{applied}");
    let later = Path::new(AIMGR_DROP_IN).with_file_name("90-later.conf");
    fs::write(&later, "[Slice]\nAllowedCPUs=\nAllowedCPUs=0\n").unwrap();
    systemctl(&["daemon-reload"]);
    until("it is in force", || (effective(AIMGR) == "0").then_some(()));
    let undone = undo(&[]);
    assert_eq!((undone.code, &*effective(AIMGR)), (Some(1), "0"), "{undone:?}");
    assert!(undone.stdout.contains("user-1003.slice: CPUs 0, before CPUs 0-1"), "{undone:?}");
    fs::remove_dir_all(later.parent().unwrap()).unwrap();
    systemctl(&["daemon-reload"]);
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
