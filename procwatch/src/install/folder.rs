//! Files are put below a root and taken away again. What is not ours stays as it is.

use std::{
    fmt,
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use super::{
    InstallError,
    files::{Kind, Shipped},
    receipt::Receipt,
    shown,
};

/// What is done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is not there and is written.
    Write,
    /// An older one of ours is replaced.
    Replace,
    /// It is there already.
    Same,
    /// A configuration that is there stays.
    Keep,
    /// It is ours and is removed.
    Remove,
    /// It was changed since it was written, and stays.
    KeepChanged,
}

/// What is done with which file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub step: Step,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, remark) = match self.step {
            Step::Write => ("write", ""),
            Step::Replace => ("replace", ""),
            Step::Same => ("same", ""),
            Step::Keep => ("keep", "  it is there and yours"),
            Step::Remove => ("remove", ""),
            Step::KeepChanged => ("keep", "  it was changed since it was installed"),
        };
        write!(f, "{word:8}{}{remark}", shown(&self.path))
    }
}

/// An absolute path below another root.
pub fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Says what installing these files means; nothing is changed.
///
/// # Errors
/// [`InstallError::InTheWay`] when something that is not ours would have to be overwritten.
pub fn plan(root: &Path, files: &[Shipped], receipt: &Receipt) -> Result<Vec<Planned>, InstallError> {
    let planned = |file: &Shipped| {
        let step = step(root, file, receipt)?;
        Ok(Planned { path: file.path.clone(), step })
    };
    files.iter().map(planned).collect()
}

fn step(root: &Path, file: &Shipped, receipt: &Receipt) -> Result<Step, InstallError> {
    let place = below(root, &file.path);
    let Some(there) = read(&place)? else {
        return Ok(Step::Write);
    };
    if file.kind == Kind::Configuration {
        return Ok(Step::Keep);
    }
    if there == *file.content {
        return Ok(Step::Same);
    }
    if receipt.is_ours(&file.path, &there) {
        return Ok(Step::Replace);
    }
    let what = "is there already and is not what procwatch wrote; move it away first";
    Err(InstallError::InTheWay { path: place, what })
}

/// The content of a regular file; `None` when there is nothing.
fn read(place: &Path) -> Result<Option<Vec<u8>>, InstallError> {
    match fs::symlink_metadata(place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(InstallError::at(place)(error)),
        Ok(metadata) if metadata.is_file() => fs::read(place).map(Some).map_err(InstallError::at(place)),
        Ok(_) => {
            let what = "is no regular file; move it away first";
            Err(InstallError::InTheWay { path: place.to_owned(), what })
        }
    }
}

/// Puts the files there as it was planned, and notes in the receipt what was written. When one fails, those before it are
/// as they were.
///
/// # Errors
/// [`InstallError::Io`].
pub fn put(
    root: &Path,
    files: &[Shipped],
    planned: &[Planned],
    receipt: &mut Receipt,
) -> Result<(), InstallError> {
    let mut done = Vec::new();
    for (file, plan) in files.iter().zip(planned) {
        if !matches!(plan.step, Step::Write | Step::Replace) {
            // Put there by hand, or by one who was stopped before it could note that: it is what will be replaced, and removed.
            if plan.step == Step::Same && file.kind != Kind::Configuration {
                receipt.add(&file.path, &file.content);
            }
            continue;
        }
        let place = below(root, &file.path);
        let put = read(&place).and_then(|before| {
            done.push((place.clone(), before));
            receipt.folders.extend(make_folders(root, &file.path)?);
            replace(&place, &file.content, file.kind.mode())
        });
        if let Err(error) = put {
            done.into_iter().rev().for_each(|(place, before)| put_back(&place, before));
            remove_folders(root, receipt);
            return Err(error);
        }
        receipt.add(&file.path, &file.content);
    }
    Ok(())
}

/// What was there before; that this works is not certain, and the first failure is what is told.
fn put_back(place: &Path, before: Option<Vec<u8>>) {
    let mode = fs::metadata(place).map_or(0o644, |metadata| metadata.permissions().mode() & 0o7777);
    let _ = match before {
        Some(content) => replace(place, &content, mode),
        None => fs::remove_file(place).map_err(InstallError::at(place)),
    };
}

/// Says what removing means; nothing is changed.
///
/// # Errors
/// [`InstallError::Io`].
pub fn plan_removal(root: &Path, receipt: &Receipt) -> Result<Vec<Planned>, InstallError> {
    let mut planned = Vec::new();
    for path in receipt.files.keys() {
        let there = match read(&below(root, path)) {
            Ok(None) => continue,
            Ok(Some(there)) => there,
            // Somebody has put something else there.
            Err(InstallError::InTheWay { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        let step = if receipt.is_ours(path, &there) { Step::Remove } else { Step::KeepChanged };
        planned.push(Planned { path: path.clone(), step });
    }
    Ok(planned)
}

/// Removes the files as it was planned, then the folders that were made for them and are empty.
///
/// # Errors
/// [`InstallError::Io`]; the receipt has what is left then.
pub fn remove(root: &Path, planned: &[Planned], receipt: &mut Receipt) -> Result<(), InstallError> {
    for plan in planned.iter().filter(|plan| plan.step == Step::Remove) {
        let place = below(root, &plan.path);
        fs::remove_file(&place).map_err(InstallError::at(&place))?;
        receipt.files.remove(&plan.path);
    }
    remove_folders(root, receipt);
    Ok(())
}

/// A folder that somebody else put something in stays.
fn remove_folders(root: &Path, receipt: &mut Receipt) {
    // The deepest come last.
    let folders: Vec<PathBuf> = receipt.folders.iter().rev().cloned().collect();
    for folder in folders {
        if fs::remove_dir(below(root, &folder)).is_ok() {
            receipt.folders.remove(&folder);
        }
    }
}

/// Makes the folders that a file needs, and returns those that were not there.
fn make_folders(root: &Path, path: &Path) -> Result<Vec<PathBuf>, InstallError> {
    let missing: Vec<PathBuf> = path
        .ancestors()
        .skip(1)
        .take_while(|folder| folder.parent().is_some() && !below(root, folder).exists())
        .map(Path::to_owned)
        .collect();
    for folder in missing.iter().rev() {
        let place = below(root, folder);
        let made = DirBuilder::new().create(&place);
        // Whatever the caller's mask is: others have to read what is in it.
        made.and_then(|()| fs::set_permissions(&place, Permissions::from_mode(0o755)))
            .map_err(InstallError::at(&place))?;
    }
    Ok(missing)
}

/// Puts a file there in one step: nobody ever sees a part of it.
///
/// # Errors
/// [`InstallError::Io`].
pub(super) fn replace(place: &Path, content: &[u8], mode: u32) -> Result<(), InstallError> {
    let folder = place.parent().unwrap_or(Path::new("/"));
    let write = || {
        DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
        let mut new = tempfile::Builder::new().prefix(".procwatch-").tempfile_in(folder)?;
        new.write_all(content)?;
        new.as_file().set_permissions(Permissions::from_mode(mode))?;
        new.as_file().sync_all()?;
        new.persist(place)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(InstallError::at(place))
}

#[cfg(test)]
mod tests;
