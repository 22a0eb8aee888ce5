//! Who creates the threads of a process, as the kernel program counted and sampled it.

use serde::{Deserialize, Serialize};

use crate::{event::BootTime, text::Comm};

/// All that the kernel side knows about the creators of one process' threads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Creators {
    /// Creations by user stack, most first.
    pub stacks: Vec<CreatorStack>,
    /// Samples of creations, oldest first: the first ones above the floor, then each sixteenth.
    pub samples: Vec<StackSample>,
    /// Creations that were seen above the floor.
    pub creations: u64,
    /// Creations whose stack was not kept: the process has too many different ones, or the table was full.
    pub unkept: u64,
    /// Threads that were refused.
    pub refused: u64,
}

/// Creations by one user stack. Walked by frame pointers: of code built without them only the first entry holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatorStack {
    /// The kernel program's number for it, the same as in [`StackSample::stack_hash`].
    pub hash: u64,
    /// Threads created.
    pub count: u64,
    /// Threads refused.
    pub refused: u64,
    /// Addresses, innermost first.
    pub frames: Vec<u64>,
}

/// The creating thread at the moment of a creation: what an unwinder needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackSample {
    /// When.
    #[serde(with = "boot_time")]
    pub time: BootTime,
    /// The creating thread.
    pub tid: u32,
    /// Its name.
    #[serde(with = "comm")]
    pub comm: Comm,
    /// Which [`CreatorStack`] it belongs to.
    pub stack_hash: u64,
    /// Instruction pointer (after the `clone` system call).
    pub ip: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Frame pointer register, whatever the code uses it for.
    pub bp: u64,
    /// Memory from `sp` upwards, at most 4 KiB; empty when it could not be read.
    #[serde(with = "hex")]
    pub stack: Vec<u8>,
}

/// A time as its number.
mod boot_time {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::event::BootTime;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
    pub(super) fn serialize<S: Serializer>(time: &BootTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(time.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BootTime, D::Error> {
        u64::deserialize(deserializer).map(BootTime)
    }
}

/// A name as its bytes: what is read back must be the same.
mod comm {
    use serde::{Deserializer, Serializer};

    use super::hex;
    use crate::text::Comm;

    pub(super) fn serialize<S: Serializer>(comm: &Comm, serializer: S) -> Result<S::Ok, S::Error> {
        hex::serialize(comm.as_bytes(), serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Comm, D::Error> {
        hex::deserialize(deserializer).map(|bytes| Comm::of_name(&bytes))
    }
}

/// Bytes as two hexadecimal digits each.
mod hex {
    use std::fmt::Write as _;

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(bytes.len() * 2);
        for byte in bytes {
            let _ = write!(text, "{byte:02x}");
        }
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let bytes = pairs.iter().map(|[high, low]| Some((digit(high)? << 4 | digit(low)?) as u8)).collect();
        let bytes: Option<Vec<u8>> = bytes;
        bytes.filter(|_| rest.is_empty()).ok_or_else(|| D::Error::custom("not hexadecimal"))
    }
}
