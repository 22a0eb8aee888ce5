//! What the person's orders change.

use super::{Details, Effect, Findings, Model, Page, Question};
use crate::{
    event::ProcessKey,
    record::Deed,
    top::keys::{Command, Motion},
};

impl Model {
    /// Carries an order out as far as it is about what is shown. Returns what is left to do.
    pub fn apply(&mut self, command: Command) -> Option<Effect> {
        self.notice = None;
        match command {
            Command::Quit => return Some(Effect::Quit),
            Command::Suspend => return Some(Effect::Suspend),
            Command::Redraw => return Some(Effect::Redraw),
            Command::Show(page) => self.show(page),
            Command::NextPage => self.show(self.page.next()),
            Command::Back => self.back(),
            Command::Move(motion) => self.step(motion),
            Command::Sort(by) => self.reorder(self.order.by(by)),
            Command::SortBeside { forward } => self.reorder(self.order.beside(forward)),
            Command::Reverse => self.reorder(self.order.by(self.order.by)),
            Command::Filter => self.is_typing = true,
            Command::Type(typed) => self.refilter(|filter| filter.push(typed)),
            Command::Erase => self.refilter(super::Filter::erase),
            Command::EraseWord => self.refilter(super::Filter::erase_word),
            Command::EraseAll => self.refilter(super::Filter::clear),
            Command::Accept => self.is_typing = false,
            Command::Cancel => {
                self.is_typing = false;
                self.refilter(super::Filter::clear);
            }
            Command::Open => return self.open(),
            Command::Diagnose => return self.diagnose(),
            Command::Ask(deed) => self.ask(deed),
            Command::Answer(yes) => return self.answer(yes),
        }
        None
    }

    fn show(&mut self, page: Page) {
        (self.page, self.scroll) = (page, 0);
    }

    /// From the help and other pages to the processes; there first the filter goes, then the cursor.
    fn back(&mut self) {
        match self.page {
            Page::Help if self.details.is_some() => self.show(Page::Details),
            Page::Processes if self.filter.is_empty() => self.cursor.leave(),
            Page::Processes => self.refilter(super::Filter::clear),
            _ => {
                self.details = None;
                self.show(Page::Processes);
            }
        }
    }

    fn step(&mut self, motion: Motion) {
        if self.page != Page::Processes {
            let page = self.cursor.page();
            self.scroll = match motion {
                Motion::Up => self.scroll.saturating_sub(1),
                Motion::Down => self.scroll.saturating_add(1),
                Motion::PageUp => self.scroll.saturating_sub(page),
                Motion::PageDown => self.scroll.saturating_add(page),
                Motion::First => 0,
                // Cut to what there is before it is drawn.
                Motion::Last => usize::MAX,
            };
            return;
        }
        let keys = self.keys();
        let page = isize::try_from(self.cursor.page()).unwrap_or(isize::MAX);
        match motion {
            Motion::Up => self.cursor.step(-1, &keys),
            Motion::Down => self.cursor.step(1, &keys),
            Motion::PageUp => self.cursor.step(-page, &keys),
            Motion::PageDown => self.cursor.step(page, &keys),
            Motion::First => self.cursor.go(0, &keys),
            Motion::Last => self.cursor.go(usize::MAX, &keys),
        }
    }

    fn reorder(&mut self, order: super::Order) {
        self.order = order;
        self.arrange();
    }

    fn refilter(&mut self, change: impl FnOnce(&mut super::Filter)) {
        change(&mut self.filter);
        self.arrange();
    }

    fn keys(&self) -> Vec<ProcessKey> {
        self.shown().map(super::Row::key).collect()
    }

    /// The process that an order is about: the one that is open, or the one under the cursor.
    fn meant(&mut self) -> Option<ProcessKey> {
        let meant = match self.page {
            Page::Details => self.details.as_ref().map(Details::key),
            Page::Processes => self.cursor.key(),
            _ => None,
        };
        if meant.is_none() {
            self.notify("no process is chosen: move to one with ↑ and ↓".to_owned());
        }
        meant
    }

    fn open(&mut self) -> Option<Effect> {
        let row = self.meant().and_then(|key| self.rows.of(key)).cloned()?;
        self.details = Some(Details::new(row, Findings::NotAllowed));
        self.show(Page::Details);
        self.diagnose()
    }

    /// A look that is under way is not begun again.
    fn diagnose(&mut self) -> Option<Effect> {
        let is_root = self.viewer.is_root;
        let details = self.details.as_mut().filter(|details| *details.findings() != Findings::Running)?;
        details.found(if is_root { Findings::Running } else { Findings::NotAllowed });
        is_root.then(|| Effect::Diagnose(details.key()))
    }

    fn ask(&mut self, deed: Deed) {
        let Some(key) = self.meant() else { return };
        let Some(row) = self.rows.of(key) else {
            return self.notify(format!("process {} has ended", key.pid));
        };
        let process = &row.process;
        let name = deed.name();
        let words = match &process.user {
            Some(user) => {
                format!("{name} {} {} of {user}, {} threads?", key.pid, process.comm, process.threads)
            }
            None => {
                format!(
                    "{name} {} {} of uid {}, {} threads?",
                    key.pid, process.comm, process.uid, process.threads
                )
            }
        };
        if !self.viewer.is_root {
            self.notify(format!("to {name} a process top must run as root: sudo procwatch top"));
        } else if deed == Deed::Freeze && self.runs_below(key.pid) {
            self.notify(format!("{} {} is not frozen: this top runs below it", key.pid, process.comm));
        } else {
            self.question = Some(Question { key, deed, words });
        }
    }

    fn answer(&mut self, yes: bool) -> Option<Effect> {
        let Question { key, deed, .. } = self.question.take()?;
        if !yes {
            self.notify(format!("{}: left as it is", key.pid));
            return None;
        }
        self.notify(format!("{} {} …", deed.name(), key.pid));
        Some(Effect::Contain(key, deed))
    }

    /// Whether this program stems from a process: who freezes one's own terminal cannot thaw it.
    fn runs_below(&self, pid: u32) -> bool {
        let parent =
            |pid: u32| self.rows.all().iter().find(|row| row.process.pid == pid).map(|row| row.process.ppid);
        let lineage = std::iter::successors(Some(self.viewer.pid), |pid| parent(*pid));
        // Pictures are no moment: there might be a ring.
        lineage.take(self.total() + 1).any(|ancestor| ancestor == pid)
    }
}

impl Page {
    const fn next(self) -> Self {
        match self {
            Self::Processes => Self::Alerts,
            Self::Alerts => Self::Placements,
            Self::Placements => Self::Slices,
            Self::Slices | Self::Details | Self::Help => Self::Processes,
        }
    }
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
