//! Text in columns: how wide it is, cut, and broken into lines.

use std::borrow::Cow;

use ratatui::text::Span;

use crate::text::escape;

/// Columns that a text takes on the screen.
pub(super) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// The text, or its beginning and an ellipsis when it is wider than that.
pub(super) fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let Some(room) = columns.checked_sub(1) else { return Cow::Borrowed("") };
    let mut kept = text[..prefix(text, room)].to_owned();
    kept.push('…');
    Cow::Owned(kept)
}

/// The text as lines of at most so many columns, the second and later ones of fewer: those are for an indent.
pub(super) fn wrap(text: &str, columns: usize, later: usize) -> Vec<&str> {
    let (mut rest, mut room) = (text, columns);
    let mut lines = Vec::new();
    while width(rest) > room {
        // One character at least: it is cut off, but there is an end.
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let end = prefix(rest, room).max(first);
        let at_space = rest[..end].rfind(' ').filter(|at| *at > end / 3);
        let (line, after) = rest.split_at(at_space.unwrap_or(end));
        lines.push(line);
        (rest, room) = (after.trim_start(), later);
    }
    if !rest.is_empty() || lines.is_empty() {
        lines.push(rest);
    }
    lines
}

/// Our own words, which quote others escaped; a system's message may have a control character.
pub(super) fn words(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) {
        Cow::Owned(escape(text.as_bytes()).into_owned())
    } else {
        Cow::Borrowed(text)
    }
}

/// A number of things: `1 process`, `27 processes`.
pub(super) fn counted(number: impl Into<u64>, one: &str, many: &str) -> String {
    let number = number.into();
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// `1,204,007`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `+12`, `-3`; nothing for nothing.
pub(super) fn signed(number: i64) -> String {
    if number == 0 { String::new() } else { format!("{number:+}") }
}

/// Bytes of the longest beginning that takes at most so many columns.
fn prefix(text: &str, columns: usize) -> usize {
    let (mut taken, mut end) = (0, 0);
    for (at, c) in text.char_indices() {
        taken += width(text[at..].get(..c.len_utf8()).unwrap_or_default());
        if taken > columns {
            break;
        }
        end = at + c.len_utf8();
    }
    end
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn columns_are_counted_not_characters() {
        for (text, columns, shown) in [
            ("python3", 7, "python3"),
            ("python3", 6, "pytho…"),
            ("日本語", 6, "日本語"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("x", 0, ""),
            ("", 0, ""),
            ("xy", 1, "…"),
        ] {
            assert_eq!(cut(text, columns), shown);
        }
    }

    #[test]
    fn lines_break_at_spaces_where_there_are_some() {
        assert_eq!(wrap("one two three", 8, 8), ["one two", "three"]);
        assert_eq!(wrap("one two three", 8, 3), ["one two", "thr", "ee"]);
        assert_eq!(wrap("abcdefgh", 3, 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("日本", 1, 0), ["日", "本"]);
        assert_eq!(wrap("", 3, 3), [""]);
    }

    #[test]
    fn numbers_read_well() {
        let numbers = [0, 12, 999, 1000, 1_204_007].map(grouped);
        assert_eq!(numbers, ["0", "12", "999", "1,000", "1,204,007"]);
        assert_eq!([signed(12), signed(-3), signed(0)], ["+12", "-3", ""]);
        assert_eq!(
            [counted(1_u32, "process", "processes"), counted(0_u32, "process", "processes")],
            ["1 process", "0 processes"]
        );
    }

    proptest! {
        #[test]
        fn what_is_cut_fits(text in "\\PC{0,20}", columns in 0_usize..20) {
            prop_assert!(width(&cut(&text, columns)) <= columns);
        }

        #[test]
        fn nothing_but_spaces_is_lost_between_lines(text in "\\PC{0,30}", columns in 0_usize..9, later in 0_usize..9) {
            let squeezed = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert_eq!(squeezed(&wrap(&text, columns, later).join(" ")), squeezed(&text));
        }
    }
}
