use std::os::unix::fs::{PermissionsExt as _, symlink};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::{
    cgroup::CgroupPath,
    execute::contain::cell::{CellKind, Origin},
};

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run/contained.json");
    (folder, file)
}

fn effect(before: &str) -> Effect {
    Effect { before: before.to_owned(), done: true, by_hand: false, leaves_file: false }
}

fn entry(pid: u32) -> Entry {
    let path = |text| CgroupPath::parse(text).unwrap();
    let key = ProcessKey { pid, start: BootTime(83_112_123_456_789) };
    Entry {
        cell: Some(Cell {
            kind: CellKind::Leaf,
            cgroup: path("/procwatch-cell-1-2"),
            unit: None,
            from: Some(Origin { cgroup: path("/a b/c\\d"), id: 7 }),
            may_enable: true,
            enabled: vec!["cpu".to_owned()],
        }),
        frozen: Some(effect("0")),
        ..Entry::new(key, 1000, "python3".to_owned())
    }
}

#[test]
fn what_is_kept_is_there_for_the_next_one() {
    let (_folder, file) = place();
    let mut state = State::hold(&file).unwrap();
    assert!(state.entries().is_empty() && state.complaint().is_none());
    state.keep(entry(1)).unwrap();
    state.keep(entry(2)).unwrap();
    let changed = Entry { cpu: Some(effect("max 100000")), ..entry(1) };
    state.keep(changed.clone()).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    drop(state);
    let mut state = State::hold(&file).unwrap();
    assert_eq!(state.entries(), [changed, entry(2)]);
    // A start as /proc tells it, in ticks.
    let rounded = ProcessKey { pid: 2, start: BootTime(83_112_120_000_000) };
    assert_eq!(state.entry(rounded), Some(&entry(2)));
    assert_eq!(state.entry(ProcessKey { pid: 2, start: BootTime(83_112_000_000_000) }), None);
    for pid in [1, 2] {
        state.keep(Entry { cell: None, frozen: None, ..entry(pid) }).unwrap();
    }
    assert!(!file.exists(), "nothing in force, no file");
}

#[test]
fn what_is_no_state_of_ours_is_set_aside_with_its_name_told() {
    let (_folder, file) = place();
    State::hold(&file).unwrap().keep(entry(1)).unwrap();
    let good = fs::read_to_string(&file).unwrap();
    let private = |text: &str| {
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    for (number, (text, part)) in [
        (good[..good.len() / 2].to_owned(), "damaged"),
        (String::new(), "damaged"),
        ("\u{1b}[2J{".to_owned(), "damaged"),
        (good.replace("\"version\": 1", "\"version\": 2"), "version 2"),
        (good.replace("\"frozen\"", "\"boiled\""), "unknown field"),
        (good.replace("/procwatch-cell-1-2", "/../../etc"), "no path of a cgroup"),
        (good.replace("\"unit\": null", "\"unit\": \"../x.service\""), "is no unit"),
        (good.replace("\"cpu\"\n", "\"-x +y\"\n"), "is no controller"),
    ]
    .into_iter()
    .enumerate()
    {
        assert!(text != good, "{part}");
        private(&text);
        let state = State::hold(&file).unwrap();
        let complaint = state.complaint().unwrap().to_owned();
        let aside = file.with_extension(format!("json.bad-{}", number + 1));
        assert!(complaint.contains(part), "{complaint}");
        assert!(complaint.contains(aside.to_str().unwrap()), "{complaint}");
        assert!(!complaint.contains(char::is_control), "{complaint}");
        assert!(state.entries().is_empty() && !file.exists() && aside.exists());
    }
}

#[test]
fn a_file_that_others_can_touch_is_not_believed() {
    let (folder, file) = place();
    State::hold(&file).unwrap().keep(entry(1)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(State::hold(&file).unwrap().complaint().unwrap().contains("others than root"));
    let precious = folder.path().join("precious");
    fs::write(&precious, "keep").unwrap();
    symlink(&precious, &file).unwrap();
    assert!(State::hold(&file).unwrap().complaint().is_some());
    assert_eq!(fs::read_to_string(&precious).unwrap(), "keep");
    fs::create_dir(&file).unwrap();
    assert!(State::hold(&file).unwrap().complaint().unwrap().contains("no regular file"));
}

#[test]
fn another_run_of_the_machine_is_forgotten() {
    let (_folder, file) = place();
    State::hold(&file).unwrap().keep(entry(1)).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace(&boot_id().unwrap(), "another")).unwrap();
    let state = State::hold(&file).unwrap();
    assert!(state.entries().is_empty() && state.complaint().is_none());
}

#[test]
fn who_comes_second_waits() {
    let (_folder, file) = place();
    let mut first = State::hold(&file).unwrap();
    thread::scope(|scope| {
        let second = scope.spawn(|| State::hold(&file).unwrap().entries().len());
        first.keep(entry(1)).unwrap();
        drop(first);
        assert_eq!(second.join().unwrap(), 1);
    });
}

proptest! {
    #[test]
    fn any_file_does_not_panic(text in proptest::collection::vec(any::<u8>(), 0..300)) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("contained.json");
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        prop_assert!(State::hold(&file).unwrap().complaint().is_some());
    }
}
