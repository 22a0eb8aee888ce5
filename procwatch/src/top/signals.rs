//! Signals as messages, so that the terminal is given back before one of them takes effect.

use std::{thread, time::Duration};

use nix::{
    errno::Errno,
    sys::signal::{SigSet, Signal, kill},
    unistd::getpid,
};

use super::{
    mailbox::{Mailbox, Message},
    screen,
};

/// How long the loop may take to end before the signal takes effect by itself: the terminal may take nothing any more.
const GRACE: Duration = Duration::from_secs(2);

/// Those that end the program.
const ENDING: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT];

/// Keeps them from taking effect in this thread and those that it starts. To be called before there are others.
///
/// # Errors
/// When the kernel refuses.
pub fn block() -> nix::Result<SigSet> {
    let mut signals = SigSet::empty();
    for signal in ENDING.into_iter().chain([Signal::SIGTSTP, Signal::SIGCONT]) {
        signals.add(signal);
    }
    signals.thread_block()?;
    Ok(signals)
}

/// Waits for signals as long as the program runs.
pub fn forward(signals: &SigSet, mailbox: &Mailbox) {
    loop {
        match signals.wait() {
            Ok(signal) => {
                mailbox.post(Message::Signal(signal));
                if ENDING.contains(&signal) {
                    thread::sleep(GRACE);
                    take_effect(signal);
                }
            }
            Err(Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}

/// Stops the whole program, as the shell's user wants it, until it is told to go on.
pub fn stop() {
    // It may be refused only to one who has no such process: this is the process itself.
    let _ = kill(getpid(), Signal::SIGSTOP);
}

/// The loop has not ended: the signal does what it does without us, with the terminal in its old mode.
fn take_effect(signal: Signal) {
    screen::restore_mode();
    let mut one = SigSet::empty();
    one.add(signal);
    // Both concern this process alone, which may do them.
    let _ = kill(getpid(), signal);
    let _ = one.thread_unblock();
}
