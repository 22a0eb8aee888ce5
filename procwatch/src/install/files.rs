//! Which files there are, and where they belong.

use std::{
    borrow::Cow,
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};

use super::{InstallError, manual};
use crate::cli::Cli;

/// The service manager's unit, with the program in its place of a distribution's package.
const UNIT: &str = include_str!("../../../packaging/systemd/procwatch.service");
/// The group of those who may ask the agent.
const SYSUSERS: &str = include_str!("../../../packaging/systemd/procwatch.sysusers");
/// A configuration that observes and is right on every machine.
const CONFIGURATION: &str = include_str!("../../../packaging/procwatch.toml");
/// A whole configuration of one machine.
const EXAMPLE: &str = include_str!("../../examples/aimgr.toml");

/// Where the unit expects the program.
const PACKAGED_PROGRAM: &str = "/usr/bin/procwatch";

/// The configuration.
pub const CONFIGURATION_FILE: &str = "/etc/procwatch/procwatch.toml";

/// Whose folders the files go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// Those of the machine's administrator.
    Local,
    /// Those of the distribution's packages.
    Distribution,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The program, this one.
    Program,
    /// One that belongs to the program and changes with it.
    Plain,
    /// One that belongs to the administrator as soon as it is there.
    Configuration,
}

impl Kind {
    /// Its permission bits.
    pub const fn mode(self) -> u32 {
        match self {
            Self::Program => 0o755,
            Self::Plain | Self::Configuration => 0o644,
        }
    }
}

/// A file to be installed.
#[derive(Clone, Debug)]
pub struct Shipped {
    /// Where it belongs.
    pub path: PathBuf,
    /// What is in it.
    pub content: Cow<'static, [u8]>,
    /// What it is.
    pub kind: Kind,
}

impl Home {
    /// The program.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Local => "/usr/local/bin/procwatch",
            Self::Distribution => PACKAGED_PROGRAM,
        }
    }

    /// What is read again when systemd is told to look for groups to make.
    pub const fn sysusers(self) -> &'static str {
        match self {
            Self::Local => "/etc/sysusers.d/procwatch.conf",
            Self::Distribution => "/usr/lib/sysusers.d/procwatch.conf",
        }
    }

    const fn unit(self) -> &'static str {
        match self {
            Self::Local => "/etc/systemd/system/procwatch.service",
            Self::Distribution => "/usr/lib/systemd/system/procwatch.service",
        }
    }

    const fn share(self) -> &'static str {
        match self {
            Self::Local => "/usr/local/share",
            Self::Distribution => "/usr/share",
        }
    }

    /// All files, the program first.
    ///
    /// # Errors
    /// When this program cannot read itself.
    pub fn files(self) -> Result<Vec<Shipped>, InstallError> {
        let this = Path::new("/proc/self/exe");
        let mut program = Vec::new();
        let read = fs::File::open(this).and_then(|mut file| file.read_to_end(&mut program));
        read.map_err(InstallError::at(this))?;
        let mut files =
            vec![Shipped { path: self.program().into(), content: program.into(), kind: Kind::Program }];
        files.extend(self.texts().map_err(InstallError::at(Path::new("man pages and completions")))?);
        Ok(files)
    }

    /// All files but the program.
    fn texts(self) -> io::Result<Vec<Shipped>> {
        let plain = |path: String, content: Cow<'static, [u8]>| Shipped {
            path: path.into(),
            content,
            kind: Kind::Plain,
        };
        let share = self.share();
        let unit = UNIT.replace(PACKAGED_PROGRAM, self.program());
        let mut files = vec![
            plain(self.unit().to_owned(), unit.into_bytes().into()),
            plain(self.sysusers().to_owned(), SYSUSERS.as_bytes().into()),
            plain(format!("{share}/doc/procwatch/examples/aimgr.toml"), EXAMPLE.as_bytes().into()),
            Shipped {
                path: CONFIGURATION_FILE.into(),
                content: CONFIGURATION.as_bytes().into(),
                kind: Kind::Configuration,
            },
        ];
        for (name, page) in manual::pages()? {
            let section = name.rsplit('.').next().unwrap_or("1");
            files.push(plain(format!("{share}/man/man{section}/{name}"), page.into()));
        }
        for (shell, folder, name) in self.completions() {
            let mut script = Vec::new();
            generate(shell, &mut Cli::command(), "procwatch", &mut script);
            files.push(plain(format!("{share}/{folder}/{name}"), script.into()));
        }
        Ok(files)
    }

    const fn completions(self) -> [(Shell, &'static str, &'static str); 3] {
        let zsh = match self {
            Self::Local => "zsh/site-functions",
            Self::Distribution => "zsh/vendor-completions",
        };
        [
            (Shell::Bash, "bash-completion/completions", "procwatch"),
            (Shell::Zsh, zsh, "_procwatch"),
            (Shell::Fish, "fish/vendor_completions.d", "procwatch.fish"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn text(files: &[Shipped], path: &str) -> String {
        let file = files.iter().find(|file| file.path == Path::new(path)).unwrap();
        String::from_utf8(file.content.to_vec()).unwrap()
    }

    #[test]
    fn each_file_has_one_place_and_every_command_its_page() {
        for home in [Home::Local, Home::Distribution] {
            let files = home.texts().unwrap();
            let paths: BTreeSet<_> = files.iter().map(|file| file.path.clone()).collect();
            assert_eq!(paths.len(), files.len(), "{paths:?}");
            assert!(files.iter().all(|file| file.path.is_absolute() && !file.content.is_empty()));
            let share = home.share();
            for page in ["man1/procwatch.1", "man1/procwatch-run.1", "man1/procwatch-layout-apply.1"] {
                assert!(paths.contains(Path::new(&format!("{share}/man/{page}"))), "{page} in {paths:?}");
            }
            assert!(paths.contains(Path::new(&format!("{share}/man/man5/procwatch.toml.5"))));
            assert!(
                !paths.contains(Path::new(&format!("{share}/man/man1/procwatch-keep.1"))),
                "it is hidden"
            );
        }
    }

    #[test]
    fn the_unit_starts_the_program_that_is_installed_with_it() {
        let local = text(&Home::Local.texts().unwrap(), Home::Local.unit());
        assert!(local.contains("\nExecStart=/usr/local/bin/procwatch run\n"), "{local}");
        assert!(!local.contains(PACKAGED_PROGRAM), "{local}");
        let packaged = text(&Home::Distribution.texts().unwrap(), Home::Distribution.unit());
        assert_eq!(packaged, UNIT);
    }

    #[test]
    fn the_shipped_configuration_is_right_and_touches_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("procwatch.toml");
        fs::write(&file, CONFIGURATION).unwrap();
        let config = crate::config::load(Some(&file)).unwrap();
        assert_eq!(config.mode, crate::record::Mode::Observe);
        assert!(config.place.is_empty() && config.layout.is_empty());
    }

    #[test]
    fn completions_know_the_commands() {
        let files = Home::Local.texts().unwrap();
        for path in [
            "/usr/local/share/bash-completion/completions/procwatch",
            "/usr/local/share/zsh/site-functions/_procwatch",
            "/usr/local/share/fish/vendor_completions.d/procwatch.fish",
        ] {
            let script = text(&files, path);
            assert!(script.contains("diagnose") && script.contains("lineage"), "{path}");
        }
    }
}
