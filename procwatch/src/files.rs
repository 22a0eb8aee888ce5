//! Files of the agent that members of its group may read.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions},
    io,
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown, lchown,
    },
    path::{Path, PathBuf},
};

use nix::unistd::{Group, geteuid};

use crate::text::escape;

/// Whose members may read what the agent tells.
pub const GROUP: &str = "procwatch";
const FILE_MODE: u32 = 0o640;
const FOLDER_MODE: u32 = 0o750;

/// Opens a file for reading and appending. It is made if it is absent, and so is its folder, but none above that. It
/// becomes 0640, and the group's if there is such a group.
///
/// # Errors
/// What the kernel says; and for what is no plain file, or not the caller's own.
pub(crate) fn append(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    // A pipe would keep the one waiting who opens it.
    let file =
        options().append(true).create(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    own(&file, path)?;
    Ok(file)
}

/// Makes a file that is not there yet, with the same owner and mode.
///
/// # Errors
/// As for [`append`], and when it is there.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    let file = options().write(true).create_new(true).open(path)?;
    own(&file, path)?;
    Ok(file)
}

/// Makes a file unless it is there, with its folder but none above that, and gives it owner and mode as [`append`] does.
/// One that is there is never opened: closing it would take away the locks that a database of this process has on it.
///
/// # Errors
/// As for [`append`].
pub(crate) fn provide(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    match create_new(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        result => return result.map(drop),
    }
    let metadata = fs::symlink_metadata(path)?;
    let group = check(&metadata, path)?;
    if group.is_some() {
        lchown(path, None, group)?;
    }
    if metadata.mode() & 0o7777 != FILE_MODE {
        fs::set_permissions(path, Permissions::from_mode(FILE_MODE))?;
    }
    Ok(())
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).mode(FILE_MODE);
    options
}

fn own(file: &File, path: &Path) -> io::Result<()> {
    let metadata = file.metadata()?;
    let group = check(&metadata, path)?;
    if group.is_some() {
        fchown(file, None, group)?;
    }
    if metadata.mode() & 0o7777 != FILE_MODE {
        file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    }
    Ok(())
}

/// Refuses what is no plain file of the caller's. Returns the group that it should have and has not.
fn check(metadata: &Metadata, path: &Path) -> io::Result<Option<u32>> {
    let me = geteuid();
    if !metadata.is_file() {
        return Err(wrong(path, "is no plain file; name another one"));
    }
    if metadata.uid() != me.as_raw() {
        let what = format!("belongs to uid {}; remove it or name another one", metadata.uid());
        return Err(wrong(path, &what));
    }
    let group = if me.is_root() { group() } else { None };
    Ok(group.filter(|group| *group != metadata.gid()))
}

fn wrong(path: &Path, what: &str) -> io::Error {
    let name = path.file_name().unwrap_or_default();
    let name = escape(name.as_encoded_bytes()).into_owned();
    io::Error::new(io::ErrorKind::InvalidInput, format!("{name} {what}"))
}

/// Makes a folder (0750, the group's) unless it is there.
fn make_folder(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(FOLDER_MODE).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) if geteuid().is_root() => match group() {
            Some(group) => std::os::unix::fs::chown(folder, None, Some(group)),
            None => Ok(()),
        },
        Ok(()) => Ok(()),
    }
}

fn group() -> Option<u32> {
    // Without an answer it is as if there were none: the file is root's alone.
    Group::from_name(GROUP).ok().flatten().map(|group| group.gid.as_raw())
}

/// The path with something behind its last name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read as _, Write as _},
        os::unix::fs::symlink,
    };

    #[test]
    fn a_file_is_made_with_its_folder_and_kept() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("log/it.jsonl");
        append(&path).unwrap().write_all(b"one\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        let mut file = append(&path).unwrap();
        file.write_all(b"two\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one\ntwo\n");
        let mut all = String::new();
        append(&path).unwrap().read_to_string(&mut all).unwrap();
        assert_eq!(all, "one\ntwo\n", "it can be read as well");
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (FILE_MODE, FOLDER_MODE));
        assert_eq!(create_new(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        provide(&path).unwrap();
        assert_eq!((mode(&path), fs::read(&path).unwrap()), (FILE_MODE, all.into_bytes()));
    }

    #[test]
    fn what_is_no_file_of_ours_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::write(at("target"), "keep").unwrap();
        symlink(at("target"), at("link")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for name in ["link", "folder", "pipe", "no/such/folder", "target/below"] {
            assert!(append(&at(name)).is_err(), "{name}");
            assert!(provide(&at(name)).is_err(), "{name}");
        }
        assert_eq!(fs::read(at("target")).unwrap(), b"keep");
        if geteuid().is_root() {
            std::os::unix::fs::chown(at("target"), Some(65_534), None).unwrap();
            let error = append(&at("target")).unwrap_err().to_string();
            assert!(error.contains("target belongs to uid 65534; remove it"), "{error}");
        }
    }
}
