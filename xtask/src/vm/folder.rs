//! Where all that belongs to virtual machines is kept, and how it is known to be up to date.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::workspace::Workspace;

/// `target/vm`: everything in it can be made again.
pub(crate) struct Folder {
    root: PathBuf,
}

impl Folder {
    /// That of this checkout, made where it is missing.
    pub(crate) fn of(workspace: &Workspace) -> Result<Self> {
        let root = workspace.target.join("vm");
        // Programs that are run as another user or in another folder are given paths into it.
        let root = std::path::absolute(&root).with_context(|| format!("no path to {}", root.display()))?;
        make(&root)?;
        Ok(Self { root })
    }

    /// A path in it.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    /// A folder in it, made where it is missing.
    pub(crate) fn folder(&self, name: impl AsRef<Path>) -> Result<PathBuf> {
        let path = self.path(name);
        make(&path)?;
        Ok(path)
    }

    /// An empty folder in it; what was in it before is removed.
    pub(crate) fn empty(&self, name: impl AsRef<Path>) -> Result<PathBuf> {
        let path = self.path(&name);
        if path.exists() {
            fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        self.folder(name)
    }
}

/// Makes a folder and those above it.
fn make(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))
}

/// What something was made of, as a name to keep it under.
pub(crate) fn fingerprint(inputs: &impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    inputs.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_tell_inputs_apart_and_are_stable() {
        assert_eq!(fingerprint(&("a", 1)), fingerprint(&("a", 1)));
        assert_ne!(fingerprint(&("a", 1)), fingerprint(&("a", 2)));
    }

    #[test]
    fn an_empty_folder_has_lost_what_it_held() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder { root: dir.path().to_owned() };
        fs::write(folder.folder("run").unwrap().join("old"), "").unwrap();
        assert_eq!(fs::read_dir(folder.empty("run").unwrap()).unwrap().count(), 0);
    }
}
