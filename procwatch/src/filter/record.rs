//! The same criteria for records that the agent tells by itself: it has no event of them any more.

use super::{Filter, is_below};
use crate::record::Process;

impl Filter {
    /// Whether a record about this process is wanted, its kind aside. As for an event, a cgroup whose path is not known
    /// matches.
    pub fn fits(&self, process: &Process) -> bool {
        self.fits_pid(process)
            && self.fits_uid(process)
            && self.fits_comm(process)
            && self.fits_cgroup(process)
    }

    fn fits_pid(&self, process: &Process) -> bool {
        match &self.watched {
            Some(watched) => watched.has(process.pid) || watched.has(process.ppid),
            None => self.pids.is_empty() || self.pids.contains(&process.pid),
        }
    }

    fn fits_uid(&self, process: &Process) -> bool {
        self.uids.is_empty() || self.uids.contains(&process.uid) || self.uids.contains(&process.euid)
    }

    fn fits_comm(&self, process: &Process) -> bool {
        self.comms.is_empty() || self.comms.contains(&process.comm)
    }

    fn fits_cgroup(&self, process: &Process) -> bool {
        let Some(wanted) = &self.cgroup else { return true };
        process.cgroup.as_ref().is_none_or(|path| is_below(path, wanted))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{filter::WhoArgs, samples};

    fn fits(who: &WhoArgs) -> bool {
        Filter::new(BTreeSet::new(), who).unwrap().fits(&samples::process())
    }

    #[test]
    fn all_criteria_must_agree() {
        let all = WhoArgs {
            uid: vec![1000],
            comm: vec!["python3".to_owned()],
            pid: vec![4242],
            cgroup: Some("/user.slice".to_owned()),
            ..WhoArgs::default()
        };
        assert!(fits(&WhoArgs::default()) && fits(&all));
        assert!(!fits(&WhoArgs { uid: vec![1001], ..all.clone() }));
        assert!(!fits(&WhoArgs { comm: vec!["python".to_owned()], ..all.clone() }));
        assert!(!fits(&WhoArgs { pid: vec![100], ..all.clone() }), "the parent is another process");
        assert!(!fits(&WhoArgs { cgroup: Some("/user".to_owned()), ..all.clone() }));
        assert!(fits(&WhoArgs { pid: vec![100], children: true, ..all }), "a child of the one named");
    }

    #[test]
    fn an_unknown_cgroup_is_one_too_many() {
        let who = WhoArgs { cgroup: Some("/system.slice".to_owned()), ..WhoArgs::default() };
        let filter = Filter::new(BTreeSet::new(), &who).unwrap();
        assert!(!filter.fits(&samples::process()));
        assert!(filter.fits(&Process { cgroup: None, ..samples::process() }));
    }
}
