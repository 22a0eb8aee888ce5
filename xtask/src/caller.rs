//! On whose behalf a task runs: builds belong to the person who called, only the agent and its tests to root.

use std::{
    env,
    ffi::OsString,
    fs,
    os::unix::{
        fs::{MetadataExt as _, lchown},
        process::CommandExt as _,
    },
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result};
use nix::unistd::{Uid, User};

use crate::{exec, setup::Refusal, workspace::Workspace};

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    Uid::effective().is_root()
}

/// The user behind a `sudo`, when this process is root for one.
fn sudo_user() -> Result<Option<User>> {
    let Some(uid) = env::var("SUDO_UID").ok().filter(|_| is_root()) else {
        return Ok(None);
    };
    let uid = Uid::from_raw(uid.parse().with_context(|| format!("SUDO_UID is {uid:?}, not a number"))?);
    if uid.is_root() {
        return Ok(None);
    }
    User::from_uid(uid).with_context(|| format!("cannot look up the user with uid {uid}"))
}

/// A command that runs as the person who called, even when this process is root by their `sudo`.
pub(crate) fn command(program: impl Into<OsString>) -> Result<Command> {
    let mut command = Command::new(program.into());
    if let Some(user) = sudo_user()? {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw()).env("HOME", &user.dir).env("USER", &user.name);
        // Inherited root paths would be of no use to that user.
        command.env_remove("CARGO_HOME").env_remove("RUSTUP_HOME");
    }
    Ok(command)
}

/// The cargo that started this task, running as the person who called.
pub(crate) fn cargo(workspace: &Workspace) -> Result<Command> {
    let mut cargo = command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))?;
    cargo.current_dir(&workspace.root).env("CARGO_BUILD_TARGET_DIR", &workspace.target);
    Ok(cargo)
}

/// A command that runs `program` as root: directly when this process is root, else through sudo.
pub(crate) fn as_root(program: &Path) -> Result<Command> {
    if is_root() {
        return Ok(Command::new(program));
    }
    if !exec::succeeds(Command::new("sudo").arg("--version")) {
        let missing = "watching the kernel needs root, and there is no sudo".to_owned();
        return Err(Refusal {
            missing,
            command: "su -c 'apt-get install sudo'   # or work as root".to_owned(),
        }
        .into());
    }
    let mut sudo = Command::new("sudo");
    sudo.arg("--").arg(program);
    Ok(sudo)
}

/// Hands `path` and what is below it to the person who called, where it is root's by their `sudo`.
///
/// Root's are files that this program makes itself and, under `sudo cargo`, this very program.
pub(crate) fn hand_over(path: &Path) -> Result<()> {
    sudo_user()?.map_or(Ok(()), |user| give(path, &user))
}

/// Gives what is root's at `path` and below it to `user`; links are not followed.
fn give(path: &Path, user: &User) -> Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if metadata.uid() == 0 {
        lchown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
            .with_context(|| format!("cannot give {} to {}", path.display(), user.name))?;
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))? {
            give(&entry?.path(), user)?;
        }
    }
    Ok(())
}
