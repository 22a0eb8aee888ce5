//! `procwatch keep`: the process that only waits, so that the unit it runs in stays.

use std::{fs, io, process};

use clap::Args;
use nix::unistd::pause;

use crate::{
    cgroup::{CgroupPath, Mount},
    text::escape,
};

/// Name of the cgroup that it goes into with `--apart`.
const APART: &str = "keeper";

/// Arguments of `procwatch keep`.
#[derive(Debug, Args)]
pub struct KeepArgs {
    /// Move into a cgroup of its own, below the one that it was started in
    #[arg(long)]
    apart: bool,
}

/// Waits until a signal ends the process. That it stays in the cgroup where it is does no harm, and is only told.
#[expect(clippy::print_stderr, reason = "systemd's journal has what its units write there")]
pub fn run(args: &KeepArgs) -> ! {
    if args.apart
        && let Err(error) = go_apart()
    {
        eprintln!("procwatch keep: {error}; it stays in the unit's own cgroup");
    }
    loop {
        pause();
    }
}

/// A cgroup with processes in it cannot have controllers enabled below it, and the unit's is to be able to.
fn go_apart() -> io::Result<()> {
    let mount = Mount::find().map_err(io::Error::other)?;
    let all = fs::read_to_string("/proc/self/cgroup")?;
    let own = all.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
    let own = CgroupPath::parse(own).map_err(io::Error::other)?;
    let folder = mount.point.join(own.child(APART).relative());
    let named = |error: io::Error| {
        io::Error::other(format!("{}: {error}", escape(folder.as_os_str().as_encoded_bytes())))
    };
    match fs::create_dir(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(named(error)),
        _ => {}
    }
    fs::write(folder.join("cgroup.procs"), process::id().to_string()).map_err(named)
}
