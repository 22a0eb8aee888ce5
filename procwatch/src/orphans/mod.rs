//! What `su` sessions leave behind: processes that nobody waits for, and dead ones that nobody reaps.
//!
//! There is no history to ask, only one pass over /proc. What `su`, `su -`, `sudo -u` from a session of desk (uid 1000)
//! leave of aimgr (1003) was looked at on Debian 12 (systemd 252, Linux 6.1), each with `setsid … &`, `nohup … &`,
//! `… &` and double forks. All of it has pid 1 as parent, or the user manager where the terminal was started by that;
//! keeps login uid 1000 and desk's audit session; and stays in desk's `session-N.scope`, unless procwatch moved it
//! into a leaf. With `su -c`, `su -` and `sudo` no controlling terminal is left. After an interactive `su`, what was
//! not given a session of its own keeps the terminal of desk's shell for as long as that lives. A service of aimgr
//! has no login uid; a real login of aimgr has aimgr's. So these are the rules.
//!
//! A process is an **orphan** when all of this is true:
//! 1. *Adopted*: its parent is pid 1, a user manager, or a process of another kernel session while the leader of its
//!    own is gone (a child is born into its parent's session, so another one must have made it). In a leaf of procwatch
//!    also: its parent is of another user, and it is not the session's first.
//! 2. *Of `su`*: it lives in a leaf of procwatch, its login uid is not its uid, or it lives in another user's slice.
//! 3. *Ended*: the first process of its leaf is gone or was itself adopted; or, without a leaf, there is no process
//!    that may have been the first one of its session: one of the same uid, not younger, of the same login, whose parent
//!    is another user and has not merely adopted it, or that is in the foreground of a live terminal.
//! 4. *Alone*: neither it nor any descendant has a live terminal (a terminal multiplexer is no orphan), and it has made
//!    no container (another pid namespace in another cgroup).
//!
//! What descends from an orphan and has its uid is one, too. What fulfils the first and lacks another is *doubtful*: it
//! is told of on request, and never touched. Left out altogether: pid 1, kernel threads, procwatch and its ancestors,
//! what [`protected`] names, services and their main processes (those of the system and of the user's own manager),
//! other pid namespaces, and those whose real and effective uid differ.
//!
//! Known to escape: what an `su` without a login uid (on a machine without audit, or called by root or a service)
//! leaves behind, unless it lives in a leaf or in another's slice. It is doubtful. Known to be taken for an orphan: a
//! daemon that somebody started by hand through `su` or `sudo`, which nothing but its purpose tells from one; hence the
//! question before each SIGTERM.

pub mod classify;
pub mod dwelling;
pub mod facts;
pub mod protected;
pub mod session;
pub mod table;
pub mod terminate;
#[cfg(test)]
mod tests;

pub use classify::{Finding, Findings, classify};
pub use facts::Facts;
pub use table::{Table, Users};
