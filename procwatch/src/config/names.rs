//! Names of processes and patterns for what they run, as several tables of the configuration have them.

use glob::Pattern;
use procwatch_common::wire::COMM_LEN;
use toml::{Spanned, de::DeValue};

use super::{error::quote, read::Reader};
use crate::text::Text;

/// Whether one of the patterns fits. Patterns see bytes that are no UTF-8 as `U+FFFD`.
pub(super) fn fits(patterns: &[Pattern], text: &[u8]) -> bool {
    // Making text of bytes costs, and most rules have no patterns.
    !patterns.is_empty() && {
        let text = String::from_utf8_lossy(text);
        patterns.iter().any(|pattern| pattern.matches(&text))
    }
}

/// One pattern of a shell (`*`, `?`, `[a-z]`).
pub(super) fn read_pattern(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    field: &str,
    example: &str,
) -> Option<Pattern> {
    let text = reader.text(value, field, example)?;
    let what = match Pattern::new(text) {
        Ok(pattern) if !text.is_empty() => return Some(pattern),
        Ok(_) => format!("is empty; right is e.g. {}", quote(example)),
        Err(error) => {
            format!("{} is no pattern: {}; right is e.g. {}", quote(text), error.msg, quote(example))
        }
    };
    reader.bad(&value.span(), field, what);
    None
}

/// A pattern for a whole path: one that does not begin like a path never fits.
pub(super) fn read_path_pattern(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    field: &str,
    example: &str,
) -> Option<Pattern> {
    let pattern = read_pattern(reader, value, field, example)?;
    if pattern.as_str().starts_with(['/', '*', '?', '[']) {
        return Some(pattern);
    }
    let what = format!(
        "{} never fits, because whole paths are looked at; right is e.g. {} or {}",
        quote(pattern.as_str()),
        quote(example),
        quote(&format!("*/{}", pattern.as_str()))
    );
    reader.bad(&value.span(), field, what);
    None
}

/// The exact name of a process, as the kernel keeps it.
pub(super) fn read_comm(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, field: &str) -> Option<Text> {
    const MOST: usize = COMM_LEN - 1;
    let name = reader.text(value, field, "python3")?;
    let what = if name.is_empty() || name.contains('\0') {
        format!("{} is no name of a process; right is e.g. \"python3\"", quote(name))
    } else if name.contains(['*', '?']) {
        format!("{} is a pattern, and names are exact; list the names, or give exe = \"*/…\"", quote(name))
    } else if name.len() > MOST {
        let kept = &name[..name.floor_char_boundary(MOST)];
        format!(
            "{} has {} bytes, and the kernel keeps {MOST} of a name; right is {}",
            quote(name),
            name.len(),
            quote(kept)
        )
    } else {
        return Some(name.into());
    };
    reader.bad(&value.span(), field, what);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_crosses_slashes_and_bytes_that_are_no_text() {
        let patterns = [Pattern::new("/opt/*/x?").unwrap()];
        assert!(fits(&patterns, b"/opt/a/b/xy") && fits(&patterns, b"/opt/\xff/x\xff"));
        assert!(!fits(&patterns, b"/opt/a/b/x") && !fits(&[], b""));
    }
}
