//! `[metrics]`: where the agent's figures can be fetched.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use toml::{Spanned, de::DeValue};

use super::{
    error::{Location, Problem, quote},
    read::Reader,
};
use crate::text::escape;

const EXAMPLE: &str = "127.0.0.1:9464";
const EXAMPLE_SOCKET: &str = "/run/procwatch/metrics.sock";

/// Processes that are shown one by one when nothing else is said.
pub const DEFAULT_PROCESSES: u32 = 100;

/// Most processes that may be shown one by one: each makes two time series.
const MAX_PROCESSES: u32 = 1000;

/// Longest path of a socket, bytes: the kernel's 108 with the zero behind it.
const MAX_SOCKET_PATH: usize = 107;

/// Where figures are given, and how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Where one may ask.
    pub listen: Listen,
    /// Most processes that are shown one by one, those with the most threads.
    pub processes: u32,
}

/// Where one may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An address with a port; of this machine alone unless the configuration says `public`.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => f.write_str(&escape(path.as_os_str().as_encoded_bytes())),
        }
    }
}

/// What one file says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsLayer {
    listen: Option<Listen>,
    processes: Option<u32>,
    at: Location,
}

impl MetricsLayer {
    /// Lays it over what earlier files said.
    ///
    /// # Errors
    /// When none says where to listen.
    pub(super) fn over(self, earlier: Option<MetricsConfig>) -> Result<MetricsConfig, Problem> {
        let Self { listen, processes, at } = self;
        let earlier = earlier.map(|earlier| (earlier.listen, earlier.processes)).unzip();
        let Some(listen) = listen.or(earlier.0) else {
            let what = format!("missing; right is e.g. listen = \"{EXAMPLE}\"");
            return Err(Problem { at, field: "metrics.listen".to_owned(), what });
        };
        Ok(MetricsConfig { listen, processes: processes.or(earlier.1).unwrap_or(DEFAULT_PROCESSES) })
    }
}

pub(super) fn read_metrics(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Option<MetricsLayer> {
    let table = reader.table(value, "metrics", "[metrics] with listen = \"127.0.0.1:9464\"")?;
    reader.check_keys(table, "metrics.", &["listen", "public", "processes"]);
    let public = table.get("public").map(|value| reader.flag(value, "metrics.public"));
    // Another mistake is told by itself.
    let may_be_public = public.is_some_and(|public| public.unwrap_or(true));
    Some(MetricsLayer {
        listen: table.get("listen").and_then(|value| read_listen(reader, value, may_be_public)),
        processes: table
            .get("processes")
            .and_then(|value| reader.number(value, "metrics.processes", (1, MAX_PROCESSES))),
        at: reader.at(&value.span()),
    })
}

fn read_listen(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, public: bool) -> Option<Listen> {
    const FIELD: &str = "metrics.listen";
    let text = reader.text(value, FIELD, EXAMPLE)?;
    let found = if text.starts_with('/') { socket_path(text) } else { address(text, public) };
    found.map_err(|what| reader.bad(&value.span(), FIELD, format!("{} {what}", quote(text)))).ok()
}

fn socket_path(text: &str) -> Result<Listen, String> {
    if text.len() > MAX_SOCKET_PATH {
        return Err(format!(
            "has {} bytes, and a socket's path has at most {MAX_SOCKET_PATH}; right is e.g. \"{EXAMPLE_SOCKET}\"",
            text.len()
        ));
    }
    if text.contains('\0') || text.ends_with('/') || Path::new(text).file_name().is_none() {
        return Err(format!("is no path of a socket; right is e.g. \"{EXAMPLE_SOCKET}\""));
    }
    Ok(Listen::Unix(text.into()))
}

fn address(text: &str, public: bool) -> Result<Listen, String> {
    let address: SocketAddr = text.parse().map_err(|_| {
        format!(
            "is neither an address with a port nor the path of a socket; right is e.g. \"{EXAMPLE}\" or \"{EXAMPLE_SOCKET}\""
        )
    })?;
    if address.port() == 0 {
        return Err(format!("has no port that one could ask; right is e.g. \"{EXAMPLE}\""));
    }
    if !public && !is_loopback(address.ip()) {
        return Err(format!(
            "can be reached from other machines, by anyone; right is \"127.0.0.1:{}\", or public = true as well",
            address.port()
        ));
    }
    Ok(Listen::Tcp(address))
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::{super::Layer, *};
    use crate::config::SystemAccounts;

    fn layer(text: &str) -> Result<MetricsLayer, Vec<Problem>> {
        let text = format!("[metrics]\n{text}\n");
        Layer::parse(Path::new("t.toml"), &text, &SystemAccounts).map(|layer| layer.metrics.unwrap())
    }

    fn parse(text: &str) -> Result<MetricsConfig, Vec<String>> {
        let parsed = layer(text).and_then(|layer| layer.over(None).map_err(|problem| vec![problem]));
        parsed.map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn an_address_of_this_machine_or_a_socket() {
        for (text, shown, processes) in [
            ("listen = '127.0.0.1:9464'", "127.0.0.1:9464", 100),
            ("listen = '[::1]:1'\nprocesses = 7", "[::1]:1", 7),
            ("listen = '[::ffff:127.0.0.1]:1'\npublic = false", "[::ffff:127.0.0.1]:1", 100),
            ("listen = '0.0.0.0:9464'\npublic = true", "0.0.0.0:9464", 100),
            ("listen = '/run/procwatch/metrics.sock'", "/run/procwatch/metrics.sock", 100),
        ] {
            let config = parse(text).unwrap();
            assert_eq!((config.listen.to_string().as_str(), config.processes), (shown, processes));
        }
        assert_eq!(Layer::parse(Path::new("t.toml"), "", &SystemAccounts).unwrap().metrics, None);
        let earlier = parse("listen = '127.0.0.1:9464'\nprocesses = 7").unwrap();
        let later = layer("processes = 8").unwrap().over(Some(earlier.clone())).unwrap();
        assert_eq!(later, MetricsConfig { processes: 8, ..earlier });
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_field() {
        let long = format!("listen = '/{}'", "x".repeat(107));
        let long_error = format!(
            "t.toml:2: metrics.listen: \"/{}...\" has 108 bytes, and a socket's path has at most 107; right is e.g. \
             \"/run/procwatch/metrics.sock\"",
            "x".repeat(59)
        );
        for (text, message) in [
            ("", "t.toml:1: metrics.listen: missing; right is e.g. listen = \"127.0.0.1:9464\""),
            (
                "listen = 9464",
                "t.toml:2: metrics.listen: is a whole number; right is a text, e.g. \"127.0.0.1:9464\"",
            ),
            (
                "listen = 'localhost:9464'",
                "t.toml:2: metrics.listen: \"localhost:9464\" is neither an address with a port nor the path of a socket; right is e.g. \"127.0.0.1:9464\" or \"/run/procwatch/metrics.sock\"",
            ),
            (
                "listen = '0.0.0.0:80'",
                "t.toml:2: metrics.listen: \"0.0.0.0:80\" can be reached from other machines, by anyone; right is \"127.0.0.1:80\", or public = true as well",
            ),
            (
                "public = false\nlisten = '10.0.0.1:80'",
                "t.toml:3: metrics.listen: \"10.0.0.1:80\" can be reached from other machines, by anyone; right is \"127.0.0.1:80\", or public = true as well",
            ),
            (
                "listen = '127.0.0.1:0'",
                "t.toml:2: metrics.listen: \"127.0.0.1:0\" has no port that one could ask; right is e.g. \"127.0.0.1:9464\"",
            ),
            (
                "listen = '/run/x/'",
                "t.toml:2: metrics.listen: \"/run/x/\" is no path of a socket; right is e.g. \"/run/procwatch/metrics.sock\"",
            ),
            (&long, &long_error),
            (
                "listen = '127.0.0.1:1'\nprocesses = 0",
                "t.toml:3: metrics.processes: 0 is out of range; right is 1 to 1000",
            ),
            (
                "listen = '127.0.0.1:1'\nlistens = 1",
                "t.toml:3: metrics.listens: unknown key; did you mean \"listen\"? (known: listen, public, processes)",
            ),
            (
                "listen = '0.0.0.0:1'\npublic = 'yes'",
                "t.toml:3: metrics.public: is a text; right is true or false",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), [message], "{text}");
        }
    }
}
