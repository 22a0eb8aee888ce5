//! Names of uids.

use std::collections::HashMap;

use nix::unistd::{Uid, User};

use crate::text::Text;

/// Most uids remembered. When they are reached all are forgotten: a machine has far fewer, unless someone changes
/// through uids on purpose, and then flat memory counts.
const MAX_KNOWN: usize = 1024;

/// Answers "who is this uid?" from the system's user database, and remembers the answer, "nobody" as well.
#[derive(Debug)]
pub struct UserNames {
    known: HashMap<u32, Option<Text>>,
    look_up: fn(u32) -> Option<Text>,
}

impl UserNames {
    /// Asks the system's user database. The first question about a uid may block for as long as the database takes.
    pub fn new() -> Self {
        Self::with_look_up(from_database)
    }

    /// Asks `look_up`, once per uid as long as there are at most 1024.
    pub fn with_look_up(look_up: fn(u32) -> Option<Text>) -> Self {
        Self { known: HashMap::new(), look_up }
    }

    /// The name of `uid`; `None` when it has none or the database failed.
    pub fn name(&mut self, uid: u32) -> Option<&Text> {
        if self.known.len() >= MAX_KNOWN && !self.known.contains_key(&uid) {
            self.known.clear();
        }
        self.known.entry(uid).or_insert_with(|| (self.look_up)(uid)).as_ref()
    }
}

impl Default for UserNames {
    fn default() -> Self {
        Self::new()
    }
}

fn from_database(uid: u32) -> Option<Text> {
    // A failing database is not asked again for each event: no name is an answer.
    let user = User::from_uid(Uid::from_raw(uid)).ok()??;
    Some(Text::from(user.name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_a_name() {
        let mut users = UserNames::new();
        assert_eq!(users.name(0), Some(&Text::from("root")));
        assert_eq!(users.name(4_000_000_007), None);
    }

    #[test]
    fn hostile_names_are_escaped() {
        let mut users = UserNames::with_look_up(|_| Some(Text::from("a\x1b[2J")));
        assert_eq!(users.name(1).unwrap().to_string(), "a\\x1b[2J");
    }

    #[test]
    fn memory_is_bounded() {
        let mut users = UserNames::with_look_up(|_| None);
        for uid in 0..10_000 {
            users.name(uid);
            assert!(users.known.len() <= MAX_KNOWN);
        }
    }
}
