//! A source file as text, and changes of it by ranges of bytes: what is not in a range stays byte for byte.

use std::{
    ops::{ControlFlow, Range},
    time::{Duration, Instant},
};

use tree_sitter::{ParseOptions, Parser, Tree};

use super::NoPatch;

/// How long a source may take to parse. Ordinary ones take milliseconds; the time is for what was made to take long.
const PATIENCE: Duration = Duration::from_secs(2);
/// Encodings that are UTF-8, or parts of it, by the names that Python gives them, with `_` for `-`.
const UTF8: [&str; 7] = ["utf_8", "utf8", "u8", "utf", "utf_8_sig", "ascii", "us_ascii"];

/// Text that is UTF-8, says nothing else of itself, and has lines that a parser and Python see alike.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'s>(&'s str);

impl<'s> Source<'s> {
    pub(super) fn new(bytes: &'s [u8]) -> Result<Self, NoPatch> {
        let text = std::str::from_utf8(bytes).map_err(|_| NoPatch::NotUtf8)?;
        if declared(text).is_some_and(|name| !is_utf8(name)) {
            return Err(NoPatch::NotUtf8);
        }
        // Python ends a line at a lone carriage return, the parser does not; and it ends a source at a zero.
        let lone_return = text.as_bytes().windows(2).any(|pair| pair[0] == b'\r' && pair[1] != b'\n');
        if lone_return || text.ends_with('\r') || text.contains(['\0', '\x0c']) {
            return Err(NoPatch::UnknownForm);
        }
        Ok(Self(text))
    }

    pub(super) const fn text(self) -> &'s str {
        self.0
    }

    /// The syntax tree; none if there is any error in it.
    pub(super) fn parse(self) -> Result<Tree, NoPatch> {
        let mut parser = Parser::new();
        parser.set_language(&tree_sitter_python::LANGUAGE.into()).map_err(|_| NoPatch::Unverified)?;
        let begun = Instant::now();
        let mut patience = |_: &tree_sitter::ParseState| {
            if begun.elapsed() < PATIENCE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let options = ParseOptions::new().progress_callback(&mut patience);
        let bytes = self.0.as_bytes();
        let mut from = |at: usize, _| bytes.get(at..).unwrap_or_default();
        let tree = parser.parse_with_options(&mut from, None, Some(options)).ok_or(NoPatch::Syntax)?;
        if tree.root_node().has_error() { Err(NoPatch::Syntax) } else { Ok(tree) }
    }
}

/// The encoding that one of the first two lines declares, as PEP 263 says.
fn declared(text: &str) -> Option<&str> {
    text.trim_start_matches('\u{feff}').lines().take(2).find_map(|line| {
        let comment = line.trim_start_matches([' ', '\t', '\x0c']).strip_prefix('#')?;
        comment.match_indices("coding").find_map(|(at, word)| {
            let name = comment[at + word.len()..].strip_prefix([':', '='])?.trim_start_matches([' ', '\t']);
            let end = name
                .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
                .unwrap_or(name.len());
            (end > 0).then(|| &name[..end])
        })
    })
}

fn is_utf8(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "_");
    UTF8.contains(&name.as_str())
}

/// What is to be written instead of ranges of the text.
#[derive(Debug, Default)]
pub(super) struct Change {
    edits: Vec<(Range<usize>, String)>,
    /// What changes for who runs it.
    pub(super) remarks: Vec<&'static str>,
}

impl Change {
    pub(super) fn replace(&mut self, range: Range<usize>, with: impl Into<String>) {
        self.edits.push((range, with.into()));
    }

    pub(super) fn insert(&mut self, at: usize, text: impl Into<String>) {
        self.replace(at..at, text);
    }

    /// The text with all changes made. Of insertions at one place the first one made stands first.
    pub(super) fn applied_to(&self, text: &str) -> Result<String, NoPatch> {
        let mut edits: Vec<_> = self.edits.iter().collect();
        edits.sort_by_key(|(range, _)| (range.start, range.end));
        let mut out = String::with_capacity(text.len() + 1024);
        let mut copied = 0;
        for (range, with) in edits {
            out.push_str(text.get(copied..range.start).ok_or(NoPatch::Unverified)?);
            out.push_str(with);
            copied = range.end;
        }
        out.push_str(text.get(copied..).ok_or(NoPatch::Unverified)?);
        Ok(out)
    }
}

/// Where the line of a byte begins.
pub(super) fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |feed| feed + 1)
}

/// How the line of a byte ends: as it does itself, or as the one before it where it is the last.
pub(super) fn line_end(text: &str, at: usize) -> &'static str {
    let feed = text[at..].find('\n').map(|feed| at + feed).or_else(|| text[..at].rfind('\n'));
    match feed {
        Some(feed) if text[..feed].ends_with('\r') => "\r\n",
        _ => "\n",
    }
}

/// The white space that a byte's line begins with, if nothing else stands between it and the byte.
pub(super) fn indentation(text: &str, at: usize) -> Option<&str> {
    let lead = &text[line_start(text, at)..at];
    lead.chars().all(|c| matches!(c, ' ' | '\t')).then_some(lead)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_utf8_is_taken() {
        for good in [
            "x = 1\n",
            "# -*- coding: utf-8 -*-\n",
            "#!/usr/bin/python3\n# vim: set fileencoding=UTF8 :\n",
            "\u{feff}x = 'ü'\r\n",
            "x\n\n# coding: latin-1\n",
            "# decoding things\n",
        ] {
            assert!(Source::new(good.as_bytes()).is_ok(), "{good:?}");
        }
        for bad in [&b"# coding: latin-1\n"[..], b"\n# decoding, coding=cp1252 -*-\n", b"x = '\xfc'\n"] {
            assert_eq!(Source::new(bad).err(), Some(NoPatch::NotUtf8), "{bad:?}");
        }
        for odd in [&b"x = 1\ry = 2\n"[..], b"x\0\n", b"x = 1\r", b"\x0cx = 1\n"] {
            assert_eq!(Source::new(odd).err(), Some(NoPatch::UnknownForm), "{odd:?}");
        }
    }

    #[test]
    fn what_does_not_parse_is_no_source() {
        assert_eq!(Source::new(b"def f(:\n").unwrap().parse().err(), Some(NoPatch::Syntax));
        assert!(Source::new(b"def f():\n    pass\n").unwrap().parse().is_ok());
        assert!(Source::new(b"").unwrap().parse().is_ok());
    }

    #[test]
    fn changes_touch_their_ranges_only() {
        let mut change = Change::default();
        change.replace(6..7, "Z");
        change.insert(0, "a");
        change.insert(0, "b");
        assert_eq!(change.applied_to("0123456789").unwrap(), "ab012345Z789");
        change.replace(5..8, "overlaps");
        assert_eq!(change.applied_to("0123456789"), Err(NoPatch::Unverified));
    }

    #[test]
    fn lines_keep_their_ways() {
        let text = "a\r\n  b\nc";
        assert_eq!((line_start(text, 5), line_end(text, 0), line_end(text, 5)), (3, "\r\n", "\n"));
        assert_eq!((line_end(text, 7), indentation(text, 5), indentation(text, 6)), ("\n", Some("  "), None));
    }
}
