//! What the path of a cgroup says about those who live there.

use crate::execute::SessionName;

/// What kind of place a process lives in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dwelling {
    /// The leaf that procwatch made for an `su` session.
    Leaf {
        /// The pid of the session's first process.
        first: u32,
        /// Its start, whole seconds since boot.
        start_seconds: u64,
    },
    /// A session, or another part, of that user's slice that is no service.
    Session {
        /// The slice's user.
        owner: u32,
    },
    /// A service of the user manager of that uid.
    UserService {
        /// The manager's user.
        owner: u32,
    },
    /// A service of the system, or a place that is nobody's session: pid 1's own, virtual machines, containers.
    System,
    /// Nothing is known of it: the machine has no systemd, or somebody else made it.
    Unknown,
}

impl Dwelling {
    /// Reads a path of the cgroup2 hierarchy. It is hostile as all of them: what is not known is no evidence.
    pub fn of(path: &[u8]) -> Self {
        let Ok(path) = std::str::from_utf8(path) else {
            return Self::Unknown;
        };
        // A cgroup that was removed while a dead process still lived there.
        let path = path.strip_suffix(" (deleted)").unwrap_or(path);
        let mut names = path.split('/').filter(|name| !name.is_empty());
        if let Some(leaf) = names.clone().next_back().and_then(leaf) {
            return leaf;
        }
        let first = names.clone().next();
        if matches!(first, Some("system.slice" | "init.scope" | "machine.slice")) {
            return Self::System;
        }
        // The outermost user's slice is the true one: below it, the user makes the names.
        let owner = names.clone().find_map(|name| number_in(name, "user-", ".slice"));
        let Some(owner) = owner.filter(|_| first == Some("user.slice")) else {
            return if names.clone().any(is_service) { Self::System } else { Self::Unknown };
        };
        match names.rfind(|name| is_service(name) || is_scope(name)) {
            Some(unit) if is_service(unit) => Self::UserService { owner },
            Some("init.scope") => Self::UserService { owner },
            _ => Self::Session { owner },
        }
    }
}

fn leaf(name: &str) -> Option<Dwelling> {
    if !SessionName::is_one(name) {
        return None;
    }
    let (first, start) = name.strip_prefix("su-")?.split_once('-')?;
    Some(Dwelling::Leaf { first: first.parse().ok()?, start_seconds: start.parse().ok()? })
}

fn number_in(name: &str, before: &str, after: &str) -> Option<u32> {
    name.strip_prefix(before)?.strip_suffix(after)?.parse().ok()
}

fn is_service(name: &str) -> bool {
    name.strip_suffix(".service").is_some()
}

fn is_scope(name: &str) -> bool {
    name.strip_suffix(".scope").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_known_by_their_paths() {
        let leaf = Dwelling::Leaf { first: 4242, start_seconds: 831 };
        for (path, dwelling) in [
            ("/user.slice/user-1003.slice/procwatch.service/su-4242-831", leaf),
            ("/test/target/procwatch/su-4242-831", leaf),
            ("/user.slice/user-1000.slice/session-2.scope", Dwelling::Session { owner: 1000 }),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/vte-spawn-7.scope",
                Dwelling::Session { owner: 1000 },
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/x.service",
                Dwelling::UserService { owner: 1000 },
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/init.scope",
                Dwelling::UserService { owner: 1000 },
            ),
            ("/system.slice/cron.service", Dwelling::System),
            ("/system.slice/docker-0a.scope", Dwelling::System),
            ("/machine.slice/x.scope", Dwelling::System),
            ("/init.scope", Dwelling::System),
            ("/ai.slice/worker.service", Dwelling::System),
            ("/ai.slice/worker.service/su-", Dwelling::System),
            ("/user-1003.slice/x", Dwelling::Unknown),
            ("/", Dwelling::Unknown),
            ("", Dwelling::Unknown),
            ("/user.slice/user-1000.slice/session-2.scope (deleted)", Dwelling::Session { owner: 1000 }),
        ] {
            assert_eq!(Dwelling::of(path.as_bytes()), dwelling, "{path}");
        }
        assert_eq!(Dwelling::of(b"/user.slice/\xff"), Dwelling::Unknown);
        assert_eq!(Dwelling::of(b"/su-99999999999-1"), Dwelling::Unknown, "no pid");
    }
}
