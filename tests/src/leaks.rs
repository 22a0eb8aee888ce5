//! The programs of `leaks`: each leaks threads in a way of its own, and says what is to be named.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::program::{Started, is_newer};

/// Where the sources are.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/leaks");

/// A program that leaks.
#[derive(Clone, Debug)]
pub struct Leak {
    source: PathBuf,
}

/// What `diagnose` has to name first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// This line of the program's file.
    Line(u64),
    /// A function whose name is this, or ends with it, with or without arguments.
    Function(String),
}

impl Leak {
    /// The program of a source file.
    pub fn of(source: &str) -> Self {
        Self { source: Path::new(SOURCES).join(source) }
    }

    /// All Python programs, by name.
    pub fn python() -> Vec<Self> {
        Self::all(&["py"])
    }

    /// All programs that are compiled, by name.
    pub fn native() -> Vec<Self> {
        Self::all(&["c", "cpp", "rs"])
    }

    fn all(kinds: &[&str]) -> Vec<Self> {
        let entries = fs::read_dir(SOURCES).unwrap().map(|entry| entry.unwrap().path());
        let is_meant =
            |path: &PathBuf| path.extension().is_some_and(|kind| kinds.iter().any(|it| kind == *it));
        let mut sources: Vec<PathBuf> =
            entries.filter(is_meant).filter(|path| expected(path).is_some()).collect();
        sources.sort();
        sources.into_iter().map(|source| Self { source }).collect()
    }

    /// The name of its source file.
    pub fn name(&self) -> &str {
        self.source.file_name().unwrap().to_str().unwrap()
    }

    /// Its source file.
    pub fn path(&self) -> &str {
        self.source.to_str().unwrap()
    }

    /// What has to be named.
    pub fn expected(&self) -> Expected {
        expected(&self.source).unwrap_or_else(|| panic!("{} has no EXPECT", self.name()))
    }

    /// Number of the first line that has this text in it.
    pub fn line_with(&self, text: &str) -> u64 {
        let code = fs::read_to_string(&self.source).unwrap();
        let index = code.lines().position(|line| line.contains(text));
        index.unwrap_or_else(|| panic!("{} has no {text}", self.name())) as u64 + 1
    }

    /// Starts it and waits until it has so many threads.
    pub fn leaked(&self, threads: u32) -> Started {
        let mut program = self.start(threads);
        assert_eq!(program.hear(), "full", "{}", self.name());
        program
    }

    /// Starts it.
    pub fn start(&self, threads: u32) -> Started {
        let threads = threads.to_string();
        let mut command = match self.source.extension().and_then(|it| it.to_str()) {
            Some("py") => {
                let mut python = Command::new("python3");
                python.arg(&self.source);
                python
            }
            _ => Command::new(self.compiled()),
        };
        Started::new(command.arg(threads))
    }

    fn compiled(&self) -> PathBuf {
        let folder = env::current_exe().unwrap().with_file_name("leaks");
        fs::create_dir_all(&folder).unwrap();
        let program = folder.join(self.source.file_stem().unwrap());
        if !is_newer(&program, &self.source) {
            self.compile(&folder, &program);
        }
        program
    }

    fn compile(&self, folder: &Path, program: &Path) {
        let run = |name: &str, options: &[&str], output: &Path, source: &Path| {
            let status = Command::new(name).args(options).arg("-o").args([output, source]).status();
            let status = status.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(status.success(), "{name} {}: {status}", source.display());
        };
        const C: [&str; 4] = ["-Wall", "-Wextra", "-Werror", "-pthread"];
        const QUICK: [&str; 2] = ["-O2", "-fomit-frame-pointer"];
        let kind = self.source.extension().and_then(|it| it.to_str()).unwrap_or_default();
        match (self.name(), kind) {
            ("c_library.c", _) => {
                let options = [&C[..], &QUICK, &["-shared", "-fPIC"]].concat();
                run("cc", &options, &folder.join("libsessions.so"), &self.source);
                let search = format!("-L{}", folder.display());
                let options = [&C[..], &QUICK, &["-Wl,-rpath,$ORIGIN", &search]].concat();
                let main = Path::new(SOURCES).join("c_library_main.c");
                let mut linker = Command::new("cc");
                linker.args(options).arg("-o").args([program, &main]).arg("-lsessions");
                assert!(linker.status().unwrap().success());
            }
            ("c_plain.c", _) => run("cc", &[&C[..], &["-O0"]].concat(), program, &self.source),
            (_, "cpp") => run("c++", &[&C[..], &QUICK].concat(), program, &self.source),
            (_, "rs") => {
                run("rustc", &["--edition=2024", "-Copt-level=2", "-Cstrip=none"], program, &self.source);
            }
            _ => run("cc", &[&C[..], &QUICK].concat(), program, &self.source),
        }
    }
}

impl Expected {
    /// Whether the first answer is the expected one.
    pub fn is_met_by(&self, cause: &serde_json::Value, leak: &Leak) -> bool {
        match self {
            Self::Line(line) => cause["file"] == leak.path() && cause["line"] == *line,
            Self::Function(name) => cause["function"].as_str().is_some_and(|function| is_of(function, name)),
        }
    }
}

/// Whether a function has that name: alone, or behind `::`, and before its arguments if it shows them.
fn is_of(function: &str, name: &str) -> bool {
    let before = |at: usize| at == 0 || function[..at].ends_with("::");
    let after = |at: usize| function[at..].is_empty() || function[at..].starts_with(['(', '<', ' ']);
    function.match_indices(name).any(|(at, _)| before(at) && after(at + name.len()))
}

fn expected(source: &Path) -> Option<Expected> {
    let code = fs::read_to_string(source).unwrap();
    let (index, line) = code.lines().enumerate().find(|(_, line)| line.contains("EXPECT"))?;
    Some(match line.split_once("EXPECT function ") {
        Some((_, name)) => Expected::Function(name.trim().to_owned()),
        None => Expected::Line(index as u64 + 1),
    })
}
