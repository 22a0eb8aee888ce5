//! `procwatch install`: makes the binary that runs a service of this machine.

use std::{fmt::Write as _, path::Path, process::ExitCode};

use clap::Args;

use super::act::{require_root, write};
use crate::{
    agent::AgentError,
    config,
    install::{
        InstallError,
        files::{CONFIGURATION_FILE, Home},
        folder::{self, Planned, Step},
        receipt::Receipt,
        system::{self, Call},
    },
};

/// Arguments of `procwatch install`.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,

    /// Neither enable nor start the service
    #[arg(long)]
    no_enable: bool,
}

/// Shows what it does, and does it.
///
/// # Errors
/// When it cannot be done: no file was written then. Or when a call after that fails.
pub fn run(args: &InstallArgs) -> Result<ExitCode, AgentError> {
    if !args.dry_run {
        require_root("install")?;
    }
    if system::is_packaged() {
        let what = "procwatch is installed as a Debian package; upgrade that, or: apt-get remove procwatch";
        return Err(InstallError::Refused(what.to_owned()).into());
    }
    let (root, home) = (Path::new("/"), Home::Local);
    let mut receipt = Receipt::read(root)?;
    let files = home.files()?;
    let planned = folder::plan(root, &files, &receipt)?;
    if planned.iter().any(|plan| plan.step == Step::Keep) {
        // The service would fail on it.
        config::load(None)?;
    }
    let calls = system::after_install(home, !args.no_enable);
    tell(args.dry_run, &planned, &calls)?;
    if args.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    folder::put(root, &files, &planned, &mut receipt)?;
    env!("CARGO_PKG_VERSION").clone_into(&mut receipt.version);
    receipt.write(root)?;
    for call in &calls {
        call.run()?;
    }
    let state = if calls.iter().any(Call::starts_service) {
        "the service runs; how it is: systemctl status procwatch"
    } else {
        "the service is not started; what starts it: systemctl enable --now procwatch"
    };
    write(format!("{state}; what it does: {CONFIGURATION_FILE}\n").as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// A line for each file and each call.
pub(super) fn tell(dry_run: bool, planned: &[Planned], calls: &[Call]) -> Result<(), AgentError> {
    let mut lines = String::new();
    if dry_run {
        lines.push_str("nothing is changed; this would be done:\n");
    }
    // A string takes everything.
    for plan in planned {
        let _ = writeln!(lines, "{plan}");
    }
    for call in calls {
        let _ = writeln!(lines, "{:8}{call}", "run");
    }
    write(lines.as_bytes())
}
