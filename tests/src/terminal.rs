//! A terminal for a program under test: a pseudo terminal, and a screen that shows what is written to it.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    num::NonZeroU16,
    os::fd::OwnedFd,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rustix::{
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{Termios, Winsize, tcgetattr, tcsetwinsize},
};

use crate::until;

/// Whose terminal it is.
pub struct Terminal {
    child: Child,
    keyboard: File,
    /// The program's side, kept open: its mode is looked at when the program is gone.
    line: Option<OwnedFd>,
    shown: Arc<Mutex<Shown>>,
    reader: Option<JoinHandle<()>>,
    mode: String,
}

/// What was written.
struct Shown {
    parser: vt100::Parser,
    bytes: Vec<u8>,
}

impl Terminal {
    /// Starts a program on a terminal of its own, of so many columns and rows.
    pub fn start(command: &Command, columns: u16, rows: u16) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("there are pseudo terminals");
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let line = ioctl_tiocgptpeer(&master, flags).unwrap();
        tcsetwinsize(&master, size(columns, rows)).unwrap();
        let mode = mode(&line);
        let side = || Stdio::from(line.try_clone().unwrap());
        // What only a program can do for itself: a session with this terminal.
        let child = Command::new("setsid")
            .arg("--ctty")
            .arg(command.get_program())
            .args(command.get_args())
            .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn()
            .expect("there is a setsid");
        let parser = vt100::Parser::new(one_at_least(rows), one_at_least(columns), 0);
        let shown = Arc::new(Mutex::new(Shown { parser, bytes: Vec::new() }));
        let keyboard = File::from(master);
        let reader = thread::spawn({
            let (mut screen, shown) = (keyboard.try_clone().unwrap(), Arc::clone(&shown));
            move || {
                let mut bytes = [0; 4096];
                // An error is the end: nobody has the other side any more.
                while let Ok(count @ 1..) = screen.read(&mut bytes) {
                    let mut shown = shown.lock().unwrap();
                    shown.parser.process(&bytes[..count]);
                    shown.bytes.extend_from_slice(&bytes[..count]);
                }
            }
        });
        Self { child, keyboard, line: Some(line), shown, reader: Some(reader), mode }
    }

    /// Process id of the program.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Types.
    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Gives it another size; the program is told by SIGWINCH.
    pub fn resize(&self, columns: u16, rows: u16) {
        self.shown.lock().unwrap().parser.set_size(one_at_least(rows), one_at_least(columns));
        tcsetwinsize(&self.keyboard, size(columns, rows)).unwrap();
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid() as i32), signal).expect("the program lives");
    }

    /// What is on the screen: lines without the spaces at their ends.
    pub fn text(&self) -> String {
        let shown = self.shown.lock().unwrap();
        let columns = shown.parser.screen().size().1.get();
        let lines = shown.parser.screen().rows(0, columns).map(|line| line.trim_end().to_owned() + "\n");
        lines.collect()
    }

    /// Waits until something is on the screen, and returns all that is there.
    pub fn wait_for(&self, words: &str) -> String {
        self.wait_until(&format!("{words:?} on the screen"), |text| text.contains(words))
    }

    /// Waits until what is on the screen is as wanted, and returns it.
    pub fn wait_until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until(what, || Some(self.text()).filter(|text| wanted(text)))
        }));
        seen.unwrap_or_else(|_| panic!("in vain waited for {what}; there is:\n{}", self.text()))
    }

    /// All bytes that were written so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.shown.lock().unwrap().bytes.clone()
    }

    /// Whether the program has the screen for itself, and the cursor is hidden.
    pub fn is_taken(&self) -> (bool, bool) {
        let shown = self.shown.lock().unwrap();
        let screen = shown.parser.screen();
        (screen.alternate_screen(), screen.hide_cursor())
    }

    /// Whether its mode is another than before the program was started.
    pub fn has_other_mode(&self) -> bool {
        mode(self.line.as_ref().unwrap()) != self.mode
    }

    /// Waits for the program's end.
    pub fn wait(&mut self) -> ExitStatus {
        until("the program's end", || self.child.try_wait().unwrap())
    }

    /// Waits until all that was written before this is on the screen, by what the terminal itself echoes.
    pub fn assert_given_back(&mut self) {
        until("the terminal is given back", || {
            (self.is_taken() == (false, false) && !self.has_other_mode()).then_some(())
        });
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // What has ended cannot be killed, and that is well.
        let _ = self.child.kill();
        let _ = self.child.wait();
        drop(self.line.take());
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 }
}

fn one_at_least(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap_or(NonZeroU16::MIN)
}

/// All that a terminal's mode consists of.
fn mode(line: &OwnedFd) -> String {
    let mode: Termios = tcgetattr(line).unwrap();
    format!("{mode:?}")
}
