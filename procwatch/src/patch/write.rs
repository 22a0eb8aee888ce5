//! Puts the new content in the place of the old, or leaves everything as it was.
//!
//! All of it happens in one folder, by a descriptor of it and names without a slash, with the process' rights to files.
//! The new file and the old one change places in one step, so that it is seen which file was taken out: if somebody put
//! another one there at the last moment, they change back.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Write as _},
};

use jiff::Timestamp;
use nix::unistd::{Group, Uid, User};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{
        AtFlags, Gid, Mode, OFlags, RenameFlags, Stat, StatVfsMountFlags, Timestamps, XattrFlags, fchmod,
        fchown, fgetxattr, flistxattr, fsetxattr, fstat, fstatvfs, fsync, futimens, openat, renameat_with,
        unlinkat,
    },
    io::Errno,
};

use super::{Applied, PatchError, Proposal, access::Process, locate::Found};

/// The longest list of attributes, and the longest attribute, that are kept, bytes.
const MAX_ATTRIBUTES: usize = 1 << 16;
/// Write permission of the group and of all others.
const OTHERS: u32 = 0o002;
const GROUP: u32 = 0o020;

/// Replaces `found`, whose content is `proposal.before`. To be called with the process' rights.
pub(super) fn replace(
    process: &Process,
    found: &Found,
    proposal: &Proposal,
    now: Timestamp,
) -> Result<Applied, PatchError> {
    let stat = fstat(&found.file).map_err(PatchError::io("the source"))?;
    check(process, found, &stat)?;
    let backup = beside(&found.name, &now.strftime("procwatch-%Y%m%dT%H%M%SZ.bak").to_string());
    let temporary = beside(&found.name, &format!("procwatch-{}.new", std::process::id()));

    let mut new = New::make(found, &temporary, &proposal.after, &stat)?;
    let old = New::make(found, &backup, &proposal.before, &stat).map_err(|error| match error {
        PatchError::Io { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
            PatchError::BackupExists
        }
        other => other,
    })?;
    let times = Timestamps {
        last_access: rustix::fs::Timespec { tv_sec: stat.st_atime, tv_nsec: stat.st_atime_nsec as _ },
        last_modification: rustix::fs::Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ },
    };
    futimens(&old.file, &times).map_err(PatchError::io("the times of the backup"))?;
    fsync(&found.folder).map_err(PatchError::io("the folder"))?;
    exchange(found, &mut new)?;
    old.keep();
    // It has the old file now, and that is in the backup.
    drop(new);
    if let Err(error) = fsync(&found.folder) {
        tracing::warn!(%error, "the change of a source may be lost if the machine stops now");
    }
    Ok(Applied { file: found.path.clone(), backup: found.path.with_file_name(&backup) })
}

/// The new file and the source change places, and back if what came out is not what was read.
fn exchange(found: &Found, new: &mut New<'_>) -> Result<(), PatchError> {
    let temporary = new.name;
    let swap = || renameat_with(&found.folder, temporary, &found.folder, &found.name, RenameFlags::EXCHANGE);
    let before = identity_of(&found.file);
    swap().map_err(PatchError::io("putting the new file in the place of the source"))?;
    let taken =
        openat(&found.folder, temporary, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    // The exchange itself changed the time of the inode's last change; of the content's it did not.
    let same = taken.is_ok_and(|taken| before.is_some() && identity_of(&taken) == before);
    if same {
        return Ok(());
    }
    swap()
        .inspect_err(|_| new.keep = true)
        .map_err(PatchError::io("putting back what another process put in the place of the source"))?;
    Err(PatchError::Changed)
}

/// Device, inode, size, and time of the last change of the content.
fn identity_of(file: impl AsFd) -> Option<(u64, u64, i64, i64, i64)> {
    let stat = fstat(file).ok()?;
    Some((stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec.cast_signed()))
}

/// Refuses what is not the process user's alone.
///
/// That a process calls a file its source is its own word, and nothing else proves it; of a file that its user may change
/// anyway that is enough. Where still others may write, what was looked at may be theirs.
fn check(process: &Process, found: &Found, stat: &Stat) -> Result<(), PatchError> {
    let folder = fstat(&found.folder).map_err(PatchError::io("the folder"))?;
    if stat.st_uid != process.uid {
        return Err(PatchError::OwnedByAnother { owner: stat.st_uid, process: process.uid });
    }
    if ![0, process.uid].contains(&folder.st_uid) {
        return Err(PatchError::WritableByOthers("the folder of the source"));
    }
    for (what, stat) in [("the source", stat), ("the folder of the source", &folder)] {
        let by_group = stat.st_mode & GROUP != 0 && !is_private(stat.st_gid, process.uid);
        if stat.st_mode & OTHERS != 0 || by_group {
            return Err(PatchError::WritableByOthers(what));
        }
    }
    let mount = fstatvfs(&found.folder).map_err(PatchError::io("the mount"))?;
    if mount.f_flag.contains(StatVfsMountFlags::RDONLY) { Err(PatchError::ReadOnly) } else { Ok(()) }
}

/// Whether a group is the user's own: of the same name, and with no other members. So Debian makes them.
fn is_private(gid: u32, uid: u32) -> bool {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    let group = Group::from_gid(gid.into()).ok().flatten();
    user.zip(group).is_some_and(|(user, group)| {
        group.name == user.name
            && user.gid == group.gid
            && group.mem.iter().all(|member| *member == user.name)
    })
}

/// `NAME.SUFFIX`.
fn beside(name: &OsStr, suffix: &str) -> OsString {
    let mut beside = name.to_owned();
    beside.push(".");
    beside.push(suffix);
    beside
}

/// A file that was made beside the source. It is removed when dropped.
struct New<'f> {
    folder: &'f OwnedFd,
    name: &'f OsStr,
    file: File,
    keep: bool,
}

impl<'f> New<'f> {
    /// Makes it, which fails if the name is taken, even by a link. All of it has reached the disk then.
    fn make(found: &'f Found, name: &'f OsStr, content: &[u8], like: &Stat) -> Result<Self, PatchError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat(&found.folder, name, flags, Mode::from_raw_mode(0o600));
        let file = File::from(made.map_err(PatchError::io("a file beside the source"))?);
        let mut new = Self { folder: &found.folder, name, file, keep: false };
        new.file.write_all(content).map_err(PatchError::io("writing beside the source"))?;
        new.take_after(found, like)?;
        fsync(&new.file).map_err(PatchError::io("writing beside the source"))?;
        Ok(new)
    }

    /// Group, mode and attributes as the source has them. The owner is the process' user already.
    fn take_after(&self, found: &Found, like: &Stat) -> Result<(), PatchError> {
        let mine = fstat(&self.file).map_err(PatchError::io("the new file"))?;
        if mine.st_uid != like.st_uid {
            return Err(PatchError::io("the owner of the new file")(io::Error::from(
                io::ErrorKind::PermissionDenied,
            )));
        }
        if mine.st_gid != like.st_gid {
            fchown(&self.file, None, Some(Gid::from_raw(like.st_gid)))
                .map_err(PatchError::io("the group of the new file"))?;
        }
        copy_attributes(&found.file, &self.file).map_err(PatchError::io("the attributes of the new file"))?;
        // Last, because an access list changes it.
        fchmod(&self.file, Mode::from_raw_mode(like.st_mode & 0o7777))
            .map_err(PatchError::io("the mode of the new file"))
    }

    fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for New<'_> {
    fn drop(&mut self) {
        if !self.keep {
            // Nothing more can be done about one that cannot be removed.
            let _ = unlinkat(self.folder, self.name, AtFlags::empty());
        }
    }
}

/// Extended attributes, access lists among them. What the system sets by itself (security.*) is left to it.
fn copy_attributes(from: &File, to: &File) -> Result<(), Errno> {
    let mut names = Vec::with_capacity(MAX_ATTRIBUTES);
    match flistxattr(from, rustix::buffer::spare_capacity(&mut names)) {
        Ok(_) => {}
        // The file system has none.
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(error) => return Err(error),
    }
    for name in
        names.split(|byte| *byte == 0).filter(|name| !name.is_empty() && !name.starts_with(b"security."))
    {
        let mut value = Vec::with_capacity(MAX_ATTRIBUTES);
        fgetxattr(from, name, rustix::buffer::spare_capacity(&mut value))?;
        fsetxattr(to, name, &value, XattrFlags::empty())?;
    }
    Ok(())
}
