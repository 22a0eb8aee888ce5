//! `inotify-without-bound`: inotify descriptors that are made again and again and not closed.

use std::{fs, os::unix::ffi::OsStrExt as _};

use super::{Scene, at};
use crate::diagnose::{report::Hint, source::Kind};

/// From so many descriptors on: a program that watches files needs one.
const DESCRIPTORS: usize = 8;
/// Most descriptors that are looked at.
const MAX_LOOKED_AT: usize = 65_536;

const NAME: &str = "inotify-without-bound";

pub(super) fn find(scene: &Scene<'_>) -> Option<Hint> {
    let (descriptors, watches) = count(scene.pid);
    if descriptors < DESCRIPTORS {
        return None;
    }
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_user_instances").unwrap_or_default();
    let mut evidence = vec![format!("{descriptors} inotify descriptors with {watches} watches are open")];
    if !limit.is_empty() {
        evidence.push(format!("the kernel allows a user {}", limit.trim()));
    }
    let site = scene.site(|it| *it == Kind::Observer).or_else(|| scene.sites.first());
    Some(match site {
        Some(site) => at(NAME, site, &evidence),
        None => Hint { name: NAME.to_owned(), file: None, line: None, function: None, evidence },
    })
}

/// Inotify descriptors of a process, and all their watches.
fn count(pid: u32) -> (usize, usize) {
    let (mut descriptors, mut watches) = (0, 0);
    let Ok(all) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return (0, 0);
    };
    for descriptor in all.take(MAX_LOOKED_AT).flatten() {
        let is_inotify = fs::read_link(descriptor.path())
            .is_ok_and(|link| link.as_os_str().as_bytes() == b"anon_inode:inotify");
        if is_inotify {
            descriptors += 1;
            let number = descriptor.file_name();
            let info =
                fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", number.display())).unwrap_or_default();
            watches += info.lines().filter(|line| line.starts_with("inotify ")).count();
        }
    }
    (descriptors, watches)
}

#[cfg(test)]
mod tests {
    use rustix::fs::inotify;

    use super::*;

    #[test]
    fn descriptors_and_watches_are_counted() {
        let scene = Scene { pid: std::process::id(), looks: &[], sites: &[] };
        assert_eq!(find(&scene), None);
        let folder = tempfile::tempdir().unwrap();
        let open: Vec<_> = (0..DESCRIPTORS)
            .map(|_| {
                let one = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
                inotify::add_watch(&one, folder.path(), inotify::WatchFlags::CREATE).unwrap();
                one
            })
            .collect();
        let hint = find(&scene).unwrap();
        assert_eq!(hint.evidence[0], "8 inotify descriptors with 8 watches are open");
        drop(open);
    }
}
