//! In which order processes are shown.

use std::cmp::Ordering;

use super::Row;

/// By what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortBy {
    /// Process id.
    Pid,
    /// User.
    User,
    /// Threads.
    Threads,
    /// Growth since the picture before.
    Growth,
    /// Growth in a minute.
    Minute,
    /// Creations a second.
    Rate,
    /// Alert.
    Alert,
    /// Name.
    Comm,
}

impl SortBy {
    /// In the order of the columns.
    pub const ALL: [Self; 8] = [
        Self::Pid,
        Self::User,
        Self::Threads,
        Self::Growth,
        Self::Minute,
        Self::Rate,
        Self::Alert,
        Self::Comm,
    ];

    /// What is looked for comes first: the most of numbers, the beginning of names.
    const fn begins_high(self) -> bool {
        matches!(self, Self::Threads | Self::Growth | Self::Minute | Self::Rate | Self::Alert)
    }
}

/// An order of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// By what.
    pub by: SortBy,
    /// The other way round.
    pub is_reversed: bool,
}

impl Default for Order {
    fn default() -> Self {
        Self { by: SortBy::Threads, is_reversed: false }
    }
}

impl Order {
    /// By that; by the same again it is turned round.
    #[must_use]
    pub fn by(self, by: SortBy) -> Self {
        Self { by, is_reversed: self.by == by && !self.is_reversed }
    }

    /// By the next column, or the one before; at the ends it goes round.
    #[must_use]
    pub fn beside(self, forward: bool) -> Self {
        let count = SortBy::ALL.len();
        let now = SortBy::ALL.iter().position(|by| *by == self.by).unwrap_or(0);
        let next = (now + if forward { 1 } else { count - 1 }) % count;
        Self { by: SortBy::ALL[next], is_reversed: false }
    }

    /// Whether the largest come first.
    pub const fn is_descending(self) -> bool {
        self.by.begins_high() != self.is_reversed
    }

    /// Which of two comes first. Equals come by threads, then by pid, so that they do not change places.
    pub fn compare(self, a: &Row, b: &Row) -> Ordering {
        let (first, second) = if self.is_descending() { (b, a) } else { (a, b) };
        let by = match self.by {
            SortBy::Pid => first.process.pid.cmp(&second.process.pid),
            SortBy::User => user(first).cmp(&user(second)),
            SortBy::Threads => first.process.threads.cmp(&second.process.threads),
            SortBy::Growth => first.growth.cmp(&second.growth),
            SortBy::Minute => first.minute.cmp(&second.minute),
            SortBy::Rate => first.per_second.cmp(&second.per_second),
            SortBy::Alert => gravity(first).cmp(&gravity(second)),
            SortBy::Comm => first.process.comm.as_bytes().cmp(second.process.comm.as_bytes()),
        };
        by.then_with(|| b.process.threads.cmp(&a.process.threads))
            .then_with(|| a.process.pid.cmp(&b.process.pid))
            .then_with(|| a.process.start_ns.cmp(&b.process.start_ns))
    }
}

/// Users with a name by that, before those without, by number.
fn user(row: &Row) -> (bool, &str, u32) {
    let name = row.process.user.as_deref();
    (name.is_none(), name.unwrap_or_default(), row.process.uid)
}

/// How grave an alert is by its word; one that is not known is more than none.
fn gravity(row: &Row) -> u8 {
    match row.process.alert.as_deref() {
        None => 0,
        Some("notice") => 2,
        Some("warning" | "burst" | "leak") => 3,
        Some("critical" | "stop") => 4,
        Some("emergency") => 5,
        Some(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        status::ProcessRow,
        text::Comm,
        top::samples::{process, row},
    };

    fn rows() -> Vec<Row> {
        let named = |pid, threads, user: Option<&str>, comm: &str, alert: Option<&str>| ProcessRow {
            user: user.map(str::to_owned),
            comm: Comm::of_name(comm.as_bytes()),
            alert: alert.map(str::to_owned),
            ..process(pid, threads)
        };
        vec![
            Row { growth: 5, minute: -1, per_second: 2, ..row(named(1, 10, Some("root"), "init", None)) },
            Row { growth: -9, minute: 30, per_second: 0, ..row(named(2, 99, None, "z", Some("warning"))) },
            Row {
                growth: 0,
                minute: 0,
                per_second: 7,
                ..row(named(3, 10, Some("ann"), "a", Some("emergency")))
            },
        ]
    }

    fn pids(order: Order) -> Vec<u32> {
        let mut rows = rows();
        rows.sort_by(|a, b| order.compare(a, b));
        rows.iter().map(|row| row.process.pid).collect()
    }

    #[test]
    fn each_column_orders_and_turns_round() {
        for (by, expected) in [
            (SortBy::Pid, [1, 2, 3]),
            (SortBy::User, [3, 1, 2]),
            (SortBy::Threads, [2, 1, 3]),
            (SortBy::Growth, [1, 3, 2]),
            (SortBy::Minute, [2, 3, 1]),
            (SortBy::Rate, [3, 1, 2]),
            (SortBy::Alert, [3, 2, 1]),
            (SortBy::Comm, [3, 1, 2]),
        ] {
            let order = Order { by, is_reversed: false };
            assert_eq!(pids(order), expected, "{by:?}");
            let turned = order.by(by);
            assert!(turned.is_reversed && !turned.by(by).is_reversed);
            if by != SortBy::Threads {
                assert_eq!(pids(turned), expected.into_iter().rev().collect::<Vec<_>>(), "{by:?}");
            }
        }
        assert_eq!(pids(Order::default().by(SortBy::Threads)), [1, 3, 2], "equals stay by pid");
    }

    #[test]
    fn columns_go_round() {
        let mut order = Order::default();
        for _ in 0..SortBy::ALL.len() {
            order = order.beside(true);
        }
        assert_eq!(order, Order::default());
        assert_eq!(order.beside(false).by, SortBy::User);
        assert_eq!(Order { by: SortBy::Pid, is_reversed: true }.beside(false).by, SortBy::Comm);
    }
}
