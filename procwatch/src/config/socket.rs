//! `[socket]`: where clients ask the agent, and who may.

use std::path::{Component, PathBuf};

use toml::{Spanned, de::DeValue};

use super::{Accounts, error::quote, read::Reader};
use crate::{files::GROUP, socket::protocol::AGENT_SOCKET};

/// Longest path of a socket, bytes: the kernel's `sun_path` without its end.
const MAX_PATH: usize = 107;

/// Most clients that may be allowed.
const MAX_CLIENTS: u32 = 1024;

/// The stream's ring, KiB: powers of two.
const RING_KIB: (u32, u32) = (4, 65_536);

/// The agent's socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketConfig {
    /// Where it is.
    pub path: PathBuf,
    /// Whose members may ask besides root.
    pub group: String,
    /// Most clients at a time; a few of root's find room besides.
    pub max_clients: u32,
    /// Size of the ring between kernel and agent for clients who want the stream, KiB. It holds from the agent's start.
    pub ring_kib: u32,
}

impl Default for SocketConfig {
    fn default() -> Self {
        Self { path: AGENT_SOCKET.into(), group: GROUP.to_owned(), max_clients: 64, ring_kib: 1024 }
    }
}

/// What one file says of the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketLayer {
    /// There is to be none.
    Off,
    /// These keys.
    Keys {
        /// `path`
        path: Option<PathBuf>,
        /// `group`
        group: Option<String>,
        /// `max-clients`
        max_clients: Option<u32>,
        /// `ring-kib`
        ring_kib: Option<u32>,
    },
}

impl SocketLayer {
    /// Lays it over what earlier files said.
    pub(super) fn over(self, earlier: Option<SocketConfig>) -> Option<SocketConfig> {
        let Self::Keys { path, group, max_clients, ring_kib } = self else { return None };
        let earlier = earlier.unwrap_or_default();
        Some(SocketConfig {
            path: path.unwrap_or(earlier.path),
            group: group.unwrap_or(earlier.group),
            max_clients: max_clients.unwrap_or(earlier.max_clients),
            ring_kib: ring_kib.unwrap_or(earlier.ring_kib),
        })
    }
}

pub(super) fn read_socket(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    accounts: &dyn Accounts,
) -> Option<SocketLayer> {
    match value.get_ref().as_bool() {
        Some(false) => return Some(SocketLayer::Off),
        Some(true) => {
            reader.bad(
                &value.span(),
                "socket",
                "is true, and it is on already; right is false, or a table [socket]",
            );
            return None;
        }
        None => {}
    }
    let table = reader.table(value, "socket", "[socket], or false for none")?;
    reader.check_keys(table, "socket.", &["path", "group", "max-clients", "ring-kib"]);
    Some(SocketLayer::Keys {
        path: table.get("path").and_then(|value| read_path(reader, value)),
        group: table.get("group").and_then(|value| read_group(reader, value, accounts)),
        max_clients: table
            .get("max-clients")
            .and_then(|value| reader.number(value, "socket.max-clients", (1, MAX_CLIENTS))),
        ring_kib: table.get("ring-kib").and_then(|value| read_ring(reader, value)),
    })
}

fn read_path(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Option<PathBuf> {
    let field = "socket.path";
    let text = reader.text(value, field, AGENT_SOCKET)?;
    let path = PathBuf::from(text);
    let is_plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    let what = if text.len() > MAX_PATH {
        format!("has {} bytes; the kernel takes a socket's path of at most {MAX_PATH}", text.len())
    } else if !path.is_absolute()
        || path.file_name().is_none()
        || text.contains('\0')
        || !path.components().all(is_plain)
    {
        format!("{} is no absolute path of a file; right is e.g. {}", quote(text), quote(AGENT_SOCKET))
    } else {
        return Some(path);
    };
    reader.bad(&value.span(), field, what);
    None
}

/// It has to be there, unless it is the built-in one.
fn read_group(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    accounts: &dyn Accounts,
) -> Option<String> {
    let field = "socket.group";
    let text = reader.text(value, field, GROUP)?;
    if text == GROUP {
        return Some(text.to_owned());
    }
    let what = match accounts.gid(text) {
        Ok(Some(_)) => return Some(text.to_owned()),
        Ok(None) => format!("there is no group {}; make it: groupadd --system, or name another", quote(text)),
        Err(error) => format!("the group {} cannot be looked up: {error}", quote(text)),
    };
    reader.bad(&value.span(), field, what);
    None
}

fn read_ring(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Option<u32> {
    let field = "socket.ring-kib";
    let kib = reader.number(value, field, RING_KIB)?;
    if kib.is_power_of_two() {
        return Some(kib);
    }
    let what = format!("{kib} is no power of two; right is e.g. {}", kib.next_power_of_two());
    reader.bad(&value.span(), field, what);
    None
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Layer;

    struct Groups;

    impl Accounts for Groups {
        fn uid(&self, _user: &str) -> Result<Option<u32>, String> {
            Ok(None)
        }

        fn gid(&self, group: &str) -> Result<Option<u32>, String> {
            match group {
                "ops" => Ok(Some(77)),
                "odd" => Err("no answer".to_owned()),
                _ => Ok(None),
            }
        }
    }

    fn parse(text: &str) -> Result<Option<SocketLayer>, Vec<String>> {
        let layer = Layer::parse(Path::new("t.toml"), text, &Groups);
        layer.map(|layer| layer.socket).map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn keys_are_laid_over_each_other() {
        let text = "[socket]\npath = '/run/other/a.sock'\ngroup = 'ops'\nmax-clients = 3\nring-kib = 4096\n";
        let all = parse(text).unwrap().unwrap().over(None).unwrap();
        let expected = SocketConfig {
            path: "/run/other/a.sock".into(),
            group: "ops".to_owned(),
            max_clients: 3,
            ring_kib: 4096,
        };
        assert_eq!(all, expected);
        let later = parse("[socket]\nmax-clients = 5\n").unwrap().unwrap();
        assert_eq!(
            later.clone().over(Some(all.clone())),
            Some(SocketConfig { max_clients: 5, ..all.clone() })
        );
        let off = parse("socket = false\n").unwrap().unwrap();
        assert_eq!(off.over(Some(all)), None);
        let on_again = SocketConfig { max_clients: 5, ..SocketConfig::default() };
        assert_eq!(later.over(None), Some(on_again));
        assert_eq!(parse("mode = 'observe'\n").unwrap(), None);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_field() {
        for (text, message) in [
            (
                "socket = true",
                "t.toml:1: socket: is true, and it is on already; right is false, or a table [socket]",
            ),
            (
                "socket = 7",
                "t.toml:1: socket: is a whole number; right is a table, e.g. [socket], or false for none",
            ),
            (
                "[socket]\npat = '/x'",
                "t.toml:2: socket.pat: unknown key; did you mean \"path\"? (known: path, group, max-clients, ring-kib)",
            ),
            (
                "[socket]\npath = 'run/x.sock'",
                "t.toml:2: socket.path: \"run/x.sock\" is no absolute path of a file; right is e.g. \
                 \"/run/procwatch/procwatch.sock\"",
            ),
            (
                "[socket]\npath = '/run/../x.sock'",
                "t.toml:2: socket.path: \"/run/../x.sock\" is no absolute path of a file; right is e.g. \
                 \"/run/procwatch/procwatch.sock\"",
            ),
            (
                "[socket]\ngroup = 'nobodys'",
                "t.toml:2: socket.group: there is no group \"nobodys\"; make it: groupadd --system, or name another",
            ),
            (
                "[socket]\ngroup = 'odd'",
                "t.toml:2: socket.group: the group \"odd\" cannot be looked up: no answer",
            ),
            (
                "[socket]\nmax-clients = 0",
                "t.toml:2: socket.max-clients: 0 is out of range; right is 1 to 1024",
            ),
            (
                "[socket]\nring-kib = 1000",
                "t.toml:2: socket.ring-kib: 1000 is no power of two; right is e.g. 1024",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), [message], "{text}");
        }
        let long = format!("[socket]\npath = '/{}'", "x".repeat(107));
        assert_eq!(
            parse(&long).unwrap_err(),
            ["t.toml:2: socket.path: has 108 bytes; the kernel takes a socket's path of at most 107"]
        );
    }
}
