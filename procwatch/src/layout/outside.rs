//! Processes of a user that live outside of the user's slice.

use std::io::Read as _;

use procfs::process::{Process, all_processes};
use serde::Serialize;

use super::{LayoutError, unit::uid_of};
use crate::{cgroup::CgroupPath, config::LayoutRule, text::Text};

/// Processes that are named for each slice.
const NAMED: usize = 5;
/// More than `/proc/PID/cgroup` has for any process, bytes: a line for each hierarchy.
const MAX_CGROUP: u64 = 1 << 18;

/// Those of one uid that live elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outside {
    /// The slice as written.
    pub slice: String,
    /// Whose it is.
    pub uid: u32,
    /// How many there are: their real or effective uid is this.
    pub count: usize,
    /// The first few.
    pub first: Vec<Stray>,
}

/// A process that lives elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stray {
    /// Its id.
    pub pid: u32,
    /// Its name.
    pub comm: Text,
    /// Where it lives.
    pub cgroup: Text,
}

/// A process as /proc tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    uids: [u32; 2],
    stray: Stray,
}

/// Looks all processes through, once. For each slice that is a user's own: who of that user lives elsewhere.
///
/// # Errors
/// When /proc cannot be read.
pub fn look(rules: &[LayoutRule]) -> Result<Vec<Outside>, LayoutError> {
    let users: Vec<_> = rules.iter().filter_map(|rule| Some((rule, uid_of(rule.slice.path())?))).collect();
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let mut seen = Vec::new();
    for process in all_processes().map_err(|error| LayoutError::at("/proc".as_ref(), error))? {
        // One that ends while it is looked at is outside of nothing.
        let Some((process, uids)) = process.ok().and_then(uids) else { continue };
        if users.iter().any(|(_, uid)| uids.contains(uid)) {
            seen.extend(see(&process, uids));
        }
    }
    Ok(users.into_iter().map(|(rule, uid)| count(rule, uid, &seen)).collect())
}

fn uids(process: Process) -> Option<(Process, [u32; 2])> {
    let status = process.status().ok()?;
    Some((process, [status.ruid, status.euid]))
}

fn see(process: &Process, uids: [u32; 2]) -> Option<Seen> {
    let comm = read(process, "comm")?;
    let cgroup = read(process, "cgroup")?;
    let stray = Stray {
        pid: u32::try_from(process.pid).ok()?,
        comm: Text::new(comm.strip_suffix(b"\n").unwrap_or(&comm).to_vec()),
        cgroup: Text::new(cgroup2(&cgroup)?.to_vec()),
    };
    Some(Seen { uids, stray })
}

/// A file of a process, raw: its name and its cgroup's are any bytes.
fn read(process: &Process, name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    process.open_relative(name).ok()?.take(MAX_CGROUP).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The path in the cgroup2 hierarchy, among those of others.
fn cgroup2(lines: &[u8]) -> Option<&[u8]> {
    lines.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))
}

fn count(rule: &LayoutRule, uid: u32, seen: &[Seen]) -> Outside {
    let strays = || {
        let theirs = seen.iter().filter(|one| one.uids.contains(&uid));
        theirs.map(|one| &one.stray).filter(|stray| !is_within(stray.cgroup.as_bytes(), rule.slice.path()))
    };
    Outside {
        slice: rule.slice.to_string(),
        uid,
        count: strays().count(),
        first: strays().take(NAMED).cloned().collect(),
    }
}

fn is_within(cgroup: &[u8], slice: &CgroupPath) -> bool {
    let slice = slice.relative().as_os_str().as_encoded_bytes();
    let below = cgroup.strip_prefix(b"/").and_then(|path| path.strip_prefix(slice));
    below.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::judge::tests::rule;

    fn seen(pid: u32, uids: [u32; 2], cgroup: &str) -> Seen {
        Seen { uids, stray: Stray { pid, comm: "x".into(), cgroup: cgroup.into() } }
    }

    #[test]
    fn those_elsewhere_are_counted_and_the_first_named() {
        let mut all = vec![
            seen(1, [1003, 1003], "/user.slice/user-1003.slice/session-1.scope"),
            seen(2, [1003, 1003], "/user.slice/user-1003.slice"),
            seen(3, [1003, 1003], "/user.slice/user-1003.slice2/x"),
            seen(4, [0, 1003], "/system.slice/x.service"),
            seen(5, [1000, 1000], "/"),
        ];
        all.extend((6..12).map(|pid| seen(pid, [1003, 1003], "/user.slice/user-1000.slice")));
        let outside = count(&rule("user-1003.slice", "0"), 1003, &all);
        assert_eq!(outside.count, 8);
        assert_eq!(outside.first.iter().map(|stray| stray.pid).collect::<Vec<_>>(), [3, 4, 6, 7, 8]);
    }

    #[test]
    fn the_cgroup2_line_is_taken_among_those_of_others() {
        assert_eq!(cgroup2(b"12:cpu:/a\n1:name=systemd:/b\n0::/c\xff d\n"), Some(&b"/c\xff d"[..]));
        assert_eq!(cgroup2(b"1:name=systemd:/0::/x\n"), None);
    }

    #[test]
    fn this_process_is_found_where_it_is() {
        let me = Process::myself().unwrap();
        let (me, ids) = uids(me).unwrap();
        let found = see(&me, ids).unwrap();
        assert_eq!(found.stray.pid, std::process::id());
        assert!(found.stray.cgroup.as_bytes().starts_with(b"/"));
        assert!(look(&[rule("a.slice", "0")]).unwrap().is_empty(), "nobody's own slice");
    }
}
