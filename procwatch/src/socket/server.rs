//! The listening socket as an output of the agent: it lets clients in and tells them the agent's records.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    net::{UnixListener, UnixStream},
    task::JoinHandle,
    time::sleep,
};

pub use super::file::SocketError;
use super::{
    answers::{Answers, encode},
    audience::Audience,
    complain::Grumbler,
    file::{SocketFile, bind},
    member::{Farewell, Member, Peer},
    pace::Pace,
    protocol::Answer,
    session::{Parting, Session},
};
use crate::{
    agent::ask::Asker,
    config::SocketConfig,
    sink::listener::{Complaints, Listener, Told},
    status::OutputStatus,
};

/// Clients of root's that find room when all other places are taken.
const KEPT_FOR_ROOT: usize = 8;

/// How long the door stays shut when the kernel has no descriptor for one more client.
const BREATH: Duration = Duration::from_secs(1);

/// The agent's socket.
pub struct Server {
    house: Arc<House>,
    door: JoinHandle<()>,
    /// Removed at the end.
    file: SocketFile,
    /// Why it is for fewer than it was meant for.
    note: Option<String>,
}

/// What all tasks of a socket share.
struct House {
    audience: Arc<Audience>,
    answers: Arc<Answers>,
    grumbler: Mutex<Grumbler>,
    places: usize,
    /// Why nobody can come in now.
    error: Mutex<Option<String>>,
}

impl Server {
    /// Makes the socket and lets clients in once it has taken its place. Must be called within a tokio runtime of one thread.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(
        config: &SocketConfig,
        audience: &Arc<Audience>,
        asker: &Asker,
        complaints: &Complaints,
    ) -> Result<Self, SocketError> {
        let bound = bind(&config.path, &config.group)?;
        let house = Arc::new(House {
            audience: Arc::clone(audience),
            answers: Arc::new(Answers::new(asker.clone())),
            grumbler: Mutex::new(Grumbler::new(complaints.clone())),
            places: config.max_clients as usize,
            error: Mutex::default(),
        });
        let door = tokio::spawn(Arc::clone(&house).let_in(bound.listener));
        Ok(Self { house, door, file: bound.file, note: bound.note })
    }
}

impl Listener for Server {
    fn name(&self) -> &'static str {
        "socket"
    }

    fn take_place(&mut self) -> io::Result<()> {
        self.file.take_place()?;
        self.house.audience.set_note(self.note.take());
        Ok(())
    }

    fn on(&mut self, told: &Arc<Told>) {
        self.house.audience.tell(told);
    }

    fn status(&self) -> OutputStatus {
        let account = self.house.audience.account();
        OutputStatus {
            name: "socket".to_owned(),
            taken: account.told,
            dropped: account.dropped,
            waiting: 0,
            failed: account.let_go,
            error: self.house.error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// What clients take at once is written; none is waited for.
    fn finish(self: Box<Self>) {
        self.house.audience.each(|member| {
            // One that is gone needs nothing.
            let _ = member.flush();
            member.state().farewell.get_or_insert(Farewell::Closing);
            member.wake.notify_one();
        });
    }
}

/// However it goes: nobody comes in any more.
impl Drop for Server {
    fn drop(&mut self) {
        self.door.abort();
    }
}

impl House {
    /// The door: who comes is let in, as long as there is room.
    async fn let_in(self: Arc<Self>, listener: UnixListener) {
        let mut pace = Pace::new();
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    self.set_error(None);
                    self.welcome(stream);
                }
                Err(error) if is_of_client(&error) => {}
                Err(error) => {
                    self.set_error(Some(format!("no client can come in: {error}")));
                    self.grumble(&format!("no client can come in: {error}"));
                    sleep(BREATH).await;
                }
            }
            pace.step().await;
        }
    }

    fn welcome(self: &Arc<Self>, stream: UnixStream) {
        // One that is gone already needs no place.
        let Ok(peer) = Peer::of(&stream) else { return };
        let present = self.audience.count();
        let places = self.places + if peer.uid == 0 { KEPT_FOR_ROOT } else { 0 };
        if present >= places {
            let why = format!("{present} clients are connected, and that is all that max-clients allows");
            self.grumble(&format!("{peer} was turned away: {why}"));
            // A new connection has room for a line.
            let _ = stream.try_write(&encode(&Answer::Refused { why }));
            return;
        }
        let member = Arc::new(Member::new(peer, stream));
        self.audience.join(Arc::clone(&member));
        tokio::spawn(Arc::clone(self).attend(member));
    }

    async fn attend(self: Arc<Self>, member: Arc<Member>) {
        let mut session =
            Session::new(Arc::clone(&member), Arc::clone(&self.audience), Arc::clone(&self.answers));
        let parting = session.run().await;
        if let Parting::Slow(lines) = parting {
            self.audience.lost(lines);
            let peer = member.peer;
            self.grumble(&format!(
                "{peer} reads too slowly; it was let go of, and {lines} lines were dropped"
            ));
        }
        session.part(parting).await;
        self.audience.leave(&member);
        if self.audience.count() == 0 {
            self.answers.forget();
        }
    }

    fn grumble(&self, what: &str) {
        self.grumbler.lock().unwrap_or_else(PoisonError::into_inner).say(what);
    }

    fn set_error(&self, error: Option<String>) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }
}

/// Whether it was that client's doing, and the next one may fare better.
fn is_of_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests;
