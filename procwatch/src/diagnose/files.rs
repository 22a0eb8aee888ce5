//! Source files of a process, as it sees them itself.

use std::{
    cell::RefCell,
    collections::HashMap,
    fs::{File, Metadata},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    rc::Rc,
};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use super::source::{MAX_BYTES, Module};

/// Most files that are read for one answer.
const MAX_FILES: usize = 64;

/// A file that was read.
#[derive(Debug)]
pub struct SourceFile {
    /// What is in it.
    pub module: Module,
    /// When it was last written, seconds since 1970.
    pub written: i64,
}

/// Reads source files below a root, each once, and no more than there is room for. Only those that the process may read
/// itself: it says which files these are, and their lines are shown to people.
#[derive(Debug)]
pub struct Files {
    root: String,
    uid: u32,
    gid: u32,
    known: RefCell<HashMap<String, Option<Rc<SourceFile>>>>,
}

impl Files {
    /// The files that a process of these effective ids sees.
    pub fn of(pid: u32, uid: u32, gid: u32) -> Self {
        Self::below(format!("/proc/{pid}/root"), uid, gid)
    }

    /// The files below a folder.
    pub fn below(root: String, uid: u32, gid: u32) -> Self {
        Self { root, uid, gid, known: RefCell::new(HashMap::new()) }
    }

    /// A file by its absolute path; `None` when it cannot be read, is no text, or is too much.
    pub fn get(&self, path: &str) -> Option<Rc<SourceFile>> {
        if !path.starts_with('/') {
            return None;
        }
        let mut known = self.known.borrow_mut();
        if let Some(found) = known.get(path) {
            return found.clone();
        }
        if known.len() >= MAX_FILES {
            return None;
        }
        let file = self.read(path).ok().map(Rc::new);
        known.insert(path.to_owned(), file.clone());
        file
    }

    /// Reads a regular file, of at most [`MAX_BYTES`]. Links are followed within the root only.
    fn read(&self, path: &str) -> io::Result<SourceFile> {
        let root = File::open(&self.root)?;
        // What looks like a file may be a pipe that nobody writes to.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let file = File::from(openat2(&root, path, flags, Mode::empty(), within)?);
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.len() > MAX_BYTES as u64 || !self.may_read(&metadata) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let mut bytes = Vec::new();
        file.take(MAX_BYTES as u64).read_to_end(&mut bytes)?;
        Ok(SourceFile { module: Module::scan(&String::from_utf8_lossy(&bytes)), written: metadata.mtime() })
    }

    fn may_read(&self, metadata: &Metadata) -> bool {
        let mode = metadata.mode();
        self.uid == 0
            || mode & 0o004 != 0
            || (metadata.uid() == self.uid && mode & 0o400 != 0)
            || (metadata.gid() == self.gid && mode & 0o040 != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_bearable_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_str().unwrap().to_owned();
        std::fs::write(folder.path().join("a.py"), "f()\n").unwrap();
        std::fs::write(folder.path().join("large.py"), vec![b'#'; MAX_BYTES + 1]).unwrap();
        nix::unistd::mkfifo(&folder.path().join("pipe.py"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let files = Files::below(root, 0, 0);
        assert_eq!(files.get("/a.py").unwrap().module.calls.len(), 1);
        assert!(files.get("/large.py").is_none());
        assert!(files.get("/pipe.py").is_none());
        assert!(files.get("/none.py").is_none());
        assert!(files.get("a.py").is_none());
    }
}
