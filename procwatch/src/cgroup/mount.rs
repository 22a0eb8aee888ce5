//! Finds the cgroup2 mount.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::{ffi::OsStringExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::text::escape;

const MOUNTINFO: &str = "/proc/self/mountinfo";
/// Where systemd and everyone else who has a choice mounts it.
const USUAL_POINT: &str = "/sys/fs/cgroup";
/// The cgroup id of a hierarchy's root.
const ROOT_ID: u64 = 1;

/// Why there is no cgroup2 mount to work with.
#[derive(Debug, Error)]
pub enum MountError {
    /// The kernel's list of mounts could not be read.
    #[error("{MOUNTINFO}: {0}; mount /proc")]
    List(io::Error),
    /// The list has no cgroup2.
    #[error("no cgroup2 mount in {MOUNTINFO}; mount it: mount -t cgroup2 none {USUAL_POINT}")]
    None,
    /// It is in the list and cannot be read.
    #[error("{}: {source}; the cgroup2 mount cannot be read", escape(point.as_os_str().as_encoded_bytes()))]
    Unreadable {
        /// Where it is mounted.
        point: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A line of mountinfo that mounts cgroup2.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    /// Where.
    point: PathBuf,
    /// What part of the hierarchy: `/` is all that this cgroup namespace sees.
    root: PathBuf,
    /// Options of the hierarchy, not of this mount.
    options: Vec<String>,
}

/// The cgroup2 hierarchy and where it is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The directory it is mounted on, raw.
    pub point: PathBuf,
    /// Controllers that its root offers; none on a hybrid hierarchy.
    pub controllers: Vec<String>,
    /// Mount option: moves are faster, forks and exits a little slower.
    pub favordynmods: bool,
    /// Mount option: cgroup namespaces are delegation boundaries.
    pub nsdelegate: bool,
    /// Mount option: `memory.min` and `memory.low` hold for whole subtrees.
    pub memory_recursiveprot: bool,
    /// Whether the mount shows the hierarchy from its very root. False in a container or cgroup namespace, where
    /// depths as seen here are not those that the kernel counts.
    pub whole: bool,
}

impl Mount {
    /// Finds it in the mounts that this process sees. Of several it takes one with the whole hierarchy, and of those
    /// rather the one at the usual place.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn find() -> Result<Self, MountError> {
        let text = fs::read(MOUNTINFO).map_err(MountError::List)?;
        let chosen = choose(&text).ok_or(MountError::None)?;
        let root_id = fs::metadata(&chosen.point)
            .map_err(|source| MountError::Unreadable { point: chosen.point.clone(), source })?
            .ino();
        let has = |option: &str| chosen.options.iter().any(|set| set == option);
        Ok(Self {
            controllers: controllers(&chosen.point),
            favordynmods: has("favordynmods"),
            nsdelegate: has("nsdelegate"),
            memory_recursiveprot: has("memory_recursiveprot"),
            whole: chosen.root == Path::new("/") && root_id == ROOT_ID,
            point: chosen.point,
        })
    }

    /// The mount point for output.
    pub fn shown(&self) -> String {
        escape(self.point.as_os_str().as_encoded_bytes()).into_owned()
    }
}

/// The options of the hierarchy that is mounted there, without those that every file system has.
pub(super) fn options_of(point: &Path) -> Result<Vec<String>, MountError> {
    let text = fs::read(MOUNTINFO).map_err(MountError::List)?;
    let mut found = text.split(|byte| *byte == b'\n').filter_map(parse_line).filter(|it| it.point == point);
    let mut options = found.next().ok_or(MountError::None)?.options;
    options.retain(|option| !["rw", "ro"].contains(&option.as_str()));
    Ok(options)
}

/// The file is missing in the root of some container mounts: the same as no controllers.
fn controllers(point: &Path) -> Vec<String> {
    let text = fs::read_to_string(point.join("cgroup.controllers")).unwrap_or_default();
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

fn choose(mountinfo: &[u8]) -> Option<Candidate> {
    let lines = mountinfo.split(|byte| *byte == b'\n');
    lines.filter_map(parse_line).min_by_key(|found| {
        let whole = found.root == Path::new("/");
        (!whole, found.point != Path::new(USUAL_POINT))
    })
}

/// `41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw`: the fields before the dash are a fixed six
/// and any number of tags, after it the type, the source and the options of the file system.
fn parse_line(line: &[u8]) -> Option<Candidate> {
    let mut fields = line.split(|byte| *byte == b' ');
    let root = fields.by_ref().nth(3)?;
    let point = fields.next()?;
    let mut after = fields.skip_while(|field| *field != b"-").skip(1);
    if after.next()? != b"cgroup2" {
        return None;
    }
    let options = String::from_utf8_lossy(after.nth(1).unwrap_or_default()).into_owned();
    Some(Candidate {
        point: unescape(point),
        root: unescape(root),
        options: options.split(',').map(str::to_owned).collect(),
    })
}

/// The kernel writes space, tab, newline and backslash as a backslash and three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        if let [b'\\', digits @ ..] = rest
            && let Some(byte) = digits.get(..3).and_then(octal)
        {
            out.push(byte);
            rest = &digits[3..];
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

fn octal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HYBRID: &[u8] = b"23 1 254:0 / / rw,relatime - ext4 /dev/root rw\n\
        31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
        32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
    const PURE: &[u8] = b"30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 master:1 - cgroup2 cgroup2 \
        rw,nsdelegate,memory_recursiveprot,favordynmods\n";

    fn point_of(text: &[u8]) -> Option<String> {
        choose(text).map(|found| found.point.display().to_string())
    }

    #[test]
    fn pure_hybrid_and_none() {
        assert_eq!(point_of(PURE).unwrap(), "/sys/fs/cgroup");
        assert_eq!(point_of(HYBRID).unwrap(), "/sys/fs/cgroup/unified");
        assert_eq!(point_of(b"23 1 254:0 / / rw,relatime - ext4 /dev/root rw\n"), None);
        assert_eq!(point_of(b""), None);
    }

    #[test]
    fn options_are_those_of_the_hierarchy() {
        let found = choose(PURE).unwrap();
        assert_eq!(found.options, ["rw", "nsdelegate", "memory_recursiveprot", "favordynmods"]);
    }

    #[test]
    fn octal_escapes_are_undone() {
        let text = b"1 2 0:3 / /mnt/a\\040b\\134c\\9 rw - cgroup2 none rw";
        assert_eq!(point_of(text).unwrap(), "/mnt/a b\\c\\9");
    }

    #[test]
    fn of_several_the_whole_one_at_the_usual_place() {
        let part = "1 2 0:3 /docker/x /sys/fs/cgroup rw - cgroup2 none rw\n";
        let elsewhere = "1 2 0:3 / /mnt/cg rw - cgroup2 none rw\n";
        let usual = "1 2 0:3 / /sys/fs/cgroup rw - cgroup2 none rw\n";
        assert_eq!(point_of(format!("{part}{elsewhere}").as_bytes()).unwrap(), "/mnt/cg");
        assert_eq!(point_of(format!("{part}{elsewhere}{usual}").as_bytes()).unwrap(), "/sys/fs/cgroup");
        assert_eq!(choose(part.as_bytes()).unwrap().root, Path::new("/docker/x"));
    }

    proptest! {
        #[test]
        fn any_text_does_not_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = choose(&text);
        }

        #[test]
        fn a_hostile_line_does_not_panic(field in "[ -~]{0,40}") {
            let _ = choose(format!("1 2 0:3 {field} - cgroup2 {field}").as_bytes());
        }
    }
}
