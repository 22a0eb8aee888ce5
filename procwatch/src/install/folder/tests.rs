use std::os::unix::fs::symlink;

use super::*;

fn file(path: &str, content: &'static str, kind: Kind) -> Shipped {
    Shipped { path: path.into(), content: content.as_bytes().into(), kind }
}

fn shipped(version: &'static str) -> Vec<Shipped> {
    vec![
        file("/usr/local/bin/procwatch", version, Kind::Program),
        file("/etc/systemd/system/procwatch.service", version, Kind::Plain),
        file("/etc/procwatch/procwatch.toml", version, Kind::Configuration),
    ]
}

fn steps(planned: &[Planned]) -> Vec<Step> {
    planned.iter().map(|plan| plan.step).collect()
}

/// All that is below a folder, without the folder itself.
fn all_below(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            if path.is_dir() {
                waiting.push(path);
            }
        }
    }
    found.sort();
    found
}

fn install(root: &Path, files: &[Shipped], receipt: &mut Receipt) -> Vec<Step> {
    let planned = plan(root, files, receipt).unwrap();
    put(root, files, &planned, receipt).unwrap();
    steps(&planned)
}

#[test]
fn what_was_installed_can_be_taken_away_exactly() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    fs::create_dir_all(root.join("usr/local/bin")).unwrap();
    fs::write(root.join("usr/local/bin/other"), "").unwrap();
    let before = all_below(root);
    let mut receipt = Receipt::default();
    let files = shipped("one");
    assert_eq!(install(root, &files, &mut receipt), [Step::Write; 3]);
    let program = root.join("usr/local/bin/procwatch");
    assert_eq!(fs::metadata(&program).unwrap().permissions().mode() & 0o7777, 0o755);
    let config = root.join("etc/procwatch/procwatch.toml");
    assert_eq!(fs::metadata(&config).unwrap().permissions().mode() & 0o7777, 0o644);
    assert_eq!(install(root, &files, &mut receipt), [Step::Same, Step::Same, Step::Keep]);

    let planned = plan_removal(root, &receipt).unwrap();
    assert_eq!(steps(&planned), [Step::Remove; 3]);
    remove(root, &planned, &mut receipt).unwrap();
    assert_eq!(all_below(root), before);
    assert_eq!(receipt, Receipt::default());
}

#[test]
fn what_is_there_as_it_would_be_written_is_replaced_by_a_newer_version() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let mut receipt = Receipt::default();
    install(root, &shipped("one"), &mut receipt);
    // One who was killed before the receipt was written.
    let mut receipt = Receipt::default();
    assert_eq!(install(root, &shipped("one"), &mut receipt), [Step::Same, Step::Same, Step::Keep]);
    assert_eq!(install(root, &shipped("two"), &mut receipt), [Step::Replace, Step::Replace, Step::Keep]);
}

#[test]
fn a_newer_version_replaces_what_is_ours_and_keeps_what_is_yours() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let mut receipt = Receipt::default();
    install(root, &shipped("one"), &mut receipt);
    let config = root.join("etc/procwatch/procwatch.toml");
    fs::write(&config, "mine").unwrap();
    assert_eq!(install(root, &shipped("two"), &mut receipt), [Step::Replace, Step::Replace, Step::Keep]);
    assert_eq!(fs::read_to_string(&config).unwrap(), "mine");
    assert_eq!(fs::read_to_string(root.join("usr/local/bin/procwatch")).unwrap(), "two");

    let planned = plan_removal(root, &receipt).unwrap();
    assert_eq!(planned.iter().filter(|plan| plan.step == Step::KeepChanged).count(), 1, "{planned:?}");
    remove(root, &planned, &mut receipt).unwrap();
    assert_eq!(all_below(root), ["etc", "etc/procwatch", "etc/procwatch/procwatch.toml"]);
}

#[test]
fn what_is_not_ours_is_never_overwritten() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    fs::create_dir_all(root.join("etc/systemd/system")).unwrap();
    let unit = root.join("etc/systemd/system/procwatch.service");
    fs::write(&unit, "somebody's").unwrap();
    let error = plan(root, &shipped("one"), &Receipt::default()).unwrap_err().to_string();
    assert!(
        error.contains("procwatch.service: is there already") && error.contains("move it away"),
        "{error}"
    );

    fs::remove_file(&unit).unwrap();
    symlink("/dev/null", &unit).unwrap();
    let error = plan(root, &shipped("one"), &Receipt::default()).unwrap_err().to_string();
    assert!(error.contains("is no regular file"), "a masked unit: {error}");
}

#[test]
fn a_failure_leaves_everything_as_it_was() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let mut receipt = Receipt::default();
    install(root, &shipped("one")[..1], &mut receipt);
    let before = all_below(root);
    let files = shipped("two");
    let planned = plan(root, &files, &receipt).unwrap();
    // A folder that cannot be made: a file is in its place.
    fs::write(root.join("etc"), "").unwrap();
    assert!(put(root, &files, &planned, &mut receipt.clone()).is_err());
    fs::remove_file(root.join("etc")).unwrap();
    assert_eq!(all_below(root), before);
    assert_eq!(fs::read_to_string(root.join("usr/local/bin/procwatch")).unwrap(), "one");
}

#[test]
fn a_step_is_told_in_a_word() {
    let planned = Planned { path: "/etc/a\x1b".into(), step: Step::Keep };
    assert_eq!(planned.to_string(), "keep    /etc/a\\x1b  it is there and yours");
}
