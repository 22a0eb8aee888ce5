//! The placement rules as a status shows them.

use std::fs;

use super::{Placer, Rule};
use crate::{cgroup::resolve::resolve, status::PlaceRuleStatus};

impl Placer {
    /// Each rule, with how its slice is now.
    pub fn rows(&self) -> Vec<PlaceRuleStatus> {
        self.rules.iter().map(|rule| self.row(rule)).collect()
    }

    fn row(&self, rule: &Rule) -> PlaceRuleStatus {
        let slice = &rule.written.slice;
        let file = self.mount.point.join(slice.path().relative()).join("cpuset.cpus.effective");
        // It is not there where the kernel has no cpuset for the slice.
        let cpus =
            fs::read_to_string(file).ok().map(|cpus| cpus.trim().to_owned()).filter(|cpus| !cpus.is_empty());
        PlaceRuleStatus {
            rule: rule.written.described.clone(),
            slice: slice.to_string(),
            present: resolve(&self.mount, slice).is_ok(),
            cpus,
        }
    }
}
