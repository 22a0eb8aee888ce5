//! Who is never touched, whatever else is true of it.

use crate::{execute::contain::protect::of_name, text::Comm};

/// Whether a process of that name is never touched. A process that takes such a name on purpose saves only itself.
pub fn is_protected(comm: &Comm) -> bool {
    of_name(comm).is_some()
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
}
