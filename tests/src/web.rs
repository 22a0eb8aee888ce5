//! Both ends of HTTP: a client that asks once, and a server that takes what it is sent.

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Instant,
};

use serde_json::Value;

use crate::BACKSTOP;

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers, as sent.
    pub head: String,
    /// Body.
    pub body: String,
}

/// A port of this machine at which nobody listens now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// `GET path`, at a port of this machine.
pub fn get(port: u16, path: &str) -> Answer {
    get_as(port, path, "*/*")
}

/// The same for one who accepts a certain type.
pub fn get_as(port: u16, path: &str, accept: &str) -> Answer {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("somebody listens");
    stream.set_read_timeout(Some(BACKSTOP)).unwrap();
    ask(stream, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n"))
}

/// The same at a socket in the file system.
pub fn get_unix(socket: &Path, path: &str) -> Answer {
    let stream = UnixStream::connect(socket).expect("somebody listens");
    stream.set_read_timeout(Some(BACKSTOP)).unwrap();
    ask(stream, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
}

/// Sends a request, and reads until the other end closes.
pub fn ask(mut stream: impl Read + Write, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("there is a status");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// What a server was sent.
#[derive(Clone, Debug)]
pub struct Post {
    /// Path and headers, as sent.
    pub head: String,
    /// Body.
    pub body: Value,
    /// When it came.
    pub at: Instant,
}

/// How a server answers a request.
#[derive(Clone, Copy, Debug)]
pub enum Reply {
    /// With this status code.
    Status(u16),
    /// Never, as long as the server lives.
    Never,
}

#[derive(Debug, Default)]
struct Taken {
    posts: Vec<Post>,
    replies: VecDeque<Reply>,
}

/// A web server that keeps what it is sent.
#[derive(Debug)]
pub struct Hook {
    /// Where it is.
    pub address: SocketAddr,
    taken: Arc<(Mutex<Taken>, Condvar)>,
}

impl Hook {
    /// A server that answers `replies` in their order, and 200 after those.
    pub fn start(replies: &[Reply]) -> Self {
        Self::start_at(0, replies)
    }

    /// The same at a certain port.
    pub fn start_at(port: u16, replies: &[Reply]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let address = listener.local_addr().unwrap();
        let taken = Arc::new((Mutex::new(Taken::default()), Condvar::new()));
        taken.0.lock().unwrap().replies.extend(replies);
        let shared = Arc::clone(&taken);
        // It ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(stream.unwrap(), &shared));
            }
        });
        Self { address, taken }
    }

    /// Its address for a configuration.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What it was sent so far.
    pub fn posts(&self) -> Vec<Post> {
        self.taken.0.lock().unwrap().posts.clone()
    }

    /// Waits until it was sent something that fits, and returns all of that so far.
    pub fn wait_until(&self, what: &str, mut is_enough: impl FnMut(&[Post]) -> bool) -> Vec<Post> {
        let begun = Instant::now();
        let mut taken = self.taken.0.lock().unwrap();
        while !is_enough(&taken.posts) {
            let left = BACKSTOP.checked_sub(begun.elapsed());
            let Some(left) = left else {
                let posts = taken.posts.clone();
                drop(taken);
                panic!("in vain waited for: {what}; there was {posts:#?}");
            };
            taken = self.taken.1.wait_timeout(taken, left).unwrap().0;
        }
        taken.posts.clone()
    }
}

fn serve(stream: TcpStream, shared: &(Mutex<Taken>, Condvar)) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    let body = serde_json::from_slice(&body).expect("a message is JSON");
    let reply = {
        let mut taken = shared.0.lock().unwrap();
        taken.posts.push(Post { head, body, at: Instant::now() });
        shared.1.notify_all();
        taken.replies.pop_front().unwrap_or(Reply::Status(200))
    };
    let mut stream = stream;
    match reply {
        Reply::Status(code) => {
            let answer = format!("HTTP/1.1 {code} X\r\nContent-Length: 5\r\nConnection: close\r\n\r\nreply");
            // Who asked may have lost patience.
            let _ = stream.write_all(answer.as_bytes());
        }
        Reply::Never => {
            // Until the other end closes.
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
}
