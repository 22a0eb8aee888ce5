//! The LLVM that bpf-linker loads at run time: any at least as new as the one that wrote the bitcode.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    caller,
    toolchain::{Toolchain, Toolchains},
    workspace::Workspace,
};

/// A folder for `LD_LIBRARY_PATH` with an LLVM that reads the bitcode of `compiler`, when this machine has one.
pub(crate) fn library_folder(
    workspace: &Workspace,
    compiler: &Toolchain,
    found: &Toolchains,
) -> Result<Option<PathBuf>> {
    let wanted = compiler.version.llvm;
    let toolchains = [Some(compiler), found.current.as_ref(), found.nightly.as_ref()];
    let library = toolchains
        .into_iter()
        .flatten()
        .find_map(|toolchain| rust_library(&toolchain.lib, wanted))
        .or_else(|| system_library(wanted));
    library.map(|library| link_alone(workspace, &library)).transpose()
}

/// The LLVM in a toolchain's folder, when it is new enough.
///
/// Beside the library lies a linker script of nearly the same name, which cannot be loaded: the large file it is.
fn rust_library(lib: &Path, wanted: u32) -> Option<PathBuf> {
    let fits = |name: &String| name.contains("-rust-") && major(name).is_some_and(|it| it >= wanted);
    let libraries = names(lib).into_iter().filter(fits).map(|name| lib.join(name));
    libraries.max_by_key(|library| fs::metadata(library).map_or(0, |metadata| metadata.len()))
}

/// The system's LLVM that is nearest to `wanted` from above.
fn system_library(wanted: u32) -> Option<PathBuf> {
    let multiarch = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let libraries = [Path::new(&multiarch), Path::new("/usr/lib64"), Path::new("/usr/lib")]
        .into_iter()
        .flat_map(|dir| names(dir).into_iter().map(move |name| (major(&name), dir.join(&name))));
    let new_enough = libraries.filter_map(|(major, path)| Some((major.filter(|it| *it >= wanted)?, path)));
    new_enough.min().map(|(_, path)| path)
}

/// A folder with nothing but a link to `library`: bpf-linker takes the first LLVM that it sees in a folder, and a
/// folder can hold several, and files that are none.
fn link_alone(workspace: &Workspace, library: &Path) -> Result<PathBuf> {
    let folder = workspace.tools().join("llvm");
    let link = folder.join("libLLVM.so");
    if fs::read_link(&link).is_ok_and(|target| target == library) {
        return Ok(folder);
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    // A link to an older library, or none at all.
    let _ = fs::remove_file(&link);
    symlink(library, &link).with_context(|| format!("cannot create {}", link.display()))?;
    caller::hand_over(&folder)?;
    Ok(folder)
}

/// The file names in `dir`, none when it cannot be read.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The major version in the file name of an LLVM library: `libLLVM-22-rust-1.95.0-stable.so`, `libLLVM.so.22.1`.
fn major(name: &str) -> Option<u32> {
    let rest = name.strip_prefix("libLLVM")?;
    let digits = rest.strip_prefix(".so.").or_else(|| rest.strip_prefix('-'))?;
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn major_is_read_from_every_style_of_name() {
        for (name, expected) in [
            ("libLLVM-22-rust-1.95.0-stable.so", Some(22)),
            ("libLLVM.so.22.1-rust-1.95.0-stable", Some(22)),
            ("libLLVM.so.19.1", Some(19)),
            ("libLLVM-15.so.1", Some(15)),
            ("libLLVM.so", None),
            ("libLLVMCore.a", None),
            ("librustc_driver.so", None),
        ] {
            assert_eq!(major(name), expected, "{name}");
        }
    }

    #[test]
    fn a_linker_script_is_not_taken_for_the_library() {
        let dir = tempfile::tempdir().unwrap();
        let library = dir.path().join("libLLVM.so.22.1-rust-1.95.0-stable");
        fs::write(dir.path().join("libLLVM-22-rust-1.95.0-stable.so"), "INPUT(x)").unwrap();
        fs::write(&library, [0; 1000]).unwrap();
        assert_eq!(rust_library(dir.path(), 22), Some(library));
        assert_eq!(rust_library(dir.path(), 23), None);
    }

    #[test]
    fn a_link_folder_holds_one_library_and_follows_changes() {
        let dir = tempfile::tempdir().unwrap();
        let workspace = Workspace { root: dir.path().into(), target: dir.path().join("target") };
        for library in ["/lib/libLLVM.so.22.1", "/lib/libLLVM.so.23.1"] {
            let folder = link_alone(&workspace, Path::new(library)).unwrap();
            assert_eq!(names(&folder), ["libLLVM.so"]);
            assert_eq!(fs::read_link(folder.join("libLLVM.so")).unwrap(), Path::new(library));
        }
    }
}
