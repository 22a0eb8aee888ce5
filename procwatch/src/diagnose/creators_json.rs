//! What the kernel saw of creations, as the agent hands it to the process that looks at it.

use std::io::{self, Read};

use crate::creators::Creators;

/// Most that is read, bytes.
const MAX_BYTES: u64 = 64 << 20;

/// Reads one JSON object.
///
/// # Errors
/// When it is too long, ends too early, or is no [`Creators`].
pub fn read(input: impl Read) -> io::Result<Creators> {
    let mut text = Vec::new();
    input.take(MAX_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("longer than {} MiB", MAX_BYTES >> 20)));
    }
    serde_json::from_slice(&text).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        creators::{CreatorStack, StackSample},
        event::BootTime,
        text::Comm,
    };

    #[test]
    fn what_is_written_is_read() {
        let creators = Creators {
            stacks: vec![CreatorStack { hash: u64::MAX, count: 3, refused: 1, frames: vec![1, u64::MAX] }],
            samples: vec![StackSample {
                time: BootTime(7),
                tid: 42,
                comm: Comm::new(*b"a\x1b\xffb\0\0\0\0\0\0\0\0\0\0\0\0"),
                stack_hash: u64::MAX,
                ip: 1,
                sp: 2,
                bp: 3,
                stack: vec![0, 127, 255],
            }],
            creations: 3,
            unkept: 0,
            refused: 1,
        };
        let text = serde_json::to_vec(&creators).unwrap();
        assert_eq!(read(text.as_slice()).unwrap(), creators);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "{}", "[1]", "{\"stacks\":[],\"samples\":[],\"creations\":-1,\"unkept\":0}"] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
