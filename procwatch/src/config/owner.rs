//! Whose processes a rule speaks of.

use std::ops::Range;

use nix::unistd::{Group, User};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{error::quote, read::Reader};
use crate::text::escape;

/// The ids from 4294967295 on are "none".
pub(super) const MAX_ID: u32 = u32::MAX - 1;

/// The keys of which a rule has exactly one.
pub(super) const KEYS: [&str; 4] = ["user", "uid", "group", "gid"];

/// Whose processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// Those whose real and effective uid are this one.
    Uid(u32),
    /// Those whose real and effective gid are this one, but for root's and those of a uid with a rule of its own.
    Gid(u32),
}

impl Owner {
    /// `uid 1003` or `gid 1003`.
    pub fn shown(self) -> String {
        match self {
            Self::Uid(uid) => format!("uid {uid}"),
            Self::Gid(gid) => format!("gid {gid}"),
        }
    }
}

/// Who knows the ids of users and groups: `None` when there is no such one, an error in words when that cannot be known.
pub trait Accounts {
    /// The uid of a user.
    ///
    /// # Errors
    /// Why it cannot be known.
    fn uid(&self, user: &str) -> Result<Option<u32>, String>;

    /// The gid of a group.
    ///
    /// # Errors
    /// Why it cannot be known.
    fn gid(&self, group: &str) -> Result<Option<u32>, String>;
}

/// The system's databases of users and groups.
#[derive(Clone, Copy, Debug)]
pub struct SystemAccounts;

impl Accounts for SystemAccounts {
    fn uid(&self, user: &str) -> Result<Option<u32>, String> {
        match User::from_name(user) {
            Ok(user) => Ok(user.map(|user| user.uid.as_raw())),
            Err(errno) => Err(errno.desc().to_owned()),
        }
    }

    fn gid(&self, group: &str) -> Result<Option<u32>, String> {
        match Group::from_name(group) {
            Ok(group) => Ok(group.map(|group| group.gid.as_raw())),
            Err(errno) => Err(errno.desc().to_owned()),
        }
    }
}

/// Exactly one of [`KEYS`], and not root. Returns the owner and how it was written, escaped: `user=aimgr`.
pub(super) fn read(
    reader: &mut Reader<'_>,
    span: &Range<usize>,
    table: &DeTable<'_>,
    name: &str,
    accounts: &dyn Accounts,
) -> Option<(Owner, String)> {
    let mut given = KEYS.into_iter().filter_map(|key| Some((key, table.get(key)?)));
    let Some((key, value)) = given.next() else {
        let what = "has none of user, uid, group and gid; give one of them, e.g. user = \"aimgr\"";
        reader.bad(span, name, what);
        return None;
    };
    if let Some((other, second)) = given.next() {
        reader.bad(&second.span(), name, format!("has {key} and {other}; give one of them"));
        return None;
    }
    let field = format!("{name}.{key}");
    let (id, written) = match key {
        "user" | "group" => by_name(reader, value, &field, key, accounts)?,
        _ => {
            let id = reader.number(value, &field, (0, MAX_ID))?;
            (id, format!("{key}={id}"))
        }
    };
    if id == 0 {
        reader.bad(&value.span(), field, "is root; root is never placed, name a service user");
        return None;
    }
    let owner = if matches!(key, "user" | "uid") { Owner::Uid(id) } else { Owner::Gid(id) };
    Some((owner, written))
}

/// The id of a user or group, and how it was written, escaped: `user=aimgr`.
pub(super) fn by_name(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    field: &str,
    key: &str,
    accounts: &dyn Accounts,
) -> Option<(u32, String)> {
    let name = reader.text(value, field, "aimgr")?;
    let number = if key == "user" { "uid" } else { "gid" };
    // The system's look-up ends a name at a NUL, and would then find another one.
    let found = match key {
        _ if name.contains('\0') => Ok(None),
        "user" => accounts.uid(name),
        _ => accounts.gid(name),
    };
    let what = match found {
        Ok(Some(id)) => return Some((id, format!("{key}={}", escape(name.as_bytes())))),
        Ok(None) => match name.parse::<u32>() {
            Ok(id) => format!("unknown {key} {}; a number is given as {number} = {id}", quote(name)),
            Err(_) => format!("unknown {key} {}; create it or give {number} = N", quote(name)),
        },
        Err(why) => format!("{key} {} cannot be looked up ({why}); give {number} = N", quote(name)),
    };
    reader.bad(&value.span(), field, what);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_knows_root_and_not_a_stranger() {
        assert_eq!(SystemAccounts.uid("root"), Ok(Some(0)));
        assert_eq!(SystemAccounts.gid("root"), Ok(Some(0)));
        assert_eq!(SystemAccounts.uid("no-such-user-here"), Ok(None));
        assert_eq!(SystemAccounts.gid("no-such-group-here"), Ok(None));
    }
}
