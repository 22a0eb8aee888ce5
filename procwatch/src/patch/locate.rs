//! The source file: the one that the process means, read without being led astray.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{Read as _, Seek as _},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fd::OwnedFd,
    fs::{CWD, FileType, FsWord, Mode, OFlags, ResolveFlags, Stat, fstat, fstatfs, openat, openat2},
};

use super::{NoPatch, access::Process};
use crate::clock::Clock;

/// More than anyone writes into a source by hand, bytes.
const MAX_SOURCE: u64 = 1 << 20;
/// Local file systems, by the numbers of linux/magic.h: ext4, XFS, btrfs, tmpfs, overlayfs, f2fs, ZFS, bcachefs. Others
/// may be served by whoever mounted them, answer what they like, or not at all; or are shared with other machines.
const LOCAL: [FsWord; 8] =
    [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630, 0xf2f5_2010, 0x2fc1_2fc1, 0xca45_1a4e];

/// Which file it is, and in which state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    /// Last change of its content and of its inode, ns since 1970.
    changed: (i128, i128),
}

/// The file, opened.
#[derive(Debug)]
pub(super) struct Found {
    /// Where it is, without symbolic links.
    pub(super) path: PathBuf,
    /// The folder that it is in.
    pub(super) folder: OwnedFd,
    /// Its name there.
    pub(super) name: OsString,
    /// The file.
    pub(super) file: File,
    pub(super) identity: Identity,
}

impl Found {
    /// The whole content.
    pub(super) fn read(&self) -> Result<Vec<u8>, NoPatch> {
        let mut bytes = Vec::new();
        let mut file = &self.file;
        let read = file.rewind().and_then(|()| file.take(MAX_SOURCE + 1).read_to_end(&mut bytes));
        read.map_err(|_| NoPatch::Unreadable)?;
        if bytes.len() as u64 > MAX_SOURCE { Err(NoPatch::NotAFile) } else { Ok(bytes) }
    }
}

/// Finds the file that `process` calls `path`. To be called with the process' rights.
///
/// Its links are followed once, to get a path without any; what is opened is that path, and no link in it is followed, so
/// what is opened is what was asked about or the opening fails. It must be the same file that the process sees there in
/// its own mount namespace, and older than the process.
pub(super) fn find(process: &Process, path: &Path) -> Result<Found, NoPatch> {
    let given = match &process.cwd {
        _ if path.is_absolute() => path.to_owned(),
        Some(cwd) => cwd.join(path),
        None => return Err(NoPatch::Unreadable),
    };
    let path = given.canonicalize().map_err(|_| NoPatch::Unreadable)?;
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(NoPatch::NotAFile) };
    let folder = open_folder(parent)?;
    let file = open_file(&folder, name)?;
    let stat = fstat(&file).map_err(|_| NoPatch::Unreadable)?;
    if (stat.st_dev, stat.st_ino) != seen_by(process, &given)? {
        return Err(NoPatch::Elsewhere);
    }
    let identity = identity(&stat);
    let started = Clock::new().map_err(|_| NoPatch::Unreadable)?.timestamp(process.key.start).as_nanosecond();
    // A file that was put there by a rename or a copy may have an older content, but its inode tells.
    if identity.changed.0 > started || identity.changed.1 > started {
        return Err(NoPatch::NewerThanProcess);
    }
    let name = name.to_owned();
    Ok(Found { file: file.into(), identity, folder, name, path })
}

fn open_folder(path: &Path) -> Result<OwnedFd, NoPatch> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS)
        .map_err(|_| NoPatch::Unreadable)
}

/// Opens a regular file of a local file system. What it is, is asked before it is opened: to open a device or a pipe has
/// effects, and a file system of the user's own may never answer.
fn open_file(folder: &OwnedFd, name: &OsStr) -> Result<OwnedFd, NoPatch> {
    let unreadable = |_| NoPatch::Unreadable;
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let looked_at = openat(folder, name, flags | OFlags::PATH, Mode::empty()).map_err(unreadable)?;
    let stat = fstat(&looked_at).map_err(unreadable)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_size as u64 > MAX_SOURCE {
        return Err(NoPatch::NotAFile);
    }
    if !LOCAL.contains(&fstatfs(&looked_at).map_err(unreadable)?.f_type) {
        return Err(NoPatch::ForeignFileSystem);
    }
    let flags = flags | OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = openat(folder, name, flags, Mode::empty()).map_err(unreadable)?;
    if identity(&fstat(&file).map_err(unreadable)?) == identity(&stat) {
        Ok(file)
    } else {
        Err(NoPatch::Unreadable)
    }
}

/// Device and inode of what the process sees at a path: from its root, in its mount namespace.
fn seen_by(process: &Process, path: &Path) -> Result<(u64, u64), NoPatch> {
    let below_root = path.as_os_str().as_bytes();
    let start = below_root.iter().position(|byte| *byte != b'/').unwrap_or(below_root.len());
    let seen = openat2(
        &process.root,
        OsStr::from_bytes(&below_root[start..]),
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    );
    let stat = seen.and_then(fstat).map_err(|_| NoPatch::Elsewhere)?;
    Ok((stat.st_dev, stat.st_ino))
}

fn identity(stat: &Stat) -> Identity {
    let ns = |seconds: i64, nanoseconds| i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    Identity {
        device: stat.st_dev,
        inode: stat.st_ino,
        changed: (ns(stat.st_mtime, stat.st_mtime_nsec), ns(stat.st_ctime, stat.st_ctime_nsec)),
    }
}
