//! Who is never touched, whatever else is true of it.

use crate::text::Comm;

/// Names of what people and machines cannot do without. The kernel keeps 15 bytes of a name.
const NAMES: [&[u8]; 30] = [
    b"(sd-pam)",
    b"Xorg",
    b"Xwayland",
    b"Xvnc",
    b"X",
    b"agetty",
    b"at-spi-bus-laun",
    b"cinnamon",
    b"dbus-broker",
    b"dbus-broker-lau",
    b"dbus-daemon",
    b"dbus-launch",
    b"gnome-session-b",
    b"gnome-shell",
    b"kwin_wayland",
    b"kwin_x11",
    b"labwc",
    b"lightdm",
    b"login",
    b"mutter",
    b"muffin",
    b"plasmashell",
    b"procwatch",
    b"sddm",
    b"sddm-helper",
    b"ssh-agent",
    b"startplasma-way",
    b"sway",
    b"weston",
    b"xfwm4",
];

/// The same by how a name begins.
const PREFIXES: [&[u8]; 6] = [b"systemd", b"sshd", b"gdm", b"Xorg.", b"gnome-keyring", b"xfce4-session"];

/// Whether a process of that name is never touched. A process that takes such a name on purpose saves only itself.
pub fn is_protected(comm: &Comm) -> bool {
    let name = comm.as_bytes();
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::comm;

    #[test]
    fn the_manners_of_the_house() {
        for name in ["systemd", "systemd-logind", "sshd", "sshd-session", "dbus-daemon", "Xorg", "procwatch"]
        {
            assert!(is_protected(&comm(name)), "{name}");
        }
        for name in ["sleep", "python3", "bash", "X11", ""] {
            assert!(!is_protected(&comm(name)), "{name}");
        }
    }

    #[test]
    fn no_name_is_longer_than_the_kernel_keeps() {
        assert!(NAMES.iter().all(|name| name.len() <= 15));
    }
}
