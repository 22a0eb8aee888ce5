//! What BPF can do on this kernel, by trying.

use std::{fmt::Display, io, os::fd::OwnedFd};

use aya::{maps::MapType, sys::is_map_supported};
use nix::errno::Errno;

use super::{
    TRACEPOINTS,
    btf::KernelTypes,
    fields,
    trial::{self, Kind},
};
use crate::{
    feature::{Feature, Need, State},
    host::{self, Lsms},
};

const NEEDS_ROOT: &str = "needs root to be tried";
const NO_BTF: &str = "cannot be tried without BTF";
const EVERYTHING: &str = "procwatch cannot run";

/// What was seen of a feature: its state and the detail.
type Seen = (State, String);

/// Looks at the kernel's BTF and loads programs that do nothing.
pub fn features() -> Vec<Feature> {
    let types = KernelTypes::from_running_kernel();
    let mut features = vec![required("btf", seen_btf(&types))];
    let types = types.ok();
    features.push(required("kernel-fields", seen_fields(types.as_ref())));
    features.push(required("ring-buffer", seen_ring()));
    let iterator = try_load(types.as_ref(), Kind::Iterator, "bpf_iter_task").map(|_| "loads".to_owned());
    features.push(required("task-iterator", settle(iterator)));
    for (name, tracepoint) in HOOK_NAMES.into_iter().zip(TRACEPOINTS) {
        let loaded = try_load(types.as_ref(), Kind::Tracepoint, tracepoint).map(|_| "loads".to_owned());
        features.push(required(name, settle(loaded)));
    }
    features.push(Feature {
        cost: "a uid change is seen only at the next fork, exec or exit",
        ..optional("trampolines", seen_trampolines(types.as_ref()))
    });
    features.push(Feature {
        cost: "no thread caps, and nothing is held at its exec until it is in its slice",
        ..optional("bpf-lsm", seen_lsm(types.as_ref()))
    });
    features
}

/// The names of [`TRACEPOINTS`] as features.
const HOOK_NAMES: [&str; TRACEPOINTS.len()] =
    ["hook-task-newtask", "hook-process-exec", "hook-process-exit", "hook-cgroup-attach"];

fn required(name: &'static str, (state, detail): Seen) -> Feature {
    Feature { name, state, need: Need::Required, detail, cost: EVERYTHING }
}

fn optional(name: &'static str, (state, detail): Seen) -> Feature {
    Feature { name, state, need: Need::Optional, detail, cost: "" }
}

fn seen_btf(types: &Result<KernelTypes, impl Display>) -> Seen {
    match types {
        Ok(_) => (State::Yes, "/sys/kernel/btf/vmlinux".to_owned()),
        Err(error) => (State::No, error.to_string()),
    }
}

fn seen_fields(types: Option<&KernelTypes>) -> Seen {
    let Some(types) = types else {
        return (State::Unknown, NO_BTF.to_owned());
    };
    match fields::resolve(types) {
        Ok((_, absent)) if absent.is_empty() => (State::Yes, "all that the programs read".to_owned()),
        Ok((_, absent)) => (State::Yes, format!("all but {}, shown as unknown", absent.join(", "))),
        Err(missing) => (State::No, format!("not in this kernel: {}", missing.join(", "))),
    }
}

fn seen_ring() -> Seen {
    if !host::is_root() {
        return (State::Unknown, NEEDS_ROOT.to_owned());
    }
    match is_map_supported(MapType::RingBuf) {
        Ok(true) => (State::Yes, "can be made".to_owned()),
        Ok(false) => (State::No, "this kernel does not know it (Linux 5.8 does)".to_owned()),
        Err(error) => (State::No, format!("refused: {}", reason(&error.io_error))),
    }
}

/// The program that decides whether uid changes are seen at once is an fentry program. The function that it is tried
/// on is the kernel's own for tests: nothing calls it.
///
/// That program asks for the current task, which 5.10 does not tell programs of this kind.
fn seen_trampolines(types: Option<&KernelTypes>) -> Seen {
    const QUIET: &str = "bpf_fentry_test1";
    const WANTED: &str = "commit_creds";
    let quiet = types.is_some_and(|types| types.function_id(QUIET).is_some());
    let target = if quiet { QUIET } else { WANTED };
    let loaded = try_load(types, Kind::Fentry, target);
    if loaded.is_ok() && try_load(types, Kind::FentryWithTask, target).is_err() {
        let detail = "fentry loads, but not when it asks for the current task (Linux 5.11 allows that)";
        return (State::Partly, detail.to_owned());
    }
    let done = loaded.and_then(|program| {
        if !quiet {
            return Ok("fentry loads".to_owned());
        }
        let attached = trial::attach(&program).map_err(|error| refused("attaching fentry", &error))?;
        drop(attached);
        Ok("fentry loads and attaches".to_owned())
    });
    settle(done)
}

/// Loading alone proves nothing: a kernel that has BPF LSM built in and not in its list takes the programs and never
/// calls them.
fn seen_lsm(types: Option<&KernelTypes>) -> Seen {
    let lsms = host::lsms();
    if let Lsms::Listed { bpf: false, names } = &lsms {
        return (State::No, format!("not in the list: {names}; boot with lsm={names},bpf"));
    }
    let loaded = try_load(types, Kind::SleepableLsm, "bpf_lsm_bprm_creds_for_exec");
    match (loaded, lsms) {
        (Ok(_), Lsms::Listed { .. }) => (State::Yes, "in the list, and loads".to_owned()),
        (Ok(_), Lsms::Unknown(why)) => (State::Unknown, format!("loads, but may not be called: {why}")),
        (Err((state, why)), Lsms::Listed { .. }) => (state, format!("in the list, but {why}")),
        (Err(seen), Lsms::Unknown(_)) => seen,
    }
}

/// Loads a program on a tracepoint or function by its name.
fn try_load(types: Option<&KernelTypes>, kind: Kind, target: &str) -> Result<OwnedFd, Seen> {
    let types = types.ok_or((State::Unknown, NO_BTF.to_owned()))?;
    let id = match kind {
        Kind::Tracepoint => types.tracepoint_id(target),
        _ => types.function_id(target),
    };
    let id = id.ok_or_else(|| (State::No, format!("this kernel has no {target}")))?;
    if !host::is_root() {
        return Err((State::Unknown, NEEDS_ROOT.to_owned()));
    }
    trial::load(kind, id).map_err(|error| refused("loading", &error))
}

fn settle(result: Result<String, Seen>) -> Seen {
    result.map_or_else(|seen| seen, |detail| (State::Yes, detail))
}

fn refused(what: &str, error: &io::Error) -> Seen {
    (State::No, format!("{what} is refused: {}", reason(error)))
}

/// The error's name, and for a refusal what may be behind it.
fn reason(error: &io::Error) -> String {
    // `ENOTSUPP` is the kernel's own and has no name outside.
    const ENOTSUPP: i32 = 524;
    match error.raw_os_error() {
        Some(ENOTSUPP) => "ENOTSUPP: not built for this architecture".to_owned(),
        Some(libc::EPERM) => format!("EPERM; {}", host::lockdown()),
        Some(number) => format!("{:?}", Errno::from_raw(number)),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_the_errors_name() {
        let named = |number| reason(&io::Error::from_raw_os_error(number));
        assert_eq!(named(libc::EINVAL), "EINVAL");
        assert!(named(libc::EPERM).starts_with("EPERM; "));
        assert!(named(524).starts_with("ENOTSUPP"));
    }

    #[test]
    fn without_btf_nothing_is_guessed() {
        assert_eq!(seen_fields(None).0, State::Unknown);
        assert_eq!(seen_trampolines(None), (State::Unknown, NO_BTF.to_owned()));
        assert_eq!(seen_btf(&Err::<KernelTypes, _>("gone")), (State::No, "gone".to_owned()));
    }

    #[test]
    fn what_the_agent_needs_is_here() {
        if !host::is_root() {
            println!("skipped: loading programs needs root");
            return;
        }
        let features = features();
        for feature in features.iter().filter(|feature| feature.need == Need::Required) {
            assert_eq!(feature.state, State::Yes, "{feature:?}");
        }
    }
}
