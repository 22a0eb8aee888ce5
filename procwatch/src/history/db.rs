//! Opens the database: makes it, brings it to the present form, or says why it is of no use.

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use rusqlite::{
    Connection, ErrorCode, FileControl, MAIN_DB, OpenFlags, TransactionBehavior, config::DbConfig,
};
use thiserror::Error;

use crate::files::{self, with_suffix};

/// "pwhd" in the file's header: a history of procwatch.
const APPLICATION_ID: i32 = 0x7077_6864;
/// What makes each form of the database out of the one before it. What was released is never changed.
const STEPS: [&str; 1] = [include_str!("schema.sql")];
/// How long a writer is waited for: somebody with an SQL shell.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Corrupt databases that are kept besides.
const MOST_CORRUPT: usize = 4;

/// Why a database cannot be opened.
#[derive(Debug, Error)]
pub(super) enum OpenError {
    /// The file, or its folder.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// SQLite; it may be better the next time.
    #[error(transparent)]
    Sql(rusqlite::Error),
    /// The file is there and of no use.
    #[error("{why}")]
    Useless {
        /// What it is, as a part of a file's name.
        what: &'static str,
        /// In words.
        why: String,
    },
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        if is_corrupt(&error) {
            return Self::Useless { what: "corrupt", why: error.to_string() };
        }
        Self::Sql(error)
    }
}

/// Whether it says that the file itself is bad, and not what is around it. So does an answer that no file of ours gives:
/// the text of the tables' definitions may be what was damaged.
pub(super) fn is_corrupt(error: &rusqlite::Error) -> bool {
    use ErrorCode::{
        ConstraintViolation, DatabaseCorrupt, InternalMalfunction, NotADatabase, TypeMismatch, Unknown,
    };
    // A header that says so itself: what the file system does not let be written cannot be set aside either.
    let is_written_for_reading =
        error.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_READONLY);
    if is_written_for_reading {
        return true;
    }
    error.sqlite_error_code().is_none_or(|code| {
        matches!(
            code,
            ConstraintViolation
                | DatabaseCorrupt
                | InternalMalfunction
                | NotADatabase
                | TypeMismatch
                | Unknown
        )
    })
}

/// Opens the database for writing, and makes it if it is absent.
///
/// # Errors
/// As [`OpenError`] says.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    files::provide(path)?;
    let mut connection = Connection::open_with_flags(
        real(path)?,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW,
    )?;
    connection.busy_timeout(PATIENCE)?;
    distrust(&connection)?;
    let (application, version, tables) = header(&connection)?;
    let foreign = |what, why: String| Err(OpenError::Useless { what, why });
    if (application, version, tables) == (0, 0, 0) {
        // Must be said before there is anything in it.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    } else if application != APPLICATION_ID {
        return foreign("foreign", "it is a database of some other program".to_owned());
    } else if version > STEPS.len() as i64 {
        let why = format!("a later procwatch wrote it (form {version}; this one knows {})", STEPS.len());
        return foreign("later", why);
    }
    set_up(&connection)?;
    migrate(&mut connection, &STEPS)?;
    Ok(connection)
}

/// Looks through all of it, as after an agent that died.
///
/// # Errors
/// As [`OpenError`] says, when something is wrong.
pub(super) fn check(connection: &Connection) -> Result<(), OpenError> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
    if verdict == "ok" {
        return Ok(());
    }
    Err(OpenError::Useless { what: "corrupt", why: verdict })
}

/// Opens the database of an agent for reading; nothing is changed.
///
/// # Errors
/// As [`OpenError`] says. An absent file is [`OpenError::Io`], and so is one that an agent is just making.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, OpenError> {
    // SQLite says of everything that it is "unable to open database file". Opened it must not be: closing it would take
    // away the locks that this process may have on it.
    rustix::fs::access(path, rustix::fs::Access::READ_OK).map_err(io::Error::from)?;
    let path = real(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(&path, flags | OpenFlags::SQLITE_OPEN_NOFOLLOW).and_then(|it| {
        it.busy_timeout(PATIENCE)?;
        distrust(&it)?;
        // One moment of a file that may just be made.
        let header = it.unchecked_transaction().and_then(|moment| header(&moment))?;
        Ok((header, it))
    });
    let (header, connection) = match opened {
        // Who may not write to the folder cannot make the files that go with it; but without a log of writes there is
        // no writer.
        Err(error) if cannot_open(&error) && !with_suffix(&path, "-wal").exists() => {
            let connection =
                Connection::open_with_flags(immutable(&path), flags | OpenFlags::SQLITE_OPEN_URI)?;
            distrust(&connection)?;
            (header(&connection)?, connection)
        }
        opened => opened?,
    };
    if header == (0, 0, 0) {
        return Err(io::Error::from(io::ErrorKind::NotFound).into());
    }
    let (application, version, _) = header;
    if application != APPLICATION_ID || version != STEPS.len() as i64 {
        let why = if application == APPLICATION_ID {
            format!("is of form {version}, and this procwatch reads form {}", STEPS.len())
        } else {
            "is no history of procwatch".to_owned()
        };
        return Err(OpenError::Useless { what: "foreign", why });
    }
    Ok(connection)
}

fn cannot_open(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

/// `file:/path?immutable=1`, with all that means something in a URI in its own notation.
fn immutable(path: &Path) -> String {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            _ if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            _ => {
                // A string takes everything.
                let _ = write!(uri, "%{byte:02x}");
            }
        }
    }
    uri + "?immutable=1"
}

/// The path with all links of its folder resolved: a link in the file's own place is refused.
fn real(path: &Path) -> io::Result<PathBuf> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    Ok(folder.canonicalize()?.join(name))
}

/// The file's content is data and no program, whoever wrote it.
fn distrust(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.pragma_update(None, "cache_size", -512)?;
    Ok(())
}

/// Application id, version of the form, and number of tables.
fn header(connection: &Connection) -> rusqlite::Result<(i32, i64, i64)> {
    Ok((
        connection.pragma_query_value(None, "application_id", |row| row.get(0))?,
        connection.pragma_query_value(None, "user_version", |row| row.get(0))?,
        connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?,
    ))
}

/// Write-ahead: readers never wait, and a killed agent leaves nothing half done. The kernel is asked to sync at
/// checkpoints only: a death of the machine may take away the last transactions, and no more.
fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 256, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", 1 << 20, |_| Ok(()))?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // The files that go with it stay, so that those can read who may not make them.
    let mut persist = 1;
    connection.file_control(Some(MAIN_DB), FileControl::PersistWal(&mut persist))
}

/// Brings the database to the form after the last of `steps`; all of it or nothing.
fn migrate(connection: &mut Connection, steps: &[&str]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (_, version, _) = header(&transaction)?;
    let done = usize::try_from(version).unwrap_or(0);
    if done >= steps.len() {
        return Ok(());
    }
    for step in steps.iter().skip(done) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", steps.len() as i64)?;
    transaction.commit()
}

/// Gives a useless file, and those that go with it, another name, which it returns. It must not be open.
///
/// # Errors
/// When it cannot be renamed.
pub(super) fn set_aside(path: &Path, what: &str, now: Timestamp) -> io::Result<PathBuf> {
    let stamp = now.strftime("%Y%m%dT%H%M%SZ");
    let mut to = with_suffix(path, &format!(".{what}-{stamp}"));
    for number in 2.. {
        if fs::symlink_metadata(&to).is_err() {
            break;
        }
        to = with_suffix(path, &format!(".{what}-{stamp}-{number}"));
    }
    fs::rename(path, &to)?;
    for with in ["-wal", "-shm"] {
        let _ = fs::rename(with_suffix(path, with), with_suffix(&to, with));
    }
    if what == "corrupt" {
        // One that is in the way of the limit stays; it is looked at again with the next one.
        let _ = keep_few(path);
    }
    Ok(to)
}

/// A disk that goes bad must not fill up with what it spoilt.
fn keep_few(path: &Path) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(());
    };
    let prefix = format!("{}.corrupt-", name.to_string_lossy());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(&prefix) && !name.ends_with("-wal") && !name.ends_with("-shm") {
            found.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    found.sort();
    for (_, old) in found.iter().rev().skip(MOST_CORRUPT) {
        for with in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(with_suffix(old, with));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
