//! Where things are in a checkout.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// The folders of this checkout that tasks use.
pub(crate) struct Workspace {
    /// The folder of the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Cargo's target folder.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Finds the checkout that this xtask was built from.
    pub(crate) fn locate() -> Result<Self> {
        let manifest_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest_dir.parent().context("xtask has no parent folder")?.to_path_buf();
        anyhow::ensure!(
            root.join("Cargo.toml").is_file(),
            "{} is no longer a checkout of procwatch; run `cargo xtask` in one",
            root.display()
        );
        // The agent's build script looks for the object in the same way.
        let target =
            env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
        Ok(Self { root, target })
    }

    /// The folder for tools that only this checkout uses, as `cargo install --root` wants it.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// A tool in [`Self::tools`].
    pub(crate) fn tool(&self, name: &str) -> PathBuf {
        self.tools().join("bin").join(name)
    }

    /// The target folder of the kernel side, which another compiler fills than that of the agent.
    pub(crate) fn bpf_target(&self) -> PathBuf {
        self.target.join("bpf")
    }

    /// The object that the agent's build script takes in.
    pub(crate) fn bpf_object(&self) -> PathBuf {
        self.bpf_target().join("procwatch.bpf.o")
    }
}
