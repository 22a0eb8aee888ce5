//! The configuration, held against this machine.

use std::path::Path;

use serde::Serialize;

use super::Verdict;
use crate::{
    cgroup::{
        Mount, MountError, SliceRef,
        resolve::{resolve, systemd_runs},
    },
    config::{self, Config, DEFAULT_FOLDER, PlaceRule, outlet::OutletRule},
    layout::{
        facts::{CPU_FOLDER, Facts, Sources},
        judge,
    },
    outlets::obstacles,
    record::Mode,
    text::escape,
};

/// What a configuration says and what is wrong with it.
#[derive(Debug, Default, Serialize)]
pub(super) struct ConfigReport {
    /// The files that it was read from, escaped.
    pub(super) files: Vec<String>,
    /// `observe` or `enforce`; absent when the files are bad.
    pub(super) mode: Option<&'static str>,
    /// Thread counts that raise an alert where no rule says otherwise.
    pub(super) levels: Vec<u32>,
    /// Its rules on threads in words, escaped, without the built-in one.
    pub(super) threads: Vec<String>,
    /// Its placement rules.
    pub(super) rules: Vec<RuleReport>,
    /// Its outlets.
    pub(super) outlets: Vec<OutletReport>,
    /// What is wrong with the files, a line each.
    pub(super) problems: Vec<String>,
}

/// A placement rule and what it means here.
#[derive(Debug, Serialize)]
pub(super) struct RuleReport {
    /// The rule in words.
    pub(super) rule: String,
    /// File and line.
    pub(super) location: String,
    /// Whose processes: `uid 1003` or `gid 1003`.
    pub(super) owner: String,
    /// Where they belong, as written.
    pub(super) slice: String,
    /// Its path below the cgroup2 mount.
    pub(super) path: String,
    /// Its cgroup id; absent when it does not exist.
    pub(super) cgroup_id: Option<u64>,
    /// Why the rule cannot be carried out.
    pub(super) problem: Option<String>,
    /// Sources that do not exist now: nothing can be taken from them.
    pub(super) notes: Vec<String>,
}

/// An outlet and whether it can work here.
#[derive(Debug, Serialize)]
pub(super) struct OutletReport {
    /// The outlet in words.
    pub(super) outlet: String,
    /// File and line.
    pub(super) location: String,
    /// `webhook`, `mail`, `command` or `wall`.
    pub(super) kind: &'static str,
    /// What stands in its way: the agent runs all the same, and tries.
    pub(super) notes: Vec<String>,
}

impl OutletReport {
    fn new(rule: &OutletRule) -> Self {
        Self {
            outlet: rule.described.clone(),
            location: rule.location.to_string(),
            kind: rule.outlet.kind.name(),
            notes: obstacles(&rule.outlet),
        }
    }
}

impl ConfigReport {
    /// Reads the file, or those in /etc/procwatch. `None` when there are none.
    pub(super) fn make(file: Option<&Path>) -> Option<Self> {
        if file.is_none() && !config::default_files_exist(Path::new(DEFAULT_FOLDER)) {
            return None;
        }
        Some(match config::load(file) {
            Ok(config) => Self::held_against(&config, &Mount::find()),
            Err(error) => {
                let problems = error.problems.iter().map(ToString::to_string).collect();
                Self { problems, ..Self::default() }
            }
        })
    }

    fn held_against(config: &Config, mount: &Result<Mount, MountError>) -> Self {
        let files = config.files.iter().map(|file| escape(file.as_os_str().as_encoded_bytes()).into_owned());
        Self {
            files: files.collect(),
            mode: Some(match config.mode {
                Mode::Observe => "observe",
                Mode::Enforce => "enforce",
            }),
            levels: config.default_levels().to_vec(),
            threads: config
                .threads
                .iter()
                .filter(|rule| rule.location.is_some())
                .map(|rule| rule.described.clone())
                .collect(),
            rules: config.place.iter().map(|rule| RuleReport::new(rule, mount)).collect(),
            outlets: config.outlets.iter().map(OutletReport::new).collect(),
            problems: Vec::new(),
        }
    }

    /// How many things keep procwatch from running with it.
    pub(super) fn count_bad(&self) -> usize {
        self.problems.len() + self.rules.iter().filter(|rule| rule.problem.is_some()).count()
    }

    pub(super) fn verdict(&self) -> Verdict {
        if self.count_bad() > 0 {
            Verdict::Bad
        } else if self.rules.iter().any(|rule| !rule.notes.is_empty())
            || self.outlets.iter().any(|outlet| !outlet.notes.is_empty())
        {
            Verdict::Loss
        } else {
            Verdict::Good
        }
    }
}

impl RuleReport {
    fn new(rule: &PlaceRule, mount: &Result<Mount, MountError>) -> Self {
        let id = |slice: &SliceRef| match mount {
            Ok(mount) => resolve(mount, slice).map(|found| found.id).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let target = id(&rule.slice);
        let may_come = target.is_err() && mount.is_ok() && rule.slice.unit().is_some() && systemd_runs();
        // Where the mount itself is the problem, one line says it.
        let sources = if mount.is_ok() { &rule.from[..] } else { &[] };
        let mut notes: Vec<String> =
            sources.iter().filter_map(|from| id(from).err()).map(|why| format!("from {why}")).collect();
        if may_come {
            let slice = &rule.slice;
            notes.push(format!(
                "slice {slice} is not there now; the agent makes it in mode enforce, else it waits"
            ));
        }
        Self {
            rule: rule.described.clone(),
            location: rule.location.to_string(),
            owner: rule.owner.shown(),
            slice: rule.slice.to_string(),
            path: rule.slice.path().to_string(),
            cgroup_id: target.as_ref().ok().copied(),
            notes,
            problem: target
                .err()
                .filter(|_| !may_come)
                .map(|why| format!("slice {why}"))
                .or_else(|| threaded(rule, mount)),
        }
    }
}

/// A slice that a process was written into: nobody can be moved to it, and its user's next login fails.
fn threaded(rule: &PlaceRule, mount: &Result<Mount, MountError>) -> Option<String> {
    let sources = Sources { hierarchy: mount.as_ref().ok()?.point.clone(), cpus: CPU_FOLDER.into() };
    let facts = Facts::gather(&sources, std::slice::from_ref(&rule.slice), None).ok()?;
    Some(format!("slice {}", judge::threaded(rule.slice.path(), &facts)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const RULE: &str = "mode='enforce'\n[[place]]\nuid=1003\nslice='/a/target'\nfrom=['/a/from']\n";

    /// A report on [`RULE`] in a tree with these cgroups.
    fn report(cgroups: &[&str]) -> ConfigReport {
        let tree = tempfile::tempdir().unwrap();
        for name in cgroups {
            fs::create_dir_all(tree.path().join(name)).unwrap();
        }
        let file = tree.path().join("x.toml");
        fs::write(&file, RULE).unwrap();
        let mount = crate::samples::mount(tree.path());
        ConfigReport::held_against(&config::load(Some(&file)).unwrap(), &Ok(mount))
    }

    #[test]
    fn a_rule_whose_cgroups_are_there_is_good() {
        let report = report(&["a/target", "a/from"]);
        assert_eq!((report.verdict(), report.mode), (Verdict::Good, Some("enforce")));
        assert!(report.rules[0].cgroup_id.is_some());
    }

    #[test]
    fn without_its_slice_a_rule_is_bad_and_without_its_source_it_does_nothing() {
        let no_source = report(&["a/target"]);
        assert_eq!(no_source.verdict(), Verdict::Loss);
        assert!(no_source.rules[0].notes[0].starts_with("from /a/from: there is no such cgroup"));
        let no_slice = report(&["a/from"]);
        assert_eq!(no_slice.verdict(), Verdict::Bad);
        assert!(no_slice.rules[0].problem.as_ref().unwrap().starts_with("slice /a/target: there is no such"));
    }

    #[test]
    fn a_slice_that_was_written_into_is_named() {
        let tree = tempfile::tempdir().unwrap();
        let target = tree.path().join("a/target");
        fs::create_dir_all(&target).unwrap();
        fs::write(target.join("cgroup.type"), "domain threaded\n").unwrap();
        fs::write(target.join("cgroup.procs"), "1\n").unwrap();
        let file = tree.path().join("x.toml");
        fs::write(&file, RULE).unwrap();
        let mount = crate::samples::mount(tree.path());
        let report = ConfigReport::held_against(&config::load(Some(&file)).unwrap(), &Ok(mount));
        let problem = report.rules[0].problem.as_ref().unwrap();
        assert!(
            problem.starts_with("slice /a/target is \"domain threaded\"") && problem.contains("pid 1"),
            "{problem}"
        );
        assert_eq!(report.verdict(), Verdict::Bad);
    }

    #[test]
    fn an_outlet_that_cannot_work_here_is_a_loss() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.toml");
        let outlet = "[[outlet]]\nname = 'page'\nkind = 'command'\ncommand = ['/no/such']\nrun-as = 'root'\n";
        fs::write(&file, outlet).unwrap();
        let report = ConfigReport::held_against(&config::load(Some(&file)).unwrap(), &Err(MountError::None));
        assert_eq!(report.verdict(), Verdict::Loss);
        let OutletReport { outlet, kind, notes, .. } = &report.outlets[0];
        assert_eq!((outlet.as_str(), *kind), ("outlet[1] page", "command"));
        assert_eq!(notes, &["/no/such: there is no such file; install it"]);
    }

    #[test]
    fn without_a_mount_no_rule_can_be_carried_out() {
        let tree = tempfile::tempdir().unwrap();
        let file = tree.path().join("x.toml");
        fs::write(&file, RULE).unwrap();
        let report = ConfigReport::held_against(&config::load(Some(&file)).unwrap(), &Err(MountError::None));
        assert_eq!((report.count_bad(), report.rules[0].notes.len()), (1, 0));
    }
}
