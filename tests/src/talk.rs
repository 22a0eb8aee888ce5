//! Talks with the agent by its socket, line by line.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
};

use serde_json::{Value, json};

use crate::{BACKSTOP, until};

/// Where the agent's socket is.
pub const SOCKET: &str = "/run/procwatch/procwatch.sock";

/// A connection to the agent.
#[derive(Debug)]
pub struct Talk(BufReader<UnixStream>);

impl Talk {
    /// Connects, and reads nothing yet.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn connect() -> io::Result<Self> {
        let stream = UnixStream::connect(SOCKET)?;
        stream.set_read_timeout(Some(BACKSTOP))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Connects and is greeted.
    pub fn greeted() -> Self {
        let mut talk = Self::connect().expect("an agent listens");
        let hello = talk.hear().expect("the agent greets");
        assert_eq!((&hello["answer"], &hello["protocol"]), (&json!("hello"), &json!(1)), "{hello}");
        talk
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the agent has closed.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// Asks something.
    pub fn say(&mut self, request: &Value) {
        self.send(format!("{request}\n").as_bytes()).expect("the agent listens");
    }

    /// The next line; `None` when the agent has closed.
    pub fn hear(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}"))),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("the agent does not answer: {error}"),
        }
    }

    /// Asks, and hears the answer.
    pub fn ask(&mut self, what: &str) -> Value {
        self.say(&json!({ "ask": what }));
        let answer = self.hear().expect("an answer");
        assert_eq!(answer["answer"], what, "{answer}");
        answer
    }

    /// How the agent is.
    pub fn status(&mut self) -> Value {
        self.ask("status")
    }

    /// How the agent is once it has given all urgent records back to the kernel: it does so when they were told.
    pub fn given_back(&mut self) -> Value {
        until("all records are given back", || {
            let status = self.status();
            let rings = status["rings"].as_array().expect("a list");
            let urgent = rings.iter().find(|ring| ring["ring"] == "urgent").expect("the urgent ring");
            (urgent["waiting_bytes"] == 0).then_some(status)
        })
    }

    /// What the agent says of a process.
    pub fn process(&mut self, pid: u32) -> Option<Value> {
        let answer = self.ask("processes");
        let rows = answer["processes"].as_array().expect("a list");
        rows.iter().find(|row| row["pid"] == pid).cloned()
    }

    /// Waits until a process has its rule, which the agent chooses when it has heard of the exec.
    pub fn wait_for_rule(&mut self, pid: u32, rule: &str) {
        until(rule, || (self.process(pid)?["rule"] == rule).then_some(()));
    }
}
