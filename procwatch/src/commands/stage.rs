//! `procwatch stage`: the files of a package, in a folder that one is made of.

use std::{fs, path::PathBuf, process::ExitCode};

use clap::Args;

use crate::{
    agent::AgentError,
    install::{files::Home, folder, receipt::Receipt},
};

/// Arguments of `procwatch stage`.
#[derive(Debug, Args)]
pub struct StageArgs {
    /// The folder, which takes the place of the root
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// Writes them.
///
/// # Errors
/// When the folder takes no files, or has others in it.
pub fn run(args: &StageArgs) -> Result<ExitCode, AgentError> {
    fs::create_dir_all(&args.folder).map_err(AgentError::io("the folder of a package"))?;
    let files = Home::Distribution.files()?;
    let mut receipt = Receipt::default();
    let planned = folder::plan(&args.folder, &files, &receipt)?;
    folder::put(&args.folder, &files, &planned, &mut receipt)?;
    Ok(ExitCode::SUCCESS)
}
