//! Reads the history: what it keeps of records, as they were told.

use std::{ops::ControlFlow, path::Path, time::Duration};

use jiff::Timestamp;
use rusqlite::{Connection, ToSql, types::Value};

use super::{
    HistoryError,
    db::{self, OpenError},
    moment::{Moment, before, boot_id, ns, signed},
    pages::{Pages, Terms},
};
use crate::record::{Kind, Record};

/// A border in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Border {
    /// So long ago: by the kernel's clock where that is possible, so that a clock that was set does not matter.
    Ago(Duration),
    /// A time of day.
    At(Timestamp),
}

/// Which records are wanted. An empty list wants all; what is given must all agree.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Not before this.
    pub since: Option<Border>,
    /// Not after this.
    pub until: Option<Border>,
    /// Kinds.
    pub kinds: Vec<Kind>,
    /// Real or effective uids, or the names that they had, escaped.
    pub users: Vec<User>,
    /// Process ids.
    pub pids: Vec<u32>,
    /// Names of processes, escaped.
    pub comms: Vec<String>,
    /// The last so many.
    pub limit: Option<u64>,
}

/// Whose processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its uid, where that is known.
    pub uid: Option<u32>,
    /// Its name, where that is known, escaped.
    pub name: Option<String>,
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Records that were given out.
    pub records: u64,
    /// Rows that are no records: the file was damaged, or somebody wrote to it.
    pub damaged: u64,
}

/// A record of the history.
#[derive(Clone, Debug)]
pub struct Kept<'r> {
    /// Its line as it was told, without the line feed.
    pub line: &'r str,
    /// The record.
    pub record: &'r Record,
    /// The life of the agent in which it was told; they are numbered in their order.
    pub run: i64,
}

/// Gives the records that are wanted to `each`, in their order, until it breaks off.
///
/// # Errors
/// When the database cannot be read, or what `each` says.
pub fn records<B>(
    path: &Path,
    query: &Query,
    each: impl FnMut(Kept<'_>) -> Result<ControlFlow<B>, HistoryError>,
) -> Result<Account, HistoryError> {
    let reader = Reader::open(path)?;
    reader.records(query, each)
}

/// An open history.
pub(super) struct Reader<'p> {
    path: &'p Path,
    pub(super) connection: Connection,
    now: Moment,
    /// The boot's row of this boot; `None` when nothing of it is kept.
    pub(super) boot: Option<i64>,
}

impl<'p> Reader<'p> {
    /// Opens it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn open(path: &'p Path) -> Result<Self, HistoryError> {
        let now = Moment::now()?;
        Self::open_at(path, now, &boot_id()?)
    }

    /// The same, at another time.
    pub(super) fn open_at(path: &'p Path, now: Moment, boot_id: &str) -> Result<Self, HistoryError> {
        let connection = db::open_to_read(path).map_err(|error| unreadable(path, &error))?;
        let sql = "SELECT max(id) FROM boots WHERE boot_id = ?";
        let boot =
            connection.query_row(sql, [boot_id], |row| row.get(0)).map_err(|error| bad(path, &error))?;
        Ok(Self { path, connection, now, boot })
    }

    /// The present time of day.
    pub(super) const fn wall(&self) -> Timestamp {
        self.now.wall
    }

    /// An error of SQLite about this database.
    pub(super) fn bad(&self, error: &rusqlite::Error) -> HistoryError {
        bad(self.path, error)
    }

    /// See [`records`].
    pub(super) fn records<B>(
        &self,
        query: &Query,
        mut each: impl FnMut(Kept<'_>) -> Result<ControlFlow<B>, HistoryError>,
    ) -> Result<Account, HistoryError> {
        let mut pages =
            Pages::new(&self.connection, self.terms(query), query.limit).map_err(|error| self.bad(&error))?;
        let mut account = Account::default();
        loop {
            let page = pages.next().map_err(|error| self.bad(&error))?;
            if page.is_empty() {
                return Ok(account);
            }
            for row in page {
                // A column may hold anything in a file that somebody wrote to.
                let record = row.line.as_deref().and_then(|line| serde_json::from_str::<Record>(line).ok());
                let (Some(line), Some(record)) = (row.line, record) else {
                    account.damaged += 1;
                    continue;
                };
                account.records += 1;
                if each(Kept { line: &line, record: &record, run: row.run })?.is_break() {
                    return Ok(account);
                }
            }
        }
    }

    fn terms(&self, query: &Query) -> Terms {
        let mut terms = Terms::default();
        if let Some(since) = query.since {
            self.border(&mut terms, since, ">=");
        }
        if let Some(until) = query.until {
            self.border(&mut terms, until, "<=");
        }
        any(&mut terms, "kind", query.kinds.iter().map(|kind| kind.name()));
        any(&mut terms, "pid", query.pids.iter().copied());
        any(&mut terms, "comm", query.comms.iter().cloned());
        users(&mut terms, &query.users);
        terms
    }

    /// Within this boot by the kernel's clock; what was before it by the wall's.
    fn border(&self, terms: &mut Terms, border: Border, sign: &str) {
        match (border, self.boot) {
            (Border::At(time), _) => terms.add(&format!("time_ns {sign} ?"), [ns(time)]),
            (Border::Ago(span), None) => {
                terms.add(&format!("time_ns {sign} ?"), [ns(before(self.now.wall, span))]);
            }
            (Border::Ago(span), Some(boot)) => {
                let span_ns = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
                let boot_ns = signed(self.now.boot_ns.saturating_sub(span_ns));
                let term = format!("CASE WHEN boot = ? THEN boot_ns {sign} ? ELSE time_ns {sign} ? END");
                terms.add(&term, [boot, boot_ns, ns(before(self.now.wall, span))]);
            }
        }
    }
}

fn unreadable(path: &Path, error: &OpenError) -> HistoryError {
    let why = match error {
        OpenError::Io(error) if error.kind() == std::io::ErrorKind::NotFound => {
            "there is no history yet; `procwatch run` writes it".to_owned()
        }
        OpenError::Io(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            format!("may not be read by this user; be root or a member of the group {}", crate::files::GROUP)
        }
        error => error.to_string(),
    };
    HistoryError::Database { path: path.to_owned(), why }
}

fn bad(path: &Path, error: &rusqlite::Error) -> HistoryError {
    HistoryError::Database { path: path.to_owned(), why: error.to_string() }
}

/// One of them, or all if there are none.
fn any<T: ToSql + 'static>(terms: &mut Terms, column: &str, wanted: impl ExactSizeIterator<Item = T>) {
    if wanted.len() > 0 {
        let marks = vec!["?"; wanted.len()].join(", ");
        terms.add(&format!("{column} IN ({marks})"), wanted);
    }
}

fn users(terms: &mut Terms, users: &[User]) {
    let (mut texts, mut parameters) = (Vec::new(), Vec::<Value>::new());
    for user in users {
        if let Some(uid) = user.uid {
            texts.push("uid = ? OR euid = ?");
            parameters.extend([Value::from(uid), Value::from(uid)]);
        }
        if let Some(name) = &user.name {
            texts.push("user = ?");
            parameters.push(Value::from(name.clone()));
        }
    }
    if !texts.is_empty() {
        terms.add(&texts.join(" OR "), parameters);
    }
}
