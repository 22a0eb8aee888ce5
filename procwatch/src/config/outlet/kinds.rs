//! What each kind of outlet has of its own.

use std::path::{Path, PathBuf};

use toml::{Spanned, de::DeValue};
use ureq::http::{HeaderName, HeaderValue, Uri};

use super::{
    super::{Accounts, error::quote, owner::by_name, read::Reader},
    CommandLine, Format, Hidden, Mail, NOBODY, OutletKind, SENDMAIL, Url, Webhook,
    read::Entry,
};

const EXAMPLE_URL: &str = "https://hooks.example.org/procwatch";
const EXAMPLE_ADDRESS: &str = "ops@example.org";
const EXAMPLE_COMMAND: &str = "[\"/usr/local/bin/page\", \"--urgent\"]";
/// Most headers, addresses, and arguments.
const MOST: usize = 32;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Webhook,
    Mail,
    Command,
    Wall,
}

const WORDS: [(&str, Word); 4] =
    [("webhook", Word::Webhook), ("mail", Word::Mail), ("command", Word::Command), ("wall", Word::Wall)];

/// The keys of single kinds, and whose they are.
const KEYS: [(&str, &[Word]); 11] = [
    ("url", &[Word::Webhook]),
    ("url-file", &[Word::Webhook]),
    ("format", &[Word::Webhook]),
    ("headers", &[Word::Webhook]),
    ("token-file", &[Word::Webhook]),
    ("ca-file", &[Word::Webhook]),
    ("to", &[Word::Mail]),
    ("from", &[Word::Mail]),
    ("sendmail", &[Word::Mail]),
    ("command", &[Word::Command]),
    ("run-as", &[Word::Mail, Word::Command]),
];

/// All keys that some kind has.
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|(key, _)| *key)
}

/// The kind with all that it has of its own.
pub(super) fn read(
    reader: &mut Reader<'_>,
    entry: &Entry<'_, '_>,
    accounts: &dyn Accounts,
) -> Option<OutletKind> {
    let Some((value, field)) = entry.get("kind") else {
        entry.missing(reader, "kind", "\"webhook\", or mail, command, wall");
        return None;
    };
    let word = reader.word(value, &field, "kind of outlet", &WORDS)?;
    refuse_others(reader, entry, word);
    match word {
        Word::Webhook => read_webhook(reader, entry).map(OutletKind::Webhook),
        Word::Mail => read_mail(reader, entry, accounts).map(OutletKind::Mail),
        Word::Command => read_command(reader, entry, accounts).map(OutletKind::Command),
        Word::Wall => Some(OutletKind::Wall),
    }
}

/// Notes the keys that belong to another kind.
fn refuse_others(reader: &mut Reader<'_>, entry: &Entry<'_, '_>, word: Word) {
    let name = |word: Word| WORDS.iter().find(|(_, it)| *it == word).map_or("", |(name, _)| *name);
    for (key, owners) in KEYS {
        if let Some((value, field)) = entry.get(key)
            && !owners.contains(&word)
        {
            let owners: Vec<&str> = owners.iter().map(|owner| name(*owner)).collect();
            let what =
                format!("is nothing that a {} has; it belongs to {}", name(word), owners.join(" and "));
            reader.bad(&value.span(), field, what);
        }
    }
}

fn read_webhook(reader: &mut Reader<'_>, entry: &Entry<'_, '_>) -> Option<Webhook> {
    let url = match (entry.get("url"), entry.get("url-file")) {
        (Some((value, field)), None) => read_url(reader, value, &field),
        (None, Some((value, field))) => {
            read_path(reader, value, &field, "/etc/procwatch/ops.url").map(Url::File)
        }
        (Some(_), Some((value, field))) => {
            reader.bad(&value.span(), field, "is given besides url; give one of them");
            None
        }
        (None, None) => {
            entry.missing(reader, "url", &format!("\"{EXAMPLE_URL}\""));
            None
        }
    };
    let formats = [("json", Format::Json), ("slack", Format::Slack)];
    let format = entry
        .get("format")
        .map_or(Some(Format::Json), |(value, field)| reader.word(value, &field, "format", &formats));
    let mut path = |key: &str, example: &str| match entry.get(key) {
        Some((value, field)) => read_path(reader, value, &field, example).map(Some),
        None => Some(None),
    };
    let token_file = path("token-file", "/etc/procwatch/ops.token");
    let ca_file = path("ca-file", "/etc/ssl/own-ca.pem");
    let headers = read_headers(reader, entry);
    Some(Webhook {
        url: url?,
        format: format?,
        headers: headers?,
        token_file: token_file?,
        ca_file: ca_file?,
    })
}

fn read_url(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, field: &str) -> Option<Url> {
    let text = reader.text(value, field, EXAMPLE_URL)?;
    match Url::plain(text) {
        Ok(url) => Some(url),
        Err(what) => {
            reader.bad(&value.span(), field, what);
            None
        }
    }
}

impl Url {
    /// An address as written.
    ///
    /// # Errors
    /// What is wrong with it, without its path, which may be a secret.
    pub fn plain(text: &str) -> Result<Self, String> {
        let right = format!("right is e.g. \"{EXAMPLE_URL}\"");
        let uri: Uri = text.parse().map_err(|error| format!("is no address ({error}); {right}"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(format!("is no whole address; {right}"));
        };
        if authority.as_str().contains('@') {
            return Err("has a user or password in it; write it to a file for token-file".to_owned());
        }
        if !["http", "https"].contains(&scheme) || authority.host().is_empty() {
            return Err(format!("is of {scheme}, and https or http is possible; {right}"));
        }
        let shown = format!("{scheme}://{authority}");
        Ok(Self::Plain { whole: Hidden::new(text.to_owned()), shown })
    }
}

/// Headers that are ours to set.
const OURS: [&str; 6] =
    ["authorization", "connection", "content-length", "content-type", "host", "transfer-encoding"];

fn read_headers(reader: &mut Reader<'_>, entry: &Entry<'_, '_>) -> Option<Vec<(String, Hidden)>> {
    let Some((value, field)) = entry.get("headers") else {
        return Some(Vec::new());
    };
    let table = reader.table(value, &field, "headers = { X-Team = \"ops\" }")?;
    let noted = reader.count();
    if table.len() > MOST {
        reader.bad(
            &value.span(),
            &*field,
            format!("has {} headers; at most {MOST} are possible", table.len()),
        );
    }
    let mut headers = Vec::new();
    for (name, value) in table {
        let (key, field) = (name.get_ref(), format!("{field}.{}", name.get_ref()));
        let is_ours = OURS.iter().any(|our| key.eq_ignore_ascii_case(our));
        if is_ours || HeaderName::from_bytes(key.as_bytes()).is_err() {
            let why = if is_ours {
                "is set by procwatch; a token goes into token-file"
            } else {
                "is no name of a header"
            };
            reader.bad(&name.span(), field, why);
            continue;
        }
        let Some(text) = reader.text(value, &field, "ops") else { continue };
        if HeaderValue::from_str(text).is_err() {
            reader.bad(
                &value.span(),
                field,
                "has characters that no header may have; right are printable ones",
            );
            continue;
        }
        headers.push((key.to_string(), Hidden::new(text.to_owned())));
    }
    (reader.count() == noted).then_some(headers)
}

fn read_mail(reader: &mut Reader<'_>, entry: &Entry<'_, '_>, accounts: &dyn Accounts) -> Option<Mail> {
    let noted = reader.count();
    let mut to = Vec::new();
    match entry.get("to") {
        Some((value, field)) => {
            for (field, value) in reader.one_or_list(value, &field, MOST, &format!("\"{EXAMPLE_ADDRESS}\"")) {
                to.extend(read_address(reader, value, &field));
            }
        }
        None => entry.missing(reader, "to", &format!("\"{EXAMPLE_ADDRESS}\"")),
    }
    let from = entry.get("from").and_then(|(value, field)| read_address(reader, value, &field));
    let sendmail = match entry.get("sendmail") {
        Some((value, field)) => read_path(reader, value, &field, SENDMAIL),
        None => Some(SENDMAIL.into()),
    };
    let run_as = read_run_as(reader, entry, "root", accounts);
    (reader.count() == noted).then_some(Mail { to, from, sendmail: sendmail?, run_as: run_as? })
}

/// An address without any of the characters that mean something in a header or in a list of arguments.
fn read_address(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, field: &str) -> Option<String> {
    const MAX_ADDRESS: usize = 254;
    let text = reader.text(value, field, EXAMPLE_ADDRESS)?;
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.@".contains(&byte);
    let parts = text.split('@').filter(|part| !part.is_empty()).count();
    let is_address = (1..=MAX_ADDRESS).contains(&text.len())
        && text.bytes().all(is_good)
        && !text.starts_with('-')
        && parts == 1 + text.matches('@').count()
        && parts <= 2;
    if !is_address {
        let what = format!("{} is no plain mail address; right is e.g. \"{EXAMPLE_ADDRESS}\"", quote(text));
        reader.bad(&value.span(), field, what);
    }
    is_address.then(|| text.to_owned())
}

fn read_command(
    reader: &mut Reader<'_>,
    entry: &Entry<'_, '_>,
    accounts: &dyn Accounts,
) -> Option<CommandLine> {
    let run_as = read_run_as(reader, entry, NOBODY, accounts);
    let Some((value, field)) = entry.get("command") else {
        entry.missing(reader, "command", EXAMPLE_COMMAND);
        return None;
    };
    let words = reader.list(value, &field, MOST, EXAMPLE_COMMAND)?;
    let mut words = words.into_iter().zip(1..).map(|(word, number)| (format!("{field}[{number}]"), word));
    let (field, program) = words.next()?;
    let program = read_path(reader, program, &field, "/usr/local/bin/page");
    let arguments: Vec<_> = words.map(|(field, word)| read_argument(reader, word, &field)).collect();
    Some(CommandLine {
        program: program?,
        arguments: arguments.into_iter().collect::<Option<_>>()?,
        run_as: run_as?,
    })
}

fn read_argument(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, field: &str) -> Option<String> {
    let text = reader.text(value, field, "--urgent")?;
    if text.contains('\0') {
        reader.bad(&value.span(), field, "has a zero in it, which no argument may have; leave it out");
        return None;
    }
    Some(text.to_owned())
}

/// The name of a user that there is.
fn read_run_as(
    reader: &mut Reader<'_>,
    entry: &Entry<'_, '_>,
    default: &str,
    accounts: &dyn Accounts,
) -> Option<String> {
    let Some((value, field)) = entry.get("run-as") else {
        return Some(default.to_owned());
    };
    by_name(reader, value, &field, "user", accounts)?;
    value.get_ref().as_str().map(str::to_owned)
}

/// An absolute path.
fn read_path(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    field: &str,
    example: &str,
) -> Option<PathBuf> {
    let text = reader.text(value, field, example)?;
    if Path::new(text).is_absolute() && !text.contains('\0') {
        return Some(text.into());
    }
    reader.bad(
        &value.span(),
        field,
        format!("{} is no absolute path; right is e.g. {}", quote(text), quote(example)),
    );
    None
}
