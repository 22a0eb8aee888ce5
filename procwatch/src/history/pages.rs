//! Rows of the history, by pages: whoever reads them may take its time, and while a reader stands still in the middle of a
//! query, the log of the writes after it can only grow.

use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, types::Value};

use super::moment::signed;

/// Rows that are read at once.
const PAGE: u64 = 500;

/// The terms of a WHERE, with what stands for the question marks.
#[derive(Default)]
pub(super) struct Terms {
    terms: Vec<String>,
    parameters: Vec<Box<dyn ToSql>>,
}

impl Terms {
    pub(super) fn add<T: ToSql + 'static>(&mut self, term: &str, parameters: impl IntoIterator<Item = T>) {
        self.terms.push(format!("({term})"));
        self.parameters.extend(parameters.into_iter().map(|it| Box::new(it) as Box<dyn ToSql>));
    }

    fn text(&self) -> String {
        if self.terms.is_empty() { String::new() } else { format!("WHERE {}", self.terms.join(" AND ")) }
    }

    fn parameters(&self) -> Vec<&dyn ToSql> {
        self.parameters.iter().map(AsRef::as_ref).collect()
    }
}

/// Where a row stands: boot, time of the kernel's clock, and its number. In a file that somebody wrote to they may be
/// anything; SQLite has an order for all of it.
type Place = [Value; 3];

/// A row of a record.
pub(super) struct Kept {
    pub(super) run: i64,
    /// `None` if it is no text.
    pub(super) line: Option<String>,
}

/// Goes through the rows that terms let through, in their order, up to the last one that was there at the beginning.
pub(super) struct Pages<'c> {
    connection: &'c Connection,
    terms: Terms,
    left: u64,
}

impl<'c> Pages<'c> {
    /// All of them, or the last so many.
    pub(super) fn new(
        connection: &'c Connection,
        terms: Terms,
        limit: Option<u64>,
    ) -> rusqlite::Result<Self> {
        let mut pages = Self { connection, terms, left: limit.unwrap_or(u64::MAX) };
        let Some(last) = pages.place(0)? else {
            return Ok(Self { left: 0, ..pages });
        };
        let first = limit.map(|limit| pages.place(limit.saturating_sub(1))).transpose()?.flatten();
        pages.terms.add("(boot, boot_ns, id) <= (?, ?, ?)", last);
        if let Some(first) = first {
            pages.terms.add("(boot, boot_ns, id) >= (?, ?, ?)", first);
        }
        Ok(pages)
    }

    /// Of the row that has so many behind it.
    fn place(&self, behind: u64) -> rusqlite::Result<Option<Place>> {
        let sql = format!(
            "SELECT boot, boot_ns, id FROM records {} ORDER BY boot DESC, boot_ns DESC, id DESC LIMIT 1 OFFSET {}",
            self.terms.text(),
            signed(behind)
        );
        self.connection.query_row(&sql, &*self.terms.parameters(), |row| place_of(row, 0)).optional()
    }

    /// The next page; an empty one at the end.
    pub(super) fn next(&mut self) -> rusqlite::Result<Vec<Kept>> {
        let most = self.left.min(PAGE);
        if most == 0 {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT line, run, boot, boot_ns, id FROM records {} ORDER BY boot, boot_ns, id LIMIT {most}",
            self.terms.text()
        );
        let (mut page, mut place) = (Vec::new(), None);
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query(&*self.terms.parameters())?;
        while let Some(row) = rows.next()? {
            let line = row.get_ref(0)?.as_str().ok().map(str::to_owned);
            page.push(Kept { run: row.get(1).unwrap_or(0), line });
            place = Some(place_of(row, 2)?);
        }
        drop(rows);
        drop(statement);
        self.left -= page.len() as u64;
        if let Some(place) = place {
            self.terms.add("(boot, boot_ns, id) > (?, ?, ?)", place);
        }
        Ok(page)
    }
}

fn place_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Place> {
    Ok([row.get(column)?, row.get(column + 1)?, row.get(column + 2)?])
}
