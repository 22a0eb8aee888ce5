//! A client of the agent's socket: one connection, asked line by line.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use super::protocol::{Answer, EventsRequest, Request, VERSION};
use crate::{
    record::Record,
    status::{ProcessRow, Status},
    text::escape_cut,
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest line that is read: some 100,000 processes.
const MAX_LINE: u64 = 64 << 20;
/// Characters of a bad line that are shown.
const SHOWN: usize = 60;

/// Why the agent cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no agent listens at {path}: {source}; is `procwatch run` running?")]
    NoAgent {
        /// The socket.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The caller may not connect.
    #[error("{path}: {source}; root and members of the group procwatch may connect")]
    NotAllowed {
        /// The socket.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The agent speaks another language.
    #[error(
        "{path}: the agent (procwatch {version}) speaks version {theirs} of the protocol, this program {VERSION}: use the same procwatch"
    )]
    Version {
        /// The socket.
        path: String,
        /// The agent's version.
        version: String,
        /// Its protocol.
        theirs: u32,
    },
    /// The connection ended, which it does when the agent ends or drops a client that is too slow.
    #[error("the agent closed the connection")]
    Closed,
    /// The agent gives no answer.
    #[error("the agent gave no answer within {} s", PATIENCE.as_secs())]
    Silent,
    /// The connection broke.
    #[error("the connection to the agent broke: {0}")]
    Broken(io::Error),
    /// A line that is none of the protocol.
    #[error("the agent answered what this program does not know: {0}")]
    Strange(String),
    /// The agent says no.
    #[error("the agent refused: {0}")]
    Refused(String),
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    version: String,
    pid: u32,
    line: Vec<u8>,
}

/// Records as they are told, for as long as the connection lasts. The last item is the reason of its end.
#[derive(Debug)]
pub struct Records {
    client: Client,
    has_ended: bool,
}

impl Client {
    /// Connects, and hears who answers.
    ///
    /// # Errors
    /// When nobody listens there, the caller may not connect, or the agent speaks another version of the protocol.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let shown = || escape_cut(path.as_os_str().as_encoded_bytes(), 200);
        let stream = UnixStream::connect(path).map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => ClientError::NotAllowed { path: shown(), source },
            _ => ClientError::NoAgent { path: shown(), source },
        })?;
        for set in [UnixStream::set_read_timeout, UnixStream::set_write_timeout] {
            set(&stream, Some(PATIENCE)).map_err(ClientError::Broken)?;
        }
        let stream = BufReader::new(stream);
        let mut client = Self { stream, version: String::new(), pid: 0, line: Vec::new() };
        match client.answer()? {
            Answer::Hello { protocol: VERSION, version, pid } => Ok(Self { version, pid, ..client }),
            Answer::Hello { protocol, version, .. } => {
                Err(ClientError::Version { path: shown(), version, theirs: protocol })
            }
            Answer::Refused { why } => Err(ClientError::Refused(why)),
            other => Err(strange(&other)),
        }
    }

    /// The agent's version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The agent's process id.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// How the agent is.
    ///
    /// # Errors
    /// When it does not answer, or not that.
    pub fn status(&mut self) -> Result<Box<Status>, ClientError> {
        match self.ask(&Request::Status)? {
            Answer::Status(status) => Ok(status),
            other => Err(strange(&other)),
        }
    }

    /// Who lives.
    ///
    /// # Errors
    /// When it does not answer, or not that.
    pub fn processes(&mut self) -> Result<Vec<ProcessRow>, ClientError> {
        match self.ask(&Request::Processes)? {
            Answer::Processes { processes } => Ok(processes),
            other => Err(strange(&other)),
        }
    }

    /// Has the agent tell, from now on, the records that fit.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn events(mut self, wanted: EventsRequest) -> Result<Records, ClientError> {
        self.say(&Request::Events(wanted))?;
        // The next record may come in a week.
        self.stream.get_ref().set_read_timeout(None).map_err(ClientError::Broken)?;
        Ok(Records { client: self, has_ended: false })
    }

    fn ask(&mut self, request: &Request) -> Result<Answer, ClientError> {
        self.say(request)?;
        match self.answer()? {
            Answer::Refused { why } => Err(ClientError::Refused(why)),
            answer => Ok(answer),
        }
    }

    fn say(&mut self, request: &Request) -> Result<(), ClientError> {
        let mut line =
            serde_json::to_vec(request).map_err(|error| ClientError::Broken(io::Error::from(error)))?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line).map_err(broken)
    }

    fn answer(&mut self) -> Result<Answer, ClientError> {
        self.read_line()?;
        serde_json::from_slice(&self.line).map_err(|error| unknown(&self.line, &error))
    }

    fn read_line(&mut self) -> Result<(), ClientError> {
        self.line.clear();
        let read = self.stream.by_ref().take(MAX_LINE).read_until(b'\n', &mut self.line);
        match read.map_err(broken)? {
            0 => Err(ClientError::Closed),
            _ if self.line.last() == Some(&b'\n') => Ok(()),
            MAX_READ.. => Err(ClientError::Strange(format!("a line of more than {MAX_LINE} bytes"))),
            _ => Err(ClientError::Closed),
        }
    }
}

/// [`MAX_LINE`] as a count of bytes that were read.
const MAX_READ: usize = MAX_LINE as usize;

impl Records {
    fn read(&mut self) -> Result<Record, ClientError> {
        self.client.read_line()?;
        let line = &self.client.line;
        serde_json::from_slice(line).map_err(|error| match serde_json::from_slice(line) {
            Ok(Answer::Refused { why }) => ClientError::Refused(why),
            _ => unknown(line, &error),
        })
    }
}

impl Iterator for Records {
    type Item = Result<Record, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_ended {
            return None;
        }
        let record = self.read();
        self.has_ended = record.is_err();
        Some(record)
    }
}

fn broken(error: io::Error) -> ClientError {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ClientError::Silent,
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => ClientError::Closed,
        _ => ClientError::Broken(error),
    }
}

fn unknown(line: &[u8], error: &serde_json::Error) -> ClientError {
    ClientError::Strange(format!("{error}: {}", escape_cut(line.trim_ascii_end(), SHOWN)))
}

fn strange(answer: &Answer) -> ClientError {
    let word = match answer {
        Answer::Hello { .. } => "hello",
        Answer::Status(_) => "status",
        Answer::Processes { .. } => "processes",
        Answer::Refused { .. } => "refused",
    };
    ClientError::Strange(format!("{word:?}, which was not asked"))
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixListener, thread};

    use super::*;

    /// What comes of a connection to somebody who says this at once.
    fn told(words: &'static [u8]) -> Result<Client, ClientError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let agent = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // The client may have had enough.
            let _ = stream.write_all(words);
        });
        let client = Client::connect(&path);
        agent.join().unwrap();
        client
    }

    const HELLO: &[u8] = b"{\"answer\":\"hello\",\"protocol\":1,\"version\":\"0.1.0\",\"pid\":7}\n";

    #[test]
    fn the_first_line_tells_who_answers() {
        let client = told(HELLO).unwrap();
        assert_eq!((client.version(), client.pid()), ("0.1.0", 7));
    }

    #[test]
    fn what_is_no_agent_of_this_protocol_is_told() {
        for (words, error) in [
            (
                &b"{\"answer\":\"hello\",\"protocol\":9,\"version\":\"2.0.0\",\"pid\":7}\n"[..],
                "version 9 of the",
            ),
            (
                b"{\"answer\":\"refused\",\"why\":\"too many clients\"}\n",
                "the agent refused: too many clients",
            ),
            (b"{\"answer\":\"processes\",\"processes\":[]}\n", "\"processes\", which was not asked"),
            (b"SSH-2.0-\x1b[2J\r\n", "SSH-2.0-\\x1b[2J"),
            (b"{\"answer\":\"hel", "closed the connection"),
            (b"", "closed the connection"),
        ] {
            let said = told(words).unwrap_err().to_string();
            assert!(said.contains(error), "{said}");
        }
        let nobody = Client::connect(Path::new("/nowhere/\x1bsocket")).unwrap_err().to_string();
        assert!(nobody.contains("no agent listens at /nowhere/\\x1bsocket: No such file"), "{nobody}");
    }

    #[test]
    fn records_come_until_the_end_and_the_end_says_why() {
        let record = crate::samples::all().remove(0);
        let line = serde_json::to_string(&record).unwrap();
        let words =
            [HELLO, line.as_bytes(), b"\n", b"{\"answer\":\"refused\",\"why\":\"no such kind\"}\n"].concat();
        let client = told(Box::leak(words.into_boxed_slice()));
        // The other end is closed already, so that nothing can be asked.
        let mut records = Records { client: client.unwrap(), has_ended: false };
        assert_eq!(serde_json::to_string(&records.next().unwrap().unwrap()).unwrap(), line);
        let end = records.next().unwrap().unwrap_err().to_string();
        assert_eq!(end, "the agent refused: no such kind");
        assert!(records.next().is_none());
    }
}
