//! Takes the kernel programs, built by `cargo xtask build`, into the agent.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Names another object than the one that `cargo xtask build` leaves in the target folder.
const OVERRIDE: &str = "PROCWATCH_BPF_OBJECT";

/// What the object is made from, seen from the workspace's root.
const SOURCES: [&str; 2] = ["procwatch-ebpf/src", "procwatch-common/src"];

fn main() {
    if let Err(error) = take_in() {
        println!("cargo::error=cannot take in the kernel programs: {error}");
    }
}

/// Finds the object and copies it to where the agent's sources include it from.
fn take_in() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={OVERRIDE}");
    println!("cargo::rerun-if-env-changed=CARGO_TARGET_DIR");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let object = match env::var_os(OVERRIDE) {
        Some(object) => PathBuf::from(object),
        None => built_object(&root)?,
    };
    println!("cargo::rerun-if-changed={}", object.display());
    let copy = Path::new(&env::var_os("OUT_DIR").unwrap_or_default()).join("procwatch.bpf.o");
    let bytes = fs::read(&object).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot read the kernel programs in {}: {error}", object.display()),
        )
    })?;
    if bytes.is_empty() {
        println!(
            "cargo::warning=built without the kernel programs, so this procwatch can watch nothing; \
             `cargo xtask build` makes them"
        );
    }
    fs::write(copy, bytes)
}

/// The object in the target folder, with a warning when it is older than its sources.
fn built_object(root: &Path) -> io::Result<PathBuf> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
    let object = target.join("bpf/procwatch.bpf.o");
    if !object.exists() {
        reserve(&object)?;
    }
    let built_at = fs::metadata(&object)?.modified()?;
    let mut changed_at = SystemTime::UNIX_EPOCH;
    for sources in SOURCES {
        let sources = root.join(sources);
        println!("cargo::rerun-if-changed={}", sources.display());
        changed_at = changed_at.max(newest(&sources)?);
    }
    if built_at < changed_at && fs::metadata(&object)?.len() > 0 {
        println!(
            "cargo::warning=the kernel programs in this procwatch are older than their sources; \
             `cargo xtask build` makes new ones"
        );
    }
    Ok(object)
}

/// Puts an empty file in the place of the missing object.
///
/// Cargo runs a build script that waits for a missing file at each build, and compiles the agent anew each time. The
/// time stamp lies before every build, so that cargo does not take this very file for a change.
fn reserve(object: &Path) -> io::Result<()> {
    object.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::File::create(object)?.set_modified(SystemTime::UNIX_EPOCH)
}

/// When the newest file in `dir` or below it was changed.
fn newest(dir: &Path) -> io::Result<SystemTime> {
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let changed_at =
            if metadata.is_dir() { self::newest(&entry.path())? } else { metadata.modified()? };
        newest = newest.max(changed_at);
    }
    Ok(newest)
}
