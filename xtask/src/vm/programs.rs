//! The small programs of tests, compiled here: a guest has no compiler.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context as _, Result};

use crate::{caller, exec, tools, workspace::Workspace};

/// A program: its name, and the file.
pub(crate) type Program = (String, PathBuf);

/// Compiles what is in `tests/programs`, statically, where it is newer than what was made of it.
pub(crate) fn compiled(workspace: &Workspace) -> Result<Vec<Program>> {
    tools::test_programs()?;
    let sources = files(&workspace.root.join("tests/programs"))?;
    let folder = workspace.target.join("vm/programs");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    caller::hand_over(&folder)?;
    // What they share is a source of each.
    let newest_header = sources.iter().filter(|path| has_ending(path, "h")).map(|path| time(path)).max();
    let mut programs = Vec::new();
    for source in sources.iter().filter(|path| has_ending(path, "c")) {
        let name = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let program = folder.join(&name);
        if time(&program) <= time(source).max(newest_header.unwrap_or_default()) {
            let mut cc = caller::command("cc")?;
            cc.args(["-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-static", "-o"]);
            exec::run(cc.arg(&program).arg(source))?;
        }
        programs.push((name, program));
    }
    programs.sort();
    Ok(programs)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|it| it == ending)
}

/// When it was written; `None` is older than all.
fn time(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_older_than_all() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(time(Path::new("/no/such/file")) < time(file.path()));
        assert!(has_ending(Path::new("a/b.c"), "c") && !has_ending(Path::new("a/c"), "c"));
    }
}
