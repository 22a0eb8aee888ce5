//! Processes whose number of threads is what we say.

use std::{path::PathBuf, process::Command};

use crate::program::{Started, compiled, compiled_static, script};

/// A process that makes and ends threads on demand; see `programs/pool.h`.
#[derive(Debug)]
pub struct Pool {
    process: Started,
    /// Its arguments, as an alert must show them.
    pub argv: Vec<String>,
    /// Its executable.
    pub exe: PathBuf,
}

impl Pool {
    /// Threads of glibc.
    pub fn pthreads() -> Self {
        let program = compiled("pthreads");
        Self::start(&[program.to_str().unwrap(), "some pool"], program.clone())
    }

    /// Threads by the bare system call, in a static program.
    pub fn raw_clone() -> Self {
        let program = compiled_static("rawclone");
        Self::start(&[program.to_str().unwrap()], program.clone())
    }

    /// Threads of Python. A wrapper by the name of python3 may stand before the real one.
    pub fn python() -> Self {
        let program = script("threads.py");
        let mut pool = Self::start(&["python3", program.to_str().unwrap()], PathBuf::new());
        pool.threads(1);
        let proc = format!("/proc/{}", pool.pid());
        pool.exe = std::fs::read_link(format!("{proc}/exe")).unwrap();
        let argv = std::fs::read_to_string(format!("{proc}/cmdline")).unwrap();
        pool.argv = argv.trim_end_matches('\0').split('\0').map(str::to_owned).collect();
        pool
    }

    fn start(argv: &[&str], exe: PathBuf) -> Self {
        Self {
            process: Started::new(Command::new(argv[0]).args(&argv[1..])),
            argv: argv.iter().map(|&it| it.to_owned()).collect(),
            exe,
        }
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Orders as many threads, the first one included, and does not wait for them.
    pub fn order(&mut self, threads: u32) {
        // Either word does: the pool makes or ends what is missing or too much.
        self.process.say(&format!("have {threads}"));
    }

    /// Waits for the answer to an order.
    pub fn answer(&mut self) -> u32 {
        self.process.hear().parse().expect("the pool lives and counts")
    }

    /// Has as many threads from now on.
    pub fn threads(&mut self, threads: u32) {
        self.order(threads);
        assert_eq!(self.answer(), threads);
    }

    /// The process ends with all the threads it has.
    pub fn end(&mut self) {
        self.process.say("end");
        assert!(self.process.end().success());
    }
}
