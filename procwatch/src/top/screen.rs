//! The terminal: taken over, written to only where something changed, and given back as it was.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    panic, thread,
};

use crossterm::{
    cursor::{Hide, Show},
    execute, queue,
    style::{Attribute, SetAttribute},
    terminal::{
        BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
        LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
    },
};
use ratatui::{
    backend::{Backend as _, CrosstermBackend},
    buffer::Buffer,
    layout::Rect,
};
use rustix::{
    stdio,
    termios::{isatty, tcgetwinsize},
};

/// What is taken for a terminal that does not tell its size.
const USUAL: Rect = Rect::new(0, 0, 80, 24);
/// Nobody has more cells than that; a terminal that says so is not believed.
const LARGEST: Rect = Rect::new(0, 0, 1000, 500);
/// Bytes of a frame that are written at once.
const FRAME: usize = 64 << 10;

/// Cells on their way to a terminal.
#[derive(Debug)]
pub struct Canvas<W: Write> {
    out: CrosstermBackend<W>,
    /// What the terminal shows; `None` when that is not known.
    shown: Option<Buffer>,
}

impl<W: Write> Canvas<W> {
    /// Nothing is known of what the terminal shows.
    pub const fn new(out: W) -> Self {
        Self { out: CrosstermBackend::new(out), shown: None }
    }

    /// Writes what differs from what is shown. Returns whether that was anything.
    ///
    /// # Errors
    /// When the terminal takes nothing.
    pub fn draw(&mut self, next: Buffer) -> io::Result<bool> {
        let known = self.shown.take().filter(|shown| shown.area() == next.area());
        let is_new = known.is_none();
        let before = known.unwrap_or_else(|| Buffer::empty(*next.area()));
        let changes = before.diff(&next);
        let is_written = is_new || !changes.is_empty();
        if is_written {
            queue!(self.out, BeginSynchronizedUpdate)?;
            if is_new {
                queue!(self.out, SetAttribute(Attribute::Reset), Clear(ClearType::All))?;
            }
            self.out.draw(changes.into_iter())?;
            queue!(self.out, EndSynchronizedUpdate)?;
            Write::flush(&mut self.out)?;
        }
        self.shown = Some(next);
        Ok(is_written)
    }

    /// The next drawing is of everything.
    pub fn forget(&mut self) {
        self.shown = None;
    }
}

/// The terminal of this process, which is given back when this is dropped.
#[derive(Debug)]
pub struct Screen {
    canvas: Canvas<BufWriter<File>>,
    is_ours: bool,
}

/// Whether keys and screen are a terminal's.
pub fn is_terminal() -> bool {
    isatty(stdio::stdin()) && isatty(stdio::stdout())
}

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// When it cannot be set, or takes nothing; it is as it was then.
    pub fn take(colour: bool) -> io::Result<Self> {
        // What the library reads of the environment must not differ from what was decided.
        crossterm::style::force_color_output(colour);
        let out = File::from(stdio::stdout().try_clone_to_owned()?);
        let canvas = Canvas::new(BufWriter::with_capacity(FRAME, out));
        let mut screen = Self { canvas, is_ours: false };
        tell_panics_after_giving_back();
        screen.resume()?;
        Ok(screen)
    }

    /// How large it is now.
    pub fn size() -> Rect {
        match tcgetwinsize(stdio::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
                Rect::new(0, 0, size.ws_col, size.ws_row).intersection(LARGEST)
            }
            _ => USUAL,
        }
    }

    /// Draws. Returns whether anything was written.
    ///
    /// # Errors
    /// When the terminal takes nothing.
    pub fn draw(&mut self, next: Buffer) -> io::Result<bool> {
        self.canvas.draw(next)
    }

    /// The next drawing is of everything: something else wrote to the terminal.
    pub fn forget(&mut self) {
        self.canvas.forget();
    }

    /// Takes it over again: a shell had it.
    ///
    /// # Errors
    /// As for [`Screen::take`].
    pub fn resume(&mut self) -> io::Result<()> {
        // The mode may have been changed meanwhile, by one who did not know that it was ours.
        restore_mode();
        enable_raw_mode()?;
        self.is_ours = true;
        self.canvas.forget();
        execute!(self.canvas.out, EnterAlternateScreen, Hide)
    }

    /// Gives it back as it was.
    pub fn give_back(&mut self) {
        if std::mem::take(&mut self.is_ours) {
            // One that is gone needs nothing.
            let _ = give_back(&mut self.canvas.out);
            restore_mode();
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Sets the terminal to the mode that it had before it was ours.
pub fn restore_mode() {
    // One that is gone has no mode.
    let _ = disable_raw_mode();
}

fn give_back(out: &mut impl Write) -> io::Result<()> {
    execute!(out, EndSynchronizedUpdate, SetAttribute(Attribute::Reset), LeaveAlternateScreen, Show)
}

/// What a panic of this thread says is seen only on the terminal as it was; that of another one would be written across the
/// screen.
fn tell_panics_after_giving_back() {
    let (ours, before) = (thread::current().id(), panic::take_hook());
    panic::set_hook(Box::new(move |panic| {
        if thread::current().id() == ours {
            let _ = give_back(&mut io::stdout().lock());
            restore_mode();
            before(panic);
        }
    }));
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use super::*;

    fn buffer(lines: &[&str]) -> Buffer {
        Buffer::with_lines(lines.iter().copied())
    }

    /// Takes what is written, so that it can be seen from outside.
    #[derive(Clone, Default)]
    struct Paper(Rc<RefCell<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_what_changed_is_written() {
        let paper = Paper::default();
        let mut canvas = Canvas::new(paper.clone());
        let drawn = |canvas: &mut Canvas<Paper>, lines: &[&str]| {
            let was_written = canvas.draw(buffer(lines)).unwrap();
            let out = paper.0.take();
            assert_eq!(was_written, !out.is_empty());
            String::from_utf8(out).unwrap()
        };
        let first = drawn(&mut canvas, &["abc", "def"]);
        assert!(first.contains("\x1b[2J") && first.contains("abc") && first.contains("def"), "{first:?}");
        assert_eq!(drawn(&mut canvas, &["abc", "def"]), "");
        let change = drawn(&mut canvas, &["abc", "dEf"]);
        assert!(change.contains("\x1b[2;2HE"), "{change:?}");
        assert!(!change.contains("abc") && !change.contains('f'), "{change:?}");
        let resized = drawn(&mut canvas, &["abcd"]);
        assert!(resized.contains("\x1b[2J") && resized.contains("abcd"), "{resized:?}");
        canvas.forget();
        assert!(drawn(&mut canvas, &["abcd"]).contains("\x1b[2J"));
    }
}
