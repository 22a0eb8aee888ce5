//! The loop between the agent, the person and the screen. It sleeps until one of them wants something.

use std::{
    io,
    path::PathBuf,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use crossterm::event::{self, Event};
use jiff::tz::TimeZone;
use nix::sys::signal::Signal;
use ratatui::buffer::Buffer;

use super::{
    keys,
    mailbox::{Mailbox, Message},
    model::{Effect, Model, Viewer},
    screen::{self, Screen},
    signals, source,
    view::{self, theme::Theme},
    work,
};
use crate::agent::AgentError;

/// After something was drawn nothing is for so long: faster changes are drawn together.
const REST: Duration = Duration::from_millis(30);

/// What `procwatch top` is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The agent's socket.
    pub socket: PathBuf,
    /// How often the agent is asked.
    pub every: Duration,
    /// Whether there is colour.
    pub colour: bool,
}

/// Whether the loop goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Draw,
    End,
}

/// The loop and what it works on.
struct Loop {
    model: Model,
    theme: Theme,
    mailbox: Arc<Mailbox>,
    orders: Vec<JoinHandle<()>>,
}

/// Shows the agent until the person has seen enough, or a signal ends it.
///
/// # Errors
/// When this is no terminal or it fails, or when there is no agent at the beginning.
pub fn run(options: &Options) -> Result<(), AgentError> {
    if !screen::is_terminal() {
        let what = "top needs a terminal for its input and output; for programs there is `procwatch status`";
        return Err(AgentError::Usage(what.to_owned()));
    }
    // Told before the terminal is taken.
    source::check(&options.socket)?;
    let signals = signals::block().map_err(AgentError::io("signals"))?;
    let mut screen = Screen::take(options.colour).map_err(AgentError::io("the terminal"))?;
    let mailbox = Arc::new(Mailbox::default());
    let viewer = Viewer {
        is_root: nix::unistd::geteuid().is_root(),
        pid: std::process::id(),
        zone: TimeZone::system(),
    };
    spawn(&mailbox, move |mailbox| signals::forward(&signals, mailbox));
    spawn(&mailbox, |mailbox| read_keys(mailbox));
    let Options { socket, every, .. } = options.clone();
    spawn(&mailbox, move |mailbox| source::follow(&socket, every, mailbox));
    let mut on = Loop {
        model: Model::new(viewer),
        theme: Theme { colour: options.colour },
        mailbox,
        orders: Vec::new(),
    };
    let result = on.go(&mut screen);
    screen.give_back();
    for order in on.orders {
        // One that failed has told so, or cannot any more.
        let _ = order.join();
    }
    result
}

fn spawn(mailbox: &Arc<Mailbox>, work: impl FnOnce(&Arc<Mailbox>) + Send + 'static) {
    let mailbox = Arc::clone(mailbox);
    thread::spawn(move || work(&mailbox));
}

/// Keys, and that the terminal has another size, until the terminal is gone.
fn read_keys(mailbox: &Mailbox) {
    loop {
        match event::read() {
            Ok(Event::Key(key)) => mailbox.post(Message::Key(key)),
            Ok(Event::Resize(..)) => mailbox.post(Message::Resized),
            Ok(_) => {}
            Err(error) => return mailbox.post(Message::Deaf(error.to_string())),
        }
    }
}

impl Loop {
    fn go(&mut self, screen: &mut Screen) -> Result<(), AgentError> {
        loop {
            let was_drawn = self.draw(screen).map_err(AgentError::io("the terminal"))?;
            if was_drawn {
                thread::sleep(REST);
            }
            for message in self.mailbox.take() {
                if self.handle(message, screen)? == Next::End {
                    return Ok(());
                }
            }
        }
    }

    fn draw(&mut self, screen: &mut Screen) -> io::Result<bool> {
        let size = Screen::size();
        view::fit(&mut self.model, self.theme, size);
        let mut buffer = Buffer::empty(size);
        view::render(&self.model, self.theme, &mut buffer);
        screen.draw(buffer)
    }

    fn handle(&mut self, message: Message, screen: &mut Screen) -> Result<Next, AgentError> {
        match message {
            Message::Key(key) => {
                let effect = keys::command(key, &self.model).and_then(|command| self.model.apply(command));
                return Ok(effect.map_or(Next::Draw, |effect| self.carry_out(effect, screen)));
            }
            Message::Resized => {}
            Message::Deaf(why) => {
                return Err(AgentError::Io { what: "keys", source: io::Error::other(why) });
            }
            Message::Signal(Signal::SIGTSTP) => suspend(screen),
            Message::Signal(Signal::SIGCONT) => screen.resume().map_err(AgentError::io("the terminal"))?,
            Message::Signal(_) => return Ok(Next::End),
            Message::Picture(picture) => self.model.look(*picture),
            Message::Record(record) => self.model.tell(&record),
            Message::Lost(why) => self.model.lose(why),
            Message::Found(process, findings) => self.model.found(process, findings),
            Message::Done(told) => self.model.notify(told),
        }
        Ok(Next::Draw)
    }

    fn carry_out(&mut self, effect: Effect, screen: &mut Screen) -> Next {
        match effect {
            Effect::Quit => return Next::End,
            Effect::Suspend => suspend(screen),
            Effect::Redraw => screen.forget(),
            Effect::Diagnose(process) => work::diagnose(process, &self.mailbox),
            Effect::Contain(process, deed) => {
                self.orders.retain(|order| !order.is_finished());
                self.orders.push(work::contain(process, deed, &self.mailbox));
            }
        }
        Next::Draw
    }
}

/// Gives the terminal back and stops; the signal to go on comes as a message.
fn suspend(screen: &mut Screen) {
    screen.give_back();
    signals::stop();
}
