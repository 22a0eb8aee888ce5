//! Which unit of the service manager a cgroup is.

use super::LayoutError;
use crate::cgroup::{CgroupPath, SliceRef};

/// Types of units that have a cgroup of their own, and the section of each in a unit file.
const TYPES: [(&str, &str); 3] = [(".slice", "Slice"), (".service", "Service"), (".scope", "Scope")];
/// Longest name of a unit, bytes.
const MAX_NAME: usize = 255;

/// The section of a unit's file that its resource settings belong in; `None` when this is no unit's name.
pub fn section(unit: &str) -> Option<&'static str> {
    let (stem, section) =
        TYPES.iter().find_map(|(suffix, section)| Some((unit.strip_suffix(suffix)?, section)))?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    (!stem.is_empty() && !stem.starts_with('.') && unit.len() <= MAX_NAME && stem.bytes().all(legal))
        .then_some(section)
}

/// The unit whose cgroup this is.
///
/// # Errors
/// When the cgroup is none that the service manager makes.
pub fn of(slice: &SliceRef) -> Result<String, LayoutError> {
    if let Some(unit) = slice.unit() {
        return Ok(unit.to_owned());
    }
    let refuse = |why| Err(LayoutError::NoUnit { cgroup: slice.path().clone(), why });
    let name = slice.path().relative().file_name().and_then(|name| name.to_str()).unwrap_or_default();
    // What would collide with a file of the kernel's has an underscore before its name.
    let unit = name.strip_prefix('_').unwrap_or(name);
    match section(unit) {
        None => refuse("its name is no unit's; systemd sets CPUs of units only, name a slice"),
        Some("Slice") if !is_at(unit, slice.path()) => refuse("systemd has a slice of that name elsewhere"),
        Some(_) => Ok(unit.to_owned()),
    }
}

fn is_at(unit: &str, path: &CgroupPath) -> bool {
    SliceRef::parse(unit).is_ok_and(|named| named.path() == path)
}

/// The uid whose slice this is, by the rule of `user@.service(5)`.
pub fn uid_of(slice: &CgroupPath) -> Option<u32> {
    let inner = slice.relative().strip_prefix("user.slice").ok()?.to_str()?;
    inner.strip_prefix("user-")?.strip_suffix(".slice")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(text: &str) -> Result<String, String> {
        of(&SliceRef::parse(text).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_cgroup_of_systemds_is_a_unit() {
        for (text, name, section_name) in [
            ("user-1003.slice", "user-1003.slice", "Slice"),
            ("/user.slice/user-1003.slice", "user-1003.slice", "Slice"),
            ("/system.slice/ssh.service", "ssh.service", "Service"),
            ("/system.slice/system-x.slice/x@1.service", "x@1.service", "Service"),
            ("/_cpu.slice", "cpu.slice", "Slice"),
        ] {
            assert_eq!(unit(text).unwrap(), name);
            assert_eq!(section(name), Some(section_name));
        }
    }

    #[test]
    fn other_cgroups_are_none() {
        for (text, part) in [
            ("/test/target", "/test/target: its name is no unit's"),
            ("/a/b.slice", "/a/b.slice: systemd has a slice of that name elsewhere"),
            ("/a b.service", "no unit's"),
        ] {
            let error = unit(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        for name in ["", ".slice", "a", "a.timer", "../x.slice", "a/b.slice", "..slice", "a\n.slice"] {
            assert_eq!(section(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_users_slice_has_a_uid() {
        let uid = |text: &str| uid_of(&CgroupPath::parse(text).unwrap());
        assert_eq!(uid("/user.slice/user-1003.slice"), Some(1003));
        for other in
            ["/user.slice", "/user.slice/user-x.slice", "/user-1.slice", "/user.slice/user-1.slice/x", "/"]
        {
            assert_eq!(uid(other), None, "{other}");
        }
    }
}
