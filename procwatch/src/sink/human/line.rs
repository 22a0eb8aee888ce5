//! A line in the making.

use std::fmt::{self, Write};

use crate::{
    record::Severity,
    text::{Text, escape},
};

/// The text of a line, kept for its memory, and what bounds it.
#[derive(Debug)]
pub(crate) struct Line {
    text: String,
    columns: usize,
    colour: bool,
}

impl Line {
    /// Foreign texts may take `columns` each.
    pub(crate) const fn new(columns: usize, colour: bool) -> Self {
        Self { text: String::new(), columns, colour }
    }

    pub(crate) fn clear(&mut self) {
        self.text.clear();
    }

    pub(crate) const fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// Columns that a foreign text may take.
    pub(crate) const fn columns(&self) -> usize {
        self.columns
    }

    /// Where the next text will stand.
    pub(crate) const fn position(&self) -> usize {
        self.text.len()
    }

    pub(crate) fn add(&mut self, text: fmt::Arguments<'_>) {
        // A string takes everything.
        let _ = self.text.write_fmt(text);
    }

    pub(crate) fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    pub(crate) fn ends_with(&self, last: char) -> bool {
        self.text.ends_with(last)
    }

    /// Fills up with spaces what stands since `start` to `width` columns.
    pub(crate) fn pad(&mut self, start: usize, width: usize) {
        for _ in self.columns_since(start)..width {
            self.text.push(' ');
        }
    }

    /// Cuts what stands since `start` to `columns`, the last of which then shows that it was cut.
    pub(crate) fn cut(&mut self, start: usize, columns: usize) {
        if self.text.len() - start > columns && self.columns_since(start) > columns {
            let kept: usize =
                self.since(start).chars().take(columns.saturating_sub(1)).map(char::len_utf8).sum();
            self.text.truncate(start + kept);
            self.text.push('…');
        }
    }

    /// A path or another foreign text, of at most `columns`.
    pub(crate) fn foreign(&mut self, text: &Text, columns: usize) {
        let start = self.position();
        self.text.push_str(&escape(text.as_bytes()));
        self.cut(start, columns);
    }

    /// Our own words, which may quote others': these are escaped already, but for control characters in a system's
    /// messages.
    pub(crate) fn words(&mut self, words: &str) {
        if words.chars().any(char::is_control) {
            self.text.push_str(&escape(words.as_bytes()));
        } else {
            self.text.push_str(words);
        }
    }

    /// Arguments with a space between them, each quoted when its borders would not be seen otherwise.
    pub(crate) fn arguments(&mut self, args: &[Text]) {
        for (index, arg) in args.iter().enumerate() {
            if index > 0 {
                self.text.push(' ');
            }
            self.argument(&escape(arg.as_bytes()));
        }
    }

    /// The backslash of `\'` cannot be mistaken: an own one of the argument is escaped to two.
    fn argument(&mut self, escaped: &str) {
        if !escaped.is_empty() && !escaped.contains(|c: char| c.is_whitespace() || c == '\'') {
            self.text.push_str(escaped);
            return;
        }
        self.text.push('\'');
        for (index, part) in escaped.split('\'').enumerate() {
            if index > 0 {
                self.text.push_str("\\'");
            }
            self.text.push_str(part);
        }
        self.text.push('\'');
    }

    /// The word of a severity.
    pub(crate) fn severity(&mut self, severity: Severity) {
        let (word, colour) = match severity {
            Severity::Notice => ("NOTICE", "36"),
            Severity::Warning => ("WARNING", "33"),
            Severity::Critical => ("CRITICAL", "31"),
            Severity::Emergency => ("EMERGENCY", "1;31"),
        };
        if self.colour {
            self.add(format_args!("\x1b[{colour}m{word}\x1b[0m"));
        } else {
            self.text.push_str(word);
        }
    }

    /// Ends the line; the spaces of an empty last column are left out.
    pub(crate) fn end(&mut self) {
        let len = self.text.trim_end_matches(' ').len();
        self.text.truncate(len);
        self.text.push('\n');
    }

    fn since(&self, start: usize) -> &str {
        self.text.get(start..).unwrap_or_default()
    }

    fn columns_since(&self, start: usize) -> usize {
        self.since(start).chars().count()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn arguments(args: &[Text]) -> String {
        let mut line = Line::new(usize::MAX, false);
        line.arguments(args);
        line.text
    }

    #[test]
    fn arguments_are_quoted_only_when_they_must_be() {
        for (arg, shown) in [
            ("-c", "-c"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", "'it\\'s'"),
            ("say\"x\"", "say\"x\""),
            ("tab\there", "tab\\there"),
            ("no\u{a0}break", "'no\u{a0}break'"),
            ("back\\slash", "back\\\\slash"),
        ] {
            assert_eq!(arguments(&[Text::from(arg)]), shown);
        }
    }

    #[test]
    fn cut_counts_columns_not_bytes() {
        for (text, columns, shown) in
            [("äöü", 3, "äöü"), ("äöüß", 3, "äö…"), ("abcd", 4, "abcd"), ("abcde", 4, "abc…"), ("ab", 0, "…")]
        {
            let mut line = Line::new(0, false);
            line.push("> ");
            line.foreign(&Text::from(text), columns);
            assert_eq!(line.text, format!("> {shown}"));
        }
    }

    #[test]
    fn words_keep_their_backslashes_but_no_control_characters() {
        let mut line = Line::new(0, false);
        line.words("as escaped: \\x1b");
        line.words(" raw: \x1b[2J");
        assert_eq!(line.text, "as escaped: \\x1b raw: \\x1b[2J");
    }

    proptest! {
        #[test]
        fn different_arguments_look_different(
            a in proptest::collection::vec("[a' \\\\\n]{0,3}", 0..4),
            b in proptest::collection::vec("[a' \\\\\n]{0,3}", 0..4),
        ) {
            let texts = |args: &[String]| args.iter().map(|arg| Text::from(arg.as_str())).collect::<Vec<_>>();
            prop_assert_eq!(a == b, arguments(&texts(&a)) == arguments(&texts(&b)));
        }
    }
}
