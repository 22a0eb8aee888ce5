//! What an `su` session is called.

use std::fmt;

use crate::event::ProcessKey;

/// The name of an `su` session: that of the first process in the user's hands, by pid and start. It is the name of the
/// leaf that the session's processes live in, and is never used again while the machine is up.
///
/// `su-4242-83112` is the session of pid 4242, which began 83,112 s after boot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionName(String);

impl SessionName {
    /// The session that begins with `first`.
    pub fn of(first: ProcessKey) -> Self {
        Self(format!("su-{}-{}", first.pid, first.start.0 / 1_000_000_000))
    }

    /// The name: letters, digits and `-` only.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The scope that the session is, where sessions are scopes.
    pub fn scope(&self) -> String {
        format!("procwatch-{self}.scope")
    }

    /// The session whose scope has this name; `None` when it is no session's.
    pub fn of_scope(name: &str) -> Option<Self> {
        let session = name.strip_prefix("procwatch-")?.strip_suffix(".scope")?;
        Self::is_one(session).then(|| Self(session.to_owned()))
    }

    /// Whether the name of a cgroup is that of a session's leaf.
    pub fn is_one(name: &str) -> bool {
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        name.strip_prefix("su-")
            .and_then(|rest| rest.split_once('-'))
            .is_some_and(|(pid, start)| is_number(pid) && is_number(start))
    }
}

impl fmt::Display for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::BootTime;

    #[test]
    fn a_name_is_recognised_and_nothing_else_is() {
        let name = SessionName::of(ProcessKey { pid: 4242, start: BootTime(83_112_999_999_999) });
        assert_eq!(name.as_str(), "su-4242-83112");
        assert!(SessionName::is_one(name.as_str()));
        assert_eq!(name.scope(), "procwatch-su-4242-83112.scope");
        assert_eq!(SessionName::of_scope(&name.scope()), Some(name));
        assert_eq!(SessionName::of_scope("procwatch-su-4242.scope"), None);
        for other in ["su-", "su-1", "su-1-", "su--1", "su-1-2-3", "su-1-x", "keeper", ""] {
            assert!(!SessionName::is_one(other), "{other}");
        }
    }
}
