//! Files that were put aside: `procwatch.000017.jsonl`, or `….jsonl.gz`; the higher the number, the newer. Numbers, and
//! no times of day, because a clock may be set back.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::files::with_suffix;

/// Digits of a number at least.
const DIGITS: usize = 6;
const PACKED: &str = ".gz";
const PACKING: &str = ".gz.tmp";

/// A file that was put aside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Aside {
    /// Its number.
    pub(super) number: u64,
    /// Where it is.
    pub(super) path: PathBuf,
    /// Whether it is compressed.
    pub(super) packed: bool,
    /// What it takes, bytes.
    pub(super) size: u64,
}

/// How the files of a log are called.
#[derive(Clone, Debug)]
pub(super) struct Names {
    folder: PathBuf,
    /// Before the number, with its dot.
    before: String,
    /// Behind the number, with its dot; empty when the file has no extension.
    behind: String,
}

impl Names {
    pub(super) fn of(path: &Path) -> Self {
        // The configuration is text, so nothing is lost.
        let part = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let behind = part(path.extension());
        Self {
            folder: path.parent().unwrap_or(Path::new("/")).to_owned(),
            before: part(path.file_stem()) + ".",
            behind: if behind.is_empty() { behind } else { format!(".{behind}") },
        }
    }

    /// The path of the file with that number, uncompressed.
    pub(super) fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{}{number:0DIGITS$}{}", self.before, self.behind))
    }

    /// All files that were put aside, the oldest first.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub(super) fn list(&self) -> io::Result<Vec<Aside>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let Some((number, packed)) = entry.file_name().to_str().and_then(|name| self.parse(name)) else {
                continue;
            };
            // One that has gone meanwhile is not there.
            if let Ok(metadata) = entry.metadata()
                && metadata.is_file()
            {
                found.push(Aside { number, path: entry.path(), packed, size: metadata.len() });
            }
        }
        found.sort();
        Ok(found)
    }

    fn parse(&self, name: &str) -> Option<(u64, bool)> {
        let rest = name.strip_prefix(&*self.before)?;
        let (rest, packed) = rest.strip_suffix(PACKED).map_or((rest, false), |rest| (rest, true));
        let digits = rest.strip_suffix(&*self.behind)?;
        let right = digits.len() >= DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
        Some((digits.parse().ok().filter(|_| right)?, packed))
    }

    /// Deletes the oldest until all of them take no more than `most` bytes. Returns how many went.
    ///
    /// # Errors
    /// When one cannot be deleted.
    pub(super) fn limit(&self, most: u64) -> io::Result<usize> {
        let all = self.list()?;
        let mut total: u64 = all.iter().map(|aside| aside.size).sum();
        let mut gone = 0;
        for aside in &all {
            if total <= most {
                break;
            }
            remove(&aside.path)?;
            remove(&packing(&aside.path))?;
            total -= aside.size;
            gone += 1;
        }
        Ok(gone)
    }
}

/// The path of a file's compressed form.
pub(super) fn packed(path: &Path) -> PathBuf {
    with_suffix(path, PACKED)
}

/// The path of that while it is being made.
pub(super) fn packing(path: &Path) -> PathBuf {
    with_suffix(path, PACKING)
}

/// Deletes a file that may have gone already.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
