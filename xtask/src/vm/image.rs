//! The root file system of guests: a small Debian 12 with systemd, made once for each recipe.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{
    debian::{self, Suites},
    folder::{Folder, fingerprint},
    qemu::Programs,
};
use crate::{caller, exec, setup::say};

/// What is in it besides the essential.
const PACKAGES: [&str; 17] = [
    "at",
    "cgroup-tools",
    "cron",
    "dbus",
    "iproute2",
    "kmod",
    "libpam-systemd",
    "login",
    "passwd",
    "procps",
    "python3-minimal",
    "sudo",
    "systemd",
    "systemd-container",
    "systemd-sysv",
    "util-linux",
    "util-linux-extra",
];

/// Files of ours in it.
const FILES: [(&str, &str); 3] = [
    ("usr/lib/procwatch-vm/job", include_str!("guest/job")),
    ("usr/lib/procwatch-vm/finish", include_str!("guest/finish")),
    ("etc/systemd/system/procwatch-job.service", include_str!("guest/job.service")),
];

/// Its size: sparse, most of it never written.
const SIZE: &str = "2G";

/// Finds or makes the image.
pub(crate) fn prepare(folder: &Folder, programs: &Programs, suites: &Suites) -> Result<PathBuf> {
    let image = folder.path(format!("root-{}.ext4", fingerprint(&(PACKAGES, FILES, SIZE))));
    if image.is_file() {
        return Ok(image);
    }
    say("Debian 12 → target/vm (the root file system of virtual machines; ~40 s, 230 MB)");
    let root = folder.path("root.new");
    // Its files belong to root, so only root can remove what an earlier attempt left.
    let remove = || exec::run(caller::as_root(Path::new("rm"))?.args(["-rf", "--"]).arg(&root));
    remove()?;
    install(programs, suites, &root)?;
    add_files(folder, &root)?;
    exec::read(caller::as_root(Path::new("chroot"))?.arg(&root).arg("/usr/lib/procwatch-vm/finish"))?;
    let draft = folder.path("root.ext4.new");
    format(&root, &draft)?;
    remove()?;
    fs::rename(&draft, &image).with_context(|| format!("cannot make {}", image.display()))?;
    Ok(image)
}

/// Installs the packages below `root`.
fn install(programs: &Programs, suites: &Suites, root: &Path) -> Result<()> {
    let mut command = caller::as_root(&programs.path("mmdebstrap"))?;
    command.args(["--quiet", "--mode=root", "--variant=minbase", "--format=directory"]);
    command.arg(format!("--include={}", PACKAGES.join(",")));
    command.arg("bookworm").arg(root).args(suites.root_sources());
    exec::read(&mut command).map(drop)
}

/// Puts our files below `root`, by way of an archive: that folder is root's.
fn add_files(folder: &Folder, root: &Path) -> Result<()> {
    let archive = folder.path("root-files.tar");
    let file = fs::File::create(&archive).with_context(|| format!("cannot write {}", archive.display()))?;
    let mut tar = tar::Builder::new(file);
    for (path, content) in FILES {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        let script = content.starts_with("#!");
        header.set_mode(if script { 0o755 } else { 0o644 });
        tar.append_data(&mut header, path, content.as_bytes())?;
    }
    tar.into_inner()?;
    let mut unpack = caller::as_root(Path::new("tar"))?;
    unpack.args(["--extract", "--owner=root", "--file"]).arg(&archive).arg("-C").arg(root);
    exec::read(&mut unpack).map(drop)
}

/// Makes an ext4 file system of what is below `root`, without mounting anything.
fn format(root: &Path, image: &Path) -> Result<()> {
    let mke2fs =
        debian::find_program(Path::new("/"), "mke2fs").context("there is no mke2fs; install e2fsprogs")?;
    let _ = fs::remove_file(image);
    let mut command = caller::as_root(&mke2fs)?;
    command.args(["-q", "-t", "ext4", "-m", "0", "-O", "^has_journal", "-d"]);
    exec::read(command.arg(root).arg(image).arg(SIZE)).map(drop)
}
