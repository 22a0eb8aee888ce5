//! Whose processes are meant.

use std::{fs, ops::RangeInclusive};

use nix::unistd::User;

use crate::{agent::AgentError, orphans::Users, text::escape};

const LOGIN_DEFS: &str = "/etc/login.defs";
/// What login.defs(5) says where the file says nothing.
const PEOPLE: RangeInclusive<u32> = 1000..=60_000;

/// Those that the command line names, or people.
pub(super) fn wanted(name: Option<&str>, uid: Option<u32>) -> Result<Users, AgentError> {
    let Some(name) = name else {
        return Ok(uid.map_or_else(people, Users::One));
    };
    let shown = escape(name.as_bytes());
    match User::from_name(name) {
        Ok(Some(user)) => Ok(Users::One(user.uid.as_raw())),
        Ok(None) => Err(AgentError::Usage(format!(
            "--user \"{shown}\": no such user; `getent passwd` lists those there are, --uid takes a number"
        ))),
        Err(error) => Err(AgentError::Usage(format!(
            "--user \"{shown}\": the user database failed ({error}); --uid takes a number"
        ))),
    }
}

fn people() -> Users {
    let text = fs::read(LOGIN_DEFS).unwrap_or_default();
    Users::People(range(&String::from_utf8_lossy(&text)))
}

fn range(text: &str) -> RangeInclusive<u32> {
    let value = |key: &str, default: u32| {
        let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix(key));
        let value = lines
            .filter(|rest| rest.starts_with(char::is_whitespace))
            .find_map(|rest| rest.trim().parse().ok());
        value.unwrap_or(default)
    };
    value("UID_MIN", *PEOPLE.start())..=value("UID_MAX", *PEOPLE.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_those_of_login_defs() {
        assert_eq!(range(""), PEOPLE);
        assert_eq!(range("# UID_MIN 7\nUID_MIN\t\t  500\nSYS_UID_MAX 99\nUID_MAX 700 \n"), 500..=700);
        assert_eq!(range("UID_MIN many\n"), PEOPLE);
    }

    #[test]
    fn a_name_that_nobody_bears_is_refused_escaped() {
        let error = wanted(Some("no\x1buser"), None).unwrap_err().to_string();
        assert!(error.starts_with("--user \"no\\x1buser\": no such user"), "{error}");
        assert_eq!(wanted(Some("root"), None).unwrap(), Users::One(0));
        assert_eq!(wanted(None, Some(1003)).unwrap(), Users::One(1003));
    }
}
