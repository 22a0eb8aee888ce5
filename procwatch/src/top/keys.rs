//! What keys mean. It depends on what is on the screen.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::model::{Model, Page, SortBy};
use crate::record::Deed;

/// An order of the person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// End.
    Quit,
    /// Give the terminal back until `fg`.
    Suspend,
    /// Draw all again: something else wrote to the terminal.
    Redraw,
    /// Show a page.
    Show(Page),
    /// Show the next page.
    NextPage,
    /// Leave what is on the screen.
    Back,
    /// Move.
    Move(Motion),
    /// Order by a column; by the same again the other way round.
    Sort(SortBy),
    /// Order by a column beside.
    SortBeside {
        /// To the right.
        forward: bool,
    },
    /// Turn the order round.
    Reverse,
    /// Begin to type the filter.
    Filter,
    /// A character of it.
    Type(char),
    /// One less.
    Erase,
    /// A word less.
    EraseWord,
    /// None left.
    EraseAll,
    /// The filter is as wanted.
    Accept,
    /// No filter after all.
    Cancel,
    /// Open the process.
    Open,
    /// Look at its threads once more.
    Diagnose,
    /// Ask whether to do this to the process.
    Ask(Deed),
    /// Yes or no.
    Answer(bool),
}

/// A move in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motion {
    /// One up.
    Up,
    /// One down.
    Down,
    /// As many as are in sight up.
    PageUp,
    /// As many down.
    PageDown,
    /// To the first.
    First,
    /// To the last.
    Last,
}

/// The keys and what they do, for people: the lines of the help.
pub const HELP: &[(&str, &str)] = &[
    ("↑ ↓  k j", "move; the cursor stays on its process"),
    ("PgUp PgDn  Home End", "move by pages, to the first, to the last"),
    ("< >  ← →", "sort by the column beside"),
    ("P U T G M C A N", "sort by pid, user, threads, growth, minute, created, alert, name"),
    ("r", "turn the order round"),
    ("/", "filter: words in pid, user, name, cgroup, rule, alert; Enter, Esc"),
    ("Enter", "open the process: details, and who creates its threads"),
    ("d", "in there: look again who creates its threads"),
    ("f  t", "freeze, thaw the process (root); you are asked first"),
    ("1 2 3 4  Tab", "processes, alerts, placements, slices"),
    ("Esc", "back; then no filter; then no cursor"),
    ("Ctrl-L  Ctrl-Z", "draw all again; suspend"),
    ("?  h", "this help"),
    ("q  Ctrl-C", "end"),
];

/// What a key means now; `None` for nothing.
pub fn command(key: KeyEvent, model: &Model) -> Option<Command> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return with_control(key.code, model.is_typing());
    }
    // Esc with another key close behind looks like Alt: it must not be taken for that key, least of all for yes.
    if key.modifiers.contains(KeyModifiers::ALT) {
        return None;
    }
    if model.question().is_some() {
        return answer(key.code);
    }
    if model.is_typing() {
        return typing(key.code);
    }
    match (key.code, model.page()) {
        (KeyCode::Char('q'), Page::Details | Page::Help) | (KeyCode::Char('?' | 'h'), Page::Help) => {
            Some(Command::Back)
        }
        (KeyCode::Char('d'), Page::Details) => Some(Command::Diagnose),
        (KeyCode::Char('?' | 'h'), _) => Some(Command::Show(Page::Help)),
        (code, Page::Processes) => on_processes(code).or_else(|| anywhere(code)),
        (code, _) => anywhere(code),
    }
}

/// Whatever is on the screen, the person can leave.
const fn with_control(code: KeyCode, is_typing: bool) -> Option<Command> {
    Some(match code {
        KeyCode::Char('c') => Command::Quit,
        KeyCode::Char('z') => Command::Suspend,
        KeyCode::Char('l') => Command::Redraw,
        KeyCode::Char('u') if is_typing => Command::EraseAll,
        KeyCode::Char('w') if is_typing => Command::EraseWord,
        KeyCode::Char('h') if is_typing => Command::Erase,
        _ => return None,
    })
}

/// Only yes is yes.
const fn answer(code: KeyCode) -> Option<Command> {
    match code {
        KeyCode::Char('y' | 'Y') => Some(Command::Answer(true)),
        KeyCode::Char('n' | 'N' | 'q') | KeyCode::Esc => Some(Command::Answer(false)),
        _ => None,
    }
}

const fn typing(code: KeyCode) -> Option<Command> {
    Some(match code {
        KeyCode::Enter => Command::Accept,
        KeyCode::Esc => Command::Cancel,
        KeyCode::Backspace => Command::Erase,
        KeyCode::Char(typed) => Command::Type(typed),
        KeyCode::Up => Command::Move(Motion::Up),
        KeyCode::Down => Command::Move(Motion::Down),
        _ => return None,
    })
}

const fn on_processes(code: KeyCode) -> Option<Command> {
    Some(match code {
        KeyCode::Char('<') | KeyCode::Left => Command::SortBeside { forward: false },
        KeyCode::Char('>') | KeyCode::Right => Command::SortBeside { forward: true },
        KeyCode::Char('r') => Command::Reverse,
        KeyCode::Char('P') => Command::Sort(SortBy::Pid),
        KeyCode::Char('U') => Command::Sort(SortBy::User),
        KeyCode::Char('T') => Command::Sort(SortBy::Threads),
        KeyCode::Char('G') => Command::Sort(SortBy::Growth),
        KeyCode::Char('M') => Command::Sort(SortBy::Minute),
        KeyCode::Char('C') => Command::Sort(SortBy::Rate),
        KeyCode::Char('A') => Command::Sort(SortBy::Alert),
        KeyCode::Char('N') => Command::Sort(SortBy::Comm),
        KeyCode::Char('/') => Command::Filter,
        KeyCode::Enter => Command::Open,
        _ => return None,
    })
}

const fn anywhere(code: KeyCode) -> Option<Command> {
    Some(match code {
        KeyCode::Char('q') => Command::Quit,
        KeyCode::Esc => Command::Back,
        KeyCode::Up | KeyCode::Char('k') => Command::Move(Motion::Up),
        KeyCode::Down | KeyCode::Char('j') => Command::Move(Motion::Down),
        KeyCode::PageUp => Command::Move(Motion::PageUp),
        KeyCode::PageDown | KeyCode::Char(' ') => Command::Move(Motion::PageDown),
        KeyCode::Home => Command::Move(Motion::First),
        KeyCode::End => Command::Move(Motion::Last),
        KeyCode::Char('f') => Command::Ask(Deed::Freeze),
        KeyCode::Char('t') => Command::Ask(Deed::Thaw),
        KeyCode::Char('1') => Command::Show(Page::Processes),
        KeyCode::Char('2') => Command::Show(Page::Alerts),
        KeyCode::Char('3') => Command::Show(Page::Placements),
        KeyCode::Char('4') => Command::Show(Page::Slices),
        KeyCode::Tab => Command::NextPage,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::samples::model;

    fn pressed(code: KeyCode, modifiers: KeyModifiers, model: &Model) -> Option<Command> {
        command(KeyEvent::new(code, modifiers), model)
    }

    fn typed(letter: char, model: &Model) -> Option<Command> {
        pressed(KeyCode::Char(letter), KeyModifiers::NONE, model)
    }

    #[test]
    fn a_letter_means_what_the_screen_says() {
        let mut model = model();
        assert_eq!(typed('q', &model), Some(Command::Quit));
        assert_eq!(typed('d', &model), None);
        assert_eq!(typed('T', &model), Some(Command::Sort(SortBy::Threads)));
        model.apply(Command::Filter);
        assert_eq!(typed('q', &model), Some(Command::Type('q')));
        assert_eq!(pressed(KeyCode::Char('u'), KeyModifiers::CONTROL, &model), Some(Command::EraseAll));
        model.apply(Command::Cancel);
        model.apply(Command::Move(Motion::Down));
        model.apply(Command::Open);
        assert_eq!([typed('q', &model), typed('d', &model)], [Some(Command::Back), Some(Command::Diagnose)]);
        assert_eq!(typed('T', &model), None);
        model.apply(Command::Ask(Deed::Freeze));
        for (letter, meaning) in [
            ('y', Some(Command::Answer(true))),
            ('n', Some(Command::Answer(false))),
            ('q', Some(Command::Answer(false))),
            ('f', None),
            (' ', None),
        ] {
            assert_eq!(typed(letter, &model), meaning, "{letter}");
        }
        assert_eq!(pressed(KeyCode::Enter, KeyModifiers::NONE, &model), None, "only yes is yes");
        assert_eq!(pressed(KeyCode::Char('y'), KeyModifiers::ALT, &model), None, "Esc and y");
    }

    #[test]
    fn one_can_always_leave() {
        let mut model = model();
        for page in [Page::Processes, Page::Alerts, Page::Placements, Page::Slices, Page::Details, Page::Help]
        {
            model.apply(Command::Show(page));
            assert_eq!(pressed(KeyCode::Char('c'), KeyModifiers::CONTROL, &model), Some(Command::Quit));
        }
        model.apply(Command::Filter);
        assert_eq!(pressed(KeyCode::Char('c'), KeyModifiers::CONTROL, &model), Some(Command::Quit));
        assert_eq!(pressed(KeyCode::Char('z'), KeyModifiers::CONTROL, &model), Some(Command::Suspend));
    }

    #[test]
    fn a_key_that_is_let_go_means_nothing() {
        let key = KeyEvent::new_with_kind(KeyCode::Char('q'), KeyModifiers::NONE, KeyEventKind::Release);
        assert_eq!(command(key, &model()), None);
    }
}
