//! Slices: who lives in them, on which cores, and who of their users lives elsewhere.

use std::collections::HashMap;

use super::Row;
use crate::status::PlaceRuleStatus;

/// Where processes are that are in no slice.
const NONE: &str = "(none)";

/// A slice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// Its name, escaped.
    pub name: String,
    /// Processes in it.
    pub processes: u64,
    /// Their threads.
    pub threads: u64,
    /// How many threads more than in the picture before.
    pub growth: i64,
    /// Processes of its user that are in other slices; `None` for a slice of no one user.
    pub elsewhere: Option<u64>,
    /// What its placement rule says of it; `None` when there is none.
    pub rule: Option<SliceRule>,
}

/// A slice as a placement rule has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SliceRule {
    /// CPUs that processes in it may use now, such as `4-19`.
    pub cpus: Option<String>,
    /// Whether it is there.
    pub is_present: bool,
    /// The rule in words, escaped.
    pub rule: String,
}

/// The slice that a cgroup is in: the innermost of those with which its path begins, or the first of these that is of a rule.
/// Slices of a user's own manager are parts of the user's slice.
pub fn slice_of<'p>(cgroup: &'p str, rules: &[&str]) -> Option<&'p str> {
    let parts = cgroup.split('/').filter(|part| !part.is_empty());
    let slices = parts.take_while(|part| part.strip_suffix(".slice").is_some());
    let mut innermost = None;
    for slice in slices {
        if rules.contains(&slice) {
            return Some(slice);
        }
        innermost = Some(slice);
    }
    innermost
}

/// All slices with somebody in them, and those of rules: these first, in their order, the others by threads.
pub fn slices(rules: &[PlaceRuleStatus], rows: &[Row]) -> Vec<Slice> {
    let names: Vec<&str> = rules.iter().map(|rule| last_part(&rule.slice)).collect();
    let mut found: HashMap<String, Slice> = HashMap::new();
    let mut by_user: HashMap<u32, (u64, HashMap<String, u64>)> = HashMap::new();
    for row in rows {
        let cgroup = row.process.cgroup.as_ref().map(ToString::to_string).unwrap_or_default();
        let name = slice_of(&cgroup, &names).unwrap_or(NONE);
        let slice = found.entry(name.to_owned()).or_default();
        slice.processes += 1;
        slice.threads += u64::from(row.process.threads);
        slice.growth += row.growth;
        let (total, inside) = by_user.entry(row.process.uid).or_default();
        *total += 1;
        *inside.entry(name.to_owned()).or_default() += 1;
    }
    for (name, rule) in names.iter().zip(rules) {
        let slice = found.entry((*name).to_owned()).or_default();
        // The first rule of a slice speaks for it: they all tell the same of its CPUs.
        slice.rule.get_or_insert_with(|| SliceRule {
            cpus: rule.cpus.clone(),
            is_present: rule.present,
            rule: rule.rule.clone(),
        });
    }
    let mut slices: Vec<Slice> = found
        .into_iter()
        .map(|(name, slice)| {
            let user = uid_of(&name).map(|uid| by_user.get(&uid));
            let elsewhere = user.map(|user| {
                user.map_or(0, |(total, inside)| total - inside.get(&name).copied().unwrap_or(0))
            });
            Slice { name, elsewhere, ..slice }
        })
        .collect();
    let place = |name: &str| names.iter().position(|other| *other == name).unwrap_or(usize::MAX);
    slices.sort_by(|a, b| {
        place(&a.name)
            .cmp(&place(&b.name))
            .then_with(|| b.threads.cmp(&a.threads))
            .then_with(|| a.name.cmp(&b.name))
    });
    slices
}

/// A rule may name its slice by its path.
fn last_part(slice: &str) -> &str {
    slice.trim_end_matches('/').rsplit('/').next().unwrap_or(slice)
}

/// `user-1003.slice` is the slice of uid 1003.
fn uid_of(slice: &str) -> Option<u32> {
    slice.strip_prefix("user-")?.strip_suffix(".slice")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        status::ProcessRow,
        top::samples::{place_rule, process, row},
    };

    fn row_in(cgroup: &str, uid: u32, threads: u32) -> Row {
        row(ProcessRow { cgroup: Some(cgroup.into()), uid, ..process(7, threads) })
    }

    #[test]
    fn a_cgroup_is_in_the_slice_that_its_path_begins_with() {
        for (cgroup, slice) in [
            ("/user.slice/user-1003.slice/session-4.scope", Some("user-1003.slice")),
            ("/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope", Some("user-1000.slice")),
            ("/system.slice/cron.service", Some("system.slice")),
            ("/ai.slice/ai-train.slice/x.service", Some("ai.slice")),
            ("/init.scope", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(slice_of(cgroup, &["ai.slice"]), slice, "{cgroup}");
        }
    }

    #[test]
    fn slices_of_rules_come_first_and_tell_who_is_elsewhere() {
        let rules = [place_rule("user-1003.slice", Some("4-19")), place_rule("/ai.slice", None)];
        let rows = [
            row_in("/user.slice/user-1003.slice/a.scope", 1003, 10),
            Row { growth: 7, ..row_in("/user.slice/user-1003.slice/b.scope", 1003, 5) },
            row_in("/user.slice/user-1000.slice/c.scope", 1003, 2),
            row_in("/user.slice/user-1000.slice/c.scope", 1000, 1),
            row_in("/system.slice/d.service", 0, 90),
            row_in("/init.scope", 0, 1),
        ];
        let slices = slices(&rules, &rows);
        let told: Vec<(&str, u64, u64, i64, Option<u64>)> = slices
            .iter()
            .map(|it| (it.name.as_str(), it.processes, it.threads, it.growth, it.elsewhere))
            .collect();
        assert_eq!(
            told,
            [
                ("user-1003.slice", 2, 15, 7, Some(1)),
                ("ai.slice", 0, 0, 0, None),
                ("system.slice", 1, 90, 0, None),
                ("user-1000.slice", 2, 3, 0, Some(0)),
                ("(none)", 1, 1, 0, None),
            ]
        );
        assert_eq!(slices[0].rule.as_ref().unwrap().cpus.as_deref(), Some("4-19"));
        assert!(slices[1].rule.as_ref().is_some_and(|rule| rule.cpus.is_none()) && slices[2].rule.is_none());
    }
}
