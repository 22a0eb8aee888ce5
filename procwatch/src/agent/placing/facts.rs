//! What is known of a process that a rule speaks of, besides what the kernel program told.

use std::path::{Path, PathBuf};

use rustix::fs::getxattr;

use crate::{
    cgroup::{CgroupPath, Mount},
    config::PlaceRule,
    convert::CgroupPaths,
    detect::{Place, judge::Candidate},
    event::Subject,
    execute::is_unit_of_ours,
    inspect,
    record::SeenAt,
    text::{Comm, Text},
};

/// Extended attributes by which systemd marks what it has delegated: the first from 251 on.
const DELEGATED: [&str; 2] = ["user.delegate", "trusted.delegate"];

/// Finds out what a decision needs.
pub(super) struct Facts {
    mount: PathBuf,
    /// What was found of the cgroup and user asked about last: in a sweep many processes are in the same one.
    last: Option<([u64; 2], Option<CgroupPath>)>,
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
        let Subject { cgroup_id, uid, .. } = place.subject;
        let (cgroup, asked) = (path(names, cgroup_id), [cgroup_id, uid.into()]);
        let delegated = match self.last.take() {
            Some((last, delegated)) if last == asked => delegated,
            _ => cgroup.as_ref().and_then(|cgroup| delegated(&self.mount, cgroup, uid)),
        };
        self.last = Some((asked, delegated.clone()));
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

/// The innermost cgroup at or above this one that was delegated, as far as that concerns processes of `uid`. Units of
/// ours are nobody's, and in another user's manager only terminals are found; but what is below the user's own manager
/// is that one's.
pub(crate) fn delegated(mount: &Path, cgroup: &CgroupPath, uid: u32) -> Option<CgroupPath> {
    let is_delegated = |path: &CgroupPath| {
        let folder = mount.join(path.relative());
        let mut value = [0; 2];
        DELEGATED
            .iter()
            .any(|name| getxattr(&folder, *name, &mut value).is_ok_and(|len| value[..len] == *b"1"))
    };
    let mut above = Some(cgroup.clone());
    while let Some(path) = above {
        let is_others = match path.name().and_then(managed_user) {
            // As the system's manager makes it: what a user calls his own cgroups says nothing.
            Some(user) => user == uid.to_string() && path.parent().is_some_and(|it| it.is_slice()),
            None => !is_unit_of_ours(&path) && is_delegated(&path),
        };
        if is_others {
            return Some(path);
        }
        above = path.parent();
    }
    None
}

/// The user whose manager a unit of this name is.
fn managed_user(unit: &str) -> Option<&str> {
    unit.strip_prefix("user@")?.strip_suffix(".service")
}

/// The program: the file that is being run, as it was given to exec, or else what /proc says. While an exec is held /proc
/// says what ran before, which is no answer.
fn exe(place: &Place) -> Option<Text> {
    let key = place.subject.key();
    match &place.file {
        Some(file) if file.as_bytes().starts_with(b"/") => Some(plain(file.as_bytes())),
        Some(file) if place.seen_at == SeenAt::Hold => {
            let whole = [inspect::cwd(key)?.as_bytes(), b"/", file.as_bytes()].concat();
            Some(plain(&whole))
        }
        _ => inspect::exe(key),
    }
}

/// A path from the root without `.`, `..` and empty names, by its text alone: to look at the files on the way could take
/// for ever.
fn plain(path: &[u8]) -> Text {
    let mut names = Vec::new();
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    Text::new([&b"/"[..], &names.join(&b'/')].concat())
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

#[cfg(test)]
mod tests {
    use rustix::fs::{XattrFlags, setxattr};

    use super::*;
    use crate::{
        event::{BootTime, Provenance},
        samples,
    };

    #[test]
    fn a_users_own_manager_has_its_processes_and_a_terminal_of_anothers_has_not() {
        let tree = tempfile::tempdir().unwrap();
        let found = |cgroup: &str, uid| {
            let found = delegated(tree.path(), &CgroupPath::parse(cgroup).unwrap(), uid);
            found.map(|path| path.to_string())
        };
        let manager = "/user.slice/user-1005.slice/user@1005.service";
        for inner in ["", "/init.scope", "/app.slice/vte-1.scope"] {
            let cgroup = format!("{manager}{inner}");
            assert_eq!(found(&cgroup, 1005).as_deref(), Some(manager), "{cgroup}");
            assert_eq!(found(&cgroup, 1003), None, "{cgroup}");
        }
        let feigned = "/user.slice/user-1000.slice/user@1000.service/user@1005.service";
        assert_eq!(found(feigned, 1005), None);
    }

    #[test]
    fn paths_are_made_plain() {
        for (path, plain_path) in [
            ("/opt/backup/run", "/opt/backup/run"),
            ("/opt/backup/../../tmp/x", "/tmp/x"),
            ("//opt/./backup//run", "/opt/backup/run"),
            ("/../..", "/"),
        ] {
            assert_eq!(plain(path.as_bytes()), Text::from(plain_path), "{path}");
        }
    }

    #[test]
    fn at_a_hold_the_program_is_the_one_that_is_to_run() {
        let of = |file: Option<&str>, seen_at| {
            exe(&Place {
                time: BootTime(0),
                subject: samples::me(),
                rule: 0,
                seen_at,
                file: file.map(Text::from),
                provenance: Provenance::default(),
            })
        };
        let own = inspect::exe(samples::me().key());
        let here = std::env::current_dir().unwrap();
        let relative = Text::new(here.parent().unwrap().join("x").as_os_str().as_encoded_bytes());
        assert_eq!(of(Some("../x"), SeenAt::Hold), Some(relative));
        assert_eq!(of(Some("../x"), SeenAt::Exec), own, "it runs by now");
        assert_eq!(of(Some("/a/../b"), SeenAt::Exec), Some("/b".into()));
        assert_eq!(of(None, SeenAt::Picture), own);
    }

    #[test]
    fn units_of_ours_are_nobodys_delegation() {
        let tree = tempfile::tempdir().unwrap();
        let cgroup = |text: &str| {
            let path = CgroupPath::parse(text).unwrap();
            let folder = tree.path().join(path.relative());
            std::fs::create_dir_all(&folder).unwrap();
            // Which of them there may be is the file system's matter.
            let set = |name: &&str| setxattr(&folder, *name, b"1", XattrFlags::empty()).is_ok();
            DELEGATED.iter().any(set).then_some(path)
        };
        let Some(container) = cgroup("/user.slice/libpod-1.scope") else {
            println!("SKIPPED: this file system takes no attributes of a delegation from this user");
            assert!(!nix::unistd::geteuid().is_root(), "root may set them where the tests run");
            return;
        };
        let slice = "/user.slice/user-1003.slice";
        let ours = [
            cgroup(&format!("{slice}/procwatch-user-1003.service")).unwrap().child("su-1-2"),
            cgroup(&format!("{slice}/procwatch-su-1-2.scope")).unwrap(),
        ];
        for path in ours {
            assert_eq!(delegated(tree.path(), &path, 1004), None, "{path}");
        }
        assert_eq!(delegated(tree.path(), &container.child("x"), 1004), Some(container));
        let inner = cgroup(&format!("{slice}/procwatch-user-1003.service/su-1-2/x")).unwrap();
        assert_eq!(delegated(tree.path(), &inner, 1004), Some(inner), "what was delegated in it is");
    }
}
