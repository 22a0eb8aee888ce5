//! The journal of systemd, by its native protocol: entries with fields, one datagram each.

use std::{
    env, fmt,
    fs::File,
    io::{self, IoSlice, Write as _},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixDatagram,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, memfd_create},
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr},
};

/// Where journald listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// The variable by which systemd says that a stream is the journal's: its device and inode.
const STREAM: &str = "JOURNAL_STREAM";

/// Whether standard output goes to the journal.
pub fn is_stdout() -> bool {
    is_stream(io::stdout().as_fd())
}

/// Whether standard error goes to the journal.
pub fn is_stderr() -> bool {
    is_stream(io::stderr().as_fd())
}

fn is_stream(stream: BorrowedFd<'_>) -> bool {
    let told = env::var(STREAM).unwrap_or_default();
    fstat(stream).is_ok_and(|stat| told == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// How grave an entry is: the numbers of syslog(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Somebody has to act at once.
    Alert = 1,
    /// It is critical.
    Critical = 2,
    /// Something failed.
    Error = 3,
    /// Something may go wrong, or went wrong a little.
    Warning = 4,
    /// All is well, and it is worth noting.
    Notice = 5,
    /// It is told.
    Info = 6,
    /// For those who look for a fault.
    Debug = 7,
}

/// An entry in the making.
#[derive(Debug, Default)]
pub struct Entry(Vec<u8>);

impl Entry {
    /// An entry of procwatch. `message` is the line that people see.
    pub fn new(message: &[u8], priority: Priority) -> Self {
        let mut entry = Self::default();
        entry.field("MESSAGE", message);
        entry.show("PRIORITY", priority as u8);
        entry.field("SYSLOG_IDENTIFIER", b"procwatch");
        entry
    }

    /// Adds a field. The name consists of capital letters, digits and underscores and begins with a letter.
    ///
    /// A value that has a line feed in it would end there, and what follows would be a field of its own: such a value is
    /// preceded by its length.
    pub fn field(&mut self, name: &str, value: &[u8]) {
        self.0.extend_from_slice(name.as_bytes());
        if value.contains(&b'\n') {
            self.0.push(b'\n');
            self.0.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            self.0.push(b'=');
        }
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
    }

    /// Adds a field with a value as it is shown.
    pub fn show(&mut self, name: &str, value: impl fmt::Display) {
        self.field(name, value.to_string().as_bytes());
    }

    /// As it goes to the journal.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The way to the journal.
#[derive(Debug)]
pub struct Socket {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Socket {
    /// One on which a journal that takes nothing is waited for, at most `patience`; with none it is not waited for.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn new(patience: Option<Duration>) -> io::Result<Self> {
        Self::to(Path::new(SOCKET), patience)
    }

    pub(crate) fn to(path: &Path, patience: Option<Duration>) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        match patience {
            Some(_) => socket.set_write_timeout(patience)?,
            None => socket.set_nonblocking(true)?,
        }
        Ok(Self { socket, path: path.to_owned() })
    }

    /// Sends an entry. What is too large for a datagram goes there as a file in memory.
    ///
    /// # Errors
    /// When the journal is not there, or takes nothing. The next entry may find it well again.
    pub fn send(&self, entry: &Entry) -> io::Result<()> {
        let sent = self.socket.send_to(entry.as_bytes(), &self.path);
        match sent {
            Err(error) if is_too_large(&error) => self.send_file(entry),
            other => other.map(drop),
        }
    }

    fn send_file(&self, entry: &Entry) -> io::Result<()> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut file = File::from(memfd_create("procwatch-entry", flags)?);
        file.write_all(entry.as_bytes())?;
        // The journal takes only what cannot change any more.
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files = [file.as_fd()];
        if !control.push(SendAncillaryMessage::ScmRights(&files)) {
            return Err(io::Error::other("no room for one descriptor"));
        }
        let address = SocketAddrUnix::new(&self.path)?;
        let nothing: [IoSlice<'_>; 0] = [];
        sendmsg_addr(&self.socket, &address, &nothing, &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

fn is_too_large(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMSGSIZE | libc::ENOBUFS))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io::Read as _};

    use proptest::prelude::*;
    use rustix::{
        io::IoSliceMut,
        net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
    };

    use super::*;

    /// Reads an entry as journald does.
    fn parse(mut entry: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
        let mut fields = Vec::new();
        while !entry.is_empty() {
            let end = entry.iter().position(|byte| *byte == b'\n')?;
            let line = &entry[..end];
            entry = &entry[end + 1..];
            let name = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
            if let Some(at) = line.iter().position(|byte| *byte == b'=') {
                fields.push((name(&line[..at])?, line[at + 1..].to_vec()));
            } else {
                let (length, rest) = entry.split_at_checked(8)?;
                let length = u64::from_le_bytes(length.try_into().ok()?) as usize;
                fields.push((name(line)?, rest.get(..length)?.to_vec()));
                entry = rest[length..].strip_prefix(b"\n")?;
            }
        }
        Some(fields)
    }

    #[test]
    fn fields_follow_each_other() {
        let mut entry = Entry::new(b"armed", Priority::Notice);
        entry.show("PROCWATCH_PID", 4242);
        entry.field("PROCWATCH_COMM", b"a\nPRIORITY=0");
        assert_eq!(
            entry.as_bytes(),
            b"MESSAGE=armed\nPRIORITY=5\nSYSLOG_IDENTIFIER=procwatch\nPROCWATCH_PID=4242\n\
              PROCWATCH_COMM\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\n"
        );
    }

    proptest! {
        #[test]
        fn whatever_a_value_is_it_stays_one_value(values in proptest::collection::vec(any::<Vec<u8>>(), 0..5)) {
            let mut entry = Entry::default();
            for (index, value) in values.iter().enumerate() {
                entry.field(&format!("F{index}"), value);
            }
            let fields = parse(entry.as_bytes()).unwrap();
            prop_assert_eq!(fields.into_iter().map(|(_, value)| value).collect::<Vec<_>>(), values);
        }
    }

    #[test]
    fn entries_arrive_as_datagrams_and_large_ones_as_sealed_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let journal = UnixDatagram::bind(&path).unwrap();
        let sender = Socket::to(&path, Some(Duration::from_secs(1))).unwrap();
        let small = Entry::new(b"small", Priority::Info);
        sender.send(&small).unwrap();
        let mut buffer = [0; 256];
        let length = journal.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], small.as_bytes());

        let mut large = Entry::new(b"large", Priority::Info);
        large.field("PROCWATCH_JSON", &vec![b'x'; 4 << 20]);
        sender.send(&large).unwrap();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let received = recvmsg(&journal, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
        assert_eq!(received.bytes, 0, "all is in the file");
        let files = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut files) => files.next(),
            _ => None,
        });
        let mut file = File::from(files.unwrap());
        let seals = rustix::fs::fcntl_get_seals(&file).unwrap();
        assert!(seals.contains(SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK), "{seals:?}");
        io::Seek::rewind(&mut file).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        let fields: BTreeMap<_, _> = parse(&bytes).unwrap().into_iter().collect();
        assert_eq!((&*fields["MESSAGE"], fields["PROCWATCH_JSON"].len()), (&b"large"[..], 4 << 20));
    }

    #[test]
    fn a_journal_that_takes_nothing_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let _deaf = UnixDatagram::bind(&path).unwrap();
        let sender = Socket::to(&path, None).unwrap();
        let entry = Entry::new(&[b'x'; 1000], Priority::Info);
        let full = (0..100_000).find_map(|_| sender.send(&entry).err()).unwrap();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        let nobody = Socket::to(Path::new("/no/such/socket"), None).unwrap();
        assert_eq!(nobody.send(&entry).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_stream_is_the_journals_when_its_device_and_inode_are_named() {
        // Nobody else in these tests reads this variable, and it is not set here: standard output is no journal.
        assert!(!is_stdout() && !is_stderr());
    }
}
