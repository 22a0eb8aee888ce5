//! What all actions work with: the hierarchy, and the service manager where there is one.

use std::{
    cell::OnceCell,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::limit::Limit;
use crate::{
    cgroup::{CgroupPath, Mount, resolve::systemd_runs},
    systemd::{Manager, Waits},
    text::escape,
};

/// Where the service manager keeps properties that were set until the next boot: of units that have a file, and of those that
/// have none.
const CONTROL: [&str; 2] = ["/run/systemd/system.control", "/run/systemd/transient"];
/// How long the kernel or the service manager may take to show what it was told.
const SHOWN_WITHIN: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(3);

/// The means. Not to be kept: the connection to the service manager may break. To be used on threads where waiting is
/// allowed: not within the agent's loop.
pub(super) struct Hands<'a> {
    /// The hierarchy.
    pub(super) mount: &'a Mount,
    /// Whether systemd is pid 1.
    pub(super) has_systemd: bool,
    manager: OnceCell<Result<Manager, String>>,
}

impl<'a> Hands<'a> {
    /// In the hierarchy mounted there.
    pub(super) fn new(mount: &'a Mount) -> Self {
        Self { mount, has_systemd: systemd_runs(), manager: OnceCell::new() }
    }

    /// The service manager; it is called at the first question.
    ///
    /// # Errors
    /// Why it cannot be reached, in words.
    pub(super) fn manager(&self) -> Result<&Manager, String> {
        if !self.has_systemd {
            return Err("systemd is not the first process of this machine".to_owned());
        }
        let called =
            self.manager.get_or_init(|| Manager::connect(Waits::Here).map_err(|error| error.to_string()));
        called.as_ref().map_err(Clone::clone)
    }

    /// A file of a cgroup.
    pub(super) fn file(&self, cgroup: &CgroupPath, name: &str) -> PathBuf {
        self.mount.point.join(cgroup.relative()).join(name)
    }

    /// What is in a file of a cgroup, without the space at its end.
    ///
    /// # Errors
    /// What the kernel says, in words that name the file.
    pub(super) fn read(&self, cgroup: &CgroupPath, name: &str) -> Result<String, String> {
        let file = self.file(cgroup, name);
        let text = fs::read_to_string(&file).map_err(|error| said(&file, &error))?;
        Ok(text.trim_end().to_owned())
    }

    /// Writes to a file of a cgroup that is there: one write is one order to the kernel.
    ///
    /// # Errors
    /// What the kernel says, in words that name the file.
    pub(super) fn write(&self, cgroup: &CgroupPath, name: &str, text: &str) -> Result<(), String> {
        let file = self.file(cgroup, name);
        order(&file, text).map_err(|error| said(&file, &error))
    }

    /// Waits until a limit of a cgroup is as it was ordered; the file may also be gone for no limit at all. Returns what
    /// the file says at last.
    ///
    /// # Errors
    /// What it says in place of that.
    pub(super) fn await_limit(
        &self,
        cgroup: &CgroupPath,
        limit: Limit,
        amount: u64,
    ) -> Result<String, String> {
        let file = self.file(cgroup, limit.file());
        let begun = Instant::now();
        loop {
            let seen = fs::read_to_string(&file).ok().map(|text| text.trim_end().to_owned());
            let is_so = seen.as_deref().map_or(amount == u64::MAX, |text| limit.amount(text) == Some(amount));
            let shown =
                seen.map_or_else(|| format!("no {}", limit.file()), |it| format!("{} {it}", limit.file()));
            if is_so {
                return Ok(shown);
            }
            if begun.elapsed() > SHOWN_WITHIN {
                return Err(shown);
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// The files in which the service manager may keep a property of a unit that was set.
    pub(super) fn drop_ins(unit: &str, limit: Limit) -> [PathBuf; 2] {
        CONTROL.map(|folder| Path::new(folder).join(format!("{unit}.d")).join(limit.drop_in()))
    }

    /// Removes those files, and their folders if nothing else is in them. Returns whether there were any.
    ///
    /// # Errors
    /// What the kernel says, in words that name the file.
    pub(super) fn remove_drop_ins(unit: &str, limit: Limit) -> Result<bool, String> {
        let mut were_any = false;
        for file in Self::drop_ins(unit, limit) {
            match fs::remove_file(&file) {
                Ok(()) => were_any = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(said(&file, &error)),
            }
            if let Some(folder) = file.parent() {
                // It stays if somebody else has something in it.
                let _ = fs::remove_dir(folder);
            }
        }
        Ok(were_any)
    }
}

/// One order to the kernel.
pub(super) fn order(file: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(file)?.write_all(text.as_bytes())
}

/// What was said about a file, in words, escaped.
pub(super) fn said(file: &Path, error: &io::Error) -> String {
    format!("{}: {error}", escape(file.as_os_str().as_encoded_bytes()))
}
