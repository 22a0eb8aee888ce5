//! Compresses files that were put aside, on a thread that steps back for everybody and ends when it is done.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use flate2::{Compression, write::GzEncoder};

use super::aside::{Names, packed, packing, remove};
use crate::files;

/// The lowest of the ordinary priorities.
const NICE: i32 = 19;
const CHUNK: usize = 64 << 10;

/// Compresses what is not, one file after the other.
#[derive(Debug)]
pub(super) struct Compressor {
    names: Names,
    /// What all files that were put aside may take, bytes.
    most: u64,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Compressor {
    pub(super) fn new(names: Names, most: u64) -> Self {
        Self { names, most, stop: Arc::default(), thread: None }
    }

    /// Starts if there is something to do and it does not work already. Returns how the last one failed, if it did.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        if self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return Ok(());
        }
        let last = self.wait();
        let (names, most, stop) = (self.names.clone(), self.most, Arc::clone(&self.stop));
        let thread = thread::Builder::new().name("procwatch-gzip".to_owned());
        self.thread = Some(thread.spawn(move || all(&names, most, &stop))?);
        last
    }

    /// Waits until it is done.
    pub(super) fn wait(&mut self) -> io::Result<()> {
        let ended = self.thread.take().map(JoinHandle::join);
        match ended {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(io::Error::other("the thread that compresses has failed")),
            None => Ok(()),
        }
    }

    /// It need not go on. What it has not finished is done by the next one.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn all(names: &Names, most: u64, stop: &AtomicBool) -> io::Result<()> {
    // On Linux this is the priority of a thread. Without it the work is the same.
    let _ = rustix::process::setpriority_process(None, NICE);
    let listed = names.list()?;
    for aside in listed.iter().filter(|aside| !aside.packed) {
        let done = listed.iter().any(|other| other.packed && other.number == aside.number);
        if done {
            // The one before this ended between its last two steps.
            remove(&aside.path)?;
        } else if !one(&aside.path, stop)? {
            return Ok(());
        }
    }
    names.limit(most).map(drop)
}

/// False when it was to stop.
fn one(path: &Path, stop: &AtomicBool) -> io::Result<bool> {
    let unfinished = packing(path);
    remove(&unfinished)?;
    let result = pack(path, &unfinished, stop).and_then(|done| {
        if done {
            fs::rename(&unfinished, packed(path))?;
            remove(path)?;
        }
        Ok(done)
    });
    remove(&unfinished)?;
    match result {
        // It was the oldest, and went meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        result => result,
    }
}

fn pack(path: &Path, to: &Path, stop: &AtomicBool) -> io::Result<bool> {
    let mut from = fs::File::open(path)?;
    let mut encoder = GzEncoder::new(files::create_new(to)?, Compression::default());
    let mut chunk = vec![0; CHUNK];
    loop {
        if stop.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let read = from.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        encoder.write_all(&chunk[..read])?;
    }
    encoder.finish()?.sync_all()?;
    // Who told this one to stop may have another one begun meanwhile, which writes to the same place.
    Ok(!stop.load(Ordering::Relaxed))
}
