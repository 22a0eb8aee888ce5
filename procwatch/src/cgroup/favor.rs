//! The mount option `favordynmods`: what a move costs without it, and setting it.

use std::{
    fs, io,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::CWD,
    mount::{FsPickFlags, fsconfig_reconfigure, fsconfig_set_flag, fspick},
};
use thiserror::Error;

use super::{CgroupPath, Mount, MountError, mount};

/// The option.
const FAVORDYNMODS: &str = "favordynmods";
/// Moves that are timed.
const MOVES: usize = 5;
/// From one move to the next. One that follows another at once waits for no grace period of the kernel's, and would be
/// much faster than those of real life.
const PAUSE: Duration = Duration::from_millis(200);

/// Why the option was not set.
#[derive(Debug, Error)]
pub enum FavorError {
    /// The mount is not known.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The kernel refused; nothing was changed.
    #[error("{0}: {FAVORDYNMODS} cannot be set: {1}; the kernel has it from 6.0 on")]
    Refused(String, io::Error),
    /// It was accepted, and the options are not what they should be.
    #[error("{point}: {FAVORDYNMODS} was set, and the options are now {now}; they should be {wanted}")]
    Otherwise {
        /// Where it is mounted, escaped.
        point: String,
        /// What is set now.
        now: String,
        /// What was to be set.
        wanted: String,
    },
}

impl Mount {
    /// Sets `favordynmods` on the hierarchy, until the next boot; all other options stay as they are.
    ///
    /// # Errors
    /// [`FavorError`].
    pub fn favor_dynamic_moves(&self) -> Result<(), FavorError> {
        // What is not named again when options are changed is taken off.
        let mut wanted = mount::options_of(&self.point)?;
        wanted.push(FAVORDYNMODS.to_owned());
        wanted.sort();
        // Not by remounting: that would take off the options of the mount itself as well, `nosuid` and its like.
        let set = || -> rustix::io::Result<()> {
            let context = fspick(CWD, &self.point, FsPickFlags::FSPICK_CLOEXEC)?;
            for option in &wanted {
                fsconfig_set_flag(&context, option.as_str())?;
            }
            fsconfig_reconfigure(&context)
        };
        set().map_err(|error| FavorError::Refused(self.shown(), error.into()))?;
        let mut now = mount::options_of(&self.point)?;
        now.sort();
        if now == wanted {
            return Ok(());
        }
        Err(FavorError::Otherwise { point: self.shown(), now: now.join(","), wanted: wanted.join(",") })
    }

    /// Measures how long a move of a process takes when moves are rare: the median of five, within about a second. It
    /// moves a process of its own between two cgroups that it makes below that of the caller, and removes them again.
    ///
    /// # Errors
    /// When the cgroups cannot be made, or the process cannot be started or moved.
    pub fn time_of_a_move(&self) -> io::Result<Duration> {
        let trial = Trial::begin(self)?;
        let pid = trial.child.id().to_string();
        let mut times = [Duration::ZERO; MOVES];
        for (time, leaf) in times.iter_mut().zip(trial.leaves.iter().cycle()) {
            thread::sleep(PAUSE);
            let procs = fs::OpenOptions::new().write(true).open(leaf.join("cgroup.procs"))?;
            let begun = Instant::now();
            io::Write::write_all(&mut &procs, pid.as_bytes())?;
            *time = begun.elapsed();
        }
        times.sort_unstable();
        Ok(times[MOVES / 2])
    }
}

/// A process to be moved, and where to.
struct Trial {
    child: Child,
    leaves: [PathBuf; 2],
}

impl Trial {
    fn begin(mount: &Mount) -> io::Result<Self> {
        let all = fs::read_to_string("/proc/self/cgroup")?;
        let own = all.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
        let own = CgroupPath::parse(own).map_err(io::Error::other)?;
        let leaf = |name| {
            let path = own.child(&format!("procwatch-check-{}-{name}", std::process::id()));
            mount.point.join(path.relative())
        };
        let child = Command::new(std::env::current_exe()?)
            .arg("keep")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        // From here on all is taken back when it is dropped.
        let trial = Self { child, leaves: [leaf("a"), leaf("b")] };
        trial.leaves.iter().try_for_each(fs::create_dir)?;
        Ok(trial)
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        // Both may have failed to come into being, and that is well.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for leaf in &self.leaves {
            let _ = fs::remove_dir(leaf);
        }
    }
}
