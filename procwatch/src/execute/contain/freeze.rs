//! Freezing and thawing, by the freezer that every cgroup has.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::work::{Measured, Work};
use crate::record::ActResult;

/// How long the kernel may take to bring all threads to a halt.
const FROZEN_WITHIN: Duration = Duration::from_secs(2);
const FREEZE: &str = "cgroup.freeze";
const EVENTS: &str = "cgroup.events";

/// Freezes a process, with all that lives in its cell.
pub(super) fn freeze(work: &mut Work<'_>) -> Result<Measured, Measured> {
    let mut entry = work.entry();
    let cell = work.inhabit(&mut entry, None)?;
    let known = entry.frozen.clone();
    let before = match &known {
        Some(effect) => effect.before.clone(),
        None => match work.hands.read(&cell.cgroup, FREEZE) {
            Ok(before) => before,
            Err(why) => return Err(work.give_up(entry, why)),
        },
    };
    entry.frozen = Some(work.effect(known.as_ref(), before.clone(), false));
    work.keep(&entry)?;
    let folder = work.hands.mount.point.join(cell.cgroup.relative());
    let (result, detail) = match set_frozen(&folder, true, FROZEN_WITHIN) {
        Ok(Some(took)) => (ActResult::Verified, format!("frozen after {}", shown(took))),
        Ok(None) => (ActResult::Unverified, format!("not frozen after {}", shown(FROZEN_WITHIN))),
        Err(error) => {
            entry.frozen = known;
            return Err(work.give_up(entry, format!("{}: {error}", cell.cgroup)));
        }
    };
    entry.frozen = Some(work.effect(known.as_ref(), before, true));
    work.keep(&entry)?;
    Ok(Measured { cell: Some(cell.cgroup), ..Measured::new(result, detail) })
}

/// Puts a cgroup back to how it was before it was frozen: `0`, or `1` when somebody else had frozen it.
///
/// # Errors
/// What the kernel says, or shows in place of that, in words.
pub(super) fn unfreeze(folder: &Path, before: &str) -> Result<String, String> {
    if !folder.exists() {
        return Ok("its cgroup is gone".to_owned());
    }
    if before == "1" {
        return Ok("frozen as it was before".to_owned());
    }
    match set_frozen(folder, false, FROZEN_WITHIN) {
        Ok(Some(took)) => Ok(format!("thawed after {}", shown(took))),
        Ok(None) => Err(format!("still frozen after {}: a cgroup above it may be", shown(FROZEN_WITHIN))),
        Err(error) => Err(super::hands::said(folder, &error)),
    }
}

/// Whether a cgroup was told to be frozen.
pub(super) fn is_told_to_freeze(folder: &Path) -> bool {
    fs::read_to_string(folder.join(FREEZE)).is_ok_and(|text| text.trim() == "1")
}

/// Tells a cgroup to be frozen or not, and waits until the kernel says that it is. Returns how long that took; `None` when
/// it was not so within `limit`.
fn set_frozen(folder: &Path, frozen: bool, limit: Duration) -> io::Result<Option<Duration>> {
    let (digit, wanted) = if frozen { (b"1", "frozen 1") } else { (b"0", "frozen 0") };
    let mut events = File::open(folder.join(EVENTS))?;
    let begun = Instant::now();
    fs::OpenOptions::new().write(true).open(folder.join(FREEZE))?.write_all(digit)?;
    loop {
        let mut text = String::new();
        events.rewind()?;
        events.read_to_string(&mut text)?;
        if text.lines().any(|line| line == wanted) {
            return Ok(Some(begun.elapsed()));
        }
        let left = limit.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Ok(None);
        }
        // The kernel tells of a change of this file by an exceptional condition.
        let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A time for people: `3 ms`, `2.1 s`.
pub(super) fn shown(time: Duration) -> String {
    match time.as_millis() {
        ms @ 0..1000 => format!("{ms} ms"),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fake(events: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(EVENTS), events).unwrap();
        fs::write(folder.path().join(FREEZE), "0\n").unwrap();
        folder
    }

    #[test]
    fn the_kernels_word_counts_and_not_the_order() {
        let limit = Duration::from_millis(20);
        let folder = fake("populated 1\nfrozen 0\n");
        assert_eq!(set_frozen(folder.path(), true, limit).unwrap(), None);
        assert!(is_told_to_freeze(folder.path()));
        let folder = fake("populated 1\nfrozen 1\n");
        assert!(set_frozen(folder.path(), true, limit).unwrap().is_some());
        assert!(set_frozen(&folder.path().join("none"), true, limit).is_err());
    }

    #[test]
    fn what_somebody_else_had_frozen_stays_so() {
        let folder = fake("populated 1\nfrozen 0\n");
        assert_eq!(unfreeze(folder.path(), "1").unwrap(), "frozen as it was before");
        assert!(unfreeze(folder.path(), "0").unwrap().starts_with("thawed after"));
        assert_eq!(unfreeze(&folder.path().join("none"), "0").unwrap(), "its cgroup is gone");
    }

    #[test]
    fn times_are_short() {
        assert_eq!(shown(Duration::from_micros(3_900)), "3 ms");
        assert_eq!(shown(Duration::from_millis(2_140)), "2.1 s");
    }
}
