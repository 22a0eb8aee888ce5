//! Whom a rule speaks of.

use super::Placer;
use crate::{config::Owner, detect::Place, event::Subject, inspect};

impl Placer {
    /// Whether the rule that a place names is that of its process.
    pub(super) fn speaks_of(&self, place: &Place) -> bool {
        let owner = self.rules[place.rule].written.owner;
        // The kernel does not tell the gids.
        speaks_of(owner, self.owners(), &place.subject, || inspect::gids(place.subject.key()))
    }

    /// The owners of all rules.
    pub(super) fn owners(&self) -> impl Iterator<Item = Owner> {
        self.rules.iter().map(|rule| rule.written.owner)
    }
}

/// Whether the rule of `owner`, and none of the others, speaks of a process: the same as the kernel programs say. One whose
/// gids are not known any more is let pass: it has ended, which is found out, and told, where it is held.
pub(super) fn speaks_of(
    owner: Owner,
    mut all: impl Iterator<Item = Owner>,
    subject: &Subject,
    gids: impl FnOnce() -> Option<[u32; 2]>,
) -> bool {
    let Subject { uid, euid, .. } = *subject;
    match owner {
        Owner::Uid(owner) => [uid, euid] == [owner; 2],
        Owner::Gid(owner) => {
            uid == euid
                && uid != 0
                && !all.any(|it| it == Owner::Uid(uid))
                && gids().is_none_or(|gids| gids == [owner; 2])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::subject;

    #[test]
    fn a_rule_speaks_of_its_own_only() {
        let all = [Owner::Uid(1003), Owner::Uid(1004), Owner::Gid(7)];
        let of = |owner, uid: u32, gids| speaks_of(owner, all.into_iter(), &subject(5, uid), || gids);
        assert!(of(Owner::Uid(1003), 1003, None) && !of(Owner::Uid(1003), 1004, None));
        assert!(of(Owner::Gid(7), 1000, Some([7, 7])));
        for (uid, gids) in [(1003, [7, 7]), (1000, [8, 8]), (1000, [7, 8]), (0, [7, 7])] {
            assert!(!of(Owner::Gid(7), uid, Some(gids)), "{uid} {gids:?}");
        }
        assert!(of(Owner::Gid(7), 1000, None), "that it has ended is found out later");
        let mut borrower = subject(5, 1003);
        borrower.euid = 0;
        assert!(!speaks_of(Owner::Uid(1003), all.into_iter(), &borrower, || None));
    }
}
