//! Which `su` session a process stems from, and whether that has ended.

use super::{
    classify::adopted,
    dwelling::Dwelling,
    facts::{Facts, Origin},
    table::Table,
};

/// The `su` sessions that live: the processes by which somebody became somebody else.
#[derive(Debug)]
pub struct Sessions {
    entries: Vec<Entry>,
    ticks_per_second: u64,
}

/// A process that keeps a session alive: the first one of it, or one that somebody works with.
#[derive(Debug)]
struct Entry {
    pid: u32,
    uid: u32,
    start_ticks: u64,
    login_session: Option<u32>,
}

impl Sessions {
    /// Finds them.
    pub fn of(table: &Table) -> Self {
        let is_entry = |facts: &&Facts| is_first(table, facts) || is_in_use(table, facts);
        let entry = |facts: &Facts| Entry {
            pid: facts.pid,
            uid: facts.uid,
            start_ticks: facts.start_ticks,
            login_session: facts.origin.as_ref().and_then(|origin| origin.login_session),
        };
        let entries = table.sorted().into_iter().filter(is_entry).map(entry).collect();
        Self { entries, ticks_per_second: procfs::ticks_per_second() }
    }

    /// The evidence that the process stems from an `su` session that has ended.
    ///
    /// # Errors
    /// Why that is not so, or cannot be told.
    pub fn ended(&self, table: &Table, facts: &Facts, origin: &Origin) -> Result<String, String> {
        let dwelling = Dwelling::of(origin.cgroup.as_bytes());
        if let Dwelling::Leaf { first, start_seconds } = dwelling
            && first != facts.pid
        {
            return match self.first_of(table, first, start_seconds) {
                Some(alive) if adopted(table, alive).is_none() || table.has_live_terminal(alive) => {
                    Err(format!("su session {first} lives"))
                }
                Some(_) => Ok(format!("of su session {first}, whose su is gone")),
                None => Ok(format!("of su session {first}, which is gone")),
            };
        }
        let su = trace(dwelling, facts, origin).ok_or("nothing tells of an su")?;
        match self.alive_for(facts, origin) {
            Some(entry) => Err(format!("{su}, and may be of the session of {}, which lives", entry.pid)),
            None => Ok(su),
        }
    }

    /// The first process of a leaf's session, if it lives. Names of leaves have whole seconds.
    fn first_of<'t>(&self, table: &'t Table, first: u32, start_seconds: u64) -> Option<&'t Facts> {
        table
            .get(first)
            .filter(|facts| facts.start_ticks / self.ticks_per_second == start_seconds && !facts.is_zombie())
    }

    /// A living session that the process may stem from: one of its user that is not younger than it and, as far as
    /// that is known, of the same login.
    fn alive_for(&self, facts: &Facts, origin: &Origin) -> Option<&Entry> {
        self.entries.iter().find(|entry| {
            let same_login = match (entry.login_session, origin.login_session) {
                (Some(one), Some(other)) => one == other,
                (None, _) | (_, None) => true,
            };
            entry.pid != facts.pid
                && entry.uid == facts.uid
                && entry.start_ticks <= facts.start_ticks
                && same_login
        })
    }
}

/// What tells that a process' user is not the one who logged in.
fn trace(dwelling: Dwelling, facts: &Facts, origin: &Origin) -> Option<String> {
    if let Some(login) = origin.login_uid.filter(|login| *login != facts.uid) {
        return Some(format!("uid {login} logged in and became uid {}", facts.uid));
    }
    match dwelling {
        Dwelling::Session { owner } | Dwelling::UserService { owner } if owner != facts.uid => {
            Some(format!("uid {} in a session of uid {owner}", facts.uid))
        }
        // It was its session's first process, and has lost its su.
        Dwelling::Leaf { .. } => Some("of an su session whose su is gone".to_owned()),
        _ => None,
    }
}

/// Whether its true parent is another user, or is one for this purpose: `su`, `sudo`, a login.
fn is_first(table: &Table, facts: &Facts) -> bool {
    let by_another = |parent: &Facts| parent.uid != facts.uid || parent.euid != facts.euid;
    facts.origin.is_some()
        && !facts.is_zombie()
        && table.get(facts.ppid).is_some_and(by_another)
        && adopted(table, facts).is_none()
}

/// Whether somebody types into it.
fn is_in_use(table: &Table, facts: &Facts) -> bool {
    facts.origin.is_some() && !facts.is_zombie() && facts.in_foreground && table.has_live_terminal(facts)
}
