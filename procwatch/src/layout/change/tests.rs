use std::os::unix::fs::symlink;

use super::*;
use crate::layout::judge::tests::FakeTree;

/// Folders in the place of /etc/systemd/system and of the hierarchy.
fn fake() -> (FakeTree, Targets) {
    let tree = FakeTree::new();
    let hierarchy = tree.sources().hierarchy;
    let units = hierarchy.join("etc");
    fs::create_dir(&units).unwrap();
    (tree, Targets { units, hierarchy })
}

fn content(text: &str) -> Content {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    Content { text: text.to_owned(), mode: 0o644, uid, gid }
}

fn new_drop_in(unit: &str, text: &str) -> Change {
    Change::DropIn { unit: unit.to_owned(), before: None, after: Some(content(text)), folder_is_ours: true }
}

fn cpus_of_a(before: &str, after: &str) -> Change {
    let set = |text| CpuSet::parse_kernel(text).unwrap();
    Change::Cpus { cgroup: CgroupPath::parse("/a").unwrap(), before: set(before), after: set(after) }
}

#[test]
fn all_is_done_and_undone_by_the_same_changes_reversed() {
    let (tree, targets) = fake();
    tree.cgroup("a", "", "0-7");
    let changes = [new_drop_in("b.slice", "x\n"), cpus_of_a("", "1")];
    let mut reloads = 0;
    let mut reload = || {
        reloads += 1;
        Ok(())
    };
    carry_out(&changes, &targets, &mut reload).unwrap();
    let file = targets.drop_in("b.slice");
    assert_eq!(Content::read(&file).unwrap(), Some(content("x\n")));
    assert_eq!(fs::read_to_string(tree.sources().hierarchy.join("a/cpuset.cpus")).unwrap(), "1\n");
    let back: Vec<Change> = changes.iter().rev().map(Change::reversed).collect();
    carry_out(&back, &targets, &mut reload).unwrap();
    assert_eq!((Content::read(&file).unwrap(), reloads), (None, 2));
    assert!(!targets.folder("b.slice").exists(), "its folder was ours");
}

#[test]
fn a_failure_takes_back_what_was_done_before_it() {
    let (_tree, targets) = fake();
    let changes = [new_drop_in("b.slice", "x\n"), cpus_of_a("0", "1")];
    let error = carry_out(&changes, &targets, &mut || Ok(())).unwrap_err();
    let shown = error.to_string();
    assert!(matches!(error, LayoutError::TakenBack { .. }), "{shown}");
    assert!(
        shown.contains("a/cpuset.cpus: No such file") && shown.ends_with("all is as it was before"),
        "{shown}"
    );
    assert!(!targets.folder("b.slice").exists());
}

#[test]
fn a_reload_that_fails_takes_all_back_and_reloads_again() {
    let (_tree, targets) = fake();
    for (second_fails, end) in [(false, "all is as it was before"), (true, "could not all be taken back: no")]
    {
        let mut calls = 0;
        let mut reload = || {
            calls += 1;
            let fails = calls == 1 || second_fails;
            if fails { Err(LayoutError::Refused("no".to_owned())) } else { Ok(()) }
        };
        let error = carry_out(&[new_drop_in("b.slice", "x\n")], &targets, &mut reload).unwrap_err();
        assert!(error.to_string().ends_with(end), "{error}");
        assert_eq!(calls, 2);
        assert!(!targets.folder("b.slice").exists());
    }
}

#[test]
fn a_folder_that_others_use_stays() {
    let (_tree, targets) = fake();
    let change = new_drop_in("b.slice", "x\n");
    carry_out(std::slice::from_ref(&change), &targets, &mut || Ok(())).unwrap();
    fs::write(targets.folder("b.slice").join("other.conf"), "").unwrap();
    carry_out(&[change.reversed()], &targets, &mut || Ok(())).unwrap();
    assert!(targets.folder("b.slice").join("other.conf").exists());
    assert!(!targets.drop_in("b.slice").exists());
}

#[test]
fn mode_and_text_are_kept_and_no_part_is_left_behind() {
    let (_tree, targets) = fake();
    let file = targets.units.join("x.conf");
    fs::write(&file, "old").unwrap();
    let new = Content { mode: 0o640, ..content("new\n") };
    new.write(&file).unwrap();
    assert_eq!(Content::read(&file).unwrap(), Some(new));
    assert_eq!(fs::read_dir(&targets.units).unwrap().count(), 1);
}

#[test]
fn what_is_no_drop_in_is_refused() {
    let (_tree, targets) = fake();
    let path = |name: &str| targets.units.join(name);
    symlink("/dev/null", path("link")).unwrap();
    fs::create_dir(path("folder")).unwrap();
    fs::write(path("big"), "x".repeat(70_000)).unwrap();
    fs::write(path("binary"), b"\xff\xfe").unwrap();
    nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (name, part) in [
        ("link", "is a symbolic link"),
        ("folder", "is no regular file"),
        ("pipe", "is no regular file"),
        ("big", "is larger than 64 KiB"),
        ("binary", "UTF-8"),
    ] {
        let error = Content::read(&path(name)).unwrap_err().to_string();
        assert!(error.contains(part), "{name}: {error}");
    }
    assert_eq!(Content::read(&path("none")).unwrap(), None);
}

#[test]
fn diffs_are_short_and_escaped() {
    let (_tree, targets) = fake();
    let (a, b) = (content("one\nt\x1bwo\nthree\n"), content("one\n2\nthree\n"));
    let change =
        Change::DropIn { unit: "b.slice".to_owned(), before: Some(a), after: Some(b), folder_is_ours: false };
    let file = targets.drop_in("b.slice").display().to_string();
    let expected = format!("--- {file}\n+++ {file}\n@@ -1,3 +1,3 @@\n one\n-t\\x1bwo\n+2\n three\n");
    assert_eq!(change.diff(&targets), expected);
    let new = new_drop_in("b.slice", "x\n").diff(&targets);
    assert_eq!(new, format!("--- /dev/null\n+++ {file}\n@@ -0,0 +1 @@\n+x\n"));
    let cpus = cpus_of_a("0-3", "1").diff(&targets);
    assert!(cpus.ends_with("@@ -1 +1 @@\n-0-3\n+1\n"), "{cpus}");
}
