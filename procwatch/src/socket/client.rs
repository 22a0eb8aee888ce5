//! The other end of the socket: what `status`, `events` and `top` ask with.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use thiserror::Error;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
};

use super::protocol::{Answer, EventsRequest, Request, VERSION};
use crate::{
    record::Record,
    status::{ProcessRow, Status},
    text::{escape, shown},
};

/// Why the agent cannot be asked.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "no agent runs on this machine ({}: {source}); start one: systemctl start procwatch, or sudo procwatch run",
        shown(path)
    )]
    Absent {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// This user may not ask.
    #[error(
        "{}: only root and the group of the socket may ask the agent; use sudo, or join that group",
        shown(path)
    )]
    Denied {
        /// The socket.
        path: PathBuf,
    },
    /// The connection failed.
    #[error("{}: {source}", shown(path))]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The agent ended, or its socket moved.
    #[error("the agent is gone")]
    Gone,
    /// The agent said no.
    #[error("the agent refuses: {0}")]
    Refused(String),
    /// The agent speaks otherwise.
    #[error(
        "the agent speaks version {theirs} of the socket's protocol and this program {VERSION}; use the same procwatch"
    )]
    Version {
        /// The agent's.
        theirs: u32,
    },
    /// The agent said something else than it was asked for.
    #[error("what listens at {} is no agent: {what}", shown(path))]
    NotAnAgent {
        /// The socket.
        path: PathBuf,
        /// What is odd.
        what: String,
    },
}

/// What the agent said to one who listens to events.
#[derive(Debug)]
pub enum Heard {
    /// A record, and the line that it came in, without its end.
    Record(Box<Record>, String),
    /// Something to a question that was asked meanwhile.
    Answer(Answer),
}

/// A connection to the agent.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
    /// The line that is being read; kept, so that reading may be cancelled.
    line: Vec<u8>,
    /// The agent's process id.
    pub agent: u32,
}

impl Client {
    /// Connects, and checks that an agent of the same kind is there.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path).await.map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => ClientError::Denied { path: path.to_owned() },
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::Absent { path: path.to_owned(), source }
            }
            _ => ClientError::Io { path: path.to_owned(), source },
        })?;
        let stream = BufReader::with_capacity(64 << 10, stream);
        let mut client = Self { path: path.to_owned(), stream, line: Vec::new(), agent: 0 };
        match client.answer().await? {
            Answer::Hello { protocol: VERSION, pid, .. } => client.agent = pid,
            Answer::Hello { protocol, .. } => return Err(ClientError::Version { theirs: protocol }),
            _ => return Err(client.odd("it does not greet")),
        }
        Ok(client)
    }

    /// How the agent is. Only before [`Self::listen`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn status(&mut self) -> Result<Box<Status>, ClientError> {
        self.ask(&Request::Status).await?;
        match self.answer().await? {
            Answer::Status(status) => Ok(status),
            _ => Err(self.odd("it was asked for its status and says something else")),
        }
    }

    /// Who lives. Only before [`Self::listen`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn processes(&mut self) -> Result<Vec<ProcessRow>, ClientError> {
        self.ask(&Request::Processes).await?;
        match self.answer().await? {
            Answer::Processes { processes } => Ok(processes),
            _ => Err(self.odd("it was asked for processes and says something else")),
        }
    }

    /// From now on [`Self::hear`] brings the records that fit.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn listen(&mut self, request: EventsRequest) -> Result<(), ClientError> {
        self.ask(&Request::Events(request)).await
    }

    /// Sends a question.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn ask(&mut self, request: &Request) -> Result<(), ClientError> {
        let mut line = serde_json::to_vec(request).map_err(|error| self.failed(error.into()))?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line).await.map_err(|error| self.failed(error))
    }

    /// The next record, or answer. Cancel safe.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the reason when the agent lets go of us, and then [`ClientError::Gone`].
    pub async fn hear(&mut self) -> Result<Heard, ClientError> {
        let line = self.line().await?;
        if let Ok(Tag { kind: Some(_), .. }) = serde_json::from_str(&line) {
            let record = serde_json::from_str(&line).map_err(|error| self.odd(&error.to_string()))?;
            return Ok(Heard::Record(record, line));
        }
        self.parse(&line).map(Heard::Answer)
    }

    /// Whether [`Self::hear`] has the next line already.
    pub fn has_line(&self) -> bool {
        self.stream.buffer().contains(&b'\n')
    }

    async fn answer(&mut self) -> Result<Answer, ClientError> {
        let line = self.line().await?;
        self.parse(&line)
    }

    fn parse(&self, line: &str) -> Result<Answer, ClientError> {
        match serde_json::from_str(line) {
            Ok(Answer::Refused { why }) => Err(ClientError::Refused(escape(why.as_bytes()).into_owned())),
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.odd(&error.to_string())),
        }
    }

    async fn line(&mut self) -> Result<String, ClientError> {
        // What was read of a line stays when this is cancelled.
        let read = self.stream.read_until(b'\n', &mut self.line).await;
        let line = match read {
            Ok(_) if self.line.ends_with(b"\n") => std::mem::take(&mut self.line),
            Ok(_) => return Err(ClientError::Gone),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err(ClientError::Gone),
            Err(error) => return Err(self.failed(error)),
        };
        let mut line = String::from_utf8(line).map_err(|_| self.odd("it does not speak UTF-8"))?;
        line.pop();
        Ok(line)
    }

    fn failed(&self, source: io::Error) -> ClientError {
        match source.kind() {
            io::ErrorKind::BrokenPipe => ClientError::Gone,
            _ => ClientError::Io { path: self.path.clone(), source },
        }
    }

    fn odd(&self, what: &str) -> ClientError {
        ClientError::NotAnAgent { path: self.path.clone(), what: escape(what.as_bytes()).into_owned() }
    }
}

/// That by which records and answers are told apart.
#[derive(Debug, Deserialize)]
struct Tag {
    kind: Option<String>,
}
