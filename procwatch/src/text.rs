//! Text that other processes chose: names, arguments, paths. It is hostile until shown through here.

use std::{borrow::Cow, fmt, path::Path, sync::Arc};

use procwatch_common::wire::COMM_LEN;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Bytes of foreign origin. Shown and serialised only in escaped form: printable UTF-8 as it is, a backslash as
/// `\\`, control and format characters as `\n`, `\t`, `\x1b`, `\u{202e}`, and bytes that are no UTF-8 as `\xff`.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Text(Arc<[u8]>);

impl Text {
    /// Takes the bytes as they are. They are shared, not copied, when the text is cloned.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The raw bytes, for comparison and for system calls, never for output.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&escape(&self.0))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", escape(&self.0))
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&escape(&self.0))
    }
}

/// From its escaped form, byte by byte the original.
impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let escaped = Cow::<'de, str>::deserialize(deserializer)?;
        unescape(&escaped).map(Self::new).map_err(D::Error::custom)
    }
}

impl JsonSchema for Text {
    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        escaped_schema("Text that another process chose")
    }
}

/// A task's name as the kernel keeps it: at most 15 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Comm([u8; COMM_LEN]);

impl Comm {
    /// Takes the kernel's field. What stands behind its first zero, left over from a longer name, is no part of it.
    pub const fn new(mut raw: [u8; COMM_LEN]) -> Self {
        let mut index = 1;
        while index < COMM_LEN {
            if raw[index - 1] == 0 {
                raw[index] = 0;
            }
            index += 1;
        }
        Self(raw)
    }

    /// The name that a process gets from the file it runs: the last part of its path, at most 15 bytes.
    pub fn of_file(file: &[u8]) -> Self {
        Self::of_name(file.rsplit(|byte| *byte == b'/').next().unwrap_or_default())
    }

    /// A name; of a longer one the first 15 bytes, as the kernel does.
    pub fn of_name(name: &[u8]) -> Self {
        let mut raw = [0; COMM_LEN];
        let len = name.len().min(COMM_LEN - 1);
        raw[..len].copy_from_slice(&name[..len]);
        Self::new(raw)
    }

    /// The name without its padding.
    pub fn as_bytes(&self) -> &[u8] {
        until_zero(&self.0)
    }
}

impl fmt::Display for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&escape(self.as_bytes()))
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", escape(self.as_bytes()))
    }
}

impl Serialize for Comm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&escape(self.as_bytes()))
    }
}

/// From its escaped form.
impl<'de> Deserialize<'de> for Comm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let escaped = Cow::<'de, str>::deserialize(deserializer)?;
        let name = unescape(&escaped).map_err(D::Error::custom)?;
        let mut raw = [0; COMM_LEN];
        match raw.get_mut(..name.len()) {
            Some(place) => place.copy_from_slice(&name),
            None => {
                return Err(D::Error::custom("a name of more than 16 bytes; the kernel has no longer ones"));
            }
        }
        Ok(Self::new(raw))
    }
}

impl JsonSchema for Comm {
    fn schema_name() -> Cow<'static, str> {
        "Comm".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        escaped_schema("A task's name, at most 15 bytes before escaping")
    }
}

fn escaped_schema(what: &str) -> Schema {
    json_schema!({
        "type": "string",
        "description": format!(
            "{what}, escaped: a backslash as \\\\, control and format characters as \\n, \\r, \\t, \\x1b or \\u{{202e}}, \
             bytes that are no UTF-8 as \\xff. Unescaped once it is the original, byte by byte."
        ),
    })
}

/// The bytes before the first zero, or all of them.
pub fn until_zero(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    &bytes[..end]
}

/// Escapes as [`Text`] says. Borrows when there is nothing to escape.
pub fn escape(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes)
        && text.chars().all(is_harmless)
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            escape_char(c, &mut out);
        }
        for byte in chunk.invalid() {
            push_hex(*byte, &mut out);
        }
    }
    Cow::Owned(out)
}

/// Takes [`escape`] back.
///
/// # Errors
/// In words, for an escape that it never writes.
pub fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, escaped)) = rest.split_once('\\') {
        out.extend_from_slice(before.as_bytes());
        rest = unescape_one(escaped, &mut out).ok_or_else(|| {
            let shown: String = escaped.chars().take(10).collect();
            format!(
                "unknown escape \\{}; right are \\\\, \\n, \\r, \\t, \\x1b and \\u{{202e}}",
                escape(shown.as_bytes())
            )
        })?;
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(out)
}

/// Takes what stands behind a backslash, and gives what stands behind the escape.
fn unescape_one<'t>(escaped: &'t str, out: &mut Vec<u8>) -> Option<&'t str> {
    let mut letters = escaped.chars();
    match letters.next()? {
        '\\' => out.push(b'\\'),
        'n' => out.push(b'\n'),
        'r' => out.push(b'\r'),
        't' => out.push(b'\t'),
        'x' => {
            let (digits, rest) = letters.as_str().split_at_checked(2)?;
            out.push(u8::try_from(hex(digits)?).ok()?);
            return Some(rest);
        }
        'u' => {
            let (digits, rest) = letters.as_str().strip_prefix('{')?.split_once('}')?;
            let c = char::from_u32(hex(digits)?)?;
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(rest);
        }
        _ => return None,
    }
    Some(letters.as_str())
}

/// A number of one to six hexadecimal digits: unlike the standard library's, without a sign.
fn hex(digits: &str) -> Option<u32> {
    let good = (1..=6).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u32::from_str_radix(digits, 16).ok().filter(|_| good)
}

/// A path for people.
pub fn shown(path: &Path) -> String {
    escape(path.as_os_str().as_encoded_bytes()).into_owned()
}

/// Escapes, and cuts what is longer than `most` characters, with an ellipsis in its place.
pub fn escape_cut(bytes: &[u8], most: usize) -> String {
    let mut shown = escape(bytes).into_owned();
    if let Some((at, _)) = shown.char_indices().nth(most) {
        shown.truncate(at);
        shown.push('…');
    }
    shown
}

/// Printable, and without effect on what stands around it.
fn is_harmless(c: char) -> bool {
    c != '\\' && !c.is_control() && !is_format(c)
}

fn escape_char(c: char, out: &mut String) {
    match c {
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if c.is_ascii_control() => push_hex(c as u8, out),
        c if is_harmless(c) => out.push(c),
        c => out.extend(c.escape_unicode()),
    }
}

fn push_hex(byte: u8, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push_str("\\x");
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// Invisible characters that reorder or hide text: Unicode's format category (Cf), line and paragraph separators.
const fn is_format(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
        | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn harmless_text_is_untouched() {
        assert!(matches!(escape("python3 – naïve 日本".as_bytes()), Cow::Borrowed(_)));
    }

    #[test]
    fn hostile_text_is_escaped() {
        assert_eq!(escape(b"a\x1b[2Jb"), "a\\x1b[2Jb");
        assert_eq!(escape("x\u{202e}y".as_bytes()), "x\\u{202e}y");
        assert_eq!(escape("x\u{2028}y\u{85}".as_bytes()), "x\\u{2028}y\\u{85}");
        assert_eq!(escape(b"back\\slash\nline\xff"), "back\\\\slash\\nline\\xff");
    }

    #[test]
    fn escapes_are_taken_back_and_others_told() {
        assert_eq!(
            unescape("a\\x1b[2J\\\\\\n\\u{202e}\\xff"),
            Ok("a\x1b[2J\\\n\u{202e}".bytes().chain([0xff]).collect())
        );
        for bad in [
            "\\",
            "\\q",
            "\\x1",
            "\\x+1",
            "\\xzz",
            "\\u202e",
            "\\u{}",
            "\\u{d800}",
            "\\u{110000}",
            "\\u{+1}",
            "\\xé",
        ] {
            let error = unescape(bad).unwrap_err();
            assert!(error.starts_with("unknown escape \\") && error.contains("right are"), "{error}");
        }
        let comm = |text: &str| serde_json::from_value::<Comm>(text.into());
        assert_eq!(comm("a\\x1bb").unwrap(), Comm::of_name(b"a\x1bb"));
        assert!(comm("sixteen bytes !!").is_ok());
        assert!(comm("seventeen bytes !").unwrap_err().to_string().contains("more than 16"));
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        assert_eq!(escape_cut("äöü".as_bytes(), 3), "äöü");
        assert_eq!(escape_cut("äöüß".as_bytes(), 3), "äöü…");
        assert_eq!(escape_cut(b"a\x1b", 3), "a\\x…");
    }

    #[test]
    fn names_are_equal_whatever_stands_behind_them() {
        assert_eq!(Comm::new(*b"su\0hon3\0xxxxxxxx"), Comm::new(*b"su\0\0\0\0\0\0\0\0\0\0\0\0\0\0"));
        assert_eq!(Comm::new(*b"sixteen bytes !!").as_bytes(), b"sixteen bytes !!");
    }

    #[test]
    fn width_counts_the_escaped_form() {
        assert_eq!(format!("{:6}|", Text::from("a\n")), "a\\n   |");
    }

    proptest! {
        #[test]
        fn never_a_control_character(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(escape(&bytes).chars().all(|c| !c.is_control() && !is_format(c)));
        }

        #[test]
        fn nothing_is_lost_by_escaping(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(unescape(&escape(&bytes)), Ok(bytes.clone()));
            let text = Text::new(bytes);
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(serde_json::from_str::<Text>(&json).unwrap(), text);
        }

        #[test]
        fn text_survives_both_ways(text in "\\PC*") {
            prop_assert_eq!(unescape(&escape(text.as_bytes())), Ok(text.into_bytes()));
        }

        #[test]
        fn whatever_is_unescaped_is_no_danger(text in "[\\\\xu{}0-9a-f\\PC]{0,20}") {
            let _ = unescape(&text);
        }

        #[test]
        fn different_bytes_stay_different(
            a in proptest::collection::vec(any::<u8>(), 0..8),
            b in proptest::collection::vec(any::<u8>(), 0..8),
        ) {
            prop_assert_eq!(a == b, escape(&a) == escape(&b));
        }
    }
}
