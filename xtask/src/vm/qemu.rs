//! Programs that machines are made with, and whether this machine can lend them its CPU.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{
    debian,
    folder::{Folder, fingerprint},
    kernel::Kernel,
    machine::{Machine, Trial},
};
use crate::{exec, setup::say};

/// Each program and the package it comes in.
const PROGRAMS: [(&str, &str); 4] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("mmdebstrap", "mmdebstrap"),
    ("busybox", "busybox-static"),
    ("depmod", "kmod"),
];

/// The device that lends a guest this machine's CPU.
const KVM: &str = "/dev/kvm";

/// How long the smallest guest may take to boot under KVM: where it works it takes about one second.
const KVM_TRIAL: Duration = Duration::from_secs(8);

/// The programs, unpacked in the target folder.
pub(crate) struct Programs {
    root: PathBuf,
}

impl Programs {
    /// Fetches them where they are not there yet.
    pub(crate) fn prepare(folder: &Folder) -> Result<Self> {
        let packages = PROGRAMS.map(|(_, package)| package);
        let name = format!("tools-{}", fingerprint(&packages));
        let root = folder.path(&name);
        if !root.is_dir() {
            say(
                "qemu, mmdebstrap, busybox, kmod → target/vm (they make virtual machines; nothing is installed; ~6 s)",
            );
            let draft = folder.empty("tools.new")?;
            debian::unpack_tools(&packages, &draft)?;
            fs::rename(&draft, &root).with_context(|| format!("cannot make {}", root.display()))?;
        }
        Ok(Self { root })
    }

    /// One of them: as unpacked, else as installed.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        debian::find_program(&self.root, name).or_else(|| installed(name)).unwrap_or_else(|| name.into())
    }

    /// A command of one of them, with the libraries that came with it.
    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.path(name));
        let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|it| self.root.join(it));
        if let Ok(path) = env::join_paths(libraries) {
            command.env("LD_LIBRARY_PATH", path);
        }
        command
    }

    /// The emulator, told where its firmware was unpacked.
    pub(crate) fn qemu(&self) -> Command {
        let mut command = self.command(PROGRAMS[0].0);
        for folder in ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"] {
            let path = self.root.join(folder);
            if path.is_dir() {
                command.arg("-L").arg(path);
            }
        }
        command
    }
}

/// A program of the system. Those of root are not on everybody's PATH.
fn installed(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .or_else(|| debian::find_program(Path::new("/"), name))
}

/// What executes the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accelerator {
    /// This machine's CPU.
    Kvm,
    /// An emulator, ten to twenty times slower.
    Tcg,
}

impl Accelerator {
    /// What this machine is known to be able to; tried once, because `/dev/kvm` alone proves nothing.
    pub(crate) fn find(folder: &Folder, programs: &Programs, kernel: &Kernel) -> Result<Self> {
        if fs::File::options().read(true).write(true).open(KVM).is_err() {
            return Ok(Self::Tcg);
        }
        let note = folder.path("accelerator");
        match fs::read_to_string(&note).as_deref() {
            Ok("kvm") => return Ok(Self::Kvm),
            Ok("tcg") => return Ok(Self::Tcg),
            _ => {}
        }
        say("a tiny guest is booted once with /dev/kvm (it may exist and not work; at most 8 s)");
        let trial = Machine::new(folder, programs, Self::Kvm).try_boot(kernel, KVM_TRIAL)?;
        let found = match &trial {
            Trial::Boots => Self::Kvm,
            Trial::Fails(why) => {
                say(&format!(
                    "/dev/kvm does not boot a guest ({}): they are emulated, which is slower",
                    exec::gist(why)
                ));
                Self::Tcg
            }
        };
        fs::write(&note, found.name()).with_context(|| format!("cannot write {}", note.display()))?;
        Ok(found)
    }

    /// Its name for qemu and for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }

    /// The words for qemu.
    pub(crate) fn option(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg,thread=multi",
        }
    }

    /// How much longer things take than on the real CPU, roughly.
    pub(crate) fn slowness(self) -> u32 {
        match self {
            Self::Kvm => 1,
            Self::Tcg => 4,
        }
    }
}
