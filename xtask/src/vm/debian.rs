//! Debian packages that are unpacked into the target folder: nothing on the system is changed, nobody need be root.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::folder::Folder;
use crate::{
    exec,
    packages::Apt,
    setup::{Refusal, say},
};

/// Where Debian keeps the keys of its archives.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The suites that guests and their kernels come from; the archive says which of the two mirrors has it.
const SUITES: [(Archive, &str); 4] = [
    (Archive::Main, "bookworm"),
    (Archive::Security, "bookworm-security"),
    (Archive::Security, "bullseye-security"),
    (Archive::Main, "trixie-backports"),
];

/// Debian's archives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Archive {
    /// Releases and backports.
    Main,
    /// Security updates.
    Security,
}

/// The mirrors that this machine itself uses.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mirrors {
    main: String,
    security: String,
}

impl Mirrors {
    /// Reads what `apt-get indextargets` says of each source: origin, label, address.
    fn parse(targets: &str) -> Option<Self> {
        let of = |label: &str| {
            targets.lines().find_map(|line| {
                let mut words = line.split('\t');
                let is_it = words.next()? == "Debian" && words.next()? == label;
                words.next().filter(|_| is_it).map(str::to_owned)
            })
        };
        Some(Self { main: of("Debian")?, security: of("Debian-Security")? })
    }

    /// The line of a sources file for a suite.
    fn line(&self, archive: Archive, suite: &str) -> String {
        let address = match archive {
            Archive::Main => &self.main,
            Archive::Security => &self.security,
        };
        let signed =
            if Path::new(KEYRING).is_file() { format!("[signed-by={KEYRING}] ") } else { String::new() };
        format!("deb {signed}{address} {suite} main")
    }
}

/// The apt that knows the suites of guests, with lists of its own. The system's sources stay as they are.
pub(crate) struct Suites {
    options: Vec<String>,
    mirrors: Mirrors,
}

impl Suites {
    /// Writes its configuration and fetches its lists where that was not done before.
    pub(crate) fn prepare(folder: &Folder) -> Result<Self> {
        let mirrors = mirrors()?;
        let lists = folder.folder("apt/lists/partial")?;
        folder.folder("apt/cache/archives/partial")?;
        let sources = folder.path("apt/sources.list");
        let lines: Vec<_> =
            SUITES.iter().map(|(archive, suite)| mirrors.line(*archive, suite) + "\n").collect();
        let lines = lines.concat();
        let options = [
            ("Dir::Etc::sourcelist", sources.clone()),
            ("Dir::Etc::sourceparts", "-".into()),
            ("Dir::State::lists", folder.path("apt/lists")),
            ("Dir::Cache", folder.path("apt/cache")),
        ];
        let options = options.map(|(name, value)| format!("-o{name}={}", value.display()));
        let suites = Self { options: options.into(), mirrors };
        let done = folder.path("apt/done");
        if fs::read_to_string(&done).is_ok_and(|it| it == lines) {
            return Ok(suites);
        }
        say("lists of Debian's kernels → target/vm/apt (the system's own lists stay as they are; ~3 s)");
        fs::write(&sources, &lines).with_context(|| format!("cannot write {}", sources.display()))?;
        exec::read(apt("apt-get").args(&suites.options).arg("update"))
            .with_context(|| format!("no lists in {}", lists.display()))?;
        fs::write(&done, &lines).with_context(|| format!("cannot write {}", done.display()))?;
        Ok(suites)
    }

    /// The names of packages that match a regular expression.
    pub(crate) fn names(&self, expression: &str) -> Result<Vec<String>> {
        let found =
            exec::read(apt("apt-cache").args(&self.options).args(["search", "--names-only", expression]))?;
        let names = found.lines().filter_map(|line| line.split(' ').next());
        Ok(names.map(str::to_owned).collect())
    }

    /// Unpacks packages into `target`.
    pub(crate) fn unpack(&self, packages: &[String], target: &Path) -> Result<()> {
        unpack(&self.options, packages, target)
    }

    /// What a root file system of Debian 12 is installed from.
    pub(crate) fn root_sources(&self) -> [String; 2] {
        [
            self.mirrors.line(Archive::Main, "bookworm"),
            self.mirrors.line(Archive::Security, "bookworm-security"),
        ]
    }
}

/// The mirrors in the machine's own sources. Without lists apt does not know yet which of its sources are Debian's.
fn mirrors() -> Result<Mirrors> {
    let read = || {
        let format = "$(ORIGIN)\t$(LABEL)\t$(REPO_URI)";
        exec::read(apt("apt-get").args(["indextargets", "--format", format]))
    };
    let find = || read().ok().as_deref().and_then(Mirrors::parse);
    let machine = Apt::probe();
    if machine.is_some_and(Apt::may_install) && find().is_none() {
        update(machine)?;
    }
    find().ok_or_else(|| {
        let missing =
            "virtual machines are made of Debian's packages, and the sources of this machine's apt have no \
                       mirror of Debian and its security updates"
                .to_owned();
        let command = "apt-get update   # on Debian 12 or 13; elsewhere use --no-vm".to_owned();
        Refusal { missing, command }.into()
    })
}

/// Unpacks packages from the machine's own sources, with all they need and the machine lacks, into `target`.
///
/// That installing them would remove others does not matter: they are not installed.
pub(crate) fn unpack_tools(packages: &[&str], target: &Path) -> Result<()> {
    let wanted = || {
        let mut simulate = apt("apt-get");
        simulate.args(["--simulate", "--no-install-recommends", "install"]);
        exec::read(simulate.args(packages)).map(|plan| installed(&plan))
    };
    let fetch = || unpack(&[], &wanted()?, target).and_then(|()| mend_links(target));
    let Err(error) = fetch() else {
        return Ok(());
    };
    let machine = Apt::probe();
    if !machine.is_some_and(Apt::may_install) {
        let missing = format!(
            "the packages {} cannot be fetched ({})",
            packages.join(" "),
            exec::gist(&format!("{error:#}"))
        );
        let command = "sudo apt-get update".to_owned();
        return Err(Refusal { missing, command }.into());
    }
    update(machine)?;
    fetch()
}

/// Fetches the machine's own lists.
fn update(machine: Option<Apt>) -> Result<()> {
    say("apt-get update (its lists may be old)");
    machine.map_or(Ok(()), Apt::update)
}

/// The packages that a simulated installation would install.
fn installed(plan: &str) -> Vec<String> {
    let names = plan.lines().filter_map(|line| line.strip_prefix("Inst "));
    names.filter_map(|rest| rest.split(' ').next()).map(str::to_owned).collect()
}

/// Downloads packages and unpacks them into `target`.
fn unpack(options: &[String], packages: &[String], target: &Path) -> Result<()> {
    let downloads = target.join("downloads");
    fs::create_dir_all(&downloads).with_context(|| format!("cannot make {}", downloads.display()))?;
    let mut download = apt("apt-get");
    download.args(options).arg("download").args(packages);
    exec::read(download.current_dir(&downloads))?;
    let mut count = 0;
    for entry in fs::read_dir(&downloads)? {
        exec::read(Command::new("dpkg").arg("-x").arg(entry?.path()).arg(target))?;
        count += 1;
    }
    ensure!(count == packages.len(), "apt-get downloaded {count} of {packages:?}");
    fs::remove_dir_all(&downloads).with_context(|| format!("cannot remove {}", downloads.display()))
}

/// A program of apt that asks nothing, translates nothing, and does not become another user, who could not write here.
fn apt(program: &str) -> Command {
    let mut command = Command::new(program);
    command.args(["-q", "-oAPT::Sandbox::User=root", "-oAcquire::Languages=none"]);
    command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
    command
}

/// The folders of programs.
const PROGRAM_FOLDERS: [&str; 4] = ["usr/bin", "usr/sbin", "bin", "sbin"];

/// Makes links from the root of a file system, such as `sbin/depmod` to `/bin/kmod`, stay below `root`.
fn mend_links(root: &Path) -> Result<()> {
    for folder in PROGRAM_FOLDERS {
        let up = "../".repeat(folder.split('/').count());
        let Ok(entries) = fs::read_dir(root.join(folder)) else {
            continue;
        };
        for entry in entries {
            let link = entry?.path();
            let target = fs::read_link(&link).unwrap_or_default();
            if let Ok(below) = target.strip_prefix("/") {
                fs::remove_file(&link)?;
                symlink(Path::new(&up).join(below), &link)?;
            }
        }
    }
    Ok(())
}

/// A program that may have been unpacked rather than installed.
pub(crate) fn find_program(root: &Path, name: &str) -> Option<PathBuf> {
    PROGRAM_FOLDERS.iter().map(|folder| root.join(folder).join(name)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_those_of_debian_itself() {
        let targets = "Google\tx\thttps://a/\nDebian\tDebian\thttp://m/debian/\n\
                       Debian\tDebian-Security\thttp://m/security/\n";
        let mirrors = Mirrors::parse(targets).unwrap();
        assert_eq!(mirrors.main, "http://m/debian/");
        assert!(
            mirrors
                .line(Archive::Security, "bookworm-security")
                .ends_with("http://m/security/ bookworm-security main")
        );
        assert_eq!(Mirrors::parse("Ubuntu\tUbuntu\thttp://u/\n"), None);
    }

    #[test]
    fn links_stay_in_what_was_unpacked() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["bin", "sbin"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        fs::write(dir.path().join("bin/kmod"), "").unwrap();
        symlink("/bin/kmod", dir.path().join("sbin/depmod")).unwrap();
        assert_eq!(find_program(dir.path(), "depmod"), None);
        mend_links(dir.path()).unwrap();
        assert!(find_program(dir.path(), "depmod").is_some());
    }

    #[test]
    fn a_plan_is_read_for_what_it_installs() {
        let plan =
            "NOTE: simulation\nRemv qemu-utils [1:10]\nInst seabios (1.16 Debian [all])\nConf seabios\n";
        assert_eq!(installed(plan), ["seabios"]);
    }
}
