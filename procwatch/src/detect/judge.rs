//! Who is placed: the rule, what is known of a process, and the reason for what is done about it.

use crate::{
    cgroup::CgroupPath,
    config::PlaceRule,
    event::{Forebear, ProcessKey, Subject},
    execute::is_unit_of_ours,
    record::Reason,
    text::Text,
};

/// What is known of a process that a rule speaks of.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// The process.
    pub subject: &'a Subject,
    /// Its cgroup; `None` when that is gone.
    pub cgroup: Option<&'a CgroupPath>,
    /// The innermost cgroup at or above that which was delegated: to the user's own manager, or to any other but those
    /// of users.
    pub delegated: Option<&'a CgroupPath>,
    /// It is a thread of the kernel.
    pub is_kernel_thread: bool,
    /// It has a pid or cgroup namespace of its own.
    pub is_in_other_namespace: bool,
    /// The program that it runs, or is about to run; `None` when that is not known or does not matter.
    pub exe: Option<&'a Text>,
    /// Its ancestors, nearest first.
    pub ancestors: &'a [Forebear],
}

/// What is done about a process, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Why.
    pub reason: Reason,
    /// What shows it, escaped, where the reason alone does not say.
    pub evidence: Option<String>,
    /// It holds for all of the same user and rule in the same cgroup.
    pub of_cgroup: bool,
}

impl Judgement {
    const fn bare(reason: Reason) -> Self {
        Self { reason, evidence: None, of_cgroup: false }
    }

    const fn shown_by(reason: Reason, evidence: String) -> Self {
        Self { reason, evidence: Some(evidence), of_cgroup: false }
    }

    const fn of_cgroup(reason: Reason, evidence: String) -> Self {
        Self { reason, evidence: Some(evidence), of_cgroup: true }
    }
}

/// Decides about one process. The first reason that holds is the one that is told.
pub fn judge(rule: &PlaceRule, candidate: &Candidate<'_>) -> Judgement {
    let subject = candidate.subject;
    if candidate.is_kernel_thread {
        return Judgement::bare(Reason::KernelThread);
    }
    if subject.pid == 1 || subject.pid == std::process::id() {
        return Judgement::bare(Reason::Protected);
    }
    if subject.uid != subject.euid {
        let evidence = format!("real uid {}, effective uid {}", subject.uid, subject.euid);
        return Judgement::shown_by(Reason::ForAMoment, evidence);
    }
    let Some(cgroup) = candidate.cgroup else {
        return Judgement::shown_by(Reason::NotInFrom, "its cgroup is gone".to_owned());
    };
    if cgroup.is_within(rule.slice.path()) {
        return Judgement::shown_by(Reason::AlreadyInside, cgroup.to_string());
    }
    if candidate.is_in_other_namespace {
        return Judgement::bare(Reason::OtherNamespace);
    }
    if let Some(reason) = never_left(cgroup) {
        return Judgement::of_cgroup(reason, cgroup.to_string());
    }
    if !rule.from.iter().any(|from| cgroup.is_within(from.path())) {
        return Judgement::of_cgroup(Reason::NotInFrom, cgroup.to_string());
    }
    if let Some(delegated) = candidate.delegated {
        return Judgement::of_cgroup(Reason::DelegatedSubtree, delegated.to_string());
    }
    ignored(rule, candidate, cgroup)
        .or_else(|| main_pid(candidate, cgroup))
        .unwrap_or(Judgement::bare(Reason::OutsideSlice))
}

/// The reason for which nobody is ever taken from there: services, and containers. A rule may take from all that is around.
pub fn never_left(cgroup: &CgroupPath) -> Option<Reason> {
    match cgroup.names().next() {
        Some("system.slice" | "init.scope") => Some(Reason::SystemService),
        Some("machine.slice") => Some(Reason::OtherNamespace),
        _ => None,
    }
}

fn ignored(rule: &PlaceRule, candidate: &Candidate<'_>, cgroup: &CgroupPath) -> Option<Judgement> {
    if let Some(unit) = rule.ignore.unit(cgroup) {
        let unit = crate::text::escape(unit.as_bytes());
        return Some(Judgement::of_cgroup(Reason::Ignored, format!("unit {unit}")));
    }
    let comm = candidate.subject.comm;
    if rule.ignore.comm(comm) {
        return Some(Judgement::shown_by(Reason::Ignored, format!("comm {comm}")));
    }
    let exe = candidate.exe.filter(|exe| rule.ignore.exe(exe))?;
    Some(Judgement::shown_by(Reason::Ignored, format!("exe {exe}")))
}

/// A child of a service manager in a service is what the manager knows the service by: moved away, it would be lost to
/// it. A process that is orphaned in a service is the manager's child, too, and is left alone as well, to be safe; but in
/// a service of ours there are such orphans only.
fn main_pid(candidate: &Candidate<'_>, cgroup: &CgroupPath) -> Option<Judgement> {
    let mut unit = cgroup.clone();
    while !is_unit(unit.name()?) {
        unit = unit.parent()?;
    }
    if is_unit_of_ours(&unit) {
        return None;
    }
    let unit = unit.name()?;
    let parent = candidate.ancestors.first()?;
    let by_manager = parent.key.pid == 1 || parent.comm.as_bytes() == b"systemd";
    let evidence = || format!("of {}", crate::text::escape(unit.as_bytes()));
    (unit.ends_with(".service") && by_manager).then(|| Judgement::shown_by(Reason::MainPid, evidence()))
}

fn is_unit(name: &str) -> bool {
    [".service", ".scope", ".slice"].iter().any(|ending| name.ends_with(ending))
}

/// The first process of the `su` session that a process belongs to: the farthest ancestor in an unbroken line of its
/// own uid.
pub fn session_leader(subject: &Subject, ancestors: &[Forebear]) -> ProcessKey {
    let own = ancestors.iter().take_while(|ancestor| ancestor.uid == subject.uid);
    own.last().map_or(subject.key(), |ancestor| ancestor.key)
}

/// Its lineage up to the process of another uid that made the session's first one: the `su`.
pub fn lineage_to_su<'a>(subject: &Subject, ancestors: &'a [Forebear]) -> &'a [Forebear] {
    let own = ancestors.iter().take_while(|ancestor| ancestor.uid == subject.uid).count();
    &ancestors[..ancestors.len().min(own + 1)]
}

#[cfg(test)]
mod tests;
