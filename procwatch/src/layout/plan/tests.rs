use std::fs;

use super::*;
use crate::{
    cgroup::SliceRef,
    layout::{
        change::carry_out,
        judge::tests::{FakeTree, rule},
    },
};

/// A machine of folders: `etc` in the place of the unit files.
struct Fake {
    tree: FakeTree,
    targets: Targets,
}

impl Fake {
    fn new() -> Self {
        let tree = FakeTree::new();
        let hierarchy = tree.sources().hierarchy;
        fs::create_dir(hierarchy.join("etc")).unwrap();
        Self { targets: Targets { units: hierarchy.join("etc"), hierarchy }, tree }
    }

    fn plan(&self, setter: Setter, rules: &[LayoutRule], state: &State) -> Result<Plan, LayoutError> {
        let current = Current::look(&self.targets, rules, state)?;
        apply(rules, setter, (&self.tree.facts(rules), &current), (state, &self.targets, false))
    }

    fn undo(&self, state: &State, force: bool) -> Result<Plan, LayoutError> {
        let current = Current::look(&self.targets, &[], state)?;
        let places = state.cgroups.keys().chain(&state.controllers).cloned().map(SliceRef::from);
        let facts = Facts::gather(&self.tree.sources(), &places.collect::<Vec<_>>(), None)?;
        undo(&facts, &current, (state, &self.targets, force))
    }

    fn carry_out(&self, plan: &Plan) {
        // A plain folder does not cut a file that is opened to be written to, so each begins anew.
        for file in plan.changes.iter().map(|change| change.file(&self.targets)).filter(|file| file.exists())
        {
            fs::write(file, "").unwrap();
        }
        carry_out(&plan.changes, &self.targets, &mut || Ok(())).unwrap();
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.targets.hierarchy.join(file)).unwrap_or_else(|_| "-".to_owned())
    }
}

/// Each change in short.
fn short(changes: &[Change]) -> Vec<String> {
    let one = |change: &Change| match change {
        Change::DropIn { unit, before, after, .. } => {
            format!("{unit} {}>{}", u8::from(before.is_some()), u8::from(after.is_some()))
        }
        Change::Cpus { cgroup, before, after } => format!("{cgroup} {before}>{after}"),
        Change::Controller { cgroup, on } => format!("{cgroup} {on}"),
    };
    changes.iter().map(one).collect()
}

const DROP_IN: &str = "/50-procwatch-layout.conf";

#[test]
fn drop_ins_are_written_once_and_restored() {
    let fake = Fake::new();
    fake.tree.put(&format!("etc/b.slice.d{DROP_IN}"), "mine\n");
    fake.tree.cgroup("a.slice", "", "0-7");
    let rules = [rule("a.slice", "0-1"), rule("b.slice", "2"), rule("/a.slice/x.service", "1")];
    let plan = fake.plan(Setter::Systemd, &rules, &State::default()).unwrap();
    assert_eq!(short(&plan.changes), ["a.slice 0>1", "b.slice 1>1", "x.service 0>1"]);
    fake.carry_out(&plan);
    let text = fake.text(&format!("etc/x.service.d{DROP_IN}"));
    assert!(
        text.starts_with("# Written by") && text.ends_with("\n[Service]\nAllowedCPUs=\nAllowedCPUs=1\n"),
        "{text}"
    );
    let effective = |unit: &str| plan.state.drop_ins[unit].effective.as_ref().map(ToString::to_string);
    assert_eq!((effective("a.slice"), effective("b.slice")), (Some("0-7".to_owned()), None));

    let again = fake.plan(Setter::Systemd, &rules, &plan.state).unwrap();
    assert_eq!((short(&again.changes), &again.state), (Vec::new(), &plan.state));
    // Another layout changes what it has, restores what it has not, and remembers what was there at first.
    let other = fake.plan(Setter::Systemd, &[rule("b.slice", "3")], &plan.state).unwrap();
    assert_eq!(short(&other.changes), ["b.slice 1>1", "a.slice 1>0", "x.service 1>0"]);
    assert_eq!(other.state.drop_ins["b.slice"].before.as_ref().unwrap().text, "mine\n");
    fake.carry_out(&other);
    let undo = fake.undo(&other.state, false).unwrap();
    assert_eq!((short(&undo.changes), &undo.state), (vec!["b.slice 1>1".to_owned()], &State::default()));
    fake.carry_out(&undo);
    assert_eq!(fake.text(&format!("etc/b.slice.d{DROP_IN}")), "mine\n");
    assert_eq!(fs::read_dir(&fake.targets.units).unwrap().count(), 1, "what was made is gone");
}

#[test]
fn an_edited_drop_in_is_only_overwritten_by_force() {
    let fake = Fake::new();
    let rules = [rule("a.slice", "0")];
    let plan = fake.plan(Setter::Systemd, &rules, &State::default()).unwrap();
    fake.carry_out(&plan);
    fake.tree.put(&format!("etc/a.slice.d{DROP_IN}"), "edited\n");
    for refused in [fake.undo(&plan.state, false), fake.plan(Setter::Systemd, &rules, &plan.state)] {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("a.slice.d/50-procwatch-layout.conf: was changed since"), "{error}");
    }
    assert_eq!(short(&fake.undo(&plan.state, true).unwrap().changes), ["a.slice 1>0"]);
    // Somebody has taken it away already: that is as it was before.
    fs::remove_dir_all(fake.targets.folder("a.slice")).unwrap();
    assert!(fake.undo(&plan.state, false).unwrap().changes.is_empty());
}

#[test]
fn cgroupfs_gets_controllers_from_above_and_cpus_in_a_safe_order() {
    let fake = Fake::new();
    fake.tree.put("cgroup.subtree_control", "memory\n");
    fake.tree.put("a/cgroup.subtree_control", "\n");
    fake.tree.put("a/b/cgroup.subtree_control", "\n");
    let rules = [rule("/a/b", "1"), rule("/a", "0-1")];
    let plan = fake.plan(Setter::Cgroupfs, &rules, &State::default()).unwrap();
    assert_eq!(short(&plan.changes), ["/ true", "/a true", "/a/b >1", "/a >0-1"]);

    // As the kernel would have it then.
    fake.tree.cgroup("a", "0-1", "0-1");
    fake.tree.cgroup("a/b", "1", "1");
    fake.tree.put("cgroup.subtree_control", "memory cpuset\n");
    let again = fake.plan(Setter::Cgroupfs, &rules, &plan.state).unwrap();
    assert_eq!((short(&again.changes), &again.state), (Vec::new(), &plan.state));
    let wider = fake.plan(Setter::Cgroupfs, &[rule("/a/b", "1-3"), rule("/a", "0-3")], &plan.state).unwrap();
    assert_eq!(short(&wider.changes), ["/a 0-1>0-3", "/a/b 1>1-3"]);
    let undo = fake.undo(&plan.state, false).unwrap();
    assert_eq!(short(&undo.changes), ["/a 0-1>", "/a/b 1>", "/a false", "/ false"]);
    fake.tree.put("a/b/cpuset.cpus", "2\n");
    let error = fake.undo(&plan.state, false).unwrap_err().to_string();
    assert!(error.contains("a/b/cpuset.cpus: was changed since"), "{error}");
    fs::remove_dir_all(fake.targets.hierarchy.join("a")).unwrap();
    assert_eq!(
        short(&fake.undo(&plan.state, false).unwrap().changes),
        ["/ false"],
        "what is gone needs nothing"
    );
}

#[test]
fn what_cannot_be_set_is_refused() {
    let fake = Fake::new();
    let refused =
        |setter, slice| fake.plan(setter, &[rule(slice, "0")], &State::default()).unwrap_err().to_string();
    assert!(refused(Setter::Systemd, "/a/b").contains("/a/b: its name is no unit's"));
    assert!(refused(Setter::Cgroupfs, "/a/b").contains("/a/b does not exist"));
    fake.tree.put("cgroup.controllers", "pids\n");
    assert!(refused(Setter::Cgroupfs, "/a/b").contains("has no cpuset controller"));
}
