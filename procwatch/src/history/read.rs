//! Reads the history: what it keeps of records, as they were told.

use std::{ops::ControlFlow, path::Path, time::Duration};

use jiff::Timestamp;
use rusqlite::{Connection, ToSql};

use super::{
    HistoryError,
    db::{self, OpenError},
    moment::{Moment, before, boot_id, ns, signed},
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
        let (sql, parameters) = self.select(query);
        let mut statement = self.connection.prepare(&sql).map_err(|error| self.bad(&error))?;
        let parameters: Vec<&dyn ToSql> = parameters.iter().map(AsRef::as_ref).collect();
        let mut rows = statement.query(&*parameters).map_err(|error| self.bad(&error))?;
        let mut account = Account::default();
        while let Some(row) = rows.next().map_err(|error| self.bad(&error))? {
            // A column may hold anything in a file that somebody wrote to.
            let line = row.get_ref(0).ok().and_then(|value| value.as_str().ok());
            let run = row.get(1).unwrap_or(0);
            let record = line.and_then(|line| serde_json::from_str::<Record>(line).ok());
            let (Some(line), Some(record)) = (line, record) else {
                account.damaged += 1;
                continue;
            };
            account.records += 1;
            if each(Kept { line, record: &record, run })?.is_break() {
                break;
            }
        }
        Ok(account)
    }

    fn select(&self, query: &Query) -> (String, Vec<Box<dyn ToSql>>) {
        let mut terms = Terms::default();
        if let Some(since) = query.since {
            self.border(&mut terms, since, ">=");
        }
        if let Some(until) = query.until {
            self.border(&mut terms, until, "<=");
        }
        terms.any("kind", query.kinds.iter().map(|kind| kind.name()));
        terms.any("pid", query.pids.iter().copied());
        terms.any("comm", query.comms.iter().cloned());
        terms.users(&query.users);
        let terms = terms.finish();
        let order = |way| format!("boot {way}, boot_ns {way}, id {way}");
        let all = format!("SELECT line, run, boot, boot_ns, id FROM records {}", terms.0);
        let sql = match query.limit {
            Some(limit) => {
                let limit = signed(limit);
                let (last, first) = (order("DESC"), order("ASC"));
                format!("SELECT line, run FROM ({all} ORDER BY {last} LIMIT {limit}) ORDER BY {first}")
            }
            None => format!("{all} ORDER BY {}", order("ASC")),
        };
        (sql, terms.1)
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

/// The terms of a WHERE, with what stands for the question marks.
#[derive(Default)]
struct Terms {
    terms: Vec<String>,
    parameters: Vec<Box<dyn ToSql>>,
}

impl Terms {
    fn add<T: ToSql + 'static>(&mut self, term: &str, parameters: impl IntoIterator<Item = T>) {
        self.terms.push(term.to_owned());
        self.parameters.extend(parameters.into_iter().map(|it| Box::new(it) as Box<dyn ToSql>));
    }

    /// One of them, or all if there are none.
    fn any<T: ToSql + 'static>(&mut self, column: &str, wanted: impl ExactSizeIterator<Item = T>) {
        if wanted.len() > 0 {
            let marks = vec!["?"; wanted.len()].join(", ");
            self.add(&format!("{column} IN ({marks})"), wanted);
        }
    }

    fn users(&mut self, users: &[User]) {
        let mut terms = Vec::new();
        for user in users {
            if let Some(uid) = user.uid {
                terms.push("uid = ? OR euid = ?");
                self.parameters.extend([uid, uid].map(|uid| Box::new(uid) as Box<dyn ToSql>));
            }
            if let Some(name) = &user.name {
                terms.push("user = ?");
                self.parameters.push(Box::new(name.clone()));
            }
        }
        if !terms.is_empty() {
            self.terms.push(format!("({})", terms.join(" OR ")));
        }
    }

    fn finish(self) -> (String, Vec<Box<dyn ToSql>>) {
        let text =
            if self.terms.is_empty() { String::new() } else { format!("WHERE {}", self.terms.join(" AND ")) };
        (text, self.parameters)
    }
}
