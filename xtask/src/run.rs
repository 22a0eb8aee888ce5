//! `cargo xtask run` and `cargo xtask watch`: the agent as root on this machine.

use std::convert::Infallible;

use anyhow::Result;

use crate::{
    build::{self, Profile},
    caller, exec,
    workspace::Workspace,
};

/// Builds the agent and becomes `procwatch SUBCOMMAND ARGUMENTS` as root.
pub(crate) fn run(workspace: &Workspace, subcommand: &str, arguments: &[String]) -> Result<Infallible> {
    let agent = build::run(workspace, Profile::Release)?;
    Err(exec::replace(caller::as_root(&agent)?.arg(subcommand).args(arguments)))
}
