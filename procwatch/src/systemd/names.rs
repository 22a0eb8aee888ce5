//! What systemd calls itself and its parts on the bus.

pub(super) const SERVICE: &str = "org.freedesktop.systemd1";
pub(super) const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
pub(super) const MANAGER: &str = "org.freedesktop.systemd1.Manager";
pub(super) const JOB: &str = "org.freedesktop.systemd1.Job";
pub(super) const UNIT: &str = "org.freedesktop.systemd1.Unit";
pub(super) const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// The interface that has the properties of this type of unit alone, such as those of its cgroup.
pub(super) fn interface_of_type(unit: &str) -> Option<&'static str> {
    const BY_SUFFIX: [(&str, &str); 3] = [
        ("service", "org.freedesktop.systemd1.Service"),
        ("scope", "org.freedesktop.systemd1.Scope"),
        ("slice", "org.freedesktop.systemd1.Slice"),
    ];
    let (_, suffix) = unit.rsplit_once('.')?;
    BY_SUFFIX.iter().find(|(known, _)| *known == suffix).map(|(_, interface)| *interface)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interface_follows_the_suffix() {
        assert_eq!(interface_of_type("user-1003.slice"), Some("org.freedesktop.systemd1.Slice"));
        assert_eq!(interface_of_type("a.b.scope"), Some("org.freedesktop.systemd1.Scope"));
        assert_eq!(interface_of_type("service"), None);
        assert_eq!(interface_of_type("x.mount"), None);
    }
}
