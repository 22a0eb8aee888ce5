//! Names of cgroups as people write them, and where they are below the mount.

use std::{fmt, path::Path};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::text::escape;

/// Longest path of a cgroup, bytes.
const MAX_PATH: usize = 4096;
/// Longest name of one cgroup in it, bytes.
const MAX_NAME: usize = 255;

/// Why a name is no cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    /// Nothing there.
    #[error("is empty; give a slice, e.g. \"user-1003.slice\", or a path, e.g. \"/test/target\"")]
    Empty,
    /// Not absolute, and not a slice either.
    #[error("\"{}\" is neither a slice nor a path; a slice ends in \".slice\", a path begins with \"/\"", escape(.0.as_bytes()))]
    Neither(String),
    /// A slice that systemd would refuse.
    #[error("\"{}\" is no slice name: {}; right is e.g. \"user-1003.slice\"", escape(.0.as_bytes()), .1)]
    Slice(String, &'static str),
    /// A path that points elsewhere, or nowhere.
    #[error("\"{}\" is no path of a cgroup: {}; right is e.g. \"/test/target\"", escape(.0.as_bytes()), .1)]
    Path(String, &'static str),
    /// Longer than the kernel allows.
    #[error("has {0} bytes; at most {MAX_PATH} in all and {MAX_NAME} between slashes are possible")]
    Long(usize),
}

/// The path of a cgroup below the root of its hierarchy. It has no `..`, no empty part and no NUL, so it can be
/// joined to the mount without leaving it. Shown escaped and beginning with `/`; the root is `/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CgroupPath(String);

impl CgroupPath {
    /// The root of the hierarchy.
    pub const fn root() -> Self {
        Self(String::new())
    }

    /// Takes a path that begins with `/`. One `/` at its end is let pass.
    ///
    /// # Errors
    /// When it is not absolute, has `.`, `..`, an empty part or a NUL, or is longer than the kernel allows.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let Some(relative) = text.strip_prefix('/') else {
            return Err(PathError::Neither(text.to_owned()));
        };
        let relative = relative.strip_suffix('/').unwrap_or(relative);
        if relative.is_empty() && text.len() <= 1 {
            return Ok(Self::root());
        }
        if text.len() > MAX_PATH || relative.split('/').any(|name| name.len() > MAX_NAME) {
            return Err(PathError::Long(text.len()));
        }
        for name in relative.split('/') {
            if let Some(why) = bad_name(name) {
                return Err(PathError::Path(text.to_owned(), why));
            }
        }
        Ok(Self(relative.to_owned()))
    }

    /// The path relative to the mount, raw: for system calls, never for output. Empty for the root.
    pub fn relative(&self) -> &Path {
        Path::new(&self.0)
    }

    /// The path as [`Self::parse`] takes it, raw: for files of ours, never for output.
    pub fn raw(&self) -> String {
        format!("/{}", self.0)
    }

    /// Its own name, raw; `None` for the root.
    pub fn name(&self) -> Option<&str> {
        self.0.rsplit('/').next().filter(|name| !name.is_empty())
    }

    /// How many steps below the root it is; 0 for the root.
    pub fn depth(&self) -> u32 {
        if self.0.is_empty() { 0 } else { self.0.split('/').count() as u32 }
    }

    /// The names on the way down to it, raw; none for the root.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|name| !name.is_empty())
    }

    /// The cgroup above it; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (above, _) = self.0.rsplit_once('/').unwrap_or(("", &self.0));
        (!self.0.is_empty()).then(|| Self(above.to_owned()))
    }

    /// The cgroup of that name in this one. `name` is one of ours: it has no `/` and is no `.` or `..`.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        let separator = if self.0.is_empty() { "" } else { "/" };
        Self(format!("{}{separator}{name}", self.0))
    }

    /// Whether it is a slice as systemd makes it, in slices only, or the root.
    pub fn is_slice(&self) -> bool {
        self.names().all(|name| name.strip_suffix(".slice").is_some())
    }

    /// Whether it is `other` or below it.
    pub fn is_within(&self, other: &Self) -> bool {
        self.relative().starts_with(other.relative())
    }

    /// Whether it is strictly below `other`.
    pub fn is_below(&self, other: &Self) -> bool {
        self != other && self.relative().starts_with(other.relative())
    }
}

impl Serialize for CgroupPath {
    /// Raw, as [`CgroupPath::parse`] takes it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.raw())
    }
}

impl<'de> Deserialize<'de> for CgroupPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("/{}", escape(self.0.as_bytes())))
    }
}

fn bad_name(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("a name between its slashes is empty"),
        "." | ".." => Some("it must not contain \".\" or \"..\""),
        name if name.contains('\0') => Some("it contains a NUL"),
        _ => None,
    }
}

/// A cgroup as written in the configuration: the name of a slice, or a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceRef {
    unit: Option<String>,
    path: CgroupPath,
}

impl SliceRef {
    /// Reads `user-1003.slice` (expanded by systemd's rule to `/user.slice/user-1003.slice`; `-.slice` is the root)
    /// or a path that begins with `/`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.is_empty() {
            return Err(PathError::Empty);
        }
        if text.starts_with('/') {
            return Ok(Self { unit: None, path: CgroupPath::parse(text)? });
        }
        Ok(Self { unit: Some(text.to_owned()), path: expand(text)? })
    }

    /// Where it is below the root of the hierarchy.
    pub const fn path(&self) -> &CgroupPath {
        &self.path
    }

    /// The slice's unit name, if it was written as one: letters, digits and `:-_.\` only.
    pub fn unit(&self) -> Option<&str> {
        self.unit.as_deref()
    }
}

impl From<CgroupPath> for SliceRef {
    fn from(path: CgroupPath) -> Self {
        Self { unit: None, path }
    }
}

impl fmt::Display for SliceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.unit {
            Some(unit) => f.pad(&escape(unit.as_bytes())),
            None => self.path.fmt(f),
        }
    }
}

/// The rule of `systemd.slice(5)`: each dash is a step down, and each step repeats the name so far.
fn expand(unit: &str) -> Result<CgroupPath, PathError> {
    let refuse = |why| Err(PathError::Slice(unit.to_owned(), why));
    if unit == "-.slice" {
        return Ok(CgroupPath::root());
    }
    let Some(stem) = unit.strip_suffix(".slice") else {
        return Err(PathError::Neither(unit.to_owned()));
    };
    if unit.len() > MAX_NAME {
        return Err(PathError::Long(unit.len()));
    }
    if !stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":-_.\\".contains(&byte)) {
        return refuse("only letters, digits and \":-_.\\\" are allowed");
    }
    if stem.split('-').any(str::is_empty) {
        return refuse("a part before, between or after its dashes is empty");
    }
    let ends = stem.match_indices('-').map(|(at, _)| at).chain([stem.len()]);
    let steps: Vec<String> = ends.map(|end| directory_of(&stem[..end])).collect();
    Ok(CgroupPath(steps.join("/")))
}

/// The directory of a slice. systemd puts `_` before names that the kernel could take for files of its own.
fn directory_of(stem: &str) -> String {
    const KERNEL: [&str; 9] =
        ["blkio.", "cgroup.", "cpu.", "cpuacct.", "cpuset.", "devices.", "io.", "memory.", "pids."];
    let name = format!("{stem}.slice");
    let collides = name.starts_with(['_', '.']) || KERNEL.iter().any(|prefix| name.starts_with(prefix));
    if collides { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slices_expand_at_their_dashes() {
        for (unit, path) in [
            ("-.slice", "/"),
            ("user.slice", "/user.slice"),
            ("user-1003.slice", "/user.slice/user-1003.slice"),
            ("a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice"),
            ("cpu-heavy.slice", "/_cpu.slice/cpu-heavy.slice"),
            (r"my\x2dapp.slice", r"/my\\x2dapp.slice"),
            ("/", "/"),
            ("/test/target", "/test/target"),
            ("/test/target/", "/test/target"),
            ("/a b", "/a b"),
        ] {
            assert_eq!(SliceRef::parse(unit).unwrap().path().to_string(), path, "{unit}");
        }
    }

    #[test]
    fn what_is_no_slice_says_why() {
        for (text, part) in [
            ("", "is empty"),
            ("a--b.slice", "a part before, between or after its dashes"),
            ("-a.slice", "a part before, between or after its dashes"),
            ("a-.slice", "a part before, between or after its dashes"),
            (".slice", "a part before, between or after its dashes"),
            ("user-1003", "neither a slice nor a path"),
            ("user.slice/user-1003", "neither a slice nor a path"),
            ("user.slice/user-1003.slice", "only letters"),
            ("ä.slice", "only letters"),
            ("a\u{1b}[2J.slice", "\\x1b[2J"),
            ("/a/../b", "\"..\""),
            ("/./b", "\"..\""),
            ("//", "is empty"),
            ("/a//b", "is empty"),
            ("/a\0b", "NUL"),
        ] {
            let error = SliceRef::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn lengths_are_the_kernels() {
        assert!(SliceRef::parse(&format!("/{}", "x".repeat(255))).is_ok());
        assert_eq!(SliceRef::parse(&format!("/{}", "x".repeat(256))), Err(PathError::Long(257)));
        assert_eq!(SliceRef::parse(&"/xx".repeat(1366)), Err(PathError::Long(4098)));
        assert_eq!(SliceRef::parse(&format!("{}.slice", "x".repeat(250))), Err(PathError::Long(256)));
    }

    #[test]
    fn depth_and_below() {
        let path = |text| CgroupPath::parse(text).unwrap();
        assert_eq!([path("/").depth(), path("/a").depth(), path("/a/b").depth()], [0, 1, 2]);
        assert!(path("/a/b").is_below(&path("/a")) && path("/a").is_below(&CgroupPath::root()));
        assert!(!path("/a").is_below(&path("/a")) && !path("/ab").is_below(&path("/a")));
        assert!(!path("/a").is_below(&path("/a/b")));
        assert_eq!([path("/").parent(), path("/a").parent()], [None, Some(CgroupPath::root())]);
        assert_eq!((path("/a/b").parent(), path("/a/b").name()), (Some(path("/a")), Some("b")));
        assert_eq!((path("/").name(), path("/a/b").raw().as_str()), (None, "/a/b"));
    }

    #[test]
    fn a_slice_is_in_slices_only() {
        let is_slice = |text| CgroupPath::parse(text).unwrap().is_slice();
        assert!(is_slice("/") && is_slice("/user.slice/user-1003.slice"));
        assert!(!is_slice("/user.slice/user@1003.service/app.slice") && !is_slice("/a"));
    }

    proptest! {
        #[test]
        fn any_text_stays_below_the_mount(text in any::<String>()) {
            if let Ok(slice) = SliceRef::parse(&text) {
                let relative = slice.path().relative();
                prop_assert!(relative.components().all(|part| matches!(part, std::path::Component::Normal(_))));
            }
        }
    }
}
