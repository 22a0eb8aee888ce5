//! What /proc says of one process, raw.

use std::io::{self, Read as _};

use procfs::process::Process;
use procwatch_common::wire::COMM_LEN;

use crate::text::{Comm, Text};

/// `PF_KTHREAD` of `linux/sched.h`.
const PF_KTHREAD: u64 = 0x0020_0000;
/// What the kernel shows for "not set" of a login uid and of a login session.
const UNSET: u32 = u32::MAX;
/// Longest file read of a process. Those read here have at most a page, but for the arguments, which are cut.
const MAX_FILE: u64 = 16 << 10;

/// What one look at a process tells. Small: there are as many as processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Process id.
    pub pid: u32,
    /// Parent's process id; 0 when it has none that is seen from here.
    pub ppid: u32,
    /// Kernel session: the pid of the process that called `setsid(2)`.
    pub sid: u32,
    /// Whether it has a controlling terminal.
    pub has_terminal: bool,
    /// Whether it is in the foreground of that terminal: what is typed there goes to it.
    pub in_foreground: bool,
    /// Its state as a letter, as in proc(5).
    pub state: u8,
    /// Whether it is a thread of the kernel.
    pub is_kernel_thread: bool,
    /// CPU time used, clock ticks.
    pub cpu_ticks: u64,
    /// Threads, the first one included.
    pub threads: u32,
    /// Start, clock ticks since boot.
    pub start_ticks: u64,
    /// Name.
    pub comm: Comm,
    /// Real uid.
    pub uid: u32,
    /// Effective uid.
    pub euid: u32,
    /// Whether it lives in a pid namespace below ours.
    pub is_contained: bool,
    /// Where it comes from; looked at only where it may matter.
    pub origin: Option<Origin>,
}

/// Where a process comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The uid that logged in, whoever it became since: inherited, and once set not to be changed without privileges.
    pub login_uid: Option<u32>,
    /// The login's number for the audit system, inherited in the same way.
    pub login_session: Option<u32>,
    /// Path in the cgroup2 hierarchy, raw.
    pub cgroup: Text,
}

impl Facts {
    /// Whether it is dead and waits for its parent to take note. A process whose first thread has ended looks like
    /// one, but has others.
    pub const fn is_zombie(&self) -> bool {
        matches!(self.state, b'Z' | b'X') && self.threads <= 1
    }

    /// Whether pid and start are those of `other`: then it is the same process.
    pub const fn is_same_process(&self, other: &Self) -> bool {
        self.pid == other.pid && self.start_ticks == other.start_ticks
    }
}

/// Reads the process behind a pid; `None` when there is none (any more), or when what there is cannot be understood.
/// Its origin is looked at when `wants_origin` says so of its real uid, and when it lives in another namespace.
pub fn read(process: &Process, wants_origin: impl Fn(u32) -> bool) -> Option<Facts> {
    let mut facts = parse_stat(&file(process, "stat").ok()?)?;
    if facts.is_kernel_thread {
        return Some(facts);
    }
    let status = file(process, "status").ok()?;
    (facts.uid, facts.euid) = uids(&status)?;
    facts.is_contained = is_contained(&status);
    if wants_origin(facts.uid) || facts.is_contained {
        facts.origin = Some(origin(process)?);
    }
    Some(facts)
}

/// The arguments, at most 16 KiB of them; none for a zombie.
pub fn arguments(process: &Process) -> Vec<Text> {
    let bytes = file(process, "cmdline").unwrap_or_default();
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
    if bytes.is_empty() {
        return Vec::new();
    }
    bytes.split(|byte| *byte == 0).map(Text::new).collect()
}

fn origin(process: &Process) -> Option<Origin> {
    // Kernels without audit have neither file.
    let number = |name| {
        let bytes = file(process, name).unwrap_or_default();
        parse::<u32>(&bytes).filter(|number| *number != UNSET)
    };
    Some(Origin {
        login_uid: number("loginuid"),
        login_session: number("sessionid"),
        cgroup: unified(&file(process, "cgroup").ok()?),
    })
}

fn file(process: &Process, name: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = process.open_relative(name).map_err(io::Error::other)?;
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// `pid (name) state ppid …`. The name may contain anything, parentheses too: its end is the last one.
fn parse_stat(stat: &[u8]) -> Option<Facts> {
    let open = stat.iter().position(|byte| *byte == b'(')?;
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let fields: Vec<&[u8]> = stat.get(close + 2..)?.split(|byte| *byte == b' ').collect();
    let number = |index: usize| parse::<i64>(fields.get(index)?);
    let unsigned = |index: usize| u32::try_from(number(index)?).ok();
    let terminal = number(4)?;
    Some(Facts {
        pid: parse(&stat[..open])?,
        ppid: unsigned(1)?,
        sid: unsigned(3)?,
        has_terminal: terminal != 0,
        in_foreground: terminal != 0 && number(2)? == number(5)?,
        state: *fields.first()?.first()?,
        is_kernel_thread: parse::<u64>(fields.get(6)?)? & PF_KTHREAD != 0,
        cpu_ticks: parse::<u64>(fields.get(11)?)?.saturating_add(parse(fields.get(12)?)?),
        threads: unsigned(17)?,
        start_ticks: parse(fields.get(19)?)?,
        comm: comm(stat.get(open + 1..close)?),
        uid: 0,
        euid: 0,
        is_contained: false,
        origin: None,
    })
}

fn comm(name: &[u8]) -> Comm {
    let mut raw = [0; COMM_LEN];
    // A worker of the kernel may have a longer one here.
    let length = name.len().min(COMM_LEN - 1);
    raw[..length].copy_from_slice(&name[..length]);
    Comm::new(raw)
}

/// Real and effective uid.
fn uids(status: &[u8]) -> Option<(u32, u32)> {
    let mut uids = field(status, b"Uid:")?;
    Some((parse(uids.next()?)?, parse(uids.next()?)?))
}

/// A process has a pid in each namespace from ours down to its own.
fn is_contained(status: &[u8]) -> bool {
    field(status, b"NSpid:").is_some_and(|pids| pids.count() > 1)
}

/// The words of a line. The first line has the name, in which the kernel escapes newlines.
fn field<'a>(status: &'a [u8], name: &[u8]) -> Option<impl Iterator<Item = &'a [u8]>> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name))?;
    Some(line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()))
}

/// The line `0::/path` of /proc/PID/cgroup, which is the last where other hierarchies are mounted, too.
fn unified(cgroups: &[u8]) -> Text {
    let path = cgroups.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"));
    Text::new(path.unwrap_or_default())
}

fn parse<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAT: &[u8] =
        b"4242 (a) S (b) S 100 4242 4200 34816 4242 4194304 1 2 3 4 50 7 0 0 20 0 3 0 83112 9 9 1\n";

    #[test]
    fn a_name_cannot_pretend_to_be_other_fields() {
        let facts = parse_stat(STAT).unwrap();
        assert_eq!((facts.pid, facts.ppid, facts.sid, facts.state), (4242, 100, 4200, b'S'));
        assert_eq!((facts.cpu_ticks, facts.threads, facts.start_ticks), (57, 3, 83_112));
        assert_eq!(facts.comm.as_bytes(), b"a) S (b");
        assert!(facts.has_terminal && facts.in_foreground && !facts.is_kernel_thread);
    }

    #[test]
    fn status_is_read_by_line() {
        let status = b"Name:\tx\\nUid: 0\nState:\tS\nUid:\t1003\t1004\t1003\t1003\nNSpid:\t4242\t7\n";
        assert_eq!(uids(status), Some((1003, 1004)));
        assert!(is_contained(status));
        assert!(!is_contained(b"Name:\tx\nNSpid:\t4242\n"));
    }

    #[test]
    fn the_unified_path_is_found_among_others() {
        assert_eq!(unified(b"8:pids:/x\n0::/a/b\n").to_string(), "/a/b");
        assert_eq!(unified(b"8:pids:/x\n"), Text::default());
    }

    #[test]
    fn a_process_that_lost_its_first_thread_is_no_zombie() {
        let zombie = Facts { state: b'Z', threads: 1, ..parse_stat(STAT).unwrap() };
        assert!(zombie.is_zombie());
        assert!(!Facts { threads: 2, ..zombie }.is_zombie());
    }

    #[test]
    fn this_process_is_read() {
        let facts = read(&Process::myself().unwrap(), |_| true).unwrap();
        assert_eq!(facts.pid, std::process::id());
        assert_eq!(facts.uid, nix::unistd::getuid().as_raw());
        assert!(facts.origin.is_some_and(|origin| origin.cgroup.as_bytes().starts_with(b"/")));
        assert!(!arguments(&Process::myself().unwrap()).is_empty());
    }

    proptest! {
        #[test]
        fn any_text_does_not_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (parse_stat(&text), uids(&text), is_contained(&text), unified(&text));
        }
    }
}
