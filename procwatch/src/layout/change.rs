//! Changes of files, carried out all or none.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use similar::TextDiff;

use super::{
    LayoutError,
    facts::{CPUS, CPUSET, EFFECTIVE, SUBTREE_CONTROL},
};
use crate::{cgroup::CgroupPath, cpus::CpuSet, text::escape};

/// The name of our drop-in in the folder of each unit.
const DROP_IN: &str = "50-procwatch-layout.conf";
/// More than anyone writes into a drop-in, bytes.
const MAX_FILE: u64 = 1 << 16;

/// Where the files are that are changed.
#[derive(Clone, Debug)]
pub struct Targets {
    /// The administrator's unit files, `/etc/systemd/system`.
    pub units: PathBuf,
    /// The mount point of the cgroup2 hierarchy.
    pub hierarchy: PathBuf,
}

/// A file as it is, or is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// What is in it.
    pub text: String,
    /// Its permission bits.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// One change. Swapping before and after takes it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The drop-in of a unit, or its absence.
    DropIn {
        /// The unit.
        unit: String,
        /// What is there.
        before: Option<Content>,
        /// What is to be there.
        after: Option<Content>,
        /// Whether the folder is ours, to be removed with the file.
        folder_is_ours: bool,
    },
    /// The CPUs of a cgroup; none is no restriction.
    Cpus {
        /// The cgroup.
        cgroup: CgroupPath,
        /// What it has.
        before: CpuSet,
        /// What it is to have.
        after: CpuSet,
    },
    /// Whether the children of a cgroup have the cpuset controller.
    Controller {
        /// The cgroup.
        cgroup: CgroupPath,
        /// Whether they are to have it.
        on: bool,
    },
}

impl Targets {
    /// Our drop-in of a unit.
    pub fn drop_in(&self, unit: &str) -> PathBuf {
        self.folder(unit).join(DROP_IN)
    }

    /// The folder of a unit's drop-ins.
    pub fn folder(&self, unit: &str) -> PathBuf {
        self.units.join(format!("{unit}.d"))
    }

    /// A file of a cgroup.
    pub fn cgroup_file(&self, cgroup: &CgroupPath, name: &str) -> PathBuf {
        self.hierarchy.join(cgroup.relative()).join(name)
    }
}

impl Content {
    /// Reads a file; `None` when it is not there.
    ///
    /// # Errors
    /// When it is something else than a small regular file of text.
    pub fn read(file: &Path) -> Result<Option<Self>, LayoutError> {
        let failed = |error: io::Error| LayoutError::at(file, error);
        let opened =
            OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(file);
        let opened = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
                return Err(LayoutError::at(file, "is a symbolic link; remove it first"));
            }
            other => other.map_err(failed)?,
        };
        let metadata = opened.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(LayoutError::at(file, "is no regular file; remove it first"));
        }
        let mut text = String::new();
        opened.take(MAX_FILE + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > MAX_FILE {
            return Err(LayoutError::at(file, "is larger than 64 KiB; a drop-in is a few lines"));
        }
        let mode = metadata.mode() & 0o7777;
        Ok(Some(Self { text, mode, uid: metadata.uid(), gid: metadata.gid() }))
    }

    /// Puts it in the place of `file` in one step: nobody ever sees a part of it.
    ///
    /// # Errors
    /// When the folder takes no file.
    pub fn write(&self, file: &Path) -> Result<(), LayoutError> {
        let folder = file.parent().unwrap_or(Path::new("/"));
        self.replace(folder, file).map_err(|error| LayoutError::at(file, error))
    }

    fn replace(&self, folder: &Path, file: &Path) -> io::Result<()> {
        let mut new = tempfile::Builder::new().prefix(".procwatch-").tempfile_in(folder)?;
        new.write_all(self.text.as_bytes())?;
        let made = new.as_file().metadata()?;
        if (made.uid(), made.gid()) != (self.uid, self.gid) {
            fchown(new.as_file(), Some(self.uid), Some(self.gid))?;
        }
        new.as_file().set_permissions(Permissions::from_mode(self.mode))?;
        new.as_file().sync_all()?;
        new.persist(file)?;
        // The name itself has to reach the disk, too.
        File::open(folder)?.sync_all()
    }
}

impl Change {
    /// The same backwards.
    #[must_use]
    pub fn reversed(&self) -> Self {
        match self.clone() {
            Self::DropIn { unit, before, after, folder_is_ours } => {
                Self::DropIn { unit, before: after, after: before, folder_is_ours }
            }
            Self::Cpus { cgroup, before, after } => Self::Cpus { cgroup, before: after, after: before },
            Self::Controller { cgroup, on } => Self::Controller { cgroup, on: !on },
        }
    }

    /// The file that it changes.
    pub fn file(&self, targets: &Targets) -> PathBuf {
        match self {
            Self::DropIn { unit, .. } => targets.drop_in(unit),
            Self::Cpus { cgroup, .. } => targets.cgroup_file(cgroup, CPUS),
            Self::Controller { cgroup, .. } => targets.cgroup_file(cgroup, SUBTREE_CONTROL),
        }
    }

    /// Whether the service manager has to read its files again after it.
    pub const fn needs_reload(&self) -> bool {
        matches!(self, Self::DropIn { .. })
    }

    /// What it changes, as a unified diff, escaped.
    pub fn diff(&self, targets: &Targets) -> String {
        let text = |content: &Option<Content>| content.as_ref().map(|content| content.text.clone());
        let line = |cpus: &CpuSet| Some(format!("{cpus}\n"));
        let word = |is_in: bool| Some(if is_in { format!("{CPUSET}\n") } else { String::new() });
        let (before, after) = match self {
            Self::DropIn { before, after, .. } => (text(before), text(after)),
            Self::Cpus { before, after, .. } => (line(before), line(after)),
            Self::Controller { on, .. } => (word(!on), word(*on)),
        };
        let file = self.file(targets);
        let name = escape(file.as_os_str().as_encoded_bytes());
        let named = |content: &Option<String>| if content.is_some() { name.as_ref() } else { "/dev/null" };
        let (old_name, new_name) = (named(&before), named(&after));
        let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
        let diff = TextDiff::from_lines(&before, &after);
        let shown = diff.unified_diff().context_radius(2).header(old_name, new_name).to_string();
        let lines: Vec<_> = shown.lines().map(|line| escape(line.as_bytes())).collect();
        lines.join("\n") + "\n"
    }

    fn perform(&self, targets: &Targets) -> Result<(), LayoutError> {
        match self {
            Self::DropIn { unit, after: Some(content), .. } => put(targets, unit, content),
            Self::DropIn { unit, after: None, folder_is_ours, .. } => remove(targets, unit, *folder_is_ours),
            Self::Cpus { cgroup, after, .. } => set_cpus(targets, cgroup, after),
            Self::Controller { cgroup, on } => {
                let sign = if *on { '+' } else { '-' };
                let file = targets.cgroup_file(cgroup, SUBTREE_CONTROL);
                order(&file, &format!("{sign}{CPUSET}")).map_err(|error| LayoutError::at(&file, error))
            }
        }
    }
}

/// Carries all changes out, and then calls `reload` if one of them needs that.
///
/// # Errors
/// [`LayoutError::TakenBack`] when one failed: those before it were taken back, and `reload` was called again if it had
/// been. [`LayoutError::HalfDone`] when that failed, too.
pub fn carry_out(
    changes: &[Change],
    targets: &Targets,
    reload: &mut dyn FnMut() -> Result<(), LayoutError>,
) -> Result<(), LayoutError> {
    let needs_reload = changes.iter().any(Change::needs_reload);
    let mut done = 0;
    let mut all = || {
        for change in changes {
            change.perform(targets)?;
            done += 1;
        }
        if needs_reload { reload() } else { Ok(()) }
    };
    let Err(why) = all() else { return Ok(()) };
    let was_reloaded = needs_reload && done == changes.len();
    let mut taken_back = Ok(());
    for change in changes[..done].iter().rev() {
        let result = change.reversed().perform(targets);
        taken_back = taken_back.and(result);
    }
    if was_reloaded {
        taken_back = taken_back.and_then(|()| reload());
    }
    let why = Box::new(why);
    Err(match taken_back {
        Ok(()) => LayoutError::TakenBack { why },
        Err(then) => LayoutError::HalfDone { why, then: Box::new(then) },
    })
}

fn put(targets: &Targets, unit: &str, content: &Content) -> Result<(), LayoutError> {
    let folder = targets.folder(unit);
    let made = match fs::create_dir(&folder) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(LayoutError::at(&folder, error)),
    };
    let written = content.write(&targets.drop_in(unit));
    if written.is_err() && made {
        // It is empty; where it cannot be removed either, the error that is told says why.
        let _ = fs::remove_dir(&folder);
    }
    written
}

fn remove(targets: &Targets, unit: &str, folder_is_ours: bool) -> Result<(), LayoutError> {
    let file = targets.drop_in(unit);
    match fs::remove_file(&file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(LayoutError::at(&file, error)),
        _ => {}
    }
    if folder_is_ours {
        // Somebody's file in it keeps it, and then it is not ours any more.
        let _ = fs::remove_dir(targets.folder(unit));
    }
    Ok(())
}

/// Tells a cgroup its CPUs; none is no restriction.
///
/// # Errors
/// When the kernel refuses.
pub fn set_cpus(targets: &Targets, cgroup: &CgroupPath, cpus: &CpuSet) -> Result<(), LayoutError> {
    let file = targets.cgroup_file(cgroup, CPUS);
    let above = file.parent().and_then(Path::parent).map(|above| above.join(EFFECTIVE));
    let written = match (order(&file, &format!("{cpus}\n")), above) {
        // Linux 6.1 does not let an inhabited cgroup go back to no CPUs of its own (ENOSPC), and 5.10 not one above others
        // that have some (EBUSY); all that the one above has comes to the same.
        (Err(error), Some(above))
            if cpus.is_empty() && matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EBUSY)) =>
        {
            fs::read_to_string(above).and_then(|all| order(&file, &all))
        }
        (written, _) => written,
    };
    written.map_err(|error| LayoutError::at(&file, error))
}

/// An order to the kernel is one write to a file that is there.
fn order(file: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(file)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests;
