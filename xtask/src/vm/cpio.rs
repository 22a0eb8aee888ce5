//! The archive format of an initramfs, "newc": as much of it as one needs.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    path::Path,
};

/// A file of mode `rwxr-xr-x`, as the kernel counts modes.
const FILE: u32 = 0o100_755;

/// A folder of mode `rwxr-xr-x`.
const FOLDER: u32 = 0o040_755;

/// Bytes of an entry's header.
const HEADER: usize = 110;

/// Writes an archive; all in it belongs to root.
pub(crate) struct Archive<W> {
    out: W,
    folders: BTreeSet<String>,
    entries: u32,
}

impl<W: Write> Archive<W> {
    /// An empty archive.
    pub(crate) fn new(out: W) -> Self {
        Self { out, folders: BTreeSet::new(), entries: 0 }
    }

    /// Adds a folder and those above it, where they are not there yet.
    pub(crate) fn folder(&mut self, path: &str) -> io::Result<()> {
        for ancestor in ancestors(path) {
            if self.folders.insert(ancestor.to_owned()) {
                self.entry(ancestor, FOLDER, &[])?;
            }
        }
        Ok(())
    }

    /// Adds an executable file and the folders above it.
    pub(crate) fn file(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        if let Some((folder, _)) = path.rsplit_once('/') {
            self.folder(folder)?;
        }
        self.entry(path, FILE, content)
    }

    /// Writes the end mark and returns where the archive went.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.entry("TRAILER!!!", 0, &[])?;
        Ok(self.out)
    }

    /// Header, name and content, the last two each padded to four bytes.
    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let too_large = |_| io::Error::other(format!("{name} is too large for an initramfs"));
        let size = u32::try_from(content.len()).map_err(too_large)?;
        let name_size = u32::try_from(name.len() + 1).map_err(too_large)?;
        self.entries += 1;
        self.out.write_all(b"070701")?;
        // inode, mode, uid, gid, links, time, size, device (2), special device (2), length of the name, checksum
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        for field in fields {
            write!(self.out, "{field:08x}")?;
        }
        self.out.write_all(name.as_bytes())?;
        self.out.write_all(padding(HEADER + name.len() + 1, 1))?;
        self.out.write_all(content)?;
        self.out.write_all(padding(content.len(), 0))
    }
}

/// The zero bytes that bring `length` to a multiple of four, and `more` before them.
fn padding(length: usize, more: usize) -> &'static [u8] {
    &[0; 4][..(4 - length % 4) % 4 + more]
}

/// `a/b/c` as `a`, `a/b`, `a/b/c`.
fn ancestors(path: &str) -> Vec<&str> {
    let mut ancestors: Vec<&str> = Path::new(path)
        .ancestors()
        .filter_map(Path::to_str)
        .filter(|ancestor| !ancestor.is_empty())
        .collect();
    ancestors.reverse();
    ancestors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_and_folders_come_once() {
        let mut archive = Archive::new(Vec::new());
        archive.file("bin/one", b"12345").unwrap();
        archive.file("bin/two", b"").unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let starts: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(b"070701")).collect();
        assert!(starts.iter().all(|start| start % 4 == 0), "{starts:?}");
        let names: Vec<&[u8]> = starts
            .iter()
            .map(|start| bytes[start + 110..].split(|&byte| byte == 0).next().unwrap())
            .collect();
        let names: Vec<_> = names.iter().map(|name| String::from_utf8_lossy(name)).collect();
        assert_eq!(names, ["bin", "bin/one", "bin/two", "TRAILER!!!"]);
    }

    #[test]
    fn padding_reaches_the_next_multiple_of_four() {
        let lengths: Vec<usize> = (0..5).map(|length| padding(length, 0).len()).collect();
        assert_eq!(lengths, [0, 3, 2, 1, 0]);
    }
}
