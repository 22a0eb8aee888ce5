//! `cargo xtask package`: the agent as a Debian package, with the files that `procwatch install` knows of.
//!
//! `dpkg-deb` makes it of a folder. What has to be in there besides the files is a handful of texts in packaging/debian, and
//! which files those are the agent says itself: so a package and `procwatch install` cannot differ.

use std::{
    fs::{self, Permissions},
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    build::{self, Profile},
    caller, exec,
    setup::say,
    workspace::Workspace,
};

/// What is asked of the package.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The package's own number behind the program's version
    #[arg(long, value_name = "N", default_value_t = 1)]
    revision: u32,
}

/// The scripts that dpkg runs.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Folders of packaging/ that a package has whole, where it has them.
const SHARED: [&str; 2] = ["grafana", "prometheus"];

/// The oldest C library that a program which names no version is held to need.
const OLDEST_GLIBC: (u32, u32) = (2, 17);

/// Builds the agent and makes a package of it.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let agent = build::run(workspace, Profile::Release)?;
    let package = make(workspace, &agent, options.revision)?;
    say(&package.display().to_string());
    Ok(())
}

/// Makes a package of an agent that is built, in `target/package`.
pub(crate) fn make(workspace: &Workspace, agent: &Path, revision: u32) -> Result<PathBuf> {
    let folder = workspace.target.join("package");
    let root = folder.join("root");
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    make_folder(&root)?;
    exec::read(caller::command(agent)?.arg("stage").arg(&root))?;
    add_documents(workspace, &root, revision)?;
    add_control(workspace, &root, revision)?;
    let file = folder.join(format!("procwatch_{}_{}.deb", version(revision), architecture()?));
    let mut build = caller::command("dpkg-deb")?;
    // The same sources make the same package, byte by byte.
    build.env("SOURCE_DATE_EPOCH", source_date(workspace));
    exec::read(build.args(["--root-owner-group", "-Zxz", "-z6", "--build"]).arg(&root).arg(&file))?;
    caller::hand_over(&folder)?;
    Ok(file)
}

/// The version of the package.
fn version(revision: u32) -> String {
    format!("{}-{revision}", env!("CARGO_PKG_VERSION"))
}

fn architecture() -> Result<String> {
    let told = exec::read(Command::new("dpkg").arg("--print-architecture"));
    Ok(told.context("Debian packages are made by dpkg")?.trim().to_owned())
}

/// When the sources were changed last, in seconds of Unix.
fn source_date(workspace: &Workspace) -> String {
    let mut git = Command::new("git");
    git.current_dir(&workspace.root).args(["log", "-1", "--format=%ct"]);
    exec::read(&mut git).map_or_else(|_| "0".to_owned(), |time| time.trim().to_owned())
}

/// What a package has beside the files of the program: who may do what with it, what changed, what others draw of it.
fn add_documents(workspace: &Workspace, root: &Path, revision: u32) -> Result<()> {
    let documents = root.join("usr/share/doc/procwatch");
    let licence = read(&workspace.root.join("LICENSE-MIT"))?;
    let copyright = read(&debian(workspace).join("copyright"))?;
    write(&documents.join("copyright"), &copyright.replace("@MIT@\n", &indented(&licence)), 0o644)?;
    write(&documents.join("changelog.Debian"), &changelog(workspace, revision)?, 0o644)?;
    write(&documents.join("changelog"), &read(&workspace.root.join("CHANGELOG.md"))?, 0o644)?;
    let pages = ["usr/share/man/man1", "usr/share/man/man5"].map(|folder| root.join(folder));
    for page in pages.iter().map(|folder| files_below(folder)).collect::<Result<Vec<_>>>()?.concat() {
        gzip(&page)?;
    }
    for log in ["changelog", "changelog.Debian"] {
        gzip(&documents.join(log))?;
    }
    for name in SHARED {
        let from = workspace.root.join("packaging").join(name);
        for file in if from.is_dir() { files_below(&from)? } else { Vec::new() } {
            let place = root.join("usr/share/procwatch").join(name).join(file.strip_prefix(&from)?);
            write(&place, &read(&file)?, 0o644)?;
        }
    }
    Ok(())
}

/// A text as Debian's copyright files have it.
fn indented(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| if line.trim().is_empty() { " .\n".to_owned() } else { format!(" {line}\n") });
    lines.collect()
}

fn changelog(workspace: &Workspace, revision: u32) -> Result<String> {
    let mut date = Command::new("date");
    date.env("LC_ALL", "C").args(["--utc", "--rfc-email", "--date"]);
    let date = exec::read(date.arg(format!("@{}", source_date(workspace))))?;
    Ok(format!(
        "procwatch ({}) unstable; urgency=medium\n\n  * See changelog.gz.\n\n -- The procwatch developers \
         <procwatch@localhost>  {}\n",
        version(revision),
        date.trim()
    ))
}

/// What dpkg has to know.
fn add_control(workspace: &Workspace, root: &Path, revision: u32) -> Result<()> {
    let control = root.join("DEBIAN");
    let files = files_below(root)?;
    let bytes: u64 = files.iter().filter_map(|file| file.metadata().ok()).map(|it| it.len()).sum();
    let program = fs::read(root.join("usr/bin/procwatch")).context("the agent has staged no program")?;
    let (major, minor) = needed_glibc(&program);
    let text = read(&debian(workspace).join("control"))?
        .replace("@VERSION@", &version(revision))
        .replace("@ARCHITECTURE@", &architecture()?)
        .replace("@SIZE@", &bytes.div_ceil(1024).to_string())
        .replace("@GLIBC@", &format!("{major}.{minor}"));
    write(&control.join("control"), &text, 0o644)?;
    let (configuration, others): (Vec<_>, Vec<_>) =
        relative(root, &files)?.into_iter().partition(|file| file.starts_with("etc/"));
    let lines: Vec<String> = configuration.iter().map(|file| format!("/{file}\n")).collect();
    write(&control.join("conffiles"), &lines.concat(), 0o644)?;
    let sums = exec::read(Command::new("md5sum").current_dir(root).args(&others))?;
    write(&control.join("md5sums"), &sums, 0o644)?;
    for script in SCRIPTS {
        write(&control.join(script), &read(&debian(workspace).join(script))?, 0o755)?;
    }
    Ok(())
}

fn debian(workspace: &Workspace) -> PathBuf {
    workspace.root.join("packaging/debian")
}

/// The newest version of the C library that a program names a function of.
fn needed_glibc(program: &[u8]) -> (u32, u32) {
    const NAME: &[u8] = b"GLIBC_2.";
    let minor = |after: &[u8]| {
        let digits = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
        std::str::from_utf8(&after[..digits]).ok()?.parse().ok()
    };
    let named = program.windows(NAME.len()).enumerate().filter(|(_, window)| *window == NAME);
    let minors = named.filter_map(|(at, _)| minor(&program[at + NAME.len()..]));
    minors.map(|minor| (2, minor)).chain([OLDEST_GLIBC]).max().unwrap_or(OLDEST_GLIBC)
}

/// Paths below a root as dpkg writes them, in order.
fn relative(root: &Path, files: &[PathBuf]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for file in files {
        let name = file.strip_prefix(root)?.to_str().context("a file with a name that is no text")?;
        names.push(name.to_owned());
    }
    names.sort();
    Ok(names)
}

/// All files below a folder.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<String> {
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|mut file| file.read_to_string(&mut text))
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    make_folder(path.parent().context("a file without a folder")?)?;
    fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Whatever the caller's mask is, what is packaged is for everyone to read.
fn make_folder(path: &Path) -> Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.exists()).collect();
    for folder in missing.into_iter().rev() {
        fs::create_dir(folder)
            .and_then(|()| fs::set_permissions(folder, Permissions::from_mode(0o755)))
            .with_context(|| format!("cannot make {}", folder.display()))?;
    }
    Ok(())
}

/// Without name and time in it: the same text is the same file.
fn gzip(file: &Path) -> Result<()> {
    exec::read(Command::new("gzip").args(["-9", "--no-name", "--force"]).arg(file)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_function_says_what_c_library_is_needed() {
        assert_eq!(needed_glibc(b"\0GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.28\0GLIBC_PRIVATE"), (2, 34));
        assert_eq!(needed_glibc(b"no such name, GLIBC_2."), OLDEST_GLIBC);
    }

    #[test]
    fn a_licence_is_indented_and_its_empty_lines_have_a_dot() {
        assert_eq!(indented("one\n\ntwo\n"), " one\n .\n two\n");
    }

    #[test]
    fn files_are_named_as_dpkg_does() {
        let root = tempfile::tempdir().unwrap();
        write(&root.path().join("usr/bin/b"), "", 0o755).unwrap();
        write(&root.path().join("etc/a"), "", 0o644).unwrap();
        let files = files_below(root.path()).unwrap();
        assert_eq!(relative(root.path(), &files).unwrap(), ["etc/a", "usr/bin/b"]);
        let mode = |path: &str| fs::metadata(root.path().join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("usr/bin"), mode("usr/bin/b"), mode("etc/a")), (0o755, 0o755, 0o644));
    }
}
