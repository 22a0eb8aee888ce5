//! Stock kernels of Debian: chosen by version, unpacked, made bootable.

use std::{
    cmp::Ordering,
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{
    debian::Suites,
    folder::{Folder, fingerprint},
    initramfs,
    qemu::Programs,
};
use crate::setup::say;

/// The kernel that tests run on when nothing else is said: Debian 12's.
pub(crate) const DEFAULT: &str = "6.1";

/// The kernels of the matrix, oldest to newest; the last word stands for whatever is newest.
pub(crate) const MATRIX: [&str; 7] = ["5.10", DEFAULT, "6.12", "6.16", "6.18", "7.2", NEWEST];

/// Stands for the newest version that there is.
const NEWEST: &str = "newest";

/// How the names of kernels end that are built for virtual machines.
const FLAVOUR: &str = "cloud-amd64";

/// Debian's archive has no such kernel, or has it no more.
#[derive(Debug)]
pub(crate) struct Missing {
    version: String,
    /// What it has.
    there: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, there } = self;
        write!(f, "Debian's archive has no kernel {version} (any more); it has {there}")
    }
}

impl std::error::Error for Missing {}

/// A kernel with what it needs to reach a root file system.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    /// What `uname -r` says.
    pub(crate) release: String,
    /// The kernel itself.
    pub(crate) image: PathBuf,
    /// The first file system.
    pub(crate) initramfs: PathBuf,
}

impl Kernel {
    /// Finds or fetches the kernel for a version such as `6.1`, a whole release, or `newest`.
    ///
    /// A version, once chosen, stays at its release until `target/vm/kernels` is removed.
    ///
    /// The error is [`Missing`] when Debian's archive does not have it.
    pub(crate) fn prepare(
        folder: &Folder,
        programs: &Programs,
        suites: &Suites,
        version: &str,
    ) -> Result<Self> {
        let note = folder.folder("kernels")?.join(format!("{version}.release"));
        let release = match fs::read_to_string(&note) {
            Ok(release) => release,
            Err(_) => choose(suites, version)?,
        };
        let kernel = Self::unpack(folder, programs, suites, release)?;
        fs::write(&note, &kernel.release).with_context(|| format!("cannot write {}", note.display()))?;
        Ok(kernel)
    }

    /// Unpacks a release and makes its initramfs where that was not done before.
    fn unpack(folder: &Folder, programs: &Programs, suites: &Suites, release: String) -> Result<Self> {
        let name = format!("kernels/{release}-{}", fingerprint(&initramfs::inputs()));
        let home = folder.path(&name);
        let kernel = Self { image: home.join("vmlinuz"), initramfs: home.join("initramfs"), release };
        if home.is_dir() {
            return Ok(kernel);
        }
        let release = &kernel.release;
        say(&format!("Debian's kernel {release} → target/vm (virtual machines boot it; ~5 s)"));
        let unpacked = folder.empty("kernel.unpacked")?;
        suites.unpack(&packages(suites, release)?, &unpacked)?;
        let draft = folder.empty("kernel.new")?;
        initramfs::make(programs, &unpacked, release, &draft.join("initramfs"))?;
        let image = find_image(&unpacked, release)?;
        fs::copy(&image, draft.join("vmlinuz"))
            .with_context(|| format!("cannot copy {}", image.display()))?;
        fs::rename(&draft, &home).with_context(|| format!("cannot make {}", home.display()))?;
        // A hundred MiB of modules that no guest loads.
        fs::remove_dir_all(&unpacked).with_context(|| format!("cannot remove {}", unpacked.display()))?;
        Ok(kernel)
    }
}

/// The newest release of a version among Debian's kernels.
fn choose(suites: &Suites, version: &str) -> Result<String> {
    let names = suites.names(&format!("^linux-image-[0-9].*-{FLAVOUR}$"))?;
    let releases: Vec<&str> = names
        .iter()
        .filter_map(|name| name.strip_prefix("linux-image-"))
        .filter(|release| release.split('.').count() > 2)
        .collect();
    match newest(&releases, version) {
        Some(release) => Ok(release.to_owned()),
        None => Err(Missing { version: version.to_owned(), there: releases.join(" ") }.into()),
    }
}

/// The newest of `releases` that `version` can mean.
fn newest<'a>(releases: &[&'a str], version: &str) -> Option<&'a str> {
    let prefix = format!("{version}.");
    releases
        .iter()
        .copied()
        .filter(|release| version == NEWEST || *release == version || release.starts_with(&prefix))
        .max_by(|a, b| compare(a, b))
}

/// Compares version numbers: digits as numbers, all else as text.
fn compare(a: &str, b: &str) -> Ordering {
    parts(a).cmp(&parts(b))
}

/// `6.12.9+deb12` as numbers and the text between them.
fn parts(version: &str) -> Vec<(u64, &str)> {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let mut parts = Vec::new();
    let mut rest = version;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(digits(rest));
        let text_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (text, next) = tail.split_at(text_end);
        parts.push((number.parse().unwrap_or(0), text));
        rest = next;
    }
    parts
}

/// The packages that a release is spread over: one up to 6.18, several from then on.
fn packages(suites: &Suites, release: &str) -> Result<Vec<String>> {
    let escaped = release.replace('.', "\\.").replace('+', "\\+");
    let names = suites.names(&format!("^linux-(image|binary|modules|base)-{escaped}$"))?;
    if names.is_empty() {
        return Err(Missing { version: release.to_owned(), there: "newer ones".to_owned() }.into());
    }
    Ok(names)
}

/// The kernel among what was unpacked.
fn find_image(unpacked: &Path, release: &str) -> Result<PathBuf> {
    let places = [
        format!("boot/vmlinuz-{release}"),
        format!("usr/lib/modules/{release}/vmlinuz"),
        format!("lib/modules/{release}/vmlinuz"),
    ];
    let found = places.iter().map(|place| unpacked.join(place)).find(|path| path.is_file());
    found.with_context(|| format!("the packages of {release} contain no vmlinuz"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_release_of_a_version_is_chosen() {
        let releases = [
            "6.1.0-9-cloud-amd64",
            "6.1.0-0.deb11.52-cloud-amd64",
            "6.1.0-56-cloud-amd64",
            "6.12.9+deb12-cloud-amd64",
            "7.2.12+deb13-cloud-amd64",
            "7.2.9+deb13-cloud-amd64",
        ];
        assert_eq!(newest(&releases, "6.1"), Some("6.1.0-56-cloud-amd64"));
        assert_eq!(newest(&releases, "6.12"), Some("6.12.9+deb12-cloud-amd64"));
        assert_eq!(newest(&releases, NEWEST), Some("7.2.12+deb13-cloud-amd64"));
        assert_eq!(newest(&releases, "6.1.0-9-cloud-amd64"), Some("6.1.0-9-cloud-amd64"));
        assert_eq!(newest(&releases, "4.19"), None);
    }
}
