//! What was put where, so that exactly that can be taken away again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{InstallError, folder};

/// Where it is kept.
pub const RECEIPT: &str = "/var/lib/procwatch/install.json";

/// What was put where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The version that was installed.
    pub version: String,
    /// The files, with a checksum of what was written: what is there now may be somebody else's.
    pub files: BTreeMap<PathBuf, u64>,
    /// The folders that were made for them.
    pub folders: BTreeSet<PathBuf>,
}

impl Receipt {
    /// Reads it; an empty one when nothing is installed.
    ///
    /// # Errors
    /// When it cannot be read, or is no receipt.
    pub fn read(root: &Path) -> Result<Self, InstallError> {
        let path = folder::below(root, Path::new(RECEIPT));
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            read => read.map_err(InstallError::at(&path))?,
        };
        serde_json::from_str(&text).map_err(|error| InstallError::at(&path)(error.into()))
    }

    /// Writes it.
    ///
    /// # Errors
    /// When its folder takes no file.
    pub fn write(&self, root: &Path) -> Result<(), InstallError> {
        let path = folder::below(root, Path::new(RECEIPT));
        let text = serde_json::to_vec_pretty(self).map_err(|error| InstallError::at(&path)(error.into()))?;
        folder::replace(&path, &text, 0o600)
    }

    /// Whether this content is what was written there.
    pub fn is_ours(&self, path: &Path, content: &[u8]) -> bool {
        self.files.get(path) == Some(&checksum(content))
    }

    /// Notes a file.
    pub fn add(&mut self, path: &Path, content: &[u8]) {
        self.files.insert(path.to_owned(), checksum(content));
    }
}

/// FNV-1a: it finds what was changed by hand, and is the same in every version.
fn checksum(content: &[u8]) -> u64 {
    let add = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    content.iter().fold(0xcbf2_9ce4_8422_2325, add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_known_again() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Receipt::read(root.path()).unwrap(), Receipt::default());
        let mut receipt = Receipt { version: "1".to_owned(), ..Receipt::default() };
        receipt.add(Path::new("/a"), b"one");
        receipt.folders.insert("/b".into());
        receipt.write(root.path()).unwrap();
        let read = Receipt::read(root.path()).unwrap();
        assert_eq!(read, receipt);
        assert!(read.is_ours(Path::new("/a"), b"one"));
        assert!(!read.is_ours(Path::new("/a"), b"two") && !read.is_ours(Path::new("/c"), b"one"));
    }

    #[test]
    fn a_file_that_is_no_receipt_is_named() {
        let root = tempfile::tempdir().unwrap();
        let path = folder::below(root.path(), Path::new(RECEIPT));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "{}").unwrap();
        let error = Receipt::read(root.path()).unwrap_err().to_string();
        assert!(error.contains("install.json") && error.contains("missing field"), "{error}");
    }

    #[test]
    fn the_checksum_is_the_published_one() {
        assert_eq!(checksum(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(checksum(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
