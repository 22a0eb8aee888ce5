//! What tests can ask of their guest, by how the name of their file begins.

use std::time::Duration;

/// A kind of guest.
pub(crate) struct Guest {
    /// What it is called; a file of tests for it is called `tests/tests/NAME_*.rs`.
    pub(crate) name: &'static str,
    /// Number of its CPUs, where that matters to the tests.
    pub(crate) cpus: Option<u32>,
    /// More words for its kernel's command line.
    pub(crate) kernel_options: &'static str,
    /// How long all of its tests may take.
    pub(crate) timeout: Duration,
    /// Whether it gets the agent as a package, and is started a second time with what is on its disk then.
    pub(crate) packaged: bool,
}

/// The kinds of guests; each that a test asks for is booted once.
pub(crate) const GUESTS: [Guest; 4] = [
    Guest { name: "vm", cpus: None, kernel_options: "", timeout: Duration::from_mins(20), packaged: false },
    // The machine of procwatch's first user: the layout of CPUs matters.
    Guest {
        name: "vm20",
        cpus: Some(20),
        kernel_options: "",
        timeout: Duration::from_mins(14),
        packaged: false,
    },
    // Debian's list of security modules without bpf: nothing can be held, as on many other distributions.
    Guest {
        name: "vmnolsm",
        cpus: None,
        kernel_options: "lsm=lockdown,capability,yama,apparmor",
        timeout: Duration::from_mins(10),
        packaged: false,
    },
    // A machine on which procwatch is installed as people install it, and that is booted again.
    Guest { name: "vmpkg", cpus: None, kernel_options: "", timeout: Duration::from_mins(16), packaged: true },
];

/// The guest that the program of this name asks for, if it asks for one.
pub(crate) fn of(program: &str) -> Option<&'static Guest> {
    let (prefix, _) = program.split_once('_')?;
    GUESTS.iter().find(|guest| guest.name == prefix)
}

/// Whether the kind of guest of this name gets the agent as a package.
pub(crate) fn is_packaged(name: &str) -> bool {
    GUESTS.iter().any(|guest| guest.name == name && guest.packaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_name_tells_the_guest() {
        let name = |program| of(program).map(|guest| guest.name);
        assert_eq!(name("vm_basics"), Some("vm"));
        assert_eq!(name("vm20_layout"), Some("vm20"));
        assert_eq!(name("vmnolsm_place"), Some("vmnolsm"));
        for here in ["chain", "vmx_basics", "vm", "placement_vm_"] {
            assert_eq!(name(here), None, "{here}");
        }
    }
}
