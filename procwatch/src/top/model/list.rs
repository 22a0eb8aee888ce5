//! The cursor of a table whose rows change places.

use crate::event::ProcessKey;

/// Where the person is in the table. It stays on its process wherever that goes; without one the first rows are shown.
#[derive(Clone, Debug, Default)]
pub struct Cursor {
    key: Option<ProcessKey>,
    /// Its place among the rows that are shown.
    at: usize,
    /// The first row in sight.
    top: usize,
    /// Rows in sight.
    page: usize,
}

impl Cursor {
    /// The process that it is on.
    pub const fn key(&self) -> Option<ProcessKey> {
        self.key
    }

    /// The first row in sight.
    pub const fn top(&self) -> usize {
        self.top
    }

    /// How far a page is.
    pub fn page(&self) -> usize {
        self.page.max(1)
    }

    /// Goes on to where its process is among these; when that is not there any more, to the one that took its place.
    pub fn follow(&mut self, keys: &[ProcessKey]) {
        let Some(key) = self.key else { return };
        match keys.iter().position(|other| *other == key) {
            Some(at) => self.at = at,
            None => self.go(self.at, keys),
        }
    }

    /// Moves by so many rows; the first move comes onto the first row in sight.
    pub fn step(&mut self, by: isize, keys: &[ProcessKey]) {
        let at = if self.key.is_some() { self.at.saturating_add_signed(by) } else { self.top };
        self.go(at, keys);
    }

    /// Moves to this row, or the last one before it.
    pub fn go(&mut self, at: usize, keys: &[ProcessKey]) {
        self.at = at.min(keys.len().saturating_sub(1));
        self.key = keys.get(self.at).copied();
    }

    /// Leaves its process, and the first rows are shown again.
    pub fn leave(&mut self) {
        *self = Self { page: self.page, ..Self::default() };
    }

    /// There are so many rows, of which so many are in sight: moves as little as is needed to have it among them.
    pub fn fit(&mut self, page: usize, rows: usize) {
        self.page = page;
        if self.key.is_some() {
            self.top = self.top.clamp((self.at + 1).saturating_sub(page.max(1)), self.at);
        }
        self.top = self.top.min(rows.saturating_sub(page));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::BootTime;

    fn keys(pids: &[u32]) -> Vec<ProcessKey> {
        pids.iter().map(|pid| ProcessKey { pid: *pid, start: BootTime(1) }).collect()
    }

    fn pid(cursor: &Cursor) -> Option<u32> {
        cursor.key().map(|key| key.pid)
    }

    #[test]
    fn it_stays_on_its_process() {
        let mut cursor = Cursor::default();
        cursor.follow(&keys(&[1, 2, 3]));
        assert_eq!(pid(&cursor), None, "nobody was chosen");
        cursor.step(1, &keys(&[1, 2, 3]));
        assert_eq!(pid(&cursor), Some(1), "the first move comes onto the first row");
        cursor.step(1, &keys(&[1, 2, 3]));
        for order in [&[3, 1, 2][..], &[2, 3, 1], &[9, 8, 7, 2]] {
            cursor.follow(&keys(order));
            assert_eq!(pid(&cursor), Some(2));
        }
        cursor.follow(&keys(&[9, 8]));
        assert_eq!(pid(&cursor), Some(8), "it ended, and was the last");
        cursor.follow(&[]);
        assert_eq!(pid(&cursor), None);
    }

    #[test]
    fn it_stops_at_both_ends_and_stays_in_sight() {
        let all = keys(&(0..100).collect::<Vec<_>>());
        let mut cursor = Cursor::default();
        cursor.fit(10, 100);
        for (by, at, top) in [
            (-1, 0, 0),
            (-1, 0, 0),
            (9, 9, 0),
            (1, 10, 1),
            (-5, 5, 1),
            (500, 99, 90),
            (-9, 90, 90),
            (-1, 89, 89),
        ] {
            cursor.step(by, &all);
            cursor.fit(10, 100);
            assert_eq!((pid(&cursor), cursor.top()), (Some(at), top), "by {by}");
        }
        cursor.fit(0, 100);
        cursor.fit(1, 100);
        assert_eq!(cursor.top(), 89);
        cursor.leave();
        assert_eq!((cursor.key(), cursor.top(), cursor.page()), (None, 0, 1));
    }
}
