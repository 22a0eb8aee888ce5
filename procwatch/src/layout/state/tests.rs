use std::{
    fs::Permissions,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use proptest::prelude::*;

use super::*;

fn sample() -> State {
    let set = |text| CpuSet::parse_kernel(text).unwrap();
    let path = |text| CgroupPath::parse(text).unwrap();
    let before = Content { text: "[Slice]\n".to_owned(), mode: 0o640, uid: 0, gid: 7 };
    let saved = SavedDropIn {
        before: Some(before),
        written: "AllowedCPUs=0\n".to_owned(),
        folder_is_ours: true,
        cgroup: "/a.slice".to_owned(),
        effective: Some(set("0-3")),
    };
    State {
        drop_ins: [("a.slice".to_owned(), saved)].into(),
        cgroups: [(
            path("/a/b \\x"),
            SavedCpus { before: set(""), written: set("1,3"), effective: Some(set("0-3")) },
        )]
        .into(),
        controllers: [CgroupPath::root(), path("/a")].into(),
    }
}

/// A folder with this text as its state.
fn folder(text: &str, mode: u32) -> (tempfile::TempDir, StateFolder) {
    let place = tempfile::tempdir().unwrap();
    let folder = StateFolder::hold(&place.path().join("procwatch")).unwrap();
    fs::write(folder.file(), text).unwrap();
    fs::set_permissions(folder.file(), Permissions::from_mode(mode)).unwrap();
    (place, folder)
}

#[test]
fn what_is_saved_is_loaded_again_and_nothing_leaves_no_file() {
    let (place, folder) = folder("", 0o600);
    folder.save(&sample()).unwrap();
    assert_eq!(folder.load().unwrap(), sample());
    assert_eq!(fs::metadata(folder.file()).unwrap().mode() & 0o7777, 0o600);
    folder.save(&State::default()).unwrap();
    assert!(!folder.file().exists());
    assert_eq!(folder.load().unwrap(), State::default());
    folder.save(&State::default()).unwrap();
    drop(folder);
    assert!(!place.path().join("procwatch").exists(), "a folder without a state is not left behind");
}

#[test]
fn what_another_state_keeps_too_is_no_rest() {
    let kept = State { cgroups: sample().cgroups, ..State::default() };
    let rest = sample().without(&kept);
    assert_eq!((rest.drop_ins.len(), rest.cgroups.len()), (1, 0));
    assert_eq!(rest.with(&kept), sample());
}

#[test]
fn only_one_holds_the_folder() {
    let place = tempfile::tempdir().unwrap();
    let first = StateFolder::hold(place.path()).unwrap();
    let error = StateFolder::hold(place.path()).unwrap_err().to_string();
    assert!(error.contains("another procwatch changes the layout just now"), "{error}");
    drop(first);
    StateFolder::hold(place.path()).unwrap();
}

#[test]
fn damaged_and_hostile_files_are_refused_with_the_reason() {
    let good = serde_json::to_value(Document::from(&sample())).unwrap();
    let with = |path: &str, value: serde_json::Value| {
        let mut changed = good.clone();
        *changed.pointer_mut(path).unwrap() = value;
        changed.to_string()
    };
    let unit = good.to_string().replace("\"a.slice\":", "\"../../passwd\":");
    for (text, part) in [
        (String::new(), "is damaged: EOF"),
        ("[]".to_owned(), "is damaged"),
        ("{\"version\":1}".to_owned(), "is damaged: missing field"),
        (with("/version", 2.into()), "has version 2, this procwatch knows 1"),
        (
            with("/cgroups", serde_json::json!({"/../x": {"before": "", "written": "", "effective": null}})),
            "is no path of a cgroup",
        ),
        (with("/controllers", serde_json::json!(["x"])), "neither a slice nor a path"),
        (with("/drop_ins/a.slice/cgroup", "a".into()), "neither a slice nor a path"),
        (with("/drop_ins/a.slice/effective", "9-1".into()), "is damaged: the range 9-1 runs backwards"),
        (with("/drop_ins/a.slice/before/text", serde_json::json!({"\u{1b}": 1})), "is damaged"),
        (unit, "\"../../passwd\" is no unit"),
        (good.to_string().replacen('{', "{\"more\":1,", 1), "unknown field `more`"),
    ] {
        let error = folder(&text, 0o600).1.load().unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("layout.json: "), "{text}: {error}");
        assert!(!error.contains(char::is_control), "{error:?}");
    }
}

#[test]
fn a_file_that_others_may_have_written_is_not_believed() {
    let (_place, held) = folder("{}", 0o622);
    let error = held.load().unwrap_err().to_string();
    assert!(error.contains("others than its owner, root, may have written it"), "{error}");
    let (_place, held) = folder("{}", 0o600);
    fs::rename(held.file(), held.file().with_extension("real")).unwrap();
    symlink("layout.real", held.file()).unwrap();
    assert!(held.load().is_err(), "a link");
    let (_place, held) = folder(&" ".repeat(5 << 20), 0o600);
    assert!(held.load().unwrap_err().to_string().contains("is larger than 4 MiB"));
}

proptest! {
    #[test]
    fn any_text_is_refused_without_a_panic(text in "[ -~\n]{0,80}") {
        prop_assert!(parse(Path::new("/x"), &text).is_err());
    }
}
