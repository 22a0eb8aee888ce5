//! Lines of a peer that may be hostile: bounded in length and in the time that they take.

use std::{io, time::Duration};

use tokio::{
    net::UnixStream,
    time::{Instant, timeout_at},
};

/// Longest line that is read, bytes: the longest request that makes sense, one that names as many processes as a filter
/// may, has half of it.
pub(super) const MAX_LINE: usize = 32 << 10;

/// How long a peer may take over a line, and over its first one since it came.
pub(super) const LINE_PATIENCE: Duration = Duration::from_secs(10);

/// Read at once, bytes.
const CHUNK: usize = 4 << 10;

/// What came of reading.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line, without its end.
    Whole(Vec<u8>),
    /// More than [`MAX_LINE`] bytes without an end.
    TooLong,
    /// A line was begun and not ended in time, or none came at all.
    TooSlow,
    /// The peer has left.
    End,
}

/// Takes lines from a connection.
#[derive(Debug)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    /// When the peer must have ended the line that it has begun; `None` while it owes none.
    due: Option<Instant>,
}

impl Lines {
    /// The peer owes its first line.
    pub(super) fn new() -> Self {
        Self { buffer: Vec::new(), due: Some(Instant::now() + LINE_PATIENCE) }
    }

    /// The next line. Cancel safe.
    ///
    /// # Errors
    /// When the connection fails.
    pub(super) async fn next(&mut self, stream: &UnixStream) -> io::Result<Line> {
        loop {
            if let Some(line) = self.take() {
                return Ok(Line::Whole(line));
            }
            if self.buffer.len() >= MAX_LINE {
                return Ok(Line::TooLong);
            }
            match self.due {
                None => stream.readable().await?,
                Some(due) => match timeout_at(due, stream.readable()).await {
                    Ok(ready) => ready?,
                    Err(_) => return Ok(Line::TooSlow),
                },
            }
            if !self.read(stream)? {
                return Ok(Line::End);
            }
        }
    }

    /// The line that is there already.
    fn take(&mut self) -> Option<Vec<u8>> {
        let end = self.buffer.iter().position(|byte| *byte == b'\n')?;
        let rest = self.buffer.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.buffer, rest);
        line.truncate(end);
        self.due = (!self.buffer.is_empty()).then(|| Instant::now() + LINE_PATIENCE);
        Some(line)
    }

    /// False at the end.
    fn read(&mut self, stream: &UnixStream) -> io::Result<bool> {
        let mut chunk = [0; CHUNK];
        match stream.try_read(&mut chunk) {
            Ok(0) => Ok(false),
            Ok(read) => {
                self.buffer.extend_from_slice(&chunk[..read]);
                self.due.get_or_insert_with(|| Instant::now() + LINE_PATIENCE);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    fn in_runtime(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(test);
    }

    #[test]
    fn lines_come_one_by_one_however_they_are_cut() {
        in_runtime(async {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let mut lines = Lines::new();
            theirs.write_all(b"first\nsec").await.unwrap();
            assert_eq!(lines.next(&ours).await.unwrap(), Line::Whole(b"first".to_vec()));
            theirs.write_all(b"ond\n\nlast").await.unwrap();
            assert_eq!(lines.next(&ours).await.unwrap(), Line::Whole(b"second".to_vec()));
            assert_eq!(lines.next(&ours).await.unwrap(), Line::Whole(Vec::new()));
            drop(theirs);
            assert_eq!(lines.next(&ours).await.unwrap(), Line::End, "half a line is none");
        });
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        in_runtime(async {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let writer = tokio::spawn(async move {
                // It ends when nobody reads any more.
                while theirs.write_all(&[b'x'; 4096]).await.is_ok() {}
            });
            let mut lines = Lines::new();
            assert_eq!(lines.next(&ours).await.unwrap(), Line::TooLong);
            assert!(lines.buffer.len() < MAX_LINE + CHUNK);
            drop(ours);
            writer.await.unwrap();
        });
    }
}
