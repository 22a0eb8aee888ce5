use std::{collections::BTreeMap, fs, path::Path};

use super::*;
use crate::{
    cgroup::SliceRef,
    config::Location,
    layout::{
        LayoutError,
        facts::{Sources, UnitFacts},
    },
};

/// An entry of a layout.
pub(crate) fn rule(slice: &str, cpus: &str) -> LayoutRule {
    LayoutRule {
        slice: SliceRef::parse(slice).unwrap(),
        cpus: CpuSet::parse(cpus).unwrap(),
        described: format!("layout[1] slice={slice}"),
        location: Location::of_file(Path::new("t.toml")),
    }
}

fn slices(rules: &[LayoutRule]) -> Vec<SliceRef> {
    rules.iter().map(|rule| rule.slice.clone()).collect()
}

/// A folder that looks like a cgroup2 hierarchy of 8 CPUs, all of them on, and like the folder of the CPUs.
pub(crate) struct FakeTree(tempfile::TempDir);

impl FakeTree {
    pub(crate) fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        tree.put("online", "0-7\n");
        tree.put("present", "0-7\n");
        tree.put("cgroup.controllers", "cpuset cpu memory pids\n");
        tree.put("cgroup.subtree_control", "cpuset memory\n");
        tree.put("cpuset.cpus.effective", "0-7\n");
        tree
    }

    pub(crate) fn put(&self, file: &str, text: &str) {
        let file = self.0.path().join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    /// A cgroup that has the controller and hands it on.
    pub(crate) fn cgroup(&self, path: &str, cpus: &str, effective: &str) {
        self.put(&format!("{path}/cgroup.type"), "domain\n");
        self.put(&format!("{path}/cgroup.procs"), "");
        self.put(&format!("{path}/cgroup.subtree_control"), "cpuset\n");
        self.put(&format!("{path}/cpuset.cpus"), &format!("{cpus}\n"));
        self.put(&format!("{path}/cpuset.cpus.effective"), &format!("{effective}\n"));
    }

    pub(crate) fn sources(&self) -> Sources {
        Sources { hierarchy: self.0.path().to_owned(), cpus: self.0.path().to_owned() }
    }

    pub(crate) fn facts(&self, rules: &[LayoutRule]) -> Facts {
        Facts::gather(&self.sources(), &slices(rules), None).unwrap()
    }

    /// The verdict about one slice: whether it is as wanted, what it has, and the obstacles in words.
    fn judged(&self, slice: &str, cpus: &str) -> (bool, String, Vec<String>) {
        let rules = [rule(slice, cpus)];
        let report = judge(&rules, &self.facts(&rules)).remove(0);
        let effective = report.effective.map_or_else(|| "?".to_owned(), |cpus| cpus.to_string());
        (report.as_wanted, effective, report.obstacles.iter().map(ToString::to_string).collect())
    }
}

fn differs(effective: &str, obstacles: &[&str]) -> (bool, String, Vec<String>) {
    (false, effective.to_owned(), obstacles.iter().map(|text| (*text).to_owned()).collect())
}

#[test]
fn a_slice_that_has_its_cpus_is_as_wanted() {
    let tree = FakeTree::new();
    tree.cgroup("user.slice", "", "0-7");
    tree.cgroup("user.slice/user-1003.slice", "4-7", "4-7");
    assert_eq!(tree.judged("user-1003.slice", "4-7"), (true, "4-7".to_owned(), Vec::new()));
    assert_eq!(
        tree.judged("user-1003.slice", "4-6"),
        differs("4-7", &["/user.slice/user-1003.slice/cpuset.cpus is 4-7"])
    );
}

#[test]
fn a_narrow_cgroup_above_is_named_with_what_it_has() {
    let tree = FakeTree::new();
    tree.cgroup("user.slice", "2-3", "2-3");
    tree.cgroup("user.slice/user-1003.slice", "2-7", "2-3");
    assert_eq!(
        tree.judged("user-1003.slice", "2-7"),
        differs("2-3", &["/user.slice above it has 2-3 only, without 4-7; widen that one"])
    );
    // The root itself: another part of the machine has taken CPUs for itself.
    tree.put("cpuset.cpus.effective", "0-5\n");
    assert_eq!(
        tree.judged("user-1003.slice", "2-7").2,
        ["/ above it has 0-5 only, without 6-7; widen that one"]
    );
}

#[test]
fn each_cgroup_above_without_the_controller_is_named() {
    let tree = FakeTree::new();
    tree.put("cgroup.subtree_control", "memory\n");
    tree.put("user.slice/cgroup.subtree_control", "cpu\n");
    tree.put("user.slice/user-1003.slice/cgroup.subtree_control", "\n");
    assert_eq!(
        tree.judged("user-1003.slice", "4-7"),
        differs(
            "0-7",
            &[
                "cpuset is not enabled in /cgroup.subtree_control",
                "cpuset is not enabled in /user.slice/cgroup.subtree_control"
            ]
        )
    );
}

#[test]
fn without_the_controller_in_the_hierarchy_nothing_is_known() {
    let tree = FakeTree::new();
    tree.put("cgroup.controllers", "hugetlb\n");
    fs::remove_file(tree.sources().hierarchy.join("cpuset.cpus.effective")).unwrap();
    tree.put("a.slice/cgroup.subtree_control", "\n");
    let (as_wanted, effective, obstacles) = tree.judged("a.slice", "0");
    assert!(!as_wanted && effective == "?" && obstacles.len() == 1, "{obstacles:?}");
    assert!(obstacles[0].starts_with("the cgroup2 hierarchy has no cpuset controller"), "{obstacles:?}");
}

#[test]
fn cpus_that_are_off_or_absent_are_named() {
    let tree = FakeTree::new();
    tree.put("online", "0-6\n");
    tree.put("cpuset.cpus.effective", "0-6\n");
    tree.cgroup("a.slice", "5-9", "5-6");
    assert_eq!(
        tree.judged("a.slice", "5-9"),
        differs(
            "5-6",
            &["CPUs 8-9 are not in this machine", "CPU 7 is offline (/sys/devices/system/cpu/cpuN/online)"]
        )
    );
}

#[test]
fn a_slice_that_was_written_into_is_named_with_its_inhabitants() {
    let tree = FakeTree::new();
    let me = std::process::id();
    tree.cgroup("user.slice", "", "0-7");
    tree.cgroup("user.slice/user-1003.slice", "4-7", "4-7");
    tree.put("user.slice/user-1003.slice/cgroup.type", "domain threaded\n");
    tree.put("user.slice/user-1003.slice/cgroup.procs", &format!("{me}\n4194304\n"));
    let (as_wanted, effective, obstacles) = tree.judged("user-1003.slice", "4-7");
    assert!(!as_wanted && effective == "4-7" && obstacles.len() == 1, "{obstacles:?}");
    let begin =
        "/user.slice/user-1003.slice is \"domain threaded\", which breaks its user's next login: pids ";
    assert!(obstacles[0].starts_with(&format!("{begin}{me} (")), "{obstacles:?}");
    let end = ", 4194304 () were written into it; move them into a leaf below";
    assert!(obstacles[0].ends_with(end), "{obstacles:?}");
    // What is above the slice counts, too.
    assert!(tree.judged("/user.slice/user-1003.slice/x", "4-7").2[1].contains("domain threaded"));
}

#[test]
fn many_inhabitants_are_counted() {
    let inhabitants = (0..12).map(|pid| Inhabitant { pid, comm: "a\n".into() }).collect();
    let kind = "domain threaded".to_owned();
    let shown = Obstacle::Threaded { cgroup: "/a".to_owned(), kind, inhabitants }.to_string();
    assert!(shown.contains("12 pids, 0 (a\\n), 1 (a\\n)") && shown.contains("9 (a\\n) …"), "{shown}");
}

#[test]
fn a_missing_slice_and_an_inactive_unit_say_what_helps() {
    let tree = FakeTree::new();
    assert_eq!(tree.judged("/a/b", "0"), differs("0-7", &["/a/b does not exist; make it first"]));
    tree.cgroup("a.slice", "1", "1");
    let rules = [rule("a.slice", "0"), rule("b.slice", "0"), rule("user-7.slice", "0")];
    let mut ask =
        |unit: &str| -> Result<UnitFacts, LayoutError> { Ok(UnitFacts { active: unit == "user-7.slice" }) };
    let facts = Facts::gather(&tree.sources(), &slices(&rules), Some(&mut ask)).unwrap();
    let texts: Vec<String> =
        judge(&rules, &facts).iter().map(|report| report.obstacles[0].to_string()).collect();
    assert_eq!(
        texts,
        [
            "a.slice is not active, so its CPUs are set nowhere; systemctl start a.slice",
            "/b.slice does not exist: b.slice is not active; systemctl start b.slice",
            "/user.slice/user-7.slice does not exist: user-7.slice is active while that user is logged in",
        ]
    );
}

#[test]
fn what_the_kernel_never_writes_is_an_error_with_its_file() {
    let tree = FakeTree::new();
    tree.cgroup("a.slice", "x", "0");
    let rules = [rule("a.slice", "0")];
    let error = Facts::gather(&tree.sources(), &slices(&rules), None).unwrap_err().to_string();
    assert!(error.contains("a.slice/cpuset.cpus: \"x\" is neither a CPU nor a range"), "{error}");
}

#[test]
fn json_names_the_obstacle_and_its_parts() {
    let tree = FakeTree::new();
    tree.cgroup("a.slice", "", "0-7");
    let rules = [rule("a.slice", "2")];
    let json = serde_json::to_value(judge(&rules, &tree.facts(&rules))).unwrap();
    let obstacle = serde_json::json!({
        "kind": "not-set", "text": "/a.slice/cpuset.cpus is empty", "file": "/a.slice/cpuset.cpus", "cpus": "",
    });
    let slice = serde_json::json!([{
        "slice": "a.slice", "path": "/a.slice", "wanted": "2", "effective": "0-7", "as_wanted": false,
        "obstacles": [obstacle],
    }]);
    assert_eq!(json, slice);
}

#[test]
fn nothing_is_known_of_units_where_nobody_keeps_them() {
    let tree = FakeTree::new();
    assert_eq!(tree.facts(&[rule("a.slice", "0")]).units, BTreeMap::new());
}
