//! What a process has mapped.

use std::{
    fs::File,
    io::{self, Read as _},
};

/// Most of a list of mappings that is read, bytes.
const MAX_MAPS: u64 = 32 << 20;

/// One file mapping of a process, or one without a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    /// First address.
    pub start: u64,
    /// Address behind the last one.
    pub end: u64,
    /// Offset in the file.
    pub offset: u64,
    /// It may be run.
    pub is_executable: bool,
    /// The file's path as the kernel tells it, or `[vdso]` and the like; empty for none.
    pub path: String,
}

/// All mappings of a process.
///
/// # Errors
/// When the process is gone or may not be looked at.
pub(super) fn mappings(pid: u32) -> io::Result<Vec<Mapping>> {
    let mut bytes = Vec::new();
    File::open(format!("/proc/{pid}/maps"))?.take(MAX_MAPS).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).lines().filter_map(parse).collect())
}

/// A line of `/proc/PID/maps`.
fn parse(line: &str) -> Option<Mapping> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let rights = fields.next()?;
    let offset = hex(fields.next()?)?;
    let path = fields.nth(2).unwrap_or_default().trim_start();
    Some(Mapping {
        start: hex(start)?,
        end: hex(end)?,
        offset,
        is_executable: rights.contains('x'),
        path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
55d0c0a00000-55d0c0a20000 r-xp 00001000 08:01 1234  /usr/bin/a b (deleted)
7f0000000000-7f0000001000 rw-p 00000000 00:00 0
7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0     [vdso]";

    #[test]
    fn mappings_are_read() {
        let all: Vec<Mapping> = MAPS.lines().filter_map(parse).collect();
        assert_eq!(all[0].path, "/usr/bin/a b (deleted)");
        assert_eq!((all[0].start, all[0].offset, all[0].is_executable), (0x55d0_c0a0_0000, 0x1000, true));
        assert_eq!((all[1].path.as_str(), all[1].is_executable), ("", false));
        assert_eq!(all[2].path, "[vdso]");
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn this_process_has_mappings() {
        let all = mappings(std::process::id()).unwrap();
        assert!(all.iter().any(|mapping| mapping.is_executable && mapping.path == "[vdso]"));
    }
}
