//! `procwatch uninstall`: takes away what `procwatch install` has put there.

use std::{fs, io, path::Path, process::ExitCode};

use clap::Args;

use super::{
    act::{require_root, write},
    install::tell,
};
use crate::{
    agent::AgentError,
    install::{
        InstallError,
        files::{CONFIGURATION_FILE, Home},
        folder::{self, Planned, Step},
        receipt::{RECEIPT, Receipt},
        system,
    },
    layout::state,
};

/// Folders that are procwatch's alone, with all that it wrote in its life.
const OWN_FOLDERS: [&str; 4] =
    ["/etc/procwatch", "/var/lib/procwatch", "/var/log/procwatch", "/run/procwatch"];

/// Arguments of `procwatch uninstall`.
#[derive(Debug, Args)]
pub struct UninstallArgs {
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,

    /// Also remove the configuration, the history, the logs and the group
    #[arg(long)]
    purge: bool,
}

/// Shows what it does, and does it.
///
/// # Errors
/// When nothing is installed by `procwatch install`, or something cannot be removed.
pub fn run(args: &UninstallArgs) -> Result<ExitCode, AgentError> {
    if !args.dry_run {
        require_root("uninstall")?;
    }
    let (root, home) = (Path::new("/"), Home::Local);
    let mut receipt = Receipt::read(root)?;
    if receipt == Receipt::default() {
        let what = format!("there is no {RECEIPT}: `procwatch install` has installed nothing here");
        return Err(InstallError::Refused(what).into());
    }
    if args.purge && state::is_there() {
        let what = "`procwatch layout apply` gave slices their CPUs, and what was there before would be forgotten; \
                    take it back first: procwatch layout apply --undo";
        return Err(InstallError::Refused(what.to_owned()).into());
    }
    let mut planned = folder::plan_removal(root, &receipt)?;
    if !args.purge {
        keep_configuration(&mut planned);
    }
    let before = system::before_removal(home);
    let after = system::after_removal(args.purge);
    tell(args.dry_run, &[], &before)?;
    tell(false, &planned, &after)?;
    if args.purge {
        write(OWN_FOLDERS.map(|folder| format!("{:8}{folder}\n", "remove")).concat().as_bytes())?;
    }
    if args.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    for call in &before {
        call.run()?;
    }
    folder::remove(root, &planned, &mut receipt)?;
    remove(Path::new(RECEIPT), |path| fs::remove_file(path))?;
    if args.purge {
        for path in OWN_FOLDERS {
            remove(Path::new(path), |path| fs::remove_dir_all(path))?;
        }
    }
    for call in &after {
        call.run()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The configuration stays for the next time, as a package's does.
fn keep_configuration(planned: &mut [Planned]) {
    let is_it = |plan: &&mut Planned| plan.path == Path::new(CONFIGURATION_FILE);
    for plan in planned.iter_mut().filter(is_it) {
        plan.step = Step::Keep;
    }
}

/// What is gone already is well, too.
fn remove(path: &Path, how: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), AgentError> {
    match how(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(InstallError::Io { path: path.to_owned(), source: error }.into())
        }
        _ => Ok(()),
    }
}
