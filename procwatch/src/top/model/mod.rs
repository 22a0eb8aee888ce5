//! What is shown: the agent's last pictures, its records, and what the person chose to see of them.

mod control;
mod details;
mod filter;
mod history;
mod list;
mod log;
mod order;
mod rows;
mod slices;

use jiff::{Timestamp, tz::TimeZone};

pub use self::{
    details::{Details, Findings},
    filter::Filter,
    history::{History, Sample},
    list::Cursor,
    log::{Entry, Log, Topic},
    order::{Order, SortBy},
    rows::{Row, Rows},
    slices::{Slice, slice_of, slices},
};
use crate::{
    event::ProcessKey,
    record::{Deed, Record},
    status::{ProcessRow, Status},
};

/// The agent at one moment.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The agent.
    pub status: Box<Status>,
    /// All live processes.
    pub processes: Vec<ProcessRow>,
}

/// Whether the agent answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// It has not yet.
    Connecting,
    /// It does.
    Live,
    /// It does no more, for this reason; what is shown is the last that it said.
    Lost(String),
}

/// Which page is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// Processes, with the rest in short.
    Processes,
    /// Alerts, actions, losses.
    Alerts,
    /// Placements.
    Placements,
    /// Slices.
    Slices,
    /// One process.
    Details,
    /// The keys.
    Help,
}

/// A question that waits for yes or no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The process.
    pub key: ProcessKey,
    /// What would be done to it.
    pub deed: Deed,
    /// In words.
    pub words: String,
}

/// What the loop has to do for the person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// End.
    Quit,
    /// Give the terminal back for a while.
    Suspend,
    /// Draw all again.
    Redraw,
    /// Find out who creates a process' threads.
    Diagnose(ProcessKey),
    /// Freeze or thaw a process.
    Contain(ProcessKey, Deed),
}

/// Who looks.
#[derive(Clone, Debug)]
pub struct Viewer {
    /// Whether it may freeze, thaw and diagnose.
    pub is_root: bool,
    /// Process id of `top` itself.
    pub pid: u32,
    /// Where times of day are those of.
    pub zone: TimeZone,
}

/// All of it.
#[derive(Debug)]
pub struct Model {
    viewer: Viewer,
    link: Link,
    status: Option<Box<Status>>,
    rows: Rows,
    history: History,
    slices: Vec<Slice>,
    log: Log,
    page: Page,
    order: Order,
    filter: Filter,
    is_typing: bool,
    /// Indexes of the rows that are shown, in their order.
    shown: Vec<usize>,
    cursor: Cursor,
    /// First line that is shown of the page that is no table of processes.
    scroll: usize,
    details: Option<Details>,
    question: Option<Question>,
    notice: Option<String>,
}

impl Model {
    /// Nothing is known yet.
    pub fn new(viewer: Viewer) -> Self {
        Self {
            log: Log::new(viewer.zone.clone()),
            viewer,
            link: Link::Connecting,
            status: None,
            rows: Rows::default(),
            history: History::default(),
            slices: Vec::new(),
            page: Page::Processes,
            order: Order::default(),
            filter: Filter::default(),
            is_typing: false,
            shown: Vec::new(),
            cursor: Cursor::default(),
            scroll: 0,
            details: None,
            question: None,
            notice: None,
        }
    }

    /// The agent answered.
    pub fn look(&mut self, picture: Picture) {
        let Picture { status, processes } = picture;
        self.link = Link::Live;
        let sample = self.rows.renew(status.time, processes);
        self.history.push(Sample { threads: status.threads, ..sample });
        self.slices = slices(&status.place_rules, self.rows.all());
        for record in &status.recent {
            self.log.add(record);
        }
        self.status = Some(status);
        if let Some(details) = &mut self.details {
            details.look(self.rows.of(details.key()));
        }
        self.arrange();
    }

    /// The agent told something.
    pub fn tell(&mut self, record: &Record) {
        self.log.add(record);
    }

    /// The agent answers no more. What it says when it answers again is compared with nothing before.
    pub fn lose(&mut self, why: String) {
        self.link = Link::Lost(why);
        self.rows.forget();
    }

    /// A diagnosis is there, or what kept it.
    pub fn found(&mut self, key: ProcessKey, findings: Findings) {
        if let Some(details) = self.details.as_mut().filter(|details| details.key() == key) {
            details.found(findings);
        }
    }

    /// What came of an order, or why it cannot be carried out.
    pub fn notify(&mut self, words: String) {
        self.notice = Some(words);
    }

    /// Orders and filters the rows again, and keeps the cursor on its process.
    fn arrange(&mut self) {
        let rows = self.rows.all();
        self.shown = (0..rows.len()).filter(|index| self.filter.fits(&rows[*index].process)).collect();
        self.shown.sort_unstable_by(|a, b| self.order.compare(&rows[*a], &rows[*b]));
        let keys: Vec<ProcessKey> = self.shown.iter().map(|index| rows[*index].key()).collect();
        self.cursor.follow(&keys);
    }

    /// Tells how many lines there are for processes, and for the text of other pages, so that the cursor stays in sight.
    pub fn fit(&mut self, table: usize, text: usize, text_lines: usize) {
        self.cursor.fit(table, self.shown.len());
        self.scroll = self.scroll.min(text_lines.saturating_sub(text));
    }

    /// Whether the agent answers.
    pub const fn link(&self) -> &Link {
        &self.link
    }

    /// The agent, as it said last.
    pub fn status(&self) -> Option<&Status> {
        self.status.as_deref()
    }

    /// When it said so.
    pub fn time(&self) -> Option<Timestamp> {
        self.status().map(|status| status.time)
    }

    /// The process' rows that are shown, in their order.
    pub fn shown(&self) -> impl ExactSizeIterator<Item = &Row> {
        self.shown.iter().map(|index| &self.rows.all()[*index])
    }

    /// How many processes there are, shown or not.
    pub fn total(&self) -> usize {
        self.rows.all().len()
    }

    /// Processes with an alert that lasts.
    pub fn alerts(&self) -> usize {
        self.rows.all().iter().filter(|row| row.process.alert.is_some()).count()
    }

    /// Threads and their creation, as time went by.
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// Slices, those of rules first.
    pub fn slices(&self) -> &[Slice] {
        &self.slices
    }

    /// What was told.
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// The page that is shown.
    pub const fn page(&self) -> Page {
        self.page
    }

    /// How rows are ordered.
    pub const fn order(&self) -> Order {
        self.order
    }

    /// Which rows are wanted.
    pub const fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Whether the person is typing the filter.
    pub const fn is_typing(&self) -> bool {
        self.is_typing
    }

    /// Where the person is in the table.
    pub const fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// First line that is shown of a page of text.
    pub const fn scroll(&self) -> usize {
        self.scroll
    }

    /// The process that is open.
    pub const fn details(&self) -> Option<&Details> {
        self.details.as_ref()
    }

    /// What the person is asked.
    pub const fn question(&self) -> Option<&Question> {
        self.question.as_ref()
    }

    /// What came of the last order.
    pub fn notice(&self) -> Option<&str> {
        self.notice.as_deref()
    }

    /// Who looks.
    pub const fn viewer(&self) -> &Viewer {
        &self.viewer
    }
}
