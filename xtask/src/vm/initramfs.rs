//! The first file system of a guest: busybox, and the modules on the way to the root file system's disk.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{cpio::Archive, qemu::Programs};
use crate::exec;

/// The first process.
const INIT: &str = include_str!("guest/init");

/// Modules that a guest cannot load from the root file system: it lies behind them, and has no modules at all.
const MODULES: [&str; 5] = ["virtio_pci", "virtio_blk", "virtio_console", "ext4", "crc32c_generic"];

/// What an initramfs is made of, besides a kernel.
pub(crate) fn inputs() -> impl std::hash::Hash {
    (INIT, MODULES)
}

/// Makes the initramfs of a release whose packages are in `unpacked`.
pub(crate) fn make(programs: &Programs, unpacked: &Path, release: &str, target: &Path) -> Result<()> {
    let busybox = programs.path("busybox");
    let busybox = fs::read(&busybox).with_context(|| format!("cannot read {}", busybox.display()))?;
    let mut archive = Archive::new(Vec::new());
    for folder in ["dev", "proc", "sysroot"] {
        archive.folder(folder)?;
    }
    archive.file("init", INIT.as_bytes())?;
    archive.file("bin/busybox", &busybox)?;
    let mut order = String::new();
    for module in modules(programs, unpacked, release)? {
        let name = plain_name(&module);
        archive.file(&format!("modules/{name}"), &content(&module)?)?;
        order.push_str(&name);
        order.push('\n');
    }
    archive.file("modules/order", order.as_bytes())?;
    let bytes = archive.finish()?;
    fs::write(target, bytes).with_context(|| format!("cannot write {}", target.display()))
}

/// The files of the modules in the order of loading. What is built in has none.
fn modules(programs: &Programs, unpacked: &Path, release: &str) -> Result<Vec<PathBuf>> {
    let base = if unpacked.join("usr/lib/modules").is_dir() && !unpacked.join("lib/modules").is_dir() {
        unpacked.join("usr")
    } else {
        unpacked.to_owned()
    };
    exec::read(programs.command("depmod").arg("--basedir").arg(&base).arg(release))?;
    let folder = base.join("lib/modules").join(release);
    let list = folder.join("modules.dep");
    let list = fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let order = load_order(&list);
    Ok(order.into_iter().map(|module| folder.join(module)).collect())
}

/// The modules that [`MODULES`] need, by `modules.dep`: a line has a module and then what it needs, nearest first.
fn load_order(dependencies: &str) -> Vec<&str> {
    let mut order = Vec::new();
    for wanted in MODULES {
        let line = dependencies
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(module, _)| plain_name(Path::new(module)) == format!("{wanted}.ko"));
        let Some((module, needs)) = line else {
            continue;
        };
        for path in needs.split_whitespace().rev().chain([module]) {
            if !order.contains(&path) {
                order.push(path);
            }
        }
    }
    order
}

/// A module's file name without the ending of a compressed one; `-` and `_` are the same in it.
fn plain_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(".xz").or(name.strip_suffix(".zst")).unwrap_or(&name);
    name.replace('-', "_")
}

/// A module as the kernel takes it.
fn content(path: &Path) -> Result<Vec<u8>> {
    let decompressor = match path.extension().and_then(|ending| ending.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => return fs::read(path).with_context(|| format!("cannot read {}", path.display())),
    };
    exec::read_bytes(Command::new(decompressor).args(["-d", "-c"]).arg(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_come_after_what_they_need() {
        let list = "kernel/v/virtio_pci.ko.xz: kernel/v/virtio_ring.ko.xz kernel/v/virtio.ko.xz\n\
                    kernel/v/virtio-blk.ko: kernel/v/virtio_ring.ko.xz kernel/v/virtio.ko.xz\n\
                    kernel/v/other.ko:\n";
        let order = [
            "kernel/v/virtio.ko.xz",
            "kernel/v/virtio_ring.ko.xz",
            "kernel/v/virtio_pci.ko.xz",
            "kernel/v/virtio-blk.ko",
        ];
        assert_eq!(load_order(list), order);
        assert_eq!(plain_name(Path::new("a/virtio-blk.ko.zst")), "virtio_blk.ko");
    }
}
