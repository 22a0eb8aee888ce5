//! What the machine is, apart from its BPF.

use std::{fs, io, path::Path, thread};

use nix::{sys::utsname::uname, unistd::geteuid};
use serde::Serialize;

use crate::{
    cgroup::{Mount, resolve::systemd_runs},
    feature::{Feature, Need, State},
    text::escape,
};

const SECURITYFS: &str = "/sys/kernel/security";

/// Which machine a report is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Host {
    /// Kernel release, escaped.
    pub kernel: String,
    /// CPUs that this process may use; 0 when that cannot be told.
    pub cpus: usize,
}

impl Host {
    /// This machine.
    pub fn here() -> Self {
        let release = uname().map(|names| names.release().to_owned()).unwrap_or_default();
        Self {
            kernel: escape(release.as_encoded_bytes()).into_owned(),
            cpus: thread::available_parallelism().map_or(0, usize::from),
        }
    }
}

/// Whether this process has root's effective uid.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Root first, then cgroups and systemd.
pub fn features() -> Vec<Feature> {
    let mut features = vec![root()];
    features.extend(cgroups());
    features.push(systemd());
    features
}

fn root() -> Feature {
    let euid = geteuid();
    Feature {
        name: "root",
        state: if euid.is_root() { State::Yes } else { State::No },
        need: Need::Required,
        detail: format!("effective uid {euid}"),
        cost: "procwatch cannot run; start it as root",
    }
}

fn cgroups() -> Vec<Feature> {
    let feature = |name, need, cost| Feature { name, need, cost, state: State::No, detail: String::new() };
    let cgroup2 = feature("cgroup2", Need::Optional, "no cgroup paths, and nothing is placed");
    let controllers =
        feature("cgroup-controllers", Need::Optional, "a slice limits neither CPUs nor memory nor threads");
    let fast_moves = feature("favordynmods", Need::Comfort, "a move takes 4-35 ms instead of 0.4-2 ms");
    let mount = match Mount::find() {
        Ok(mount) => mount,
        Err(error) => {
            return vec![Feature { detail: error.to_string(), ..cgroup2 }];
        }
    };
    let (state, detail) = seen_mount(&mount);
    let (controllers_state, controllers_detail) = seen_controllers(&mount.controllers);
    vec![
        Feature { state, detail, ..cgroup2 },
        Feature { state: controllers_state, detail: controllers_detail, ..controllers },
        Feature { state: yes_if(mount.favordynmods), detail: seen_moves(&mount), ..fast_moves },
    ]
}

fn seen_mount(mount: &Mount) -> (State, String) {
    if mount.whole {
        return (State::Yes, mount.shown());
    }
    (
        State::Partly,
        format!("{}, but only a part of the hierarchy: a container or cgroup namespace", mount.shown()),
    )
}

/// Whether moves are fast, and where they are not, how slow they are. Only root may find out.
fn seen_moves(mount: &Mount) -> String {
    if mount.favordynmods {
        return format!("mount option of {}", mount.shown());
    }
    let absent = format!("no mount option of {}", mount.shown());
    if !is_root() {
        return absent;
    }
    match mount.time_of_a_move() {
        Ok(time) => format!(
            "{absent}; a move took {:.1} ms (median of 5), with it 0.4-2 ms is usual; to have it set: \
             favordynmods = true",
            time.as_secs_f64() * 1e3
        ),
        Err(error) => format!("{absent}; what a move costs was not measured: {error}"),
    }
}

/// Those that give a slice its CPUs and limits; a hybrid hierarchy has them in cgroup v1.
fn seen_controllers(offered: &[String]) -> (State, String) {
    const WANTED: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];
    let (there, missing): (Vec<&str>, Vec<&str>) =
        WANTED.into_iter().partition(|wanted| offered.iter().any(|name| name == wanted));
    match (there.is_empty(), missing.is_empty()) {
        (_, true) => (State::Yes, there.join(" ")),
        (true, _) => (State::No, format!("none of {}", missing.join(" "))),
        (false, false) => (State::Partly, format!("{}, without {}", there.join(" "), missing.join(" "))),
    }
}

fn systemd() -> Feature {
    let runs = systemd_runs();
    let detail = if runs { "is pid 1" } else { "is not pid 1" };
    Feature {
        name: "systemd",
        state: yes_if(runs),
        need: Need::Comfort,
        detail: detail.to_owned(),
        cost: "slices are made and kept by hand",
    }
}

const fn yes_if(there: bool) -> State {
    if there { State::Yes } else { State::No }
}

/// The security modules that the kernel calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lsms {
    /// They are known.
    Listed {
        /// Whether BPF is one of them.
        bpf: bool,
        /// All of them, joined by commas and escaped.
        names: String,
    },
    /// They are not, for this reason.
    Unknown(String),
}

/// Asks securityfs, and where that is not mounted the kernel itself (Linux 6.8 and later). Mounts nothing.
pub(crate) fn lsms() -> Lsms {
    let file = format!("{SECURITYFS}/lsm");
    match fs::read_to_string(&file) {
        Ok(text) => {
            let names = text.trim();
            Lsms::Listed {
                bpf: names.split(',').any(|name| name == "bpf"),
                names: escape(names.as_bytes()).into_owned(),
            }
        }
        Err(error) => listed_by_kernel().unwrap_or_else(|| Lsms::Unknown(unreadable(&file, &error))),
    }
}

fn listed_by_kernel() -> Option<Lsms> {
    const LSM_ID_BPF: u64 = 109;
    let ids = list_modules().ok()?;
    let names = ids.iter().map(|id| lsm_name(*id)).collect::<Vec<_>>().join(",");
    Some(Lsms::Listed { bpf: ids.contains(&LSM_ID_BPF), names })
}

fn list_modules() -> io::Result<Vec<u64>> {
    // The same number on every architecture that Rust's BPF targets know.
    const SYS_LSM_LIST_MODULES: libc::c_long = 461;
    let mut ids = [0_u64; 32];
    let mut bytes = size_of_val(&ids) as u32;
    // SAFETY: the kernel writes at most `bytes` bytes to `ids`, which has so many, and the length to `bytes`.
    let found = unsafe { libc::syscall(SYS_LSM_LIST_MODULES, &raw mut ids, &raw mut bytes, 0) };
    let found = usize::try_from(found).map_err(|_| io::Error::last_os_error())?;
    Ok(ids.into_iter().take(found).collect())
}

/// `enum` in `linux/lsm.h`.
fn lsm_name(id: u64) -> String {
    const NAMES: [&str; 14] = [
        "capability",
        "selinux",
        "smack",
        "tomoyo",
        "apparmor",
        "yama",
        "loadpin",
        "safesetid",
        "lockdown",
        "bpf",
        "landlock",
        "ima",
        "evm",
        "ipe",
    ];
    let name = id.checked_sub(100).and_then(|index| NAMES.get(index as usize));
    name.map_or_else(|| id.to_string(), |name| (*name).to_owned())
}

/// The lockdown mode in words.
pub(crate) fn lockdown() -> String {
    let file = format!("{SECURITYFS}/lockdown");
    match fs::read_to_string(&file) {
        Ok(text) => format!("lockdown is {}", chosen(&text)),
        Err(error) => format!("lockdown mode is not known, {}", unreadable(&file, &error)),
    }
}

/// `none [integrity] confidentiality`: the mode in force is in brackets.
fn chosen(text: &str) -> String {
    let inner = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    escape(inner.map_or(text.trim(), |(mode, _)| mode).as_bytes()).into_owned()
}

fn unreadable(file: &str, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound && is_empty(Path::new(SECURITYFS)) {
        return "securityfs is not mounted".to_owned();
    }
    format!("{file}: {error}")
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_in_brackets_is_in_force() {
        assert_eq!(chosen("none [integrity] confidentiality\n"), "integrity");
        assert_eq!(chosen("[none] integrity confidentiality\n"), "none");
        assert_eq!(chosen("odd\n"), "odd");
        assert_eq!(chosen("]["), "][");
    }

    #[test]
    fn modules_have_names() {
        assert_eq!(
            [lsm_name(100), lsm_name(109), lsm_name(113), lsm_name(114), lsm_name(0)],
            ["capability", "bpf", "ipe", "114", "0"]
        );
    }

    #[test]
    fn a_part_of_the_hierarchy_is_only_partly_good() {
        let mut mount = Mount::find().unwrap();
        mount.whole = true;
        assert_eq!(seen_mount(&mount).0, State::Yes);
        mount.whole = false;
        assert_eq!(seen_mount(&mount).0, State::Partly);
    }

    #[test]
    fn only_controllers_that_limit_something_count() {
        let seen = |names: &str| seen_controllers(&names.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(
            seen("cpuset cpu io memory hugetlb pids"),
            (State::Yes, "cpu cpuset memory pids".to_owned())
        );
        assert_eq!(seen("hugetlb"), (State::No, "none of cpu cpuset memory pids".to_owned()));
        assert_eq!(seen("memory pids"), (State::Partly, "memory pids, without cpu cpuset".to_owned()));
    }

    #[test]
    fn this_machine_has_a_kernel_and_cpus() {
        let host = Host::here();
        assert!(!host.kernel.is_empty() && host.cpus > 0);
    }
}
