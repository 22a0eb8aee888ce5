//! What is known of a process that a rule speaks of, besides what the kernel program told.

use std::path::PathBuf;

use rustix::fs::getxattr;

use crate::{
    cgroup::{CgroupPath, Mount},
    config::PlaceRule,
    convert::CgroupPaths,
    detect::{Place, judge::Candidate},
    event::Subject,
    inspect,
    record::SeenAt,
    text::{Comm, Text},
};

/// Extended attributes by which systemd marks what it has delegated: the first from 251 on.
const DELEGATED: [&str; 2] = ["user.delegate", "trusted.delegate"];

/// Finds out what a decision needs.
pub(super) struct Facts {
    mount: PathBuf,
    /// What was found of the cgroup that was asked about last: in a sweep many processes are in the same one.
    last: Option<(u64, Option<CgroupPath>)>,
}

/// What was found out.
pub(super) struct Found {
    subject: Subject,
    cgroup: Option<CgroupPath>,
    delegated: Option<CgroupPath>,
    exe: Option<Text>,
}

impl Facts {
    pub(super) fn new(mount: &Mount) -> Self {
        Self { mount: mount.point.clone(), last: None }
    }

    /// A cgroup may have been delegated since it was looked at.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    pub(super) fn of(&mut self, place: &Place, rule: &PlaceRule, names: &mut impl CgroupPaths) -> Found {
        let id = place.subject.cgroup_id;
        let cgroup = path(names, id);
        let delegated = match self.last.take() {
            Some((last, delegated)) if last == id => delegated,
            _ => cgroup.as_ref().and_then(|cgroup| delegated(&self.mount, cgroup)),
        };
        self.last = Some((id, delegated.clone()));
        let exe = if rule.ignore.exes.is_empty() { None } else { exe(place) };
        Found { subject: as_will_be(place), cgroup, delegated, exe }
    }
}

impl Found {
    /// A stray of the kernel programs is no kernel thread and in no other namespace: they say so themselves.
    pub(super) fn candidate<'a>(&'a self, place: &'a Place) -> Candidate<'a> {
        Candidate {
            subject: &self.subject,
            cgroup: self.cgroup.as_ref(),
            delegated: self.delegated.as_ref(),
            is_kernel_thread: false,
            is_in_other_namespace: false,
            exe: self.exe.as_ref(),
            ancestors: &place.provenance.ancestors,
        }
    }
}

/// The path of a cgroup; `None` when it is gone, or is no UTF-8.
pub(super) fn path(names: &mut impl CgroupPaths, cgroup_id: u64) -> Option<CgroupPath> {
    let path = names.path(cgroup_id)?;
    CgroupPath::parse(std::str::from_utf8(path.as_bytes()).ok()?).ok()
}

/// The innermost cgroup at or above this one that was delegated, but for those of users' own managers.
pub(crate) fn delegated(mount: &std::path::Path, cgroup: &CgroupPath) -> Option<CgroupPath> {
    let is_delegated = |path: &CgroupPath| {
        let folder = mount.join(path.relative());
        let mut value = [0; 2];
        DELEGATED
            .iter()
            .any(|name| getxattr(&folder, *name, &mut value).is_ok_and(|len| value[..len] == *b"1"))
    };
    let is_managers = |path: &CgroupPath| {
        path.names().last().is_some_and(|name| name.starts_with("user@") && name.ends_with(".service"))
    };
    let mut above = Some(cgroup.clone());
    while let Some(path) = above {
        if !is_managers(&path) && is_delegated(&path) {
            return Some(path);
        }
        above = path.parent();
    }
    None
}

/// The program: the file that is being run, where it is told with its whole path, or else what /proc says.
fn exe(place: &Place) -> Option<Text> {
    let told = place.file.clone().filter(|file| file.as_bytes().starts_with(b"/"));
    told.or_else(|| inspect::exe(place.subject.key()))
}

/// A process whose exec is held will bear the name of its new program.
fn as_will_be(place: &Place) -> Subject {
    let mut subject = place.subject.clone();
    if place.seen_at == SeenAt::Hold
        && let Some(file) = &place.file
    {
        subject.comm = Comm::of_file(file.as_bytes());
    }
    subject
}
