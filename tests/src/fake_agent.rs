//! An agent that says what the test wants, at a socket of its own.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::until;

/// What it says, and to whom.
#[derive(Debug, Default)]
struct Said {
    hello: Value,
    status: Value,
    processes: Value,
    /// Pictures that were taken: answers to `processes`.
    pictures: u64,
    /// Requests for records, as they came.
    requests: Vec<Value>,
    connections: Vec<UnixStream>,
    listeners: Vec<UnixStream>,
    is_gone: bool,
}

/// The agent. It is gone when dropped.
#[derive(Debug)]
pub struct FakeAgent {
    folder: TempDir,
    said: Arc<Mutex<Said>>,
}

impl FakeAgent {
    /// One that answers with these.
    pub fn new(status: Value, processes: Value) -> Self {
        let hello = json!({ "answer": "hello", "protocol": 1, "version": "0.1.0", "pid": 900 });
        let said = Said { hello, status, processes, ..Said::default() };
        let agent = Self { folder: tempfile::tempdir().unwrap(), said: Arc::new(Mutex::new(said)) };
        agent.listen();
        agent
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Says another hello from now on.
    pub fn hello(&self, hello: Value) {
        self.said.lock().unwrap().hello = hello;
    }

    /// Answers with these from now on.
    pub fn set(&self, status: Value, processes: Value) {
        let mut said = self.said.lock().unwrap();
        (said.status, said.processes) = (status, processes);
    }

    /// Answers with these from now on, and waits until that was heard.
    pub fn answer(&self, status: Value, processes: Value) {
        self.set(status, processes);
        self.wait_for_pictures(2);
    }

    /// Waits until it was asked so many times more.
    pub fn wait_for_pictures(&self, more: u64) {
        let begin = self.said.lock().unwrap().pictures;
        until("pictures are taken", || (self.said.lock().unwrap().pictures >= begin + more).then_some(()));
    }

    /// Tells all who want to hear, as soon as there is one; who has left is forgotten.
    pub fn tell(&self, record: &Value) {
        until("somebody listens", || {
            let mut said = self.said.lock().unwrap();
            said.listeners.retain(|mut it| it.write_all(format!("{record}\n").as_bytes()).is_ok());
            (!said.listeners.is_empty()).then_some(())
        });
    }

    /// The requests for records so far.
    pub fn requests(&self) -> Vec<Value> {
        self.said.lock().unwrap().requests.clone()
    }

    /// Ends, as a killed agent does.
    pub fn go(&self) {
        let mut said = self.said.lock().unwrap();
        said.is_gone = true;
        said.listeners.clear();
        fs::remove_file(self.socket()).unwrap();
        for connection in said.connections.drain(..) {
            // One that has left is gone already.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Is there again.
    pub fn come_back(&self) {
        self.said.lock().unwrap().is_gone = false;
        self.listen();
    }

    /// The listener ends with the process; who is gone has no file that leads to it.
    fn listen(&self) {
        let listener = UnixListener::bind(self.socket()).unwrap();
        let said = Arc::clone(&self.said);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, said) = (stream.unwrap(), Arc::clone(&said));
                thread::spawn(move || serve(&stream, &said));
            }
        });
    }
}

/// Until the client leaves.
fn serve(stream: &UnixStream, said: &Mutex<Said>) {
    let hello = {
        let mut said = said.lock().unwrap();
        if said.is_gone {
            return;
        }
        said.connections.push(stream.try_clone().unwrap());
        said.hello.clone()
    };
    // A client that has left hears nothing, which it does not mind.
    let say = |answer: &Value| drop((&*stream).write_all(format!("{answer}\n").as_bytes()));
    say(&hello);
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let request: Value = serde_json::from_str(&line).expect("requests are JSON");
        // Held while it answers: nothing else may be told in the middle of a line.
        let mut now = said.lock().unwrap();
        match request["ask"].as_str() {
            Some("status") => {
                let mut status = now.status.clone();
                status["answer"] = "status".into();
                say(&status);
            }
            Some("processes") => {
                say(&json!({ "answer": "processes", "processes": now.processes }));
                now.pictures += 1;
            }
            Some("events") => {
                now.requests.push(request);
                now.listeners.push(stream.try_clone().unwrap());
            }
            _ => panic!("{line}"),
        }
    }
}
